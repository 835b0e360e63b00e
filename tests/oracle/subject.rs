//! What is asked: a lone bucket, or the keys of a limiter.

use std::time::Duration;

use super::common::{Rng, ns};
use tollgate::{Bucket, BuildError, Limit, Limiter, ManualClock, Quota, QuotaError};

#[derive(Debug)]
pub(crate) enum Subject {
    Bucket(Bucket<ManualClock>),
    Keyed(Limiter<ManualClock>),
}

/// One bucket of a subject, asked on the subject's clock or at the caller's `now`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) key: &'static str,
    pub(crate) limit: &'a Limit,
    pub(crate) now: Option<u64>,
}

/// One call on whichever it is.
macro_rules! call {
    ($at:expr, $method:ident ( $($argument:expr),* )) => {{
        let at = $at;
        match at.subject {
            $crate::subject::Subject::Bucket(bucket) => {
                let view = bucket.with(at.limit);
                at.now.map_or(view, |now| view.at($crate::common::ns(now))).$method($($argument),*)
            }
            $crate::subject::Subject::Keyed(limiter) => {
                let view = limiter.with(at.limit);
                at.now.map_or(view, |now| view.at($crate::common::ns(now))).$method(at.key $(, $argument)*)
            }
        }
    }};
}
pub(crate) use call;

/// How far callers may disagree on the time, unless a scenario says otherwise.
pub(crate) const SKEW: u64 = 1_000_000_000;

impl Subject {
    /// A subject that starts at `start`, and a limit for each quota; a quota that is out of bounds is replaced by one that
    /// is on the bound that the error named. `lone` asks for a bucket without a table, made for the last of them.
    pub(crate) fn new(rng: &mut Rng, quotas: &mut [Quota], start: u64, skew: u64, lone: bool) -> Self {
        // A quota may break several bounds, one after the other.
        for _ in 0..8 * quotas.len() {
            match Self::try_new(rng, quotas, start, skew, lone) {
                Ok(subject) => return subject,
                Err((index, error)) => quotas[index] = on_the_bound(quotas[index], error),
            }
        }
        panic!("the bounds that the errors name do not hold: {quotas:?}");
    }

    /// The error comes with the index of its quota.
    fn try_new(
        rng: &mut Rng,
        quotas: &[Quota],
        start: u64,
        skew: u64,
        lone: bool,
    ) -> Result<Self, (usize, QuotaError)> {
        let clock = ManualClock::new(ns(start));
        let subject = if lone {
            let last = quotas.len() - 1;
            Self::Bucket(Bucket::with_clock(quotas[last], clock).map_err(|error| (last, error))?)
        } else {
            let builder = Limiter::builder(quotas[0]).capacity(1_024).fixed_seed(rng.next());
            let builder = builder.max_clock_skew(Duration::from_nanos(skew));
            let builder = quotas[1..].iter().fold(builder, |builder, &quota| builder.expect(quota));
            match builder.build_with_clock(clock) {
                Ok(limiter) => Self::Keyed(limiter),
                Err(BuildError::Quota(error)) => return Err((0, error)),
                Err(error) => panic!("{error}"),
            }
        };
        for (index, &quota) in quotas.iter().enumerate() {
            subject.try_limit(quota, "limit").map_err(|error| (index, error))?;
        }
        Ok(subject)
    }

    fn try_limit(&self, quota: Quota, name: &str) -> Result<Limit, QuotaError> {
        match self {
            Self::Bucket(bucket) => bucket.limit(quota),
            Self::Keyed(limiter) => limiter.limit(name, quota),
        }
    }

    /// A limit of one of the quotas that the subject was made with.
    pub(crate) fn limit(&self, quota: Quota, name: &str) -> Limit {
        self.try_limit(quota, name).expect("tried when the subject was made")
    }

    pub(crate) fn clock(&self) -> &ManualClock {
        match self {
            Self::Bucket(bucket) => bucket.clock(),
            Self::Keyed(limiter) => limiter.clock(),
        }
    }
}

/// The quota that is just within the bound that an error names.
fn on_the_bound(quota: Quota, error: QuotaError) -> Quota {
    let with = |count: u64, period: Duration| {
        let other = Quota::new(count, period).expect("a valid period").with_algorithm(quota.algorithm());
        if quota.algorithm().is_window() { other } else { other.with_burst(quota.burst()) }
    };
    match error {
        // Of a queue without places: not even the next request may leave within the range.
        QuotaError::BurstTooLarge { .. } if quota.burst() == 0 => with(quota.count(), Duration::from_secs(86_400)),
        // With a debt of its own, because the model knows no range: the default debt is what the range leaves.
        QuotaError::BurstTooLarge { max_burst, .. } => {
            quota.with_burst(max_burst).with_max_debt(quota.max_debt().unwrap_or(Duration::from_secs(3_600)))
        }
        QuotaError::DebtTooLong { max_debt, .. } => quota.with_max_debt(max_debt),
        QuotaError::RateTooHigh { max_per_second, .. } => with(max_per_second, Duration::from_secs(1)),
        QuotaError::CountTooLarge { max_count, .. } => with(max_count, quota.period()),
        QuotaError::PeriodTooLong { max, .. } => with(quota.count(), max),
        other => panic!("{other}"),
    }
}
