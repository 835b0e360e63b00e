//! Cases from the suites of other limiters.

use std::time::Duration;

use super::common::{SECOND, bucket, ns};
use super::{MILLI, millis, secs};
use tollgate::clock::{Instant, ManualClock};
use tollgate::{Algorithm, Bucket, Quota};

/// `run(t, NewLimiter(10, burst), ...)` of Go's `x/time/rate`: (tenths of a second, cost, admitted).
fn go_allow(burst: u64, cases: &[(u64, u64, bool)]) {
    let bucket = bucket(Quota::per_second(10).with_burst(burst), 1_000 * SECOND);
    for (i, &(tenths, cost, admitted)) in cases.iter().enumerate() {
        let now = ns(1_000 * SECOND + tenths * SECOND / 10);
        assert_eq!(bucket.at(now).check_n(cost).is_allowed(), admitted, "step {i} of {cases:?}");
    }
}

#[test]
fn go_allow_cases() {
    let (yes, no) = (true, false);
    go_allow(1, &[(0, 1, yes), (0, 1, no), (0, 1, no), (1, 1, yes), (1, 1, no), (2, 2, no), (2, 1, yes), (2, 1, no)]);
    go_allow(3, &[(0, 2, yes), (0, 2, no), (0, 1, yes), (0, 1, no), (1, 4, no), (2, 1, yes), (3, 1, yes), (4, 1, yes)]);
    go_allow(
        3,
        &[(0, 3, yes), (2, 1, yes), (3, 1, yes), (4, 1, yes), (4, 1, yes), (4, 1, no), (9, 3, yes), (9, 0, yes)],
    );
    go_allow(3, &[(0, 1, yes), (0, 1, yes), (0, 1, yes), (0, 1, no), (30, 3, yes), (30, 1, no)]);
}

/// Tenths of a second at which a reservation may go, as `runReserve` of `x/time/rate` does.
fn go_reserve<'a>(bucket: &'a Bucket<ManualClock>, tenths: u64, cost: u64) -> (u64, tollgate::Reservation<'a>) {
    let reservation = bucket.at(ns(tenths * SECOND / 10)).reserve(cost, secs(1_000)).expect("a reservation");
    assert_eq!(reservation.go_at().as_nanos() % (SECOND / 10), 0);
    (reservation.go_at().as_nanos() / (SECOND / 10), reservation)
}

#[test]
fn go_reserve_cases() {
    let new = |burst| bucket(Quota::per_second(10).with_burst(burst), 0);
    let simple = new(2);
    assert_eq!([(0, 2), (0, 2), (3, 2)].map(|(t, n)| go_reserve(&simple, t, n).0), [0, 2, 4]);

    let mix = new(2);
    assert!(mix.handle().reserve(3, secs(9)).unwrap_err().never_fits());
    assert_eq!(go_reserve(&mix, 0, 2).0, 0);
    assert!(!mix.at(ns(SECOND / 10)).check_n(2).is_allowed());
    assert_eq!(go_reserve(&mix, 1, 2).0, 2);
    assert!(!mix.at(ns(SECOND / 10)).check_n(1).is_allowed());
    assert!(mix.at(ns(3 * SECOND / 10)).check_n(1).is_allowed());

    let last = new(2);
    assert_eq!(go_reserve(&last, 0, 2).0, 0);
    let (at, second) = go_reserve(&last, 0, 2);
    assert_eq!(at, 2);
    second.cancel_at(ns(SECOND / 10));
    assert_eq!(go_reserve(&last, 1, 2).0, 2);

    let one_back = new(2);
    let _ = go_reserve(&one_back, 0, 2);
    let (_, second) = go_reserve(&one_back, 0, 2);
    assert_eq!(go_reserve(&one_back, 0, 1).0, 3);
    second.cancel_at(ns(2 * SECOND / 10));
    assert_eq!(go_reserve(&one_back, 2, 2).0, 5, "4 in Go, which gives one back, and mints in another order");

    let multi = new(4);
    let _ = go_reserve(&multi, 0, 4);
    let (_, a) = go_reserve(&multi, 0, 3);
    let _ = go_reserve(&multi, 0, 1);
    let (_, c) = go_reserve(&multi, 0, 1);
    c.cancel_at(ns(SECOND / 10));
    a.cancel_at(ns(SECOND / 10));
    assert_eq!(go_reserve(&multi, 1, 3).0, 7, "5 in Go: two of the first three come back there");

    let max = new(2);
    assert_eq!(max.handle().reserve(2, millis(100)).unwrap().wait(), Duration::ZERO);
    assert_eq!(max.handle().reserve(1, millis(100)).unwrap().wait(), millis(100));
    assert!(max.handle().reserve(1, millis(100)).unwrap_err().is_refused());
}

