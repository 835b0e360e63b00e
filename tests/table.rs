//! The table in bounded memory: room for as many busy keys as configured, and what happens beyond (P4, P8); `tests/flood.rs`
//! does so with more keys, and measures.

#![allow(missing_docs, reason = "a test")]

mod common;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use common::report::Progress;
use common::{Admitted, Rng, SECOND, ns, setting, within_rate};
use tollgate::clock::{Clock, ManualClock};
use tollgate::{Algorithm, LimitSet, Limiter, OnFull, Quota, SetItem, Stats};

/// A token a millisecond: a bucket that owes `n` tokens is busy for `n` milliseconds.
const BURST: u64 = 1_000_000;
const MILLI: u64 = SECOND / 1_000;

fn a_milli_each() -> Quota {
    Quota::per_second(1_000).with_burst(BURST)
}

fn limiter(capacity: usize, on_full: OnFull, seed: u64) -> Limiter<ManualClock> {
    let builder = Limiter::builder(a_milli_each()).capacity(capacity).on_full(on_full).fixed_seed(seed);
    builder.clock(ManualClock::default()).build().unwrap()
}

fn events(stats: &Stats) -> [u64; 3] {
    [stats.evictions, stats.refused_full, stats.untracked]
}

fn remaining(limiter: &Limiter<ManualClock>, key: u64) -> u64 {
    limiter.key(&key).peek_n(0).remaining()
}

/// New keys, `cost` each, until no slot has become busy for a long while. Those in the table at the end.
fn fill(limiter: &Limiter<ManualClock>, mut cost: impl FnMut(u64) -> u64) -> Vec<u64> {
    let (mut keys, mut busy, mut last) = (0, 0, 0);
    while keys < 4 * last + 1_000 {
        let _ = limiter.check_n(&keys, cost(keys));
        keys += 1;
        if limiter.stats().busy > busy {
            (busy, last) = (limiter.stats().busy, keys);
        }
    }
    (0..keys).filter(|&key| remaining(limiter, key) < BURST).collect()
}

/// Fills the table to capacity; then each time that a key becomes idle another comes, `churn` times. Nobody may be
/// evicted, refused or left untracked.
fn nobody_is_in_the_way(capacity: usize, churn: usize, seeds: u64) {
    for seed in 0..seeds {
        let limiter = limiter(capacity, OnFull::EvictNearestIdle, seed);
        let mut rng = Rng(seed);
        let (mut busy, mut now) = (BinaryHeap::with_capacity(capacity), 0);
        for _ in 0..capacity + churn {
            if busy.len() == capacity {
                let Reverse(idle_at) = busy.pop().expect("a capacity of one or more");
                now = now.max(idle_at + 1);
            }
            limiter.clock().set(ns(now));
            // The order of going is not that of coming.
            let cost = 1 + rng.below(BURST);
            assert!(limiter.check_n(&rng.next(), cost).is_allowed());
            busy.push(Reverse(now + cost * MILLI));
        }
        let stats = limiter.stats();
        assert_eq!(events(&stats), [0; 3], "capacity {capacity}, seed {seed}: {stats:?}");
    }
}

#[test]
fn small_tables_hold_their_capacity() {
    for (capacity, seeds) in [(1, 100), (2, 100), (10, 100), (100, 50), (1_000, 10)] {
        nobody_is_in_the_way(capacity, 500 + 5 * capacity, seeds);
    }
    // Where few keys fill few lines, chance is least even.
    for capacity in 15..60 {
        nobody_is_in_the_way(capacity, capacity, 40);
    }
}

/// Threads that insert at once hold a slot more each, for a moment: there is room for that too.
#[test]
fn small_tables_hold_their_capacity_for_several_threads() {
    const THREADS: u8 = 4;
    for capacity in 1..60 {
        for seed in 0..20 {
            let limiter = limiter(usize::try_from(capacity).unwrap(), OnFull::RefuseNew, seed);
            let start = Barrier::new(THREADS.into());
            thread::scope(|scope| {
                for first in 0..THREADS.into() {
                    let (limiter, start) = (&limiter, &start);
                    scope.spawn(move || {
                        start.wait();
                        // All of the keys, each thread from a place of its own: most are asked for by several at once.
                        for i in 0..capacity {
                            let key = (i + first * capacity / u64::from(THREADS)) % capacity;
                            assert!(limiter.check_n(&key, 1_000).is_allowed());
                        }
                    });
                }
            });
            assert_eq!(events(&limiter.stats()), [0; 3], "capacity {capacity}, seed {seed}");
        }
    }
}

