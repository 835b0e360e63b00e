//! `pingora-limits`: its `Rate`, with the interval and comparison of the pingora guide.
#![expect(clippy::cast_possible_wrap, reason = "costs of at most 32 bits")]

use std::hash::Hash;
use std::time::Duration;

use pingora_limits::rate::Rate;

use crate::common::contender::{Contender, Fill, Peer};
use crate::common::terms::Terms;

pub struct PingoraLimits {
    rate: Rate,
    most: isize,
}

impl Peer for PingoraLimits {
    const NAME: &'static str = "pingora-limits";
    const NOTE: &'static str = "approximate: 4 x 1,024 counters for all keys; fixed second; counts what it refuses";

    fn new(_: u64, terms: Terms) -> Self {
        // An interval forgets what was counted before it, so whether a key is exhausted cannot last: no request fits.
        let most = match terms {
            Terms::Allow => isize::MAX,
            Terms::Refuse => 0,
            Terms::Mixed => unreachable!("not part of that race"),
        };
        Self { rate: Rate::new(Duration::from_secs(1)), most }
    }
}

impl<K: Hash> Contender<K> for PingoraLimits {
    #[inline]
    fn check(&self, key: &K) -> bool {
        self.rate.observe(key, 1) <= self.most
    }
}

impl<K: Hash> Fill<K> for PingoraLimits {
    fn check_n(&self, key: &K, cost: u32) -> bool {
        self.rate.observe(key, cost as isize);
        true
    }
}
