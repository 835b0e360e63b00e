//! An idle slot changes hands: no debit is lost, none lands on a foreign key, no key is in two places.

use tollgate::OnFull::RefuseNew;
use tollgate::model::Key;
use tollgate_loom_tests::{
    Body, Shared, Table, explore, explore_bounded, full, loads_may_be_stale, patience_may_end, quarters, scene, seconds,
};

fn taker(table: &Shared<Table>, key: &Key, at: u64, cost: u64) -> Body<bool> {
    table.thread(key, move |table, key| table.take(key, seconds(at), cost))
}

/// A table in which key 1 has been idle in slot 0 since second 11; burst 3.
fn one_idle(slots: usize, places: &[usize]) -> (Shared<Table>, Key) {
    let table = Shared::new(Table::new(slots, 3, RefuseNew));
    let key = Key::new(1, places);
    assert!(table.take(&key, seconds(10), 1));
    (table, key)
}

#[test]
fn the_old_owner_against_the_new() {
    // Costs 2 and 1 of 3: whoever is second finds no room, and the first has exactly what it did not take.
    let outcomes = [((true, (1, 1)), (false, (0, 3))), ((false, (0, 3)), (true, (1, 2)))];
    explore("reclaim: owner consumes, 1 slot", outcomes, || {
        let (table, old) = one_idle(1, &[0]);
        let new = Key::new(2, &[0]);
        let threads = [taker(&table, &old, 12, 2), taker(&table, &new, 12, 1)];
        scene(threads, move |[a, b]| ((a, table.state(&old, seconds(12))), (b, table.state(&new, seconds(12)))))
    });
    // With a second slot both are admitted, and each is charged its own.
    let outcomes = [((true, (1, 1)), (true, (1, 2)))];
    explore("reclaim: owner consumes, 2 slots", outcomes, || {
        let (table, old) = one_idle(2, &[0, 1]);
        let new = Key::new(2, &[0, 1]);
        let threads = [taker(&table, &old, 12, 2), taker(&table, &new, 12, 1)];
        scene(threads, move |[a, b]| ((a, table.state(&old, seconds(12))), (b, table.state(&new, seconds(12)))))
    });
}

#[test]
fn the_old_owner_consumes_twice() {
    // 3 of 3 and then nothing, wherever the slot goes in between.
    let outcomes = [([true, false], (1, 0), (true, (1, 2)))];
    explore("reclaim: owner consumes twice, 2 slots", outcomes, || {
        let (table, old) = one_idle(2, &[0, 1]);
        let new = Key::new(2, &[0, 1]);
        let consumer = table.thread(&old, |table, old| [3, 1].map(|cost| table.take(old, seconds(12), cost)));
        let reclaimer = table.thread(&new, |table, new| [table.take(new, seconds(12), 1), false]);
        scene([consumer, reclaimer], move |[a, [b, _]]| {
            (a, table.state(&old, seconds(12)), (b, table.state(&new, seconds(12))))
        })
    });
}

#[test]
fn the_new_owner_is_consumed_at_once() {
    // Costs 2 and 1 of 3, both of the new key, over the slot of the old.
    let mut outcomes = vec![(true, true, (1, 0), (0, 3))];
    if patience_may_end() {
        // The other is refused while the only slot is claimed.
        outcomes.extend([(true, false, (1, 1), (0, 3)), (false, true, (1, 2), (0, 3))]);
    }
    explore("reclaim: the new key against its inserter, 1 slot", outcomes, || {
        let (table, old) = one_idle(1, &[0]);
        let new = Key::new(2, &[0]);
        let threads = [taker(&table, &new, 12, 2), taker(&table, &new, 12, 1)];
        scene(threads, move |[a, b]| (a, b, table.state(&new, seconds(12)), table.state(&old, seconds(12))))
    });
    let outcomes = [(true, true, (1, 0))];
    explore("reclaim: the new key against its inserter, 2 slots", outcomes, || {
        let (table, _) = one_idle(2, &[0, 1]);
        let new = Key::new(2, &[0, 1]);
        let threads = [taker(&table, &new, 12, 2), taker(&table, &new, 12, 1)];
        scene(threads, move |[a, b]| (a, b, table.state(&new, seconds(12))))
    });
}

#[test]
fn two_reclaimers_of_one_slot() {
    let outcomes = [((true, (1, 1)), (false, (0, 3))), ((false, (0, 3)), (true, (1, 2)))];
    explore("reclaim: 2 reclaimers, 1 slot", outcomes, || {
        let (table, _) = one_idle(1, &[0]);
        let keys = [Key::new(2, &[0]), Key::new(3, &[0])];
        let threads = [taker(&table, &keys[0], 12, 2), taker(&table, &keys[1], 12, 1)];
        scene(threads, move |[a, b]| ((a, table.state(&keys[0], seconds(12))), (b, table.state(&keys[1], seconds(12)))))
    });
}

