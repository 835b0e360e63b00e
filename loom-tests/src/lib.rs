//! Runs a model through the schedules of a witness, and compares all that came of it with all that may.
//!
//! A model that only asserts inside a schedule cannot tell "it never went wrong" from "the interesting schedule was
//! never run". So each lists its outcomes, and fails if one of them is missing as well as if there is another.

#![cfg(tollgate_model)]

mod explorer;
mod loom;
mod shuttle;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use tollgate::model::{Key, Model, ModelClock};
use tollgate::witness::Witness;
use tollgate::{Limit, OnFull, Quota};

/// What the threads of a model share; that they let go of it is not part of the model.
pub use std::sync::Arc as Shared;

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
        Self::of(Model::new(slots, quota, on_full), quota)
    }

    /// On a clock that the threads set, forward or back.
    pub fn with_clock(slots: usize, quota: Quota, clock: &Shared<ModelClock>) -> Self {
        Self::of(Model::new(slots, quota, OnFull::RefuseNew).with_clock(Shared::clone(clock)), quota)
    }

    fn of(model: Model, quota: Quota) -> Self {
        Self { limit: model.limit(quota), model }
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

    /// The body of a thread that shares the table, and has a key of its own; or several.
    pub fn thread<K: Clone + Send + 'static, R>(
        self: &Shared<Self>,
        own: &K,
        body: impl FnOnce(&Self, &K) -> R + Send + 'static,
    ) -> Body<R> {
        let own = own.clone();
        sharing(self, move |table| body(table, &own))
    }
}

/// What one thread of a model does.
pub type Body<R> = Box<dyn FnOnce() -> R + Send>;

/// One execution: the threads, and what is said of it once they are through, from what each returned in the order given
/// here (whatever the order in which they were spawned).
pub struct Scene<R, O, const N: usize> {
    threads: [Body<R>; N],
    finish: Box<dyn FnOnce([R; N]) -> O>,
}

impl<R, O, const N: usize> Scene<R, O, N> {
    /// One execution with the threads of a witness, spawned in the order given and joined in the scene's own.
    fn run<H>(self, order: [usize; N], spawn: impl Fn(Body<R>) -> H, join: impl Fn(H) -> std::thread::Result<R>) -> O {
        let mut bodies = self.threads.map(Some);
        let mut handles: [_; N] = std::array::from_fn(|_| None);
        for index in order {
            handles[index] = bodies[index].take().map(&spawn);
        }
        let results = handles.map(|handle| join(handle.expect("spawned above")).expect("a thread of the model"));
        (self.finish)(results)
    }
}

/// What a thread returns, and what is said of an execution.
pub trait Seen: Ord + Debug + Send + 'static {}

impl<T: Ord + Debug + Send + 'static> Seen for T {}

/// Puts a scene together.
pub fn scene<R, O, const N: usize>(
    threads: [Body<R>; N],
    finish: impl FnOnce([R; N]) -> O + 'static,
) -> Scene<R, O, N> {
    Scene { threads, finish: Box::new(finish) }
}

/// The body of a thread that has all it needs.
pub fn thread<R>(body: impl FnOnce() -> R + Send + 'static) -> Body<R> {
    Box::new(body)
}

/// The body of a thread that shares this with the others.
pub fn sharing<T: Send + Sync + 'static, R>(
    shared: &Shared<T>,
    body: impl FnOnce(&T) -> R + Send + 'static,
) -> Body<R> {
    let shared = Shared::clone(shared);
    thread(move || body(&shared))
}

/// Whether the larger models run as well (`TOLLGATE_LOOM_FULL`).
pub fn full() -> bool {
    std::env::var_os("TOLLGATE_LOOM_FULL").is_some()
}

/// Whether a model is wanted that is much for loom, and little for the other two.
pub fn large() -> bool {
    full() || Witness::chosen() != Witness::Loom
}

/// Whether a model is wanted that is little for loom with one preemption, and much for the explorer.
pub fn much_to_explore() -> bool {
    full() || Witness::chosen() != Witness::Explorer
}

