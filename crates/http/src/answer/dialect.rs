//! The header fields that show a client its limit's state, and which of them to send.
//!
//! The default is draft-ietf-httpapi-ratelimit-headers-10, two Lists of RFC 9651. The others are for clients that know
//! only what came before it. What all have in common:
//!
//! - Seconds are whole and rounded up. The time shown is that of the next try if the request was refused, and that of
//!   a full quota otherwise, so a `Retry-After` is never earlier.
//!   The current draft lets the time be left out, and so it is for admitted requests that a limit on requests in flight
//!   counts; the older dialects show it as the engine has it.
//! - A window is shown only if it is a whole number of seconds, since the fields have no finer unit and `5;w=1` would
//!   promise half of what 5 per 500 ms allows. Limits on requests in flight have no window.
//! - Figures of more than 15 digits are shown as 999999999999999, the largest integer of RFC 9651.
//! - Of several limits, one is shown in full, the tightest; the others are in the field that lists the policies.

use core::fmt;
use core::str::FromStr;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tollgate::Quota;

use super::field_texts::{FieldTexts, SharedTexts};
use super::status::{LimitStatus, QuotaUnit};
use super::text_buffer::{self, Digits, TextBuffer};
use crate::error::UnknownName;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What an `X-RateLimit-Reset` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResetForm {
    /// Seconds since 1970, as Flask-Limiter, slowapi and express-rate-limit have it.
    Epoch,
    /// Seconds from now, as Kong and Limitador have it.
    Seconds,
}

/// The header fields that show a limit's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Dialect {
    /// `RateLimit-Policy: "burst";q=100;w=60` and `RateLimit: "burst";r=50;t=30`, of the current draft; the default.
    ///
    /// A burst other than the count is shown as `tollgate-burst`, because `r` may be above `q` then.
    #[default]
    Ietf,
    /// `X-RateLimit-Limit: 100`, `X-RateLimit-Remaining: 50`, `X-RateLimit-Reset: 30`.
    XRateLimit {
        /// What the last one counts.
        reset: ResetForm,
    },
    /// `X-RateLimit-Limit: 100, 100;w=60;name="burst"` and the rest as above in seconds, as Envoy has it.
    Draft03,
    /// `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset` and `RateLimit-Policy: 100;w=60`.
    Draft06,
    /// `RateLimit: limit=100, remaining=50, reset=30` and `RateLimit-Policy: 100;w=60`.
    Draft07,
    /// No fields.
    None,
}

impl Dialect {
    /// Every dialect, in the order of this documentation.
    pub const ALL: [Self; 7] = [
        Self::Ietf,
        Self::XRateLimit { reset: ResetForm::Epoch },
        Self::XRateLimit { reset: ResetForm::Seconds },
        Self::Draft03,
        Self::Draft06,
        Self::Draft07,
        Self::None,
    ];

