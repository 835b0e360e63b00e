//! One hot key, two threads: the plain check beside leases of 16 and of 64, with the exact clock and with the caller's now.
//! In one bucket there is always enough; in the other almost never, so that nearly all are refused.
//!
//! `cargo bench --bench lease`. Times on shared machines mean little; compare within one run. A figure is the time that a
//! check takes one of the threads.
#![allow(missing_docs)]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tollgate::clock::Clock;
use tollgate::{Limiter, Quota};

const THREADS: usize = 2;
const KEY: u64 = 0;

/// How long it takes all threads, begun together, to call so often what `make` makes for each of them.
#[expect(clippy::disallowed_methods, reason = "the time of the benchmark, not of a limiter")]
fn together<F: FnMut()>(times: u64, make: impl Fn() -> F + Sync) -> Duration {
    let start = Barrier::new(THREADS);
    let work = || {
        let mut call = make();
        start.wait();
        let started = Instant::now();
        (0..times).for_each(|_| call());
        started.elapsed()
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).max().unwrap_or_default()
    })
}

fn hot_key(c: &mut Criterion) {
    let quota = Quota::per_second(1_000_000);
    for (name, quota) in [("enough", quota.with_burst(1_000_000_000_000)), ("scarce", quota.with_burst(1_000))] {
        let mut group = c.benchmark_group(format!("hot key, {THREADS} threads, {name}"));
        let limiter = Limiter::builder(quota).build().expect("a limiter");
        group.bench_function(BenchmarkId::new("plain", "exact"), |b| {
            b.iter_custom(|times| together(times, || || assert!(!limiter.check(&KEY).never_fits())));
        });
        group.bench_function(BenchmarkId::new("plain", "caller's now"), |b| {
            b.iter_custom(|times| {
                let view = limiter.at(limiter.clock().now());
                together(times, || move || assert!(!view.check(&KEY).never_fits()))
            });
        });
        for batch in [16, 64] {
            group.bench_function(BenchmarkId::new(format!("lease of {batch}"), "exact"), |b| {
                b.iter_custom(|times| {
                    together(times, || {
                        let mut lease = limiter.key(&KEY).lease(batch);
                        move || assert!(!lease.check().never_fits())
                    })
                });
            });
            group.bench_function(BenchmarkId::new(format!("lease of {batch}"), "caller's now"), |b| {
                b.iter_custom(|times| {
                    let now = limiter.clock().now();
                    together(times, || {
                        let mut lease = limiter.key(&KEY).lease(batch);
                        move || assert!(!lease.check_at(now).never_fits())
                    })
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, hot_key);
criterion_main!(benches);
