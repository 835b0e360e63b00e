//! A thread stops for ever in the middle of an insertion (P9): the others finish, and the counts are right.

use tollgate::OnFull::RefuseNew;
use tollgate::model::Key;
use tollgate_loom_tests::{
    Body, Shared, Table, explore, explore_bounded, full, patience_may_end, scene, seconds, sharing,
};

fn taker(table: &Shared<Table>, key: &Key) -> Body<bool> {
    table.thread(key, |table, key| table.take(key, seconds(10), 1))
}

/// Which slot, which key, after how many steps: 1 claimed, 2 published.
type Stall = (usize, u64, u32);

/// Two inserters of key 1 over two slots, in some of which somebody has stopped before.
fn stopped_before(name: &'static str, stalls: &'static [Stall], lost: &[usize]) {
    let state = (1, 0);
    let outcomes = lost.iter().flat_map(|&lost| [(true, false, state, lost), (false, true, state, lost)]);
    // Who finds no room looks again 16 times: a higher bound says no more and takes minutes.
    explore_bounded(name, 2, outcomes, move || {
        let table = Shared::new(Table::new(2, 1, RefuseNew));
        for &(slot, key, steps) in stalls {
            assert!(table.model.stall(&Key::new(key, &[slot]), slot, seconds(10), steps));
        }
        let key = Key::new(1, &[0, 1]);
        scene([taker(&table, &key), taker(&table, &key)], move |[a, b]| {
            (a, b, table.state(&key, seconds(10)), table.model.in_transit())
        })
    });
}

#[test]
fn stopped_before_the_others_came() {
    stopped_before("stall: same key claimed in slot 0", &[(0, 1, 1)], &[1]);
    stopped_before("stall: same key published in slot 0", &[(0, 1, 2)], &[0]);
    stopped_before("stall: same key published in slot 1", &[(1, 1, 2)], &[0]);
    stopped_before("stall: same key published in both slots", &[(0, 1, 2), (1, 1, 2)], &[0]);
    stopped_before("stall: other key claimed in slot 0", &[(0, 2, 1)], &[1]);
    // Taken over by one who finds the other slot claimed for a while.
    let lost: &[usize] = if patience_may_end() { &[0, 1] } else { &[1] };
    stopped_before("stall: other key published in slot 1", &[(1, 2, 2)], lost);
    // Taken over, as there is no other.
    stopped_before("stall: other keys in both slots", &[(0, 2, 1), (1, 3, 2)], &[1]);
}

/// One stops in a slot while another inserts the same key.
fn stops_meanwhile(name: &'static str, slot: usize, steps: u32, lost: &'static [usize]) {
    explore(name, lost.iter().map(|&lost| (true, (1, 0), lost)), move || {
        let table = Shared::new(Table::new(2, 1, RefuseNew));
        let key = Key::new(1, &[0, 1]);
        let stopped = table.thread(&key, move |table, key| table.model.stall(key, slot, seconds(10), steps));
        scene([stopped, taker(&table, &key)], move |[_, b]| {
            // A rival that publishes after the key went live would look again and lose; this one has stopped. The next
            // inserter, or this reader, is not misled by it.
            let state = table.state(&key, seconds(10));
            (b, state, table.model.in_transit())
        })
    });
}

#[test]
fn stops_while_another_inserts() {
    stops_meanwhile("stall: claims slot 0 meanwhile", 0, 1, &[0, 1]);
    stops_meanwhile("stall: publishes in slot 0 meanwhile", 0, 2, &[0, 1]);
    stops_meanwhile("stall: claims slot 1 meanwhile", 1, 1, &[1]);
    stops_meanwhile("stall: publishes in slot 1 meanwhile", 1, 2, &[0, 1]);
}

#[test]
fn stops_while_the_old_owner_consumes() {
    // Key 1 has been idle in slot 0. Whether the claim is won or not, 2 of its 3 tokens are taken once.
    for (name, steps) in [("stall: claims the consumed slot", 1), ("stall: publishes in the consumed slot", 2)] {
        explore(name, [(false, (1, 1), 0), (true, (1, 1), 1)], move || {
            let table = Shared::new(Table::new(2, 3, RefuseNew));
            let (old, new) = (Key::new(1, &[0, 1]), Key::new(2, &[0, 1]));
            assert!(table.take(&old, seconds(5), 1));
            let stopped = sharing(&table, move |table| table.model.stall(&new, 0, seconds(10), steps));
            let consumer = table.thread(&old, |table, old| table.take(old, seconds(10), 2));
            scene([stopped, consumer], move |[a, b]| {
                assert!(b);
                (a, table.state(&old, seconds(10)), table.model.in_transit())
            })
        });
    }
}

#[test]
fn stops_while_two_insert() {
    if !full() {
        return;
    }
    for (name, slot, steps) in
        [("stall: 2 inserters, 1 publishes in slot 0", 0, 2), ("stall: 2 inserters, 1 publishes in slot 1", 1, 2)]
    {
        let outcomes = [(true, false, (1, 0)), (false, true, (1, 0))];
        explore_bounded(name, 1, outcomes, move || {
            let table = Shared::new(Table::new(2, 1, RefuseNew));
            let key = Key::new(1, &[0, 1]);
            let stopped = table.thread(&key, move |table, key| table.model.stall(key, slot, seconds(10), steps));
            scene([stopped, taker(&table, &key), taker(&table, &key)], move |[_, a, b]| {
                (a, b, table.state(&key, seconds(10)))
            })
        });
    }
}
