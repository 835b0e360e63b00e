//! A clock that goes back, and callers who are late.

use super::common::{SECOND, bucket, ns};
use super::{ALL, millis, secs};
use std::time::Duration;

use tollgate::clock::{Clock, Instant, ManualClock};
use tollgate::{Algorithm, LimitSet, Limiter, OnFull, Quota};

#[test]
fn a_step_back_does_not_forgive_debt() {
    let bucket = bucket(Quota::per_second(1).with_burst(10).with_max_debt(secs(100)), 1_000 * SECOND);
    assert_eq!(bucket.handle().charge(ALL), 110);
    bucket.clock().set(Instant::from_secs(990));
    let retry = bucket.check().retry_after();
    assert!(retry >= Some(secs(101)), "P7: before the step it was 101 s, after it {retry:?}");
}

#[test]
fn a_refund_after_a_step_back_does_not_make_a_debt() {
    let bucket = bucket(Quota::per_second(1).with_burst(2), 5_000 * SECOND);
    assert_eq!(bucket.handle().take_up_to(ALL), 2);
    bucket.clock().set(Instant::from_secs(4_000));
    bucket.handle().refund(1);
    let _ = bucket.check().is_allowed();
    bucket.clock().set(Instant::from_secs(4_003));
    assert!(bucket.check_n(2).is_allowed(), "P7: nothing was reserved or charged, and a refill takes two seconds");
}

#[test]
fn a_late_caller_finds_whole_counts_beside_a_quota_of_thirds() {
    let sliding = Quota::per_second(10).with_algorithm(Algorithm::SlidingWindow);
    let builder = Limiter::builder(sliding).also_exact_for(Quota::per_second(3));
    let limiter = builder.clock(ManualClock::default()).build().unwrap();
    assert!(!limiter.default_limit().units_per_second().is_multiple_of(SECOND));
    assert_eq!(limiter.at(ns(SECOND)).key("key").take_up_to(4), 4);
    assert_eq!(limiter.at(ns(2 * SECOND + 1)).key("key").take_up_to(1), 1);
    assert_eq!(limiter.at(ns(2 * SECOND - 1)).peek("key").remaining(), 5);
}

#[test]
fn a_window_emptied_at_its_start_is_full_in_the_one_before() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let bucket = bucket(Quota::per_second(10).with_algorithm(algorithm), 5 * SECOND);
        bucket.clock().set(Instant::from_secs(10));
        assert_eq!(bucket.handle().take_up_to(3), 3);
        bucket.handle().reset();
        assert_eq!(bucket.at(ns(9 * SECOND + 5)).peek().remaining(), 10);
        assert_eq!(bucket.at(ns(8 * SECOND + 5)).peek().remaining(), 10);
    }
}

#[test]
fn a_charge_to_just_empty_is_no_debt() {
    let bucket = bucket(Quota::per_second(10), 100 * SECOND);
    assert_eq!(bucket.handle().charge(10), 10);
    bucket.clock().set(Instant::from_secs(50));
    assert_eq!(bucket.check().retry_after(), Some(millis(100)), "P7: empty as of now, and not in debt");
}

#[test]
fn a_sliding_log_is_repaired_by_any_call_after_a_step_back() {
    for call in [0, 1] {
        let bucket = bucket(Quota::per_second(2).with_algorithm(Algorithm::SlidingLog), 5_000 * SECOND);
        assert_eq!(bucket.handle().take_up_to(ALL), 2);
        bucket.clock().set(Instant::from_secs(1_000));
        if call == 0 {
            assert!(!bucket.check().is_allowed());
        } else {
            assert_eq!(bucket.handle().take_up_to(1), 0);
        }
        bucket.clock().set(Instant::from_secs(1_002));
        assert_eq!(bucket.handle().take_up_to(ALL), 2, "call {call}");
    }
}

/// Slots that were used before the step look busy to the clock after it; new keys must not pay for that.
#[test]
fn a_step_back_does_not_lock_new_keys_out_of_a_used_table() {
    for policy in [OnFull::EvictNearestIdle, OnFull::RefuseNew] {
        let builder = Limiter::builder(Quota::per_second(1)).capacity(100).on_full(policy).fixed_seed(1);
        let limiter = builder.clock(ManualClock::new(Instant::from_secs(100_000))).build().unwrap();
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
        let limiter = builder.clock(ManualClock::default()).build().unwrap();
        let drained: Vec<u64> = (0..2_000).filter(|key| limiter.key(key).take_up_to(10) == 10).collect();
        let quick = limiter.prepare("quick", Quota::per_second(1)).unwrap();
        let refused = (0..1_000).filter(|key| limiter.under(&quick).check(&("new", *key)).is_refused()).count();
        assert!(refused > 0, "the table is full");
        assert!(drained.iter().all(|key| limiter.peek(key).remaining() == 0), "{algorithm}");
    }
}

