//! Many threads on one limiter. Every decision is recorded; afterwards all of them are judged in exact integers.
//!
//! **Late threads.** A thread may be stopped between reading the clock and changing the bucket, so decisions take effect
//! in another order than that of their instants.
//!
//! - Where buckets stay in their slots that does no harm. In the order in which they take effect, each admission leaves
//!   `stamp = max(stamp before, its now) + cost * T <= its now + burst * T`. Of those with instants in `[t1, t2]` the first
//!   starts at `t1` or later and the last leaves at most `t2 + burst * T`: P1, with nothing allowed for. The same holds of
//!   a slot that changes hands by force, as the newcomer inherits the stamp.
//! - A bucket that was full when another key's thread took its slot may be asked for by a thread with an earlier `now`. It
//!   then starts full at an instant before the one at which it was: it gains `rate * lateness`, once for each time the
//!   key is put into the table late. So there, and only there, P1 is checked with the sum of the latenesses; a decision was
//!   no later than the clock shows after the call.
//!
//! Elsewhere time stands still while the threads race, or the table is so large that no slot is used twice.

#![allow(missing_docs, reason = "a test")]

mod common;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use common::model::Model;
use common::{Admitted, Rng, within_rate};
use tollgate::{Clock, Decision, LimitSet, Limiter, ManualClock, OnFull, Quota, Stats};

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;
/// How far the clocks of two threads may be apart: what the self-test of `ExactClock` grants.
const APART: u64 = MICRO;

/// One decision.
#[derive(Debug, Clone, Copy)]
struct Seen {
    thread: usize,
    key: u64,
    at: u64,
    cost: u64,
    allowed: bool,
    /// How long after `at` it took effect, at most.
    late: u64,
}

impl Seen {
    fn new(thread: usize, key: u64, cost: u64, decision: &Decision<'_>, after: u64) -> Self {
        let at = decision.at().as_nanos();
        Self { thread, key, at, cost, allowed: decision.is_allowed(), late: after.saturating_sub(at) + APART }
    }

    fn check<C: Clock>(limiter: &Limiter<C>, thread: usize, key: u64, cost: u64) -> Self {
        let decision = limiter.check_n(&key, cost);
        Self::new(thread, key, cost, &decision, limiter.clock().now().as_nanos())
    }

    const fn taken(&self) -> u64 {
        if self.allowed { self.cost } else { 0 }
    }
}

/// One test at a time, so that its threads meet each other and not those of other tests.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` in many threads at once and collects what they saw. `work` gets the number of its thread.
fn race<T: Send>(threads: usize, work: impl Fn(usize) -> Vec<T> + Sync) -> Vec<T> {
    let (start, work) = (&Barrier::new(threads), &work);
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    start.wait();
                    work(thread)
                })
            })
            .collect();
        handles.into_iter().flat_map(|handle| handle.join().expect("no thread panics")).collect()
    })
}

/// Threads that check what `pick` says, a key and a cost, until `drive`, in a thread of its own, is done with the clock.
fn race_while<C: Clock>(
    limiter: &Limiter<C>,
    threads: usize,
    pick: impl Fn(&mut Rng) -> (u64, u64) + Sync,
    drive: impl Fn(&C) + Sync,
) -> Vec<Seen> {
    let done = AtomicBool::new(false);
    race(threads + 1, |thread| {
        let mut seen = Vec::new();
        if thread == threads {
            drive(limiter.clock());
            done.store(true, Ordering::Relaxed);
        }
        let mut rng = Rng(thread as u64);
        while !done.load(Ordering::Relaxed) {
            let (key, cost) = pick(&mut rng);
            seen.push(Seen::check(limiter, thread, key, cost));
        }
        seen
    })
}

/// Sets the clock forward in small steps, now and then in a large one; real time passes between them.
fn advance(clock: &ManualClock, steps: u64, by: u64) {
    let mut rng = Rng(by);
    for step in 0..steps {
        clock.advance(Duration::from_nanos(if step % 256 == 255 { 256 * by } else { rng.below(by) }));
        thread::sleep(Duration::from_micros(10));
    }
}

