//! Quotas that change while a bucket is in use.

use super::common::limiter;
use super::{ALL, millis, secs};
use std::time::Duration;

use tollgate::clock::{Instant, ManualClock};
use tollgate::{Algorithm, Inheritance, Limit, Limiter, Quota};

const ALL_TIME: Duration = Duration::MAX;

/// Two quotas under one name are two buckets: in turn they admit the sum of both, and no more.
#[test]
fn two_quotas_under_one_name_are_two_buckets() {
    for algorithm in Algorithm::ALL {
        let quota = |count| Quota::per_hour(count).with_algorithm(algorithm);
        let limiter = limiter(quota(50));
        let small = limiter.prepare(Limit::DEFAULT_NAME, quota(10)).unwrap();
        let mut admitted = 0;
        for _ in 0..100 {
            admitted += limiter.key("key").take_up_to(1_000) + limiter.under(&small).key("key").take_up_to(1_000);
        }
        // Logs of one name and period share what they remember; a queue lets one request at a time through, of any cost.
        let both = if algorithm == Algorithm::SlidingLog { 50 } else { 60 };
        assert_eq!(admitted, both, "{algorithm}");
    }
}

/// A raise helps at once and a cut hurts at once, in tokens, whatever the algorithm.
#[test]
fn a_change_carries_over_what_was_used() {
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| *algorithm != Algorithm::LeakyQueue) {
        for (old, used, new) in [(5, 5, 50), (10, 4, 40), (40, 15, 20), (40, 30, 20), (10, 0, 20), (7, 7, 49)] {
            let quota = |count| Quota::per_hour(count).with_algorithm(algorithm);
            let limiter = limiter(quota(old));
            assert_eq!(limiter.key("key").take_up_to(used), used);
            let changed = limiter.change_quota(limiter.default_limit(), quota(new)).unwrap();
            assert!(changed.carries_over());
            let view = limiter.under(&changed);
            let left = new.saturating_sub(used);
            let what = format!("{algorithm}: {used} of {old} used, now {new}");
            assert_eq!(view.peek("key").remaining(), left, "{what}");
            assert_eq!(limiter.peek("key").remaining(), old - used, "a look writes nothing; {what}");
            if left == 0 {
                assert!(view.check("key").is_retryable(), "{what}");
                assert_eq!(limiter.peek("key").remaining(), old - used, "nor does a refusal; {what}");
                continue;
            }
            // One by one: what was carried over counts once.
            assert!(view.check("key").is_allowed(), "{what}");
            assert_eq!(view.peek("key").remaining(), left - 1, "{what}");
            assert_eq!(view.key("key").take_up_to(ALL), left - 1, "{what}");
            assert_eq!(view.key("key").take_up_to(ALL), 0, "{what}");
            if algorithm != Algorithm::SlidingLog {
                assert_eq!(limiter.key("key").take_up_to(ALL), 0, "the old bucket is closed; {what}");
            }
            assert!(limiter.key("key").take_up_to(ALL) + used + left <= old.max(new), "{what}");
        }
    }
}

/// Whoever asks under the old limit after the change adds nothing to what both admit together.
#[test]
fn old_and_new_callers_together_stay_within_the_bound() {
    for algorithm in Algorithm::ALL {
        for (old, new) in [(5, 50), (50, 10), (10, 11), (1, 2), (40, 3)] {
            for order in 0..4_u32 {
                let quota = |count| Quota::per_hour(count).with_algorithm(algorithm);
                let limiter = limiter(quota(old));
                let mut admitted = if order & 1 == 0 { limiter.key("key").take_up_to(old / 2) } else { 0 };
                let changed = limiter.change_quota(limiter.default_limit(), quota(new)).unwrap();
                for turn in 0..20 {
                    admitted += u64::from(limiter.under(&changed).check("key").is_allowed());
                    admitted += if order & 2 == 0 || turn > 2 { limiter.key("key").take_up_to(3) } else { 0 };
                }
                admitted += limiter.key("key").take_up_to(ALL) + limiter.under(&changed).key("key").take_up_to(ALL);
                assert!(admitted <= old.max(new), "{algorithm}, {old} to {new}: {admitted}");
            }
        }
    }
}

