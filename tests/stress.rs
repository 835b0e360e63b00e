//! Many threads on one limiter. Every decision is recorded; afterwards all of them are judged in exact integers:
//! `common/history.rs` says how, and what late threads may gain. `tests/soak.rs` does so for longer.

#![allow(missing_docs, reason = "a test")]

mod common;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use common::Rng;
use common::history::{
    Answer, Left, MICRO, MILLI, Seen, assert_exact, assert_none_stuck, assert_p1, assert_p1_together, by_key, late,
    left_of, none, takeovers,
};
use common::race::{advance, alone, race, race_in_rounds, race_while, until_they_meet};
use tollgate::clock::{Clock, ManualClock};
use tollgate::{LimitSet, Limiter, OnFull, Quota, Stats};

#[test]
fn a_hot_key_on_the_real_clock() {
    let _alone = alone();
    let quota = Quota::per_second(100_000).with_burst(50);
    for threads in [2, 4, 8] {
        until_they_meet(|| {
            let limiter = Limiter::builder(quota).build().unwrap();
            let pick = |rng: &mut Rng| (0, 1 + rng.below(3));
            let mut seen = race_while(&limiter, threads, pick, |_| thread::sleep(Duration::from_millis(100)));
            assert_p1(&mut seen, &quota, none);
            takeovers(&mut seen)
        });
    }
}

#[test]
fn a_hot_key_while_the_clock_is_set() {
    let _alone = alone();
    let quota = Quota::per_second(100_000).with_burst(50);
    for threads in [2, 4, 8] {
        until_they_meet(|| {
            let limiter = Limiter::builder(quota).clock(ManualClock::default()).build().unwrap();
            let pick = |rng: &mut Rng| (0, 1 + rng.below(3));
            let mut seen = race_while(&limiter, threads, pick, |clock| advance(clock, 1_000, 30 * MICRO));
            assert_p1(&mut seen, &quota, none);
            takeovers(&mut seen)
        });
    }
}

/// A thousand keys in the largest table that a test should ask for: no slot is used twice, so none starts late.
#[test]
fn unequal_keys_on_the_real_clock() {
    let _alone = alone();
    let quota = Quota::per_second(2_000).with_burst(20);
    let limiter = Limiter::builder(quota).capacity(100_000).build().unwrap();
    let pick = |rng: &mut Rng| (rng.magnitude(1_000), 1 + rng.below(3));
    let mut seen = race_while(&limiter, 4, pick, |_| thread::sleep(Duration::from_millis(300)));
    assert_p1(&mut seen, &quota, none);
    assert!(takeovers(&mut seen) > 4);
}

#[test]
fn unequal_keys_in_rounds_are_exact() {
    let _alone = alone();
    const KEYS: u64 = 64;
    let quota = Quota::per_second(1_000).with_burst(20);
    for threads in [2, 8] {
        let limiter = Limiter::builder(quota).clock(ManualClock::default()).build().unwrap();
        let work = |thread, rng: &mut Rng| {
            let mut check = || Seen::check(&limiter, thread, rng.magnitude(KEYS) - 1, 1 + rng.below(3));
            (0..100).map(|_| check()).collect()
        };
        let rounds = (250, 20 * MILLI);
        let (mut seen, mut left) = race_in_rounds(limiter.clock(), threads, rounds, work, || left_of(&limiter, KEYS));
        assert_eq!(assert_exact(&mut seen, &mut left, quota), 0, "refused for nothing");
        assert!(takeovers(&mut seen) > threads, "{threads} threads went one after the other");
    }
}

