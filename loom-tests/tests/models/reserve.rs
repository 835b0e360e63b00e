//! Reservations: an instant of its own for each, also while others are cancelled.

use std::time::Duration;

use tollgate::OnFull::RefuseNew;
use tollgate::model::{Key, Reserved, Single};
use tollgate::{Algorithm, Quota};
use tollgate_loom_tests::{Body, Shared, Table, explore, explore_alike, full, quarters, scene, seconds, sharing};

const WAIT: Duration = Duration::from_secs(60);

fn reserve(table: &Table, key: &Key, cost: u64) -> Option<(Duration, Reserved)> {
    table.model.reserve(key, &table.limit, seconds(10), cost, WAIT)
}

/// Reserves one token at second 10, and says when it may go.
fn reserver(table: &Shared<Table>, key: &Key) -> Body<u64> {
    table.thread(key, |table, key| 10 + reserve(table, key, 1).expect("less than a minute").0.as_secs())
}

#[test]
fn every_reservation_has_its_own_instant() {
    explore("reserve: 2 threads, new key", [(10, 11), (11, 10)], || {
        let table = Shared::new(Table::new(2, 1, RefuseNew));
        let key = Key::new(1, &[0, 1]);
        scene([reserver(&table, &key), reserver(&table, &key)], move |[a, b]| {
            assert_eq!(table.model.owners(&key), 1);
            (a, b)
        })
    });
}

/// Of three reservations made before, at 10, 11 and 12, one is cancelled while another comes; then a last one comes.
fn cancel_against_reserve(name: &'static str, cancelled: usize, outcomes: &'static [(u64, u64)]) {
    explore(name, outcomes.iter().copied(), move || {
        let table = Shared::new(Table::new(1, 1, RefuseNew));
        let key = Key::new(1, &[0]);
        let made = [0; 3].map(|_| reserve(&table, &key, 1).expect("less than a minute").1);
        let canceller = table.thread(&key, move |table, key| {
            table.model.cancel(key, &table.limit, seconds(10), &made[cancelled]);
            0
        });
        scene([canceller, reserver(&table, &key)], move |[_, b]| {
            (b, 10 + reserve(&table, &key, 1).expect("less than a minute").0.as_secs())
        })
    });
}

#[test]
fn a_cancelled_instant_is_given_out_once() {
    // The last one: its instant is free again, unless somebody already stands behind it.
    cancel_against_reserve("reserve: against cancel of the last", 2, &[(12, 13), (13, 14)]);
    // Others stand behind it: nothing comes back.
    cancel_against_reserve("reserve: against cancel of the middle", 1, &[(13, 14)]);
}

#[test]
fn two_cancels() {
    // Of 11 and 12 both are cancelled: in the better order both come back, else the first hides behind the second.
    explore("reserve: 2 cancels", [11, 12], || {
        let table = Shared::new(Table::new(1, 1, RefuseNew));
        let key = Key::new(1, &[0]);
        let made = [0; 3].map(|_| reserve(&table, &key, 1).expect("less than a minute").1);
        let cancel = |i: usize| {
            table.thread(&key, move |table, key| table.model.cancel(key, &table.limit, seconds(10), &made[i]))
        };
        scene([cancel(1), cancel(2)], move |_| 10 + reserve(&table, &key, 1).expect("less than a minute").0.as_secs())
    });
}

#[test]
fn a_queue_keeps_its_distance() {
    // In a queue two requests never leave less than a token apart: a cancelled cost of 2 at 11 to 13 comes back if nobody
    // stands behind it.
    explore("reserve: queue, cancel of cost 2 against cost 1", [(11, 12), (13, 14)], || {
        let quota = Quota::per_second(1).with_burst(8).with_algorithm(Algorithm::LeakyQueue);
        let table = Shared::new(Table::with(1, quota, RefuseNew));
        let key = Key::new(1, &[0]);
        let _first = reserve(&table, &key, 1).expect("goes at 10");
        let (_, second) = reserve(&table, &key, 2).expect("goes at 11");
        let canceller = table.thread(&key, move |table, key| {
            table.model.cancel(key, &table.limit, seconds(10), &second);
            0
        });
        scene([canceller, reserver(&table, &key)], move |[_, b]| {
            (b, 10 + reserve(&table, &key, 1).expect("less than a minute").0.as_secs())
        })
    });
}

