//! What the loom models see of the engine: a table of a few slots, in which each key is told which slots it may use.
//!
//! Built under `--cfg tollgate_model` only. The code under test is the code that ships: `slot.rs`, `protocol.rs`, `ops.rs`,
//! `set.rs`, `clock/timeline.rs`. Time and identity are arguments, as loom needs every run to be the same.

#![allow(missing_docs, missing_debug_implementations, clippy::missing_panics_doc, reason = "for the models only")]

use core::time::Duration;
use std::sync::Arc;

use crate::algorithm::Debit;
use crate::algorithm::batch::Batch;
use crate::cells::Cells;
use crate::claimer::Claimer;
use crate::clock::kept::{Kept, Taken};
use crate::clock::timeline::{PLACES, Reading, Source, Timeline};
use crate::clock::{Clock, Instant};
use crate::decision::Decision;
use crate::hash::{Identity, Owner, Salt};
use crate::limit::Limit;
use crate::marks::Marks;
use crate::on_full::OnFull;
use crate::ops::{Inheritance, Op, OwnClock};
use crate::protocol::{self, Outcome, Places, Tried};
use crate::quota::Quota;
use crate::rehearsal::Rehearsal;
use crate::slot::Slot;
use crate::step::Steps;
use crate::sync::{Atomic, Ordering};
use crate::time_base::TimeBase;
use crate::word::{Balance, State, Units, Word};
use crate::words::Words;

/// A few slots.
pub struct Model {
    slots: Vec<Slot>,
    on_full: OnFull,
    evictions: Atomic<u64>,
    base: TimeBase,
    /// As in a table: how far ahead of now any limit made so far can leave a stamp, without debt, and with.
    reach: [Atomic<u64>; 2],
    /// Of the keys whose identities leave the same rest.
    marks: [Marks; 4],
    own: Own,
}

/// The limiter's clock, and whether it has stepped back.
struct Own {
    clock: Arc<ModelClock>,
    steps: Steps,
}

impl Own {
    fn new(clock: Arc<ModelClock>) -> Self {
        Self { steps: Steps::new(clock.now()), clock }
    }

    fn clock(&self) -> OwnClock<'_> {
        OwnClock { clock: &*self.clock, steps: &self.steps }
    }
}

/// A clock that the threads of a model set. As of a real clock that does not step back, a later reading is no earlier time,
/// and that is all: a reading says nothing of what other threads have written. So all accesses are Relaxed.
pub struct ModelClock(Atomic<u64>);

impl ModelClock {
    pub fn new(now: Duration) -> Self {
        Self(Atomic::new(nanos(now)))
    }

    pub fn advance(&self, now: Duration) {
        // Relaxed, with `now`: as weak as `CachedClock`, and weaker than any clock asked to be. Model: clock.
        self.0.fetch_max(nanos(now), Ordering::Relaxed);
    }

    /// Sets it back.
    pub fn set(&self, now: Duration) {
        // Relaxed, with `now`: as `advance`. Model: clock.
        self.0.swap(nanos(now), Ordering::Relaxed);
    }
}

