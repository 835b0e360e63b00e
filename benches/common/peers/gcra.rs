//! `gcra`: its sharded `RateLimiter`, with as much room as there are keys.
#![expect(clippy::cast_possible_truncation, reason = "at most ten million keys")]

use std::fmt::Display;
use std::hash::Hash;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use gcra::{RateLimit, RateLimiter};

use crate::common::contender::{Contender, Fill, Peer};
use crate::common::terms::Terms;

pub struct Gcra<K: Eq + Hash> {
    limiter: RateLimiter<K>,
    limit: RateLimit,
}

impl<K: Send + Clone + Hash + Eq + Display + 'static> Peer for Gcra<K> {
    const NAME: &'static str = "gcra";
    const NOTE: &'static str = "keyed; locks a shard, takes the key by value; keys stay until pruned";

    fn new(keys: u64, terms: Terms) -> Self {
        let limit = RateLimit::new(terms.burst(), terms.period() * terms.burst());
        Self { limiter: RateLimiter::new(keys as usize), limit }
    }
}

impl<K: Send + Sync + Clone + Hash + Eq + Display + 'static> Contender<K> for Gcra<K> {
    #[inline]
    fn check(&self, key: &K) -> bool {
        self.check_n(key, 1)
    }
}

impl<K: Send + Sync + Clone + Hash + Eq + Display + 'static> Fill<K> for Gcra<K> {
    #[inline]
    fn check_n(&self, key: &K, cost: u32) -> bool {
        // Declared async, and awaits nothing: one poll answers.
        let check = pin!(self.limiter.check(key.clone(), &self.limit, cost));
        match check.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer.is_ok(),
            Poll::Pending => unreachable!("gcra has begun to wait"),
        }
    }
}
