//! Refunds lower a word: never below now, never another's, and never so that an old word comes back.

use tollgate::OnFull::RefuseNew;
use tollgate::model::Key;
use tollgate_loom_tests::{Shared, Table, explore, explore_bounded, full, quarters, scene, seconds};

#[test]
fn against_consume() {
    explore("refund: against take of an empty bucket", [(true, (1, 0)), (false, (1, 1))], || {
        let table = Shared::new(Table::new(1, 2, RefuseNew));
        let key = Key::new(1, &[0]);
        assert!(table.take(&key, seconds(10), 2));
        let refund = table.thread(&key, |table, key| {
            table.refund(key, seconds(10), 1);
            false
        });
        let take = table.thread(&key, |table, key| table.take(key, seconds(10), 1));
        scene([refund, take], move |[_, b]| (b, table.state(&key, seconds(10))))
    });
}

#[test]
fn against_reclaim() {
    // Key 1 is full at 12, and at 11 with the refund: then the other may have its slot at 11.25.
    let outcomes = [(true, (0, 2), (1, 1)), (false, (1, 2), (0, 2))];
    explore("refund: makes a slot idle that is being reclaimed", outcomes, || {
        let table = Shared::new(Table::new(1, 2, RefuseNew));
        let (old, new) = (Key::new(1, &[0]), Key::new(2, &[0]));
        assert!(table.take(&old, seconds(10), 2));
        let refund = table.thread(&old, |table, old| {
            table.refund(old, seconds(11), 1);
            false
        });
        let reclaim = table.thread(&new, |table, new| table.take(new, quarters(45), 1));
        scene([refund, reclaim], move |[_, b]| (b, table.state(&old, quarters(45)), table.state(&new, quarters(45))))
    });
}

#[test]
fn of_a_forgotten_key() {
    // A late refund of key 1, which is full since 11, must not fill the bucket that key 2 makes of the slot.
    explore("refund: late, of a key that is being forgotten", [(true, (0, 2), (1, 0))], || {
        let table = Shared::new(Table::new(1, 2, RefuseNew));
        let (old, new) = (Key::new(1, &[0]), Key::new(2, &[0]));
        assert!(table.take(&old, seconds(10), 1));
        let refund = table.thread(&old, |table, old| {
            table.refund(old, quarters(41), 1);
            false
        });
        let reclaim = table.thread(&new, |table, new| table.take(new, seconds(12), 2));
        scene([refund, reclaim], move |[_, b]| (b, table.state(&old, seconds(12)), table.state(&new, seconds(12))))
    });
}

#[test]
fn a_word_does_not_come_back_under_another_owner() {
    // Key 1's word says 12. It is refunded to 10, and key 2 takes the slot at 11 and one token: 12 again. Who read the
    // first of the two words must not charge the second.
    let outcomes = [
        // before the refund, and the slot is never idle; after it; once the slot is key 2's: no room.
        (true, false, ((1, 2), (0, 2))),
        (true, false, ((1, 1), (0, 2))),
        (false, true, ((0, 2), (1, 1))),
    ];
    explore("refund: the same stamp under another owner", outcomes, || {
        let table = Shared::new(Table::new(1, 2, RefuseNew));
        let (old, new) = (Key::new(1, &[0]), Key::new(2, &[0]));
        assert!(table.take(&old, seconds(10), 2));
        let consume = table.thread(&old, |table, old| table.take(old, seconds(11), 1));
        let give_away = table.thread(&[old.clone(), new.clone()], |table, [old, new]| {
            table.refund(old, seconds(10), 2);
            table.take(new, seconds(11), 1)
        });
        scene([consume, give_away], move |[a, b]| {
            (a, b, (table.state(&old, seconds(11)), table.state(&new, seconds(11))))
        })
    });
}

#[test]
fn refund_reclaim_and_consume() {
    if !full() {
        return;
    }
    explore_bounded("refund: 3 threads: refund, reclaim, consume; 2 slots", 2, [(true, true, (1, 1), (1, 1))], || {
        let table = Shared::new(Table::new(2, 2, RefuseNew));
        let (old, new) = (Key::new(1, &[0, 1]), Key::new(2, &[0, 1]));
        assert!(table.take(&old, seconds(10), 2));
        let refund = table.thread(&old, |table, old| {
            table.refund(old, seconds(11), 1);
            true
        });
        let reclaim = table.thread(&new, |table, new| table.take(new, quarters(45), 1));
        let consume = table.thread(&old, |table, old| table.take(old, quarters(45), 1));
        scene([refund, reclaim, consume], move |[_, b, c]| {
            (b, c, table.state(&old, quarters(45)), table.state(&new, quarters(45)))
        })
    });
}
