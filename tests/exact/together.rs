//! Reserving for several limits at once: one instant, all or nothing, first come first served.

use std::time::Duration;

use super::common::{Rng, SECOND, limiter, nanos, ns};
use super::{ALL, millis, quota, secs};
use tollgate::clock::{Clock, ManualClock};
use tollgate::error::{LimitSetError, ReserveError};
use tollgate::set::SetReservation;
use tollgate::{Algorithm, Limit, LimitSet, Limiter, Quota, SetItem, Verdict};

fn queue(count: u64) -> Quota {
    Quota::per_second(count).with_burst(100).with_algorithm(Algorithm::LeakyQueue)
}

fn set_of(limiter: &Limiter<ManualClock>, quotas: &[Quota]) -> LimitSet {
    let limit = |(i, quota): (usize, &Quota)| limiter.prepare(&format!("limit {i}"), *quota).unwrap();
    LimitSet::new(quotas.iter().enumerate().map(limit)).unwrap()
}

fn left(limiter: &Limiter<ManualClock>, set: &LimitSet) -> Vec<u64> {
    set.limits().iter().map(|limit| limiter.under(limit).peek("key").remaining()).collect()
}

#[test]
fn the_slowest_limit_says_when() {
    let limiter = limiter(Quota::per_second(1));
    let set = set_of(&limiter, &[queue(1), queue(2), Quota::per_second(1).with_burst(2)]);
    let waits = [0, 1, 2, 3].map(|_| limiter.reserve_set(&set, "key", 1, secs(60)).unwrap().wait());
    assert_eq!(waits, [0, 1, 2, 3].map(secs));
    // All three count the last as of 3 s: a queue of 2 a second lets the next go half a second later, and not earlier.
    let next = limiter.under(&set.limits()[1]).key("key").reserve(1, secs(60)).unwrap();
    assert_eq!(next.go_at(), ns(3 * SECOND + SECOND / 2));
    assert_eq!(limiter.reserve_set(&set, "key", 1, secs(60)).unwrap().go_at(), ns(4 * SECOND));
}

#[test]
fn who_would_wait_too_long_takes_nothing_and_is_told_when() {
    let limiter = limiter(Quota::per_second(1));
    let set = set_of(&limiter, &[Quota::per_second(10), Quota::per_minute(1).with_burst(1)]);
    assert_eq!(limiter.reserve_set(&set, "key", 1, secs(0)).unwrap().wait(), secs(0));
    let before = left(&limiter, &set);
    let refused = limiter.reserve_set(&set, "key", 1, secs(60) - Duration::from_nanos(1)).unwrap_err();
    assert_eq!((refused.is_allowed(), refused.index(), refused.retry_after()), (false, 1, Some(secs(60))));
    assert_eq!((refused.remaining(), refused.limit().quota().count()), (0, 1));
    assert_eq!(left(&limiter, &set), before);
    assert_eq!(limiter.reserve_set(&set, "key", 1, secs(60)).unwrap().wait(), secs(60));
    let never = limiter.reserve_set(&set, "key", 2, Duration::MAX).unwrap_err();
    assert!(never.decision().never_fits() && never.retry_after().is_none());
}

#[test]
fn what_is_cancelled_comes_back_under_all() {
    let limiter = limiter(Quota::per_second(1));
    let set = set_of(&limiter, &[Quota::per_second(10), queue(1), Quota::per_hour(50)]);
    assert!(limiter.check_set(&set, "key").is_allowed());
    limiter.clock().advance(millis(100));
    let before = left(&limiter, &set);
    let cancel_at = |reservation: SetReservation<'_>| reservation.cancel_at(ns(SECOND / 10));
    for cancel in [SetReservation::cancel, cancel_at] {
        let reservation = limiter.reserve_set(&set, "key", 3, secs(60)).unwrap();
        assert_eq!(reservation.wait(), millis(900));
        cancel(reservation);
        assert_eq!(left(&limiter, &set), before);
    }
}

