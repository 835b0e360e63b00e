//! Every slot is busy, and a new key evicts the one nearest to idle: it inherits the debt, and the total stays bounded.

use tollgate::OnFull::EvictNearestIdle;
use tollgate::model::Key;
use tollgate_loom_tests::{
    Body, Shared, Table, explore, explore_bounded, full, loads_may_be_stale, patience_may_end, quarters, scene,
    seconds, thread,
};

/// Takes one token at 10.25, so many times, and counts what was admitted.
fn takes(table: &Shared<Table>, key: &Key, times: u32) -> Body<u32> {
    table.thread(key, move |table, key| (0..times).map(|_| u32::from(table.take(key, quarters(41), 1))).sum())
}

#[test]
fn one_caller_who_does_what_he_is_told() {
    // No race at all: refused with a retry, back after exactly that, admitted (P2); and the slot goes on working.
    explore("evict: retry after exactly the retry", [(true, true)], || {
        let table = Shared::new(Table::new(1, 2, EvictNearestIdle));
        let keys = [1, 2, 3].map(|id| Key::new(id, &[0]));
        let caller = thread(move || {
            assert!(table.take(&keys[0], seconds(10), 2));
            let refused = table.model.take(&keys[1], &table.limit, seconds(10), 1);
            let retry = refused.retry_after().expect("a refusal");
            let admitted = table.take(&keys[1], seconds(10) + retry, 1);
            assert_eq!(table.model.in_transit(), 0, "a slot is stuck between owners");
            (admitted, table.take(&keys[2], seconds(60), 2))
        });
        scene([caller], |[a]| a)
    });
}

#[test]
fn against_the_evicted_key() {
    // One slot, burst 3, one token gone at 10: of four requests at 10.25 two are admitted, whoever evicts whom; fewer only where
    // each was refused while the other's had the slot, and lost it to him.
    let mut outcomes = vec![(2, 0), (1, 1), (0, 2)];
    if patience_may_end() {
        outcomes.extend([(1, 0), (0, 1)]);
    }
    explore("evict: 2 keys, 2 takes each, 1 slot", outcomes, || {
        let table = Shared::new(Table::new(1, 3, EvictNearestIdle));
        let keys = [Key::new(1, &[0]), Key::new(2, &[0])];
        assert!(table.take(&keys[0], seconds(10), 1));
        let threads = [takes(&table, &keys[0], 2), takes(&table, &keys[1], 2)];
        scene(threads, move |[a, b]| {
            assert_eq!(table.model.in_transit(), 0);
            assert_eq!(table.model.owners(&keys[0]) + table.model.owners(&keys[1]), 1);
            // Nothing is left for anybody, but what nobody took.
            assert_eq!(table.take(&Key::new(3, &[0]), quarters(41), 1), a + b < 2);
            (a, b)
        })
    });
}

#[test]
fn no_debit_on_a_foreign_key() {
    // Slot 0 is nearer to idle. The newcomer takes 1 on top of its 1; its owner's 2 count there or, if it came too
    // late, on top of whatever it evicts in turn. Six tokens in all, two gone before.
    explore("evict: the nearest of 2 slots, and its owner", [(true, true, 1)], || {
        let table = Shared::new(Table::new(2, 3, EvictNearestIdle));
        let (near, far, new) = (Key::new(1, &[0, 1]), Key::new(2, &[1]), Key::new(3, &[0, 1]));
        assert!(table.take(&near, quarters(39), 1) && table.take(&far, seconds(10), 1));
        let newcomer = table.thread(&new, |table, new| table.take(new, quarters(41), 1));
        let owner = table.thread(&near, |table, near| table.take(near, quarters(41), 1));
        scene([newcomer, owner], move |[a, b]| {
            assert_eq!(table.model.in_transit(), 0);
            let owners = [&near, &far, &new].map(|key| table.model.owners(key));
            assert!(owners.iter().all(|&n| n <= 1) && owners.iter().sum::<usize>() == 2, "{owners:?}");
            (a, b, table.model.owners(&new))
        })
    });
}

#[test]
fn two_newcomers() {
    // Burst 2, one gone: the slot has one more, and one newcomer gets it.
    explore("evict: 2 new keys, 1 slot", [(1, 0), (0, 1)], || {
        let table = Shared::new(Table::new(1, 2, EvictNearestIdle));
        let keys = [1, 2, 3].map(|id| Key::new(id, &[0]));
        assert!(table.take(&keys[0], seconds(10), 1));
        let threads = [takes(&table, &keys[1], 1), takes(&table, &keys[2], 1)];
        scene(threads, move |[a, b]| {
            assert_eq!(table.model.in_transit(), 0);
            (a, b)
        })
    });
    // Of one key: its one slot has one more, and its second request finds no smaller debt elsewhere. Whoever was displaced
    // is counted, also by the inserter that then finds its key in the other slot.
    let outcomes = [(1, 0, true), (0, 1, true)];
    explore("evict: 2 inserters of one new key, 2 slots", outcomes, || {
        let table = Shared::new(Table::new(2, 2, EvictNearestIdle));
        let new = Key::new(3, &[0, 1]);
        let old = [0, 1].map(|slot| Key::new(100 + slot as u64, &[slot]));
        assert!(old.iter().all(|key| table.take(key, seconds(10), 1)));
        let threads = [takes(&table, &new, 1), takes(&table, &new, 1)];
        scene(threads, move |[a, b]| {
            assert_eq!((table.model.in_transit(), table.model.owners(&new)), (0, 1));
            let gone = old.iter().filter(|key| table.model.owners(key) == 0).count();
            (a, b, table.model.evictions() == gone as u64)
        })
    });
}

#[test]
fn three_keys_on_one_slot() {
    if !full() {
        return;
    }
    let mut outcomes = vec![(1, 1, 0), (1, 0, 1), (0, 1, 1)];
    // With three threads and loads that are read-modify-writes loom reaches this as well.
    if patience_may_end() || !loads_may_be_stale() {
        // The owner and one newcomer are refused while the other newcomer has claimed the slot.
        outcomes.extend([(0, 0, 1), (0, 1, 0)]);
    }
    explore_bounded("evict: owner and 2 newcomers, 1 slot", 1, outcomes, || {
        let table = Shared::new(Table::new(1, 3, EvictNearestIdle));
        let keys = [1, 2, 3].map(|id| Key::new(id, &[0]));
        assert!(table.take(&keys[0], seconds(10), 1));
        let threads = keys.each_ref().map(|key| takes(&table, key, 1));
        scene(threads, move |[a, b, c]| {
            assert_eq!(table.model.in_transit(), 0);
            (a, b, c)
        })
    });
}
