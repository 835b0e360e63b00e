//! Clocks that disagree, and a thread that sleeps between the clock and the word.

use tollgate::Quota;
use tollgate::clock::{Clock, ManualClock};
use tollgate::model::{Cached, Key, ModelClock, Single};
use tollgate_loom_tests::{Body, Shared, Table, explore, quarters, scene, seconds, sharing, thread};

/// A limiter whose clock has gone from 100 to 10, before anybody looked at it; `before` is what was done at 100.
fn set_back(quota: Quota, before: impl Fn(&Table)) -> (Shared<ModelClock>, Shared<Table>) {
    let clock = Shared::new(ModelClock::new(seconds(100)));
    let table = Shared::new(Table::with_clock(1, quota, &clock));
    before(&table);
    clock.set(seconds(10));
    (clock, table)
}

/// Callers of one clock that does not step back: a refused one, however far behind, is refused, and that is all.
#[test]
fn a_late_caller_mints_nothing() {
    // Burst 2, two gone at 10. At 12 two may go; and the late caller, at 11, only if he comes first; at 10 never.
    let (first, second) = ((true, 1, (1, 0)), (false, 2, (1, 0)));
    late_caller("clock: a late caller against 2 takes", 11, vec![first, second]);
    late_caller("clock: one who is 2 s late against 2 takes", 10, vec![second]);
}

fn late_caller(name: &str, late: u64, outcomes: Vec<(bool, u32, (usize, u64))>) {
    explore(name, outcomes, move || {
        let clock = Shared::new(ModelClock::new(seconds(10)));
        let table = Shared::new(Table::with_clock(1, Quota::per_second(1).with_burst(2), &clock));
        let key = Key::new(1, &[0]);
        assert!(table.take(&key, seconds(10), 2));
        let late = table.thread(&key, move |table, key| u32::from(table.take(key, seconds(late), 1)));
        let takes = table.thread(&key, |table, key| (0..2).map(|_| u32::from(table.take(key, seconds(12), 1))).sum());
        scene([late, takes], move |[a, b]| (a == 1, b, table.state(&key, seconds(12))))
    });
}

/// One thread sleeps between reading the clock and acting on it, while the clock runs on. It is refused on a word of key 1
/// that is seconds ahead of it, may suspect the clock, and must not take away what others have counted since: neither if
/// the clock never stepped back, nor if it did so before all this.
fn a_sleeper_is_refused(name: &str, stepped_back: bool, sleeper: u64) {
    explore(name, [false], move || {
        let quota = Quota::per_second(1).with_burst(1);
        let (clock, table) = if stepped_back {
            set_back(quota, |_| {})
        } else {
            let clock = Shared::new(ModelClock::new(seconds(10)));
            let table = Shared::new(Table::with_clock(1, quota, &clock));
            (clock, table)
        };
        let (key, sleeper) = (Key::new(1, &[0]), Key::new(sleeper, &[0]));
        assert!(table.take(&key, seconds(10), 1));
        let sleeper = table.thread(&sleeper, |table, key| {
            table.take(key, seconds(10), 1);
        });
        let others = table.thread(&key, move |table, key| {
            for now in [20, 30] {
                clock.advance(seconds(now));
                assert!(table.take(key, seconds(now), 1));
            }
        });
        // One was admitted at 30, of a burst of one.
        scene([sleeper, others], move |_| table.take(&key, seconds(30), 1))
    });
}

#[test]
fn a_refused_sleeper_sets_nothing_back() {
    a_sleeper_is_refused("clock: refused while the clock runs on", false, 1);
    a_sleeper_is_refused("clock: refused while a clock that was set back runs on", true, 1);
}

#[test]
fn a_newcomer_without_room_sets_nothing_back() {
    // The sleeper is another key's, and finds no room.
    a_sleeper_is_refused("clock: no room while the clock runs on", false, 2);
    a_sleeper_is_refused("clock: no room while a clock that was set back runs on", true, 2);
}

#[test]
fn a_newcomer_without_room_knows_a_quota_made_meanwhile() {
    // The one slot is 3 s ahead, of a burst of 3. Its key is given a burst of 100 and takes the rest; the newcomer, under a
    // burst of 1, finds no room before that or after it: seconds until it may come again, and what the key has left.
    explore("clock: no room beside a quota made meanwhile", [(3, 0), (100, 0)], || {
        let quota = |burst| Quota::per_second(1).with_burst(burst);
        let (_, table) = set_back(quota(3), |_| {});
        let narrow = table.model.limit(quota(1));
        let (key, new) = (Key::new(1, &[0]), Key::new(2, &[0]));
        assert!(table.take(&key, seconds(10), 3));
        let newcomer = sharing(&table, move |table| {
            let refused = table.model.take(&new, &narrow, seconds(10), 1);
            refused.retry_after().expect("no room").as_secs()
        });
        let owner = table.thread(&key, move |table, key| {
            let wide = table.model.limit(quota(100));
            assert!(table.model.take(key, &wide, seconds(10), 97).is_allowed());
            0
        });
        scene([newcomer, owner], move |[retry, _]| {
            let wide = table.model.limit(quota(100));
            (retry, table.model.peek(&key, &wide, seconds(10), 1).remaining())
        })
    });
}

