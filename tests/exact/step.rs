//! A clock that goes back, and callers who are late.

use super::common::{SECOND, bucket, ns};
use super::{ALL, millis, secs};
use tollgate::{Algorithm, Instant, Limiter, ManualClock, OnFull, Quota};

#[test]
fn a_step_back_does_not_forgive_debt() {
    let bucket = bucket(Quota::per_second(1).with_burst(10).with_max_debt(secs(100)), 1_000 * SECOND);
    assert_eq!(bucket.charge(ALL), 110);
    bucket.clock().set(Instant::from_secs(990));
    let retry = bucket.check().retry_after();
    assert!(retry >= Some(secs(101)), "P7: before the step it was 101 s, after it {retry:?}");
}

#[test]
fn a_refund_after_a_step_back_does_not_make_a_debt() {
    let bucket = bucket(Quota::per_second(1).with_burst(2), 5_000 * SECOND);
    assert_eq!(bucket.take_up_to(ALL), 2);
    bucket.clock().set(Instant::from_secs(4_000));
    bucket.refund(1);
    let _ = bucket.check().is_allowed();
    bucket.clock().set(Instant::from_secs(4_003));
    assert!(bucket.check_n(2).is_allowed(), "P7: nothing was reserved or charged, and a refill takes two seconds");
}

#[test]
fn a_late_caller_finds_whole_counts_beside_a_quota_of_thirds() {
    let sliding = Quota::per_second(10).with_algorithm(Algorithm::SlidingWindow);
    let builder = Limiter::builder(sliding).expect(Quota::per_second(3));
    let limiter = builder.build_with_clock(ManualClock::default()).unwrap();
    assert!(!limiter.default_limit().units_per_second().is_multiple_of(SECOND));
    assert_eq!(limiter.at(ns(SECOND)).take_up_to("key", 4), 4);
    assert_eq!(limiter.at(ns(2 * SECOND + 1)).take_up_to("key", 1), 1);
    assert_eq!(limiter.at(ns(2 * SECOND - 1)).peek("key").remaining(), 5);
}

#[test]
fn a_window_emptied_at_its_start_is_full_in_the_one_before() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let bucket = bucket(Quota::per_second(10).with_algorithm(algorithm), 5 * SECOND);
        bucket.clock().set(Instant::from_secs(10));
        assert_eq!(bucket.take_up_to(3), 3);
        bucket.reset();
        assert_eq!(bucket.at(ns(9 * SECOND + 5)).peek().remaining(), 10);
        assert_eq!(bucket.at(ns(8 * SECOND + 5)).peek().remaining(), 10);
    }
}

#[test]
fn a_charge_to_just_empty_is_no_debt() {
    let bucket = bucket(Quota::per_second(10), 100 * SECOND);
    assert_eq!(bucket.charge(10), 10);
    bucket.clock().set(Instant::from_secs(50));
    assert_eq!(bucket.check().retry_after(), Some(millis(100)), "P7: empty as of now, and not in debt");
}

#[test]
fn a_sliding_log_is_mended_by_any_call_after_a_step_back() {
    for call in [0, 1] {
        let bucket = bucket(Quota::per_second(2).with_algorithm(Algorithm::SlidingLog), 5_000 * SECOND);
        assert_eq!(bucket.take_up_to(ALL), 2);
        bucket.clock().set(Instant::from_secs(1_000));
        if call == 0 {
            assert!(!bucket.check().is_allowed());
        } else {
            assert_eq!(bucket.take_up_to(1), 0);
        }
        bucket.clock().set(Instant::from_secs(1_002));
        assert_eq!(bucket.take_up_to(ALL), 2, "call {call}");
    }
}

/// Slots that were used before the step look busy to the clock after it; new keys must not pay for that.
#[test]
fn a_step_back_does_not_lock_new_keys_out_of_a_used_table() {
    for policy in [OnFull::EvictNearestIdle, OnFull::RefuseNew] {
        let builder = Limiter::builder(Quota::per_second(1)).capacity(100).on_full(policy).fixed_seed(1);
        let limiter = builder.build_with_clock(ManualClock::new(Instant::from_secs(100_000))).unwrap();
        for key in 0..10_000 {
            assert!(limiter.check(&key).is_allowed());
            limiter.clock().advance(millis(100));
        }
        limiter.clock().set(Instant::from_secs(90_000));
        for key in 0..100 {
            let _ = limiter.check(&("new", key)).is_allowed();
        }
        limiter.clock().set(Instant::from_secs(90_003));
        let admitted = (0..100).filter(|key| limiter.check(&("new", *key)).is_allowed()).count();
        assert_eq!(admitted, 100, "P7 under {policy:?}: every bucket was full before the step");
    }
}

/// What no call under the newcomer's own limit can have left, calls under another can.
#[test]
fn a_newcomer_under_a_quicker_limit_leaves_the_windows_of_others_alone() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let hourly = Quota::per_hour(10).with_algorithm(algorithm);
        let builder = Limiter::builder(hourly).capacity(100).on_full(OnFull::RefuseNew).fixed_seed(1);
        let limiter = builder.max_clock_skew(secs(0)).build_with_clock(ManualClock::default()).unwrap();
        let drained: Vec<u64> = (0..2_000).filter(|key| limiter.take_up_to(key, 10) == 10).collect();
        let quick = limiter.limit("quick", Quota::per_second(1)).unwrap();
        let refused = (0..1_000).filter(|key| limiter.with(&quick).check(&("new", *key)).is_refused()).count();
        assert!(refused > 0, "the table is full");
        assert!(drained.iter().all(|key| limiter.peek(key).remaining() == 0), "{algorithm}");
    }
}
