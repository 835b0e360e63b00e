//! The sliding window counter: two counts, the previous window's weighted by how much of it a window that ends now
//! would still cover. The stamp is the end of the **next** window, when both counts have lost their meaning, plus
//! `previous * 2^bits + current`, which is always less than a window.
//!
//! The weight is exact: `previous * rest + (current + cost) * window <= limit * window`, in 128 bits, where the `limits`
//! package for Python rounds `previous * rest / window` down first and so may admit one more.

use super::least;
use super::token_bucket::later;
use super::window::Grid;
use super::{Borrowed, Debit};
use crate::arith::narrow;
use crate::word::Units;

/// At most `limit` in a window that ends now, by estimate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlidingWindow {
    pub(crate) grid: Grid,
    /// Less than `2^bits`.
    pub(crate) limit: u64,
    /// Bits of one count; depends on the window alone, so that a changed limit reads the same counts.
    pub(crate) bits: u32,
    /// 1 if units do not divide a nanosecond. `now` is then rounded down, and the rest of the window must not be rounded
    /// up with it, or a request would be withheld for a nanosecond.
    pub(crate) early: Units,
}

/// A stamp taken apart at an instant.
#[derive(Clone, Copy)]
struct Counts {
    /// The end of the current window.
    end: Units,
    /// From the instant to that end, at most a whole window.
    rest: Units,
    previous: u64,
    current: u64,
}

impl SlidingWindow {
    /// Bits of one count so that two of them are less than a window.
    pub(crate) const fn bits(window: Units) -> u32 {
        (u64::BITS - 1 - window.leading_zeros()) / 2
    }

    const fn counts(&self, stamp: Units, now: Units) -> Counts {
        let window = self.grid.window;
        let end = self.grid.end(now);
        let mask = (1 << self.bits) - 1;
        if stamp < end {
            return Counts { end, rest: end - now - self.early, previous: 0, current: 0 };
        }
        if stamp < end + window {
            // Written in the previous window: its current count is the previous one by now.
            return Counts { end, rest: end - now - self.early, previous: (stamp - end) & mask, current: 0 };
        }
        let next = end + window;
        if stamp - next < window {
            // Written in this window.
            let counts = stamp - next;
            return Counts { end, rest: end - now - self.early, previous: counts >> self.bits, current: counts & mask };
        }
        // Written in a later one, by a clock ahead of this: judged as at that window's start.
        let (next, counts) = self.grid.split(stamp, now + window);
        let rest = if next - window == end { end - now } else { window } - self.early;
        Counts { end: next - window, rest, previous: counts >> self.bits, current: counts & mask }
    }

    const fn stamp(&self, counts: Counts) -> Units {
        counts.end + self.grid.window + (counts.previous << self.bits) + counts.current
    }

    /// Whole requests that still fit: `floor(limit - previous * rest / window) - current`.
    const fn room(&self, counts: Counts) -> u64 {
        let window = self.grid.window as u128;
        // previous < 2^bits and rest <= window < 2^58: below 2^87.
        let weighted = (counts.previous as u128 * counts.rest as u128).div_ceil(window);
        // weighted <= previous, a u64.
        self.limit.saturating_sub(narrow(weighted)).saturating_sub(counts.current)
    }

    #[inline]
    pub(crate) const fn take(&self, stamp: Units, now: Units, cost: u64) -> Option<Units> {
        let mut counts = self.counts(stamp, now);
        // `cost <= room`, without its division. Compared before it is subtracted; the products are below 2^88.
        if counts.current > self.limit || cost > self.limit - counts.current {
            return None;
        }
        let left = self.limit - counts.current - cost;
        if counts.previous as u128 * counts.rest as u128 > left as u128 * self.grid.window as u128 {
            return None;
        }
        counts.current += cost;
        Some(self.stamp(counts))
    }

    pub(crate) const fn available(&self, stamp: Units, now: Units) -> u64 {
        self.room(self.counts(stamp, now))
    }

    /// Whether a request is counted in this window.
    pub(crate) const fn is_begun(&self, stamp: Units, now: Units) -> bool {
        self.counts(stamp, now).current > 0
    }

    /// The end of the window that a request at `now` is counted in, and how many still fit into it.
    pub(crate) const fn room_until(&self, stamp: Units, now: Units) -> (Units, u64) {
        let counts = self.counts(stamp, now);
        (counts.end, self.room(counts))
    }

    /// The first instant at which `cost <= limit` fits, if nobody else comes.
    pub(crate) const fn ready_at(&self, stamp: Units, now: Units, cost: u64) -> Units {
        let counts = self.counts(stamp, now);
        if cost <= self.room(counts) {
            return now;
        }
        let window = self.grid.window;
        // Later in this window: previous * rest <= (limit - current - cost) * window.
        if cost + counts.current <= self.limit {
            let rest = self.rest_for(self.limit - counts.current - cost, counts.previous);
            if rest + self.early > 0 {
                return later(counts.end - rest - self.early, now);
            }
        }
        // In the next window, of which this one's count will be the previous.
        let rest = self.rest_for(self.limit - cost, counts.current);
        later(counts.end + window - rest - self.early, counts.end)
    }