/// Over one change at `c`: at most `max(B1, B2) + r1 (c - t1) + r2 (t2 - c)`.
#[test]
fn over_a_change_a_key_gets_what_both_rates_add() {
    for (old, new) in [(60, 600), (600, 60), (60, 60_00), (100, 99)] {
        for used in [0, old / 3, old] {
            for (before, after) in [(0, 0), (7, 0), (0, 7), (13, 29), (30, 55)] {
                let limiter = limiter(Quota::per_minute(old));
                let mut admitted = limiter.key("key").take_up_to(used);
                limiter.clock().advance(secs(before));
                admitted += limiter.key("key").take_up_to(old / 10);
                let changed = limiter.change_quota(limiter.default_limit(), Quota::per_minute(new)).unwrap();
                for _ in 0..after {
                    admitted += limiter.under(&changed).key("key").take_up_to(ALL);
                    limiter.clock().advance(secs(1));
                }
                admitted += limiter.under(&changed).key("key").take_up_to(ALL);
                let most = old.max(new) + (old * before + new * after) / 60 + 1;
                assert!(admitted <= most, "{old} to {new}, {used} used, {before} s, {after} s: {admitted} of {most}");
            }
        }
    }
}

#[test]
fn what_is_carried_over_refills_at_the_new_rate() {
    let limiter = limiter(Quota::per_hour(10));
    assert_eq!(limiter.key("key").take_up_to(ALL), 10);
    let changed = limiter.change_quota(limiter.default_limit(), Quota::per_hour(3_600)).unwrap();
    let view = limiter.under(&changed);
    assert_eq!(view.key("key").take_up_to(ALL), 3_590);
    assert_eq!(view.check("key").retry_after(), Some(secs(1)));
    limiter.clock().advance(secs(3_600));
    assert_eq!(view.key("key").take_up_to(ALL), 3_600, "all is forgotten");
}

/// What is owed or promised is carried over as that.
#[test]
fn what_is_past_empty_is_carried_over() {
    let limiter = limiter(Quota::per_second(10).with_max_debt(secs(60)));
    assert_eq!(limiter.key("key").charge(50), 50);
    let faster = limiter.change_quota(limiter.default_limit(), Quota::per_second(20)).unwrap();
    // 50 used, of which the new burst holds 20: the first token comes after the other 30.
    assert_eq!(limiter.under(&faster).check("key").retry_after(), Some(millis(1_550)));
}

/// Whoever waits in a queue goes when he was told, and nobody with him.
#[test]
fn a_queue_that_becomes_faster_keeps_its_promises() {
    let queue = |count| Quota::per_minute(count).with_burst(10).with_algorithm(Algorithm::LeakyQueue);
    let limiter = limiter(queue(60));
    let waits: Vec<_> = (0..4).map(|_| limiter.key("key").reserve(1, secs(60)).unwrap().wait()).collect();
    assert_eq!(waits, [secs(0), secs(1), secs(2), secs(3)]);
    let faster = limiter.change_quota(limiter.default_limit(), queue(120)).unwrap();
    let next = [0; 2].map(|_| limiter.under(&faster).key("key").reserve(1, secs(60)).unwrap().wait());
    assert_eq!(next, [millis(3_500), millis(4_000)]);
    let slower = limiter.change_quota(limiter.default_limit(), queue(30)).unwrap();
    assert!(limiter.under(&slower).key("other").reserve(1, secs(60)).unwrap().wait().is_zero());
}

