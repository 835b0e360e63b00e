//! A limit's state for a client: what answers are made of.

use core::fmt::{self, Write as _};
use core::time::Duration;

use tollgate::clock::Instant;
use tollgate::{Decision, Quota, Report, Verdict};

use super::text_buffer::TextBuffer;
use super::wire_name::WireName;

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum QuotaUnit {
    /// Requests in a period; the default.
    #[default]
    Requests,
    /// Requests in flight. The period of the quota means nothing.
    ConcurrentRequests,
}

impl QuotaUnit {
    /// The name in the draft's table of quota units.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::ConcurrentRequests => "concurrent-requests",
        }
    }
}

impl fmt::Display for QuotaUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A limit's state for a client: which limit, and the figures of the latest decision.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct LimitStatus<'a> {
    /// The name of the limit, as in `RateLimit-Policy`.
    pub name: &'a str,
    /// The name of the policy that the limit belongs to.
    pub policy: &'a str,
    /// What the limit allows.
    pub quota: &'a Quota,
    /// What it counts.
    pub unit: QuotaUnit,
    /// The instant of the decision, of a clock that begins with 1970.
    pub at: Instant,
    /// The figures of the decision.
    pub report: Report,
    /// The beginning of its [item](super::Dialect::item_start), if that has been made already.
    pub(crate) item_start: Option<&'a str>,
}

impl<'a> LimitStatus<'a> {
    /// The status of the limit that `decision` was made under, called `name`: for those who decide with the engine themselves and
    /// answer with an [`Answer`](super::Answer) or a [`Dialect`](super::Dialect). The policy is called the same.
    #[must_use]
    pub fn of(name: &'a str, decision: &Decision<'a>) -> Self {
        Self {
            name,
            policy: name,
            quota: decision.limit().quota(),
            unit: QuotaUnit::default(),
            at: decision.at(),
            report: decision.report(),
            item_start: None,
        }
    }

    /// The same of figures that something else than the engine has, such as a fleet, at the instant `at`.
    #[must_use]
    pub fn of_report(name: &'a str, quota: &'a Quota, at: Instant, report: Report) -> Self {
        Self { name, policy: name, quota, unit: QuotaUnit::default(), at, report, item_start: None }
    }

    /// The same with another name of the policy.
    #[must_use]
    pub const fn with_policy(mut self, policy: &'a str) -> Self {
        self.policy = policy;
        self
    }

    /// The same of a limit that counts something else.
    #[must_use]
    pub const fn with_unit(mut self, unit: QuotaUnit) -> Self {
        self.unit = unit;
        self
    }
}

impl LimitStatus<'_> {
    /// The longest name that clients are shown in full, in bytes; of a longer one they see the beginning.
    ///
    /// Bytes that are not printable ASCII count three times, as they are shown percent-encoded.
    pub const MAX_NAME: usize = WireName::MAX;

    pub(crate) fn never_fits(&self) -> bool {
        self.report.verdict == Verdict::NeverFits
    }

    /// Whether it is known when to try next, or when the quota returns: a request in flight ends when it ends, and for
    /// one that can never be admitted there is no next.
    pub(crate) fn knows_wait(&self) -> bool {
        let is_told = self.report.retry_after.is_some();
        is_told || (self.report.verdict == Verdict::Allowed && self.unit != QuotaUnit::ConcurrentRequests)
    }

    /// How long until what the client would ask about: its next try if it was refused, a full quota otherwise. Never "now"
    /// for one that was refused.
    fn wait(&self) -> Duration {
        match self.report.verdict {
            Verdict::Allowed => self.report.reset_after,
            _ => self.report.retry_after.unwrap_or(self.report.reset_after.max(Duration::from_secs(1))),
        }
    }

    /// That in whole seconds, rounded up.
    pub(crate) fn wait_secs(&self) -> u64 {
        ceil_secs(self.wait())
    }

    /// The second since 1970 at which that is over, rounded up.
    pub(crate) fn wait_ends(&self) -> u64 {
        epoch_secs(self.at.saturating_add(self.wait()))
    }

    /// The rule in words, such as `5 per 1 minute`.
    pub(crate) fn push_rule(&self, line: &mut TextBuffer) {
        // A `TextBuffer` takes all it has room for and reports no errors.
        let _ = match self.unit {
            QuotaUnit::ConcurrentRequests => write!(line, "{} at a time", self.quota.count()),
            QuotaUnit::Requests => write!(line, "{:#}", self.quota),
        };
    }
}

/// Whole seconds, rounded up: a client that waits them has waited long enough.
pub(crate) fn ceil_secs(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// Whole seconds since 1970, rounded up.
pub(crate) fn epoch_secs(at: Instant) -> u64 {
    at.as_nanos().div_ceil(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_round_up() {
        for (nanos, secs) in [(0, 0), (1, 1), (999_999_999, 1), (1_000_000_000, 1), (1_000_000_001, 2)] {
            assert_eq!(ceil_secs(Duration::from_nanos(nanos)), secs, "{nanos} ns");
            assert_eq!(epoch_secs(Instant::from_nanos(nanos)), secs, "{nanos} ns");
        }
        assert_eq!(ceil_secs(Duration::MAX), u64::MAX);
    }
}
