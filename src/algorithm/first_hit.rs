//! Windows that begin with the first request and end one period later, as a counter that expires does.
//!
//! The end of such a window cannot be derived from `now`, so the stamp must say it beside the count:
//!
//! ```text
//!   stamp = end + count     end: a multiple of 2^bits, rounded up     count < 2^bits
//! ```
//!
//! 1. While the window lasts the stamp is later than now, as the end is: nobody may take its slot.
//! 2. The window is over at its end, though the stamp may be later than now by the count: what is then asked for begins a
//!    window of its own, whose end is later than that stamp, as a period is longer than `2^bits`. So taking moves the stamp
//!    later, and what is full is idle at most `2^bits` units after.
//! 3. The end is rounded up, never down: a window is no shorter than the period, so no span of a period from a first request
//!    on holds more than the limit.
//! 4. A count never reaches `2^bits`: limits are below half of that, a count of refusals stops below that half, and the
//!    other half says that the bucket was closed (`predecessor.rs`).
//!
//! `bits` depends on the period alone. It is a trade: each bit doubles both the largest count and what an end is late.

use super::token_bucket::later;
use crate::word::Units;

/// The period, and how its windows are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FirstHit {
    /// At least 2, and longer than `2^bits`.
    pub(crate) period: Units,
    /// Bits of the count.
    pub(crate) bits: u32,
}

impl FirstHit {
    /// The most bits: ends are late by less than 0.9 s, whatever the period.
    const MOST: u32 = 30;
    /// Ends are late by less than one part in so many, as a power of two.
    const SHARE: u32 = 10;
    /// Of a period that leaves less than so many bits: ends are late by less than 2^10 units, which is less than a microsecond.
    const SHORT: u32 = 10;

    pub(crate) const fn new(period: Units) -> Self {
        assert!(period >= 2);
        let log = u64::BITS - 1 - period.leading_zeros();
        let short = if log > Self::SHORT { Self::SHORT } else { log - 1 };
        let long = log.saturating_sub(Self::SHARE);
        let bits = if long > Self::MOST {
            Self::MOST
        } else if long > short {
            long
        } else {
            short
        };
        Self { period, bits }
    }

    pub(crate) const fn mask(&self) -> Units {
        (1 << self.bits) - 1
    }

    /// The end of a window that begins at `now`, rounded up.
    #[inline]
    pub(crate) const fn end(&self, now: Units) -> Units {
        // now <= LATEST, and the period is at most half of what is left beyond that.
        (now + self.period + self.mask()) & !self.mask()
    }

    /// The end of the window that a stamp is of.
    pub(crate) const fn end_of(&self, stamp: Units) -> Units {
        stamp & !self.mask()
    }

    /// The end of the window that a request at `now` is counted in, and what it has counted. A window that began later than
    /// `now` (its writer's clock was ahead) keeps its end, so a late caller is counted in the newest window.
    #[inline]
    pub(crate) const fn split(&self, stamp: Units, now: Units) -> (Units, u64) {
        let end = self.end_of(stamp);
        if end > now { (end, stamp & self.mask()) } else { (self.end(now), 0) }
    }

    /// The stamp that has counted as much as each of two, and ends no earlier than either.
    pub(crate) const fn later(&self, a: Units, b: Units, now: Units) -> Units {
        let ends = [self.end_of(a), self.end_of(b)];
        if ends[0] <= now || ends[1] <= now {
            return later(a, b); // of one that is over nothing counts
        }
        later(ends[0], ends[1]) + later(a & self.mask(), b & self.mask())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time_base::{LATEST, MAX_AHEAD};
    use crate::word::Word;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_end_is_late_by_less_than_a_share_and_never_early(period in 2_u64..=MAX_AHEAD / 2, now in 0_u64..=LATEST) {
            let windows = FirstHit::new(period);
            let (end, exact) = (windows.end(now), now + period);
            prop_assert!(end >= exact && end & windows.mask() == 0 && end + windows.mask() <= Word::MAX_STAMP);
            let late = end - exact;
            prop_assert!(late < 1 << 30 && late < period);
            prop_assert!(late < 1 << 10 || late < period >> 10);
            // The highest count is told from none, and the window after is written later.
            let stamp = end + windows.mask();
            prop_assert_eq!(windows.split(stamp, now), (end, windows.mask()));
            prop_assert_eq!(windows.split(stamp, end - 1), (end, windows.mask()));
            prop_assert_eq!(windows.split(stamp, end.min(LATEST)).1, if end > LATEST { windows.mask() } else { 0 });
            prop_assert!(end > LATEST || windows.end(end) > stamp);
        }
    }
}
