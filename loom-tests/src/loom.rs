//! Every schedule that loom knows within a preemption bound, in every spawn order.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use loom::thread::JoinHandle;

use crate::{Report, Scene, Seen, loads_may_be_stale};

pub(crate) fn outcomes<R: Seen, O: Seen, const N: usize>(
    preemptions: usize,
    orders: &[[usize; N]],
    make: impl Fn() -> Scene<R, O, N> + Send + Sync + 'static,
) -> Report<O> {
    // Both are std's: loom does not see them, so they add no schedules.
    let outcomes = Arc::new(Mutex::new(BTreeSet::new()));
    let executions = Arc::new(AtomicUsize::new(0));
    let make = Arc::new(make);
    let preemptions = preemptions + usize::from(!loads_may_be_stale());
    for &order in orders {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
        builder.max_branches = builder.max_branches.max(20_000);
        let (outcomes, executions, make) = (Arc::clone(&outcomes), Arc::clone(&executions), Arc::clone(&make));
        builder.check(move || {
            executions.fetch_add(1, Ordering::Relaxed);
            let outcome = make().run(order, loom::thread::spawn, JoinHandle::join);
            outcomes.lock().expect("no thread panics with the lock").insert(outcome);
        });
    }
    let outcomes = std::mem::take(&mut *outcomes.lock().expect("no thread panics with the lock"));
    let extent = format!("{} executions", executions.load(Ordering::Relaxed));
    Report { outcomes, extent, complete: true }
}
