//! The instants that a limiter can tell apart (DESIGN.md, section 2).

use super::common::{DAY, SECOND};

/// From a year before the start to at least ten years after; any other instant counts as the nearest of these.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Where units are counted from.
    pub(crate) zero: i128,
}

impl Range {
    /// Three quarters of 2^60 units, of which the first second is left free.
    pub(crate) fn new(start: u64, units_per_second: u64) -> Self {
        const YEAR: u64 = 366 * DAY;
        let start = start / SECOND * SECOND;
        let units = (3 << 58) * u128::from(SECOND) / u128::from(units_per_second);
        let length = u64::try_from(units).expect("at most a unit a nanosecond") - SECOND - YEAR.saturating_sub(start);
        // A range that reached beyond the last instant of a clock begins earlier.
        let first = start.saturating_sub(YEAR).min((u64::MAX - length) / SECOND * SECOND);
        let zero = i128::from(first) - i128::from(SECOND + YEAR.saturating_sub(start));
        Self { first, last: first + length, zero }
    }

    pub(crate) fn contains(&self, t: u64) -> bool {
        (self.first..=self.last).contains(&t)
    }

    pub(crate) fn nearest(&self, t: u64) -> i128 {
        t.clamp(self.first, self.last).into()
    }
}
