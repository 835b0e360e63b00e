//! `throttlecrab`: its `RateLimiter` on an `AdaptiveStore` with as much room as there are keys.
#![expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "at most ten million keys; seconds")]
#![expect(clippy::disallowed_methods, reason = "a peer reads the clock of its own choice")]

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use throttlecrab::{AdaptiveStore, RateLimiter};

use crate::common::contender::{Contender, Fill, Peer};
use crate::common::terms::Terms;

pub struct Throttlecrab {
    limiter: Mutex<RateLimiter<AdaptiveStore>>,
    burst: i64,
    count: i64,
    secs: i64,
}

impl Peer for Throttlecrab {
    const NAME: &'static str = "throttlecrab";
    const NOTE: &'static str = "keys are text; not for several threads (`&mut self`), so behind a mutex";

    fn new(keys: u64, terms: Terms) -> Self {
        let (count, secs) = match terms.period().as_secs() {
            0 => ((Duration::from_secs(1).as_nanos() / terms.period().as_nanos()) as i64, 1),
            secs => (1, secs as i64),
        };
        let limiter = Mutex::new(RateLimiter::new(AdaptiveStore::builder().capacity(keys as usize).build()));
        Self { limiter, burst: terms.burst().into(), count, secs }
    }
}

impl Contender<String> for Throttlecrab {
    #[inline]
    fn check(&self, key: &String) -> bool {
        self.check_n(key, 1)
    }
}

impl Fill<String> for Throttlecrab {
    #[inline]
    fn check_n(&self, key: &String, cost: u32) -> bool {
        let mut limiter = self.limiter.lock().expect("no thread panics");
        let answer = limiter.rate_limit(key, self.burst, self.count, self.secs, cost.into(), SystemTime::now());
        answer.expect("a valid request").0
    }
}
