//! `governor`: keyed, with its default store (`dashmap`), hasher and clock (`quanta`), as its guide constructs it.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{QuantaClock, QuantaUpkeepClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::common::contender::{Contender, Fill, Peer};
use crate::common::terms::Terms;

fn quota(terms: Terms) -> Quota {
    Quota::with_period(terms.period()).expect("a period").allow_burst(at_least_one(terms.burst()))
}

fn at_least_one(cost: u32) -> NonZeroU32 {
    NonZeroU32::new(cost).expect("a cost")
}

pub struct Governor<K: Hash + Eq + Clone>(pub DefaultKeyedRateLimiter<K>);

impl<K: Hash + Eq + Clone> Peer for Governor<K> {
    const NAME: &'static str = "governor";
    const NOTE: &'static str = "keyed, default store, hasher and clock; memory grows with the keys ever seen";

    fn new(_: u64, terms: Terms) -> Self {
        Self(RateLimiter::keyed(quota(terms)))
    }
}

impl<K: Hash + Eq + Clone + Send + Sync> Contender<K> for Governor<K> {
    #[inline]
    fn check(&self, key: &K) -> bool {
        self.0.check_key(key).is_ok()
    }
}

impl<K: Hash + Eq + Clone + Send + Sync> Fill<K> for Governor<K> {
    fn check_n(&self, key: &K, cost: u32) -> bool {
        matches!(self.0.check_key_n(key, at_least_one(cost)), Ok(Ok(())))
    }
}

/// On the clock that its documentation offers for cheaper time: set by another thread, here every half a millisecond.
pub struct GovernorCached<K: Hash + Eq + Clone>(
    RateLimiter<
        K,
        DefaultKeyedStateStore<K>,
        QuantaUpkeepClock,
        NoOpMiddleware<<QuantaUpkeepClock as governor::clock::Clock>::Instant>,
    >,
);

impl<K: Hash + Eq + Clone> Peer for GovernorCached<K> {
    const NAME: &'static str = "governor, cached";
    const NOTE: &'static str = "keyed, on its `QuantaUpkeepClock`; memory grows with the keys ever seen";

    fn new(_: u64, terms: Terms) -> Self {
        let clock = QuantaUpkeepClock::from_interval(Duration::from_micros(500)).expect("one such clock at a time");
        Self(RateLimiter::new(quota(terms), DefaultKeyedStateStore::default(), clock))
    }
}

impl<K: Hash + Eq + Clone + Send + Sync> Contender<K> for GovernorCached<K> {
    #[inline]
    fn check(&self, key: &K) -> bool {
        self.0.check_key(key).is_ok()
    }
}

impl<K: Hash + Eq + Clone + Send + Sync> Fill<K> for GovernorCached<K> {
    fn check_n(&self, key: &K, cost: u32) -> bool {
        matches!(self.0.check_key_n(key, at_least_one(cost)), Ok(Ok(())))
    }
}

/// One state, no keys.
pub struct GovernorDirect(DefaultDirectRateLimiter);

impl Peer for GovernorDirect {
    const NAME: &'static str = "governor, direct";
    const NOTE: &'static str = "`RateLimiter::direct`: no keys";

    fn new(_: u64, terms: Terms) -> Self {
        Self(RateLimiter::direct(quota(terms)))
    }
}

impl<K> Contender<K> for GovernorDirect {
    #[inline]
    fn check(&self, _: &K) -> bool {
        self.0.check().is_ok()
    }
}

impl<K> Fill<K> for GovernorDirect {
    fn check_n(&self, _: &K, cost: u32) -> bool {
        matches!(self.0.check_n(at_least_one(cost)), Ok(Ok(())))
    }
}

/// A quota under which a key is idle again a nanosecond later.
pub fn insert_heavy() -> Governor<u64> {
    Governor(DefaultKeyedRateLimiter::<u64>::dashmap_with_clock(
        Quota::per_second(at_least_one(1_000_000_000)),
        QuantaClock::default(),
    ))
}
