//! Several limits at once: all or nothing, and what a refused request took for a moment comes back, once.

use tollgate::OnFull::RefuseNew;
use tollgate::Quota;
use tollgate::model::{Key, ModelClock};
use tollgate_loom_tests::{Body, Shared, Table, explore, explore_bounded, full, scene, seconds};

/// Two keys, one slot for each, with one left of two: whoever is refused need not look for room.
fn table() -> (Shared<Table>, [Key; 2]) {
    let table = Shared::new(Table::new(2, 2, RefuseNew));
    let keys = [Key::new(1, &[0]), Key::new(2, &[1])];
    keys.iter().for_each(|key| assert!(table.take(key, seconds(10), 1)));
    (table, keys)
}

fn all(table: &Shared<Table>, keys: [&Key; 2]) -> Body<bool> {
    table.thread(&keys.map(Clone::clone), |table, keys| {
        let shares = keys.each_ref().map(|key| (key, &table.limit));
        table.model.take_all(&shares, seconds(10))
    })
}

fn one(table: &Shared<Table>, key: &Key) -> Body<bool> {
    table.thread(key, |table, key| table.take(key, seconds(10), 1))
}

#[test]
fn against_traffic_on_the_second_limit() {
    let outcomes = [(true, false, [0, 0]), (false, true, [1, 0])];
    explore("set: against take of its second limit", outcomes, || {
        let (table, keys) = table();
        let threads = [all(&table, [&keys[0], &keys[1]]), one(&table, &keys[1])];
        scene(threads, move |[a, b]| (a, b, keys.each_ref().map(|key| table.remaining(key, seconds(10)))))
    });
}

#[test]
fn against_traffic_on_the_first_limit() {
    // The set fails at its second limit, always; what it takes of the first for a moment may refuse the other there.
    let outcomes = [(true, false, [0, 0]), (false, true, [0, 1])];
    explore("set: against take of its first limit", outcomes, || {
        let (table, keys) = table();
        let threads = [all(&table, [&keys[0], &keys[1]]), one(&table, &keys[0])];
        scene(threads, move |[a, b]| (a, b, keys.each_ref().map(|key| table.remaining(key, seconds(10)))))
    });
}

#[test]
fn against_the_same_set_the_other_way_round() {
    let outcomes = [(true, false, [0, 0]), (false, true, [0, 0]), (false, false, [1, 1])];
    explore("set: against the same limits in another order", outcomes, || {
        let (table, keys) = table();
        let threads = [all(&table, [&keys[0], &keys[1]]), all(&table, [&keys[1], &keys[0]])];
        scene(threads, move |[a, b]| (a, b, keys.each_ref().map(|key| table.remaining(key, seconds(10)))))
    });
}

#[test]
fn a_late_rollback_makes_nothing_up() {
    // The set may take from key 1 at 10, sleep, fail at key 2, and give back when the clock shows 11 and key 1 was full
    // again anyway. Whatever happens, key 1 admits one at 11, in the race or after it.
    explore("set: rollback after a refill", [(true, 1), (false, 1)], || {
        let clock = Shared::new(ModelClock::new(seconds(10)));
        let table = Shared::new(Table::with_clock(2, Quota::per_second(1), &clock));
        let keys = [Key::new(1, &[0]), Key::new(2, &[1])];
        keys.iter().for_each(|key| assert!(table.take(key, seconds(9), 1)));
        let other = table.thread(&keys, move |table, keys| {
            table.take(&keys[1], seconds(10), 1);
            clock.advance(seconds(11));
            table.take(&keys[0], seconds(11), 1)
        });
        let threads = [all(&table, [&keys[0], &keys[1]]), other];
        scene(threads, move |[a, b]| (a, u32::from(b) + u32::from(table.take(&keys[0], seconds(11), 1))))
    });
}

#[test]
fn three_threads() {
    if !full() {
        return;
    }
    let outcomes = [(true, false, false, [0, 0]), (false, true, true, [0, 0]), (false, false, true, [1, 0])];
    explore_bounded("set: against takes of both its limits", 1, outcomes, || {
        let (table, keys) = table();
        let threads = [all(&table, [&keys[0], &keys[1]]), one(&table, &keys[0]), one(&table, &keys[1])];
        scene(threads, move |[a, b, c]| (a, b, c, keys.each_ref().map(|key| table.remaining(key, seconds(10)))))
    });
}

/// Reserves for these limits, for at most three seconds: how long to wait.
fn wait<const N: usize>(table: &Table, keys: [&Key; N]) -> Option<u64> {
    let parts = keys.map(|key| (key, &table.limit));
    Some(table.model.reserve_all(&parts, seconds(10), seconds(3))?.0.as_secs())
}

fn reserve(table: &Shared<Table>, keys: [&Key; 2]) -> Body<Option<u64>> {
    table.thread(&keys.map(Clone::clone), |table, [a, b]| wait(table, [a, b]))
}

#[test]
fn reserving_against_traffic_on_one_limit() {
    // One token of two is left under each. Whoever comes second goes a second later, under both limits; then the next waits one
    // second where one of them was counted, and two where both were: what was given back for a moment is not missing.
    for (name, one_of, both) in [("second", 1, [Some(1), Some(2)]), ("first", 0, [Some(2), Some(1)])] {
        let outcomes = [(Some(0), None, [Some(1); 2]), (Some(1), Some(0), both)];
        explore(&format!("set: reserve against take of its {name} limit"), outcomes, move || {
            let (table, keys) = table();
            let take = table.thread(&keys[one_of], |table, key| table.take(key, seconds(10), 1).then_some(0));
            let threads = [reserve(&table, [&keys[0], &keys[1]]), take];
            scene(threads, move |[a, b]| (a, b, keys.each_ref().map(|key| wait(&table, [key]))))
        });
    }
}

#[test]
fn reserving_against_the_same_set_the_other_way_round() {
    // One token of two is left under each, so one may go at once. Or neither: each may hold for a moment what the other wants,
    // and both go a second later, or one of them gives up (here after the second try, in the engine after the sixteenth).
    explore("set: reserve against the same limits in another order", [0, 1], || {
        let (table, keys) = table();
        let threads = [reserve(&table, [&keys[0], &keys[1]]), reserve(&table, [&keys[1], &keys[0]])];
        scene(threads, |waits| waits.iter().filter(|wait| **wait == Some(0)).count())
    });
}

#[test]
fn what_is_cancelled_is_given_out_once() {
    // It has the last token under each; cancelled, somebody gets that of the first, or the next set gets both.
    let outcomes = [(true, Some(1)), (false, Some(0))];
    explore("set: cancel of a reservation against take", outcomes, || {
        let (table, keys) = table();
        let parts = keys.each_ref().map(|key| (key, &table.limit));
        let (_, reserved) = table.model.reserve_all(&parts, seconds(10), seconds(3)).expect("it fits");
        let cancel = table.thread(&keys, move |table, keys| {
            for (key, debit) in keys.iter().zip(&reserved).rev() {
                table.model.cancel(key, &table.limit, seconds(10), debit);
            }
            true
        });
        let threads = [cancel, one(&table, &keys[0])];
        scene(threads, move |[_, b]| (b, wait(&table, [&keys[0], &keys[1]])))
    });
}