/// `src/probe.rs` has the same for the places alone, which is faster, and has keys come and go as well.
#[test]
#[ignore = "takes minutes: `cargo test --release --test table every_small -- --ignored --nocapture`, `TOLLGATE_SEEDS` for more"]
fn every_small_table_holds_its_capacity_whatever_the_seed() {
    let (seeds, mut progress) = (setting("TOLLGATE_SEEDS", 4_000), Progress::new(1_000, "capacities", false));
    for capacity in 1..=1_000_u16 {
        nobody_is_in_the_way(capacity.into(), 0, seeds);
        progress.show(capacity.into(), format_args!("{seeds} seeds each"));
    }
}

#[test]
fn middling_tables_hold_their_capacity() {
    nobody_is_in_the_way(10_000, 40_000, 4);
    nobody_is_in_the_way(100_000, 200_000, 2);
}

#[test]
fn a_table_of_a_million_holds_its_capacity() {
    nobody_is_in_the_way(1_000_000, 300_000, 1);
}

#[test]
fn memory_is_24_bytes_a_key() {
    for (capacity, most) in
        [(1, 512), (1_000, 25_000), (10_000, 240_000), (100_000, 2_400_000), (1_000_000, 24_000_000)]
    {
        let bytes = limiter(capacity, OnFull::RefuseNew, 0).stats().bytes;
        assert!(bytes <= most && bytes * 100 >= 24 * capacity * 99, "{bytes} bytes for {capacity} keys");
    }
}

#[test]
fn the_number_of_busy_keys_is_known_to_a_tenth() {
    // One line in two of a table is looked at, one in ten, and all of them.
    for (capacity, seed) in [(20_000, 1), (100_000, 2), (5_000, 3)] {
        let limiter = limiter(capacity, OnFull::RefuseNew, seed);
        let (mut rng, mut busy) = (Rng(seed), 0);
        for percent in [10, 25, 50, 75, 100] {
            while busy < capacity * percent / 100 {
                assert!(limiter.check_n(&rng.next(), BURST).is_allowed());
                busy += 1;
            }
            let told = usize::try_from(limiter.stats().busy).unwrap();
            assert!(told.abs_diff(busy) * 10 <= busy, "{told} for {busy} of {capacity}");
        }
        limiter.clock().advance(Duration::from_millis(BURST));
        assert_eq!(limiter.stats().busy, 0);
    }
}

#[test]
fn beyond_capacity_new_keys_are_refused() {
    let limiter = limiter(100, OnFull::RefuseNew, 1);
    let keys = fill(&limiter, |key| BURST / 2 + key);
    assert!(keys.len() >= 100);
    let before = limiter.stats();
    let owed: Vec<_> = keys.iter().map(|&key| remaining(&limiter, key)).collect();
    for stranger in 0..1_000 {
        let key = ("new", stranger);
        let decision = limiter.check(&key);
        assert!(decision.is_refused() && decision.remaining() == 0, "{decision:?}");
        // Not now: when the first of its slots is idle, to the nanosecond.
        let (now, wait) = (limiter.clock().now(), decision.retry_after().expect("a refusal says when"));
        assert!(wait >= Duration::from_millis(BURST / 2 - 100));
        let early = now.saturating_add(wait).saturating_sub(Duration::from_nanos(1));
        assert!(limiter.at(early).check(&key).is_refused());
    }
    let after = limiter.stats();
    assert_eq!(events(&after), [before.evictions, before.refused_full + 2_000, before.untracked], "{after:?}");
    assert_eq!(after.evictions + after.untracked, 0);
    assert_eq!(keys.iter().map(|&key| remaining(&limiter, key)).collect::<Vec<_>>(), owed);
    // A key of the table goes on as if nothing were.
    assert!(limiter.check(&keys[0]).is_allowed());
    let decision = limiter.check("another");
    let wait = decision.retry_after().expect("a refusal says when");
    limiter.clock().advance(wait);
    assert!(limiter.check("another").is_allowed());
}

#[test]
fn beyond_capacity_new_keys_pass_untracked() {
    let limiter = limiter(100, OnFull::AdmitUntracked, 2);
    let keys = fill(&limiter, |key| BURST / 2 + key);
    let before = limiter.stats();
    let owed: Vec<_> = keys.iter().map(|&key| remaining(&limiter, key)).collect();
    for stranger in 0..1_000 {
        // A limit holds for each request alone.
        assert!(limiter.check_n(&("new", stranger), BURST).is_allowed());
        assert!(limiter.check_n(&("new", stranger), BURST).is_allowed());
        assert!(limiter.check_n(&("new", stranger), BURST + 1).never_fits());
    }
    assert_eq!(events(&limiter.stats()), [0, 0, before.untracked + 2_000]);
    assert_eq!(keys.iter().map(|&key| remaining(&limiter, key)).collect::<Vec<_>>(), owed);
}