#[test]
fn a_window_promises_up_to_its_end() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let limiter = limiter(Quota::per_second(1));
        limiter.clock().set(ns(50 * SECOND));
        let window = Quota::per_minute(10).with_algorithm(algorithm);
        let set = set_of(&limiter, &[window, Quota::new(1, secs(6)).unwrap()]);
        let waits = [0, 6].map(|_| limiter.reserve_set(&set, "key", 1, secs(60)).unwrap().wait());
        assert_eq!(waits, [0, 6].map(secs), "{algorithm}");
        // At 62 s, in the next window.
        let refused = limiter.reserve_set(&set, "key", 1, secs(60)).unwrap_err();
        assert_eq!((refused.index(), refused.retry_after()), (0, Some(secs(12))), "{algorithm}");
        assert_eq!(left(&limiter, &set), [8, 0], "{algorithm}");
        limiter.clock().advance(secs(12));
        assert!(limiter.reserve_set(&set, "key", 1, secs(0)).is_ok(), "{algorithm}");
    }
    // A log remembers what has gone, and nothing else.
    let limiter = limiter(Quota::per_second(1));
    let log = Quota::per_minute(10).with_algorithm(Algorithm::SlidingLog);
    let set = set_of(&limiter, &[log, queue(1)]);
    assert!(limiter.reserve_set(&set, "key", 1, secs(60)).unwrap().wait().is_zero());
    assert_eq!(limiter.reserve_set(&set, "key", 1, secs(60)).unwrap_err().retry_after(), Some(secs(1)));
    assert_eq!(left(&limiter, &set)[0], 9);
}

#[test]
fn items_have_keys_and_costs_of_their_own() {
    let limiter = limiter(Quota::per_second(1));
    let set = set_of(&limiter, &[queue(1), Quota::per_second(10)]);
    let item = |limit: usize, key: &str, cost| SetItem { limit: &set.limits()[limit], key: limiter.hash(key), cost };
    let all = |user: &str| [item(0, user, 1), item(1, "all", 4)];
    assert!(limiter.reserve_items(&all("anna"), secs(0)).unwrap().wait().is_zero());
    assert!(limiter.reserve_items(&all("berta"), secs(0)).unwrap().wait().is_zero());
    assert_eq!(limiter.reserve_items(&all("carla"), secs(9)).unwrap().wait(), millis(200));
    let error = limiter.reserve_items(&[], secs(9)).unwrap_err();
    assert!(matches!(error, ReserveError::Items(LimitSetError::Empty)), "{error}");
    let error = limiter.reserve_items(&all("anna"), millis(999)).unwrap_err();
    assert!(matches!(error, ReserveError::Refused(_)) && error.to_string().contains("1s"), "{error}");
    // The same bucket twice: both costs, or none.
    let twice = [item(1, "twice", 6), item(1, "twice", 4)];
    assert!(limiter.reserve_items(&twice, secs(9)).unwrap().wait().is_zero());
    assert_eq!(limiter.under(&set.limits()[1]).peek("twice").remaining(), 0);
}

#[test]
fn a_part_that_costs_nothing_has_no_say() {
    let limiter = limiter(Quota::per_second(1));
    let set = set_of(&limiter, &[queue(1), Quota::per_minute(3).with_algorithm(Algorithm::SlidingLog)]);
    let item = |limit: usize, cost| SetItem { limit: &set.limits()[limit], key: limiter.hash("key"), cost };
    let waits = [0, 1, 2].map(|_| limiter.reserve_items(&[item(0, 1), item(1, 0)], secs(9)).unwrap().wait());
    assert_eq!(waits, [0, 1, 2].map(secs));
}

#[test]
fn an_unlimited_part_has_no_say_either() {
    let limiter = limiter(Quota::per_second(1));
    let set = set_of(&limiter, &[Quota::unlimited(), queue(1)]);
    let waits = [0, 1, 2].map(|_| limiter.reserve_set(&set, "key", 1, secs(9)).unwrap().wait());
    assert_eq!(waits, [0, 1, 2].map(secs));
    assert!(limiter.under(&limiter.reset_limit(&set.limits()[0])).check_n("key", ALL).is_allowed());
}

/// A token is half a nanosecond: one queue is free after one, the other after two, both within the first nanosecond.
#[test]
fn the_latest_turn_is_told_apart_within_a_nanosecond() {
    let limiter = limiter(queue(2_000_000_000));
    let item = |key: &str| SetItem { limit: limiter.default_limit(), key: limiter.hash(key), cost: 1 };
    for key in ["one", "two", "two"] {
        assert!(limiter.key(key).reserve(1, secs(1)).is_ok());
    }
    let reservation = limiter.reserve_items(&[item("one"), item("two")], secs(1)).unwrap();
    assert_eq!(reservation.wait(), Duration::from_nanos(1));
}

