//! Debits that are undone beside each other, and beside whoever takes: what becomes free is nobody else's.
//!
//! A token is a second, so what each owns can be read off the stamp: who took two of a full bucket at second 10 owns
//! `[10, 12)`. Every model ends at second 12 with somebody who takes all there is, and with whoever holds tokens using
//! them: both together are no more than the burst.

use std::time::Duration;

use tollgate::OnFull::RefuseNew;
use tollgate::model::{Held, Key, ModelClock, Reserved, Single};
use tollgate::{Algorithm, Quota};
use tollgate_loom_tests::{Body, Shared, Table, explore, large, quarters, scene, seconds, sharing};

const WAIT: Duration = Duration::from_secs(60);

/// What a thread was admitted, and what it holds.
type Did = (u64, Held);

fn bucket(burst: u64) -> Shared<Single> {
    Shared::new(Single::new(Quota::per_second(1).with_burst(burst)))
}

/// Two in four seconds.
fn log() -> Shared<Single> {
    let quota = Quota::new(2, seconds(4)).expect("a quota").with_algorithm(Algorithm::SlidingLog);
    Shared::new(Single::new(quota))
}

fn reserve(bucket: &Single, cost: u64) -> Reserved {
    bucket.reserve(seconds(10), cost, WAIT).expect("less than a minute").1
}

fn cancels(bucket: &Shared<Single>, reserved: Reserved, now: Duration) -> Body<Did> {
    sharing(bucket, move |bucket| {
        bucket.cancel(now, &reserved);
        (0, Held::NONE)
    })
}

/// Takes two by a handle, if it can: one is used and one held.
fn leases(bucket: &Single) -> Did {
    let mut held = Held::NONE;
    let used = bucket.take_ahead(seconds(10), &mut held, 1, 2);
    (u64::from(used), held)
}

/// At 12: what is there, and whether one of those held can be used beside that.
fn all_at_12(bucket: &Single, mut held: Held) -> (u64, u64) {
    let taken = bucket.take_up_to(seconds(12), 100);
    (taken, u64::from(bucket.take_ahead(seconds(12), &mut held, 1, 2)))
}

#[test]
fn a_reservation_cancelled_beside_a_lease() {
    // Reserved [10, 11); the handle then owns [11, 13), or [10, 12) if that was cancelled before: lapsed at 12.
    explore("undo: cancel against a handle", [(3, 1), (4, 0)], || {
        let bucket = bucket(4);
        let reserved = reserve(&bucket, 1);
        let handle = sharing(&bucket, leases);
        scene([cancels(&bucket, reserved, seconds(10)), handle], move |[_, (used, held)]| {
            assert_eq!(used, 1);
            all_at_12(&bucket, held)
        })
    });
}

#[test]
fn a_reservation_cancelled_beside_a_handle_that_gives_back() {
    // The handle came after the reservation, so only it gives back: two are left of four.
    explore("undo: cancel of the first, against giving back", [2], || {
        let bucket = bucket(4);
        let reserved = reserve(&bucket, 1);
        let (_, held) = leases(&bucket);
        scene([cancels(&bucket, reserved, seconds(10)), gives_back(&bucket, held)], move |_| {
            bucket.remaining(seconds(10))
        })
    });
    // The reservation came after: both come back if it is cancelled first.
    explore("undo: cancel of the last, against giving back", [2, 3], || {
        let bucket = bucket(4);
        let (_, held) = leases(&bucket);
        let reserved = reserve(&bucket, 1);
        scene([cancels(&bucket, reserved, seconds(10)), gives_back(&bucket, held)], move |_| {
            bucket.remaining(seconds(10))
        })
    });
}

fn gives_back(bucket: &Shared<Single>, held: Held) -> Body<Did> {
    sharing(bucket, move |bucket| {
        let mut held = held;
        bucket.give_back(seconds(10), &mut held);
        (0, held)
    })
}

