//! `trypema`: its local provider, absolute strategy, with the window and buckets of its readme.

use std::sync::Arc;
use std::time::Duration;

use trypema::local::LocalRateLimiterProvider;
use trypema::{BucketSize, RateLimit, RateLimitDecision, RateLimiterBuilder, WindowSize};

use crate::common::contender::{Contender, Fill, Peer};
use crate::common::terms::Terms;

pub struct Trypema {
    provider: Arc<LocalRateLimiterProvider>,
    rate: RateLimit,
}

impl Peer for Trypema {
    const NAME: &'static str = "trypema, local";
    const NOTE: &'static str = "keys are text; counts in windows of 10 ms buckets, best effort between threads";

    fn new(_: u64, terms: Terms) -> Self {
        // It counts and does not refill: a minute of tokens far above what a race takes, or a day of few.
        let (window, rate) = match terms {
            Terms::Allow => (WindowSize::minutes_or_panic(1), RateLimit::per_second_or_panic(1e12)),
            Terms::Refuse => (WindowSize::days_or_panic(1), RateLimit::per_day_or_panic(terms.burst().into())),
            Terms::Mixed => unreachable!("not part of that race"),
        };
        let provider = LocalRateLimiterProvider::builder()
            .window_size(window)
            .bucket_size(BucketSize::milliseconds_or_panic(10))
            .cleanup_interval(Duration::from_secs(30))
            .build()
            .expect("a provider");
        Self { provider, rate }
    }
}

impl Contender<String> for Trypema {
    #[inline]
    fn check(&self, key: &String) -> bool {
        self.check_n(key, 1)
    }
}

impl Fill<String> for Trypema {
    #[inline]
    fn check_n(&self, key: &String, cost: u32) -> bool {
        matches!(self.provider.absolute().inc(key, &self.rate, cost.into()), RateLimitDecision::Allowed)
    }
}