/// Half of what is taken is given back, by a refund or by cancelling a reservation, before the clock goes on.
#[test]
fn what_is_given_back_in_rounds_is_there_again_or_lapses() {
    let _alone = alone();
    const KEYS: u64 = 4;
    let quota = Quota::per_second(1_000).with_burst(20);
    for threads in [2, 8] {
        let limiter = Limiter::builder(quota).clock(ManualClock::default()).build().unwrap();
        let call = |thread, rng: &mut Rng| {
            let (key, cost) = (rng.below(KEYS), 1 + rng.below(8));
            if rng.once_in(3) {
                let reserved = limiter.key(&key).reserve(cost, Duration::ZERO);
                let at = limiter.clock().now().as_nanos();
                let answer = match reserved {
                    Ok(reserved) if rng.once_in(2) => {
                        reserved.cancel();
                        Answer::GivenBack
                    }
                    Ok(_) => Answer::Allowed,
                    Err(_) => Answer::Refused,
                };
                return Seen::with_answer(thread, key, cost, at, answer, at);
            }
            let seen = Seen::check(&limiter, thread, key, cost);
            if !(seen.is_allowed() && rng.once_in(2)) {
                return seen;
            }
            limiter.key(&key).refund(cost);
            seen.given_back()
        };
        let work = |thread, rng: &mut Rng| (0..100).map(|_| call(thread, rng)).collect();
        let rounds = (250, 20 * MILLI);
        let (mut seen, mut left) = race_in_rounds(limiter.clock(), threads, rounds, work, || left_of(&limiter, KEYS));
        let _ = assert_exact(&mut seen, &mut left, quota);
        assert!(takeovers(&mut seen) > threads, "{threads} threads went one after the other");
    }
}

/// Whatever a set took before it was refused has been given back, unless others stand behind it: each limit has lost what was
/// admitted, and no more than that and what came not back.
#[test]
fn sets_are_all_or_nothing_under_race() {
    let _alone = alone();
    let quotas = [
        Quota::per_second(1_000).with_burst(9),
        Quota::per_second(100).with_burst(3),
        Quota::per_second(50).with_burst(3),
    ];
    for threads in [2, 8] {
        until_they_meet(|| race_for_sets(threads, quotas));
    }
}

/// Says how often a thread saw what another had taken of one limit and not yet of the next.
fn race_for_sets(threads: usize, quotas: [Quota; 3]) -> usize {
    const KEYS: u64 = 1_000;
    const VISITS: u64 = 8;
    let builder = quotas.iter().fold(Limiter::builder(quotas[0]), |builder, quota| builder.also_exact_for(*quota));
    let limiter = builder.clock(ManualClock::default()).build().unwrap();
    let limits = [0, 1, 2].map(|i| limiter.prepare(["wide", "short", "long"][i], quotas[i]).unwrap());
    let sets = [[0, 1, 2], [2, 1, 0]].map(|order| LimitSet::new(order.map(|i| limits[i])).unwrap());
    let (tickets, half_taken) = (AtomicU64::new(0), AtomicUsize::new(0));
    let work = |thread, rng: &mut Rng| {
        let mut check = || {
            let (key, cost) = (tickets.fetch_add(1, Ordering::Relaxed) / VISITS % KEYS, 1 + rng.below(2));
            let decision = limiter.check_set_n(&sets[thread % 2], &key, cost).decision();
            // When all stands still, the long limit is as empty as the others, or more, and refuses for longest.
            if decision.is_refused() && *decision.limit().quota() != quotas[2] {
                half_taken.fetch_add(1, Ordering::Relaxed);
            }
            let seen = Seen::new(thread, key, cost, &decision, 0);
            if decision.is_allowed() { seen } else { seen.given_back() }
        };
        (0..KEYS * VISITS / threads as u64).map(|_| check()).collect()
    };
    let look = || {
        let at = limiter.clock().now().as_nanos();
        let left = |key| limits.each_ref().map(|limit| limiter.under(limit).peek(&key).remaining());
        (0..KEYS).map(|key| (Left { key, at, remaining: 0 }, left(key))).collect()
    };
    let (mut seen, left) = race_in_rounds(limiter.clock(), threads, (5, 150 * MILLI), work, look);
    for (i, quota) in quotas.into_iter().enumerate() {
        assert_p1(&mut seen, &quota, none);
        let mut left: Vec<Left> = left.iter().map(|&(look, left)| Left { remaining: left[i], ..look }).collect();
        let _ = assert_exact(&mut seen, &mut left, quota);
    }
    half_taken.into_inner()
}