#[test]
fn two_cancels_and_a_taker() {
    // [10, 12) and [12, 14) are reserved, and cancelled in either order while another takes all there is at 12: four, if
    // the second was the last then, else two. Never more, with what is there afterwards.
    explore("undo: 2 cancels against take of everything", [(4, 0), (2, 0)], || {
        let bucket = bucket(4);
        let (first, second) = (reserve(&bucket, 2), reserve(&bucket, 2));
        let taker = sharing(&bucket, |bucket| (bucket.take_up_to(seconds(12), 100), Held::NONE));
        let threads = [cancels(&bucket, first, seconds(10)), cancels(&bucket, second, seconds(12)), taker];
        scene(threads, move |[_, _, (taken, _)]| (taken, bucket.take_up_to(seconds(12), 100)))
    });
}

#[test]
fn a_debit_undone_beside_one_made_and_undone() {
    // Each reserves one and cancels it. The one who cancels while the other stands behind him loses his.
    explore("undo: 2 reserve and cancel", [3, 4], || {
        let bucket = bucket(4);
        let threads = [0; 2].map(|_| sharing(&bucket, |bucket| bucket.reserve_and_cancel(seconds(10))));
        scene(threads, move |_| bucket.remaining(seconds(10)))
    });
}

/// Three keys in a slot each, of which one was taken at `taken_at`, with a limit of their own for the second and third.
fn three_keys(burst: [u64; 2], taken_at: u64) -> (Shared<Table>, [Key; 3], tollgate::Limit) {
    let table = Shared::new(Table::new(3, burst[0], RefuseNew));
    let keys = [1, 2, 3].map(|id| Key::new(id, &[usize::try_from(id).expect("small") - 1]));
    let other = table.model.limit(Quota::per_second(1).with_burst(burst[1]));
    for key in &keys {
        assert!(table.take(key, seconds(taken_at), 1));
    }
    (table, keys, other)
}

#[test]
fn a_set_rolled_back_beside_a_lease() {
    // The set takes one of the first key and fails at the second, which another has taken, who also leases the first key.
    // (admitted as a set, used of the first key, what is taken there at 12, what is used then of what was held)
    let outcomes = [(true, 1, 3, 1), (false, 1, 4, 0), (false, 1, 3, 1)];
    explore("undo: rollback of a set against a handle", outcomes, || {
        let (table, [first, second, _], single) = three_keys([4, 1], 9);
        let set = table.thread(&(first.clone(), second.clone(), single), |table, (first, second, single)| {
            let all = table.model.take_all(&[(first, &table.limit), (second, single)], seconds(10));
            (u64::from(all), Held::NONE)
        });
        let other = table.thread(&(first.clone(), second, single), |table, (first, second, single)| {
            let mut held = Held::NONE;
            let _ = table.model.take(second, single, seconds(10), 1).is_allowed();
            let used = table.model.take_ahead(first, &table.limit, seconds(10), &mut held, 1, 2);
            (u64::from(used), held)
        });
        scene([set, other], move |[(all, _), (used, mut held)]| {
            let taken = table.model.take_up_to(&first, &table.limit, seconds(12), 100);
            let later = table.model.take_ahead(&first, &table.limit, seconds(12), &mut held, 1, 2);
            (all == 1, used, taken, u64::from(later))
        })
    });
}

/// The same three keys, on a clock that shows 10.
fn three_keys_on_time(
    burst: [u64; 2],
    taken_at: u64,
) -> (Shared<ModelClock>, Shared<Table>, [Key; 3], tollgate::Limit) {
    let clock = Shared::new(ModelClock::new(seconds(10)));
    let table = Shared::new(Table::with_clock(3, Quota::per_second(1).with_burst(burst[0]), &clock));
    let keys = [1, 2, 3].map(|id| Key::new(id, &[usize::try_from(id).expect("small") - 1]));
    let other = table.model.limit(Quota::per_second(1).with_burst(burst[1]));
    for key in &keys {
        assert!(table.take(key, seconds(taken_at), 1));
    }
    (clock, table, keys, other)
}

