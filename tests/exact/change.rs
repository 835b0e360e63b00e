//! Quotas that change while a bucket is in use.

use super::common::limiter;
use super::{ALL, millis, quota, secs};
use tollgate::{Inheritance, Limit, Limiter, ManualClock, Quota};

#[test]
fn a_changed_quota_keeps_the_time_until_full() {
    let limiter = limiter(Quota::per_second(10));
    let (slow, fast) = (*limiter.default_limit(), limiter.limit(Limit::DEFAULT_NAME, Quota::per_second(100)).unwrap());
    assert_eq!(limiter.take_up_to("key", 5), 5);
    // Half a second from full is half a second from full: 50 of 100 left.
    assert_eq!(limiter.with(&fast).peek("key").remaining(), 50);
    assert_eq!(limiter.with(&fast).peek("key").reset_after(), millis(500));
    assert_eq!(limiter.with(&fast).take_up_to("key", ALL), 50);
    assert_eq!(limiter.with(&slow).peek("key").remaining(), 0);
    limiter.clock().advance(secs(1));
    assert_eq!(limiter.with(&slow).peek("key").remaining(), 10);
}

#[test]
fn a_bucket_too_far_from_full_for_a_smaller_quota_becomes_empty_and_not_full() {
    let large = quota(3_600, 3_600);
    let limiter =
        Limiter::builder(large).expect(Quota::per_second(10)).build_with_clock(ManualClock::default()).unwrap();
    let small = limiter.limit(Limit::DEFAULT_NAME, Quota::per_second(10)).unwrap();
    assert_eq!(limiter.take_up_to("key", ALL), 3_600);
    // An hour from full; a second is all that the small quota can ever need.
    let refused = limiter.with(&small).check("key");
    assert_eq!((refused.remaining(), refused.retry_after()), (0, Some(millis(100))));
    limiter.clock().advance(millis(99));
    assert!(!limiter.with(&small).check("key").is_allowed());
    limiter.clock().advance(millis(1));
    assert!(limiter.with(&small).check("key").is_allowed());
    assert!(!limiter.with(&small).check("key").is_allowed());
}

/// The examples of bucket4j's documentation of `TokensInheritanceStrategy`.
#[test]
fn bucket4j_inheritance() {
    let converted = |old: u64, held: u64, new: u64, how: Inheritance| {
        let limiter = limiter(Quota::per_day(old));
        let to = limiter.limit(Limit::DEFAULT_NAME, Quota::per_day(new)).unwrap();
        assert_eq!(limiter.take_up_to("key", old - held), old - held);
        limiter.convert("key", &to, how);
        limiter.with(&to).peek("key").remaining()
    };
    // Proportionally: 40 of 100 become 80 of 200, and 20 of 50.
    assert_eq!(converted(100, 40, 200, Inheritance::Proportional), 80);
    assert_eq!(converted(100, 40, 50, Inheritance::Proportional), 20);
    // As is: copied, and cut to the new capacity.
    assert_eq!(converted(500, 500, 200, Inheritance::AsIs), 200);
    assert_eq!(converted(500, 100, 200, Inheritance::AsIs), 100);
    assert_eq!(converted(100, 40, 500, Inheritance::AsIs), 40);
    // Additive: 3 of 5 with a new capacity of 7 become 5, and full stays full.
    assert_eq!(converted(5, 3, 7, Inheritance::Additive), 5);
    assert_eq!(converted(5, 5, 7, Inheritance::Additive), 7);
    assert_eq!(converted(7, 5, 5, Inheritance::Additive), 3);
    assert_eq!(converted(7, 1, 5, Inheritance::Additive), 0);
    // Reset: full.
    assert_eq!(converted(100, 0, 200, Inheritance::Reset), 200);
}

#[test]
fn bucket4j_additive_may_leave_debt() {
    let builder = Limiter::builder(Quota::per_second(7)).expect(Quota::per_second(5));
    let limiter = builder.build_with_clock(ManualClock::default()).unwrap();
    let to = limiter.limit(Limit::DEFAULT_NAME, Quota::per_second(5)).unwrap();
    assert_eq!(limiter.take_up_to("key", 6), 6);
    limiter.convert("key", &to, Inheritance::Additive);
    // 1 - 2 = -1 token: the first comes when two have come back.
    assert_eq!(limiter.with(&to).check("key").retry_after(), Some(millis(400)));
}

#[test]
fn a_closed_limit_carries_no_debt_over() {
    let limiter = limiter(Quota::per_second(10));
    assert_eq!(limiter.take_up_to("key", ALL), 10);
    let closed = limiter.limit(Limit::DEFAULT_NAME, Quota::per_second(0)).unwrap();
    limiter.with(&closed).convert("key", limiter.default_limit(), Inheritance::AsIs);
    let empty = limiter.peek("key");
    assert_eq!((empty.remaining(), empty.reset_after()), (0, secs(1)));
}