/// One request is one, however many slots it wanted, and however many limits it meets.
#[test]
fn beyond_capacity_requests_are_counted_not_slots() {
    for on_full in [OnFull::RefuseNew, OnFull::EvictNearestIdle, OnFull::AdmitUntracked] {
        let limiter = limiter(100, on_full, 5);
        let log = limiter.prepare("log", Quota::per_second(1_000).with_algorithm(Algorithm::SlidingLog)).unwrap();
        let bucket = limiter.prepare("bucket", Quota::per_second(5).with_max_debt(Duration::ZERO)).unwrap();
        let queue = limiter.prepare("queue", Quota::per_second(5).with_algorithm(Algorithm::LeakyQueue)).unwrap();
        let all = LimitSet::new([log, bucket, queue]).unwrap();
        // Drained to the last token, so that no request fits on top of an inherited debt.
        for _ in 0..2 {
            fill(&limiter, |_| BURST);
        }
        let passes = on_full == OnFull::AdmitUntracked;
        type Call<'a> = (&'a str, &'a dyn Fn(&str) -> bool);
        let calls: [Call<'_>; 14] = [
            ("check of a log", &|key| limiter.under(&log).check(key).is_allowed()),
            ("of three in a log", &|key| limiter.under(&log).check_n(key, 3).is_allowed()),
            ("as much of a log as there is", &|key| limiter.under(&log).key(key).take_up_to(2_000) > 0),
            ("a few of a log", &|key| limiter.under(&log).key(key).take_up_to(5) > 0),
            ("charge of a log", &|key| limiter.under(&log).key(key).charge(7) > 0),
            ("reservation in a log", &|key| limiter.under(&log).key(key).reserve(2, Duration::ZERO).is_ok()),
            ("lease of a log", &|key| limiter.under(&log).key(key).lease(8).check().is_allowed()),
            ("check", &|key| limiter.under(&bucket).check(key).is_allowed()),
            ("as much as there is", &|key| limiter.under(&bucket).key(key).take_up_to(9) > 0),
            // Of what is not recorded nothing is charged.
            ("charge", &|key| limiter.under(&bucket).key(key).charge(2) > 0 || passes),
            ("reservation", &|key| limiter.under(&bucket).key(key).reserve(2, Duration::ZERO).is_ok()),
            ("lease", &|key| limiter.under(&bucket).key(key).lease(8).check().is_allowed()),
            ("queue", &|key| limiter.under(&queue).key(key).reserve(1, Duration::from_secs(9)).is_ok()),
            ("set", &|key| limiter.check_set(&all, key).is_allowed()),
        ];
        for (what, call) in calls {
            let before = limiter.stats();
            assert_eq!(call(what), passes, "{on_full:?}, {what}");
            let after = limiter.stats();
            let counted = [after.refused_full - before.refused_full, after.untracked - before.untracked];
            assert_eq!(counted, if passes { [0, 1] } else { [1, 0] }, "{on_full:?}, {what}");
            assert_eq!(after.evictions, before.evictions, "{on_full:?}, {what}");
        }
    }
}

/// What a set refuses went nowhere, so it did not go unrecorded either.
#[test]
fn beyond_capacity_a_set_that_refuses_leaves_nothing_untracked() {
    let limiter = limiter(100, OnFull::AdmitUntracked, 6);
    let [new, known] = ["new", "known"].map(|name| limiter.prepare(name, Quota::per_day(2)).unwrap());
    assert!(limiter.under(&known).check("key").is_allowed());
    fill(&limiter, |_| BURST);
    let before = limiter.stats();
    let [new, known] = [&new, &known].map(|limit| SetItem { limit, key: limiter.hash("key"), cost: 1 });
    // Each by itself fits; the second of the key that is known does not after the first.
    assert!(!limiter.check_items(&[new, known, known]).unwrap().is_allowed());
    assert_eq!(events(&limiter.stats()), events(&before));
    assert!(limiter.check_items(&[new, known, new]).unwrap().is_allowed());
    assert_eq!(events(&limiter.stats()), [0, 0, before.untracked + 1]);
}

