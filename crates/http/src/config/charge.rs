//! When a request is charged.

use std::fmt;
use std::str::FromStr;

use http::{HeaderMap, HeaderName, StatusCode};

use crate::error::ConfigError;

/// When a request is charged for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Charge {
    /// When it comes.
    #[default]
    OnRequest,
    /// When it comes; what it cost is given back if the response has one of these statuses. The strict way to limit
    /// failures only: no more than the limit are ever under way.
    RefundOn(Statuses),
    /// After the response, if that has one of these statuses, such as a failed login. A request is refused while the
    /// limit is used up; requests that are under way at once may go past it together, each by its cost. See
    /// [`Unanswered`] for those that end without a response.
    OnlyOn(Statuses),
    /// When it comes, by the policy's cost; once the response is there, as much as this field of it says, in place of the cost:
    /// for what the application alone knows, such as tokens or bytes (`content-length`).
    ///
    /// The field is one line with one whole number, and stays in the response. If it is not there, is there twice or says anything
    /// else, the cost stands, as it does without a response unless [`Unanswered::Free`]. More than [`u64::MAX`] is as much as that.
    /// A bucket that has less left goes into debt, as far as its limit allows (`1000/minute debt 5 minutes`; an hour or a bucket's
    /// worth unless it says so); a window takes what is left, and the rest is not counted.
    ByField(HeaderName),
}

/// The count in `field` of a response, if it is one.
pub(crate) fn count(headers: &HeaderMap, field: &HeaderName) -> Option<u64> {
    let mut lines = headers.get_all(field).iter();
    let text = lines.next()?.to_str().ok()?.trim();
    if lines.next().is_some() || text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Of digits alone, only a number that is too large is none.
    Some(text.parse().unwrap_or(u64::MAX))
}

/// What becomes of a request that went to the application and ended without a response: its client has gone away, or the
/// application failed. It matters where the response decides about the charge.
///
/// The application may have done its work all the same. A client that learns what it wants by other means, or wants no
/// answer, can always be gone before the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Unanswered {
    /// It is charged, whatever the response would have been.
    #[default]
    Charged,
    /// It is free.
    Free,
}

/// Statuses of responses, such as `401`, `5xx`, or `401, 403, 5xx`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// These statuses.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tollgate_http::Statuses;
    ///
    /// let failures = Statuses::of([StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN]).or(Statuses::server_errors());
    /// assert_eq!(failures, "401, 403, 5xx".parse()?);
    /// # Ok::<(), tollgate_http::ConfigError>(())
    /// ```
    ///
    /// None at all do not compile:
    ///
    /// ```compile_fail
    /// tollgate_http::Statuses::of([]);
    /// ```
    #[must_use]
    pub fn of<const N: usize>(statuses: [StatusCode; N]) -> Self {
        const { assert!(N > 0, "one status or more") };
        Self(statuses.iter().map(|status| (status.as_u16(), status.as_u16())).collect())
    }

    /// `2xx`: 200 to 299.
    #[must_use]
    pub fn successes() -> Self {
        Self(vec![(200, 299)])
    }

    /// `4xx`: 400 to 499.
    #[must_use]
    pub fn client_errors() -> Self {
        Self(vec![(400, 499)])
    }

    /// `5xx`: 500 to 599.
    #[must_use]
    pub fn server_errors() -> Self {
        Self(vec![(500, 599)])
    }

    /// These, and `others`.
    #[must_use]
    pub fn or(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Whether `status` is one of them.
    #[must_use]
    pub fn contains(&self, status: StatusCode) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16()))
    }
}

impl FromStr for Statuses {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let one = |status: &str| {
            let status = status.trim();
            if let Some(class) = status.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok()) {
                return (1..=5).contains(&class).then(|| (class * 100, class * 100 + 99));
            }
            let status = status.parse::<u16>().ok().filter(|status| (100..=599).contains(status))?;
            Some((status, status))
        };
        let parts = text.split([',', ' ']).filter(|part| !part.trim().is_empty());
        let bad = |part: &str| ConfigError::Status { status: part.trim().to_owned() };
        let statuses = parts.map(|part| one(part).ok_or_else(|| bad(part))).collect::<Result<Vec<_>, _>>()?;
        if statuses.is_empty() { Err(bad(text)) } else { Ok(Self(statuses)) }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            if first == last { write!(f, "{first}")? } else { write!(f, "{}xx", first / 100)? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-cost", http::HeaderValue::from_static(line));
            }
            count(&headers, &HeaderName::from_static("x-cost"))
        };
        for (line, expected) in [
            ("0", Some(0)),
            (" 42 ", Some(42)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1e3", None),
            ("1, 2", None),
            ("0x10", None),
            ("many", None),
        ] {
            assert_eq!(of(&[line]), expected, "{line}");
        }
        assert_eq!((of(&[]), of(&["1", "1"])), (None, None));
    }

    #[test]
    fn statuses() {
        let statuses: Statuses = "401, 5xx 404".parse().unwrap();
        assert_eq!(statuses.to_string(), "401, 5xx, 404");
        for (status, is_in) in [(401, true), (403, false), (500, true), (599, true), (404, true), (200, false)] {
            assert_eq!(statuses.contains(StatusCode::from_u16(status).unwrap()), is_in, "{status}");
        }
        for bad in ["", ",", "9xx", "0xx", "xx", "40", "600", "4xx-5xx", "failed", "65535xx"] {
            assert!(bad.parse::<Statuses>().is_err(), "{bad}");
        }
    }
}