/// Who is behind another is refused with the true wait, however far; nothing is taken back for him.
#[test]
fn callers_who_disagree_on_the_time_gain_nothing() {
    for apart in [1, 999, 1_000, 1_001, 1_100, 5_000, 3_600_000] {
        for quota in [Quota::per_second(5), Quota::per_hour(10).with_burst(5)] {
            let bucket = bucket(quota, 10_000 * SECOND);
            let (late, early) = (bucket.clock().now(), bucket.clock().now() + millis(apart));
            assert_eq!(bucket.at(early).take_up_to(ALL), 5);
            for _ in 0..100 {
                let refused = bucket.at(late).check();
                assert!(refused.is_refused(), "{apart} ms behind, {quota}");
                let ready = late + refused.retry_after().expect("later");
                assert!(bucket.at(ready).peek().is_allowed(), "{apart} ms behind, {quota}");
                assert!(!bucket.at(ns(ready.as_nanos() - 1)).peek().is_allowed(), "{apart} ms behind, {quota}");
                assert!(bucket.at(early).check().is_refused(), "{apart} ms behind, {quota}");
            }
        }
    }
}

/// After a step of its own clock a limiter refuses no longer than a refill, whenever the key is asked for again.
#[test]
fn a_key_that_comes_late_after_a_step_back_is_not_shut_until_the_clock_has_caught_up() {
    for algorithm in Algorithm::ALL {
        let limiter = Limiter::builder(Quota::per_minute(2).with_algorithm(algorithm))
            .clock(ManualClock::new(Instant::from_secs(100_000)))
            .build()
            .unwrap();
        assert!(limiter.key("key").take_up_to(ALL) > 0);
        limiter.clock().set(Instant::from_secs(90_000));
        assert!(limiter.check("other").is_allowed());
        limiter.clock().advance(secs(600));
        let first = limiter.check("key");
        if let Some(wait) = first.retry_after() {
            assert!(wait <= secs(120), "{algorithm}: {wait:?}");
            limiter.clock().advance(wait);
            assert!(limiter.check("key").is_allowed(), "{algorithm}");
        }
        assert_eq!(limiter.stats().clock_steps, 1, "{algorithm}");
    }
}

/// All limits of a set are repaired by the first refusal: shut for the longest refill, not for the sum of them.
#[test]
fn a_set_after_a_step_back_is_shut_for_its_longest_refill() {
    let limiter = Limiter::builder(Quota::per_second(10))
        .also_exact_for(Quota::per_minute(6))
        .clock(ManualClock::new(Instant::from_secs(100_000)))
        .build()
        .unwrap();
    let quotas = [Quota::per_second(1), Quota::per_minute(6).with_burst(1), Quota::per_minute(1)];
    let limits = ["a", "b", "c"].iter().zip(quotas).map(|(name, quota)| limiter.prepare(name, quota).unwrap());
    let set = LimitSet::new(limits).unwrap();
    assert!(limiter.check_set(&set, "key").is_allowed());
    limiter.clock().set(Instant::from_secs(50_000));
    let refused = limiter.check_set(&set, "key");
    assert_eq!(refused.decision().retry_after(), Some(secs(60)));
    limiter.clock().advance(secs(60) - Duration::from_nanos(1));
    assert!(!limiter.check_set(&set, "key").is_allowed());
    limiter.clock().advance(Duration::from_nanos(1));
    assert!(limiter.check_set(&set, "key").is_allowed());
}

/// The places of a log compete for slots of their own, which others left at a later time.
#[test]
fn after_a_step_back_a_log_waits_for_slots_no_longer_than_a_period() {
    for (policy, seed) in
        [OnFull::RefuseNew, OnFull::EvictNearestIdle].into_iter().flat_map(|p| (0..40).map(move |s| (p, s)))
    {
        let builder = Limiter::builder(Quota::per_second(3).with_algorithm(Algorithm::SlidingLog)).capacity(1);
        let clock = ManualClock::new(Instant::from_secs(10_000));
        let limiter = builder.on_full(policy).fixed_seed(seed).clock(clock).build().unwrap();
        for second in [5_000, 3_000] {
            for key in 0..60 {
                let _ = limiter.key(&key).charge(1 + key % 3);
            }
            limiter.clock().set(Instant::from_secs(second));
            for key in 0..60 {
                let wait = limiter.check_n(&key, 1 + (key + seed) % 3).retry_after();
                assert!(wait <= Some(millis(1_001)), "{policy:?}, {seed}, {key}: {wait:?}");
            }
            limiter.clock().advance(millis(700));
        }
    }
}
