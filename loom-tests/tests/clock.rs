//! Clocks that disagree, and a thread that sleeps between the clock and the word.
#![cfg(tollgate_model)]

use tollgate::OnFull::RefuseNew;
use tollgate::model::{Key, Model, ModelClock};
use tollgate::{Clock, ManualClock, Quota};
use tollgate_loom_tests::{Shared, Table, explore, scene, seconds, thread};

#[test]
fn a_late_caller_mints_nothing() {
    // Burst 2, two gone at 10. At 12 two may go, and the late caller, at 11, only if he comes first.
    let outcomes = [(true, 1, (1, 0)), (false, 2, (1, 0))];
    explore("clock: a late caller against 2 takes", outcomes, || {
        let table = Shared::new(Table::new(1, 2, RefuseNew));
        let key = Key::new(1, &[0]);
        assert!(table.take(&key, seconds(10), 2));
        let late = {
            let (table, key) = (Shared::clone(&table), key.clone());
            thread(move || u32::from(table.take(&key, seconds(11), 1)))
        };
        let takes = {
            let (table, key) = (Shared::clone(&table), key.clone());
            thread(move || (0..2).map(|_| u32::from(table.take(&key, seconds(12), 1))).sum())
        };
        scene([late, takes], move |[a, b]| (a == 1, b, table.state(&key, seconds(12))))
    });
}

#[test]
fn a_refused_sleeper_sets_nothing_back() {
    // The clock never steps back; one thread sleeps between reading it and acting on it. He is refused on words that
    // are seconds ahead of him, may suspect the clock, and must not take away what others have counted since.
    explore("clock: refused while the clock runs on", [false], || {
        let clock = std::sync::Arc::new(ModelClock::new(seconds(10)));
        let quota = Quota::per_second(1).with_burst(1);
        let model = Model::new(1, quota, RefuseNew).with_skew(seconds(1)).with_clock(std::sync::Arc::clone(&clock));
        let limit = model.limit(quota);
        let (shared, key) = (Shared::new((model, limit)), Key::new(1, &[0]));
        assert!(shared.0.take(&key, &shared.1, seconds(10), 1).is_allowed());
        let sleeper = {
            let (shared, key) = (Shared::clone(&shared), key.clone());
            thread(move || {
                let _ = shared.0.take(&key, &shared.1, seconds(10), 1);
            })
        };
        let others = {
            let (shared, key) = (Shared::clone(&shared), key.clone());
            thread(move || {
                for now in [20, 30] {
                    clock.advance(seconds(now));
                    assert!(shared.0.take(&key, &shared.1, seconds(now), 1).is_allowed());
                }
            })
        };
        scene([sleeper, others], move |_| {
            // One was admitted at 30, of a burst of one.
            shared.0.take(&key, &shared.1, seconds(30), 1).is_allowed()
        })
    });
}

#[test]
fn both_advances_count() {
    explore("clock: 2 advances", [5], || {
        let clock = ManualClock::default();
        let advances = [2, 3].map(|by| {
            let clock = clock.clone();
            thread(move || clock.advance(seconds(by)))
        });
        scene(advances, move |_| clock.now().as_nanos() / 1_000_000_000)
    });
}
