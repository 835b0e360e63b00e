//! Runs a model through every schedule that loom knows, in every spawn order, and compares all that came of it with
//! all that may.
//!
//! A model that only asserts inside a schedule cannot tell "it never went wrong" from "the interesting schedule was
//! never run". So each lists its outcomes, and fails if one of them is missing as well as if there is another.

#![cfg(tollgate_loom)]

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tollgate::model::{Key, Model};
use tollgate::{Limit, OnFull, Quota};

/// What the threads of a model share.
pub use loom::sync::Arc as Shared;

/// A few slots under one limit: one token a second, so that a second is a token and a stamp can be read off.
pub struct Table {
    pub model: Model,
    pub limit: Limit,
}

impl Table {
    pub fn new(slots: usize, burst: u64, on_full: OnFull) -> Self {
        Self::with(slots, Quota::per_second(1).with_burst(burst), on_full)
    }

    pub fn with(slots: usize, quota: Quota, on_full: OnFull) -> Self {
        // Old callers are believed: what happens when they are not is in `clock`.
        let model = Model::new(slots, quota, on_full).with_skew(Duration::from_secs(3_600));
        let limit = model.limit(quota);
        Self { model, limit }
    }

    pub fn take(&self, key: &Key, now: Duration, cost: u64) -> bool {
        self.model.take(key, &self.limit, now, cost).is_allowed()
    }

    pub fn remaining(&self, key: &Key, now: Duration) -> u64 {
        self.model.peek(key, &self.limit, now, 1).remaining()
    }

    pub fn refund(&self, key: &Key, now: Duration, cost: u64) {
        self.model.refund(key, &self.limit, now, cost);
    }

    /// How many slots hold the key, and how many tokens it has.
    pub fn state(&self, key: &Key, now: Duration) -> (usize, u64) {
        (self.model.owners(key), self.remaining(key, now))
    }
}

/// What one thread of a model does.
pub type Body<R> = Box<dyn FnOnce() -> R>;

/// One execution: the threads, and what is said of it once they are through, from what each returned in the order given
/// here (whatever the order in which they were spawned).
pub struct Scene<R, O, const N: usize> {
    threads: [Body<R>; N],
    finish: Box<dyn FnOnce([R; N]) -> O>,
}

/// Puts a scene together.
pub fn scene<R, O, const N: usize>(
    threads: [Body<R>; N],
    finish: impl FnOnce([R; N]) -> O + 'static,
) -> Scene<R, O, N> {
    Scene { threads, finish: Box::new(finish) }
}

/// A thread's body.
pub fn thread<R>(body: impl FnOnce() -> R + 'static) -> Body<R> {
    Box::new(body)
}

/// Whether the larger models run as well (`TOLLGATE_LOOM_FULL`).
pub fn full() -> bool {
    std::env::var_os("TOLLGATE_LOOM_FULL").is_some()
}

/// So long after the start of the model, in quarters of a second: all quotas of the models refill one token a second.
pub fn quarters(n: u32) -> Duration {
    Duration::from_millis(250) * n
}

/// So many seconds after the start of the model.
pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Whether every load is a read-modify-write (`TOLLGATE_LOOM_RMW`; see `sync.rs` of the engine).
pub fn loads_are_rmw() -> bool {
    std::env::var_os("TOLLGATE_LOOM_RMW").is_some()
}

/// Runs `make` through every schedule and every spawn order, and asserts that exactly the `expected` came of it.
///
/// How often a thread is stopped where it would not have to be: at most `LOOM_MAX_PREEMPTIONS` times, or twice; once
/// more if loads are read-modify-writes, which leave fewer schedules, or if [`full`].
pub fn explore<R, O, const N: usize>(
    name: &str,
    expected: impl IntoIterator<Item = O>,
    make: impl Fn() -> Scene<R, O, N> + Send + Sync + 'static,
) where
    R: 'static,
    O: Ord + Debug + Send + 'static,
{
    explore_bounded(name, if loads_are_rmw() || full() { 3 } else { 2 }, expected, make);
}

