//! `leaky-bucket`: one bucket, asked by `try_acquire`. It has no keys: raced against one bucket.
#![expect(clippy::cast_possible_truncation, reason = "costs of at most 32 bits")]

use std::time::Duration;

use leaky_bucket::RateLimiter;

use crate::common::contender::{Contender, Fill, Peer};
use crate::common::terms::Terms;

pub struct LeakyBucket(RateLimiter);

impl Peer for LeakyBucket {
    const NAME: &'static str = "leaky-bucket";
    const NOTE: &'static str = "one bucket: no keys; refills at intervals; a refusal takes its lock";

    fn new(_: u64, terms: Terms) -> Self {
        let burst = u64::from(terms.burst()) as usize;
        // It refills at whole milliseconds.
        let interval = terms.period().max(Duration::from_millis(1));
        let refill = (interval.as_nanos() / terms.period().as_nanos()) as usize;
        Self(RateLimiter::builder().max(burst).initial(burst).refill(refill).interval(interval).build())
    }
}

impl<K> Contender<K> for LeakyBucket {
    #[inline]
    fn check(&self, _: &K) -> bool {
        self.0.try_acquire(1)
    }
}

impl<K> Fill<K> for LeakyBucket {
    fn check_n(&self, _: &K, cost: u32) -> bool {
        self.0.try_acquire(u64::from(cost) as usize)
    }
}
