//! Fixed windows: the stamp is the window's end plus the count, which is always less than what the ends lie apart, so neither
//! can be mistaken for the other.
//!
//! On the clock's grid the end is known from `now`, so nothing is rounded. A window that begins with its first request ends
//! anywhere, so its end is rounded up to a multiple of `2^bits`, and the count is what the stamp has below that
//! ([`first_hit`](super::first_hit)).

use super::first_hit::FirstHit;
use super::token_bucket::later;
use super::window::Grid;
use super::{Borrowed, Debit, least};
use crate::word::Units;

/// When windows begin and end, and how a stamp tells it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Windows {
    Clock(Grid),
    FirstHit(FirstHit),
}

impl Windows {
    /// The end of the window that a request at `now` is counted in, if none is in use.
    #[inline]
    pub(crate) const fn end(&self, now: Units) -> Units {
        match self {
            Self::Clock(grid) => grid.end(now),
            Self::FirstHit(windows) => windows.end(now),
        }
    }

    /// The end of the window that a request at `now` is counted in, and what it has counted.
    #[inline]
    pub(crate) const fn split(&self, stamp: Units, now: Units) -> (Units, u64) {
        match self {
            Self::Clock(grid) => grid.split(stamp, now),
            Self::FirstHit(windows) => windows.split(stamp, now),
        }
    }

    /// Whether two stamps are of one window, if each has counted something.
    const fn is_same(&self, a: Units, b: Units) -> bool {
        match self {
            // An end and a count of at least one: the next end of both is that of the window after.
            Self::Clock(grid) => grid.end(a) == grid.end(b),
            Self::FirstHit(windows) => windows.end_of(a) == windows.end_of(b),
        }
    }

    /// The longest that a window lasts.
    pub(crate) const fn longest(&self) -> Units {
        match self {
            Self::Clock(grid) => grid.window,
            Self::FirstHit(windows) => windows.period + windows.mask(),
        }
    }

    /// Half of the counts that a stamp can tell; depends on the period alone, so that all limits of one period read the same.
    const fn half(&self) -> u64 {
        match self {
            Self::Clock(grid) => 1 << (u64::BITS - 1 - grid.window.leading_zeros()) >> 1,
            Self::FirstHit(windows) => 1 << windows.bits >> 1,
        }
    }
}

/// At most `limit` in each window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FixedWindow {
    pub(crate) windows: Windows,
    /// At most [`max_limit`](Self::max_limit).
    pub(crate) limit: u64,
    /// What closing a bucket adds to its count. Where a limit is lower, no count of its own is as high.
    half: u64,
    /// Whether requests that are refused count.
    pub(crate) counts_refused: bool,
}

impl FixedWindow {
    pub(crate) const fn new(windows: Windows, limit: u64, counts_refused: bool) -> Self {
        Self { windows, limit, half: windows.half(), counts_refused }
    }

    /// The largest limit.
    pub(crate) const fn max_limit(windows: &Windows, counts_refused: bool) -> u64 {
        match windows {
            Windows::Clock(grid) if !counts_refused => grid.window - 1,
            // So that the highest count is above it, and below that of a closed bucket.
            _ => windows.half().saturating_sub(2),
        }
    }

    #[inline]
    pub(crate) const fn take(&self, stamp: Units, now: Units, cost: u64) -> Option<Units> {
        match &self.windows {
            Windows::Clock(grid) => self.take_from(grid.split(stamp, now), cost),
            // Each by itself: what both share would be copied to where the other has it.
            Windows::FirstHit(windows) => self.take_from(windows.split(stamp, now), cost),
        }
    }

    #[inline(always)]
    const fn take_from(&self, (end, count): (Units, u64), cost: u64) -> Option<Units> {
        // Neither side can wrap: the count is compared before it is subtracted.
        if count > self.limit || cost > self.limit - count {
            return None;
        }
        Some(end + count + cost)
    }

    /// Counts a request that does not fit, up to the highest count that a window has; `None` if it has that already.
    pub(crate) const fn count_refused(&self, stamp: Units, now: Units, cost: u64) -> Option<Units> {
        let (end, count) = self.windows.split(stamp, now);
        let highest = self.half.saturating_sub(1);
        if !self.counts_refused || cost == 0 || count >= highest {
            return None;
        }
        let room = highest - count;
        Some(end + count + least(cost, room))
    }

    pub(crate) const fn available(&self, stamp: Units, now: Units) -> u64 {
        let (_, count) = self.windows.split(stamp, now);
        self.limit.saturating_sub(count)
    }

    pub(crate) const fn ready_at(&self, stamp: Units, now: Units, cost: u64) -> Units {
        let (end, count) = self.windows.split(stamp, now);
        if cost <= self.limit.saturating_sub(count) { now } else { end }
    }

    pub(crate) const fn full_at(&self, stamp: Units, now: Units) -> Units {
        let (end, count) = self.windows.split(stamp, now);
        // Of a closed limit all of nothing is there, whatever was refused.
        if count == 0 || self.limit == 0 { now } else { end }
    }