#[test]
fn a_late_cancel_makes_nothing_up() {
    // Burst 1; taken at 10, reserved for 11 and for 12. The first reservation is cancelled at 12, when its instant has
    // passed; then whoever comes at 12 finds the second going, and nothing left.
    explore("reserve: cancel of a passed instant", [false], || {
        let table = Shared::new(Table::new(1, 1, RefuseNew));
        let key = Key::new(1, &[0]);
        let made = [0; 3].map(|_| reserve(&table, &key, 1).expect("less than a minute").1);
        let canceller = table.thread(&key, move |table, key| {
            table.model.cancel(key, &table.limit, seconds(12), &made[1]);
            false
        });
        let taker = table.thread(&key, |table, key| table.take(key, seconds(12), 1));
        scene([canceller, taker], |[_, b]| b)
    });
}

#[test]
fn cancel_against_reclaim() {
    // The one reservation is cancelled while the idle slot goes to another key, which keeps all it took.
    explore("reserve: cancel against reclaim", [(true, (1, 0))], || {
        let table = Shared::new(Table::new(1, 1, RefuseNew));
        let (old, new) = (Key::new(1, &[0]), Key::new(2, &[0]));
        let (_, made) = reserve(&table, &old, 1).expect("goes at 10");
        let canceller = table.thread(&old, move |table, old| {
            table.model.cancel(old, &table.limit, quarters(42), &made);
            false
        });
        let taker = table.thread(&new, |table, new| table.take(new, seconds(12), 1));
        scene([canceller, taker], move |[_, b]| (b, table.state(&new, seconds(12))))
    });
}

#[test]
fn a_refund_gives_nobody_a_promised_instant() {
    // Empty at 10. One reserves, and is promised 11 if he comes first: then a refund at 10 gives nothing back, and whoever
    // comes at 11 finds that instant gone. (What was refunded before comes back: at 10 one of the two may have it.)
    for algorithm in [Algorithm::TokenBucket, Algorithm::LeakyQueue] {
        let name = match algorithm {
            Algorithm::TokenBucket => "reserve: against refund and take of the promised instant",
            _ => "reserve: queue, against refund and take of the promised instant",
        };
        explore(name, [(11, false), (10, true), (12, true)], move || {
            // As many may wait in a queue.
            let burst = if algorithm == Algorithm::LeakyQueue { 2 } else { 1 };
            let quota = Quota::per_second(1).with_burst(burst).with_algorithm(algorithm);
            let bucket = Shared::new(Single::new(quota));
            assert!(bucket.take(seconds(10), 1));
            let waiter =
                sharing(&bucket, |bucket| 10 + bucket.reserve(seconds(10), 1, WAIT).expect("a minute").0.as_secs());
            let newcomer = sharing(&bucket, |bucket| {
                bucket.refund(seconds(10), 1);
                u64::from(bucket.take(seconds(11), 1))
            });
            scene([waiter, newcomer], |[go_at, taken]| (go_at, taken == 1))
        });
    }
    // The same in a slot of a table.
    explore("reserve: in a slot, against refund and take", [(11, false), (10, true), (12, true)], || {
        let table = Shared::new(Table::new(1, 1, RefuseNew));
        let key = Key::new(1, &[0]);
        assert!(table.take(&key, seconds(10), 1));
        let newcomer = table.thread(&key, |table, key| {
            table.refund(key, seconds(10), 1);
            u64::from(table.take(key, seconds(11), 1))
        });
        scene([reserver(&table, &key), newcomer], |[go_at, taken]| (go_at, taken == 1))
    });
}

#[test]
fn three_reservations() {
    if !full() {
        return;
    }
    let orders = [(10, 11, 12), (10, 12, 11), (11, 10, 12), (11, 12, 10), (12, 10, 11), (12, 11, 10)];
    explore_alike("reserve: 3 threads", 3, orders, || {
        let table = Shared::new(Table::new(1, 1, RefuseNew));
        let key = Key::new(1, &[0]);
        assert!(table.take(&key, seconds(9), 1));
        let threads = [0; 3].map(|_| reserver(&table, &key));
        scene(threads, |[a, b, c]| (a, b, c))
    });
}
