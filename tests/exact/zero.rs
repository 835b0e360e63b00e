//! Zeros, what never fits, and the ends of the clock.

use std::time::Duration;

use super::common::{SECOND, YEAR, bucket, limiter, ns};
use super::{ALL, quota, secs};
use tollgate::{Algorithm, Quota, Verdict};

#[test]
fn a_closed_limit_admits_nothing_but_a_cost_of_zero() {
    for closed in Algorithm::ALL.map(|algorithm| Quota::per_second(0).with_algorithm(algorithm)) {
        let bucket = bucket(closed, 7);
        let decision = bucket.check();
        assert_eq!(decision.verdict(), Verdict::NeverFits, "{}", closed.algorithm());
        assert_eq!((decision.burst(), decision.remaining(), decision.retry_after()), (0, 0, None));
        assert_eq!(decision.reset_after(), Duration::ZERO);
        assert!(bucket.check_n(0).is_allowed());
        assert_eq!((bucket.handle().take_up_to(ALL), bucket.handle().charge(ALL)), (0, 0));
        assert!(bucket.handle().reserve(1, secs(100)).unwrap_err().never_fits());
        bucket.handle().refund(ALL);
        bucket.handle().reset();
        assert!(bucket.at(ns(ALL)).check().never_fits());
    }
    for algorithm in [Algorithm::TokenBucket, Algorithm::LeakyBucket] {
        assert!(bucket(Quota::per_second(5).with_burst(0).with_algorithm(algorithm), 0).check().never_fits());
    }
}

#[test]
fn a_queue_without_room_lets_through_what_may_go_at_once() {
    let bucket = bucket(Quota::per_second(2).with_burst(0).with_algorithm(Algorithm::LeakyQueue), 0);
    assert!(bucket.check().is_allowed());
    assert!(bucket.handle().reserve(1, secs(9)).unwrap_err().is_refused());
    assert!(!bucket.at(ns(SECOND / 2 - 1)).check().is_allowed());
    assert!(bucket.at(ns(SECOND / 2)).check().is_allowed());
}

#[test]
fn a_cost_of_zero_takes_nothing_and_is_admitted_when_nothing_is_left() {
    for algorithm in Algorithm::ALL {
        let limiter = limiter(Quota::per_second(3).with_algorithm(algorithm));
        assert!(limiter.check_n("key", 0).is_allowed());
        assert_eq!(limiter.stats().busy, 0, "{algorithm}: nothing written");
        assert_eq!(limiter.key("key").take_up_to(ALL), 3);
        assert!(limiter.check_n("key", 0).is_allowed());
        assert!(!limiter.check("key").is_allowed());
        assert_eq!(limiter.key("key").reserve(0, Duration::ZERO).unwrap().wait(), Duration::ZERO);
    }
}

#[test]
fn a_cost_whose_product_would_wrap_never_fits() {
    let bucket = bucket(Quota::per_day(1), 0);
    for cost in [2, 213_503, 213_504, 213_505, 213_506, 1 << 32, 1 << 63, ALL - 1, ALL] {
        assert!(bucket.check_n(cost).never_fits(), "{cost}");
        assert!(bucket.handle().reserve(cost, Duration::MAX).unwrap_err().never_fits(), "{cost}");
    }
    assert!(bucket.check_n(1).is_allowed(), "none of them took anything");
}

#[test]
fn the_ends_of_the_clock_do_not_panic() {
    let starts = [0, 1, SECOND, YEAR, 1_700_000_123 * SECOND + 456, ALL / 2, ALL - 1, ALL];
    let ends = [0, 1, 59 * SECOND + 7, YEAR + 1, 1_600_000_077 * SECOND, ALL - YEAR, ALL - 1, ALL];
    for algorithm in Algorithm::ALL {
        for (count, period) in [(7, 60), (3, 7), (10, 1), (1, 30 * 86_400)] {
            for start in starts {
                let bucket = bucket(quota(count, period).with_algorithm(algorithm), start);
                for now in ends {
                    let view = bucket.at(ns(now));
                    let report = view.check().report();
                    assert!(report.remaining <= count, "{algorithm} from {start} at {now}");
                    let _ = (view.check_n(count).report(), view.peek_n(ALL).report());
                    let taken = (view.take_up_to(ALL), view.charge(ALL));
                    assert!(taken.0 <= count, "{algorithm} from {start} at {now}: {taken:?}");
                    if let Ok(reservation) = view.reserve(1, Duration::MAX) {
                        assert!(reservation.go_at() >= ns(now));
                        reservation.cancel();
                    }
                    view.refund(ALL);
                    assert!(view.peek().is_allowed());
                    let _ = view.charge(2);
                    view.reset();
                    assert!(view.check_n(count).is_allowed(), "{algorithm} from {start} at {now}");
                }
            }
        }
    }
}
