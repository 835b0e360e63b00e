//! A fixed, sharded, open-addressed array of slots.
//!
//! A bucket that is full is as good as absent, so idle slots need no sweeper: whoever needs one takes it.

mod release;
mod snapshot;

use core::fmt;
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::cells::{Cells, Room};
use crate::claimer::{Claimer, Claimers};
use crate::error::BuildError;
use crate::hash::{Identity, Salt};
use crate::limit::Limit;
use crate::marks::{MarkTable, Marks};
use crate::memory::{Beside, Line, Lines};
use crate::on_full::OnFull;
use crate::probe::{LINES_PER_KEY, SLOTS_PER_HOME, SLOTS_PER_KEY, SLOTS_PER_LINE, Shape};
use crate::protocol::{self, Outcome, Places, Tried};
use crate::rehearsal::Rehearsal;
use crate::slot::Slot;
use crate::sync::{Atomic, Ordering};
use crate::time_base::MAX_AHEAD;
use crate::word::{Balance, State, Units, Word};

/// What a shard counts, all of it off the allowed path. Padded: shards do not share cache lines.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Counters {
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
    shards: Beside<CachePadded<Counters>>,
    marks: MarkTable,
    on_full: OnFull,
    /// How far ahead of now any limit of this table can leave a stamp: without debt, and with.
    reach: Beside<Atomic<u64>>,
    /// Of a table that processes share: whether one of this process's calls has found that its file is gone.
    detached: Option<Arc<Atomic<u64>>>,
    /// Who this process is to the others.
    claimers: Option<Arc<Claimers>>,
}

/// Where the parts of a table are that several processes have mapped.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) lines: Lines,
    pub(crate) shards: Beside<CachePadded<Counters>>,
    pub(crate) marks: MarkTable,
    /// Two.
    pub(crate) reach: Beside<Atomic<u64>>,
    /// Not in the mapping: of this process.
    pub(crate) detached: Arc<Atomic<u64>>,
    pub(crate) claimers: Arc<Claimers>,
}

impl Table {
    pub(crate) fn new(capacity: usize, on_full: OnFull, commit: bool) -> Result<Self, BuildError> {
        if !(1..=Shape::MAX_CAPACITY).contains(&capacity) {
            return Err(BuildError::Capacity { capacity, max: Shape::MAX_CAPACITY });
        }
        let shape = Shape::for_capacity(capacity);
        let counters = || Counters { evictions: Atomic::new(0), refused: Atomic::new(0), untracked: Atomic::new(0) };
        Ok(Self {
            shape,
            lines: Lines::reserve(shape.lines(), commit)?,
            shards: (0..shape.shards()).map(|_| CachePadded::new(counters())).collect(),
            marks: MarkTable::new(),
            on_full,
            reach: [Atomic::new(0), Atomic::new(0)].into_iter().collect(),
            detached: None,
            claimers: None,
        })
    }

    /// A table whose parts are there already, of this shape: nothing else is asked of what they hold.
    #[cfg(target_os = "linux")]
    pub(crate) fn shared(shape: Shape, parts: Parts, on_full: OnFull) -> Self {
        let Parts { lines, shards, marks, reach, detached, claimers } = parts;
        assert!(lines.len() == shape.lines() && shards.len() == shape.shards() && reach.len() == 2);
        Self { shape, lines, shards, marks, on_full, reach, detached: Some(detached), claimers: Some(claimers) }
    }

    /// Who claims slots in this process, of a table that others share.
    fn claimer(&self) -> Option<Claimer> {
        self.claimers.as_ref().map(|claimers| claimers.current())
    }

    /// Whether the file that others find by its name is another, as somebody in this process has noticed.
    #[inline]
    pub(crate) fn is_detached(&self) -> bool {
        // Relaxed, with the store in `SharedTable::is_detached`: a flag by itself, and who does not see it yet goes on as before. No model.
        self.detached.as_ref().is_some_and(|detached| detached.load(Ordering::Relaxed) != 0)
    }

