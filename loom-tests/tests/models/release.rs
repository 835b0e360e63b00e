//! Memory is given back: no debit is lost with it, no key is in two places after it, and a page of which a slot is in use stays.

use tollgate::OnFull::RefuseNew;
use tollgate::model::Key;
use tollgate_loom_tests::{
    Body, Shared, Table, crowded, explore, full, large, patience_may_end, quarters, scene, seconds,
};

/// Key 1 has been idle in slot 0 since second 11; burst 3.
fn one_idle(slots: usize) -> (Shared<Table>, Key) {
    let table = Shared::new(Table::new(slots, 3, RefuseNew));
    let key = Key::new(1, &[0]);
    assert!(table.take(&key, seconds(10), 1));
    (table, key)
}

/// What has been idle since 11.5, at 12.
fn releaser(table: &Shared<Table>, key: &Key) -> Body<bool> {
    table.thread(key, |table, _| table.model.release(seconds(12), quarters(46)))
}

fn taker(table: &Shared<Table>, key: &Key, cost: u64) -> Body<bool> {
    table.thread(key, move |table, key| table.take(key, seconds(12), cost))
}

#[test]
fn of_a_key_that_comes_back() {
    // Released and taken: before or after; else the page stays.
    let mut outcomes = vec![(true, true, (1, 1)), (false, true, (1, 1))];
    if patience_may_end() {
        // The only slot was on its way, and there is no other.
        outcomes.push((true, false, (0, 3)));
    }
    explore("release: of a key that comes back", outcomes, || {
        let (table, key) = one_idle(1);
        scene([releaser(&table, &key), taker(&table, &key, 2)], move |[released, taken]| {
            assert_eq!(table.model.in_transit(), 0);
            (released, taken, table.state(&key, seconds(12)))
        })
    });
}

#[test]
fn beside_a_newcomer_in_one_of_the_slots() {
    // Of two slots, the second of which was never used: it is taken, or both are released.
    let mut outcomes = vec![(true, true, (1, 2)), (false, true, (1, 2))];
    if patience_may_end() {
        outcomes.push((true, false, (0, 3)));
    }
    explore("release: beside a newcomer", outcomes, || {
        let (table, old) = one_idle(2);
        let new = Key::new(2, &[1]);
        scene([releaser(&table, &old), taker(&table, &new, 1)], move |[released, taken]| {
            assert_eq!((table.model.in_transit(), table.remaining(&old, seconds(12))), (0, 3));
            (released, taken, table.state(&new, seconds(12)))
        })
    });
}

#[test]
fn beside_a_key_that_comes_twice() {
    // Two requests of one key over two slots, whatever is released: in one place, and both are counted.
    let mut outcomes = vec![(true, [true, true], (1, 0)), (false, [true, true], (1, 0))];
    if patience_may_end() {
        outcomes.extend([(true, [true, false], (1, 1)), (true, [false, true], (1, 2))]);
        outcomes.extend([(false, [true, false], (1, 1)), (false, [false, true], (1, 2))]);
        outcomes.push((true, [false, false], (0, 3)));
    }
    // Seven million states for the explorer, and too many executions for loom.
    if !(crowded() || full() && large()) {
        return;
    }
    explore("release: beside a key that comes twice", outcomes, || {
        let (table, old) = one_idle(2);
        let new = Key::new(2, &[0, 1]);
        let threads = [releaser(&table, &old), taker(&table, &new, 2), taker(&table, &new, 1)];
        scene(threads, move |[released, first, second]| {
            assert_eq!(table.model.in_transit(), 0);
            (released, [first, second], table.state(&new, seconds(12)))
        })
    });
}

#[test]
fn by_two_at_once() {
    // The second may find that a slot was used, and both never used when it takes them: then there is nothing that is lost.
    let outcomes = [[true, false], [false, true], [true, true]];
    explore("release: by two at once", outcomes, || {
        let (table, old) = one_idle(2);
        scene([releaser(&table, &old), releaser(&table, &old)], move |released| {
            assert_eq!((table.model.in_transit(), table.state(&old, seconds(12)).1), (0, 3));
            released
        })
    });
}
