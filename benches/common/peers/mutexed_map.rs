//! What a textbook shows: a token bucket for each key, in a hash map behind a mutex.
#![expect(clippy::disallowed_methods, reason = "a peer reads the clock of its own choice")]

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::Instant;

use crate::common::contender::{Contender, Fill, Peer};
use crate::common::terms::Terms;

struct Tokens {
    left: f64,
    since: Instant,
}

pub struct MutexedMap<K> {
    map: Mutex<HashMap<K, Tokens>>,
    burst: f64,
    per_second: f64,
}

impl<K> Peer for MutexedMap<K> {
    const NAME: &'static str = "mutexed map";
    const NOTE: &'static str = "a textbook's `Mutex<HashMap>` of token buckets; never forgets a key; floating point";

    fn new(_: u64, terms: Terms) -> Self {
        let (burst, per_second) = (terms.burst().into(), 1.0 / terms.period().as_secs_f64());
        Self { map: Mutex::default(), burst, per_second }
    }
}

impl<K: Hash + Eq + Clone> MutexedMap<K> {
    #[inline]
    fn take(&self, key: &K, cost: f64) -> bool {
        let now = Instant::now();
        let mut map = self.map.lock().expect("no thread panics");
        // Not `entry`: that would clone a text for every check.
        let tokens = match map.get_mut(key) {
            Some(tokens) => tokens,
            None => map.entry(key.clone()).or_insert(Tokens { left: self.burst, since: now }),
        };
        let refilled = now.saturating_duration_since(tokens.since).as_secs_f64() * self.per_second;
        tokens.left = (tokens.left + refilled).min(self.burst);
        tokens.since = now;
        let admitted = tokens.left >= cost;
        if admitted {
            tokens.left -= cost;
        }
        admitted
    }
}

impl<K: Hash + Eq + Clone + Send> Contender<K> for MutexedMap<K> {
    #[inline]
    fn check(&self, key: &K) -> bool {
        self.take(key, 1.0)
    }
}

impl<K: Hash + Eq + Clone + Send> Fill<K> for MutexedMap<K> {
    fn check_n(&self, key: &K, cost: u32) -> bool {
        self.take(key, cost.into())
    }
}