/// Time stands still while the threads race through `work`; then all meet, `look` sees what is left, and the clock goes
/// on by less than `step`.
fn race_in_rounds<T: Send, L: Send>(
    clock: &ManualClock,
    threads: usize,
    (rounds, step): (u64, u64),
    work: impl Fn(usize, &mut Rng) -> Vec<T> + Sync,
    look: impl Fn() -> Vec<L> + Sync,
) -> (Vec<T>, Vec<L>) {
    let (meet, left) = (Barrier::new(threads), Mutex::new(Vec::new()));
    let seen = race(threads, |thread| {
        let mut rng = Rng(thread as u64);
        let mut seen = Vec::new();
        let mut panicked = None;
        for _ in 0..rounds {
            // The others would wait for ever for a thread that is gone.
            match catch_unwind(AssertUnwindSafe(|| work(thread, &mut rng))) {
                Ok(more) => seen.extend(more),
                Err(panic) => panicked = Some(panic),
            }
            if meet.wait().is_leader() {
                left.lock().expect("no look panics").extend(look());
                clock.advance(Duration::from_nanos(rng.below(step)));
            }
            meet.wait();
        }
        panicked.map_or(seen, |panic| resume_unwind(panic))
    });
    (seen, left.into_inner().expect("no look panics"))
}

/// What was seen of each key, in the order of time.
fn by_key(seen: &[Seen]) -> HashMap<u64, Vec<Seen>> {
    let mut keys: HashMap<u64, Vec<Seen>> = HashMap::new();
    seen.iter().for_each(|one| keys.entry(one.key).or_default().push(*one));
    keys.values_mut().for_each(|calls| calls.sort_by_key(|one| one.at));
    keys
}

fn admitted<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> Vec<Admitted> {
    seen.into_iter().filter(|one| one.allowed).map(|one| (one.at, one.cost)).collect()
}

/// P1 of every key, with what `slack` allows for, in nanoseconds, besides the one.
fn assert_p1(seen: &[Seen], quota: &Quota, slack: impl Fn(&[Seen]) -> u64) {
    for (key, calls) in by_key(seen) {
        let slack = 1 + slack(&calls);
        assert_eq!(within_rate(&mut admitted(&calls), quota, slack), Ok(()), "key {key}, {quota}, slack {slack} ns");
    }
}

const fn none(_: &[Seen]) -> u64 {
    0
}

/// The lateness of all requests of a key that may have put it into the table.
fn late(calls: &[Seen]) -> u64 {
    calls.iter().filter(|one| one.allowed).map(|one| one.late).sum()
}

/// How often a key admitted one thread after another.
fn takeovers(seen: &[Seen]) -> usize {
    let changes = |calls: Vec<Seen>| {
        let threads: Vec<_> = calls.iter().filter(|one| one.allowed).map(|one| one.thread).collect();
        threads.windows(2).filter(|pair| pair[0] != pair[1]).count()
    };
    by_key(seen).into_values().map(changes).sum()
}

/// On a busy machine threads may go one after the other: tries again, within reason, until they have met often. `attempt`
/// says how often they did.
fn until_they_meet(mut attempt: impl FnMut() -> usize) {
    let mut met = 0;
    for _ in 0..20 {
        met += attempt();
        if met >= 50 {
            return;
        }
    }
    assert!(met > 0, "twenty times the threads never met");
}

/// What was left of a key at an instant, when all threads had met.
type Left = (u64, u64, u64);

fn left_of(limiter: &Limiter<ManualClock>, keys: u64) -> Vec<Left> {
    let now = limiter.clock().now();
    (0..keys).map(|key| (key, now.as_nanos(), limiter.peek(&key).remaining())).collect()
}

/// Rounds against the exact model: no more than there was, nothing lost, and, if nobody gave back, nothing withheld.
fn assert_exact(seen: &[Seen], left: &[Left], quota: Quota, gives_back: bool) {
    let mut calls: HashMap<(u64, u64), Vec<&Seen>> = HashMap::new();
    seen.iter().for_each(|one| calls.entry((one.key, one.at)).or_default().push(one));
    let mut models = HashMap::new();
    for &(key, at, remaining) in left {
        let (model, t) = (models.entry(key).or_insert_with(|| Model::new(quota)), i128::from(at));
        let calls = calls.remove(&(key, at)).unwrap_or_default();
        let (there, taken) = (model.available(t), calls.iter().map(|one| one.taken()).sum());
        assert!(i128::from(taken) <= there, "key {key} at {at} ns: {taken} of {there} admitted");
        for one in calls.iter().filter(|one| !one.allowed && !gives_back) {
            assert!(i128::from(one.cost + taken) > there, "key {key} at {at} ns: {taken} of {there} taken, {one:?}");
        }
        model.take(t, taken);
        assert_eq!(i128::from(remaining), model.available(t), "key {key} at {at} ns: lost, or counted twice");
    }
    assert!(calls.is_empty(), "all are accounted for");
}

