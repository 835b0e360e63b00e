//! A limit changes its quota: what a key used under the old one is carried over once, and nothing is sold under both.

use tollgate::OnFull::RefuseNew;
use tollgate::model::Key;
use tollgate::{Limit, Quota};
use tollgate_loom_tests::{Body, Shared, Table, explore, explore_bounded, full, loads_may_be_stale, scene, seconds};

/// A key that has one of two tokens left at second 10, when its limit becomes one of a burst of 4.
fn changed() -> (Shared<Table>, Key, Limit) {
    let table = Shared::new(Table::new(3, 2, RefuseNew));
    let key = Key::new(1, &[0, 1, 2]);
    assert!(table.take(&key, seconds(10), 1));
    let wider = table.model.change(&table.limit, Quota::per_second(1).with_burst(4), seconds(10));
    (table, key, wider)
}

fn takes(table: &Shared<Table>, key: &Key, limit: Limit, cost: u64) -> Body<bool> {
    table.thread(key, move |table, key| table.model.take(key, &limit, seconds(10), cost).is_allowed())
}

#[test]
fn the_old_limit_against_the_new() {
    // Who takes under the old one first leaves the other two of four; who comes after him under the new one takes the rest.
    explore("change: take under the old against take under the new", [(true, true, 1), (false, true, 2)], || {
        let (table, key, wider) = changed();
        let threads = [takes(&table, &key, table.limit, 1), takes(&table, &key, wider, 1)];
        scene(threads, move |[a, b]| (a, b, table.model.peek(&key, &wider, seconds(10), 1).remaining()))
    });
}

#[test]
fn two_first_requests() {
    // Three are left. Both may close the old bucket and begin the new one; what was used is carried over once. With two
    // preemptions loom takes minutes, as every load may be stale; with loads as read-modify-writes, it does not.
    let preemptions = if full() || !loads_may_be_stale() { 2 } else { 1 };
    explore_bounded("change: 2 take under the new", preemptions, [(true, true, 0)], || {
        let (table, key, wider) = changed();
        let threads = [takes(&table, &key, wider, 2), takes(&table, &key, wider, 1)];
        scene(threads, move |[a, b]| (a, b, table.model.peek(&key, &wider, seconds(10), 1).remaining()))
    });
}

#[test]
fn a_cancelled_debit_of_the_old_limit() {
    // The one that was taken under the old limit is cancelled: carried over before that or not, it comes back at most once.
    explore("change: cancel under the old against take under the new", [3, 2], || {
        let table = Shared::new(Table::new(3, 2, RefuseNew));
        let key = Key::new(1, &[0, 1, 2]);
        let minute = std::time::Duration::from_secs(60);
        let made = table.model.reserve(&key, &table.limit, seconds(10), 1, minute).expect("at once").1;
        let wider = table.model.change(&table.limit, Quota::per_second(1).with_burst(4), seconds(10));
        let canceller = table.thread(&key, move |table, key| {
            table.model.cancel(key, &table.limit, seconds(10), &made);
            true
        });
        scene([canceller, takes(&table, &key, wider, 1)], move |[_, taken]| {
            assert!(taken);
            table.model.peek(&key, &wider, seconds(10), 1).remaining()
        })
    });
}