/// Whether a model is wanted that only chance can go through.
pub fn crowded() -> bool {
    Witness::chosen() == Witness::Shuttle
}

/// So long after the start of the model, in quarters of a second: all quotas of the models refill one token a second.
pub fn quarters(n: u32) -> Duration {
    Duration::from_millis(250) * n
}

/// So many seconds after the start of the model.
pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Whether a load may return what a later write has replaced: weak orderings, which loom alone follows, and not where
/// every load is a read-modify-write (`TOLLGATE_LOOM_RMW`; see `witness.rs` of the engine).
pub fn loads_may_be_stale() -> bool {
    Witness::chosen() == Witness::Loom && std::env::var_os("TOLLGATE_LOOM_RMW").is_none()
}

/// Whether a thread may be stopped for so long, between two steps of an insertion, that another gives up looking for
/// room. Loom runs the others when a thread yields, so there it may not.
pub fn patience_may_end() -> bool {
    Witness::chosen() != Witness::Loom
}

/// What a witness saw of a model.
pub(crate) struct Report<O> {
    outcomes: BTreeSet<O>,
    /// How much was looked at.
    extent: String,
    /// Whether there is nothing that it could have missed, but for what is said of it in `README.md`.
    complete: bool,
}

/// Runs `make` through every schedule and every spawn order, and asserts that exactly the `expected` came of it.
///
/// How often loom stops a thread where it would not have to be: at most `LOOM_MAX_PREEMPTIONS` times, or twice; once
/// more if [`full`], and once more if loads are read-modify-writes, which leave fewer schedules.
pub fn explore<R: Seen, O: Seen, const N: usize>(
    name: &str,
    expected: impl IntoIterator<Item = O>,
    make: impl Fn() -> Scene<R, O, N> + Send + Sync + 'static,
) {
    explore_bounded(name, if full() { 3 } else { 2 }, expected, make);
}

/// As [`explore`], with a preemption bound for this model, unless `LOOM_MAX_PREEMPTIONS` says otherwise.
pub fn explore_bounded<R: Seen, O: Seen, const N: usize>(
    name: &str,
    preemptions: usize,
    expected: impl IntoIterator<Item = O>,
    make: impl Fn() -> Scene<R, O, N> + Send + Sync + 'static,
) {
    explore_orders(name, preemptions, permutations(), expected, make);
}

/// As [`explore_bounded`], for threads that all do the same: one spawn order is like another.
pub fn explore_alike<R: Seen, O: Seen, const N: usize>(
    name: &str,
    preemptions: usize,
    expected: impl IntoIterator<Item = O>,
    make: impl Fn() -> Scene<R, O, N> + Send + Sync + 'static,
) {
    explore_orders(name, preemptions, vec![std::array::from_fn(|i| i)], expected, make);
}

fn explore_orders<R: Seen, O: Seen, const N: usize>(
    name: &str,
    preemptions: usize,
    orders: Vec<[usize; N]>,
    expected: impl IntoIterator<Item = O>,
    make: impl Fn() -> Scene<R, O, N> + Send + Sync + 'static,
) {
    #[expect(clippy::disallowed_methods, reason = "how long the run took, not a time of the model")]
    let started = Instant::now();
    let report = match Witness::chosen() {
        Witness::Loom => loom::outcomes(preemptions, &orders, make),
        Witness::Shuttle => shuttle::outcomes(orders, make),
        Witness::Explorer => explorer::outcomes(&make),
    };
    let (seen, expected) = (report.outcomes, expected.into_iter().collect::<BTreeSet<O>>());
    let (extent, seconds) = (report.extent, started.elapsed().as_secs_f64());
    println!("MODEL | {name} | {extent} | {seconds:.1} s | {} of {} outcomes", seen.len(), expected.len());
    let wrong: Vec<&O> = seen.difference(&expected).collect();
    let missing: Vec<&O> = expected.difference(&seen).collect();
    assert!(wrong.is_empty(), "{name}: may not come of it: {wrong:?}");
    assert!(missing.is_empty() || !report.complete, "{name}: should come of some schedule and did not: {missing:?}");
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