#[test]
fn another_period_or_algorithm_begins_anew_and_says_so() {
    let limiter = limiter(Quota::per_hour(10));
    assert_eq!(limiter.key("key").take_up_to(ALL), 10);
    let old = limiter.default_limit();
    for quota in [Quota::per_minute(10), Quota::per_hour(10).with_algorithm(Algorithm::FixedWindow)] {
        let anew = limiter.change_quota(old, quota).unwrap();
        assert!(!anew.carries_over());
        assert_eq!(limiter.under(&anew).peek("key").remaining(), 10);
    }
    let same = limiter.change_quota(old, *old.quota()).unwrap();
    assert_eq!(limiter.under(&same).peek("key").remaining(), 0, "the same quota is the same limit");
}

/// Nobody asks between one change and the next: what was used is not forgotten.
#[test]
fn changes_that_nobody_notices_forget_nothing() {
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| *algorithm != Algorithm::LeakyQueue) {
        let quota = |count| Quota::per_hour(count).with_algorithm(algorithm);
        let limiter = limiter(quota(20));
        assert_eq!(limiter.key("key").take_up_to(15), 15);
        let mut limit = *limiter.default_limit();
        for count in [40, 30, 20, 40] {
            limit = limiter.change_quota(&limit, quota(count)).unwrap();
            assert_eq!(limiter.under(&limit).peek("key").remaining(), count - 15, "{algorithm}, {count}");
        }
        assert_eq!(limiter.under(&limit).key("key").take_up_to(ALL), 25, "{algorithm}");
    }
}

#[test]
fn converting_back_and_forth_sells_nothing() {
    for how in [Inheritance::AsIs, Inheritance::Proportional, Inheritance::Additive] {
        for algorithm in Algorithm::ALL {
            let quota = |count| Quota::per_hour(count).with_algorithm(algorithm).with_max_debt(secs(0));
            let limiter = limiter(quota(100));
            let other = limiter.prepare("other", quota(1_000)).unwrap();
            let (from, to) = (*limiter.default_limit(), other);
            let mut admitted = 0;
            for turn in 0..50 {
                let [from, to] = if turn % 2 == 0 { [&from, &to] } else { [&to, &from] };
                admitted += limiter.under(from).key("key").take_up_to(1_000);
                limiter.under(from).convert("key", to, how);
            }
            assert!(admitted <= 1_000, "{how:?}, {algorithm}: {admitted}");
        }
    }
}

/// What was reserved under the old limit comes back there.
#[test]
fn a_reservation_from_before_a_conversion_makes_nothing_up() {
    let limiter = limiter(Quota::per_second(1).with_burst(10));
    let fast = limiter.prepare("fast", Quota::per_second(100).with_burst(1_000)).unwrap();
    let reservation = limiter.key("key").reserve(10, secs(0)).unwrap();
    limiter.convert("key", &fast, Inheritance::AsIs);
    reservation.cancel();
    assert_eq!((limiter.under(&fast).key("key").take_up_to(ALL), limiter.key("key").take_up_to(ALL)), (0, 10));
}

