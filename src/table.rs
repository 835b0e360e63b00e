//! Step 3 of a check: a fixed, sharded, open-addressed array of slots.
//!
//! A bucket that is full is as good as absent, so idle slots need no sweeper: whoever needs one takes it.

use core::fmt;

use crossbeam_utils::CachePadded;

use crate::error::BuildError;
use crate::hash::Identity;
use crate::limit::Limit;
use crate::memory::{Line, Lines};
use crate::ops::Cells;
use crate::policy::OnFull;
use crate::probe::{LINES_PER_KEY, SLOTS_PER_KEY, SLOTS_PER_LINE, Shape};
use crate::protocol::{self, Hint, Outcome, Places};
use crate::slot::Slot;
use crate::sync::{Atomic, Ordering};
use crate::word::{Balance, State, Units};

/// What a shard counts, all of it off the allowed path. Padded: shards do not share cache lines.
#[derive(Debug)]
struct Counters {
    evictions: Atomic<u64>,
    refused: Atomic<u64>,
    untracked: Atomic<u64>,
}

/// The sums of all shards.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) evictions: u64,
    pub(crate) refused: u64,
    pub(crate) untracked: u64,
}

/// The buckets of many keys in bounded memory.
pub(crate) struct Table {
    shape: Shape,
    lines: Lines,
    shards: Box<[CachePadded<Counters>]>,
    on_full: OnFull,
    /// How far ahead of now any limit of this table can leave a stamp: without debt, and with.
    reach: [Atomic<u64>; 2],
}

impl Table {
    pub(crate) fn new(capacity: usize, on_full: OnFull) -> Result<Self, BuildError> {
        if !(1..=Shape::MAX_CAPACITY).contains(&capacity) {
            return Err(BuildError::Capacity { capacity, max: Shape::MAX_CAPACITY });
        }
        let shape = Shape::for_capacity(capacity);
        let counters = || Counters { evictions: Atomic::new(0), refused: Atomic::new(0), untracked: Atomic::new(0) };
        Ok(Self {
            shape,
            lines: Lines::reserve(shape.lines())?,
            shards: (0..shape.shards()).map(|_| CachePadded::new(counters())).collect(),
            on_full,
            reach: [Atomic::new(0), Atomic::new(0)],
        })
    }

    /// Takes note of a limit that will use this table.
    pub(crate) fn expect(&self, limit: &Limit) {
        for (most, reach) in self.reach.iter().zip(limit.reach()) {
            // Relaxed: a maximum by itself. A thread that uses the limit has it from the one that made it, which is
            // after this. No model: no loop, and nothing is published.
            most.fetch_max(reach, Ordering::Relaxed);
        }
    }

    /// The slots of one key.
    #[inline]
    pub(crate) const fn entry(&self, id: Identity) -> Entry<'_> {
        Entry { table: self, id }
    }

    /// Asks the processor to fetch the first line of a key.
    #[inline]
    pub(crate) fn prefetch(&self, id: Identity) {
        let [near, _] = self.shape.first_home(id);
        self.lines.prefetch(near);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>() + self.shards.len() * size_of::<CachePadded<Counters>>()
    }

    /// Busy slots, extrapolated from at most `SAMPLE` lines spread evenly.
    pub(crate) fn busy(&self, now: Units) -> u64 {
        const SAMPLE: usize = 4_096;
        let step = self.lines.len().div_ceil(SAMPLE).max(1);
        let sampled = self.lines.iter().step_by(step);
        let looked_at = sampled.len() as u64; // at most SAMPLE
        let busy = sampled.flat_map(|line| &line.slots).filter(|slot| slot.is_busy(now)).count() as u64;
        // At most 4 * SAMPLE times the number of lines, which is below 2^40.
        busy * self.lines.len() as u64 / looked_at.max(1)
    }

    pub(crate) fn counts(&self) -> Counts {
        // Relaxed: each counter is a number by itself; a sum over shards is no snapshot anyway. No model needed.
        self.shards.iter().fold(Counts::default(), |sum, shard| Counts {
            evictions: sum.evictions + shard.evictions.load(Ordering::Relaxed),
            refused: sum.refused + shard.refused.load(Ordering::Relaxed),
            untracked: sum.untracked + shard.untracked.load(Ordering::Relaxed),
        })
    }

    /// Counts what came of a full set of slots.
    #[cold]
    fn count(&self, id: Identity, what: fn(&Counters) -> &Atomic<u64>) {
        // Relaxed: see `counts`.
        what(&self.shards[self.shape.shard(id)]).fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("shape", &self.shape).field("on_full", &self.on_full).finish_non_exhaustive()
    }
}