#[test]
fn a_hot_key_on_the_real_clock() {
    let _alone = alone();
    let quota = Quota::per_second(100_000).with_burst(50);
    for threads in [2, 4, 8] {
        until_they_meet(|| {
            let limiter = Limiter::builder(quota).build().unwrap();
            let pick = |rng: &mut Rng| (0, 1 + rng.below(3));
            let seen = race_while(&limiter, threads, pick, |_| thread::sleep(Duration::from_millis(100)));
            assert_p1(&seen, &quota, none);
            takeovers(&seen)
        });
    }
}

#[test]
fn a_hot_key_while_the_clock_is_set() {
    let _alone = alone();
    let quota = Quota::per_second(100_000).with_burst(50);
    for threads in [2, 4, 8] {
        until_they_meet(|| {
            let limiter = Limiter::builder(quota).build_with_clock(ManualClock::default()).unwrap();
            let pick = |rng: &mut Rng| (0, 1 + rng.below(3));
            let seen = race_while(&limiter, threads, pick, |clock| advance(clock, 1_000, 30 * MICRO));
            assert_p1(&seen, &quota, none);
            takeovers(&seen)
        });
    }
}

/// A thousand keys in the largest table that a test should ask for: no slot is used twice, so none starts late.
#[test]
fn unequal_keys_on_the_real_clock() {
    let _alone = alone();
    let quota = Quota::per_second(2_000).with_burst(20);
    let limiter = Limiter::builder(quota).capacity(100_000).build().unwrap();
    let pick = |rng: &mut Rng| (rng.magnitude(1_000), 1 + rng.below(3));
    let seen = race_while(&limiter, 4, pick, |_| thread::sleep(Duration::from_millis(300)));
    assert_p1(&seen, &quota, none);
    assert!(takeovers(&seen) > 4);
}

#[test]
fn unequal_keys_in_rounds_are_exact() {
    let _alone = alone();
    const KEYS: u64 = 64;
    let quota = Quota::per_second(1_000).with_burst(20);
    for threads in [2, 8] {
        let limiter = Limiter::builder(quota).build_with_clock(ManualClock::default()).unwrap();
        let work = |thread, rng: &mut Rng| {
            let mut check = || Seen::check(&limiter, thread, rng.magnitude(KEYS) - 1, 1 + rng.below(3));
            (0..100).map(|_| check()).collect()
        };
        let rounds = (250, 20 * MILLI);
        let (seen, left) = race_in_rounds(limiter.clock(), threads, rounds, work, || left_of(&limiter, KEYS));
        assert_exact(&seen, &left, quota, false);
        assert!(takeovers(&seen) > threads, "{threads} threads went one after the other");
    }
}

/// Half of what is taken is given back, by a refund or by cancelling a reservation, before the clock goes on.
#[test]
fn what_is_given_back_in_rounds_is_there_again() {
    let _alone = alone();
    const KEYS: u64 = 4;
    let quota = Quota::per_second(1_000).with_burst(20);
    for threads in [2, 8] {
        let limiter = Limiter::builder(quota).build_with_clock(ManualClock::default()).unwrap();
        let call = |thread, rng: &mut Rng| {
            let (key, cost) = (rng.below(KEYS), 1 + rng.below(8));
            if rng.once_in(3) {
                let reserved = limiter.reserve(&key, cost, Duration::ZERO);
                let at = limiter.clock().now().as_nanos();
                let allowed = reserved.is_ok_and(|mut reserved| !(rng.once_in(2) && reserved.cancel()));
                return Seen { thread, key, at, cost, allowed, late: 0 };
            }
            let seen = Seen::check(&limiter, thread, key, cost);
            let back = seen.allowed && rng.once_in(2);
            if back {
                limiter.refund(&key, cost);
            }
            Seen { allowed: seen.allowed && !back, ..seen }
        };
        let work = |thread, rng: &mut Rng| (0..100).map(|_| call(thread, rng)).collect();
        let rounds = (250, 20 * MILLI);
        let (seen, left) = race_in_rounds(limiter.clock(), threads, rounds, work, || left_of(&limiter, KEYS));
        assert_exact(&seen, &left, quota, true);
        assert!(takeovers(&seen) > threads, "{threads} threads went one after the other");
    }
}

