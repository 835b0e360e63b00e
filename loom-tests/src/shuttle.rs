//! Schedules drawn at random by Shuttle: uniformly, and by probabilistic concurrency testing (PCT), which finds a defect
//! that needs `d` changes of thread in particular places with a probability that is known.
//!
//! Burckhardt, Kothari, Musuvathi, Nagarakatte: A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs,
//! ASPLOS 2010.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread::JoinHandle;
use shuttle::{Config, Runner};

use crate::{Report, Scene, Seen};

/// Changes of thread that PCT places.
const DEPTH: usize = 3;

/// How many schedules of each kind (`TOLLGATE_SHUTTLE_RUNS`).
fn runs() -> usize {
    number("TOLLGATE_SHUTTLE_RUNS").map_or(5_000, |runs| usize::try_from(runs).expect("64 bits"))
}

/// Where the randomness comes from (`TOLLGATE_SEED`).
fn seed() -> u64 {
    number("TOLLGATE_SEED").unwrap_or(1)
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}; it must be a number")))
}

pub(crate) fn outcomes<R: Seen, O: Seen, const N: usize>(
    orders: Vec<[usize; N]>,
    make: impl Fn() -> Scene<R, O, N> + Send + Sync + 'static,
) -> Report<O> {
    let outcomes = Arc::new(Mutex::new(BTreeSet::new()));
    let executions = Arc::new(AtomicUsize::new(0));
    let scene = {
        let (outcomes, executions) = (Arc::clone(&outcomes), Arc::clone(&executions));
        Arc::new(move || {
            let execution = executions.fetch_add(1, Ordering::Relaxed);
            let outcome = make().run(orders[execution % orders.len()], shuttle::thread::spawn, JoinHandle::join);
            outcomes.lock().expect("no thread panics with the lock").insert(outcome);
        })
    };
    check(RandomScheduler::new_from_seed(seed(), runs()), Arc::clone(&scene));
    // PCT needs threads to choose between.
    if N > 1 {
        check(PctScheduler::new_from_seed(seed(), DEPTH, runs()), scene);
    }
    let outcomes = std::mem::take(&mut *outcomes.lock().expect("no thread panics with the lock"));
    let extent = format!("{} schedules from seed {}", executions.load(Ordering::Relaxed), seed());
    Report { outcomes, extent, complete: false }
}

fn check(scheduler: impl Scheduler + 'static, scene: Arc<impl Fn() + Send + Sync + 'static>) {
    let mut config = Config::new();
    // A decision on a sliding log has a kibibyte of cells on its stack, sixteen bytes each.
    config.stack_size = 0x4_0000;
    // That its atomics are sequentially consistent is known; loom is there for the rest.
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(move || scene());
}
