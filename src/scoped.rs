//! A limiter under one of its limits, at one instant: the path of one check. Read from here: [`Scoped::check_n`], [`Scoped::key`],
//! `handle.rs`, `ops.rs`, `table.rs`, `protocol.rs`, `slot.rs`, with `algorithm/` for the arithmetic.

use core::fmt;
use core::time::Duration;

use crate::cells::AnyCells;
use crate::clock::{Clock, ExactClock, Instant};
use crate::decision::Decision;
use crate::handle::Handle;
use crate::hash::KeyHash;
use crate::key::LocalKey;
use crate::limit::Limit;
use crate::limiter::Limiter;
use crate::ops::{Inheritance, Op, OwnClock};
use crate::reservation::SetReservation;
use crate::set::{LimitSet, LimitSetError, ReserveError, SetDecision, SetItem};
use crate::table::Entry;
use crate::word::Units;

/// Fetches in flight at once: enough to hide a cache miss behind others, few enough to stay in the first cache.
const BATCH: usize = 32;

/// A limiter under one of its limits, or at the caller's time, or both. Free to make and to copy.
///
/// Every method is there on [`Limiter`] as well, under its default limit and at the time of its clock.
pub struct Scoped<'a, C = ExactClock> {
    pub(crate) limiter: &'a Limiter<C>,
    pub(crate) limit: &'a Limit,
    pub(crate) now: Option<Instant>,
}

impl<C> Clone for Scoped<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Scoped<'_, C> {}

impl<'a, C: Clock> Scoped<'a, C> {
    /// The same under another limit.
    #[inline]
    #[must_use]
    pub const fn under(self, limit: &'a Limit) -> Self {
        Self { limit, ..self }
    }

    /// The same at the caller's `now`; see [`Limiter::at`].
    #[inline]
    #[must_use]
    pub const fn at(self, now: Instant) -> Self {
        Self { now: Some(now), ..self }
    }

    /// Whether a limit and a hash are this limiter's own.
    #[inline]
    fn owns(&self, limit: &Limit, hash: KeyHash) -> bool {
        limit.owner == self.limiter.hasher.owner && hash.owner == self.limiter.hasher.owner
    }

    /// The answer to a call with what is not.
    #[inline]
    fn foreign(&self, limit: &'a Limit, cost: u64) -> Decision<'a> {
        // From its parts, so that they stay in registers.
        self.limiter.refuse_foreign(limit, cost, self.now)
    }

    /// The slots of a key under one limit.
    #[inline]
    fn entry(&self, limit: &Limit, hash: KeyHash) -> Entry<'a> {
        self.limiter.table.entry(limit.salt.identity(hash))
    }

    /// One call on one bucket.
    #[inline(always)]
    fn op(&self, entry: Entry<'a>, limit: &'a Limit, now: Instant) -> Op<'a, Entry<'a>> {
        Op::new(entry, limit, now, OwnClock { clock: &self.limiter.clock, steps: &self.limiter.steps })
    }

    /// The same at an instant that is known in units.
    #[inline(always)]
    fn op_at(&self, entry: Entry<'a>, limit: &'a Limit, now: (Instant, Units)) -> Op<'a, Entry<'a>> {
        Op::at_units(entry, limit, now, OwnClock { clock: &self.limiter.clock, steps: &self.limiter.steps })
    }

    #[inline]
    const fn in_units(&self, now: Instant) -> (Instant, Units) {
        (now, self.limiter.limit.base.units(now))
    }

    #[inline]
    fn now(&self) -> Instant {
        self.now.unwrap_or_else(|| self.limiter.now())
    }

