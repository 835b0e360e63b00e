//! The figures of a decision, debt, and waiting.

use std::time::Duration;

use super::common::{SECOND, bucket, limiter, ns};
use super::{ALL, MILLI, millis, secs};
use tollgate::{Algorithm, Quota};

#[test]
fn figures_of_a_decision() {
    let bucket = bucket(Quota::per_second(10).with_burst(20), 0);
    let figures = |d: tollgate::Decision<'_>| (d.burst(), d.remaining(), d.retry_after(), d.reset_after());
    assert_eq!(figures(bucket.peek()), (20, 20, None, Duration::ZERO));
    assert_eq!(figures(bucket.check_n(5)), (20, 15, None, millis(500)));
    assert_eq!(figures(bucket.check_n(16)), (20, 15, Some(millis(100)), millis(500)));
    assert_eq!(figures(bucket.check_n(21)), (20, 15, None, millis(500)));
    bucket.clock().advance(millis(450));
    assert_eq!(figures(bucket.handle().peek_n(20)), (20, 19, Some(millis(50)), millis(50)));
    assert_eq!(bucket.peek().at(), ns(450 * MILLI));
    assert_eq!(bucket.peek().limit().quota().burst(), 20);
    assert_eq!(format!("{:?}", bucket.peek()), format!("Decision({:?})", bucket.peek().report()));
}

#[test]
fn windows_begin_at_multiples_of_the_period() {
    let fixed = bucket(Quota::per_minute(10).with_algorithm(Algorithm::FixedWindow), 0);
    let base = 1_700_000_100 * SECOND; // not a whole minute: 40 s into one
    for start in [0, base] {
        let bucket = bucket(*fixed.default_limit().quota(), start);
        let minute = start / (60 * SECOND) * 60 * SECOND;
        assert_eq!(bucket.at(ns(minute + 59 * SECOND)).take_up_to(ALL), 10);
        assert_eq!(bucket.at(ns(minute + 59 * SECOND)).check().retry_after(), Some(secs(1)));
        assert!(!bucket.at(ns(minute + 60 * SECOND - 1)).check().is_allowed());
        assert_eq!(bucket.at(ns(minute + 60 * SECOND)).take_up_to(ALL), 10);
    }
}

#[test]
fn a_queue_spaces_its_requests() {
    let bucket = bucket(Quota::per_second(10).with_burst(3).with_algorithm(Algorithm::LeakyQueue), 0);
    let wait = |max| bucket.handle().reserve(1, max).map(|r| r.wait()).ok();
    assert!(bucket.check().is_allowed());
    assert_eq!([0, 1, 2].map(|_| wait(secs(9))), [Some(millis(100)), Some(millis(200)), Some(millis(300))]);
    assert_eq!(wait(secs(9)), None, "three wait");
    assert!(!bucket.check().is_allowed());
    bucket.clock().advance(millis(100));
    assert_eq!(wait(millis(299)), None, "longer than the caller would wait");
    assert_eq!(wait(millis(300)), Some(millis(300)));
}

#[test]
fn a_charge_goes_as_far_as_debt_is_allowed() {
    let bucket = bucket(Quota::per_second(10).with_max_debt(secs(2)), 0);
    assert_eq!(bucket.handle().charge(5), 5);
    assert_eq!(bucket.handle().charge(ALL), 25, "5 are left, and two seconds of debt");
    assert_eq!(bucket.handle().charge(1), 0);
    assert_eq!(bucket.check().retry_after(), Some(millis(2_100)));
    bucket.clock().advance(millis(2_100));
    assert!(bucket.check().is_allowed() && !bucket.check().is_allowed());
}

#[test]
fn what_is_cancelled_can_be_taken_again() {
    let limiter = limiter(Quota::per_second(2).with_burst(2));
    limiter.key("key").reserve(2, Duration::ZERO).unwrap().cancel();
    assert_eq!(limiter.peek("key").remaining(), 2);
    assert_eq!(limiter.key("key").take_up_to(1), 1);
    assert_eq!(limiter.peek("key").remaining(), 1);
}

#[test]
fn a_log_says_when_at_the_end_of_the_range() {
    let bucket = bucket(Quota::per_second(1).with_algorithm(Algorithm::SlidingLog), 0);
    let end = bucket.at(ns(ALL));
    assert!(end.check().is_allowed());
    assert_eq!(end.check().retry_after(), Some(secs(1)), "not at once: that would make a client spin");
}