    /// The end of the window, what the one before has counted, and what this one has.
    pub(crate) const fn state(&self, stamp: Units, now: Units) -> (Units, u64, u64) {
        let counts = self.counts(stamp, now);
        (counts.end, self.counted(counts.previous), self.counted(counts.current))
    }

    /// The longest rest of a window, up to all of it, at which `previous` weighs no more than `room`.
    const fn rest_for(&self, room: u64, previous: u64) -> Units {
        let window = self.grid.window;
        if room >= previous {
            return window;
        }
        // room < previous, so the quotient is below `window`.
        narrow(room as u128 * window as u128 / previous as u128)
    }

    pub(crate) const fn full_at(&self, stamp: Units, now: Units) -> Units {
        let counts = self.counts(stamp, now);
        if counts.current > 0 {
            counts.end + self.grid.window - self.early
        } else if counts.previous > 0 {
            later(counts.end - self.early, now)
        } else {
            now
        }
    }

    /// Counts `cost`, up to the limit: what the window cannot hold is not carried into the next.
    pub(crate) const fn borrow(&self, stamp: Units, now: Units, cost: u64) -> Borrowed {
        let mut counts = self.counts(stamp, now);
        let room = self.limit.saturating_sub(counts.current);
        let taken = if cost < room { cost } else { room };
        counts.current += taken;
        Borrowed { stamp: self.stamp(counts), taken }
    }

    /// Gives back from the current count, then from the previous.
    pub(crate) const fn give_back(&self, stamp: Units, now: Units, cost: u64) -> Units {
        let mut counts = self.counts(stamp, now);
        if counts.current == 0 && counts.previous == 0 {
            return stamp; // what windows counted that are over stays
        }
        let from_previous = cost.saturating_sub(counts.current);
        counts.current = counts.current.saturating_sub(cost);
        counts.previous = counts.previous.saturating_sub(from_previous);
        if counts.current == 0 && counts.previous == 0 { now } else { self.stamp(counts) }
    }

    /// Gives a debit back to the count that it is in now, if in any.
    pub(crate) const fn undo(&self, stamp: Units, now: Units, debit: &Debit) -> Units {
        // The stamp of a window that ends at `e` lies in the window after the next one.
        let until = self.grid.end(debit.stamp).saturating_sub(2 * self.grid.window);
        self.return_count(stamp, now, debit.cost, until)
    }

    /// Gives back from the count of the window that ends at `until`, which is the current one, the previous, or past.
    pub(crate) const fn return_count(&self, stamp: Units, now: Units, cost: u64, until: Units) -> Units {
        let mut counts = self.counts(stamp, now);
        let count = if counts.end == until {
            &mut counts.current
        } else if counts.end == until + self.grid.window {
            &mut counts.previous
        } else {
            return stamp;
        };
        *count = count.saturating_sub(cost);
        if counts.current == 0 && counts.previous == 0 { now } else { self.stamp(counts) }
    }

    /// A stamp whose count is above all that the limit allows, and says what it was; `None` if it is so already.
    pub(crate) const fn closed(&self, stamp: Units, now: Units) -> Option<Units> {
        let mut counts = self.counts(stamp, now);
        if counts.current > self.limit {
            return None;
        }
        counts.current += self.limit + 1;
        Some(self.stamp(counts))
    }

    /// The stamp of this limit after what was counted under another, maybe closed, at most the limit; 0 after nothing.
    pub(crate) const fn after(&self, other: &Self, stamp: Units, now: Units) -> Units {
        let mut counts = self.counts(stamp, now);
        counts.previous = least(other.counted(counts.previous), self.limit);
        counts.current = least(other.counted(counts.current), self.limit);
        if counts.current == 0 && counts.previous == 0 { 0 } else { self.stamp(counts) }
    }

    /// What a count was before it was closed.
    const fn counted(&self, count: u64) -> u64 {
        if count > self.limit { count - self.limit - 1 } else { count }
    }

    /// The stamp that has each count as large as the larger of two stamps.
    pub(crate) const fn later(&self, a: Units, b: Units, now: Units) -> Units {
        if a <= now || b <= now {
            return later(a, b);
        }
        // The later window counts for both.
        let (first, second) = if a < b { (a, b) } else { (b, a) };
        let mut counts = self.counts(second, now);
        let others = self.counts(first, later(now, counts.end.saturating_sub(self.grid.window)));
        counts.previous = later(counts.previous, others.previous);
        counts.current = later(counts.current, others.current);
        self.stamp(counts)
    }

    pub(crate) const fn holding(&self, now: Units, available: u64) -> Units {
        let used = self.limit.saturating_sub(available);
        if used == 0 { now } else { self.grid.end(now) + self.grid.window + used }
    }

    /// The latest stamp that any call at `now` can leave.
    pub(crate) const fn bound(&self, now: Units) -> Units {
        self.grid.end(now) + self.grid.window + (self.limit << self.bits) + self.limit
    }
}