/// As [`explore`], with a preemption bound for this model, unless `LOOM_MAX_PREEMPTIONS` says otherwise.
pub fn explore_bounded<R, O, const N: usize>(
    name: &str,
    preemptions: usize,
    expected: impl IntoIterator<Item = O>,
    make: impl Fn() -> Scene<R, O, N> + Send + Sync + 'static,
) where
    R: 'static,
    O: Ord + Debug + Send + 'static,
{
    explore_orders(name, preemptions, &permutations(), expected, make);
}

/// As [`explore_bounded`], for threads that all do the same: one spawn order is like another.
pub fn explore_alike<R, O, const N: usize>(
    name: &str,
    preemptions: usize,
    expected: impl IntoIterator<Item = O>,
    make: impl Fn() -> Scene<R, O, N> + Send + Sync + 'static,
) where
    R: 'static,
    O: Ord + Debug + Send + 'static,
{
    explore_orders(name, preemptions, &[std::array::from_fn(|i| i)], expected, make);
}

fn explore_orders<R, O, const N: usize>(
    name: &str,
    preemptions: usize,
    orders: &[[usize; N]],
    expected: impl IntoIterator<Item = O>,
    make: impl Fn() -> Scene<R, O, N> + Send + Sync + 'static,
) where
    R: 'static,
    O: Ord + Debug + Send + 'static,
{
    // Both are std's: loom does not see them, so they add no schedules.
    let outcomes = Arc::new(Mutex::new(BTreeSet::new()));
    let executions = Arc::new(AtomicUsize::new(0));
    let make = Arc::new(make);
    let started = Instant::now();
    for &order in orders {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
        builder.max_branches = builder.max_branches.max(20_000);
        let (outcomes, executions, make) = (Arc::clone(&outcomes), Arc::clone(&executions), Arc::clone(&make));
        builder.check(move || {
            executions.fetch_add(1, Ordering::Relaxed);
            let outcome = run(make(), order);
            outcomes.lock().expect("no thread panics with the lock").insert(outcome);
        });
    }
    let seen = outcomes.lock().expect("no thread panics with the lock");
    let expected: BTreeSet<O> = expected.into_iter().collect();
    let count = executions.load(Ordering::Relaxed);
    println!("MODEL | {name} | {count} | {:.1} s | {} outcomes", started.elapsed().as_secs_f64(), seen.len());
    let wrong: Vec<&O> = seen.difference(&expected).collect();
    let missing: Vec<&O> = expected.difference(&seen).collect();
    assert!(wrong.is_empty(), "{name}: may not come of it: {wrong:?}");
    assert!(missing.is_empty(), "{name}: should come of some schedule and did not: {missing:?}");
}

/// One execution, spawned in the order given and joined in the scene's own.
fn run<R: 'static, O, const N: usize>(scene: Scene<R, O, N>, order: [usize; N]) -> O {
    let mut bodies = scene.threads.map(Some);
    let mut handles: [_; N] = std::array::from_fn(|_| None);
    for index in order {
        handles[index] = bodies[index].take().map(loom::thread::spawn);
    }
    let results = handles.map(|handle| handle.expect("spawned above").join().expect("a thread of the model"));
    (scene.finish)(results)
}

/// Every order of `N` threads.
fn permutations<const N: usize>() -> Vec<[usize; N]> {
    fn extend<const N: usize>(order: [usize; N], fixed: usize, all: &mut Vec<[usize; N]>) {
        if fixed == N {
            all.push(order);
        }
        for next in fixed..N {
            let mut order = order;
            order.swap(fixed, next);
            extend(order, fixed + 1, all);
        }
    }
    let mut all = Vec::new();
    extend(std::array::from_fn(|i| i), 0, &mut all);
    all
}