impl Clock for ModelClock {
    fn now(&self) -> Instant {
        // Relaxed, with `advance`: as there.
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A counter of a tick a nanosecond, and a system's clock, that agree.
impl Source for ModelClock {
    fn ticks(&self) -> u64 {
        self.now().as_nanos()
    }

    fn os_nanos(&self) -> u64 {
        self.now().as_nanos()
    }
}

/// What an exact clock shows of a [`ModelClock`].
pub struct Lines {
    timeline: Timeline,
    clock: Arc<ModelClock>,
}

impl Lines {
    pub fn new(clock: &Arc<ModelClock>) -> Self {
        let now = Reading { ticks: clock.ticks(), os: clock.os_nanos(), width: 0 };
        Self { timeline: Timeline::new(now, Some(1 << PLACES)), clock: Arc::clone(clock) }
    }

    pub fn nanos(&self) -> u64 {
        self.timeline.nanos(&*self.clock)
    }

    /// How many lines were drawn, and whether the counter is in use.
    pub fn drawn(&self) -> (u64, bool) {
        (self.timeline.drawn(), self.timeline.is_line())
    }
}

/// The times of two cached clocks, of whose places the first is taken.
pub struct Cached {
    times: [Atomic<u64>; 2],
    taken: Taken,
}

impl Cached {
    pub fn new(nanos: u64) -> Self {
        Self { times: [nanos, 0].map(Atomic::new), taken: Taken(Atomic::new(1)) }
    }

    /// As in a child.
    pub fn forked() -> Self {
        Self::new(0)
    }

    fn first(&self) -> Kept<'_> {
        Kept(&self.times[0])
    }

    /// As a reader sees it; `None` if it has to ask another clock.
    pub fn nanos(&self) -> Option<u64> {
        self.first().nanos()
    }

    pub fn set(&self, nanos: u64) {
        self.first().set(nanos);
    }

    pub fn take_over(&self, nanos: u64) -> bool {
        self.first().take_over(nanos)
    }

    /// Drops the first clock.
    pub fn give_back(&self) {
        self.first().leave();
        self.taken.give_back(0);
    }

    /// The place of a new clock, and what is found there.
    pub fn take(&self) -> (u32, Option<u64>) {
        let place = self.taken.take().expect("two of 64 places");
        (place, Kept(&self.times[place as usize]).nanos())
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("a time for a model")
}

/// A key, with the slots it may use in its own order.
#[derive(Clone)]
pub struct Key {
    id: Identity,
    places: Vec<usize>,
}

impl Key {
    pub fn new(id: u64, places: &[usize]) -> Self {
        Self { id: Identity::for_model(id), places: places.to_vec() }
    }
}

/// What the thread of a model holds of a bucket.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held(Batch);

impl Held {
    pub const NONE: Self = Self(Batch::NONE);
}

/// What the thread of a model has reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reserved(Debit);

impl Model {
    /// `slots` slots never used, in a time base for `quota`, started at second 0.
    pub fn new(slots: usize, quota: Quota, on_full: OnFull) -> Self {
        let base = TimeBase::new(&[quota], Instant::from_nanos(0));
        let reach = [Atomic::new(0), Atomic::new(0)];
        let slots = (0..slots).map(|_| Slot::new()).collect();
        let own = Own::new(Arc::new(ModelClock::new(Duration::ZERO)));
        Self { slots, on_full, evictions: Atomic::new(0), base, reach, marks: [0; 4].map(|_| Marks::new()), own }
    }

    /// Has this clock instead of one that stands still.
    pub fn with_clock(self, clock: Arc<ModelClock>) -> Self {
        Self { own: Own::new(clock), ..self }
    }

    /// A reading of the clock, looked at; and how often it has been seen to step back.
    pub fn now(&self) -> (Duration, u64) {
        let now = self.own.steps.now(&*self.own.clock);
        (Duration::from_nanos(now.as_nanos()), self.own.steps.count())
    }

    /// A limit for the keys of this model; all limits share the buckets. The table takes note of it before anybody can use
    /// it, as in `table.rs`.
    pub fn limit(&self, quota: Quota) -> Limit {
        let limit = Limit::new(quota, Salt::NONE, Owner::NONE, self.base).expect("a quota for a model");
        self.expect(&limit);
        limit
    }

    /// A limit whose keys have buckets of their own, in the same slots.
    pub fn other_limit(&self, quota: Quota) -> Limit {
        let limit = Limit::new(quota, Salt::for_model(1 << 33), Owner::NONE, self.base).expect("a quota for a model");
        self.expect(&limit);
        limit
    }

    fn expect(&self, limit: &Limit) {
        for (most, reach) in self.reach.iter().zip(limit.reach()) {
            // Relaxed, with the load in `repair_others`: as in `Table::expect`. Model: clock.
            most.fetch_max(reach, Ordering::Relaxed);
        }
    }

    /// What a limit becomes at `since` under another quota. Its keys have buckets of their own, in the same slots.
    pub fn change(&self, old: &Limit, quota: Quota, since: Duration) -> Limit {
        let since = self.base.units(Instant::from_nanos(nanos(since)));
        let salt = Salt::for_model(1 << 32);
        let limit = old.changed(quota, salt, since).expect("a quota for a model");
        self.expect(&limit);
        limit
    }

    fn marks_of(&self, id: Identity) -> &Marks {
        &self.marks[usize::try_from(id.bits() % 4).unwrap_or(0)]
    }

    fn op<'a>(&'a self, key: &'a Key, limit: &'a Limit, now: Duration) -> Op<'a, Entry<'a>> {
        let now = Instant::from_nanos(0).saturating_add(now);
        let id = key.id.under(limit.salt);
        Op::new(Entry { model: self, key, id }, limit, now, self.own.clock())
    }

    pub fn take<'a>(&'a self, key: &'a Key, limit: &'a Limit, now: Duration, cost: u64) -> Decision<'a> {
        self.op(key, limit, now).check(cost)
    }

    pub fn peek<'a>(&'a self, key: &'a Key, limit: &'a Limit, now: Duration, cost: u64) -> Decision<'a> {
        self.op(key, limit, now).peek(cost)
    }

    pub fn take_up_to(&self, key: &Key, limit: &Limit, now: Duration, most: u64) -> u64 {
        self.op(key, limit, now).take_up_to(most)
    }

    pub fn refund(&self, key: &Key, limit: &Limit, now: Duration, cost: u64) {
        self.op(key, limit, now).refund(cost);
    }

    pub fn charge(&self, key: &Key, limit: &Limit, now: Duration, cost: u64) -> u64 {
        self.op(key, limit, now).charge(cost)
    }

    pub fn convert(&self, key: &Key, from: &Limit, to: &Limit, now: Duration, how: Inheritance) {
        self.op(key, from, now).convert(self.op(key, to, now), how);
    }

    /// Reserves, and says how long to wait and what to cancel.
    pub fn reserve(
        &self,
        key: &Key,
        limit: &Limit,
        now: Duration,
        cost: u64,
        max: Duration,
    ) -> Option<(Duration, Reserved)> {
        let op = self.op(key, limit, now);
        let reserved = op.reserve(cost, max).ok()?;
        Some((Duration::from_nanos(limit.base.nanos_until(op.now, reserved.go_at)), Reserved(reserved.debit)))
    }

    pub fn cancel(&self, key: &Key, limit: &Limit, now: Duration, reserved: &Reserved) {
        self.op(key, limit, now).undo(&reserved.0);
    }

    /// As a lease of `batch` takes.
    pub fn take_ahead(&self, key: &Key, limit: &Limit, now: Duration, held: &mut Held, cost: u64, batch: u64) -> bool {
        self.op(key, limit, now).take_ahead(&mut held.0, cost, batch).is_allowed()
    }

    pub fn give_back(&self, key: &Key, limit: &Limit, now: Duration, held: &mut Held) {
        self.op(key, limit, now).give_back(&mut held.0);
    }

    /// All or nothing over several (key, limit).
    pub fn take_all(&self, shares: &[(&Key, &Limit)], now: Duration) -> bool {
        crate::set::take_all(shares.len(), |i| (self.op(shares[i].0, shares[i].1, now), 1)).is_allowed()
    }

    /// Reserves over several (key, limit), and says how long to wait and what to cancel.
    pub fn reserve_all(
        &self,
        parts: &[(&Key, &Limit)],
        now: Duration,
        max: Duration,
    ) -> Option<(Duration, Vec<Reserved>)> {
        let op = |i: usize| (self.op(parts[i].0, parts[i].1, now), 1);
        let (taken, go_at) = crate::set::reserve_all(parts.len(), op, max).ok()?;
        let first = taken[0].0;
        let wait = Duration::from_nanos(first.limit.base.nanos_until(first.now, go_at));
        Some((wait, taken.into_iter().map(|(_, debit)| Reserved(debit)).collect()))
    }

    /// Gives back the memory of all slots, if none has been in use since `since`.
    pub fn release(&self, now: Duration, since: Duration) -> bool {
        let units = |time| self.base.units(Instant::from_nanos(nanos(time)));
        protocol::release(self.slots.iter(), units(now), units(since), Claimer::numbered(1), || {
            self.slots.iter().for_each(Slot::wipe);
            true
        })
    }

    /// What a snapshot says of a slot: when its bucket is full, and whether it is this key's; nothing if it is at `now`.
    pub fn look(&self, slot: usize, key: &Key, now: Duration) -> Option<(bool, Duration)> {
        let (id, balance) = protocol::look(&self.slots[slot], self.base.units(Instant::from_nanos(nanos(now))))?;
        Some((id == key.id, Duration::from_nanos(self.base.instant(balance.stamp).as_nanos())))
    }

    /// How many slots hold the key, live. More than one is a broken promise.
    pub fn owners(&self, key: &Key) -> usize {
        let live = |slot: &&Slot| {
            let (word, id) = slot.read();
            id == key.id && word.state() == State::Live
        };
        self.slots.iter().filter(live).count()
    }

    /// How many busy keys were forgotten.
    pub fn evictions(&self) -> u64 {
        // Relaxed: a number by itself, raised in `count_eviction` and asked once the threads are joined, which orders it.
        // No model: nothing is published through it.
        self.evictions.load(Ordering::Relaxed)
    }

    /// Who has stalled, if he is dead.
    const DEAD: u64 = 7;

    /// Frees what they have claimed who have stalled, if they are dead; all others live. How many slots it were.
    pub fn free_of_the_dead(&self, are_dead: bool) -> usize {
        let lives = |claimer| !are_dead || Some(claimer) != Claimer::numbered(Self::DEAD);
        self.slots.iter().filter(|slot| protocol::free_of_the_dead(slot, lives)).count()
    }

    /// How many slots are between owners. Once all threads are through, more than were stalled is a leak.
    pub fn in_transit(&self) -> usize {
        let between = |slot: &&Slot| matches!(slot.read().0.state(), State::Claimed | State::Pending);
        self.slots.iter().filter(between).count()
    }

    /// Begins to insert a key into one slot and stops for ever after so many steps: 1 claimed, 2 published.
    ///
    /// Says whether the claim was won.
    pub fn stall(&self, key: &Key, slot: usize, now: Duration, steps: u32) -> bool {
        let units = self.base.units(Instant::from_nanos(0).saturating_add(now));
        let slot = &self.slots[slot];
        let (word, _) = slot.read();
        if matches!(word.state(), State::Claimed | State::Pending) || word.stamp() >= units {
            return false;
        }
        // As of a free slot.
        let stamp = (word.stamp() + 1).max(units - 1);
        let Some(claimed) = slot.claim(word, stamp, Claimer::numbered(Self::DEAD)) else { return false };
        if steps > 1 {
            slot.publish(claimed, key.id);
        }
        true
    }
}

