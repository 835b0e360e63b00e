//! Giving back never sells twice (P1): cancelled reservations, dropped leases, refunds beside those who wait.

use super::common::{SECOND, bucket, ns};
use super::{ALL, millis, secs};
use tollgate::clock::{Clock, ManualClock};
use tollgate::{Algorithm, Bucket, Limiter, Quota, Reservation};

fn ten() -> Bucket<ManualClock> {
    bucket(Quota::per_second(10), 0)
}

#[test]
fn a_reservation_cancelled_behind_a_lease_frees_nothing_that_the_lease_holds() {
    let bucket = ten();
    let reservation = bucket.handle().reserve(4, secs(0)).unwrap();
    let mut lease = bucket.handle().lease(8);
    assert!(lease.check().is_allowed());
    reservation.cancel();
    bucket.clock().set(ns(4 * SECOND / 10));
    let mut admitted = bucket.handle().take_up_to(100);
    while lease.check().is_allowed() {
        admitted += 1;
    }
    assert!(admitted <= 10, "{admitted} at one instant");
}

#[test]
fn cancelling_in_any_order_sells_nothing_twice() {
    for is_last_first in [false, true] {
        for wait in [0, 1, 250, 499, 500, 501, 999] {
            let bucket = ten();
            let mut made = [5, 5].map(|cost| bucket.handle().reserve(cost, secs(0)).unwrap());
            if is_last_first {
                made.reverse();
            }
            let [first, second] = made;
            first.cancel();
            bucket.clock().advance(millis(wait));
            let mut admitted = bucket.handle().take_up_to(100);
            second.cancel();
            admitted += bucket.handle().take_up_to(100);
            assert!(admitted <= 10, "{is_last_first}, after {wait} ms: {admitted} at one instant");
        }
    }
    let bucket = ten();
    let made = [3, 3, 4].map(|cost| bucket.handle().reserve(cost, secs(0)).unwrap());
    made.into_iter().rev().for_each(Reservation::cancel);
    assert_eq!(bucket.handle().take_up_to(100), 10, "the last first: all of it comes back");
}

#[test]
fn a_caller_whose_now_is_old_gives_back_no_more() {
    let bucket = ten();
    let old = bucket.handle().reserve(10, secs(0)).unwrap();
    bucket.clock().set(ns(9 * SECOND / 10));
    assert_eq!(bucket.handle().take_up_to(1), 1);
    old.cancel_at(ns(0));
    assert!(bucket.handle().take_up_to(100) <= 9, "at this instant, with the one before");
}

/// A debit that is cancelled in a window that is over takes nothing from the next, at whatever time it is said to be.
#[test]
fn a_window_that_is_over_gives_nothing_to_the_next() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::SlidingLog] {
        let bucket = bucket(Quota::per_minute(100).with_algorithm(algorithm), 59 * SECOND);
        let old = bucket.handle().reserve(40, secs(0)).unwrap();
        bucket.clock().set(ns(181 * SECOND));
        assert_eq!(bucket.handle().take_up_to(100), 100);
        old.cancel_at(ns(59 * SECOND));
        assert_eq!(bucket.handle().take_up_to(100), 0, "{algorithm}");
    }
}

/// A place of a log that is cancelled at an old `now` was taken before as well, by one whom a late caller may not join.
#[test]
fn a_log_that_is_cancelled_late_forgets_nobody() {
    let bucket = bucket(Quota::per_second(2).with_algorithm(Algorithm::SlidingLog), 0);
    assert_eq!(bucket.handle().take_up_to(2), 2);
    bucket.clock().set(ns(2 * SECOND));
    let again = bucket.handle().reserve(2, secs(0)).unwrap();
    again.cancel_at(ns(0));
    assert_eq!(bucket.at(ns(SECOND / 2)).take_up_to(2), 0, "half a second after the first two");
    assert_eq!(bucket.handle().take_up_to(2), 2);
}

#[test]
fn a_debit_from_before_a_refund_is_not_undone() {
    let bucket = ten();
    let old = bucket.handle().reserve(5, secs(0)).unwrap();
    bucket.handle().refund(5);
    bucket.clock().advance(millis(200));
    // The word stands where the reservation left it, and is another's.
    assert_eq!(bucket.handle().take_up_to(3), 3);
    old.cancel();
    assert!(bucket.handle().take_up_to(100) <= 7, "with the three that went at this instant");
}

/// Instants that are promised are nobody else's.
#[test]
fn a_refund_moves_nobody_into_the_place_of_one_who_waits() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::LeakyQueue] {
        let quota = Quota::per_second(1).with_burst(if algorithm == Algorithm::LeakyQueue { 9 } else { 1 });
        let bucket = bucket(quota.with_algorithm(algorithm), 0);
        assert!(bucket.check().is_allowed());
        let mut last = bucket.clock().now();
        for _ in 0..5 {
            let reservation = bucket.handle().reserve(1, secs(60)).unwrap();
            assert!(reservation.go_at() >= last + secs(1), "{algorithm}");
            last = reservation.go_at();
            bucket.handle().refund(1);
        }
        // Once they have gone, a refund is a refund.
        bucket.clock().set(last);
        bucket.handle().refund(1);
        assert!(bucket.peek().is_allowed() || algorithm == Algorithm::LeakyQueue);
    }
}

#[test]
fn a_refund_of_a_debt_that_nobody_waits_behind_counts() {
    let bucket = bucket(Quota::per_second(10).with_max_debt(secs(100)), 0);
    assert_eq!(bucket.handle().charge(50), 50);
    bucket.handle().refund(45);
    assert_eq!(bucket.handle().take_up_to(ALL), 5);
}

/// What time has paid for, or another window has counted, does not come back.
#[test]
fn a_refund_of_what_was_taken_before_gives_back_no_more_than_is_owed() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::SlidingLog] {
        let limiter = Limiter::builder(Quota::per_minute(60).with_algorithm(algorithm))
            .clock(ManualClock::default())
            .build()
            .unwrap();
        limiter.clock().set(ns(30 * SECOND));
        let taken_at = limiter.now();
        assert_eq!(limiter.key("key").take_up_to(ALL), 60);
        limiter.key("key").refund_of(5, taken_at);
        assert_eq!(limiter.key("key").take_up_to(ALL), 5, "{algorithm}: at once all of it");
        limiter.clock().set(ns(150 * SECOND));
        assert_eq!(limiter.key("key").take_up_to(ALL), 60);
        limiter.key("key").refund_of(60, taken_at);
        assert_eq!(limiter.key("key").take_up_to(ALL), 0, "{algorithm}: two minutes later nothing");
    }
}