/// The busy key nearest to idle goes, one for each that comes, which inherits what it owed; for a request that does not
/// fit on top of that nobody goes.
#[test]
fn beyond_capacity_the_nearest_to_idle_hands_its_debt_on() {
    let limiter = limiter(100, OnFull::EvictNearestIdle, 3);
    let mut keys = fill(&limiter, |key| BURST / 2 + 10 * key);
    for stranger in 1_000_000..1_000_300 {
        let before: Vec<_> = keys.iter().map(|&key| remaining(&limiter, key)).collect();
        let most = *before.iter().max().expect("a table of keys");
        let stats = limiter.stats();

        // What nobody has does not fit on top of anybody's debt, and displaces nobody.
        assert!(limiter.check_n(&stranger, most + 1).is_refused());
        assert_eq!(keys.iter().map(|&key| remaining(&limiter, key)).collect::<Vec<_>>(), before);
        assert_eq!(limiter.stats().evictions, stats.evictions);

        assert!(limiter.check_n(&stranger, 7).is_allowed());
        assert_eq!(limiter.stats().evictions, stats.evictions + 1, "counted");
        let gone: Vec<_> = (0..keys.len()).filter(|&i| remaining(&limiter, keys[i]) == BURST).collect();
        let [gone] = gone[..] else { panic!("{} keys went for one that came", gone.len()) };
        // Less than a nanosecond more, so that no word of a slot comes twice: that may cost the token it is part of.
        let inherited = before[gone] - remaining(&limiter, stranger);
        assert!((7..=8).contains(&inherited), "{inherited} of 7");
        // At most one overflow line of four keys is out of the newcomer's reach for every one that is within.
        let nearer = before.iter().filter(|&&left| left > before[gone]).count();
        assert!(nearer * 10 <= keys.len() * 9, "{nearer} of {} were nearer to idle", keys.len());
        keys[gone] = stranger;
    }
}

/// A request that fits to the last unit on what it would inherit: the slot must not be lost between two owners.
#[test]
fn a_newcomer_that_just_fits_on_an_inherited_debt_leaves_no_slot_behind() {
    let builder = Limiter::builder(Quota::per_second(1).with_burst(2)).capacity(10).fixed_seed(4);
    let limiter = builder.clock(ManualClock::default()).build().unwrap();
    for round in 0..3 {
        let admitted = (0..2_000).filter(|key| limiter.check(&(round, *key)).is_allowed()).count();
        let stats = limiter.stats();
        assert!(admitted <= 2 * stats.bytes / 16, "{admitted} admitted: {stats:?}");
        limiter.clock().advance(Duration::from_secs(10));
        assert_eq!(limiter.stats().busy, 0, "round {round}: slots lost");
    }
}

/// Nobody washes out what he owes by making up keys.
#[test]
fn a_debt_outlives_a_flood_of_new_keys() {
    const CAPACITY: usize = 500;
    for seed in 0..2 {
        let limiter = limiter(CAPACITY, OnFull::RefuseNew, seed);
        let mut rng = Rng(seed);
        let debtors: Vec<u64> = (0..20).map(|_| rng.next()).collect();
        for key in &debtors {
            assert!(limiter.check_n(key, BURST).is_allowed());
            assert_eq!(limiter.key(key).charge(500_000), 500_000);
        }
        for i in 0..100 * CAPACITY {
            let _ = limiter.check_n(&rng.next(), 1 + rng.below(BURST));
            if i % 100 == 0 {
                limiter.clock().advance(Duration::from_millis(1_000));
                assert!(limiter.check(&debtors[i / 100 % 20]).is_refused(), "after {i} new keys");
            }
        }
        let gone = limiter.clock().now().as_nanos() / MILLI;
        assert_eq!(gone, 500_000);
        assert!(debtors.iter().all(|key| limiter.check(key).is_refused()), "half a burst past empty for 500 s");
        limiter.clock().advance(Duration::from_millis(1));
        assert!(debtors.iter().all(|key| limiter.check(key).is_allowed() && limiter.check(key).is_refused()));
        let stats = limiter.stats();
        assert!(stats.refused_full > 0 && stats.evictions == 0, "{stats:?}");
    }
}

/// Under the default policy a flood gets what one key a slot would, and the memory stays what it was.
#[test]
fn a_flood_of_new_keys_gets_no_more_than_the_slots_have() {
    const CAPACITY: usize = 500;
    for seed in 0..2 {
        let quota = Quota::per_second(10).with_burst(3);
        let builder = Limiter::builder(quota).capacity(CAPACITY).fixed_seed(seed);
        let limiter = builder.clock(ManualClock::default()).build().unwrap();
        let mut rng = Rng(seed);
        let bytes = limiter.stats().bytes;
        let slots = u64::try_from(bytes / 16).unwrap();
        let mut admitted: Vec<Admitted> = Vec::new();
        for i in 0..100 * CAPACITY {
            let cost = 1 + rng.below(3);
            let decision = limiter.check_n(&rng.next(), cost);
            if decision.is_allowed() {
                admitted.push((decision.at().as_nanos(), cost));
            }
            if i % 10 == 0 {
                limiter.clock().advance(Duration::from_micros(rng.below(400)));
            }
        }
        let together = Quota::per_second(10 * slots).with_burst(3 * slots);
        assert_eq!(within_rate(&mut admitted, &together, 1), Ok(()));
        let stats = limiter.stats();
        assert!(stats.evictions > slots && stats.bytes == bytes, "{stats:?}");
    }
}