#[derive(Clone, Copy)]
struct Entry<'a> {
    model: &'a Model,
    key: &'a Key,
    id: Identity,
}

impl<'a> Entry<'a> {
    /// The slot that holds the key, and its word.
    fn find(&self, id: Identity) -> Option<(&'a Slot, Word)> {
        self.key.places.iter().map(|&place| &self.model.slots[place]).find_map(|slot| {
            let (word, key) = slot.read();
            (key == id).then_some((slot, word))
        })
    }
}

impl Places for Entry<'_> {
    fn count(&self) -> usize {
        self.key.places.len()
    }

    fn slot(&self, place: usize) -> &Slot {
        &self.model.slots[self.key.places[place]]
    }

    fn each(&self, mut look: impl FnMut(usize, &Slot)) {
        (0..self.count()).for_each(|place| look(place, self.slot(place)));
    }

    fn prefer(&self, free: u32, _: impl Fn(usize) -> Units) -> Option<usize> {
        usize::try_from(free.trailing_zeros()).ok().filter(|_| free != 0)
    }

    fn likely(&self, now: Units) -> Option<(usize, Word)> {
        let word = self.slot(0).word();
        word.is_free(now).then_some((0, word))
    }

    /// As in a table that processes share, so that it is seen that nothing comes of it.
    fn claimer(&self) -> Option<Claimer> {
        Claimer::numbered(1)
    }

    fn count_eviction(&self) {
        // Relaxed, with `evictions`: see there. No model.
        self.model.evictions.fetch_add(1, Ordering::Relaxed);
    }
}

