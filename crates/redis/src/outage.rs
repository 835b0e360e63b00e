//! What decides when no server does.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use tollgate::{Algorithm, Quota, Report, Verdict};

/// What a limit does when no server decides: in B the burst, r the rate, N the nodes of the fleet, p of them cut off for a time t.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnOutage {
    /// Refuses. Admitted beyond the limit: 0. The default.
    #[default]
    Closed,
    /// Admits. Admitted beyond the limit: whatever is offered.
    Open,
    /// Each node decides by itself under its share of the limit: `max(1, B / N)`, refilled at `r / N`; of windows
    /// `max(1, count / N)`. Admitted beyond the limit: `p * (max(1, B / N) + r / N * t)`, so that of a fleet that is all cut off
    /// (p = N) no more than the limit itself is admitted, if B is at least N.
    Share,
    /// Each node decides by itself under the whole limit. Admitted beyond the limit: `p * (B + r * t)`.
    Local,
}

impl OnOutage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Closed, Self::Open, Self::Share, Self::Local];

    /// The word for it, in configuration and figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Share => "share",
            Self::Local => "local",
        }
    }

    /// What each node decides by, if it does so by itself.
    pub(crate) fn quota(self, quota: &Quota, nodes: u64) -> Option<Quota> {
        let quota = match self {
            Self::Closed | Self::Open => return None,
            Self::Local => *quota,
            Self::Share => share(quota, nodes),
        };
        Some(quota)
    }

    /// The answer of who does not look at anything.
    pub(crate) const fn report(self, burst: u64) -> Report {
        match self {
            Self::Open => {
                let reset_after = Duration::ZERO;
                Report { verdict: Verdict::Allowed, burst, remaining: 0, retry_after: None, reset_after }
            }
            _ => refusal(burst),
        }
    }
}

/// Not now; a server may be there soon.
pub(crate) const fn refusal(burst: u64) -> Report {
    Report { verdict: Verdict::Refused, burst, remaining: 0, retry_after: Some(RETRY), reset_after: RETRY }
}

/// After that a connection has been tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The part of one node of `nodes`.
fn share(quota: &Quota, nodes: u64) -> Quota {
    if quota.is_unlimited() || quota.count() == 0 {
        return *quota;
    }
    let part = |whole: u64| (whole / nodes).max(1);
    let is_rate = matches!(quota.algorithm(), Algorithm::TokenBucket | Algorithm::LeakyBucket | Algorithm::LeakyQueue);
    // The rate in N times the period is the rate's share to the last digit; else it is rounded down.
    let (count, period) = match u32::try_from(nodes).ok().and_then(|nodes| quota.period().checked_mul(nodes)) {
        Some(longer) if is_rate && longer <= Quota::MAX_PERIOD => (quota.count(), longer),
        _ => (part(quota.count()), quota.period()),
    };
    let Ok(share) = Quota::new(count, period) else { return Quota::blocked() };
    let share = share.with_algorithm(quota.algorithm()).with_window_start(quota.window_start());
    let share = share.with_refused_counted(quota.counts_refused());
    if !is_rate {
        return share;
    }
    let burst = if quota.burst() == 0 { 0 } else { part(quota.burst()) };
    let share = share.with_burst(burst);
    quota.max_debt().map_or(share, |debt| share.with_max_debt(debt))
}

impl fmt::Display for OnOutage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that is none of [`OnOutage::ALL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownOnOutage {
    /// The word that was given.
    pub given: String,
}

impl fmt::Display for UnknownOnOutage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown choice `{}` for an outage; expected closed, open, share or local", self.given)
    }
}

impl core::error::Error for UnknownOnOutage {}

impl FromStr for OnOutage {
    type Err = UnknownOnOutage;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|choice| choice.name() == word)
            .ok_or_else(|| UnknownOnOutage { given: word.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_no_more_than_its_part() {
        let share = |text: &str, nodes| share(&text.parse().unwrap(), nodes).to_string();
        assert_eq!(share("100/second", 4), "100 per 4 second burst 25");
        assert_eq!(share("100/minute as fixed-window", 3), "33 per 1 minute as fixed-window");
        assert_eq!(share("10/second burst 2", 4), "10 per 4 second burst 1");
        assert_eq!(share("unlimited", 4), "unlimited");
        assert_eq!(share("blocked", 4), "blocked");
    }
    #[test]
    fn all_shares_are_no_more_than_the_limit() {
        for text in
            ["100/second", "100/minute as fixed-window", "10/second burst 4", "1000/hour as leaky-queue burst 40"]
        {
            let whole: Quota = text.parse().unwrap();
            for nodes in [1, 3, 4] {
                let part = OnOutage::Share.quota(&whole, nodes).unwrap();
                assert!(nodes * part.burst() <= whole.burst(), "{text}");
                let per_nano = |quota: &Quota| u128::from(quota.count()) << 64;
                // count / period, times the nodes.
                let (all, limit) = (
                    per_nano(&part) * u128::from(nodes) / part.period().as_nanos(),
                    per_nano(&whole) / whole.period().as_nanos(),
                );
                assert!(all <= limit, "{text}");
            }
            assert_eq!(OnOutage::Local.quota(&whole, 4).unwrap().to_string(), whole.to_string());
        }
    }
}