    /// The names of [`Dialect::ALL`], in the same order.
    const NAMES: &'static [&'static str] =
        &["ietf", "x-ratelimit", "x-ratelimit-seconds", "draft-03", "draft-06", "draft-07", "none"];

    /// The name used in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ietf => "ietf",
            Self::XRateLimit { reset: ResetForm::Epoch } => "x-ratelimit",
            Self::XRateLimit { reset: ResetForm::Seconds } => "x-ratelimit-seconds",
            Self::Draft03 => "draft-03",
            Self::Draft06 => "draft-06",
            Self::Draft07 => "draft-07",
            Self::None => "none",
        }
    }

    /// One limit as the field that lists the policies has it; empty if this dialect has no such field.
    #[must_use]
    pub fn policy_item(self, name: &str, quota: &Quota, unit: QuotaUnit) -> String {
        let mut line = TextBuffer::new();
        match self {
            Self::Ietf => line.push_quoted(name).push(";q="),
            Self::Draft03 | Self::Draft06 | Self::Draft07 => &mut line,
            Self::XRateLimit { .. } | Self::None => return String::new(),
        };
        line.push_number(quota.count());
        if let Some(window) = window(quota, unit) {
            line.push(";w=").push_number(window);
        }
        if self == Self::Ietf && unit != QuotaUnit::Requests {
            line.push(";qu=\"").push(unit.name()).push("\"");
        }
        if quota.burst() != quota.count() {
            line.push(if self == Self::Ietf { ";tollgate-burst=" } else { ";burst=" }).push_number(quota.burst());
        }
        if self == Self::Draft03 {
            line.push(";name=").push_quoted(name);
        }
        String::from_utf8_lossy(line.as_bytes()).into_owned()
    }

    /// The value of the field that lists the policies, for [`write`](Self::write): made once, when limits are set up.
    #[must_use]
    pub fn policies<'a>(self, limits: impl IntoIterator<Item = (&'a str, &'a Quota, QuotaUnit)>) -> HeaderValue {
        let items: Vec<_> = limits.into_iter().map(|(name, quota, unit)| self.policy_item(name, quota, unit)).collect();
        // Items are printable ASCII, so they are a header's value; and those of the dialects without the field are
        // empty, and so is the value.
        let text = items.iter().filter(|item| !item.is_empty()).map(String::as_str).collect::<Vec<_>>().join(", ");
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
    }

    /// Writes the fields: the state of the client's tightest limit, and `policies`, made by
    /// [`policies`](Self::policies) from all limits that applied.
    ///
    /// The Lists of the current draft may span several lines, so its fields are added to those an inner service or an
    /// upstream has set, which hold for other policies. Fields of the older dialects are replaced.
    ///
    /// Allocates the values and nothing else, unless the map has to grow. A map that is full stays as it is.
    pub fn write(self, headers: &mut HeaderMap, tightest: &LimitStatus<'_>, policies: &HeaderValue) {
        let report = &tightest.report;
        match self {
            Self::Ietf => append(headers, policies.clone(), item(tightest)),
            Self::XRateLimit { reset } => {
                let reset = match reset {
                    ResetForm::Epoch => tightest.wait_ends(),
                    ResetForm::Seconds => tightest.wait_secs(),
                };
                set(headers, X_RATELIMIT_LIMIT, text_buffer::number(report.burst));
                set(headers, X_RATELIMIT_REMAINING, text_buffer::number(report.remaining));
                set(headers, X_RATELIMIT_RESET, text_buffer::number(reset));
            }
            Self::Draft03 => {
                set(headers, X_RATELIMIT_LIMIT, limit_and_policies(report.burst, policies));
                set(headers, X_RATELIMIT_REMAINING, text_buffer::number(report.remaining));
                set(headers, X_RATELIMIT_RESET, text_buffer::number(tightest.wait_secs()));
            }
            Self::Draft06 => {
                set(headers, RATELIMIT_LIMIT, text_buffer::number(report.burst));
                set(headers, RATELIMIT_REMAINING, text_buffer::number(report.remaining));
                set(headers, RATELIMIT_RESET, text_buffer::number(tightest.wait_secs()));
                set(headers, RATELIMIT_POLICY, policies.clone());
            }
            Self::Draft07 => {
                let mut line = TextBuffer::new();
                line.push("limit=").push_number(report.burst);
                line.push(", remaining=").push_number(report.remaining);
                line.push(", reset=").push_number(tightest.wait_secs());
                set(headers, RATELIMIT, line.to_header());
                set(headers, RATELIMIT_POLICY, policies.clone());
            }
            Self::None => {}
        }
    }
}

/// The rate-limit fields of one response, made before there is one.
#[derive(Debug)]
pub struct ResponseFields(Kind);