/// The examples of bucket4j's documentation of `TokensInheritanceStrategy`.
#[test]
fn bucket4j_inheritance() {
    let converted = |old: u64, held: u64, new: u64, how: Inheritance| {
        let limiter = limiter(Quota::per_day(old));
        let to = limiter.prepare(Limit::DEFAULT_NAME, Quota::per_day(new)).unwrap();
        assert_eq!(limiter.key("key").take_up_to(old - held), old - held);
        limiter.convert("key", &to, how);
        limiter.under(&to).peek("key").remaining()
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
    let builder = Limiter::builder(Quota::per_second(7)).also_exact_for(Quota::per_second(5));
    let limiter = builder.clock(ManualClock::default()).build().unwrap();
    let to = limiter.prepare(Limit::DEFAULT_NAME, Quota::per_second(5)).unwrap();
    assert_eq!(limiter.key("key").take_up_to(6), 6);
    limiter.convert("key", &to, Inheritance::Additive);
    // 1 - 2 = -1 token: the first comes when two have come back.
    assert_eq!(limiter.under(&to).check("key").retry_after(), Some(millis(400)));
}

#[test]
fn a_closed_limit_carries_no_debt_over() {
    let limiter = limiter(Quota::per_second(10));
    assert_eq!(limiter.key("key").take_up_to(ALL), 10);
    let closed = limiter.prepare(Limit::DEFAULT_NAME, Quota::per_second(0)).unwrap();
    limiter.under(&closed).convert("key", limiter.default_limit(), Inheritance::AsIs);
    let empty = limiter.peek("key");
    assert_eq!((empty.remaining(), empty.reset_after()), (0, secs(1)));
}

/// A change that came later than the clock is now holds nobody up: not who used nothing, and whoever did for one refill.
#[test]
fn after_a_step_back_a_changed_limit_refuses_no_longer_than_a_refill() {
    for algorithm in Algorithm::ALL {
        for (old, new, used) in [(10, 20, 0), (10, 20, 1), (10, 20, 10), (20, 10, 10), (20, 10, 20)] {
            for (back, turns) in [(millis(1_500), 3), (secs(3_600), 3), (secs(100_000), 3)] {
                let quota = |count| Quota::per_second(count).with_algorithm(algorithm);
                let limiter = limiter(quota(old));
                limiter.clock().set(Instant::from_secs(200_000));
                let _ = limiter.key("key").take_up_to(used);
                let changed = limiter.change_quota(limiter.default_limit(), quota(new)).unwrap();
                let view = limiter.under(&changed);
                limiter.clock().set(limiter.now().saturating_sub(back));
                for turn in 0..turns {
                    let decision = view.check("key");
                    let what = format!("{algorithm}, {old} to {new}, {used} used, back {back:?}, turn {turn}");
                    assert!(used > 0 || turn > 0 || decision.is_allowed(), "{what}");
                    // A sliding window is empty again after two.
                    assert!(decision.retry_after() <= Some(secs(2)), "{what}: {:?}", decision.retry_after());
                    limiter.clock().advance(secs(2));
                }
            }
        }
    }
}

/// A refusal's wait is as long as it must be, and no longer, also where a long debt is carried over into a slow limit.
#[test]
fn the_wait_for_what_is_carried_over_is_exact() {
    let debt = |count, seconds| Quota::per_second(count).with_max_debt(secs(seconds));
    let queue = |count, burst| Quota::per_minute(count).with_burst(burst).with_algorithm(Algorithm::LeakyQueue);
    let bursty = |count, burst| debt(count, 0).with_burst(burst);
    let chains: [&[Quota]; 6] = [
        &[queue(300, 5), queue(60, 4), queue(600, 10), queue(120, 2)],
        &[debt(1_000, 10), debt(1, 0)],
        &[debt(1_000, 3_600), debt(1, 3_600)],
        &[queue(600, 100), queue(6, 1)],
        &[bursty(10, 10), bursty(20, 20), bursty(1, 20)],
        &[debt(1_000, 10), debt(10, 0), debt(3, 1), debt(2, 0)],
    ];
    for chain in chains {
        let limiter = limiter(chain[0]);
        while limiter.key("key").reserve(1, ALL_TIME).is_ok() {}
        let mut limit = *limiter.default_limit();
        for quota in &chain[1..] {
            limit = limiter.change_quota(&limit, *quota).unwrap();
            limiter.clock().advance(millis(300));
        }
        let (view, now) = (limiter.under(&limit), limiter.now());
        let most = chain[chain.len() - 1].burst();
        assert!(!view.key("key").peek_n(most).is_allowed());
        for cost in 1..=most {
            let Some(wait) = view.key("key").peek_n(cost).retry_after() else { continue };
            assert!(view.at(now + wait).key("key").peek_n(cost).is_allowed(), "{chain:?}, {cost}");
            assert!(
                !view.at(now + (wait - Duration::from_nanos(1))).key("key").peek_n(cost).is_allowed(),
                "{chain:?}, {cost}"
            );
        }
    }
}

/// A request that read the clock before the change, of a key that has used nothing.
#[test]
fn who_used_nothing_before_the_change_has_all_at_any_now() {
    let limiter = limiter(Quota::per_second(1_000).with_burst(10));
    let late = limiter.now();
    limiter.clock().advance(millis(20));
    let changed = limiter.change_quota(limiter.default_limit(), Quota::per_second(2_000).with_burst(20)).unwrap();
    assert_eq!(limiter.under(&changed).at(late).peek("key").remaining(), 20);
}

/// Instants promised under the old limit are nobody else's under the new one.
#[test]
fn a_refund_after_a_change_moves_nobody_into_the_place_of_one_who_waits() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::LeakyQueue] {
        let places = if algorithm == Algorithm::LeakyQueue { 9 } else { 1 };
        let quota = |burst| Quota::per_second(1).with_burst(burst).with_algorithm(algorithm);
        let limiter = limiter(quota(places));
        assert!(limiter.check("key").is_allowed());
        for _ in 0..4 {
            let _ = limiter.key("key").reserve(1, secs(60)).unwrap();
        }
        let changed = limiter.change_quota(limiter.default_limit(), quota(places + 1)).unwrap();
        let wait = limiter.under(&changed).peek("key").retry_after();
        limiter.under(&changed).key("key").refund(2);
        assert_eq!(limiter.under(&changed).peek("key").retry_after(), wait, "{algorithm}");
    }
}

