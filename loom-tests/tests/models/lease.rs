//! Leases: what a handle holds is used once, by nobody else, and not after it has lapsed; and it comes back once or not
//! at all.
//!
//! A token is a second, so what is held can be read off the stamp: a handle that took two at second 10 of a full bucket
//! used `[10, 11)` and holds `[11, 12)`.

use std::time::Duration;

use tollgate::OnFull::{EvictNearestIdle, RefuseNew};
use tollgate::model::{Held, Key, Single};
use tollgate::{Algorithm, Quota};
use tollgate_loom_tests::{Body, Shared, Table, explore, explore_bounded, quarters, scene, seconds, thread};

fn bucket(burst: u64) -> Shared<Single> {
    Shared::new(Single::new(Quota::per_second(1).with_burst(burst)))
}

/// Four requests in every window of 4 s: one ends at second 8.
fn window(algorithm: Algorithm) -> Shared<Single> {
    Shared::new(Single::new(Quota::new(4, seconds(4)).expect("a quota").with_algorithm(algorithm)))
}

/// A handle that has used one token and holds the rest of a batch.
fn holding(bucket: &Single, now: Duration, batch: u64) -> Held {
    let mut held = Held::NONE;
    assert!(bucket.take_ahead(now, &mut held, 1, batch));
    held
}

/// Uses so many tokens one by one, gives back what is left, and says how many.
fn uses(bucket: &Shared<Single>, mut held: Held, now: Duration, times: u32, batch: u64) -> Body<u64> {
    let bucket = Shared::clone(bucket);
    thread(move || {
        let used = (0..times).map(|_| u64::from(bucket.take_ahead(now, &mut held, 1, batch))).sum();
        bucket.give_back(now, &mut held);
        used
    })
}

fn gives_back(bucket: &Shared<Single>, held: Held, now: Duration) -> Body<u64> {
    uses(bucket, held, now, 0, 0)
}

fn takes(bucket: &Shared<Single>, now: Duration, most: u64) -> Body<u64> {
    let bucket = Shared::clone(bucket);
    thread(move || bucket.take_up_to(now, most))
}

#[test]
fn two_handles_share_a_bucket() {
    explore("lease: 2 handles, 2 uses each, burst 3", [(2, 1, 0), (1, 2, 0)], || {
        let bucket = bucket(3);
        let uses = || uses(&bucket, Held::NONE, seconds(10), 2, 2);
        scene([uses(), uses()], move |[a, b]| (a, b, bucket.remaining(seconds(10))))
    });
}

#[test]
fn a_handle_beside_plain_checks() {
    explore("lease: 2 uses against 2 takes, burst 3", [(2, 1, 0), (1, 2, 0)], || {
        let bucket = bucket(3);
        let plain = {
            let bucket = Shared::clone(&bucket);
            thread(move || (0..2).map(|_| u64::from(bucket.take(seconds(10), 1))).sum())
        };
        scene([uses(&bucket, Held::NONE, seconds(10), 2, 2), plain], move |[a, b]| {
            (a, b, bucket.remaining(seconds(10)))
        })
    });
}

#[test]
fn what_is_held_comes_back_or_lapses() {
    // Of six each uses one: four are left if each gave back before the other took, else one of them lapses.
    explore("lease: 2 handles, 1 use each, dropped", [4, 3], || {
        let bucket = bucket(6);
        let uses = || uses(&bucket, Held::NONE, seconds(10), 1, 2);
        scene([uses(), uses()], move |[a, b]| {
            assert_eq!((a, b), (1, 1));
            bucket.remaining(seconds(10))
        })
    });
    // It comes back before the other takes, or not.
    explore("lease: given back against take", [2, 1], || {
        let bucket = bucket(4);
        let held = holding(&bucket, seconds(10), 2);
        scene([gives_back(&bucket, held, seconds(10)), takes(&bucket, seconds(10), 1)], move |[_, taken]| {
            assert_eq!(taken, 1);
            bucket.remaining(seconds(10))
        })
    });
    // Only the last to have taken gives back: the token it used lies behind what the first holds.
    explore("lease: 2 handles dropped at once", [3], || {
        let bucket = bucket(6);
        let (first, last) = (holding(&bucket, seconds(10), 2), holding(&bucket, seconds(10), 3));
        let threads = [gives_back(&bucket, first, seconds(10)), gives_back(&bucket, last, seconds(10))];
        scene(threads, move |_| bucket.remaining(seconds(10)))
    });
}