/// Every request carries this while it is served, so it is small, and what most have allocates nothing.
#[derive(Debug)]
enum Kind {
    /// Of the current draft: the texts, how many remain, and in how many seconds the quota is full.
    Ietf(&'static FieldTexts, u32, u32),
    Other(Option<Box<Other>>),
}

#[derive(Debug)]
enum Other {
    /// Of the current draft: `RateLimit-Policy` and `RateLimit`.
    Ietf(HeaderValue, HeaderValue),
    /// Of another dialect, each of which replaces what is there.
    Older(HeaderMap),
}

const _: () = assert!(size_of::<ResponseFields>() == 16);

impl Dialect {
    /// What the item of the current draft begins with, for a limit of this name: `"burst";r=`.
    pub(crate) fn item_start(name: &str) -> String {
        String::from_utf8_lossy(start_of(name).as_bytes()).into_owned()
    }

    /// What [`write`](Self::write) writes.
    pub(crate) fn fields(self, tightest: &LimitStatus<'_>, policies: HeaderValue) -> ResponseFields {
        let other = match self {
            Self::None => return ResponseFields::NONE,
            Self::Ietf => Other::Ietf(policies, item(tightest)),
            older => {
                let mut fields = HeaderMap::new();
                older.write(&mut fields, tightest, &policies);
                Other::Older(fields)
            }
        };
        ResponseFields(Kind::Other(Some(Box::new(other))))
    }
}

impl ResponseFields {
    /// Of the current draft, from what is made when limits are set up and the figures of one that admitted: how many remain, and
    /// in how many seconds the quota is full.
    pub(crate) fn ietf(texts: &SharedTexts, remaining: u64, wait: u64) -> Self {
        if let (SharedTexts::Kept(texts), Ok(remaining), Ok(wait)) = (texts, remaining.try_into(), wait.try_into()) {
            return Self(Kind::Ietf(texts, remaining, wait));
        }
        let texts = texts.here();
        let limit = item_of(&texts.item_start, remaining, Some(wait));
        Self(Kind::Other(Some(Box::new(Other::Ietf(texts.policies.clone(), limit)))))
    }

    pub(crate) const NONE: Self = Self(Kind::Other(None));

    /// Whether there are none.
    #[cfg(feature = "tower")]
    pub(crate) const fn are_none(&self) -> bool {
        matches!(self.0, Kind::Other(None))
    }

    /// Gives each, in the order in which [`write`](Self::write) adds them: for a server whose headers are no [`HeaderMap`].
    pub fn for_each(self, mut each: impl FnMut(&HeaderName, &HeaderValue)) {
        let mut both = |policies: &_, limit: &_| {
            each(&RATELIMIT_POLICY, policies);
            each(&RATELIMIT, limit);
        };
        match self.0 {
            Kind::Ietf(texts, remaining, wait) => both(&texts.policies, &item_of_few(texts, remaining, wait)),
            Kind::Other(None) => {}
            Kind::Other(Some(other)) => match *other {
                Other::Ietf(policies, limit) => both(&policies, &limit),
                Other::Older(fields) => fields.iter().for_each(|(name, value)| each(name, value)),
            },
        }
    }

