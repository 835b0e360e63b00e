//! Where windows begin and end: whole multiples of the period since the clock's zero. Exact, without a division.

use crate::arith::narrow;
use crate::word::{Units, Word};

/// The grid of a window algorithm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    /// The length of a window, at least 2.
    pub(crate) window: Units,
    /// What to add to a stamp so that windows begin at multiples; below `window`.
    phase: Units,
    /// `floor(2^shift / window) + 1` with `shift = 61 + ceil(log2 window)`: `floor(x / window)` is
    /// `x * reciprocal >> shift` for every `x < 2^61` (Granlund and Montgomery, 1994, theorem 4.2).
    reciprocal: u64,
    shift: u32,
}

impl Grid {
    pub(crate) const fn new(window: Units, phase: Units) -> Self {
        assert!(window >= 2 && phase < window && window <= Word::MAX_STAMP);
        let log = u64::BITS - (window - 1).leading_zeros();
        let shift = 61 + log;
        // 2^shift / window <= 2^61 * 2^log / 2^(log - 1) = 2^62, so it fits.
        let reciprocal = narrow((1_u128 << shift) / window as u128 + 1);
        Self { window, phase, reciprocal, shift }
    }

    /// The end of the window that holds `now`: the first boundary later than `now`.
    #[inline]
    pub(crate) const fn end(&self, now: Units) -> Units {
        let x = now + self.phase; // both below 2^60
        // At most x.
        let index = narrow((x as u128 * self.reciprocal as u128) >> self.shift);
        let into = x - index * self.window;
        now + self.window - into
    }

    /// The end of the window that holds `now`, and how far into a window that ends there the stamp reaches:
    /// a stamp is a boundary plus a count. A stamp of a later window than now's (its writer's clock was ahead) keeps
    /// its own end, so a late caller is counted in the newest window.
    #[inline]
    pub(crate) const fn split(&self, stamp: Units, now: Units) -> (Units, Units) {
        let end = self.end(now);
        if stamp < end {
            return (end, 0);
        }
        let count = stamp - end;
        if count < self.window {
            return (end, count);
        }
        let end = self.end(stamp) - self.window;
        (end, stamp - end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn end_is_the_first_boundary_later_than_now(window in 2_u64..1 << 57, now in 0_u64..=Word::MAX_STAMP, phase: u64) {
            let phase = phase % window;
            // Near boundaries as well as anywhere.
            let boundary = (now / window).max(1) * window - phase;
            for now in [now, boundary, boundary.saturating_sub(1), boundary + 1] {
                if now <= Word::MAX_STAMP {
                    let exact = ((now + phase) / window + 1) * window - phase;
                    prop_assert_eq!(Grid::new(window, phase).end(now), exact);
                }
            }
        }
    }
}