#[test]
fn giving_back_makes_no_room_where_another_holds() {
    // The first holds [11, 13), the second [14, 15). Were the first to move the stamp back by two, six could be taken at
    // 14, beside the one that the second holds.
    explore("lease: the first of 2 handles gives back", [(5, true)], || {
        let bucket = bucket(6);
        let (first, mut second) = (holding(&bucket, seconds(10), 3), holding(&bucket, seconds(10), 3));
        scene([gives_back(&bucket, first, seconds(10)), takes(&bucket, seconds(14), 9)], move |[_, taken]| {
            (taken, bucket.take_ahead(seconds(14), &mut second, 1, 3))
        })
    });
}

#[test]
fn what_is_held_lapses() {
    // At 12 the bucket is full whatever became of [11, 12): four in all. (1, 2): one more was held when the other came.
    explore("lease: lapsed, against take of everything", [(1, 2), (1, 3), (0, 4)], || {
        let bucket = bucket(4);
        let held = holding(&bucket, seconds(10), 2);
        scene([uses(&bucket, held, seconds(12), 1, 2), takes(&bucket, seconds(12), 9)], |[used, taken]| (used, taken))
    });
    // The same while the clock runs on from 11 to 12, at two a second: at 12 both get four; one was used at 11, or, to a
    // thread that is a second late, none is left.
    let outcomes = [(2, 2), (2, 3), (1, 4), (0, 4)];
    explore("lease: taken at 11 and used at 12, against take of everything", outcomes, || {
        let bucket = Shared::new(Single::new(Quota::per_second(2).with_burst(4)));
        let user = {
            let bucket = Shared::clone(&bucket);
            thread(move || {
                let mut held = Held::NONE;
                let used = [11, 12].map(|now| u64::from(bucket.take_ahead(seconds(now), &mut held, 1, 2)));
                bucket.give_back(seconds(12), &mut held);
                used.iter().sum()
            })
        };
        scene([user, takes(&bucket, seconds(12), 9)], |[used, taken]| (used, taken))
    });
    // At 11 it is good to the last unit, and the others find three.
    explore("lease: about to lapse, against take of everything", [(1, 3)], || {
        let bucket = bucket(4);
        let held = holding(&bucket, seconds(10), 2);
        scene([uses(&bucket, held, seconds(11), 1, 2), takes(&bucket, seconds(11), 9)], |[used, taken]| (used, taken))
    });
}

#[test]
fn a_use_is_not_earlier_than_what_it_uses() {
    // Taken at 11. To a caller at 10 one token is left, and that is all that both get.
    explore("lease: used a second before it was taken", [(1, 0), (0, 1)], || {
        let bucket = bucket(4);
        let held = holding(&bucket, seconds(11), 2);
        scene([uses(&bucket, held, seconds(10), 1, 2), takes(&bucket, seconds(10), 9)], |[used, taken]| (used, taken))
    });
}

#[test]
fn what_is_held_is_put_towards_more() {
    // Two are asked for and one is held: four in all, and what is held is not lost by a refusal.
    explore("lease: cost 2 with 1 held, against take", [(true, 1, false), (false, 2, true)], || {
        let bucket = bucket(4);
        let mut held = holding(&bucket, seconds(10), 2);
        let asks = {
            let bucket = Shared::clone(&bucket);
            thread(move || {
                let both = bucket.take_ahead(seconds(10), &mut held, 2, 2);
                (u64::from(both), held)
            })
        };
        let takes = {
            let bucket = Shared::clone(&bucket);
            thread(move || (bucket.take_up_to(seconds(10), 9), Held::NONE))
        };
        scene([asks, takes], move |[(both, mut held), (taken, _)]| {
            (both == 1, taken, bucket.take_ahead(seconds(10), &mut held, 1, 2))
        })
    });
}