    /// Frees the slots whose claimers are dead, and takes what is left further ahead than a limit can leave it at `now` back to
    /// that, if there is one: the clock has been set anew. How many slots were freed. Only while nobody uses the table.
    #[cfg(target_os = "linux")]
    pub(crate) fn recover(&self, now: Option<Units>) -> u64 {
        let reach = [0, 1].map(|debt| self.reach_of(debt));
        let mut freed = 0;
        for slot in self.lines.used().into_iter().flatten().flat_map(|line| &line.slots) {
            freed += u64::from(protocol::free_abandoned(slot));
            if let Some(now) = now {
                protocol::take_back(slot, now, reach);
            }
        }
        freed
    }

    /// As if a limit had that reach.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn note_reach(&self, reach: Units) {
        // Relaxed: one thread. No model.
        self.reach.iter().for_each(|most| {
            most.fetch_max(reach, Ordering::Relaxed);
        });
    }

    /// Puts a word where there is none yet.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn put(&self, id: Identity, word: Word) {
        let slot = &self.lines[self.shape.near(id)].slots[0];
        let claimed = slot.claim(slot.word(), 1, None).expect("one thread");
        assert!(slot.replace(slot.publish(claimed, id), word));
    }

    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn stamp_of(&self, id: Identity) -> Units {
        self.entry(id).read(0).stamp
    }

    /// How far ahead of now any limit leaves a stamp. What others wrote there is not trusted further than that nothing wraps.
    fn reach_of(&self, debt: usize) -> Units {
        // Relaxed, with the maximum in `expect`: asked after the word was acquired. Model: clock.
        self.reach[debt].load(Ordering::Relaxed).min(MAX_AHEAD)
    }

    /// Takes note of a limit that will use this table.
    pub(crate) fn expect(&self, limit: &Limit) {
        for (most, reach) in self.reach.iter().zip(limit.reach()) {
            // Relaxed: it publishes nothing, and is carried by the words. Who uses the limit has it from the one that made
            // it, so after this; the CAS (or store) that leaves a word under it is a Release, and `protocol::repair` acquires
            // that word before it asks for the reach. So it finds at least the reach of the limit that the word is of.
            // Partner: the load in `repair_others`. Model: clock.
            most.fetch_max(reach, Ordering::Relaxed);
        }
    }

    /// The slots of one key.
    #[inline]
    pub(crate) fn entry(&self, id: Identity) -> Entry<'_> {
        Entry { table: self, near: &self.lines[self.shape.near(id)], id }
    }

    /// The slot that holds a key, and its word, if they are not in the line where most keys are.
    #[inline(never)]
    fn find_further(&self, id: Identity) -> Option<(&Slot, Word)> {
        let [_, homes @ .., overflow] = self.shape.lines_of(id).map(|line| &self.lines[line]);
        // All at once, instead of one cache miss after the other; the overflow has next to nobody.
        homes.iter().for_each(|line| line.prefetch());
        homes.into_iter().find_map(|line| line.find(id)).or_else(|| overflow.find(id))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.lines.len() * size_of::<Line>() + self.shards.len() * size_of::<CachePadded<Counters>>()
    }

    /// Busy slots, extrapolated from at most `SAMPLE` lines spread evenly over those that were ever used.
    pub(crate) fn busy(&self, now: Units) -> u64 {
        const SAMPLE: usize = 4_096;
        let used = self.lines.used();
        let lines: usize = used.iter().map(|lines| lines.len()).sum();
        let step = lines.div_ceil(SAMPLE).max(1);
        let sampled: Vec<_> = used.into_iter().flatten().step_by(step).collect();
        let looked_at = sampled.len() as u64; // at most SAMPLE
        let busy = sampled.into_iter().flat_map(|line| &line.slots).filter(|slot| slot.is_busy(now)).count() as u64;
        // At most 4 * SAMPLE times the number of lines, which is below 2^40.
        busy * lines as u64 / looked_at.max(1)
    }

    /// How many slots are in use, and how many of these are between owners. Reads all of them.
    #[cfg(target_os = "linux")]
    pub(crate) fn census(&self, now: Units) -> (u64, u64) {
        let slots = self.lines.used().into_iter().flatten().flat_map(|line| &line.slots);
        slots.fold((0, 0), |(busy, between), slot| {
            let is_between = !slot.word().is_settled();
            (busy + u64::from(!is_between && slot.is_busy(now)), between + u64::from(is_between))
        })
    }

    pub(crate) fn counts(&self) -> Counts {
        // Relaxed, with `count`: each counter is a number by itself; a sum over shards is no snapshot anyway. No model: nothing
        // is published.
        // Wrapping: what stands in a mapping may be anything.
        self.shards.iter().fold(Counts::default(), |sum, shard| Counts {
            evictions: sum.evictions.wrapping_add(shard.evictions.load(Ordering::Relaxed)),
            refused: sum.refused.wrapping_add(shard.refused.load(Ordering::Relaxed)),
            untracked: sum.untracked.wrapping_add(shard.untracked.load(Ordering::Relaxed)),
        })
    }

    /// Counts one more of what comes of a full set of slots.
    #[cold]
    fn count(&self, id: Identity, what: fn(&Counters) -> &Atomic<u64>) {
        // Relaxed, with `counts`: see there. No model.
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
    /// The line where most keys are.
    near: &'a Line,
    id: Identity,
}

