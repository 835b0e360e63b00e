//! A window ends while two threads with different ideas of now count into it.

use std::time::Duration;

use tollgate::OnFull::RefuseNew;
use tollgate::model::Key;
use tollgate::{Algorithm, Quota};
use tollgate_loom_tests::{Body, Shared, Table, explore, quarters, scene, seconds};

/// Two requests in every window of 4 s: one ends at second 8.
fn table(slots: usize, algorithm: Algorithm) -> Shared<Table> {
    let quota = Quota::new(2, seconds(4)).expect("a quota").with_algorithm(algorithm);
    Shared::new(Table::with(slots, quota, RefuseNew))
}

fn takes(table: &Shared<Table>, key: &Key, now: Duration, times: u32) -> Body<u32> {
    table.thread(key, move |table, key| (0..times).map(|_| u32::from(table.take(key, now, 1))).sum())
}

#[test]
fn fixed_window_turns_over() {
    // (before the end, after it): each window admits two, and whoever is late counts into the new one.
    let outcomes = [(2, 2), (2, 1), (1, 2), (0, 2), (1, 1)];
    explore("window: fixed, 2 threads round the end, 2 takes each", outcomes, || {
        let (table, key) = (table(1, Algorithm::FixedWindow), Key::new(1, &[0]));
        // The key is there already: what a forgotten key is owed is another model.
        assert!(table.take(&key, seconds(2), 1));
        let threads = [takes(&table, &key, quarters(31), 2), takes(&table, &key, seconds(8), 2)];
        scene(threads, move |[before, after]| {
            assert_eq!(table.remaining(&key, seconds(8)), u64::from(before + after < 2));
            assert_eq!(table.model.owners(&key), 1);
            (before, after)
        })
    });
}

#[test]
fn fixed_window_of_a_new_key() {
    let outcomes = [(1, 1)];
    explore("window: fixed, new key, 2 slots", outcomes, || {
        let (table, key) = (table(2, Algorithm::FixedWindow), Key::new(1, &[0, 1]));
        let threads = [takes(&table, &key, quarters(31), 1), takes(&table, &key, seconds(8), 1)];
        scene(threads, move |[before, after]| {
            assert_eq!(table.model.owners(&key), 1);
            (before, after)
        })
    });
}

#[test]
fn sliding_window_turns_over() {
    // At the end of a window its count still weighs in full: one more before the end, or one after it.
    let outcomes = [(1, 0), (0, 1)];
    explore("window: sliding, 2 threads round the end", outcomes, || {
        let (table, key) = (table(1, Algorithm::SlidingWindow), Key::new(1, &[0]));
        assert!(table.take(&key, seconds(5), 1));
        let threads = [takes(&table, &key, quarters(31), 1), takes(&table, &key, seconds(8), 2)];
        scene(threads, move |[before, after]| (before, after))
    });
}
