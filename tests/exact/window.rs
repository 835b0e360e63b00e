//! What a sliding window counts.

use std::time::Duration;

use super::common::{bucket, ns};
use super::{ALL, secs};
use tollgate::clock::{Instant, ManualClock};
use tollgate::error::{LimitError, QuotaError};
use tollgate::{Algorithm, Bucket, Limiter, Quota};

#[test]
fn a_refund_in_the_next_sliding_window_counts() {
    let bucket = bucket(Quota::per_minute(10).with_algorithm(Algorithm::SlidingWindow), 0);
    assert_eq!(bucket.take_up_to(ALL), 10);
    let next = bucket.at(Instant::from_secs(60));
    assert_eq!(next.peek().remaining(), 0);
    next.refund(4);
    assert_eq!(next.peek().remaining(), 4);
}

#[test]
fn a_sliding_window_withholds_nothing_beside_a_quota_of_thirds() {
    let sliding = Quota::new(2, Duration::from_nanos(2_000_002)).unwrap().with_algorithm(Algorithm::SlidingWindow);
    let builder = Limiter::builder(Quota::per_second(300)).also_exact_for(sliding);
    let limiter = builder.clock(ManualClock::default()).build().unwrap();
    let limit = limiter.prepare("sliding", sliding).unwrap();
    assert!(limit.effective_rate().is_exact());
    assert_eq!(limiter.under(&limit).take_up_to("key", ALL), 2);
    // Half of the next window: 2 * 1/2 + 1 <= 2.
    assert!(limiter.under(&limit).at(ns(3_000_003)).check("key").is_allowed());
}

#[test]
fn a_cancelled_request_takes_nothing_from_the_window_before() {
    let bucket = bucket(Quota::per_minute(10).with_algorithm(Algorithm::SlidingWindow), 0);
    assert_eq!(bucket.take_up_to(ALL), 10);
    let next = bucket.at(Instant::from_secs(90));
    let reservation = next.reserve(5, secs(0)).unwrap();
    next.refund(5);
    assert_eq!(next.peek().remaining(), 5);
    reservation.cancel();
    assert_eq!(next.peek().remaining(), 5, "it has been given back already");
}

#[test]
fn the_longest_sliding_window_counts_at_the_end_of_the_range() {
    let windows = |period| Quota::new(40_000, period).unwrap().with_algorithm(Algorithm::SlidingWindow);
    let clock = || ManualClock::new(ns(ALL));
    let longest = match Bucket::with_clock(windows(Quota::MAX_PERIOD), clock()).map(drop) {
        Err(LimitError::Quota(QuotaError::PeriodTooLong { max, .. })) => max,
        other => panic!("ten years fit: {other:?}"),
    };
    let bucket = Bucket::with_clock(windows(longest), clock()).unwrap();
    assert_eq!(bucket.at(ns(ALL).saturating_sub(longest)).take_up_to(30_000), 30_000);
    // The window before still counts in part, and the clock stands still.
    let left = bucket.peek().remaining();
    assert!((10_000..40_000).contains(&left));
    assert_eq!((bucket.take_up_to(1), bucket.peek().remaining()), (1, left - 1));
    assert_eq!((bucket.take_up_to(ALL), bucket.take_up_to(ALL)), (left - 1, 0));
}