impl<'a> Cells for Entry<'a> {
    type Seen = (&'a Slot, Word);

    #[inline(always)]
    fn see(&self) -> Option<(Self::Seen, Balance)> {
        protocol::see(self.find()?)
    }

    #[inline(always)]
    fn put(seen: Self::Seen, after: Balance) -> bool {
        protocol::put(seen, after)
    }

    fn update(&self, cell: u64, now: Units, mut decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        let entry = self.cell(cell);
        let found = entry.find().and_then(|(slot, word)| protocol::try_words(slot, word, entry.id, &mut decide));
        found.unwrap_or_else(|| protocol::update(&entry.places(), entry.id, now, entry.table.on_full, &mut decide))
    }

    #[inline(always)]
    fn try_update(&self, mut decide: impl FnMut(Balance) -> Option<Balance>) -> Tried {
        let Some((slot, word)) = self.find() else { return Tried::Absent };
        protocol::try_word(slot, word, &mut decide).map_or(Tried::Overtaken, Tried::Done)
    }

    fn insert(&self, now: Units, mut decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        protocol::insert(&self.places(), self.id, now, self.table.on_full, &mut decide)
    }

    #[inline]
    fn read(&self, cell: u64) -> Balance {
        let entry = self.cell(cell);
        // Nowhere: see `protocol::read`, which would only look once more.
        let Some((slot, word)) = entry.find() else { return Balance::FULL };
        match protocol::try_words(slot, word, entry.id, &mut |_| None) {
            Some(Outcome::Kept(balance)) => balance,
            _ => protocol::read(&entry.places(), entry.id),
        }
    }

    fn has_room(&self, now: Units) -> bool {
        let mut has_room = false;
        self.places().each(|_, slot| has_room |= slot.word().is_free(now));
        has_room
    }

    #[inline]
    fn is_detached(&self) -> bool {
        self.table.is_detached()
    }

    #[inline]
    fn note(&self, room: Room) {
        match room {
            Room::Enough => {}
            Room::Refused => self.table.count(self.id, |shard| &shard.refused),
            Room::Untracked => self.table.count(self.id, |shard| &shard.untracked),
        }
    }

    fn under(&self, other: Salt) -> Self {
        self.table.entry(self.id.under(other))
    }

    fn update_if_room(&self, now: Units, mut decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        protocol::update(&self.places(), self.id, now, OnFull::RefuseNew, &mut decide)
    }

    fn rehearse(
        &self,
        cell: u64,
        rehearsal: &mut Rehearsal,
        mut decide: impl FnMut(Balance) -> Option<Balance>,
    ) -> bool {
        let entry = self.cell(cell);
        rehearsal.update(&entry.places(), entry.id, self.table.on_full, &mut decide)
    }

    fn marks(&self, cell: u64) -> &Marks {
        self.table.marks.of(self.cell(cell).id)
    }

    fn repair_others(&self, cell: u64, now: impl Fn() -> Option<Units>) -> Option<Units> {
        let entry = self.cell(cell);
        let reach = || [0, 1].map(|debt| self.table.reach_of(debt));
        protocol::repair(&entry.places(), now, reach, |id, stamp| self.table.marks.of(id).lowered.raise(stamp))
    }
}

impl<'a> Entry<'a> {
    /// Asks the processor to fetch the line where most keys are.
    #[inline]
    pub(crate) fn prefetch(&self) {
        self.near.prefetch();
    }

