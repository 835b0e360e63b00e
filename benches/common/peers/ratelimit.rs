//! `ratelimit`: one lock-free bucket. It has no keys, and its documentation advises none: raced against one bucket.

use ratelimit::Ratelimiter;

use crate::common::contender::{Contender, Fill, Peer};
use crate::common::terms::Terms;

pub struct Ratelimit(Ratelimiter);

impl Peer for Ratelimit {
    const NAME: &'static str = "ratelimit";
    const NOTE: &'static str = "one bucket: no keys";

    fn new(_: u64, terms: Terms) -> Self {
        let burst = terms.burst().into();
        let limiter = Ratelimiter::builder(1).period(terms.period()).max_tokens(burst).initial_available(burst);
        Self(limiter.build().expect("a limiter"))
    }
}

impl<K> Contender<K> for Ratelimit {
    #[inline]
    fn check(&self, _: &K) -> bool {
        self.0.try_wait().is_ok()
    }
}

impl<K> Fill<K> for Ratelimit {
    fn check_n(&self, _: &K, cost: u32) -> bool {
        self.0.try_wait_n(cost.into()).is_ok()
    }
}
