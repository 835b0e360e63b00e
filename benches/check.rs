//! One check, one thread: allowed, refused and new keys, by number of keys and by clock; beside the floor, which is a
//! hash, a reading of the counter, a load and a compare-and-swap on an array of the same number of words.
//!
//! `cargo bench --bench check`. Times on shared machines mean little; compare within one run.
#![allow(missing_docs)]
#![expect(clippy::cast_possible_truncation, reason = "indices of a benchmark")]

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tollgate::{CachedClock, Clock, Limiter, Quota};

const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];

/// Keys in an order that no cache foresees.
struct Keys {
    state: u64,
    count: u64,
}

impl Keys {
    const fn new(count: u64) -> Self {
        Self { state: 0x9E37_79B9_7F4A_7C15, count }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.state) * u128::from(self.count)) >> 64) as u64
    }
}

/// A limiter in which every key is busy and has far more tokens than the run takes.
fn allowing<C: Clock>(count: u64, clock: C) -> Limiter<C> {
    let quota = Quota::per_hour(1_000_000).with_burst(100_000_000);
    let limiter = Limiter::builder(quota).capacity(count as usize).build_with_clock(clock).expect("a limiter");
    for key in 0..count {
        assert!(limiter.check_n(&key, 1_000).is_allowed());
    }
    limiter
}

fn checks(c: &mut Criterion) {
    for count in SIZES {
        let mut group = c.benchmark_group(format!("{count} keys"));
        let floor: Vec<AtomicU64> = (0..count.next_power_of_two()).map(|_| AtomicU64::new(0)).collect();
        let (hasher, counter, mut keys) = (RandomState::new(), quanta::Clock::new(), Keys::new(count));
        group.bench_function(BenchmarkId::new("floor", "exact"), |b| {
            b.iter(|| {
                let slot = &floor[hasher.hash_one(keys.next()) as usize & (floor.len() - 1)];
                let (now, word) = (counter.raw(), slot.load(Ordering::Acquire));
                slot.compare_exchange(word, black_box(now), Ordering::Release, Ordering::Relaxed).is_ok()
            });
        });

        let limiter = allowing(count, tollgate::ExactClock::new());
        group.bench_function(BenchmarkId::new("allow", "exact"), |b| {
            b.iter(|| assert!(limiter.check(&keys.next()).is_allowed()));
        });
        let now = limiter.clock().now();
        group.bench_function(BenchmarkId::new("allow", "caller's now"), |b| {
            b.iter(|| assert!(limiter.at(now).check(&keys.next()).is_allowed()));
        });
        let mut batch = [0_u64; 32];
        group.bench_function(BenchmarkId::new("allow", "32 keys at once"), |b| {
            b.iter(|| {
                batch.iter_mut().for_each(|key| *key = keys.next());
                limiter.check_many(&batch, |_, decision| assert!(decision.is_allowed()));
            });
        });
        drop(limiter);

        let limiter = allowing(count, CachedClock::new().expect("a clock"));
        group.bench_function(BenchmarkId::new("allow", "cached"), |b| {
            b.iter(|| assert!(limiter.check(&keys.next()).is_allowed()));
        });
        drop(limiter);

        let limiter = Limiter::builder(Quota::per_day(1)).capacity(count as usize).build().expect("a limiter");
        (0..count).for_each(|key| assert!(limiter.check(&key).is_allowed()));
        group.bench_function(BenchmarkId::new("refuse", "exact"), |b| {
            b.iter(|| assert!(limiter.check(&keys.next()).is_refused()));
        });
        drop(limiter);

        // Every key is new, and finds a slot whose last owner has been idle since long ago.
        let limiter =
            Limiter::builder(Quota::per_second(1_000_000_000)).capacity(count as usize).build().expect("a limiter");
        let mut fresh = 0_u64;
        group.bench_function(BenchmarkId::new("new key", "exact"), |b| {
            b.iter(|| {
                fresh += 1;
                assert!(limiter.check(&fresh).is_allowed());
            });
        });
        group.finish();
    }
}

criterion_group!(benches, checks);
criterion_main!(benches);