    /// The bucket of a key; see [`Limiter::key`].
    #[inline(always)]
    pub fn key<K: LocalKey + ?Sized>(&self, key: &K) -> Handle<'a, C> {
        let hash = self.limiter.hash(key);
        let entry = self.entry(self.limit, hash);
        if self.now.is_none() {
            // Reading the clock takes about as long as a cache miss: let them overlap.
            entry.prefetch();
        }
        Handle {
            cells: AnyCells::Table(entry),
            limit: self.limit,
            clock: &self.limiter.clock,
            steps: &self.limiter.steps,
            now: self.now,
            foreign: (!self.owns(self.limit, hash)).then_some(&self.limiter.foreign),
            #[cfg(feature = "async")]
            waiters: &self.limiter.waiters,
        }
    }

    /// See [`Limiter::check`].
    #[inline]
    pub fn check<K: LocalKey + ?Sized>(&self, key: &K) -> Decision<'a> {
        self.check_n(key, 1)
    }

    /// See [`Limiter::check_n`].
    #[inline]
    pub fn check_n<K: LocalKey + ?Sized>(&self, key: &K, cost: u64) -> Decision<'a> {
        self.key(key).check_n(cost)
    }

    /// See [`Limiter::peek`].
    #[inline]
    pub fn peek<K: LocalKey + ?Sized>(&self, key: &K) -> Decision<'a> {
        self.key(key).peek()
    }

    /// See [`Limiter::convert`].
    pub fn convert<K: LocalKey + ?Sized>(&self, key: &K, to: &'a Limit, how: Inheritance) {
        let hash = self.limiter.hash(key);
        for limit in [self.limit, to] {
            if !self.owns(limit, hash) {
                self.limiter.foreign.note();
                return;
            }
        }
        let now = self.now();
        let [from, to] = [self.limit, to].map(|limit| self.op(self.entry(limit, hash), limit, now));
        from.convert(to, how);
    }

    /// See [`Limiter::check_keys`].
    pub fn check_keys<K: LocalKey>(&self, keys: &[K], mut each: impl FnMut(usize, Decision<'a>)) {
        let now = self.now();
        let mut entries = [self.entry(self.limit, KeyHash::NONE); BATCH];
        for (batch, keys) in keys.chunks(BATCH).enumerate() {
            let (first, entries) = (batch * BATCH, &mut entries[..keys.len()]);
            let mut are_ours = true;
            for (entry, key) in entries.iter_mut().zip(keys) {
                let hash = self.limiter.hash(key);
                are_ours &= self.owns(self.limit, hash);
                *entry = self.entry(self.limit, hash);
                entry.prefetch();
            }
            if !are_ours {
                self.check_one_by_one(first, keys, &mut each);
                continue;
            }
            entries.iter().for_each(Entry::prefetch_further);
            for (i, &entry) in entries.iter().enumerate() {
                each(first + i, self.op(entry, self.limit, now).check(1));
            }
        }
    }

    /// Some of the keys, or the limit, are another limiter's.
    #[cold]
    fn check_one_by_one<K: LocalKey>(&self, first: usize, keys: &[K], each: &mut impl FnMut(usize, Decision<'a>)) {
        let view = self.at(self.now());
        keys.iter().enumerate().for_each(|(i, key)| each(first + i, view.check(key)));
    }

    /// See [`Limiter::check_set`].
    #[inline]
    pub fn check_set<K: LocalKey + ?Sized>(&self, set: &'a LimitSet, key: &K) -> SetDecision<'a> {
        self.check_set_n(set, key, 1)
    }

    /// See [`Limiter::check_set_n`].
    #[inline]
    pub fn check_set_n<K: LocalKey + ?Sized>(&self, set: &'a LimitSet, key: &K, cost: u64) -> SetDecision<'a> {
        match self.on_set(set, key, cost) {
            Ok(op) => crate::set::take_all(set.limits().len(), op),
            Err(foreign) => foreign,
        }
    }

    /// The parts of a request under all limits of a set; the answer instead if limits or key are not this limiter's.
    #[inline(always)]
    fn on_set<K: LocalKey + ?Sized>(
        &self,
        set: &'a LimitSet,
        key: &K,
        cost: u64,
    ) -> Result<impl Fn(usize) -> (Op<'a, Entry<'a>>, u64), SetDecision<'a>> {
        let (hash, now) = (self.limiter.hash(key), self.now());
        let owner = self.limiter.hasher.owner;
        if set.owner() != Some(owner) || hash.owner != owner {
            let index = set.limits().iter().position(|limit| limit.owner != owner).unwrap_or(0);
            return Err(SetDecision::new(self.foreign(&set.limits()[index], cost), index));
        }
        let (scoped, now) = (*self, self.in_units(now));
        Ok(move |index| {
            let limit = &set.limits()[index];
            (scoped.op_at(scoped.entry(limit, hash), limit, now), cost)
        })
    }

    /// See [`Limiter::check_items`].
    ///
    /// # Errors
    ///
    /// As [`Limiter::check_items`].
    #[inline]
    pub fn check_items(&self, items: &[SetItem<'a>]) -> Result<SetDecision<'a>, LimitSetError> {
        crate::set::check_count(items.len())?;
        Ok(match self.on_items(items) {
            Ok(op) => crate::set::take_all(items.len(), op),
            Err(foreign) => foreign,
        })
    }

    /// The parts of a request with a limit, a key and a cost for each, as in `on_set`.
    #[inline(always)]
    fn on_items<'i>(
        &self,
        items: &'i [SetItem<'a>],
    ) -> Result<impl Fn(usize) -> (Op<'a, Entry<'a>>, u64) + use<'a, 'i, C>, SetDecision<'a>> {
        let now = self.now();
        if let Some(index) = items.iter().position(|item| !self.owns(item.limit, item.key)) {
            return Err(SetDecision::new(self.foreign(items[index].limit, items[index].cost), index));
        }
        let (scoped, now) = (*self, self.in_units(now));
        Ok(move |index: usize| {
            let item = &items[index];
            (scoped.op_at(scoped.entry(item.limit, item.key), item.limit, now), item.cost)
        })
    }

    /// See [`Limiter::check_each`].
    pub fn check_each(&self, items: &[SetItem<'a>], mut each: impl FnMut(usize, Decision<'a>)) {
        let now = self.now();
        let mut entries = [self.entry(self.limit, KeyHash::NONE); BATCH];
        for (batch, items) in items.chunks(BATCH).enumerate() {
            let (first, entries) = (batch * BATCH, &mut entries[..items.len()]);
            for (entry, item) in entries.iter_mut().zip(items) {
                // Of another limiter's limit or key as well: that writes nothing.
                *entry = self.entry(item.limit, item.key);
                entry.prefetch();
            }
            entries.iter().for_each(Entry::prefetch_further);
            for (i, (&entry, item)) in entries.iter().zip(items).enumerate() {
                let decision = if self.owns(item.limit, item.key) {
                    self.op(entry, item.limit, now).check(item.cost)
                } else {
                    self.foreign(item.limit, item.cost)
                };
                each(first + i, decision);
            }
        }
    }

    /// See [`Limiter::reserve_set`].
    ///
    /// # Errors
    ///
    /// As [`Limiter::reserve_set`].
    pub fn reserve_set<K: LocalKey + ?Sized>(
        &self,
        set: &'a LimitSet,
        key: &K,
        cost: u64,
        max_wait: Duration,
    ) -> Result<SetReservation<'a>, SetDecision<'a>> {
        let op = self.on_set(set, key, cost)?;
        let (parts, go_at) = crate::set::reserve_all(set.limits().len(), op, max_wait)?;
        Ok(SetReservation::new(parts, go_at))
    }

    /// See [`Limiter::reserve_items`].
    ///
    /// # Errors
    ///
    /// As [`Limiter::reserve_items`].
    pub fn reserve_items(
        &self,
        items: &[SetItem<'a>],
        max_wait: Duration,
    ) -> Result<SetReservation<'a>, ReserveError<'a>> {
        crate::set::check_count(items.len())?;
        let op = self.on_items(items)?;
        let (parts, go_at) = crate::set::reserve_all(items.len(), op, max_wait)?;
        Ok(SetReservation::new(parts, go_at))
    }

    /// See [`Limiter::until_set_ready`].
    ///
    /// # Errors
    ///
    /// As [`crate::Handle::until_ready`].
    #[cfg(feature = "async")]
    pub fn until_set_ready<K: LocalKey + ?Sized, F: Future<Output = ()>, S: Fn(Duration) -> F>(
        &self,
        set: &'a LimitSet,
        key: &K,
        cost: u64,
        max_wait: Duration,
        sleep: S,
    ) -> impl Future<Output = Result<(), crate::error::WaitError>> + use<'a, C, K, F, S> {
        let (limiter, key) = (self.limiter, self.limiter.hash(key));
        let scoped = limiter.under(self.limit);
        let reserve = move |left| {
            let reserved = scoped.reserve_set(set, &key, cost, left);
            reserved.map_err(|refusal| refusal.decision())
        };
        crate::wait::until_ready(reserve, &limiter.clock, &limiter.waiters, max_wait, sleep)
    }
}

impl<C> fmt::Debug for Scoped<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scoped").field("quota", self.limit.quota()).field("now", &self.now).finish_non_exhaustive()
    }
}