#[test]
fn a_step_back_is_repaired_once() {
    // The clock has gone from 100 to 10. The owner of the one slot and a newcomer both take its word back to empty, as
    // of 10, and neither to less: at 11 one of them is admitted, and not both.
    explore("clock: 2 repair one slot", [(false, false, 1)], || {
        let keys = [Key::new(1, &[0]), Key::new(2, &[0])];
        let (_, table) = set_back(Quota::per_second(1).with_burst(1), |table| {
            assert!(table.take(&Key::new(1, &[0]), seconds(100), 1));
        });
        let takes = keys.each_ref().map(|key| table.thread(key, |table, key| table.take(key, seconds(10), 1)));
        scene(takes, move |[a, b]| (a, b, keys.iter().filter(|key| table.take(key, quarters(45), 1)).count()))
    });
}

/// The same for a lone bucket: a refused sleeper, and one who cancels when the clock has run on.
#[test]
fn a_sleeper_sets_a_lone_bucket_nothing_back() {
    explore("clock: a lone bucket, refused while the clock runs on", [false], || {
        let (clock, bucket) = lone_bucket();
        assert!(bucket.take(seconds(10), 1));
        let sleeper = sharing(&bucket, |bucket| {
            bucket.take(seconds(10), 1);
        });
        scene([sleeper, taken_at_20_and_30(&clock, &bucket)], move |_| bucket.take(seconds(30), 1))
    });
    // The same once the clock has been set back, so that it may well be suspected.
    explore("clock: a lone bucket, refused while a clock that was set back runs on", [false], || {
        let clock = Shared::new(ModelClock::new(seconds(100)));
        let bucket = Single::new(Quota::per_second(1).with_burst(1)).with_clock(Shared::clone(&clock));
        let bucket = Shared::new(bucket);
        clock.set(seconds(10));
        assert!(bucket.take(seconds(10), 1));
        let sleeper = sharing(&bucket, |bucket| {
            bucket.take(seconds(10), 1);
        });
        scene([sleeper, taken_at_20_and_30(&clock, &bucket)], move |_| bucket.take(seconds(30), 1))
    });
    // What was reserved for 10 is paid for when the clock shows 20: nothing of it comes back then.
    explore("clock: a lone bucket, cancelled while the clock runs on", [false], || {
        let (clock, bucket) = lone_bucket();
        let canceller = sharing(&bucket, |bucket| bucket.reserve_and_cancel(seconds(10)));
        scene([canceller, taken_at_20_and_30(&clock, &bucket)], move |_| bucket.take(seconds(30), 1))
    });
}

#[test]
fn a_step_back_is_repaired_as_of_the_later_time() {
    // The same, found by a caller who is ahead of the clock: empty as of his 12. As of 10 it would be full by then.
    explore("clock: set back, and found by a caller ahead of it", [(false, false, true)], || {
        let (_, table) = set_back(Quota::per_second(1).with_burst(1), |table| {
            assert!(table.take(&Key::new(1, &[0]), seconds(100), 1));
        });
        let caller =
            table.thread(&Key::new(1, &[0]), |table, key| [48, 48, 53].map(|at| table.take(key, quarters(at), 1)));
        scene([caller], |[[a, b, c]]| (a, b, c))
    });
}

/// The same step back, and the clock runs on to 11. Somebody, at 10, takes the owner's word back to empty; he may sleep
/// over the owner's next debit, at 11, and must not take that back as well.
fn repaired_beside_a_debit(name: &str, who: u64) {
    explore(name, [(false, true, false)], move || {
        let (key, other) = (Key::new(1, &[0]), Key::new(who, &[0]));
        let (clock, table) = set_back(Quota::per_second(1).with_burst(1), |table| {
            assert!(table.take(&Key::new(1, &[0]), seconds(100), 1));
        });
        let repairer = sharing(&table, move |table| table.take(&other, seconds(10), 1));
        let owner = table.thread(&key, move |table, key| {
            let refused = !table.take(key, seconds(10), 1);
            clock.advance(seconds(11));
            refused && table.take(key, seconds(11), 1)
        });
        scene([repairer, owner], move |[a, b]| (a, b, table.take(&key, quarters(45), 1)))
    });
}

#[test]
fn repairing_loses_no_debit() {
    // A newcomer, who finds no room.
    repaired_beside_a_debit("clock: repairs beside a debit", 2);
}

