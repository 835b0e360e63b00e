//! All peers in one run, allowed and refused apart: those with numbers for keys, those with text, those without keys.
//! What each does less is in its file under `common/peers`, and in `benches/README.md`.
//!
//! `cargo bench --bench peers`. For ratios, `ci/bench.sh peers`.
#![allow(missing_docs, reason = "criterion's macro")]

mod common;

use std::time::Duration;

use common::contender::{Contender, Fill, ready};
use common::peers::{
    Array, Cached, Exact, Gcra, Governor, GovernorDirect, LeakyBucket, Lone, MutexedMap, PingoraLimits, Ratelimit,
    Throttlecrab, Trypema,
};
use common::{Keys, Peer, Terms, Text, Uniform, checks};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn bench<K, C: Contender<K>>(group: &mut Group<'_>, name: &str, peer: &C, keys: &mut impl Keys<K>, terms: Terms) {
    group.bench_function(name, |b| {
        b.iter_custom(|calls| Duration::from_nanos(checks(peer, keys, calls, terms).check(name).nanos));
    });
}

/// Built, filled, measured and dropped.
fn peer<K, P: Peer + Fill<K>>(group: &mut Group<'_>, mut keys: impl Keys<K>, count: u64, terms: Terms) {
    let peer: P = ready(&mut keys, count, terms);
    bench(group, P::NAME, &peer, &mut keys, terms);
}

const BOTH: [(Terms, &str); 2] = [(Terms::Allow, "allowed"), (Terms::Refuse, "refused")];

fn numbers(c: &mut Criterion) {
    for count in [1_000, 100_000, 1_000_000, 10_000_000] {
        for (terms, answer) in BOTH {
            let mut group = c.benchmark_group(format!("{count} keys, {answer}"));
            let group = &mut group;
            let keys = || Uniform::new(count);
            if terms == Terms::Allow {
                bench(group, Array::NAME, &Array::new(count, terms), &mut keys(), terms);
            }
            peer::<u64, Exact>(group, keys(), count, terms);
            peer::<u64, Cached>(group, keys(), count, terms);
            peer::<u64, Governor<u64>>(group, keys(), count, terms);
            peer::<u64, Gcra<u64>>(group, keys(), count, terms);
            peer::<u64, MutexedMap<u64>>(group, keys(), count, terms);
            peer::<u64, PingoraLimits>(group, keys(), count, terms);
        }
    }
}

fn text(c: &mut Criterion) {
    for count in [1_000, 1_000_000] {
        for (terms, answer) in BOTH {
            let mut group = c.benchmark_group(format!("{count} keys of 16 bytes, {answer}"));
            let group = &mut group;
            let keys = || Text::<_, 16>::new(Uniform::new(count));
            peer::<String, Exact>(group, keys(), count, terms);
            peer::<String, Governor<String>>(group, keys(), count, terms);
            peer::<String, Gcra<String>>(group, keys(), count, terms);
            peer::<String, MutexedMap<String>>(group, keys(), count, terms);
            peer::<String, PingoraLimits>(group, keys(), count, terms);
            peer::<String, Throttlecrab>(group, keys(), count, terms);
            peer::<String, Trypema>(group, keys(), count, terms);
        }
    }
}

fn one_bucket(c: &mut Criterion) {
    for (terms, answer) in BOTH {
        let mut group = c.benchmark_group(format!("one bucket, {answer}"));
        let (group, keys) = (&mut group, || Uniform::new(1));
        peer::<u64, Lone>(group, keys(), 1, terms);
        peer::<u64, GovernorDirect>(group, keys(), 1, terms);
        peer::<u64, Ratelimit>(group, keys(), 1, terms);
        peer::<u64, LeakyBucket>(group, keys(), 1, terms);
    }
}

criterion_group!(benches, numbers, text, one_bucket);
criterion_main!(benches);