/// What another limiter calls a limit cannot be changed here.
#[test]
fn another_limiters_limit_stays_what_it_is() {
    let [mine, other] = [0; 2].map(|_| limiter(Quota::per_second(10)));
    mine.clock().advance(secs(1_000));
    let limit = mine.change_quota(other.default_limit(), Quota::per_second(20)).unwrap();
    assert_eq!(mine.stats().foreign, 1);
    assert_eq!((*limit.quota(), limit.carries_over()), (Quota::per_second(10), false));
    assert!(mine.under(&limit).check("key").never_fits());
}

/// A key that comes first a while after a cut has used nothing, and gets the whole new burst.
#[test]
fn who_comes_first_after_a_cut_has_all() {
    for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| *algorithm != Algorithm::LeakyQueue) {
        for later in [0, 1, 30, 59, 90] {
            let quota = |count| Quota::per_minute(count).with_algorithm(algorithm);
            let limiter = limiter(quota(100));
            let less = limiter.change_quota(limiter.default_limit(), quota(10)).unwrap();
            limiter.clock().advance(secs(later));
            assert!(limiter.under(&less).check("key").is_allowed());
            assert_eq!(limiter.under(&less).key("key").take_up_to(ALL), 9, "{algorithm}, after {later} s");
        }
    }
}

/// In each window what is counted under both limits is at most the larger, from its first instant.
#[test]
fn a_window_that_begins_after_a_change_counts_for_both() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let quota = |count| Quota::per_second(count).with_algorithm(algorithm);
        let limiter = limiter(quota(4));
        limiter.clock().set(Instant::from_nanos(10_999_999_999));
        let more = limiter.change_quota(limiter.default_limit(), quota(12)).unwrap();
        assert_eq!(limiter.under(&more).key("key").take_up_to(1), 1);
        for ahead in [1, 500_000_000] {
            limiter.clock().advance(Duration::from_nanos(ahead));
            let mut admitted = limiter.key("key").take_up_to(1);
            admitted += limiter.under(&more).key("key").take_up_to(9);
            admitted += limiter.key("key").take_up_to(ALL) + limiter.under(&more).key("key").take_up_to(ALL);
            assert!(admitted <= 12, "{algorithm}: {admitted}");
        }
    }
}

/// The first request under the new limit closes the old bucket, which is looked at again when the new one is full.
#[test]
fn a_closed_bucket_says_what_it_was() {
    let limiter = limiter(Quota::per_minute(10));
    assert_eq!(limiter.key("key").take_up_to(3), 3);
    let new = limiter.change_quota(limiter.default_limit(), Quota::per_minute(20)).unwrap();
    assert!(limiter.under(&new).check("key").is_allowed());
    limiter.clock().advance(secs(30));
    assert_eq!(limiter.under(&new).key("key").take_up_to(ALL), 20);
}