/// A set of the first two keys at 10.
fn sets(table: &Shared<Table>, keys: &[Key; 3], single: &tollgate::Limit) -> Body<Did> {
    let (first, second, single) = (keys[0].clone(), keys[1].clone(), *single);
    sharing(table, move |table| {
        let all = table.model.take_all(&[(&first, &table.limit), (&second, &single)], seconds(10));
        (u64::from(all), Held::NONE)
    })
}

#[test]
fn a_set_rolled_back_behind_one_who_has_gone() {
    // The set takes one of the first key; another takes one behind it, and the second key. What the set took comes back.
    explore("undo: rollback of a set behind a take", [(1, 0, 2), (0, 1, 3)], || {
        let (_, table, keys, single) = three_keys_on_time([4, 1], 9);
        let taker = table.thread(&keys, move |table, keys| {
            assert!(table.take(&keys[0], seconds(10), 1));
            (u64::from(table.model.take(&keys[1], &single, seconds(10), 1).is_allowed()), Held::NONE)
        });
        scene([sets(&table, &keys, &single), taker], move |[(all, _), (second, _)]| {
            (all, second, table.remaining(&keys[0], seconds(10)))
        })
    });
}

#[test]
fn a_set_rolled_back_when_time_has_paid() {
    // The same, at 11: by then what the set took has come back by itself.
    explore("undo: rollback of a set behind a later take", [(1, 3), (0, 3)], || {
        let (clock, table, keys, single) = three_keys_on_time([4, 1], 9);
        let taker = table.thread(&keys, move |table, keys| {
            clock.advance(seconds(11));
            let _ = table.model.take(&keys[1], &single, seconds(11), 1).is_allowed();
            assert!(table.take(&keys[0], seconds(11), 1));
            (0, Held::NONE)
        });
        scene([sets(&table, &keys, &single), taker], move |[(all, _), _]| (all, table.remaining(&keys[0], seconds(11))))
    });
}

#[test]
fn a_set_rolled_back_beside_a_lease_on_time() {
    // A handle may hold what lies behind: nothing comes back.
    let outcomes = [(1, 1, 3, 1), (0, 1, 4, 0), (0, 1, 3, 1)];
    explore("undo: rollback of a set against a handle, on time", outcomes, || {
        let (_, table, keys, single) = three_keys_on_time([4, 1], 9);
        let other = table.thread(&keys, move |table, keys| {
            let mut held = Held::NONE;
            let _ = table.model.take(&keys[1], &single, seconds(10), 1).is_allowed();
            let used = table.model.take_ahead(&keys[0], &table.limit, seconds(10), &mut held, 1, 2);
            (u64::from(used), held)
        });
        scene([sets(&table, &keys, &single), other], move |[(all, _), (used, mut held)]| {
            let taken = table.model.take_up_to(&keys[0], &table.limit, seconds(12), 100);
            let later = table.model.take_ahead(&keys[0], &table.limit, seconds(12), &mut held, 1, 2);
            (all, used, taken, u64::from(later))
        })
    });
}

#[test]
fn a_set_rolled_back_before_one_who_waits() {
    // (admitted as a set, when the one goes who reserved, when the next one would)
    explore("undo: rollback of a set against a reservation", [(1, 11, 12), (0, 11, 12), (0, 10, 11)], || {
        let (_, table, keys, single) = three_keys_on_time([1, 1], 8);
        let go_at = |table: &Table, key: &Key| {
            let made = table.model.reserve(key, &table.limit, seconds(10), 1, WAIT).expect("less than a minute");
            10 + made.0.as_secs()
        };
        let waiter = table.thread(&keys, move |table, keys| {
            let _ = table.model.take(&keys[1], &single, seconds(10), 1).is_allowed();
            (go_at(table, &keys[0]), Held::NONE)
        });
        scene([sets(&table, &keys, &single), waiter], move |[(all, _), (at, _)]| (all, at, go_at(&table, &keys[0])))
    });
}