    /// Counts `cost`, up to the limit: what the window cannot hold is not carried into the next.
    pub(crate) const fn borrow(&self, stamp: Units, now: Units, cost: u64) -> Borrowed {
        let (end, count) = self.windows.split(stamp, now);
        let room = self.limit.saturating_sub(count);
        let taken = if cost < room { cost } else { room };
        Borrowed { stamp: end + count + taken, taken }
    }

    pub(crate) const fn give_back(&self, stamp: Units, now: Units, cost: u64) -> Units {
        let (end, count) = self.windows.split(stamp, now);
        match count {
            // Nothing in now's window, though the stamp may be later than now: what the one before counted stays.
            0 => stamp,
            // A count of zero is a full bucket: no reason to hold the slot until the window ends.
            _ if cost >= count => now,
            _ => end + count - cost,
        }
    }

    /// Gives back what was taken at `taken_at`, if this window may have counted it.
    pub(crate) const fn give_back_of(&self, stamp: Units, now: Units, cost: u64, taken_at: Units) -> Units {
        let (end, _) = self.windows.split(stamp, now);
        let is_counted = match &self.windows {
            Windows::Clock(grid) => grid.end(taken_at) == end,
            // Begun by a request at this instant, the window would not end earlier; as far as a rounded end tells.
            Windows::FirstHit(windows) => taken_at < end && windows.end(taken_at) >= end,
        };
        if is_counted { self.give_back(stamp, now, cost) } else { stamp }
    }

    /// Gives a debit back to the window that counted it, if that is the one the stamp is of, and is not over.
    pub(crate) const fn undo(&self, stamp: Units, now: Units, debit: &Debit) -> Units {
        if stamp <= now || !self.windows.is_same(stamp, debit.stamp) {
            return stamp;
        }
        self.give_back(stamp, now, debit.cost)
    }

    /// The stamp of a window with so much left.
    pub(crate) const fn holding(&self, now: Units, available: u64) -> Units {
        let used = self.limit.saturating_sub(available);
        if used == 0 { now } else { self.windows.end(now) + used }
    }

    /// The stamp that has counted as much as each of two, and ends no earlier than either.
    pub(crate) const fn later(&self, a: Units, b: Units, now: Units) -> Units {
        match &self.windows {
            Windows::Clock(_) => later(a, b),
            Windows::FirstHit(windows) => windows.later(a, b, now),
        }
    }

    /// The stamp that has counted as much as `other`, a stamp of this instant: in the window in use, if there is one.
    pub(crate) const fn filled(&self, stamp: Units, other: Units, now: Units) -> Units {
        let (end, count) = self.windows.split(stamp, now);
        match &self.windows {
            Windows::FirstHit(windows) if count > 0 && other > now => end + later(count, windows.split(other, now).1),
            _ => later(stamp, other),
        }
    }

    /// A stamp whose count is above all that the limit allows, and says what it was; `None` if it is so already, or if there
    /// is no room for that.
    pub(crate) const fn closed(&self, stamp: Units, now: Units) -> Option<Units> {
        let (end, count) = self.windows.split(stamp, now);
        if count >= self.half || self.limit >= self.half { None } else { Some(end + self.half + count) }
    }

    /// Whether a stamp has been closed.
    pub(crate) const fn is_closed(&self, stamp: Units, now: Units) -> bool {
        self.limit < self.half && self.windows.split(stamp, now).1 >= self.half
    }

    /// The stamp of this limit after what was counted under another, maybe closed, at most the limit; 0 after nothing.
    pub(crate) const fn after(&self, other: &Self, stamp: Units, now: Units) -> Units {
        let (end, count) = self.windows.split(stamp, now);
        let count = least(other.counted(count), self.limit);
        if count == 0 { 0 } else { end + count }
    }

    /// What a count was before it was closed.
    const fn counted(&self, count: u64) -> u64 {
        if self.limit < self.half && count >= self.half { count - self.half } else { count }
    }

    /// The end of the window, unless it has yet to begin, and what it has counted.
    pub(crate) const fn state(&self, stamp: Units, now: Units) -> (Option<Units>, u64) {
        let (end, count) = self.windows.split(stamp, now);
        let is_known = count > 0 || matches!(self.windows, Windows::Clock(_));
        (if is_known { Some(end) } else { None }, self.counted(count))
    }

    /// The highest count that any call leaves.
    const fn highest(&self) -> u64 {
        match &self.windows {
            // The end by itself says whether a stamp is from another time.
            Windows::FirstHit(windows) => windows.mask(),
            Windows::Clock(_) if self.counts_refused => self.half,
            Windows::Clock(_) => self.limit,
        }
    }

    /// The latest stamp that any call at `now` can leave.
    pub(crate) const fn bound(&self, now: Units) -> Units {
        self.windows.end(now) + self.highest()
    }

    /// How far ahead of now that can be, wherever in a window now lies.
    pub(crate) const fn reach(&self) -> Units {
        self.windows.longest() + self.highest()
    }
}
