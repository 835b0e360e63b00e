//! When a request is charged.

use std::fmt;
use std::str::FromStr;

use http::StatusCode;

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
}

/// What becomes of a request that went to the application and ended without a response: its client has gone away, or the
/// application failed. It matters where the response decides about the charge.
///
/// The application may have done its work all the same. A client that learns what it wants by other means, or wants no
/// answer, can always be gone before the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
        let statuses =
            text.split([',', ' ']).filter(|part| !part.trim().is_empty()).map(one).collect::<Option<Vec<_>>>();
        match statuses {
            Some(statuses) if !statuses.is_empty() => Ok(Self(statuses)),
            _ => Err(ConfigError::Statuses { statuses: text.to_owned() }),
        }
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
