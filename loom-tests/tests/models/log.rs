//! The sliding log: one cell per request remembered, each a bucket of one.

use tollgate::OnFull::RefuseNew;
use tollgate::model::{Key, Single};
use tollgate::{Algorithm, Quota};
use tollgate_loom_tests::{Shared, Table, explore, explore_bounded, full, scene, seconds, sharing};

fn two_in_four_seconds() -> Quota {
    Quota::new(2, seconds(4)).expect("a quota").with_algorithm(Algorithm::SlidingLog)
}

#[test]
fn a_lone_log() {
    explore("log: 2 threads, 2 and 1 takes, 2 cells", [(2, 0, 0), (1, 1, 0)], || {
        let log = Shared::new(Single::new(two_in_four_seconds()));
        let takes = |times: usize| sharing(&log, move |log| (0..times).filter(|_| log.take(seconds(10), 1)).count());
        scene([takes(2), takes(1)], move |[a, b]| (a, b, log.remaining(seconds(10))))
    });
}

#[test]
fn all_of_a_cost_or_nothing() {
    // Two cells: a cost of 2 may find one gone and give the other back, and both may fail if they meet halfway.
    let outcomes = [(true, false, 0), (false, true, 1)];
    explore("log: cost 2 against cost 1", outcomes, || {
        let log = Shared::new(Single::new(two_in_four_seconds()));
        let take = |cost: u64| sharing(&log, move |log| log.take(seconds(10), cost));
        scene([take(2), take(1)], move |[a, b]| (a, b, log.remaining(seconds(10))))
    });
    let outcomes = [(true, false, 0), (false, true, 0), (false, false, 2)];
    explore("log: cost 2 against cost 2", outcomes, || {
        let log = Shared::new(Single::new(two_in_four_seconds()));
        let take = || sharing(&log, |log| log.take(seconds(10), 2));
        scene([take(), take()], move |[a, b]| (a, b, log.remaining(seconds(10))))
    });
}

#[test]
fn a_log_in_slots() {
    if !full() {
        return;
    }
    explore_bounded("log: 2 threads, 2 and 1 takes, 2 cells in 3 slots", 1, [(2, 0, 0), (1, 1, 0)], || {
        let table = Shared::new(Table::with(3, two_in_four_seconds(), RefuseNew));
        let key = Key::new(1, &[0, 1, 2]);
        let takes = |times: usize| {
            table.thread(&key, move |table, key| (0..times).filter(|_| table.take(key, seconds(10), 1)).count())
        };
        scene([takes(2), takes(1)], move |[a, b]| (a, b, table.remaining(&key, seconds(10))))
    });
}