#[test]
fn a_set_rolled_back_behind_one_who_cancels() {
    // One who is cancelled after that has moved forward: what he left is not where he left it.
    explore("undo: rollback of a set behind one who cancels", [(true, 1), (false, 1), (false, 2)], || {
        let (_, table, [first, second, _], single) = three_keys_on_time([2, 1], 9);
        let set = table.thread(&(first.clone(), second.clone(), single), |table, (first, second, single)| {
            table.model.take_all(&[(first, &table.limit), (second, single)], seconds(10))
        });
        let other = table.thread(&(first.clone(), second, single), |table, (first, second, single)| {
            let _ = table.model.take(second, single, seconds(10), 1).is_allowed();
            let (_, made) = table.model.reserve(first, &table.limit, seconds(10), 1, WAIT).expect("a minute");
            table.model.cancel(first, &table.limit, seconds(10), &made);
            false
        });
        scene([set, other], move |[all, _]| (all, table.remaining(&first, seconds(10))))
    });
}

#[test]
fn what_has_moved_forward_is_marked() {
    // The set takes [10, 12) of the first key, another [12, 13) of it, and the second key. Rolled back, that is [10, 11) now. A
    // handle takes [11, 13), of which it holds a half; that the other is cancelled frees nothing of it.
    // (admitted as a set, what is taken of the first key at 12, what is used then of what was held)
    explore("undo: rollback of a set, a handle, and cancel", [(true, 3, 1), (false, 5, 1)], || {
        let (_, table, [first, second, _], single) = three_keys_on_time([6, 1], 9);
        let slow = table.model.limit(Quota::new(1, seconds(2)).expect("a quota").with_burst(3));
        let keys = (first.clone(), second);
        let set = table.thread(&keys, move |table, (first, second)| {
            (table.model.take_all(&[(first, &slow), (second, &single)], seconds(10)), None)
        });
        let other = table.thread(&keys, move |table, (first, second)| {
            let _ = table.model.take(second, &single, seconds(10), 1).is_allowed();
            let made = table.model.reserve(first, &table.limit, seconds(10), 1, WAIT).expect("at once").1;
            (true, Some(made))
        });
        scene([set, other], move |[(all, _), (_, made)]| {
            let mut held = Held::NONE;
            assert!(table.model.take_ahead(&first, &table.limit, seconds(10), &mut held, 1, 2));
            table.model.cancel(&first, &table.limit, seconds(10), &made.expect("made"));
            let taken = table.model.take_up_to(&first, &table.limit, seconds(12), 100);
            let later = table.model.take_ahead(&first, &table.limit, seconds(12), &mut held, 1, 2);
            (all, taken, u64::from(later))
        })
    });
}

#[test]
fn a_set_rolled_back_late() {
    // It took one at 10. The clock goes on to 12, when time has paid for that, and another takes the two there are: nothing
    // comes back behind it.
    explore("undo: rollback of a set that time has paid for", [(true, 2), (false, 2)], || {
        let clock = Shared::new(ModelClock::new(seconds(10)));
        let table = Shared::new(Table::with_clock(2, Quota::per_second(1).with_burst(2), &clock));
        let keys = [1, 2].map(|id| Key::new(id, &[usize::try_from(id).expect("small") - 1]));
        // One left of the first, two of which were taken at 9 and 10; one of the second.
        keys.iter().for_each(|key| assert!(table.take(key, seconds(9), 1) && table.take(key, seconds(10), 1)));
        let set = table.thread(&keys, |table, [first, second]| {
            u64::from(table.model.take_all(&[(first, &table.limit), (second, &table.limit)], seconds(10)))
        });
        let other = table.thread(&keys, move |table, [first, second]| {
            table.take(second, seconds(10), 1);
            clock.advance(seconds(12));
            table.model.take_up_to(first, &table.limit, seconds(12), 9)
        });
        let first = keys[0].clone();
        scene([set, other], move |[all, taken]| {
            (all == 1, taken + table.model.take_up_to(&first, &table.limit, seconds(12), 9))
        })
    });
}