/// One key in a table; a sliding log has several identities, one for each cell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    table: &'a Table,
    id: Identity,
}

impl Cells for Entry<'_> {
    #[inline]
    fn update(&self, cell: u64, now: Units, mut decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        let entry = Entry { id: self.id.cell(cell), ..*self };
        protocol::try_hint(&entry, entry.id, &mut decide).unwrap_or_else(|| entry.update_slowly(now, &mut decide))
    }

    #[inline]
    fn read(&self, cell: u64) -> Balance {
        let entry = Entry { id: self.id.cell(cell), ..*self };
        match protocol::try_hint(&entry, entry.id, &mut |_| None) {
            Some(Outcome::Kept(balance)) => balance,
            _ => protocol::read(&entry.places(), entry.id),
        }
    }

    fn mend_others(&self, cell: u64, now: impl Fn() -> Units, skew: Units) -> Option<Units> {
        let entry = Entry { id: self.id.cell(cell), ..*self };
        // Relaxed: see `expect`.
        let reach = || [0, 1].map(|debt| self.table.reach[debt].load(Ordering::Relaxed));
        protocol::mend(&entry.places(), now, skew, reach)
    }
}

impl<'a> Entry<'a> {
    /// Looks at every slot, and counts what came of a full set of them.
    #[cold]
    fn update_slowly(&self, now: Units, decide: &mut impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        let outcome = protocol::update(&self.places(), self.id, now, self.table.on_full, decide);
        match outcome {
            Outcome::Changed(_) | Outcome::Kept(_) => {}
            Outcome::Full(_) => self.table.count(self.id, |shard| &shard.refused),
            Outcome::Untracked => self.table.count(self.id, |shard| &shard.untracked),
        }
        outcome
    }

    fn places(&self) -> KeyPlaces<'a> {
        KeyPlaces { entry: *self, lines: self.table.shape.lines_of(self.id).map(|line| &self.table.lines[line]) }
    }
}

/// The lines of one key, in its own order.
struct KeyPlaces<'a> {
    entry: Entry<'a>,
    lines: [&'a Line; LINES_PER_KEY],
}

impl Places for KeyPlaces<'_> {
    fn count(&self) -> usize {
        SLOTS_PER_KEY
    }

    fn slot(&self, place: usize) -> &Slot {
        &self.lines[place / SLOTS_PER_LINE].slots[place % SLOTS_PER_LINE]
    }

    fn prefer(&self, free: u32, stamp: impl Fn(usize) -> Units) -> Option<usize> {
        Shape::prefer(free, stamp)
    }

    fn count_eviction(&self) {
        self.entry.table.count(self.entry.id, |shard| &shard.evictions);
    }
}

impl Hint for Entry<'_> {
    /// The lines one by one, nearest first; each is worked out when it is needed.
    #[inline]
    fn hint(&self, id: Identity) -> Option<&Slot> {
        let (shape, lines) = (&self.table.shape, &self.table.lines);
        let [near, far] = shape.first_home(id);
        lines[near].hint(id).or_else(|| lines[far].hint(id)).or_else(|| {
            let [near, far] = shape.second_home(id);
            lines[near].hint(id).or_else(|| lines[far].hint(id)).or_else(|| lines[shape.overflow(id)].hint(id))
        })
    }
}

impl Line {
    /// The slot that seems to hold the key. All four are looked at before there is a branch: where in its line a key
    /// stands is nothing that a processor could foresee.
    #[inline]
    fn hint(&self, id: Identity) -> Option<&Slot> {
        let [a, b, c, d] = &self.slots;
        let seen = [a, b, c, d].map(|slot| u32::from(slot.seems(id)));
        let seen = seen[0] | seen[1] << 1 | seen[2] << 2 | seen[3] << 3;
        if seen == 0 { None } else { self.slots.get(seen.trailing_zeros() as usize) } // at most 3
    }
}

impl Slot {
    /// Whether the slot counts as in use: its bucket is not full yet, or it is between owners.
    fn is_busy(&self, now: Units) -> bool {
        let (word, _) = self.read();
        match word.state() {
            State::Live => word.stamp() > now,
            State::Dead => false,
            State::Claimed | State::Pending => true,
        }
    }
}
