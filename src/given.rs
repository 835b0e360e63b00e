//! What can be given where a quota is asked for, or several: quotas, or text.

use crate::error::ParseQuotaError;
use crate::quota::Quota;
use crate::rate::parse_quotas;

/// What can be given where a quota is asked for: a [`Quota`], or a rate string such as `"100/minute burst 20"`.
///
/// ```
/// use tollgate::{Bucket, Limiter, Quota};
///
/// let limiter = Limiter::builder("100/minute").build()?;
/// assert_eq!(*limiter.default_limit().quota(), Quota::per_minute(100));
/// let login = limiter.prepare("login", "5 per 10 minutes as sliding-log")?;
/// assert!(limiter.under(&login).check("grace").is_allowed());
///
/// // Nothing is read before it is used, and what is wrong is said then.
/// let error = Limiter::builder("100/fortnight").build().unwrap_err();
/// assert!(error.to_string().starts_with("at column 5 of `100/fortnight`: expected a unit"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a quota",
    note = "a quota is a `Quota` or a rate string, such as \"100/minute\""
)]
pub trait IntoQuota: sealed::Sealed {
    /// The quota.
    ///
    /// # Errors
    ///
    /// If a text is not exactly one rate.
    fn into_quota(self) -> Result<Quota, ParseQuotaError>;
}

/// What can be given where several quotas may be: a rate string such as `"200 per day, 50 per hour"`, a [`Quota`], or a list
/// of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a list of quotas",
    note = "quotas are a rate string, such as \"200 per day, 50 per hour\", a `Quota`, or a list of them"
)]
pub trait IntoQuotas: sealed::SealedList {
    /// The quotas, in the order given.
    ///
    /// # Errors
    ///
    /// If a text is no list of rates.
    fn into_quotas(self) -> Result<Vec<Quota>, ParseQuotaError>;
}

mod sealed {
    pub trait Sealed {}
    pub trait SealedList {}
}

macro_rules! quota {
    ($($given:ty => |$it:ident| $quota:expr;)*) => {$(
        impl sealed::Sealed for $given {}

        impl IntoQuota for $given {
            fn into_quota(self) -> Result<Quota, ParseQuotaError> {
                let $it = self;
                $quota
            }
        }
    )*};
}

quota! {
    Quota => |quota| Ok(quota);
    &Quota => |quota| Ok(*quota);
    &str => |text| text.parse();
    &String => |text| text.parse();
    String => |text| text.parse();
}

macro_rules! quotas {
    ($([$($n:tt)*] $given:ty => |$it:ident| $quotas:expr;)*) => {$(
        impl<$($n)*> sealed::SealedList for $given {}

        impl<$($n)*> IntoQuotas for $given {
            fn into_quotas(self) -> Result<Vec<Quota>, ParseQuotaError> {
                let $it = self;
                $quotas
            }
        }
    )*};
}

quotas! {
    [] Quota => |quota| Ok(vec![quota]);
    [] &Quota => |quota| Ok(vec![*quota]);
    [] Vec<Quota> => |quotas| Ok(quotas);
    [] &Vec<Quota> => |quotas| Ok(quotas.clone());
    [] &[Quota] => |quotas| Ok(quotas.to_vec());
    [const N: usize] [Quota; N] => |quotas| Ok(quotas.into());
    [const N: usize] &[Quota; N] => |quotas| Ok(quotas.to_vec());
    [] &str => |text| parse_quotas(text);
    [] &String => |text| parse_quotas(text);
    [] String => |text| parse_quotas(&text);
}