/// Whatever a set took before it was refused has been given back: each limit has lost what was admitted, and no more.
#[test]
fn sets_are_all_or_nothing_under_race() {
    let _alone = alone();
    let quotas = [
        Quota::per_second(1_000).with_burst(9),
        Quota::per_second(100).with_burst(3),
        Quota::per_second(50).with_burst(3),
    ];
    for threads in [2, 8] {
        until_they_meet(|| race_for_sets(threads, quotas));
    }
}

/// Says how often a thread saw what another had taken of one limit and not yet of the next.
fn race_for_sets(threads: usize, quotas: [Quota; 3]) -> usize {
    const KEYS: u64 = 1_000;
    const VISITS: u64 = 8;
    let builder = quotas.iter().fold(Limiter::builder(quotas[0]), |builder, quota| builder.expect(*quota));
    let limiter = builder.build_with_clock(ManualClock::default()).unwrap();
    let limits = [0, 1, 2].map(|i| limiter.limit(["wide", "short", "long"][i], quotas[i]).unwrap());
    let sets = [[0, 1, 2], [2, 1, 0]].map(|order| LimitSet::new(order.map(|i| limits[i])).unwrap());
    let (tickets, half_taken) = (AtomicU64::new(0), AtomicUsize::new(0));
    let work = |thread, rng: &mut Rng| {
        let mut check = || {
            let (key, cost) = (tickets.fetch_add(1, Ordering::Relaxed) / VISITS % KEYS, 1 + rng.below(2));
            let decision = limiter.check_set_n(&sets[thread % 2], &key, cost).decision();
            // When all stands still, the long limit is as empty as the others, or more, and refuses for longest.
            if decision.is_refused() && *decision.limit_used().quota() != quotas[2] {
                half_taken.fetch_add(1, Ordering::Relaxed);
            }
            Seen::new(thread, key, cost, &decision, 0)
        };
        (0..KEYS * VISITS / threads as u64).map(|_| check()).collect()
    };
    let look = || {
        let at = limiter.clock().now().as_nanos();
        let left = |key| limits.each_ref().map(|limit| limiter.with(limit).peek(&key).remaining());
        (0..KEYS).map(|key| (key, at, left(key))).collect()
    };
    let (seen, left) = race_in_rounds(limiter.clock(), threads, (5, 150 * MILLI), work, look);
    for (i, quota) in quotas.into_iter().enumerate() {
        assert_p1(&seen, &quota, none);
        let left: Vec<Left> = left.iter().map(|&(key, at, left)| (key, at, left[i])).collect();
        assert_exact(&seen, &left, quota, true);
    }
    half_taken.into_inner()
}

/// Each key is asked for by several threads at once, for the first time: it must be in one slot only (P3).
#[test]
fn a_key_that_many_insert_at_once_is_there_once() {
    const KEYS: u64 = 10_000;
    const VISITS: u64 = 6;
    let _alone = alone();
    let quota = Quota::per_day(3);
    for threads in [2, 8] {
        until_they_meet(|| {
            let builder = Limiter::builder(quota).capacity(usize::try_from(KEYS).unwrap());
            let limiter = builder.build_with_clock(ManualClock::default()).unwrap();
            let tickets = AtomicU64::new(0);
            let next = || Some(tickets.fetch_add(1, Ordering::Relaxed) / VISITS).filter(|&key| key < KEYS);
            let work = |thread| std::iter::from_fn(next).map(|key| Seen::check(&limiter, thread, key, 1)).collect();
            let seen = race(threads, work);
            for (key, calls) in by_key(&seen) {
                assert_eq!((calls.iter().filter(|one| one.allowed).count(), calls.len()), (3, 6), "key {key}");
            }
            assert_eq!(limiter.stats().evictions + limiter.stats().refused_full, 0);
            takeovers(&seen)
        });
    }
}