    /// Writes them, as [`Dialect::write`] does.
    pub fn write(self, headers: &mut HeaderMap) {
        match self.0 {
            Kind::Ietf(texts, remaining, wait) => {
                append(headers, texts.policies.clone(), item_of_few(texts, remaining, wait))
            }
            Kind::Other(None) => {}
            Kind::Other(Some(other)) => match *other {
                Other::Ietf(policies, limit) => append(headers, policies, limit),
                Other::Older(fields) => {
                    for (name, value) in fields {
                        // Each name is there once, so it comes with its value.
                        name.into_iter().for_each(|name| set(headers, name, value.clone()));
                    }
                }
            },
        }
    }
}

/// `"burst";r=`.
fn start_of(name: &str) -> TextBuffer {
    let mut start = TextBuffer::new();
    start.push_quoted(name).push(";r=");
    start
}

/// `"burst";r=50;t=30`.
fn item(tightest: &LimitStatus<'_>) -> HeaderValue {
    let wait = tightest.knows_wait().then(|| tightest.wait_secs());
    match tightest.item_start {
        Some(start) => item_of(start.as_bytes(), tightest.report.remaining, wait),
        None => item_of(start_of(tightest.name).as_bytes(), tightest.report.remaining, wait),
    }
}

/// Of what it [begins with](Dialect::item_start), and its figures.
fn item_of(start: &[u8], remaining: u64, wait: Option<u64>) -> HeaderValue {
    let (mut left, mut seconds) = (Digits::new(), Digits::new());
    let (left, until) = (left.of(remaining), wait.map(|wait| seconds.of(wait)));
    // In one allocation of its length.
    let mut text = Vec::with_capacity(start.len() + left.len() + until.map_or(0, |until| TIME.len() + until.len()));
    text.extend_from_slice(start);
    text.extend_from_slice(left);
    if let Some(until) = until {
        text.extend_from_slice(TIME);
        text.extend_from_slice(until);
    }
    text_buffer::value(text)
}

const TIME: &[u8] = b";t=";

fn item_of_few(texts: &FieldTexts, remaining: u32, wait: u32) -> HeaderValue {
    item_of(&texts.item_start, remaining.into(), Some(wait.into()))
}

/// Adds the fields of the current draft. A map that is full stays as it is, which does not fail the request.
fn append(headers: &mut HeaderMap, policies: HeaderValue, limit: HeaderValue) {
    let _ = headers.try_append(RATELIMIT_POLICY, policies);
    let _ = headers.try_append(RATELIMIT, limit);
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Dialect {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|dialect| dialect.name() == name)
            .ok_or_else(|| UnknownName::new("dialect of rate-limit headers", name, Self::NAMES))
    }
}

/// Replaces a field; a map that is full stays as it is, and the request does not fail.
fn set(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    let _ = headers.try_insert(name, value);
}

/// The window in seconds, if it is one that can be shown.
fn window(quota: &Quota, unit: QuotaUnit) -> Option<u64> {
    let period = quota.period();
    (unit != QuotaUnit::ConcurrentRequests && period.subsec_nanos() == 0).then_some(period.as_secs())
}

/// `10, 10;w=60;name="x"`, in one allocation however long the policies are.
fn limit_and_policies(limit: u64, policies: &HeaderValue) -> HeaderValue {
    let mut start = TextBuffer::new();
    start.push_number(limit).push(", ");
    let mut text = Vec::with_capacity(start.as_bytes().len() + policies.len());
    text.extend_from_slice(start.as_bytes());
    text.extend_from_slice(policies.as_bytes());
    // Both parts are printable ASCII.
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However large the figures are, wherever the texts are, and whoever takes the fields.
    #[test]
    fn fields_that_are_carried_say_what_is_written_at_once() {
        let (policies, start) = (HeaderValue::from_static("\"p\";q=10;w=60"), Dialect::item_start("p"));
        let most = u64::from(u32::MAX);
        for (remaining, wait) in [(0, 0), (9, 54), (most, most), (most + 1, 1), (1, most + 1), (u64::MAX, u64::MAX)] {
            let shown = |figure: u64| figure.min(999_999_999_999_999);
            let item = format!("\"p\";r={};t={}", shown(remaining), shown(wait));
            for texts in [SharedTexts::new(&policies, &start), SharedTexts::copies(&policies, &start)] {
                let fields = || ResponseFields::ietf(&texts, remaining, wait);
                let mut headers = HeaderMap::new();
                fields().write(&mut headers);
                assert_eq!(headers.len(), 2);
                assert_eq!(headers[RATELIMIT_POLICY], policies);
                assert_eq!(headers[RATELIMIT], item);
                let mut given = Vec::new();
                fields().for_each(|name, value| given.push((name.clone(), value.clone())));
                assert_eq!(given, [(RATELIMIT_POLICY, policies.clone()), (RATELIMIT, headers[RATELIMIT].clone())]);
            }
        }
    }
}