#[test]
fn parts_of_one_bucket_wait_for_what_they_take_together() {
    let limiter = limiter(Quota::per_second(10));
    assert!(limiter.check_n("key", 4).is_allowed());
    let item = SetItem { limit: limiter.default_limit(), key: limiter.hash("key"), cost: 4 };
    let told = limiter.check_items(&[item; 2]).unwrap();
    assert_eq!((told.verdict(), told.is_refused(), told.retry_after()), (Verdict::Refused, true, Some(millis(200))));
    let error = limiter.reserve_items(&[item; 2], millis(199)).unwrap_err();
    let ReserveError::Refused(refused) = error else { panic!("{error}") };
    assert_eq!((refused.retry_after(), refused.remaining()), (Some(millis(200)), told.remaining()));
    assert_eq!(limiter.reserve_items(&[item; 2], millis(200)).unwrap().wait(), millis(200));
    assert_eq!(limiter.peek("key").retry_after(), Some(millis(300)), "both are taken, as of then");
}

/// Each limit by itself finds a slot for the key, and together they do not: the wait is that of a check.
#[test]
fn in_a_full_table_the_wait_that_is_told_is_true() {
    for seed in 0..50 {
        let builder = Limiter::builder("1/s").clock(ManualClock::new(ns(1_000 * SECOND))).capacity(1);
        let limiter = builder.fixed_seed(seed).build().unwrap();
        let set = limiter.prepare_set("set", "40/m as fixed-window, 3/s, 2/ms burst 4").unwrap();
        for key in 0..60_u64 {
            let _ = limiter.check_set(&set, &key);
        }
        let Err(refused) = limiter.reserve_set(&set, &100, 1, Duration::MAX) else { continue };
        let wait = refused.retry_after().expect("some time");
        let later = limiter.now() + wait;
        assert!(limiter.at(later).check_set(&set, &100).is_allowed(), "seed {seed}, after {wait:?}");
    }
}

#[test]
fn another_limiters_limits_are_refused() {
    let (ours, theirs) = (limiter(Quota::per_second(1)), limiter(Quota::per_second(1)));
    let set = set_of(&theirs, &[queue(1), queue(2)]);
    assert!(ours.reserve_set(&set, "key", 1, Duration::MAX).unwrap_err().decision().never_fits());
    let items = [SetItem { limit: &set.limits()[0], key: ours.hash("key"), cost: 1 }];
    assert!(ours.reserve_items(&items, Duration::MAX).is_err());
    assert_eq!(ours.stats().foreign, 2);
}

/// P1 for every limit of the set, over all spans, whoever reserved, checked or cancelled in between.
#[test]
fn no_limit_admits_more_than_it_may_at_any_instant() {
    for seed in 0..400 {
        let mut rng = Rng(seed);
        let limiter = limiter(Quota::per_second(1));
        let quotas: Vec<Quota> = (0..2 + rng.below(2))
            .map(|_| {
                let quota = quota(1 + rng.below(5), 1 + rng.below(3)).with_burst(1 + rng.below(6));
                if rng.once_in(3) { quota.with_algorithm(Algorithm::LeakyQueue) } else { quota }
            })
            .collect();
        let set = set_of(&limiter, &quotas);
        // When how much went, under each limit.
        let mut went: Vec<Vec<(u64, u64)>> = vec![Vec::new(); quotas.len()];
        let mut waiting = Vec::new();
        for _ in 0..60 {
            limiter.clock().advance(millis(rng.below(700)));
            let cost = 1 + rng.below(2);
            match rng.below(4) {
                0 | 1 => {
                    if let Ok(reservation) = limiter.reserve_set(&set, "key", cost, millis(rng.below(4_000))) {
                        waiting.push((reservation, cost));
                    }
                }
                2 => {
                    let one = usize::try_from(rng.below(went.len() as u64)).unwrap();
                    let taken = limiter.under(&set.limits()[one]).key("key").take_up_to(cost);
                    if taken > 0 {
                        went[one].push((limiter.clock().now().as_nanos(), taken));
                    }
                }
                _ if !waiting.is_empty() => {
                    let any = usize::try_from(rng.below(waiting.len() as u64)).unwrap();
                    let (reservation, cost) = waiting.swap_remove(any);
                    if reservation.go_at() > limiter.clock().now() {
                        reservation.cancel();
                    } else {
                        went.iter_mut().for_each(|went| went.push((reservation.go_at().as_nanos(), cost)));
                    }
                }
                _ => {}
            }
        }
        for (reservation, cost) in waiting {
            went.iter_mut().for_each(|went| went.push((reservation.go_at().as_nanos(), cost)));
        }
        for (limit, went) in set.limits().iter().zip(&mut went) {
            went.sort_unstable();
            holds(limit, went, seed);
        }
    }
}

