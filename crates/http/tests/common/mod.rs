//! A client before a limit, at a time of the test's choosing.

#![allow(dead_code, reason = "no test uses all of it")]

use std::time::Duration;

use tollgate::clock::{Instant, ManualClock};
use tollgate::{Bucket, Quota};
use tollgate_http::answer::{LimitStatus, QuotaUnit};

/// Half a second past a whole one, so that rounding shows.
pub(crate) const NOON: Instant = Instant::from_nanos(1_700_000_000_500_000_000);

pub(crate) struct Client {
    pub(crate) quota: Quota,
    pub(crate) name: String,
    pub(crate) unit: QuotaUnit,
    bucket: Bucket<ManualClock>,
    clock: ManualClock,
}

impl Client {
    pub(crate) fn new(name: &str, quota: Quota) -> Self {
        let clock = ManualClock::new(NOON);
        let bucket = Bucket::with_clock(quota, clock.clone()).unwrap();
        Self { quota, name: name.to_owned(), unit: QuotaUnit::Requests, bucket, clock }
    }

    pub(crate) fn wait(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// Where the client stands after a request that costs this much.
    pub(crate) fn asks(&self, cost: u64) -> LimitStatus<'_> {
        let decision = self.bucket.check_n(cost);
        LimitStatus::of(&self.name, &decision).with_policy("api").with_unit(self.unit)
    }

    /// Where it stands once everything is gone.
    pub(crate) fn is_refused(&self) -> LimitStatus<'_> {
        while self.bucket.check_n(1).is_allowed() {}
        self.asks(1)
    }
}