/// folly `TokenBucketTest`: going back in time has no effect on the count, consume-or-drain, borrowing.
#[test]
fn folly_cases() {
    let bucket = bucket(Quota::per_second(1_000).with_burst(10), 0);
    let at = |tenth_of_ms: u64| bucket.at(ns(100 * MILLI + tenth_of_ms * 100_000));
    let count = (0..).take_while(|_| at(0).check().is_allowed()).count();
    assert_eq!(count, 10);
    assert!(!bucket.at(ns(99_999_990)).check().is_allowed());
    assert_eq!(at(0).peek().remaining(), 0);
    assert_eq!(at(100).peek().remaining(), 10);
    assert_eq!(at(100).take_up_to(7), 7);
    assert_eq!(at(100).take_up_to(7), 3, "drains what is there");
    assert_eq!(at(100).reserve(5, secs(1)).unwrap().wait(), millis(5), "borrows");
    assert_eq!(at(100).reserve(1, secs(1)).unwrap().wait(), millis(6));
}

/// governor's `correct_wait_time` and `allows_after_interval`.
#[test]
fn governor_cases() {
    let five = bucket(Quota::per_second(5), 0);
    for _ in 0..20 {
        match five.check().retry_after() {
            None => five.clock().advance(millis(20)),
            Some(wait) => {
                five.clock().advance(wait - Duration::from_nanos(1));
                assert!(!five.check().is_allowed());
                five.clock().advance(Duration::from_nanos(1));
                assert!(five.check().is_allowed());
            }
        }
    }
    let one = bucket(Quota::per_second(1), 0);
    let admitted = |ms: u64| one.at(ns(ms * MILLI)).check().is_allowed();
    assert_eq!([0, 1, 999, 1_000, 1_001, 1_999, 2_000].map(admitted), [true, false, false, true, false, false, true]);
}

/// The Python package `limits`: fixed, moving (sliding log) and sliding window.
#[test]
fn limits_cases() {
    let ten = |algorithm| bucket(Quota::per_minute(10).with_algorithm(algorithm), 0);
    let take = |bucket: &Bucket<ManualClock>, second: u64, n: u64| {
        let view = bucket.at(Instant::from_secs(second));
        (0..n).filter(|_| view.check().is_allowed()).count()
    };
    let fixed = ten(Algorithm::FixedWindow);
    assert_eq!([(0, 10), (59, 1), (60, 11)].map(|(t, n)| take(&fixed, t, n)), [10, 0, 10]);

    let moving = ten(Algorithm::SlidingLog);
    assert_eq!(
        [(0, 5), (30, 6), (59, 1), (60, 6), (89, 1), (90, 6)].map(|(t, n)| take(&moving, t, n)),
        [5, 5, 0, 5, 0, 5]
    );
    assert_eq!(moving.at(Instant::from_secs(90)).check().retry_after(), Some(secs(30)));
    assert_eq!(moving.at(Instant::from_secs(90)).check_n(6).retry_after(), Some(secs(60)));

    let sliding = ten(Algorithm::SlidingWindow);
    assert_eq!(take(&sliding, 0, 11), 10);
    // What 10 weigh after 0, 6, 30, 33 and 60 seconds of the next window: 10, 9, 5, 4.5 (so 5) and nothing.
    let left = [60, 66, 90, 93, 120].map(|t| sliding.at(Instant::from_secs(t)).peek().remaining());
    assert_eq!(left, [0, 1, 5, 5, 10]);
    assert_eq!(sliding.at(Instant::from_secs(60)).check().retry_after(), Some(secs(6)));
}
