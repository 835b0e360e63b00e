//! The answer of a fleet, in the engine's words.

use core::time::Duration;

use tollgate::{Report, Verdict};

use crate::error::Outage;
use crate::outage::OnOutage;

/// Who decided.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The server.
    Server,
    /// This node: the limit admits everything, or nothing.
    Here,
    /// This node, by tokens that it had [taken in advance](crate::FleetLimit::leased).
    Lease,
    /// This node, by what a server said of the key a moment ago.
    Known,
    /// No server: what the limit says [for an outage](OnOutage), and why.
    Outage(OnOutage, Outage),
}

/// The answer to one check. Free of the fleet: nothing is borrowed.
///
/// All figures are of one reply, each rounded once, to the server's microsecond: a refused call repeated after
/// [`retry_after`](Self::retry_after) is admitted if nobody else came, and is refused a microsecond before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a decision that nobody looks at limits nothing"]
pub struct FleetDecision {
    pub(crate) report: Report,
    pub(crate) place: Place,
    pub(crate) at_us: Option<u64>,
    /// The window of a server that counted the request, so that only that one gets it back; 0 for buckets.
    pub(crate) mine: u64,
}

impl FleetDecision {
    /// Whether the request may go.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self.report.verdict, Verdict::Allowed)
    }

    /// Whether it may not.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        !self.is_allowed()
    }

    /// Whether it may not now, but may later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.report.verdict, Verdict::Refused)
    }

    /// Whether it never may: its cost is above all that fits.
    #[must_use]
    pub const fn never_fits(&self) -> bool {
        matches!(self.report.verdict, Verdict::NeverFits)
    }

    /// Yes, not now, or never.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.report.verdict
    }

    /// The most that fits at once.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.report.burst
    }

    /// The largest cost that would still be admitted at this instant, after the decision.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.report.remaining
    }

    /// How long until the same call is admitted, if nobody else comes. `None` if it was admitted, **and if it never will be**.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.report.retry_after
    }

    /// How long until everything is available again, if nobody else comes.
    #[must_use]
    pub const fn reset_after(&self) -> Duration {
        self.report.reset_after
    }

    /// All figures.
    #[must_use]
    pub const fn report(&self) -> Report {
        self.report
    }

    /// Who decided.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Why no server decided, if none did. A refusal with an outage is the server's failure and not the client's: 503, not 429.
    #[must_use]
    pub const fn outage(&self) -> Option<&Outage> {
        if let Place::Outage(_, outage) = &self.place { Some(outage) } else { None }
    }

    /// When the server decided, by its clock: microseconds since 1970. `None` if it was not asked.
    #[must_use]
    pub const fn at_micros(&self) -> Option<u64> {
        self.at_us
    }
}

/// The answer of several limits: all of them admitted the request and took its cost, or none took anything.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a decision that nobody looks at limits nothing"]
pub struct FleetSetDecision {
    decisions: Vec<FleetDecision>,
    index: usize,
}

impl FleetSetDecision {
    /// Of no decision: refused, as by a closed limit. Nothing has said yes.
    pub(crate) fn new(mut decisions: Vec<FleetDecision>) -> Self {
        if decisions.is_empty() {
            let none = Report {
                verdict: Verdict::NeverFits,
                burst: 0,
                remaining: 0,
                retry_after: None,
                reset_after: Duration::ZERO,
            };
            decisions.push(FleetDecision { report: none, place: Place::Here, at_us: None, mine: 0 });
        }
        // Of those that refused, the one that refuses longest, never being longest; else the one with the fewest left.
        let rank = |decision: &FleetDecision| match decision.verdict() {
            Verdict::Allowed => (0, Duration::ZERO),
            Verdict::Refused => (1, decision.retry_after().unwrap_or_default()),
            Verdict::NeverFits => (2, Duration::ZERO),
        };
        let mut index = 0;
        for (i, decision) in decisions.iter().enumerate().skip(1) {
            let first = &decisions[index];
            let is_before = match rank(decision).cmp(&rank(first)) {
                core::cmp::Ordering::Greater => true,
                core::cmp::Ordering::Equal => decision.is_allowed() && decision.remaining() < first.remaining(),
                core::cmp::Ordering::Less => false,
            };
            if is_before {
                index = i;
            }
        }
        Self { decisions, index }
    }

    /// Whether the request may go: every limit admitted it, and each has taken its cost. If not, none has.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.decision().is_allowed()
    }

    /// Whether it may not.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !self.is_allowed()
    }

    /// The decision of the limit at [`index`](Self::index).
    pub fn decision(&self) -> &FleetDecision {
        &self.decisions[self.index]
    }

    /// Which limit that is: of those that refused, the one that refuses longest; if all admitted, the one with the fewest
    /// remaining. Of equals, the first.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// What each limit said by itself, in the order given. If one refuses, "allowed" of another means that it would have
    /// admitted the request; nothing was taken there.
    pub fn decisions(&self) -> &[FleetDecision] {
        &self.decisions
    }

    /// The largest cost that all limits would still admit.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.decisions.iter().map(FleetDecision::remaining).min().unwrap_or(0)
    }

    /// How long until the same call is admitted, if nobody else comes.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.decision().retry_after()
    }
}
