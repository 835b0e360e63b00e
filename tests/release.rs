//! `release_idle`: what it gives back, and that nothing is lost with it while others take. The memory is that of the process, so
//! this is one test in a file of its own.

#![allow(missing_docs, reason = "a test")]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs::read_to_string;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Rng, SECOND, ns};
use tollgate::clock::ManualClock;
use tollgate::{Limiter, Quota};

/// Bytes that this process has in memory.
fn resident() -> usize {
    let text = read_to_string("/proc/self/smaps_rollup").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).expect("a line on the resident set");
    1_024 * line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")
}

#[test]
fn memory_comes_back_and_no_debit_goes_with_it() {
    gives_back_what_a_flood_left();
    every_round_admits_the_burst();
}

fn gives_back_what_a_flood_left() {
    const FLOOD: u64 = 200_000;
    let clock = ManualClock::new(ns(1_000 * SECOND));
    let build = |capacity| Limiter::builder(Quota::per_second(10)).capacity(capacity).clock(clock.clone());
    let limiter = build(10_000_000).build().unwrap();
    let slow = limiter.prepare("slow", Quota::per_hour(5)).unwrap();
    let begin = resident();
    let mut rng = Rng(1);
    for _ in 0..FLOOD {
        assert!(limiter.check(&rng.next()).is_allowed());
    }
    let flooded = resident() - begin;
    assert!(limiter.under(&slow).check("kept").is_allowed());
    assert_eq!(limiter.release_idle(), 0, "all of it was in use a moment ago");
    clock.advance(Duration::from_millis(1_050));
    assert_eq!(limiter.release_idle(), 0, "and less than a second ago");
    clock.advance(Duration::from_secs(1));
    let released = limiter.release_idle();
    let left = resident().saturating_sub(begin);
    // A page has 256 slots; nearly each of the 58,000 was touched, and all but one go.
    assert!(released > 200 << 20 && flooded > 200 << 20, "{released} of {flooded} bytes");
    let sanitized = std::env::var_os("ASAN_OPTIONS").or(std::env::var_os("TSAN_OPTIONS")).is_some();
    assert!(left < 2 << 20 || sanitized, "{left} bytes of {flooded} stayed");
    assert_eq!(limiter.under(&slow).peek("kept").remaining(), 4);
    assert_eq!(limiter.release_idle(), 0, "there is no more");
    assert!(limiter.check(&7).is_allowed());
    println!("{released} bytes of {flooded} given back");
    // What is there from the start stays.
    for other in [build(1_000), build(1_000_000).commit_at_build(true)] {
        let other = other.build().unwrap();
        assert!(other.check(&7).is_allowed());
        clock.advance(Duration::from_secs(100));
        assert_eq!(other.release_idle(), 0);
    }
}

/// In each round all buckets are full again, and their pages are being released while threads take: to the token what there is.
fn every_round_admits_the_burst() {
    const KEYS: u64 = 8;
    const BURST: u64 = 10;
    const ROUNDS: u64 = 100;
    const THREADS: usize = 2;
    let clock = ManualClock::new(ns(1_000 * SECOND));
    let limiter = Limiter::builder(Quota::per_second(BURST)).capacity(400_000).clock(clock.clone()).build().unwrap();
    let admitted: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let (barrier, released) = (Barrier::new(THREADS + 2), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                barrier.wait();
                released.fetch_add(limiter.release_idle() as u64, Ordering::Relaxed);
                barrier.wait();
            }
        });
        for thread in 0..THREADS {
            let (limiter, admitted, barrier) = (&limiter, &admitted, &barrier);
            scope.spawn(move || {
                let mut rng = Rng(thread as u64);
                for round in 0..ROUNDS {
                    barrier.wait();
                    for turn in 0..KEYS {
                        // So that a round takes about as long as it takes to go through the table.
                        (0..rng.next() % 60_000).for_each(|_| std::hint::spin_loop());
                        let key = (turn + round + thread as u64 * KEYS / 2) % KEYS;
                        let taken = (0..=BURST).filter(|_| limiter.check(&key).is_allowed()).count() as u64;
                        admitted[usize::try_from(key).unwrap()].fetch_add(taken, Ordering::Relaxed);
                    }
                    barrier.wait();
                }
            });
        }
        for round in 0..ROUNDS {
            clock.advance(Duration::from_secs(3));
            barrier.wait();
            barrier.wait();
            for (key, count) in admitted.iter().enumerate() {
                let count = count.swap(0, Ordering::Relaxed);
                assert_eq!(count, BURST, "key {key} in round {round}");
            }
        }
    });
    let pages = released.into_inner() / 4_096;
    assert!(pages > 0, "only {pages} pages were released meanwhile");
    println!("{pages} pages released meanwhile");
}
