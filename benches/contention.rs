//! Several threads, started on a barrier, on uniform keys and on one: time a call over all threads together, from the
//! barrier to the last to finish. Beside a bare compare-and-swap loop, governor, and a mutexed map.
//!
//! `cargo bench --bench contention`.
#![allow(missing_docs, reason = "criterion's macro")]

mod common;

use std::time::Duration;

use common::contender::{count, ready};
use common::peers::{Cached, CasLoop, Exact, Governor, MutexedMap};
use common::threads::{available, together};
use common::{Contender, One, Peer, Terms, Uniform};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};

/// Each iteration of criterion is one call of each thread, so throughput counts them all.
fn bench(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, threads: usize, run: impl Fn(usize, u64) -> u64 + Sync) {
    group.throughput(Throughput::Elements(threads as u64));
    group.bench_function(format!("{name}/{threads} threads"), |b| {
        b.iter_custom(|calls| {
            let slice = together(threads, calls * threads as u64, Terms::Allow, &run).check(name);
            Duration::from_nanos(slice.nanos)
        });
    });
}

fn hot<C: Contender<u64>>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, threads: usize, contender: &C) {
    bench(group, name, threads, |_, share| count(contender, &mut One::default(), share));
}

fn spread<C: Contender<u64>>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    threads: usize,
    contender: &C,
    keys: u64,
) {
    bench(group, name, threads, |thread, share| count(contender, &mut Uniform::seeded(keys, thread as u64), share));
}

fn contention(c: &mut Criterion) {
    for keys in [1_000, 1_000_000] {
        let mut group = c.benchmark_group(format!("{keys} keys"));
        let mut filler = Uniform::new(keys);
        let exact: Exact = ready(&mut filler, keys, Terms::Allow);
        let cached: Cached = ready(&mut filler, keys, Terms::Allow);
        let governor: Governor<u64> = ready(&mut filler, keys, Terms::Allow);
        let map: MutexedMap<u64> = ready(&mut filler, keys, Terms::Allow);
        for threads in 1..=available() {
            spread(&mut group, Exact::NAME, threads, &exact, keys);
            spread(&mut group, Cached::NAME, threads, &cached, keys);
            spread(&mut group, Governor::<u64>::NAME, threads, &governor, keys);
            spread(&mut group, MutexedMap::<u64>::NAME, threads, &map, keys);
        }
        group.finish();
    }

    let mut group = c.benchmark_group("one hot key");
    let filler = &mut One::default();
    for threads in 1..=available() {
        hot(&mut group, CasLoop::NAME, threads, &CasLoop::new(1, Terms::Allow));
        hot(&mut group, Exact::NAME, threads, &ready::<u64, Exact>(filler, 1, Terms::Allow));
        hot(&mut group, Cached::NAME, threads, &ready::<u64, Cached>(filler, 1, Terms::Allow));
        hot(&mut group, Governor::<u64>::NAME, threads, &ready::<u64, Governor<u64>>(filler, 1, Terms::Allow));
        hot(&mut group, MutexedMap::<u64>::NAME, threads, &ready::<u64, MutexedMap<u64>>(filler, 1, Terms::Allow));
    }
    group.finish();
}

criterion_group!(benches, contention);
criterion_main!(benches);