/// Each key is asked for by several threads at once, for the first time: it must be in one slot only (P3).
#[test]
fn a_key_that_many_insert_at_once_is_there_once() {
    const KEYS: u64 = 10_000;
    const VISITS: u64 = 6;
    let _alone = alone();
    let quota = Quota::per_day(3);
    for threads in [2, 8] {
        until_they_meet(|| {
            let builder = Limiter::builder(quota).capacity(usize::try_from(KEYS).unwrap());
            let limiter = builder.clock(ManualClock::default()).build().unwrap();
            let tickets = AtomicU64::new(0);
            let next = || Some(tickets.fetch_add(1, Ordering::Relaxed) / VISITS).filter(|&key| key < KEYS);
            let work = |thread| std::iter::from_fn(next).map(|key| Seen::check(&limiter, thread, key, 1)).collect();
            let mut seen = race(threads, work);
            for calls in by_key(&mut seen) {
                let admitted = calls.iter().filter(|one| one.is_allowed()).count();
                assert_eq!((admitted, calls.len()), (3, 6), "key {}", calls[0].key);
            }
            assert_eq!(limiter.stats().evictions + limiter.stats().refused_full, 0);
            takeovers(&mut seen)
        });
    }
}

/// Keys of a table far too small for the `MANY` that come.
const SMALL: usize = 16;
const MANY: u64 = 300;

/// Some more often than others.
fn one_of_many(rng: &mut Rng) -> u64 {
    if rng.once_in(2) { rng.magnitude(MANY) } else { rng.below(MANY) }
}

/// New keys were refused, none was evicted, and slots changed hands.
fn assert_churn(seen: &mut [Seen], stats: &Stats) {
    let keys = by_key(seen).filter(|calls| calls.iter().any(Seen::is_allowed)).count();
    assert!(keys > 2 * stats.bytes / 16, "{keys} keys went through {} slots", stats.bytes / 16);
    assert!(stats.refused_full > 0 && stats.evictions == 0 && stats.untracked == 0, "{stats:?}");
}

#[test]
fn churn_in_rounds_refuses_new_keys_and_keeps_p1() {
    let _alone = alone();
    let quota = Quota::per_second(100).with_burst(4);
    for threads in [2, 8] {
        let builder = Limiter::builder(quota).capacity(SMALL).on_full(OnFull::RefuseNew);
        let limiter = builder.clock(ManualClock::default()).build().unwrap();
        let work = |thread, rng: &mut Rng| {
            let mut check = || {
                let key = one_of_many(rng);
                Seen::check(&limiter, thread, key, 1 + rng.below(3))
            };
            (0..60).map(|_| check()).collect()
        };
        let (mut seen, _) = race_in_rounds(limiter.clock(), threads, (400, 30 * MILLI), work, Vec::<()>::new);
        assert_p1(&mut seen, &quota, none);
        assert_churn(&mut seen, &limiter.stats());
        assert_none_stuck(&limiter);
        assert!(takeovers(&mut seen) > threads, "{threads} threads went one after the other");
    }
}

#[test]
fn churn_on_the_real_clock_refuses_new_keys_and_keeps_p1() {
    let _alone = alone();
    let quota = Quota::per_second(50).with_burst(3);
    for threads in [2, 8] {
        let builder = Limiter::builder(quota).capacity(SMALL).on_full(OnFull::RefuseNew);
        let limiter = builder.build().unwrap();
        // All at once, so that a bucket is full and its slot free whenever it admits.
        let pick = |rng: &mut Rng| (one_of_many(rng), 3);
        let mut seen = race_while(&limiter, threads, pick, |_| thread::sleep(Duration::from_millis(400)));
        assert_p1(&mut seen, &quota, late);
        assert_churn(&mut seen, &limiter.stats());
    }
}

/// All keys together get no more than one key in every slot would, and no lateness comes into it: stamps of a slot rise.
#[test]
fn churn_by_eviction_keeps_the_bound_of_all_slots() {
    let _alone = alone();
    let quota = Quota::per_second(100).with_burst(4);
    for threads in [2, 4, 8] {
        let limiter = Limiter::builder(quota).capacity(SMALL).clock(ManualClock::default()).build().unwrap();
        let key = |rng: &mut Rng| if rng.once_in(2) { one_of_many(rng) } else { rng.next() };
        let pick = |rng: &mut Rng| (key(rng), 1 + rng.below(3));
        let seen = race_while(&limiter, threads, pick, |clock| advance(clock, 1_000, MILLI));
        let stats = limiter.stats();
        let slots = u64::try_from(stats.bytes / 16).unwrap();
        assert_p1_together(&seen, &quota, slots);
        assert!(stats.evictions > slots && stats.refused_full > 0 && stats.untracked == 0, "{stats:?}");
        assert_none_stuck(&limiter);
    }
}
