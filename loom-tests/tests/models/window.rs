//! A window ends while two threads with different ideas of now count into it.

use std::time::Duration;

use tollgate::OnFull::RefuseNew;
use tollgate::model::{Key, Single};
use tollgate::{Algorithm, Quota, WindowStart};
use tollgate_loom_tests::{Body, Shared, Table, explore, explore_bounded, quarters, scene, seconds, sharing};

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

/// Two requests in a window of 4 s.
fn lone(start: WindowStart, counted: bool) -> Shared<Single> {
    let quota = Quota::new(2, seconds(4)).expect("a quota").with_algorithm(Algorithm::FixedWindow);
    Shared::new(Single::new(quota.with_window_start(start).with_refused_counted(counted)))
}

#[test]
fn a_window_is_begun_once() {
    // Both are first to themselves, and one of them is: what it began ends by second 6.25 or lasts, for both.
    explore("window: first hit, 2 threads", [(true, true, 0), (true, true, 2)], || {
        let bucket = lone(WindowStart::FirstHit, false);
        let take = |now| sharing(&bucket, move |bucket| bucket.take(now, 1));
        scene([take(seconds(2)), take(quarters(10))], move |[a, b]| (a, b, bucket.remaining(quarters(25))))
    });
    // A window is over for the one and lasts for the other, who is counted in the new one if he comes second. (2, 1): his first
    // fits into the old one, and his second into the new one, which takes more preemptions than two.
    explore_bounded("window: first hit, 2 threads round the end", 4, [(1, 2), (1, 1), (0, 2), (2, 1)], || {
        let bucket = lone(WindowStart::FirstHit, false);
        assert!(bucket.take(seconds(2), 1));
        let take = |now| sharing(&bucket, move |bucket| (0..2).map(|_| u32::from(bucket.take(now, 1))).sum());
        scene([take(quarters(23)), take(quarters(25))], |[a, b]: [u32; 2]| (a, b))
    });
}

#[test]
fn refusals_are_counted_beside_an_admission() {
    for start in [WindowStart::Clock, WindowStart::FirstHit] {
        // One was taken before: with 2, 2 and 1 all six count, whoever was first. One less than the limit is left of five less.
        explore("window: 2 refusals counted, beside an admission", [(true, 1), (false, 1)], move || {
            let bucket = lone(start, true);
            assert!(bucket.take(seconds(5), 1));
            let take = |cost| {
                sharing(&bucket, move |bucket| {
                    let admitted = bucket.take(seconds(5), cost);
                    assert!(!admitted || cost == 1);
                    admitted
                })
            };
            scene([take(2), take(2), take(1)], move |[_, _, one]| {
                bucket.refund(seconds(5), 5);
                (one, bucket.remaining(seconds(5)))
            })
        });
    }
    // What comes back between the refusal and its counting admits the request after all.
    explore("window: refusal counted, against a refund", [(true, 0), (false, 0)], || {
        let bucket = lone(WindowStart::Clock, true);
        assert!(bucket.take(seconds(5), 2));
        let take = sharing(&bucket, |bucket| bucket.take(seconds(5), 1));
        let refund = sharing(&bucket, |bucket| {
            bucket.refund(seconds(5), 1);
            false
        });
        scene([take, refund], move |[taken, _]| (taken, bucket.remaining(seconds(5))))
    });
}
