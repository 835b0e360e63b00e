//! Fixed windows: the stamp is the window's end plus the count, which is always less than a window, so neither can be
//! mistaken for the other and nothing is rounded.
//!
//! (The design this grew from rounded the end up to make room for the count's bits. A sum needs no room: the end is
//! known from `now`, the rest is the count.)

use super::window::Grid;
use super::{Borrowed, Debit, least};
use crate::word::Units;

/// At most `limit` in each window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FixedWindow {
    pub(crate) grid: Grid,
    /// Less than the window has units.
    pub(crate) limit: u64,
}

impl FixedWindow {
    #[inline]
    pub(crate) const fn take(&self, stamp: Units, now: Units, cost: u64) -> Option<Units> {
        let (end, count) = self.grid.split(stamp, now);
        // Neither side can wrap: the count is compared before it is subtracted.
        if count > self.limit || cost > self.limit - count {
            return None;
        }
        Some(end + count + cost)
    }

    pub(crate) const fn available(&self, stamp: Units, now: Units) -> u64 {
        let (_, count) = self.grid.split(stamp, now);
        self.limit.saturating_sub(count)
    }

    pub(crate) const fn ready_at(&self, stamp: Units, now: Units, cost: u64) -> Units {
        let (end, count) = self.grid.split(stamp, now);
        if cost <= self.limit.saturating_sub(count) { now } else { end }
    }

    pub(crate) const fn full_at(&self, stamp: Units, now: Units) -> Units {
        let (end, count) = self.grid.split(stamp, now);
        if count == 0 { now } else { end }
    }

    /// Counts `cost`, up to the limit: what the window cannot hold is not carried into the next.
    pub(crate) const fn borrow(&self, stamp: Units, now: Units, cost: u64) -> Borrowed {
        let (end, count) = self.grid.split(stamp, now);
        let room = self.limit.saturating_sub(count);
        let taken = if cost < room { cost } else { room };
        Borrowed { stamp: end + count + taken, taken }
    }

    pub(crate) const fn give_back(&self, stamp: Units, now: Units, cost: u64) -> Units {
        let (end, count) = self.grid.split(stamp, now);
        match count {
            // Nothing in now's window, though the stamp may be later than now: what the one before counted stays.
            0 => stamp,
            // A count of zero is a full bucket: no reason to hold the slot until the window ends.
            _ if cost >= count => now,
            _ => end + count - cost,
        }
    }

    /// Gives a debit back to the window that counted it, if that is the one the stamp is of, and is not over.
    pub(crate) const fn undo(&self, stamp: Units, now: Units, debit: &Debit) -> Units {
        // An end and a count of at least one: the next end of both is that of the window after.
        if stamp <= now || self.grid.end(stamp) != self.grid.end(debit.stamp) {
            return stamp;
        }
        self.give_back(stamp, now, debit.cost)
    }

    /// The stamp of a window with so much left.
    pub(crate) const fn holding(&self, now: Units, available: u64) -> Units {
        let used = self.limit.saturating_sub(available);
        if used == 0 { now } else { self.grid.end(now) + used }
    }

    /// A stamp whose count is above all that the limit allows, and says what it was; `None` if it is so already.
    pub(crate) const fn closed(&self, stamp: Units, now: Units) -> Option<Units> {
        let (end, count) = self.grid.split(stamp, now);
        if count > self.limit { None } else { Some(end + self.limit + 1 + count) }
    }

    /// The stamp of this limit after what was counted under another, maybe closed, at most the limit; 0 after nothing.
    pub(crate) const fn after(&self, other: &Self, stamp: Units, now: Units) -> Units {
        let (end, count) = self.grid.split(stamp, now);
        let count = least(other.counted(count), self.limit);
        if count == 0 { 0 } else { end + count }
    }

    /// What a count was before it was closed.
    const fn counted(&self, count: u64) -> u64 {
        if count > self.limit { count - self.limit - 1 } else { count }
    }

    /// The latest stamp that any call at `now` can leave.
    pub(crate) const fn bound(&self, now: Units) -> Units {
        self.grid.end(now) + self.limit
    }
}