#[test]
fn a_slot_that_is_busy_to_a_late_caller() {
    // Idle from second 11 on: the late caller finds no room, and the owner's debit stands.
    let outcomes = [((true, (1, 2)), (false, (0, 3)))];
    explore("reclaim: late reclaimer against owner", outcomes, || {
        let (table, old) = one_idle(1, &[0]);
        let new = Key::new(2, &[0]);
        let late = table.thread(&new, |table, new| table.take(new, quarters(43), 1));
        scene([taker(&table, &old, 11, 1), late], move |[a, b]| {
            ((a, table.state(&old, seconds(11))), (b, table.state(&new, seconds(11))))
        })
    });
}

#[test]
fn a_bucket_full_again_this_very_instant() {
    // Idle since second 11 and not earlier: to be admitted the newcomer would have to start later than now.
    let outcomes = [((true, (1, 1)), (false, (0, 3)))];
    explore("reclaim: full again this instant", outcomes, || {
        let (table, old) = one_idle(1, &[0]);
        let new = Key::new(2, &[0]);
        let threads = [taker(&table, &old, 11, 2), taker(&table, &new, 11, 1)];
        scene(threads, move |[a, b]| ((a, table.state(&old, seconds(11))), (b, table.state(&new, seconds(11)))))
    });
}

#[test]
fn a_dead_word_does_not_come_back() {
    // One inserter of key 2 has stopped with slot 1 pending, and another stops with slot 0. Who adopts slot 0 kills slot
    // 1, and then key 3 may have it; who was about to adopt slot 1 must not charge key 3.
    // (It finds no room if that is just being claimed by somebody for key 2, or has been taken live.)
    let mut outcomes = vec![(false, true, true), (true, false, true), (true, false, false)];
    if patience_may_end() {
        outcomes.push((false, true, false));
    }
    explore("reclaim: adopter of a slot that was killed and given away", outcomes, || {
        let table = Shared::new(Table::new(2, 1, RefuseNew));
        let (two, three) = (Key::new(2, &[0, 1]), Key::new(3, &[1]));
        assert!(table.model.stall(&two, 1, seconds(10), 2));
        let adopter = table.thread(&two, |table, two| (table.take(two, seconds(10), 1), false));
        let other = table.thread(&[two.clone(), three.clone()], |table, [two, three]| {
            assert!(table.model.stall(two, 0, seconds(10), 2));
            (table.take(two, seconds(10), 1), table.take(three, quarters(41), 1))
        });
        scene([adopter, other], move |[(a, _), (b, c)]| {
            assert_eq!(table.state(&two, seconds(10)), (1, 0), "key 2");
            assert_eq!(table.state(&three, quarters(41)), if c { (1, 0) } else { (0, 1) }, "key 3");
            (a, b, c)
        })
    });
}

#[test]
fn three_threads_on_one_idle_slot() {
    if !full() {
        return;
    }
    let outcomes = [
        ((true, (1, 2)), (false, (0, 3)), (false, (0, 3))),
        ((false, (0, 3)), (true, (1, 1)), (false, (0, 3))),
        ((false, (0, 3)), (false, (0, 3)), (true, (1, 0))),
    ];
    explore_bounded("reclaim: owner and 2 reclaimers, 1 slot", 1, outcomes, || {
        let (table, old) = one_idle(1, &[0]);
        let keys = [old, Key::new(2, &[0]), Key::new(3, &[0])];
        let threads = [taker(&table, &keys[0], 12, 1), taker(&table, &keys[1], 12, 2), taker(&table, &keys[2], 12, 3)];
        scene(threads, move |[a, b, c]| {
            let state = |i: usize| table.state(&keys[i], seconds(12));
            ((a, state(0)), (b, state(1)), (c, state(2)))
        })
    });
    // Refused: the loser of the two still has the second slot, or gave it up this very instant.
    let mut outcomes = vec![((true, (1, 2)), (true, (1, 0))), ((false, (0, 3)), (true, (1, 0)))];
    // With three threads and loads that are read-modify-writes loom reaches this as well.
    if patience_may_end() || !loads_may_be_stale() {
        // One of them is refused: the owner has one slot, and the other has claimed the second.
        outcomes.extend([((true, (1, 2)), (false, (1, 1))), ((true, (1, 2)), (false, (1, 2)))]);
    }
    explore_bounded("reclaim: owner, and 2 inserters of another key, 2 slots", 1, outcomes, || {
        let (table, old) = one_idle(2, &[0, 1]);
        let new = Key::new(2, &[0, 1]);
        let threads = [taker(&table, &old, 12, 1), taker(&table, &new, 12, 2), taker(&table, &new, 12, 1)];
        scene(threads, move |[a, b, c]| ((a, table.state(&old, seconds(12))), (b && c, table.state(&new, seconds(12)))))
    });
}