impl<'a> Cells for Entry<'a> {
    type Seen = (&'a Slot, Word);

    fn see(&self) -> Option<(Self::Seen, Balance)> {
        protocol::see(self.find(self.id)?)
    }

    fn put(seen: Self::Seen, after: Balance) -> bool {
        protocol::put(seen, after)
    }

    fn update(&self, cell: u64, now: Units, mut decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        let id = self.id.cell(cell);
        let found = self.find(id).and_then(|(slot, word)| protocol::try_words(slot, word, id, &mut decide));
        found.unwrap_or_else(|| protocol::update(self, id, now, self.model.on_full, &mut decide))
    }

    fn try_update(&self, mut decide: impl FnMut(Balance) -> Option<Balance>) -> Tried {
        let Some((slot, word)) = self.find(self.id) else { return Tried::Absent };
        protocol::try_word(slot, word, &mut decide).map_or(Tried::Overtaken, Tried::Done)
    }

    fn insert(&self, now: Units, mut decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        protocol::insert(self, self.id, now, self.model.on_full, &mut decide)
    }

    fn read(&self, cell: u64) -> Balance {
        let id = self.id.cell(cell);
        let Some((slot, word)) = self.find(id) else { return Balance::FULL };
        match protocol::try_words(slot, word, id, &mut |_| None) {
            Some(Outcome::Kept(balance)) => balance,
            _ => protocol::read(self, id),
        }
    }

    fn under(&self, other: Salt) -> Self {
        Self { id: self.id.under(other), ..*self }
    }

    fn update_if_room(&self, now: Units, mut decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        protocol::update(self, self.id, now, OnFull::RefuseNew, &mut decide)
    }

    fn rehearse(
        &self,
        cell: u64,
        rehearsal: &mut Rehearsal,
        mut decide: impl FnMut(Balance) -> Option<Balance>,
    ) -> bool {
        rehearsal.update(self, self.id.cell(cell), self.model.on_full, &mut decide)
    }

    fn marks(&self, cell: u64) -> &Marks {
        self.model.marks_of(self.id.cell(cell))
    }

    fn repair_others(&self, _: u64, now: impl Fn() -> Option<Units>) -> Option<Units> {
        // Relaxed, with the maximum in `limit`: as in `Table::expect`. Model: clock.
        let reach = || [0, 1].map(|debt| self.model.reach[debt].load(Ordering::Relaxed));
        protocol::repair(self, now, reach, |id, stamp| self.model.marks_of(id).lowered.raise(stamp))
    }
}

/// A bucket without a table.
pub struct Single {
    words: Words,
    limit: Limit,
    own: Own,
}

impl Single {
    pub fn new(quota: Quota) -> Self {
        let base = TimeBase::new(&[quota], Instant::from_nanos(0));
        let limit = Limit::new(quota, Salt::NONE, Owner::NONE, base).expect("a quota for a model");
        let own = Own::new(Arc::new(ModelClock::new(Duration::ZERO)));
        Self { words: Words::new(limit.cells), limit, own }
    }

