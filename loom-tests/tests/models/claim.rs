//! Inserters of one key: exactly one slot becomes its own, and exactly `burst` requests are admitted.

use std::time::Duration;

use tollgate::OnFull::RefuseNew;
use tollgate::model::Key;
use tollgate_loom_tests::{
    Body, Shared, Table, explore, explore_alike, full, large, loads_may_be_stale, much_to_explore, scene, seconds,
};

fn taker(table: &Shared<Table>, key: &Key, now: Duration, cost: u64) -> Body<bool> {
    table.thread(key, move |table, key| table.take(key, now, cost))
}

/// (first admitted, second admitted, (owners, remaining), slots between owners)
const ONE_OF_TWO: [(bool, bool, (usize, u64), usize); 2] = [(true, false, (1, 0), 0), (false, true, (1, 0), 0)];

fn two_inserters(name: &'static str, slots: usize, places: &'static [usize], used: bool) {
    explore(name, ONE_OF_TWO, move || {
        let table = Shared::new(Table::new(slots, 1, RefuseNew));
        if used {
            for slot in 0..slots {
                assert!(table.take(&Key::new(100 + slot as u64, &[slot]), seconds(5), 1));
            }
        }
        let key = Key::new(1, places);
        let threads = [taker(&table, &key, seconds(10), 1), taker(&table, &key, seconds(10), 1)];
        scene(threads, move |[a, b]| (a, b, table.state(&key, seconds(10)), table.model.in_transit()))
    });
}

#[test]
fn two_inserters_of_one_key() {
    two_inserters("claim: 2 inserters, 1 slot", 1, &[0], false);
    two_inserters("claim: 2 inserters, 2 slots", 2, &[0, 1], false);
    two_inserters("claim: 2 inserters, 3 slots", 3, &[2, 0, 1], false);
    two_inserters("claim: 2 inserters, 2 slots of idle keys", 2, &[1, 0], true);
    if large() {
        // As many as a key has lines.
        two_inserters("claim: 2 inserters, 5 slots", 5, &[3, 1, 4, 0, 2], false);
    }
}

#[test]
fn two_inserters_who_see_different_slots_as_free() {
    // The second is early: to him the key in slot 0 is not idle yet, so he goes to slot 1. A second apart, both fit if
    // the early one comes first; the later one always does.
    let outcomes = [(true, true, (1, 0), 0), (true, false, (1, 0), 0)];
    explore("claim: 2 inserters at different times", outcomes, || {
        let table = Shared::new(Table::new(2, 1, RefuseNew));
        assert!(table.take(&Key::new(100, &[0]), seconds(10), 1));
        let key = Key::new(1, &[0, 1]);
        let threads = [taker(&table, &key, seconds(12), 1), taker(&table, &key, seconds(11), 1)];
        scene(threads, move |[a, b]| (a, b, table.state(&key, seconds(12)), table.model.in_transit()))
    });
}

#[test]
fn costs_add_up() {
    explore("claim: 2 inserters, costs 1 and 2 of 3", [(true, true, (1, 0), 0)], || {
        let table = Shared::new(Table::new(2, 3, RefuseNew));
        let key = Key::new(1, &[0, 1]);
        let threads = [taker(&table, &key, seconds(10), 1), taker(&table, &key, seconds(10), 2)];
        scene(threads, move |[a, b]| (a, b, table.state(&key, seconds(10)), table.model.in_transit()))
    });
}

#[test]
fn two_keys_with_opposite_orders() {
    // Each thread's (key 1, key 2), one begins with key 1 and the other with key 2: every key admits one of the two.
    // Neither can be second at the key it began with and first at the other.
    let outcomes = [((true, true), (false, false)), ((false, false), (true, true)), ((true, false), (false, true))];
    explore("claim: 2 keys, opposite orders, 3 slots", outcomes, || {
        let table = Shared::new(Table::new(3, 1, RefuseNew));
        let keys = [Key::new(1, &[0, 1, 2]), Key::new(2, &[2, 1, 0])];
        let takes = |first: usize| {
            table.thread(&keys, move |table, keys| {
                let first_taken = table.take(&keys[first], seconds(10), 1);
                let second_taken = table.take(&keys[1 - first], seconds(10), 1);
                if first == 0 { (first_taken, second_taken) } else { (second_taken, first_taken) }
            })
        };
        scene([takes(0), takes(1)], move |[a, b]| {
            for key in &keys {
                assert_eq!(table.state(key, seconds(10)), (1, 0));
            }
            assert_eq!(table.model.in_transit(), 0);
            (a, b)
        })
    });
}

#[test]
fn an_inserter_and_a_foreign_one_on_the_same_slots() {
    // Both keys fit, wherever they end up.
    explore("claim: 2 keys, 2 slots, opposite orders", [(true, true)], || {
        let table = Shared::new(Table::new(2, 1, RefuseNew));
        let keys = [Key::new(1, &[0, 1]), Key::new(2, &[1, 0])];
        let threads = [taker(&table, &keys[0], seconds(10), 1), taker(&table, &keys[1], seconds(10), 1)];
        scene(threads, move |[a, b]| {
            assert_eq!(keys.each_ref().map(|key| table.state(key, seconds(10))), [(1, 0), (1, 0)]);
            (a, b)
        })
    });
    explore("claim: 2 keys, 2 slots, one order", [(true, true)], || {
        let table = Shared::new(Table::new(2, 1, RefuseNew));
        let keys = [Key::new(1, &[0, 1]), Key::new(2, &[0, 1])];
        let threads = [taker(&table, &keys[0], seconds(10), 1), taker(&table, &keys[1], seconds(10), 1)];
        scene(threads, move |[a, b]| {
            assert_eq!(keys.each_ref().map(|key| table.state(key, seconds(10))), [(1, 0), (1, 0)]);
            (a, b)
        })
    });
}

fn three_inserters(name: &'static str, slots: usize, places: &'static [usize]) {
    let outcomes = [(true, false, false, (1, 0), 0), (false, true, false, (1, 0), 0), (false, false, true, (1, 0), 0)];
    explore_alike(name, 1, outcomes, move || {
        let table = Shared::new(Table::new(slots, 1, RefuseNew));
        let key = Key::new(1, places);
        let threads = [0; 3].map(|_| taker(&table, &key, seconds(10), 1));
        scene(threads, move |[a, b, c]| (a, b, c, table.state(&key, seconds(10)), table.model.in_transit()))
    });
}

#[test]
fn three_inserters_of_one_key() {
    // Where loads may be stale as well, it takes a minute.
    if !much_to_explore() || loads_may_be_stale() && !full() {
        return;
    }
    three_inserters("claim: 3 inserters, 2 slots", 2, &[0, 1]);
    three_inserters("claim: 3 inserters, 3 slots", 3, &[0, 1, 2]);
}