/// At most the burst, and what the rate adds; a queue lets one go at a time.
fn holds(limit: &Limit, went: &[(u64, u64)], seed: u64) {
    let quota = limit.quota();
    let is_queue = quota.algorithm() == Algorithm::LeakyQueue;
    let (count, period) = (u128::from(quota.count()), u128::from(nanos(quota.period())));
    for (i, &(from, _)) in went.iter().enumerate() {
        let mut sum = 0;
        for &(to, cost) in &went[i..] {
            // What goes last from a queue does not yet take its time.
            let before = sum;
            sum += u128::from(cost);
            let (sum, burst) = if is_queue { (before, 0) } else { (sum, u128::from(quota.burst())) };
            let span = u128::from(to - from) + 1;
            assert!(sum * period <= burst * period + span * count, "seed {seed}: {sum} within {span} ns under {quota}");
        }
    }
}

#[test]
fn a_list_is_decided_one_by_one() {
    let limiter = limiter(Quota::per_second(1));
    let theirs = self::limiter(Quota::per_second(1));
    let set = set_of(&limiter, &[Quota::per_minute(40), Quota::per_minute(3)]);
    let item = |limit: usize, key: u64, cost| SetItem { limit: &set.limits()[limit], key: limiter.hash(&key), cost };
    // More than are fetched at once.
    let mut items: Vec<_> = (0..50).map(|i| item(usize::from(i >= 45), i / 45, 1)).collect();
    items.push(item(1, 9, 4));
    items.push(SetItem { key: theirs.hash(&0), ..item(0, 0, 1) });
    let mut told = Vec::new();
    limiter.check_each(&items, |index, decision| told.push((index, decision.is_allowed(), decision.never_fits())));
    let right = (0..52).map(|i| (i, i < 40 || (45..48).contains(&i), i >= 50));
    assert_eq!(told, right.collect::<Vec<_>>());
    assert_eq!(limiter.stats().foreign, 1);
    limiter.check_each(&[], |_, _| unreachable!("there are none"));
}

#[test]
fn a_limit_that_is_reset_forgets_all_keys() {
    for algorithm in Algorithm::ALL {
        let limiter = limiter(Quota::per_second(1));
        let old = limiter.prepare("limit", Quota::per_hour(3).with_algorithm(algorithm)).unwrap();
        let most = limiter.under(&old).peek("a").remaining();
        for key in ["a", "b"] {
            assert_eq!(limiter.under(&old).key(key).take_up_to(ALL), most, "{algorithm}");
        }
        let (one, two) = (limiter.reset_limit(&old), limiter.reset_limit(&old));
        for limit in [&one, &two, &limiter.reset_limit(&one)] {
            assert_eq!(limit.quota(), old.quota());
            for key in ["a", "b"] {
                assert_eq!(limiter.under(limit).key(key).take_up_to(ALL), most, "{algorithm}");
            }
        }
        assert_eq!(limiter.under(&old).key("a").take_up_to(ALL), 0, "{algorithm}: who goes on with the old one");
        // Of a queue one has to leave first.
        let left = if algorithm == Algorithm::LeakyQueue { 0 } else { 6 };
        // A change of quota carries over from what there is now.
        let more = limiter.change_quota(&one, Quota::per_hour(9).with_algorithm(algorithm)).unwrap();
        assert_eq!(limiter.under(&more).peek("a").remaining(), left, "{algorithm}");
        // One that came by a change of quota forgets what was carried over as well.
        assert!(limiter.under(&limiter.reset_limit(&more)).peek("a").is_allowed(), "{algorithm}");
    }
    let (ours, theirs) = (limiter(Quota::per_second(1)), limiter(Quota::per_second(1)));
    let same = ours.reset_limit(theirs.default_limit());
    assert!(theirs.under(&same).check("key").is_allowed() && ours.stats().foreign == 1);
}
