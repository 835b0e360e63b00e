//! One check, one thread, ours beside the floor: hit, new key, refused and mixed; uniform, Zipf and one key; a thousand
//! keys to ten million; exact, cached and caller's time; numbers and text.
//!
//! `cargo bench --bench check`; with a filter as `-- "1 M keys/exact"`. Compare within one run: times on shared machines
//! mean little. For ratios, `ci/bench.sh`.
#![allow(missing_docs, reason = "criterion's macro")]

mod common;

use std::time::Duration;

use common::contender::ready;
use common::peers::{Array, AtNow, Cached, Exact, batches};
use common::{Contender, Fresh, Keys, One, Peer, Slice, Terms, Text, Uniform, Zipf, checks, checks_mixed};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use tollgate::{Limiter, Quota};

const SIZES: [(u64, &str); 5] =
    [(1_000, "1 k"), (10_000, "10 k"), (100_000, "100 k"), (1_000_000, "1 M"), (10_000_000, "10 M")];

/// Slices of a race, so that every answer is counted here too. Thirty-two calls at least: some are made in batches.
fn slices(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut run: impl FnMut(u64) -> Slice) {
    group.bench_function(name, |b| {
        b.iter_custom(|calls| {
            let slice = run(calls.next_multiple_of(32)).check(name);
            let nanos = u128::from(slice.nanos) * u128::from(calls) / u128::from(slice.calls);
            Duration::from_nanos(u64::try_from(nanos).expect("less than was measured"))
        });
    });
}

/// Every check allowed, of a key that is in.
fn hits<K>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    contender: &impl Contender<K>,
    mut keys: impl Keys<K>,
) {
    slices(group, name, |calls| checks(contender, &mut keys, calls, Terms::Allow));
}

fn numbers(c: &mut Criterion) {
    for (count, size) in SIZES {
        let mut group = c.benchmark_group(format!("{size} keys"));
        let keys = || Uniform::new(count);
        hits(&mut group, "floor", &Array::new(count, Terms::Allow), keys());

        let exact: Exact = ready(&mut keys(), count, Terms::Allow);
        hits(&mut group, "hit, exact", &exact, keys());
        hits(&mut group, "hit, exact, by Zipf", &exact, Zipf::new(count));
        let mut k = keys();
        slices(&mut group, "hit, caller's now", |calls| checks(&AtNow::new(&exact), &mut k, calls, Terms::Allow));
        let mut k = keys();
        slices(&mut group, "hit, 32 at once", |calls| batches(&exact, &mut k, calls, Terms::Allow));
        drop(exact);
        let cached: Cached = ready(&mut keys(), count, Terms::Allow);
        hits(&mut group, "hit, cached", &cached, keys());
        drop(cached);

        let refusing: Exact = ready(&mut keys(), count, Terms::Refuse);
        let mut k = keys();
        slices(&mut group, "refused, exact", |calls| checks(&refusing, &mut k, calls, Terms::Refuse));
        let mut k = keys();
        slices(&mut group, "refused, caller's now", |calls| {
            checks(&AtNow::new(&refusing), &mut k, calls, Terms::Refuse)
        });
        drop(refusing);

        let mixed: Exact = ready(&mut keys(), count, Terms::Mixed);
        let mut k = keys();
        slices(&mut group, "one in ten refused, exact", |calls| checks_mixed(&mixed, &mut k, calls));
        drop(mixed);

        // Every key is new, and finds a slot whose last owner has been idle since long ago.
        let capacity = usize::try_from(count).expect("a number of keys");
        let limiter =
            Limiter::builder(Quota::per_second(1_000_000_000)).capacity(capacity).commit_at_build(true).build();
        hits(&mut group, "new key, exact", &Exact(limiter.expect("a limiter")), Fresh::default());
        group.finish();
    }
}

fn one_key(c: &mut Criterion) {
    let mut group = c.benchmark_group("one key");
    let exact: Exact = ready(&mut One::default(), 1, Terms::Allow);
    hits(&mut group, "hit, exact", &exact, One::default());
    let cached: Cached = ready(&mut One::default(), 1, Terms::Allow);
    hits(&mut group, "hit, cached", &cached, One::default());
    group.finish();
}

fn texts<const LENGTH: usize>(c: &mut Criterion) {
    for (count, size) in [SIZES[0], SIZES[3]] {
        let mut group = c.benchmark_group(format!("{size} keys of {LENGTH} bytes"));
        let keys = || Text::<_, LENGTH>::new(Uniform::new(count));
        hits(&mut group, "floor", &Array::new(count, Terms::Allow), keys());
        let exact: Exact = ready(&mut keys(), count, Terms::Allow);
        hits(&mut group, "hit, exact", &exact, keys());
        let cached: Cached = ready(&mut keys(), count, Terms::Allow);
        hits(&mut group, "hit, cached", &cached, keys());
        group.finish();
    }
}

criterion_group!(benches, numbers, one_key, texts::<16>, texts::<64>);
criterion_main!(benches);