/// Keys of a table far too small for the `MANY` that come.
const SMALL: usize = 16;
const MANY: u64 = 300;

/// Some more often than others.
fn one_of_many(rng: &mut Rng) -> u64 {
    if rng.once_in(2) { rng.magnitude(MANY) } else { rng.below(MANY) }
}

/// New keys were refused, none was evicted, and slots changed hands.
fn assert_churn(seen: &[Seen], stats: &Stats) {
    let keys = by_key(seen).into_values().filter(|calls| calls.iter().any(|one| one.allowed)).count();
    assert!(keys > 2 * stats.bytes / 16, "{keys} keys went through {} slots", stats.bytes / 16);
    assert!(stats.refused_full > 0 && stats.evictions == 0 && stats.untracked == 0, "{stats:?}");
}

/// Once every bucket has had the time to fill, every slot can be used again: none was left between two owners.
fn assert_none_stuck(limiter: &Limiter<ManualClock>) {
    limiter.clock().advance(Duration::from_secs(3_600));
    assert_eq!(limiter.stats().busy, 0);
}

#[test]
fn churn_in_rounds_refuses_new_keys_and_keeps_p1() {
    let _alone = alone();
    let quota = Quota::per_second(100).with_burst(4);
    for threads in [2, 8] {
        let builder = Limiter::builder(quota).capacity(SMALL).on_full(OnFull::RefuseNew);
        let limiter = builder.build_with_clock(ManualClock::default()).unwrap();
        let work = |thread, rng: &mut Rng| {
            let mut check = || {
                let key = one_of_many(rng);
                Seen::check(&limiter, thread, key, 1 + rng.below(3))
            };
            (0..60).map(|_| check()).collect()
        };
        let (seen, _) = race_in_rounds(limiter.clock(), threads, (400, 30 * MILLI), work, Vec::<()>::new);
        assert_p1(&seen, &quota, none);
        assert_churn(&seen, &limiter.stats());
        assert_none_stuck(&limiter);
        assert!(takeovers(&seen) > threads, "{threads} threads went one after the other");
    }
}

#[test]
fn churn_on_the_real_clock_refuses_new_keys_and_keeps_p1() {
    let _alone = alone();
    let quota = Quota::per_second(50).with_burst(3);
    for threads in [2, 8] {
        let builder = Limiter::builder(quota).capacity(SMALL).on_full(OnFull::RefuseNew);
        let limiter = builder.build().unwrap();
        // All at once, so that a bucket is full and its slot free whenever it admits.
        let pick = |rng: &mut Rng| (one_of_many(rng), 3);
        let seen = race_while(&limiter, threads, pick, |_| thread::sleep(Duration::from_millis(400)));
        assert_p1(&seen, &quota, late);
        assert_churn(&seen, &limiter.stats());
    }
}

/// All keys together get no more than one key in every slot would, and no lateness comes into it: stamps of a slot rise.
#[test]
fn churn_by_eviction_keeps_the_bound_of_all_slots() {
    let _alone = alone();
    let quota = Quota::per_second(100).with_burst(4);
    for threads in [2, 4, 8] {
        let limiter = Limiter::builder(quota).capacity(SMALL).build_with_clock(ManualClock::default()).unwrap();
        let key = |rng: &mut Rng| if rng.once_in(2) { one_of_many(rng) } else { rng.next() };
        let pick = |rng: &mut Rng| (key(rng), 1 + rng.below(3));
        let seen = race_while(&limiter, threads, pick, |clock| advance(clock, 1_000, MILLI));
        let stats = limiter.stats();
        let slots = u64::try_from(stats.bytes / 16).unwrap();
        let together = Quota::per_second(100 * slots).with_burst(4 * slots);
        assert_eq!(within_rate(&mut admitted(&seen), &together, 1), Ok(()), "{stats:?}");
        assert!(stats.evictions > slots && stats.refused_full > 0 && stats.untracked == 0, "{stats:?}");
        assert_none_stuck(&limiter);
    }
}
