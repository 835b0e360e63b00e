//! Whether the limiter's own clock has stepped back: a thread that sleeps is no step, and a step is seen by all.

use std::time::Duration;

use tollgate::Quota;
use tollgate::model::{Key, ModelClock};
use tollgate_loom_tests::{Shared, Table, explore, quarters, scene, seconds, sharing};

fn on_clock(now: Duration) -> (Shared<ModelClock>, Shared<Table>) {
    let clock = Shared::new(ModelClock::new(now));
    let table = Shared::new(Table::with_clock(1, Quota::per_second(1).with_burst(1), &clock));
    (clock, table)
}

/// A reading, in seconds, and how many steps have been counted.
fn reading(table: &Table) -> (u64, u64) {
    let (now, steps) = table.model.now();
    (now.as_secs(), steps)
}

#[test]
fn a_sleeper_is_no_step() {
    // Who read 10, and sleeps while others read 20 and 30, reads again before he speaks of a step: no earlier time then.
    let outcomes = [10, 20, 30].map(|seen| ((seen, 0), (30, 0)));
    explore("step: a sleeper with an old reading", outcomes, || {
        let (clock, table) = on_clock(seconds(10));
        let sleeper = sharing(&table, reading);
        let others = sharing(&table, move |table| {
            clock.advance(seconds(20));
            table.model.now();
            clock.advance(seconds(30));
            reading(table)
        });
        scene([sleeper, others], |[a, b]| (a, b))
    });
}

#[test]
fn a_step_is_counted_once() {
    // Both see it, at once or one after the other, and one of them counts; who lost may ask before that.
    let outcomes = [(1, 1, 1), (0, 1, 1), (1, 0, 1)];
    explore("step: seen by 2", outcomes, || {
        let (clock, table) = on_clock(seconds(100));
        clock.set(seconds(10));
        let threads = [0; 2].map(|_| sharing(&table, reading));
        scene(threads, move |[a, b]| {
            assert_eq!((a.0, b.0, reading(&table).0), (10, 10, 10));
            (a.1, b.1, reading(&table).1)
        })
    });
}

#[test]
fn a_step_beside_a_reading_before_it() {
    // One has read 100 and sleeps over the step to 10, and over its being noticed: then his 100 is the latest reading, and
    // the next one, 10, is a step once more. Nobody reads a time that the clock never showed.
    let outcomes = [(10, 1), (100, 1), (100, 2)];
    explore("step: beside a reading from before it", outcomes, || {
        let (clock, table) = on_clock(seconds(100));
        let sleeper = sharing(&table, |table| reading(table).0);
        let steps = sharing(&table, move |table| {
            clock.set(seconds(10));
            reading(table).0
        });
        scene([sleeper, steps], move |[seen, after]| {
            assert!(after == 10 && reading(&table).0 == 10);
            (seen, reading(&table).1)
        })
    });
}

#[test]
fn who_sees_the_earlier_time_sees_what_was_before() {
    // The one token was taken at 100, and the clock stands at 10. One notices; the other finds that noticed or does so
    // himself. In both cases he knows that the clock is behind, so that he takes the word back to empty as of 10: he is told
    // one second, and it is true.
    explore("step: noticed beside a refusal", [(1, 1)], || {
        let (clock, table) = on_clock(seconds(100));
        let key = Key::new(1, &[0]);
        assert!(table.take(&key, seconds(100), 1));
        clock.set(seconds(10));
        let notices = sharing(&table, |table| {
            table.model.now();
            0
        });
        let refused = table.thread(&key, |table, key| {
            let refused = table.model.take(key, &table.limit, seconds(10), 1);
            refused.retry_after().expect("refused").as_secs()
        });
        scene([notices, refused], move |[_, retry]| (retry, table.remaining(&key, quarters(45))))
    });
}

#[test]
fn a_caller_ahead_of_the_clock_is_no_step() {
    // The clock stands at 10 and has never been later. Two callers bring their own times, 2 s apart, and what the one ahead
    // has taken stays taken, whatever the other suspects.
    explore("step: a caller ahead of the clock against one on it", [(true, false), (true, true)], || {
        let (_, table) = on_clock(seconds(10));
        let key = Key::new(1, &[0]);
        assert!(table.take(&key, seconds(9), 1));
        let ahead = table.thread(&key, |table, key| table.take(key, seconds(12), 1));
        let on_it = table.thread(&key, |table, key| table.take(key, seconds(10), 1));
        scene([ahead, on_it], move |[a, b]| {
            assert!(!table.take(&key, seconds(12), 1));
            (a, b)
        })
    });
}