#[test]
fn two_sets_rolled_back() {
    if !large() {
        return;
    }
    // Both take of the first key, which has two left, and meet at the others, of which they want the same in another order. Who
    // is rolled back while the other stands behind him loses one of the first key; nobody gets one that is not there.
    let outcomes = [
        (true, false, [1, 0, 0]),
        (true, false, [0, 0, 0]),
        (false, true, [1, 0, 0]),
        (false, true, [0, 0, 0]),
        (false, false, [2, 1, 1]),
        (false, false, [1, 1, 1]),
    ];
    explore("undo: rollbacks of 2 sets", outcomes, || {
        let (table, keys, single) = three_keys([3, 2], 10);
        let set = |order: [usize; 2]| {
            let (keys, single) = (keys.clone(), single);
            sharing(&table, move |table| {
                let [a, b] = order.map(|i| (&keys[i], &single));
                table.model.take_all(&[(&keys[0], &table.limit), a, b], seconds(10))
            })
        };
        let threads = [set([1, 2]), set([2, 1])];
        scene(threads, move |[a, b]| {
            let left = |i: usize, limit| table.model.peek(&keys[i], limit, seconds(10), 1).remaining();
            (a, b, [left(0, &table.limit), left(1, &single), left(2, &single)])
        })
    });
}

#[test]
fn a_window_takes_a_debit_back_while_it_lasts() {
    // Four in each window of 4 s; two were reserved in the one that ends at 8. There they come back, whoever took since.
    let window = |algorithm| {
        let quota = Quota::new(4, seconds(4)).expect("a quota").with_algorithm(algorithm);
        let bucket = Shared::new(Single::new(quota));
        let reserved = bucket.reserve(seconds(5), 2, WAIT).expect("at once").1;
        (bucket, reserved)
    };
    explore("undo: fixed window, cancel against take of everything", [(4, 0), (2, 2)], move || {
        let (bucket, reserved) = window(Algorithm::FixedWindow);
        let taker = sharing(&bucket, |bucket| (bucket.take_up_to(seconds(6), 9), Held::NONE));
        scene([cancels(&bucket, reserved, seconds(6)), taker], move |[_, (taken, _)]| {
            (taken, bucket.remaining(seconds(6)))
        })
    });
    // The next window has them no more.
    explore("undo: fixed window, cancel round the end", [(4, 0)], move || {
        let (bucket, reserved) = window(Algorithm::FixedWindow);
        let taker = sharing(&bucket, |bucket| (bucket.take_up_to(seconds(8), 9), Held::NONE));
        scene([cancels(&bucket, reserved, quarters(31)), taker], move |[_, (taken, _)]| {
            (taken, bucket.remaining(seconds(8)))
        })
    });
    // In a sliding one they weigh there, and are taken from that weight.
    explore("undo: sliding window, cancel round the end", [(4, 0), (2, 2)], move || {
        let (bucket, reserved) = window(Algorithm::SlidingWindow);
        let taker = sharing(&bucket, |bucket| (bucket.take_up_to(seconds(8), 9), Held::NONE));
        scene([cancels(&bucket, reserved, quarters(31)), taker], move |[_, (taken, _)]| {
            (taken, bucket.remaining(seconds(8)))
        })
    });
}

#[test]
fn a_log_takes_back_the_cell() {
    explore("undo: log, cancel against a cost of 2", [(1, 0), (0, 2)], || {
        let log = log();
        let reserved = reserve(&log, 1);
        let taker = sharing(&log, |log| (u64::from(log.take(seconds(10), 2)), Held::NONE));
        scene([cancels(&log, reserved, seconds(10)), taker], move |[_, (taken, _)]| (taken, log.remaining(seconds(10))))
    });
}