#[test]
fn pulling_back_loses_no_debit() {
    // The same of one key: who finds its word in another time takes back that word, and not what has followed it.
    repaired_beside_a_debit("clock: pulls back beside a debit", 1);
}

/// A debit that is cancelled when it has been paid for, in a bucket that holds more than it: 10 of 30 are left at 12.
#[test]
fn a_late_cancel_of_a_lone_bucket_makes_nothing_up() {
    explore("clock: a lone bucket, cancelled beside a debit", [10], || {
        let clock = Shared::new(ModelClock::new(seconds(10)));
        let quota = Quota::per_second(1).with_burst(30);
        let bucket = Shared::new(Single::new(quota).with_clock(Shared::clone(&clock)));
        let canceller = sharing(&bucket, |bucket| bucket.reserve_and_cancel(seconds(10)));
        let taker = sharing(&bucket, move |bucket| {
            clock.advance(seconds(12));
            assert!(bucket.take(seconds(12), 20));
        });
        scene([canceller, taker], move |_| bucket.remaining(seconds(12)))
    });
}

fn lone_bucket() -> (Shared<ModelClock>, Shared<Single>) {
    let clock = Shared::new(ModelClock::new(seconds(10)));
    let bucket = Single::new(Quota::per_second(1).with_burst(1)).with_clock(Shared::clone(&clock));
    (clock, Shared::new(bucket))
}

fn taken_at_20_and_30(clock: &Shared<ModelClock>, bucket: &Shared<Single>) -> Body<()> {
    let clock = Shared::clone(clock);
    sharing(bucket, move |bucket| {
        for now in [20, 30] {
            clock.advance(seconds(now));
            bucket.take(seconds(now), 1);
        }
    })
}

#[test]
fn who_sees_the_time_sees_what_was_done_before() {
    // One token is taken, then the clock is set: who finds it set finds no token.
    for (name, set) in [("clock: what was done before it was set", true), ("clock: before it was advanced", false)] {
        explore(name, [None, Some(0)], move || {
            let (clock, bucket) = (ManualClock::default(), Shared::new(Single::new(Quota::per_second(1))));
            let set_clock = clock.clone();
            let setter = sharing(&bucket, move |bucket| {
                assert!(bucket.take(seconds(10), 1));
                if set {
                    set_clock.set(tollgate::clock::Instant::from_secs(5));
                } else {
                    set_clock.advance(seconds(5));
                }
                None
            });
            let looker = thread(move || (clock.now().as_nanos() > 0).then(|| bucket.remaining(seconds(10))));
            scene([setter, looker], |[_, seen]| seen)
        });
    }
}

#[test]
fn both_advances_count() {
    explore("clock: 2 advances", [5], || {
        let clock = ManualClock::default();
        let advances = [2, 3].map(|by| {
            let clock = clock.clone();
            thread(move || clock.advance(seconds(by)))
        });
        scene(advances, move |_| clock.now().as_nanos() / 1_000_000_000)
    });
}

#[test]
fn a_cached_time_is_taken_over() {
    // In a child a thread takes over at 20. A reader asks another clock until then.
    let outcomes = [None, Some(20), Some(21)].map(|seen| (seen, true));
    explore("clock: cached, taken over", outcomes, || {
        let cached = Shared::new(Cached::forked());
        let keeper = sharing(&cached, |cached| {
            let keeps = cached.take_over(20);
            cached.set(21);
            keeps.then_some(21)
        });
        let reader = sharing(&cached, |cached| cached.nanos());
        scene([reader, keeper], |[seen, keeps]| (seen, keeps.is_some()))
    });
}

#[test]
fn one_keeps_a_cached_time() {
    // Two threads were started; one goes on.
    explore("clock: cached, 2 take over", [(1, Some(20))], || {
        let cached = Shared::new(Cached::forked());
        let keepers = [20, 20].map(|now| sharing(&cached, move |cached| u32::from(cached.take_over(now))));
        scene(keepers, move |[one, two]| (one + two, cached.nanos()))
    });
}

#[test]
fn a_cached_time_begins_anew() {
    // One clock is dropped, another made: in its place or in the next, and never with its time.
    explore("clock: cached, one dropped and one made", [(0, None), (1, None)], || {
        let cached = Shared::new(Cached::new(10));
        let dropped = sharing(&cached, |cached| {
            cached.give_back();
            (0, None)
        });
        let made = sharing(&cached, Cached::take);
        scene([dropped, made], |[_, made]| made)
    });
}

#[test]
fn every_cached_time_has_a_place_of_its_own() {
    explore("clock: cached, 2 made", [[0, 1], [1, 0]], || {
        let cached = Shared::new(Cached::new(10));
        cached.give_back();
        scene([(); 2].map(|()| sharing(&cached, Cached::take)), |made| made.map(|(place, _)| place))
    });
}