#[test]
fn a_window_takes_what_is_held_with_it() {
    // Held in the window that ends at 8, used at 8: counted in the new one. Whoever is late counts there too, or came
    // before: then the new one has three left. (1, 2, 1): one was held in between.
    let outcomes = [(1, 2, 3), (1, 2, 1), (1, 3, 0)];
    explore("lease: fixed window, held round the end", outcomes, || {
        let bucket = window(Algorithm::FixedWindow);
        let held = holding(&bucket, seconds(5), 2);
        scene([uses(&bucket, held, seconds(8), 1, 2), takes(&bucket, quarters(31), 9)], move |[used, taken]| {
            (used, taken, bucket.remaining(seconds(8)))
        })
    });
    explore("lease: fixed window, given back against take", [(3, 0), (2, 1)], || {
        let bucket = window(Algorithm::FixedWindow);
        let held = holding(&bucket, seconds(5), 2);
        scene([gives_back(&bucket, held, seconds(6)), takes(&bucket, seconds(6), 9)], move |[_, taken]| {
            (taken, bucket.remaining(seconds(6)))
        })
    });
    // The others are in the next window, in which what was held still weighs; and from which it is taken back.
    explore("lease: sliding window, given back round the end", [(3, 0), (2, 1)], || {
        let bucket = window(Algorithm::SlidingWindow);
        let held = holding(&bucket, seconds(5), 2);
        scene([gives_back(&bucket, held, quarters(31)), takes(&bucket, seconds(8), 9)], move |[_, taken]| {
            (taken, bucket.remaining(seconds(8)))
        })
    });
}

/// A key in one slot, of which a handle has used one token and holds another.
fn held_slot(on_full: tollgate::OnFull) -> (Shared<Table>, [Key; 2], Held) {
    let (table, keys) = (Shared::new(Table::new(1, 4, on_full)), [1, 2].map(|id| Key::new(id, &[0])));
    let mut held = Held::NONE;
    assert!(table.model.take_ahead(&keys[0], &table.limit, seconds(10), &mut held, 1, 2));
    (table, keys, held)
}

#[test]
fn a_slot_is_idle_when_all_has_lapsed() {
    // Full again at 12: then the slot is anybody's, and nothing that is held is good.
    explore("lease: lapsed, its slot being reclaimed", [(true, false), (false, true)], || {
        let (table, [old, new], mut held) = held_slot(RefuseNew);
        let user = {
            let (table, old) = (Shared::clone(&table), old);
            thread(move || table.model.take_ahead(&old, &table.limit, quarters(49), &mut held, 1, 2))
        };
        let reclaimer = {
            let (table, new) = (Shared::clone(&table), new.clone());
            thread(move || table.take(&new, quarters(49), 1))
        };
        scene([user, reclaimer], |[used, taken]| (used, taken))
    });
}

#[test]
fn nothing_comes_back_to_another_key() {
    // The newcomer inherits the debt, and a unit with it: with what is held, or when that has been given back.
    explore("lease: given back while its key is evicted", [(1, 1), (1, 0)], || {
        let (table, [old, new], mut held) = held_slot(EvictNearestIdle);
        let dropper = {
            let (table, old) = (Shared::clone(&table), old);
            thread(move || {
                table.model.give_back(&old, &table.limit, seconds(10), &mut held);
                true
            })
        };
        let newcomer = {
            let (table, new) = (Shared::clone(&table), new.clone());
            thread(move || table.take(&new, seconds(10), 1))
        };
        scene([dropper, newcomer], move |[_, admitted]| {
            assert!(admitted);
            table.state(&new, seconds(10))
        })
    });
}

#[test]
fn two_handles_and_a_plain_check() {
    let outcomes = [(2, 2, 1, 0), (2, 1, 2, 0), (1, 2, 2, 0)];
    explore_bounded("lease: 3 threads: 2 handles, 2 uses each, and take of 2, burst 5", 2, outcomes, || {
        let bucket = bucket(5);
        let handle = || uses(&bucket, Held::NONE, seconds(10), 2, 2);
        let plain = takes(&bucket, seconds(10), 2);
        scene([handle(), handle(), plain], move |[a, b, c]| (a, b, c, bucket.remaining(seconds(10))))
    });
}