/// Of four, [10, 11) has gone and [11, 13) is reserved.
fn one_gone_and_two_reserved() -> (Shared<Single>, Reserved) {
    let bucket = bucket(4);
    assert!(bucket.take(seconds(10), 1));
    let reserved = reserve(&bucket, 2);
    (bucket, reserved)
}

#[test]
fn a_debit_is_not_undone_after_a_refund() {
    // Two are refunded, and a handle takes two to the very instant where the reservation left the word: [11, 13) is the
    // handle's now, and is not freed by the other's cancelling.
    explore("undo: cancel after a refund to the same stamp", [(3, 1)], || {
        let (bucket, reserved) = one_gone_and_two_reserved();
        let other = sharing(&bucket, |bucket| {
            bucket.refund(seconds(10), 2);
            leases(bucket)
        });
        scene([other], move |[(_, held)]| {
            bucket.cancel(seconds(10), &reserved);
            all_at_12(&bucket, held)
        })
    });
    explore("undo: cancel after a reset to the same stamp", [(3, 1)], || {
        let (bucket, reserved) = one_gone_and_two_reserved();
        let other = sharing(&bucket, |bucket| {
            bucket.reset(seconds(10));
            assert!(bucket.take(seconds(10), 1));
            leases(bucket)
        });
        scene([other], move |[(_, held)]| {
            bucket.cancel(seconds(10), &reserved);
            all_at_12(&bucket, held)
        })
    });
    // The same, and what is seen of the mark: who reserved stands behind nobody who took after the refund.
    let outcomes = [(3, 1), (4, 0)];
    explore("undo: a handle and cancel, against a refund", outcomes, || {
        let (bucket, reserved) = one_gone_and_two_reserved();
        let refunds = sharing(&bucket, |bucket| {
            bucket.refund(seconds(10), 2);
            (0, Held::NONE)
        });
        let other = sharing(&bucket, move |bucket| {
            let did = leases(bucket);
            bucket.cancel(seconds(10), &reserved);
            did
        });
        scene([refunds, other], move |[_, (_, held)]| all_at_12(&bucket, held))
    });
    // A handle that holds [11, 12) finds it refunded and sold again: it gives nothing back.
    explore("undo: giving back after a refund to the same stamp", [2], || {
        let bucket = bucket(4);
        let (_, held) = leases(&bucket);
        let other = sharing(&bucket, |bucket| {
            bucket.refund(seconds(10), 1);
            u64::from(bucket.take(seconds(10), 1))
        });
        scene([other], move |_| {
            let mut held = held;
            bucket.give_back(seconds(10), &mut held);
            bucket.remaining(seconds(10))
        })
    });
    // Nor does a cell of a log come back that was refunded and taken again.
    explore("undo: log, cancel after a refund of the same cell", [1], || {
        let log = log();
        let reserved = reserve(&log, 1);
        let other = sharing(&log, |log| {
            log.refund(seconds(10), 1);
            log.take(seconds(10), 1)
        });
        scene([other], move |_| {
            log.cancel(seconds(10), &reserved);
            log.remaining(seconds(10))
        })
    });
    // At once. (4, 1) is one too many, and known: who cancels reads the word and the mark, sleeps while both are
    // changed and the word comes back bit for bit, and cannot tell (README.md). No other outcome is.
    explore("undo: cancel against a refund to the same stamp", [(3, 1), (4, 0), (4, 1)], || {
        let (bucket, reserved) = one_gone_and_two_reserved();
        let other = sharing(&bucket, |bucket| {
            bucket.refund(seconds(10), 2);
            leases(bucket)
        });
        scene([cancels(&bucket, reserved, seconds(10)), other], move |[_, (_, held)]| all_at_12(&bucket, held))
    });
}
