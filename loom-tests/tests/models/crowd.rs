//! More threads and calls than can be gone through: schedules drawn at random, and what must be true of all of them.

use tollgate::OnFull::{self, EvictNearestIdle, RefuseNew};
use tollgate::model::Key;
use tollgate::{Algorithm, Quota};
use tollgate_loom_tests::{Body, Shared, Table, crowded, explore_alike, quarters, scene, seconds};

const THREADS: usize = 5;

fn keys(count: u64, places: &[usize]) -> Vec<Key> {
    // Each key has the places in an order of its own.
    let order = |id: u64| {
        let mut order = places.to_vec();
        order.rotate_left(usize::try_from(id).expect("small") % places.len());
        Key::new(id, &order)
    };
    (1..=count).map(order).collect()
}

/// Every thread takes one of every key, `rounds` times, each beginning with another key; admitted by key.
fn takers(table: &Shared<Table>, keys: &[Key], rounds: usize) -> [Body<Vec<u32>>; THREADS] {
    std::array::from_fn(|first| {
        table.thread(&keys.to_vec(), move |table, keys| {
            let mut admitted = vec![0; keys.len()];
            for i in 0..rounds * keys.len() {
                let key = (first + i) % keys.len();
                admitted[key] += u32::from(table.take(&keys[key], seconds(10), 1));
            }
            admitted
        })
    })
}

fn sum(admitted: &[Vec<u32>; THREADS]) -> Vec<u32> {
    (0..admitted[0].len()).map(|key| admitted.iter().map(|thread| thread[key]).sum()).collect()
}

/// Fifteen requests of each of two keys for its seven tokens; the slots have been others' before.
#[test]
fn five_threads_two_keys() {
    if !crowded() {
        return;
    }
    explore_alike("crowd: 5 threads, 3 rounds, 2 keys, 4 slots", 0, [(vec![7, 7], vec![(1, 0); 2], 0)], || {
        let table = Shared::new(Table::new(4, 7, RefuseNew));
        for slot in 0..4 {
            assert!(table.take(&Key::new(100 + slot as u64, &[slot]), seconds(5), 1));
        }
        let keys = keys(2, &[0, 1, 2, 3]);
        scene(takers(&table, &keys, 3), move |admitted| {
            let states = keys.iter().map(|key| table.state(key, seconds(10))).collect();
            (sum(&admitted), states, table.model.in_transit())
        })
    });
}

/// Four keys for two slots: what two slots may admit, no key twice, no slot lost.
fn too_many_keys(name: &'static str, on_full: OnFull) {
    let expected = (0..=6).map(|admitted| (admitted, true, 0));
    explore_alike(name, 0, expected, move || {
        let table = Shared::new(Table::new(2, 3, on_full));
        let keys = keys(4, &[0, 1]);
        scene(takers(&table, &keys, 2), move |admitted| {
            let owners: Vec<_> = keys.iter().map(|key| table.model.owners(key)).collect();
            let unique = owners.iter().all(|&owners| owners <= 1) && owners.iter().sum::<usize>() <= 2;
            (sum(&admitted).iter().sum(), unique, table.model.in_transit())
        })
    });
}

#[test]
fn five_threads_more_keys_than_slots() {
    if !crowded() {
        return;
    }
    too_many_keys("crowd: 5 threads, 2 rounds, 4 keys, 2 slots, refused", RefuseNew);
    too_many_keys("crowd: 5 threads, 2 rounds, 4 keys, 2 slots, evicted", EvictNearestIdle);
}

/// Takes, refunds and conversions of times: nothing is made up and nothing is lost.
#[test]
fn five_threads_take_and_give_back() {
    if !crowded() {
        return;
    }
    explore_alike("crowd: 5 threads take and give back, 2 slots", 0, [(true, (1, 0))], || {
        let table = Shared::new(Table::new(2, 4, RefuseNew));
        let key = Key::new(1, &[0, 1]);
        let threads: [Body<i64>; THREADS] = std::array::from_fn(|first| {
            table.thread(&key, move |table, key| {
                let mut kept = 0;
                for round in 0..3 {
                    if table.take(key, seconds(10), 1) {
                        kept += 1;
                        if (first + round) % 2 == 0 {
                            table.refund(key, seconds(10), 1);
                            kept -= 1;
                        }
                    }
                }
                kept
            })
        });
        scene(threads, move |kept: [i64; THREADS]| {
            let kept: i64 = kept.iter().sum();
            let left = i64::try_from(table.remaining(&key, seconds(10))).expect("four at most");
            // What is left can be taken, to the last.
            let rest = (0..4).filter(|_| table.take(&key, seconds(10), 1)).count();
            (kept + left == 4 && i64::try_from(rest).expect("four at most") == left, table.state(&key, seconds(10)))
        })
    });
}

/// Slots change hands again and again while time goes on, differently for everybody: no key is in two places at the end,
/// and no slot between two owners.
#[test]
fn five_threads_whose_keys_come_and_go() {
    if !crowded() {
        return;
    }
    explore_alike("crowd: 5 threads, keys come and go, 2 slots", 0, [(true, 0)], || {
        let table = Shared::new(Table::new(2, 1, RefuseNew));
        let keys = keys(4, &[0, 1]);
        let threads: [Body<()>; THREADS] = std::array::from_fn(|first| {
            table.thread(&keys, move |table, keys| {
                for i in 0..4 {
                    let now = quarters(40 + 5 * u32::try_from(i).expect("small"));
                    table.take(&keys[(first + i) % 4], now, 1);
                }
            })
        });
        scene(threads, move |_| (keys.iter().all(|key| table.model.owners(key) <= 1), table.model.in_transit()))
    });
}

/// Ten requests for the three cells of a log, in slots. Five who claim a slot each may leave no room for a moment.
#[test]
fn five_threads_on_a_log() {
    if !crowded() {
        return;
    }
    explore_alike("crowd: 5 threads, a log of 3 in 4 slots", 0, [(3, 0, 0), (2, 1, 0), (1, 2, 0)], || {
        let quota = Quota::new(3, seconds(4)).expect("a quota").with_algorithm(Algorithm::SlidingLog);
        let table = Shared::new(Table::with(4, quota, RefuseNew));
        let keys = keys(1, &[0, 1, 2, 3]);
        scene(takers(&table, &keys, 2), move |admitted| {
            (sum(&admitted)[0], table.remaining(&keys[0], seconds(10)), table.model.in_transit())
        })
    });
}
