//! Answers that change nothing are right as well: a peek and a refusal of one key never rest on another's word.

use std::time::Duration;

use tollgate::OnFull::RefuseNew;
use tollgate::model::Key;
use tollgate_loom_tests::{
    Shared, Table, explore, loads_may_be_stale, patience_may_end, quarters, scene, seconds, sharing, thread,
};

/// Key 1 is full again at second 12 (burst 2); key 2 takes its slot at 12.5 and is then full at 13.5.
fn table() -> (Shared<Table>, Key, Key) {
    let table = Shared::new(Table::new(1, 2, RefuseNew));
    let (old, new) = (Key::new(1, &[0]), Key::new(2, &[0]));
    assert!(table.take(&old, seconds(10), 2));
    (table, old, new)
}

fn peek_against_reclaim(name: &'static str, peek_old: bool, outcomes: [u64; 2]) {
    explore(name, outcomes, move || {
        let (table, old, new) = table();
        let peeker = table.thread(if peek_old { &old } else { &new }, |table, key| table.remaining(key, seconds(11)));
        let reclaimer = thread(move || u64::from(table.take(&new, quarters(50), 1)));
        scene([peeker, reclaimer], |[seen, taken]| {
            assert_eq!(taken, 1);
            seen
        })
    });
}

#[test]
fn a_peek_sees_its_own_key() {
    // At second 11: key 1 has 1, or 2 if it was forgotten; key 2 has 2 while absent, and none by its own word.
    peek_against_reclaim("peek: of the old key", true, [1, 2]);
    peek_against_reclaim("peek: of the new key", false, [2, 0]);
}

fn refusal_against_reclaim(name: &'static str, refuse_old: bool, outcomes: Vec<Duration>) {
    explore(name, outcomes, move || {
        let (table, old, new) = table();
        let refused = table.thread(if refuse_old { &old } else { &new }, |table, key| {
            table.model.take(key, &table.limit, seconds(11), 2).retry_after().expect("a refusal")
        });
        let reclaimer = thread(move || {
            assert!(table.take(&new, quarters(50), 1));
            Duration::ZERO
        });
        scene([refused, reclaimer], |[retry, _]| retry)
    });
}

#[test]
fn a_refusal_rests_on_its_own_key() {
    // The next instant after key 1's, or key 2's: no room until then.
    let tick = Duration::from_nanos(1);
    // At second 11: 2 tokens of key 1 in 1 s, or no room until key 2 is idle at 13.5.
    // Or no room while key 2 is being inserted: at once again.
    // Or, where that stays so, until what is being made as of 12.5 can be idle.
    let mut outcomes = vec![seconds(1), quarters(10) + tick, tick];
    if patience_may_end() {
        outcomes.push(quarters(6));
    }
    refusal_against_reclaim("peek: refusal of the old key", true, outcomes);
    // No room until key 1 is idle at 12; then 2 tokens of key 2, at 13.5; or at 12.5, when it is being made by a clock
    // that shows 12.5 and nothing has been taken yet.
    let mut outcomes = vec![seconds(1) + tick, quarters(6), quarters(10)];
    if patience_may_end() {
        outcomes.push(tick);
    }
    refusal_against_reclaim("peek: refusal of the new key", false, outcomes);
}

#[test]
fn a_peek_finds_a_key_that_moves() {
    // Key 1, idle since 11, is given up for key 2 and comes back in the other slot: full, or as it was charged.
    explore("peek: of a key that moves", [(3, 0), (0, 0), (2, 0)], || {
        let table = Shared::new(Table::new(2, 3, RefuseNew));
        let (old, new) = (Key::new(1, &[0, 1]), Key::new(2, &[0]));
        assert!(table.take(&old, seconds(10), 1));
        let peeker = table.thread(&old, |table, old| table.remaining(old, seconds(10)));
        let mover = table.thread(&old, move |table, old| {
            assert!(table.take(&new, seconds(12), 1) && table.take(old, seconds(12), 3));
            0
        });
        scene([peeker, mover], move |[seen, _]| {
            assert_eq!(table.model.owners(&old), 1);
            (seen, table.remaining(&old, seconds(12)))
        })
    });
}

#[test]
fn a_peek_of_a_key_that_comes_back_is_not_of_the_one_between() {
    // Key 2 is idle, gives its slot to key 1, which keeps 1 of 2 at second 10, and has it again at 13 with nothing left at
    // 10. A peek at 10 sees key 2 full or empty, and never key 1.
    explore("peek: of a key that comes back", [2, 0], || {
        let table = Shared::new(Table::new(1, 2, RefuseNew));
        let (between, key) = (Key::new(1, &[0]), Key::new(2, &[0]));
        assert!(table.take(&key, seconds(5), 1));
        let peeker = table.thread(&key, |table, key| table.remaining(key, seconds(10)));
        let others = thread(move || {
            assert!(table.take(&between, seconds(10), 1) && table.take(&key, seconds(13), 1));
            0
        });
        scene([peeker, others], |[seen, _]| seen)
    });
}

#[test]
fn a_refusal_rests_on_its_own_pending_slot() {
    // Key 1 is pending as of 20, its inserter stopped for ever; another adopts it, and at 30 its slot goes to key 2. A late
    // request of key 2 finds no room: for now, until what is pending can be idle at 20, or until key 1 is at 21. Or its own word, pending as of 30 or live
    // with one token taken. Never the pending word of key 1, which would tell it to come at 19.
    let tick = Duration::from_nanos(1);
    let mut outcomes = vec![tick, seconds(11) + tick, seconds(19), seconds(20)];
    if patience_may_end() || !loads_may_be_stale() {
        outcomes.push(seconds(10));
    }
    explore("peek: refusal on a pending slot", outcomes, move || {
        let table = Shared::new(Table::new(1, 2, RefuseNew));
        let (rival, key) = (Key::new(1, &[0]), Key::new(2, &[0]));
        assert!(table.model.stall(&rival, 0, seconds(20), 2));
        let refused = table.thread(&key, |table, key| {
            table.model.take(key, &table.limit, seconds(10), 1).retry_after().expect("a refusal")
        });
        let others = thread(move || {
            assert!(table.take(&rival, seconds(20), 1) && table.take(&key, seconds(30), 1));
            Duration::ZERO
        });
        scene([refused, others], |[retry, _]| retry)
    });
}

#[test]
fn a_refusal_takes_no_slot() {
    // More than ever fits, of a key that nobody has, beside one that needs the only slot.
    explore("peek: refusal of a new key beside an inserter", [(false, true, (1, 1), 0)], || {
        let table = Shared::new(Table::new(1, 2, RefuseNew));
        let (refused, key) = (Key::new(1, &[0]), Key::new(2, &[0]));
        let refuser = sharing(&table, move |table| table.take(&refused, seconds(10), 3));
        let inserter = table.thread(&key, |table, key| table.take(key, seconds(10), 1));
        scene([refuser, inserter], move |[a, b]| (a, b, table.state(&key, seconds(10)), table.model.in_transit()))
    });
}