    /// Asks for the lines where the key may be instead, if it is not there; of a table that a cache holds for none.
    #[inline]
    pub(crate) fn prefetch_further(&self) {
        const CACHE: usize = 1 << 20;
        if self.table.lines.len() > CACHE / size_of::<Line>() && self.near.find(self.id).is_none() {
            let [_, homes @ .., _] = self.table.shape.lines_of(self.id);
            homes.into_iter().for_each(|line| self.table.lines[line].prefetch());
        }
    }

    #[inline]
    fn cell(&self, cell: u64) -> Self {
        if cell == 0 { *self } else { self.table.entry(self.id.cell(cell)) }
    }

    /// The slot that holds the key, and its word.
    #[inline(always)]
    fn find(&self) -> Option<(&'a Slot, Word)> {
        self.near.find(self.id).or_else(|| self.table.find_further(self.id))
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

    #[inline]
    fn each(&self, mut look: impl FnMut(usize, &Slot)) {
        for (first, line) in (0..).step_by(SLOTS_PER_LINE).zip(self.lines) {
            line.slots.iter().enumerate().for_each(|(i, slot)| look(first + i, slot));
        }
    }

    fn prefer(&self, free: u32, stamp: impl Fn(usize) -> Units) -> Option<usize> {
        Shape::prefer(free, stamp)
    }

    #[inline]
    fn likely(&self, now: Units) -> Option<(usize, Word)> {
        let mut words = [Word::FULL; SLOTS_PER_HOME];
        let mut free = 0;
        for (place, seen) in words.iter_mut().enumerate() {
            *seen = self.slot(place).word();
            free |= u32::from(seen.is_free(now)) << place;
        }
        Shape::prefer_first_home(free, |place| words[place].stamp()).map(|place| (place, words[place]))
    }

    fn claimer(&self) -> Option<Claimer> {
        self.entry.table.claimer()
    }

    fn count_eviction(&self) {
        self.entry.table.count(self.entry.id, |shard| &shard.evictions);
    }
}

impl Line {
    /// The slot that holds the key, and its word. All four are read before there is a branch: where in its line a key
    /// stands is nothing that a processor could foresee.
    #[inline(always)]
    fn find(&self, id: Identity) -> Option<(&Slot, Word)> {
        let [a, b, c, d] = self.slots.each_ref().map(Slot::read);
        let (mut found, mut place) =
            if a.1 == id { (a.0, 0) } else { (b.0, if b.1 == id { 1 } else { SLOTS_PER_LINE }) };
        for (at, (word, key)) in [(2, c), (3, d)] {
            (found, place) = if key == id { (word, at) } else { (found, place) };
        }
        self.slots.get(place).map(|slot| (slot, found))
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

/// Who knows the seed knows the hashes, and can choose keys that all want the same twenty slots of a large table.
#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use std::sync::OnceLock;

    use super::*;
    use crate::clock::{Instant, ManualClock};
    use crate::hash::Owner;
    use crate::ops::{Op, OwnClock};
    use crate::quota::Quota;
    use crate::step::Steps;
    use crate::time_base::TimeBase;

    const CAPACITY: usize = 120_000;
    const CHOSEN: usize = 2_000;
    const SLOTS: u64 = SLOTS_PER_KEY as u64;
    /// Tokens, and seconds until they are there again.
    const BURST: u64 = 100;
    const POLICIES: [OnFull; 3] = [OnFull::EvictNearestIdle, OnFull::RefuseNew, OnFull::AdmitUntracked];

    /// Identities that all have the same five lines, in one order or another.
    ///
    /// The first home follows from the high half of the bits, the second from the low half. The overflow line is left to
    /// luck.
    fn sharing_their_lines(shape: &Shape) -> Vec<Identity> {
        let (high, low) = (0x1234_5678_u64, 0x9ABC_DEF0_u64);
        let lines_of = |id| {
            let mut lines = shape.lines_of(id);
            lines.sort_unstable();
            lines
        };
        let lines = lines_of(Identity::for_model(high << 32 | low));
        // Neighbouring halves lead to the same home.
        let pairs =
            (0..10_000).flat_map(|i| (0..10_000).map(move |j| Identity::for_model((high + i) << 32 | (low + j))));
        let chosen: Vec<_> = pairs.filter(|id| lines_of(*id) == lines).take(CHOSEN).collect();
        assert_eq!(chosen.len(), CHOSEN);
        chosen
    }

    /// A table under such an attack.
    struct Attack {
        table: Table,
        limit: Limit,
        chosen: &'static [Identity],
        clock: ManualClock,
        steps: Steps,
    }

    impl Attack {
        fn new(on_full: OnFull) -> Self {
            static CHOSEN: OnceLock<Vec<Identity>> = OnceLock::new();
            let table = Table::new(CAPACITY, on_full, false).unwrap();
            let chosen = CHOSEN.get_or_init(|| sharing_their_lines(&table.shape));
            let quota = Quota::per_second(1).with_burst(BURST);
            let limit =
                Limit::new(quota, Salt::NONE, Owner::NONE, TimeBase::new(&[quota], Instant::default())).unwrap();
            table.expect(&limit);
            let clock = ManualClock::default();
            Self { table, limit, chosen, steps: Steps::new(Instant::default()), clock }
        }

        fn op(&self, id: Identity, second: u64) -> Op<'_, Entry<'_>> {
            let own = OwnClock { clock: &self.clock, steps: &self.steps };
            Op::new(self.table.entry(id), &self.limit, Instant::from_secs(second), own)
        }

        fn left(&self, id: Identity, second: u64) -> u64 {
            self.op(id, second).peek(0).remaining()
        }

        /// Keys that have no home under attack; the overflow they may share.
        fn others(&self) -> impl Iterator<Item = Identity> {
            let homes = |id| self.table.shape.lines_of(id)[..4].to_vec();
            let attacked = homes(self.chosen[0]);
            let any = (1..).map(|draw: u64| Identity::for_model(draw.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
            any.filter(move |id| homes(*id).iter().all(|line| !attacked.contains(line)))
        }
    }

    #[test]
    fn chosen_keys_get_what_their_slots_have_and_hurt_nobody_else() {
        for on_full in POLICIES {
            let attack = Attack::new(on_full);
            let mut others = attack.others();
            let before: Vec<_> = others.by_ref().take(2_000).collect();
            assert!(before.iter().all(|id| attack.op(*id, 0).check(90).is_allowed()));
            let mut taken = 0;
            for second in (0..50).step_by(2) {
                let mut recorded = 0;
                // Each time others come first, so that under eviction they displace those who were.
                let start = usize::try_from(second).unwrap() * 30;
                for id in attack.chosen[start..].iter().chain(&attack.chosen[..start]) {
                    let cost = if second == 0 { BURST } else { 1 };
                    let decision = attack.op(*id, second).check(cost);
                    // What is admitted of no bucket leaves all.
                    if decision.is_allowed() && decision.remaining() < BURST {
                        recorded += cost;
                    }
                    assert!(decision.is_allowed() || on_full != OnFull::AdmitUntracked, "there is a slot, or no limit");
                }
                taken += recorded;
                assert!(taken <= SLOTS * (BURST + second), "{on_full:?}, second {second}: {taken}");
                let tracked = attack.chosen.iter().filter(|id| attack.left(**id, second) < BURST).count();
                assert_eq!(tracked, SLOTS_PER_KEY, "{on_full:?}, second {second}");
                for id in others.by_ref().take(20) {
                    let decision = attack.op(id, second).check(BURST);
                    assert!(decision.is_allowed() && decision.remaining() == 0, "{on_full:?}: another key");
                }
            }
            // Nor nothing: whoever has a slot, or displaces him, gets a token each time of the two that have come back.
            assert!(taken >= SLOTS * (BURST + 24), "{on_full:?}: {taken}");
            assert!(before.iter().all(|id| attack.left(*id, 48) == BURST - 90 + 48), "{on_full:?}: others pay");
            let Counts { evictions, refused, untracked } = attack.table.counts();
            let expected = match on_full {
                OnFull::EvictNearestIdle => [true, true, false],
                OnFull::RefuseNew => [false, true, false],
                OnFull::AdmitUntracked => [false, false, true],
            };
            assert_eq!([evictions, refused, untracked].map(|count| count > 0), expected, "{on_full:?}");
        }
    }

    /// Counts the slots that a call looks at.
    struct Counted<'a>(KeyPlaces<'a>, Cell<usize>);

    impl Places for Counted<'_> {
        fn count(&self) -> usize {
            self.0.count()
        }

        fn slot(&self, place: usize) -> &Slot {
            self.1.set(self.1.get() + 1);
            self.0.slot(place)
        }

        fn each(&self, mut look: impl FnMut(usize, &Slot)) {
            (0..self.count()).for_each(|place| look(place, self.slot(place)));
        }

        fn prefer(&self, free: u32, stamp: impl Fn(usize) -> Units) -> Option<usize> {
            self.0.prefer(free, stamp)
        }

        fn likely(&self, now: Units) -> Option<(usize, Word)> {
            self.1.set(self.1.get() + SLOTS_PER_HOME);
            self.0.likely(now)
        }

        fn count_eviction(&self) {
            self.0.count_eviction();
        }
    }

    /// A process that has the table mapped changes a word whenever somebody is about to: he gets an answer, by policy.
    #[test]
    fn who_is_overtaken_without_end_comes_to_one() {
        for on_full in POLICIES {
            let table = Table::new(CAPACITY, on_full, false).unwrap();
            let id = Identity::for_model(0x1234_5678_9ABC_DEF0);
            let entry = table.entry(id);
            let taken = entry.update(0, 1_000, |_| Some(Balance::at(2_000)));
            assert!(matches!(taken, Outcome::Changed(_)));
            let rounds = Cell::new(0_u64);
            let outcome = entry.update(0, 1_000, |held| {
                let (slot, word) = entry.find().unwrap();
                rounds.set(rounds.get() + 1);
                assert!(rounds.get() < 1_000_000, "held for ever");
                assert!(slot.replace(word, word.live(Balance::at(2_000 + rounds.get()))));
                Some(Balance::at(held.stamp + 1))
            });
            match on_full {
                OnFull::AdmitUntracked => assert_eq!(outcome, Outcome::Untracked),
                OnFull::EvictNearestIdle | OnFull::RefuseNew => assert!(matches!(outcome, Outcome::Full(_))),
            }
        }
    }

    /// A key that is in looks at each slot once, and at its own again; one for which there is no room at each once. One
    /// that comes in looks at all twice, and touches its own thrice in between.
    #[test]
    fn chosen_keys_look_no_further_than_others() {
        for on_full in POLICIES {
            let attack = Attack::new(on_full);
            let look = |id: Identity, cost| {
                let places = Counted(attack.table.entry(id).places(), Cell::new(0));
                let (now, rule) = (attack.op(id, 0).limit.base.units(Instant::from_nanos(0)), &attack.limit.rule);
                let mut decide = |held: Balance| rule.take(held.stamp, now, cost).map(Balance::at);
                let outcome = protocol::update(&places, id, now, on_full, &mut decide);
                (outcome, places.1.get())
            };
            let mut came_in = 0;
            for id in attack.chosen {
                let (outcome, looks) = look(*id, 1);
                let comes_in = matches!(outcome, Outcome::Changed { .. });
                came_in += usize::from(comes_in);
                assert!(looks <= if comes_in { 2 * SLOTS_PER_KEY + 3 } else { SLOTS_PER_KEY }, "{looks}: {outcome:?}");
            }
            assert!(came_in >= SLOTS_PER_KEY, "{on_full:?}: {came_in} came in");
            for id in attack.chosen {
                let (outcome, looks) = look(*id, BURST);
                assert!(looks <= SLOTS_PER_KEY + 1, "{looks}: {outcome:?}");
            }
        }
    }
}