    /// Has this clock instead of one that stands still.
    pub fn with_clock(self, clock: Arc<ModelClock>) -> Self {
        Self { own: Own::new(clock), ..self }
    }

    fn op(&self, now: Duration) -> Op<'_, &Words> {
        let now = Instant::from_nanos(0).saturating_add(now);
        Op::new(&self.words, &self.limit, now, self.own.clock())
    }

    pub fn take(&self, now: Duration, cost: u64) -> bool {
        self.op(now).check(cost).is_allowed()
    }

    pub fn take_up_to(&self, now: Duration, most: u64) -> u64 {
        self.op(now).take_up_to(most)
    }

    /// As a lease of `batch` takes.
    pub fn take_ahead(&self, now: Duration, held: &mut Held, cost: u64, batch: u64) -> bool {
        self.op(now).take_ahead(&mut held.0, cost, batch).is_allowed()
    }

    pub fn give_back(&self, now: Duration, held: &mut Held) {
        self.op(now).give_back(&mut held.0);
    }

    pub fn refund(&self, now: Duration, cost: u64) {
        self.op(now).refund(cost);
    }

    pub fn reset(&self, now: Duration) {
        self.op(now).reset();
    }

    pub fn remaining(&self, now: Duration) -> u64 {
        self.op(now).peek(1).remaining()
    }

    /// Reserves, and says how long to wait and what to cancel.
    pub fn reserve(&self, now: Duration, cost: u64, max: Duration) -> Option<(Duration, Reserved)> {
        let op = self.op(now);
        let reserved = op.reserve(cost, max).ok()?;
        Some((Duration::from_nanos(self.limit.base.nanos_until(op.now, reserved.go_at)), Reserved(reserved.debit)))
    }

    pub fn cancel(&self, now: Duration, reserved: &Reserved) {
        self.op(now).undo(&reserved.0);
    }

    /// Reserves one token, and gives it back.
    pub fn reserve_and_cancel(&self, now: Duration) {
        let (_, reserved) = self.reserve(now, 1, Duration::from_secs(60)).expect("a minute is enough");
        self.cancel(now, &reserved);
    }
}
