//! Tollgate, by where it has the time from. Capacity: as many keys as there are, so the table is full and all are busy.
#![expect(clippy::cast_possible_truncation, reason = "at most ten million keys")]

use tollgate::clock::{CachedClock, Clock, ExactClock, Instant};
use tollgate::{Bucket, Key, Limiter, Quota};

use crate::common::contender::{Contender, Fill, Peer};
use crate::common::keys::Keys;
use crate::common::paired::{Race, Slice, Stopwatch};
use crate::common::terms::Terms;

fn quota(terms: Terms) -> Quota {
    Quota::new(1, terms.period()).expect("a quota").with_burst(terms.burst().into())
}

fn limiter<C: Clock>(keys: u64, terms: Terms, clock: C) -> Limiter<C> {
    // For a table that will be full; every peer's memory has been touched before a race as well.
    let builder = Limiter::builder(quota(terms)).capacity(keys as usize).commit_at_build(true);
    builder.clock(clock).build().expect("a limiter")
}

/// The processor's counter, read for every check.
pub struct Exact(pub Limiter);

impl Peer for Exact {
    const NAME: &'static str = "tollgate, exact";
    const NOTE: &'static str = "";

    fn new(keys: u64, terms: Terms) -> Self {
        Self(limiter(keys, terms, ExactClock::new()))
    }
}

impl<K: Key> Contender<K> for Exact {
    #[inline]
    fn check(&self, key: &K) -> bool {
        self.0.check(key).is_allowed()
    }
}

impl<K: Key> Fill<K> for Exact {
    fn check_n(&self, key: &K, cost: u32) -> bool {
        self.0.check_n(key, cost.into()).is_allowed()
    }
}

/// A clock that another thread sets every half a millisecond.
pub struct Cached(pub Limiter<CachedClock>);

impl Peer for Cached {
    const NAME: &'static str = "tollgate, cached";
    const NOTE: &'static str = "";

    fn new(keys: u64, terms: Terms) -> Self {
        Self(limiter(keys, terms, CachedClock::new().expect("a clock")))
    }
}

impl<K: Key> Contender<K> for Cached {
    #[inline]
    fn check(&self, key: &K) -> bool {
        self.0.check(key).is_allowed()
    }
}

impl<K: Key> Fill<K> for Cached {
    fn check_n(&self, key: &K, cost: u32) -> bool {
        self.0.check_n(key, cost.into()).is_allowed()
    }
}

/// The caller's `now`, read once for each slice.
pub struct AtNow<'a> {
    limiter: &'a Limiter,
    now: Instant,
}

impl<'a> AtNow<'a> {
    pub const NAME: &'static str = "tollgate, caller's now";

    /// At the time that it is now.
    pub fn new(exact: &'a Exact) -> Self {
        Self { limiter: &exact.0, now: exact.0.clock().now() }
    }
}

impl<K: Key> Contender<K> for AtNow<'_> {
    #[inline]
    fn check(&self, key: &K) -> bool {
        self.limiter.at(self.now).check(key).is_allowed()
    }
}

/// So many checks by `check_keys`, thirty-two keys at once, at exact time.
#[inline(never)]
pub fn batches<K: Key + Clone>(exact: &Exact, keys: &mut impl Keys<K>, calls: u64, terms: Terms) -> Slice {
    assert!(calls.is_multiple_of(Race::BATCH));
    // Cloned once: a text is then written over in place, and nothing is allocated while the clock runs.
    let mut batch: Vec<K> = (0..Race::BATCH).map(|_| keys.draw().clone()).collect();
    let watch = Stopwatch::start();
    let mut admitted = 0;
    for _ in 0..calls / Race::BATCH {
        batch.iter_mut().for_each(|key| key.clone_from(keys.draw()));
        exact.0.check_keys(&batch, |_, decision| admitted += u64::from(decision.is_allowed()));
    }
    Slice { nanos: watch.nanos(), calls, admitted, due: terms.due(calls) }
}

/// One bucket without a table, for the peers that have no keys.
pub struct Lone(Bucket);

impl Peer for Lone {
    const NAME: &'static str = "tollgate, one bucket";
    const NOTE: &'static str = "`Bucket`: no keys";

    fn new(_: u64, terms: Terms) -> Self {
        Self(Bucket::new(quota(terms)).expect("a bucket"))
    }
}

impl<K> Contender<K> for Lone {
    #[inline]
    fn check(&self, _: &K) -> bool {
        self.0.check().is_allowed()
    }
}

impl<K> Fill<K> for Lone {
    fn check_n(&self, _: &K, cost: u32) -> bool {
        self.0.check_n(cost.into()).is_allowed()
    }
}
