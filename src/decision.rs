//! The answer to a check. What it says beyond yes or no is computed when it is asked for.

use core::fmt;
use core::time::Duration;

use crate::clock::Instant;
use crate::limit::Limit;
use crate::word::Units;

/// Yes, not now, or never. There will be no fourth: a `match` needs no arm for what it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Admitted; the cost has been taken.
    Allowed,
    /// Not now: nothing was taken (where [refusals count](crate::Quota::with_refused_counted), the cost was counted), and [`Decision::retry_after`] says when to try again.
    Refused,
    /// As [`Refused`](Self::Refused), and waiting is of no use: the cost is more than the limit, or the table, can ever hold at once; or
    /// the limit or the hash of the key is another limiter's.
    NeverFits,
}

/// What the verdict rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// The stamp of the bucket, after the decision.
    Stamp(Units),
    /// A sliding log, looked through.
    Log { available: u64, ready_at: Units, full_at: Units },
    /// The same, of one that finds no slots for what it would remember.
    CrowdedLog { available: u64, ready_at: Units, full_at: Units },
    /// No bucket: the table is full, until then.
    NoRoom { until: Units },
    /// No bucket, and no limit.
    Unlimited,
}

/// The answer to one check; borrows its limit. [`Decision::report`] gives the same without a borrow.
///
/// All figures agree with each other, as of the instant of the decision: a refused call repeated after
/// [`retry_after`](Self::retry_after) is admitted if nobody else came, and is refused one nanosecond before.
#[derive(Clone, Copy)]
#[must_use = "a decision that nobody looks at limits nothing"]
pub struct Decision<'a> {
    pub(crate) limit: &'a Limit,
    pub(crate) verdict: Verdict,
    pub(crate) cost: u64,
    pub(crate) now: Instant,
    pub(crate) evidence: Evidence,
}

impl<'a> Decision<'a> {
    /// Under a limit, or for a key, that is not the limiter's own.
    pub(crate) const fn foreign(limit: &'a Limit, cost: u64, now: Instant) -> Self {
        Self { limit, verdict: Verdict::NeverFits, cost, now, evidence: Evidence::NoRoom { until: 0 } }
    }

    /// Whether the request may go. Ask this, and not whether there is a wait: one that can never go has none either.
    #[inline]
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        matches!(self.verdict, Verdict::Allowed)
    }

    /// Whether the request may not go: the opposite of [`is_allowed`](Self::is_allowed).
    #[inline]
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        !self.is_allowed()
    }

    /// Whether the request may not go now, but may later: it is worth a [retry](Self::retry_after).
    #[inline]
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.verdict, Verdict::Refused)
    }

    /// Whether the request can never go, most likely because its cost is above [`burst`](Self::burst).
    #[inline]
    #[must_use]
    pub const fn never_fits(&self) -> bool {
        matches!(self.verdict, Verdict::NeverFits)
    }

    /// Yes, not now, or never.
    #[inline]
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The limit that decided.
    #[must_use]
    pub const fn limit(&self) -> &'a Limit {
        self.limit
    }

    /// The instant of the decision.
    #[must_use]
    pub const fn at(&self) -> Instant {
        self.now
    }

    /// The most that fits at once: the burst, or a window's count; [`u64::MAX`] without a limit.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.limit.most()
    }

    fn units(&self) -> Units {
        self.limit.base.units(self.now)
    }

    fn until(&self, target: Units) -> Duration {
        Duration::from_nanos(self.limit.base.nanos_until(self.now, target))
    }

    /// The largest cost that would still be admitted at this instant, after the decision; at most [`burst`](Self::burst).
    #[must_use]
    pub fn remaining(&self) -> u64 {
        match self.evidence {
            Evidence::Stamp(stamp) => self.limit.rule.available(stamp, self.units()),
            Evidence::Log { available, .. } | Evidence::CrowdedLog { available, .. } => available,
            Evidence::NoRoom { .. } => 0,
            Evidence::Unlimited => u64::MAX,
        }
    }

    /// How long until the same call is admitted, if nobody else comes. To the nanosecond; never zero.
    ///
    /// `None` if it was admitted, **and if it never will be**: this does not tell whether the request may go, which
    /// [`is_allowed`](Self::is_allowed) does.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        // At least a nanosecond: when another thread has given back in the meantime, "now" is a fair answer, and zero
        // would make a client spin.
        self.ready_at().map(|ready_at| self.until(ready_at).max(Duration::from_nanos(1)))
    }

    /// Whether it rests on slots that are not there.
    pub(crate) const fn lacks_room(&self) -> bool {
        matches!(self.evidence, Evidence::NoRoom { .. } | Evidence::CrowdedLog { .. })
    }

    /// When the same call is admitted, of one that is worth a retry.
    pub(crate) fn ready_at(&self) -> Option<Units> {
        if !self.is_retryable() {
            return None;
        }
        Some(match self.evidence {
            Evidence::Stamp(stamp) => self.limit.rule.ready_at(stamp, self.units(), self.cost),
            Evidence::Log { ready_at, .. } | Evidence::CrowdedLog { ready_at, .. } => ready_at,
            Evidence::NoRoom { until } => until,
            Evidence::Unlimited => return None, // never refused
        })
    }

    /// How long until everything is available again, if nobody else comes; zero if it is.
    #[must_use]
    pub fn reset_after(&self) -> Duration {
        self.until(match self.evidence {
            Evidence::Stamp(stamp) => self.limit.rule.full_at(stamp, self.units()),
            Evidence::Log { full_at, .. } | Evidence::CrowdedLog { full_at, .. } => full_at,
            Evidence::NoRoom { until } => until,
            Evidence::Unlimited => return Duration::ZERO,
        })
    }

    /// All figures, computed now and free of the limiter.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            verdict: self.verdict,
            burst: self.burst(),
            remaining: self.remaining(),
            retry_after: self.retry_after(),
            reset_after: self.reset_after(),
        }
    }
}

impl fmt::Debug for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Decision").field(&self.report()).finish()
    }
}

/// The figures of a [`Decision`]; to be made by whoever limits by other means and answers in the same words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// See [`Decision::verdict`].
    pub verdict: Verdict,
    /// See [`Decision::burst`].
    pub burst: u64,
    /// See [`Decision::remaining`].
    pub remaining: u64,
    /// See [`Decision::retry_after`].
    pub retry_after: Option<Duration>,
    /// See [`Decision::reset_after`].
    pub reset_after: Duration,
}
