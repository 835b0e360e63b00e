//! Leases: never more than the limit, whoever holds what; and what goes unused is what the documentation says.

#![allow(missing_docs, reason = "a test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::history::{Answer, MICRO, Seen, assert_p1, none, takeovers};
use common::race::{advance, alone, race, until_they_meet};
use common::{Admitted, DAY, Replay, Rng, SECOND, bucket, keeps_its_promise, nanos, ns, setting, within_rate};
use tollgate::clock::{Clock, ManualClock};
use tollgate::{Algorithm, Bucket, Lease, Limiter, OnFull, Quota};

const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::TokenBucket,
    Algorithm::LeakyBucket,
    Algorithm::LeakyQueue,
    Algorithm::FixedWindow,
    Algorithm::SlidingWindow,
    Algorithm::SlidingLog,
];

/// A token a second, ten at most.
fn ten() -> Bucket<ManualClock> {
    bucket(Quota::per_second(1).with_burst(10), 100 * SECOND)
}

fn left(bucket: &Bucket<ManualClock>) -> u64 {
    bucket.peek().remaining()
}

#[test]
fn a_batch_is_taken_once_and_used_locally() {
    let bucket = ten();
    let mut lease = bucket.handle().lease(4);
    assert_eq!((lease.held(), left(&bucket)), (0, 10), "nothing is taken before the first request");
    assert_eq!(lease.check().remaining(), 6);
    assert_eq!((lease.held(), left(&bucket)), (3, 6));
    for held in [2, 1, 0] {
        let decision = lease.check();
        assert!(decision.is_allowed() && decision.remaining() == 6, "as of the batch");
        assert_eq!((lease.held(), left(&bucket)), (held, 6));
    }
    // Half of what the request leaves: (6 - 1) / 2.
    assert!(lease.check().is_allowed());
    assert_eq!((lease.held(), left(&bucket)), (2, 3));
}

#[test]
fn by_itself_it_gets_every_token() {
    for algorithm in ALGORITHMS {
        for batch in [0, 1, 2, 7, u64::MAX] {
            let quota = Quota::new(10, Duration::from_secs(10)).unwrap().with_algorithm(algorithm);
            let (bucket, most) = (bucket(quota, 100 * SECOND), if algorithm == Algorithm::LeakyQueue { 1 } else { 10 });
            let mut lease = bucket.handle().lease(batch);
            assert_eq!((0..20).filter(|_| lease.check().is_allowed()).count(), most, "{quota}, batch {batch}");
            assert_eq!(lease.batch(), batch);
        }
    }
}

#[test]
fn what_is_held_has_lapsed_when_the_bucket_is_full() {
    let bucket = ten();
    let mut lease = bucket.handle().lease(4);
    assert!(lease.check().is_allowed());
    // Held: the stretch from one second on to four.
    for (after, held) in [(SECOND, 3), (SECOND + 1, 2), (3 * SECOND, 1), (3 * SECOND + 1, 0), (4 * SECOND, 0)] {
        bucket.clock().set(ns(100 * SECOND + after));
        assert_eq!(lease.held(), held, "after {after} ns");
    }
    assert_eq!(left(&bucket), 10, "full, as if nothing had been held");
    assert_eq!(bucket.handle().take_up_to(20), 10);
    assert!(lease.check().is_refused(), "ten were admitted at this instant");
}

#[test]
fn what_is_left_of_a_token_is_put_towards_the_next() {
    let bucket = ten();
    let mut lease = bucket.handle().lease(2);
    assert!(lease.check().is_allowed());
    bucket.clock().set(ns(100 * SECOND + SECOND * 3 / 2));
    assert_eq!(lease.held(), 0);
    // Half a token is held and has not lapsed, so the bucket gives the other half: the stamp goes from 102 to 102.5.
    assert_eq!(bucket.handle().take_up_to(8), 8);
    assert!(lease.check_n(2).is_allowed(), "one and a half are there, and a half is held");
    assert!(lease.check().is_refused() && bucket.check().is_refused());
}

#[test]
fn it_is_given_back_if_nobody_took_since() {
    let bucket = ten();
    let mut lease = bucket.handle().lease(4);
    assert!(lease.check().is_allowed());
    lease.give_back();
    assert_eq!((lease.held(), left(&bucket)), (0, 9));
    assert!(lease.check().is_allowed());
    drop(lease);
    assert_eq!(left(&bucket), 8);
    // A part of it has lapsed: the rest comes back, and the bucket is full where it would have been.
    let mut lease = bucket.handle().lease(4);
    assert!(lease.check().is_allowed());
    bucket.clock().set(ns(104 * SECOND));
    drop(lease);
    assert_eq!(left(&bucket), 10);
    // Others took: it lapses.
    let mut lease = bucket.handle().lease(4);
    assert!(lease.check().is_allowed() && bucket.check().is_allowed());
    drop(lease);
    assert_eq!(left(&bucket), 5, "two were admitted and three lapse");
    bucket.clock().set(ns(108 * SECOND));
    assert_eq!(left(&bucket), 9);
    bucket.clock().set(ns(109 * SECOND));
    assert_eq!(left(&bucket), 10);
}

#[test]
fn in_a_window_it_is_given_back_whoever_took() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let bucket = bucket(Quota::new(10, Duration::from_secs(10)).unwrap().with_algorithm(algorithm), 100 * SECOND);
        let [mut first, mut last] = [bucket.handle().lease(3), bucket.handle().lease(3)];
        assert!(first.check().is_allowed() && last.check().is_allowed() && bucket.check().is_allowed());
        assert_eq!((first.held(), last.held(), left(&bucket)), (2, 2, 3));
        drop(first);
        drop(last);
        assert_eq!(left(&bucket), 7, "{algorithm:?}");
        // Half of what a request leaves, however large the batch: (7 - 1) / 2, and (7 - 2) / 2.
        for (cost, held) in [(1, 3), (2, 2)] {
            let mut lease = bucket.handle().lease(u64::MAX);
            assert!(lease.check_n(cost).is_allowed());
            assert_eq!((lease.held(), left(&bucket)), (held, 7 - cost - held), "{algorithm:?}");
            drop(lease);
            bucket.handle().refund(cost);
        }
        // In the next window it is of no use, and under the sliding counter it weighs until given back.
        let mut lease = bucket.handle().lease(3);
        assert!(lease.check().is_allowed());
        bucket.clock().set(ns(110 * SECOND));
        assert_eq!(lease.held(), 0);
        let weighs = if algorithm == Algorithm::SlidingWindow { 6 } else { 0 };
        assert_eq!(left(&bucket), 10 - weighs);
        lease.give_back();
        let weighs = if algorithm == Algorithm::SlidingWindow { 4 } else { 0 };
        assert_eq!(left(&bucket), 10 - weighs);
    }
}

#[test]
fn queues_and_logs_hold_nothing() {
    for algorithm in [Algorithm::LeakyQueue, Algorithm::SlidingLog] {
        let bucket = bucket(Quota::per_second(10).with_algorithm(algorithm), 100 * SECOND);
        let mut lease = bucket.handle().lease(8);
        assert!(lease.check().is_allowed());
        assert_eq!(lease.held(), 0);
        lease.give_back();
        assert_eq!(left(&bucket), if algorithm == Algorithm::SlidingLog { 9 } else { 0 });
    }
}

#[test]
fn costs_of_nothing_and_too_much() {
    let bucket = ten();
    let mut lease = bucket.handle().lease(4);
    assert!(lease.check_n(0).is_allowed() && lease.check_n(11).never_fits() && lease.check_n(u64::MAX).never_fits());
    assert_eq!((lease.held(), left(&bucket)), (0, 10));
    assert!(lease.check().is_allowed());
    assert!(lease.check_n(0).is_allowed() && lease.check_n(u64::MAX).never_fits());
    assert_eq!((lease.held(), left(&bucket)), (3, 6));
    // Held and left are nine together.
    assert!(lease.check_n(10).is_refused() && lease.check_n(9).is_allowed());
    assert_eq!((lease.held(), left(&bucket)), (0, 0));
    for algorithm in ALGORITHMS {
        let quota = Quota::new(0, Duration::from_secs(1)).unwrap().with_algorithm(algorithm);
        let closed = Bucket::with_clock(quota, ManualClock::default()).unwrap();
        let mut lease = closed.handle().lease(4);
        assert!(lease.check().never_fits() && lease.held() == 0, "{quota}");
    }
}

#[test]
fn before_it_was_taken_nothing_is_used() {
    let bucket = bucket(Quota::per_second(1).with_burst(4), 100 * SECOND);
    // Four at 100; a second later three more, of which the handle holds one.
    assert_eq!(bucket.handle().take_up_to(4), 4);
    bucket.clock().set(ns(103 * SECOND));
    let mut lease = bucket.handle().lease(2);
    assert!(lease.check().is_allowed());
    assert_eq!(lease.held(), 1);
    // A caller whose clock is a second behind, at which two of these three had not come back.
    let late = ns(102 * SECOND);
    assert!(lease.check_at(late).is_refused());
    assert_eq!(lease.held(), 1, "it is kept");
    assert!(lease.check_at(ns(103 * SECOND)).is_allowed());
}

#[test]
fn a_clock_that_steps_back_voids_it() {
    let bucket = ten();
    let mut lease = bucket.handle().lease(4);
    assert!(lease.check().is_allowed());
    bucket.clock().set(ns(50 * SECOND));
    assert!(lease.check().is_refused(), "repaired to empty");
    assert_eq!(lease.held(), 0);
    bucket.clock().set(ns(51 * SECOND));
    assert!(lease.check().is_allowed() && lease.check().is_refused());
    bucket.clock().set(ns(100 * SECOND));
    assert!(lease.check().is_allowed());
    assert_eq!((lease.held(), left(&bucket)), (3, 6), "nothing of what was held before");
}

#[test]
fn a_key_of_a_limiter() {
    let limiter = common::limiter(Quota::per_second(1).with_burst(10));
    limiter.clock().set(ns(100 * SECOND));
    let small = limiter.prepare("small", Quota::per_second(1).with_burst(4)).unwrap();
    {
        let (mut lease, mut other) = (limiter.key("key").lease(4), limiter.under(&small).key("key").lease(4));
        assert!(lease.check().is_allowed() && other.check_n(2).is_allowed());
        assert_eq!((lease.held(), other.held()), (3, 1));
        assert_eq!(limiter.peek("key").remaining(), 6);
        assert_eq!(limiter.under(&small).peek("key").remaining(), 1);
        assert_eq!(limiter.peek("another").remaining(), 10);
        assert!(format!("{lease:?}").contains("held: 3"));
    }
    assert_eq!((limiter.peek("key").remaining(), limiter.under(&small).peek("key").remaining()), (9, 2));
    // The caller's now, and a view of one.
    let now = ns(200 * SECOND);
    let mut lease = limiter.at(now).key("key").lease(4);
    assert_eq!(lease.check_at(now).at(), now);
    assert_eq!(lease.check_n_at(2, now).at(), now);
    assert_eq!(limiter.at(now).peek("key").remaining(), 6);
}

#[test]
fn a_key_that_finds_no_room() {
    let builder = || Limiter::builder(Quota::per_day(10)).capacity(1);
    for on_full in [OnFull::RefuseNew, OnFull::AdmitUntracked, OnFull::EvictNearestIdle] {
        let limiter = builder().on_full(on_full).clock(ManualClock::default()).build().unwrap();
        (0..1_000).for_each(|key: u64| assert!(limiter.check_n(&key, 1).at() == ns(0)));
        let mut lease = limiter.key("new").lease(4);
        let decision = lease.check();
        match on_full {
            OnFull::RefuseNew => assert!(decision.is_refused() && decision.retry_after().is_some()),
            OnFull::AdmitUntracked => assert!(decision.is_allowed()),
            _ => assert!(decision.is_allowed() || decision.is_refused()),
        }
        assert!(decision.is_allowed() || lease.held() == 0);
        assert!(on_full != OnFull::AdmitUntracked || lease.held() == 0, "of no bucket, nothing is held");
    }
}

/// A table full of words of another time has room again one refill after a lease has met them, as after a plain check.
#[test]
fn a_step_back_in_a_full_table_is_repaired() {
    let builder = Limiter::builder(Quota::per_day(10)).capacity(1).on_full(OnFull::RefuseNew);
    let limiter = builder.clock(ManualClock::new(ns(100 * DAY))).build().unwrap();
    while limiter.stats().refused_full == 0 {
        let key = limiter.stats().busy;
        (0..1_000).for_each(|n: u64| assert!(!limiter.check(&(key, n)).never_fits()));
    }
    limiter.clock().set(ns(DAY));
    let mut lease = limiter.key("new").lease(4);
    let wait = lease.check().retry_after().expect("refused for room");
    assert!(wait > Duration::ZERO && wait <= Duration::from_nanos(DAY + 1), "{wait:?}");
    limiter.clock().advance(wait);
    assert!(lease.check().is_allowed());
}

/// Everything that was admitted in a window, and what the counters of a sliding window made of it.
fn assert_estimate(history: &[Admitted], quota: &Quota) {
    let (period, limit) = (u128::from(nanos(quota.period())), u128::from(quota.count()));
    let (mut index, mut previous, mut current) = (0, 0, 0);
    for &(at, cost) in history {
        let (at, cost) = (u128::from(at), u128::from(cost));
        let window = at / period;
        if window != index {
            previous = if window == index + 1 { current } else { 0 };
            (index, current) = (window, 0);
        }
        current += cost;
        let rest = (window + 1) * period - at;
        assert!(previous * rest + current * period <= limit * period, "{quota}: at {at} ns, cost {cost}");
    }
}

/// Handles and plain callers on one bucket, in the order of time but for those that are `late`; some give back what was
/// admitted if there are `refunds`. Then the verdict. Says how many were admitted from what was held.
fn scenario(quota: Quota, rng: &mut Rng, late: bool, refunds: bool) -> u64 {
    let replay = Replay::new(format!("{quota}, late: {late}, refunds: {refunds}"));
    let mut t = 1_000 * SECOND + rng.below(SECOND);
    let bucket = bucket(quota, t);
    let batches = [0, 1, 2, 3, 8, 64, quota.burst() / 2, quota.burst(), u64::MAX];
    let mut handles: Vec<Lease<'_, _>> =
        (0..=rng.below(5)).map(|_| bucket.handle().lease(rng.pick(&batches))).collect();
    let fill = (u128::from(nanos(quota.period())) * u128::from(quota.burst())).div_ceil(u128::from(quota.count()));
    let fill = u64::try_from(fill).expect("a short time");
    let token = (nanos(quota.period()) / quota.count()).max(1);
    let (mut history, mut local, mut refunded) = (Vec::new(), 0, 0);
    for _ in 0..200 {
        t += match rng.below(8) {
            0..=3 => 0,
            4 => rng.below(2 * token),
            5 => token,
            6 => rng.magnitude(2 * fill),
            _ => rng.below(fill / 2 + 1),
        };
        bucket.clock().set(ns(t));
        let now = t - if late && rng.once_in(3) { rng.magnitude(SECOND) } else { 0 };
        let cost = 1 + if rng.once_in(3) { rng.below(quota.burst().min(9)) } else { 0 };
        let handle = rng.index(handles.len());
        let lease = &mut handles[handle];
        if refunds && rng.once_in(16) {
            replay.note("refund", t, cost);
            bucket.handle().refund(cost);
            refunded += cost;
            continue;
        }
        let decision = match rng.below(16) {
            0 => {
                replay.note("give back", t, lease.held());
                lease.give_back();
                continue;
            }
            1 => {
                *lease = bucket.handle().lease(rng.pick(&batches));
                continue;
            }
            2 => {
                // All that is held, and all that is left, at one instant.
                for lease in &mut handles {
                    let held = lease.held();
                    if held > 0 && lease.check_n(held).is_allowed() {
                        history.push((t, held));
                    }
                }
                let rest = bucket.handle().take_up_to(u64::MAX);
                replay.note("drained", t, rest);
                history.push((t, rest));
                continue;
            }
            3..=4 => bucket.at(ns(now)).check_n(cost),
            _ => {
                let held = lease.held();
                let decision = lease.check_n_at(cost, ns(now));
                local += u64::from(decision.is_allowed() && held >= cost);
                decision
            }
        };
        if decision.is_allowed() {
            replay.note("admitted", now, cost);
            history.push((now, cost));
        } else if let (false, Some(wait)) = (late, decision.retry_after()) {
            replay.note("refused", now, cost);
            // Alone, it is admitted after that.
            t += nanos(wait);
            bucket.clock().set(ns(t));
            assert!(lease.check_n(cost).is_allowed(), "refused again after {wait:?}");
            history.push((t, cost));
        }
    }
    match quota.algorithm() {
        Algorithm::TokenBucket => {
            // A refund counts in whatever span what was held at its instant is used.
            let over = within_rate(&mut history, &quota, 1).err().unwrap_or(0);
            assert!(over <= i128::from(refunded) * i128::from(nanos(quota.period())), "{quota}: P1 by {over}");
        }
        Algorithm::SlidingWindow => assert_estimate(&history, &quota),
        _ => {}
    }
    if !late && !refunds {
        keeps_its_promise(&mut history, &quota);
    }
    local
}

#[test]
fn at_random_never_more_than_the_limit() {
    let mut rng = Rng(setting("TOLLGATE_SEED", 1));
    let rounds: u64 = setting("TOLLGATE_LEASES", 400);
    let mut local = 0;
    for _ in 0..rounds {
        let (count, period) = (rng.magnitude(1_000), Duration::from_nanos(rng.magnitude(100 * SECOND).max(1_000_000)));
        let quota = Quota::new(count, period).expect("a quota");
        local += scenario(quota.with_burst(rng.magnitude(200)), &mut rng, false, false);
        local += scenario(quota.with_burst(rng.magnitude(200)), &mut rng, true, false);
        local += scenario(quota.with_burst(rng.magnitude(200)), &mut rng, false, true);
        for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
            local += scenario(quota.with_algorithm(algorithm), &mut rng, false, false);
        }
    }
    assert!(local > 40 * rounds, "{local} were admitted from what was held");
}

/// While time stands still what is not left is used or held, to the token; and in a window it all comes back.
#[test]
fn at_random_nothing_is_lost() {
    let mut rng = Rng(setting("TOLLGATE_SEED", 2));
    for round in 0..300 {
        let algorithm = [Algorithm::TokenBucket, Algorithm::FixedWindow, Algorithm::SlidingWindow][round % 3];
        let count = 1 + rng.below(100);
        let quota = Quota::new(count, Duration::from_secs(10)).unwrap().with_algorithm(algorithm);
        let bucket = bucket(quota, 100 * SECOND);
        let batch = 1 + rng.below(20);
        let mut handles: Vec<_> = (0..=rng.below(4)).map(|_| bucket.handle().lease(batch)).collect();
        let mut used = 0;
        for _ in 0..rng.below(2 * count) {
            let (handle, cost) = (rng.index(handles.len()), 1 + rng.below(3));
            let (before, own) = (left(&bucket), handles[handle].held());
            let allowed = handles[handle].check_n(cost).is_allowed();
            assert_eq!(allowed, before + own >= cost, "{quota}: {before} left and {own} held, for {cost}");
            used += if allowed { cost } else { 0 };
            let held: u64 = handles.iter().map(Lease::held).sum();
            assert_eq!(used + held + left(&bucket), count, "{quota}: used, held and left");
            assert!(handles.iter().all(|lease| lease.held() < batch), "less than a batch");
        }
        let held: u64 = handles.iter().map(Lease::held).sum();
        drop(handles);
        match algorithm {
            Algorithm::TokenBucket => assert!(used + left(&bucket) + held >= count),
            _ => assert_eq!(used + left(&bucket), count, "{quota}: what was held came back"),
        }
        bucket.clock().advance(Duration::from_secs(20));
        assert_eq!(left(&bucket), count, "{quota}: and all of it, in time");
    }
}

/// Threads with a handle each, which now and then is dropped, passed by, or left alone for longer than what it holds is
/// good, until `drive` is done with the clock.
fn race_with_handles<C: Clock>(
    limiter: &Limiter<C>,
    threads: usize,
    batch: u64,
    drive: impl Fn(&C) + Sync,
) -> Vec<Seen> {
    let done = AtomicBool::new(false);
    race(threads + 1, |thread| {
        if thread == threads {
            drive(limiter.clock());
            done.store(true, Ordering::Relaxed);
        }
        let (mut seen, mut rng, mut lease) = (Vec::new(), Rng(thread as u64), limiter.key(&0_u64).lease(batch));
        while !done.load(Ordering::Relaxed) {
            let cost = 1 + rng.below(3);
            if rng.once_in(64) {
                lease = limiter.key(&0_u64).lease(batch);
            }
            if rng.once_in(8) {
                seen.push(Seen::check(limiter, thread, 0, cost));
                continue;
            }
            let decision = lease.check_n(cost);
            let answer = if decision.is_allowed() { Answer::Allowed } else { Answer::Refused };
            let at = decision.at().as_nanos();
            seen.push(Seen::with_answer(thread, 0, cost, at, answer, at));
            // In a bucket that is always empty nobody would hold anything.
            if rng.once_in(if decision.is_refused() { 4 } else { 64 }) {
                thread::sleep(Duration::from_micros(rng.below(3_000)));
            }
        }
        seen
    })
}

#[test]
fn threads_on_the_real_clock() {
    let _alone = alone();
    let quota = Quota::per_second(100_000).with_burst(200);
    for (threads, batch) in [(4, 16), (8, 64), (8, 4)] {
        until_they_meet(|| {
            let limiter = Limiter::builder(quota).build().unwrap();
            let mut seen = race_with_handles(&limiter, threads, batch, |_| thread::sleep(Duration::from_millis(100)));
            assert_p1(&mut seen, &quota, none);
            takeovers(&mut seen)
        });
    }
}

#[test]
fn threads_while_the_clock_is_set() {
    let _alone = alone();
    let quota = Quota::per_second(100_000).with_burst(200);
    for (threads, batch) in [(4, 16), (8, 64), (8, 4)] {
        until_they_meet(|| {
            let limiter = Limiter::builder(quota).clock(ManualClock::default()).build().unwrap();
            // The bucket fills in 2 ms: sixteen ticks, or one of the long ones.
            let mut seen = race_with_handles(&limiter, threads, batch, |clock| advance(clock, 1_000, 250 * MICRO));
            assert_p1(&mut seen, &quota, none);
            takeovers(&mut seen)
        });
    }
}

/// Time stands still: what all admitted and what is left come to no more than there was, and to no less than that by
/// what the handles held; in a window to exactly that.
#[test]
fn threads_in_one_instant() {
    let _alone = alone();
    const THREADS: usize = 4;
    const BATCH: u64 = 8;
    const BURST: u64 = 100;
    until_they_meet(|| {
        let mut met = 0;
        for round in 0..100 {
            let algorithm = [Algorithm::TokenBucket, Algorithm::FixedWindow, Algorithm::SlidingWindow][round % 3];
            let quota = Quota::new(BURST, Duration::from_secs(10)).unwrap().with_algorithm(algorithm);
            let bucket = bucket(quota, 100 * SECOND);
            let mut seen = race(THREADS, |thread| {
                let (mut lease, mut rng) = (bucket.handle().lease(BATCH), Rng((round * THREADS + thread) as u64));
                let calls = rng.below(2 * BURST / THREADS as u64);
                let mut check = || {
                    let cost = 1 + rng.below(2);
                    if rng.once_in(4) {
                        thread::yield_now();
                    }
                    let allowed = lease.check_n(cost).is_allowed();
                    let answer = if allowed { Answer::Allowed } else { Answer::Refused };
                    Seen::with_answer(thread, 0, cost, 0, answer, 0)
                };
                (0..calls).map(|_| check()).collect()
            });
            let used: u64 = seen.iter().map(Seen::taken).sum();
            let there = used + left(&bucket);
            let lapses = if algorithm == Algorithm::TokenBucket { (BATCH - 1) * THREADS as u64 } else { 0 };
            assert!((BURST - lapses..=BURST).contains(&there), "{quota}: {used} used, {} left", left(&bucket));
            met += takeovers(&mut seen);
        }
        met
    });
}

/// Ten handles that are far too slow for their batches and ask, at random, for much of what there is: what lapses is what
/// is spare. Plain checks would all be admitted.
#[test]
fn slow_handles_keep_the_rate() {
    for batch in [4, 16, 100] {
        let (mut rng, mut t) = (Rng(7), 100 * SECOND);
        let bucket = bucket(Quota::per_second(100).with_burst(100), t);
        let mut handles: Vec<_> = (0..10).map(|_| bucket.handle().lease(batch)).collect();
        // 80 a second, of a hundred.
        for call in 0..60_000 {
            t += rng.below(2 * SECOND / 80);
            bucket.clock().set(ns(t));
            let handle = rng.index(handles.len());
            assert!(handles[handle].check().is_allowed(), "batch {batch}, call {call}");
        }
    }
}

/// Beside a caller who asks all the time, the same handles keep nobody from a token.
#[test]
fn who_always_asks_gets_the_whole_rate() {
    let bucket = bucket(Quota::per_second(100).with_burst(50), 100 * SECOND);
    let mut handles: Vec<_> = (0..3).map(|_| bucket.handle().lease(20)).collect();
    let mut admitted = bucket.handle().take_up_to(50);
    for milli in 1..=100_000 {
        bucket.clock().set(ns(100 * SECOND + milli * SECOND / 1_000));
        if milli % 170 == 0 {
            let handle = usize::try_from(milli / 170 % 3).unwrap();
            admitted += u64::from(handles[handle].check().is_allowed());
        }
        admitted += u64::from(bucket.check().is_allowed());
    }
    assert_eq!(admitted, 50 + 100 * 100);
}

#[test]
fn an_owned_lease_is_a_lease() {
    let limiter = Arc::new(Limiter::builder(Quota::per_minute(100)).clock(ManualClock::default()).build().unwrap());
    let small = limiter.prepare("small", Quota::per_minute(4)).unwrap();
    let mut lease = Arc::clone(&limiter).lease_owned(*limiter.default_limit(), "key", 8);
    assert!(lease.check().is_allowed());
    assert_eq!((lease.held(), lease.batch(), limiter.peek("key").remaining()), (7, 8, 92));
    // The rest of it comes from what is held, in another thread too.
    let elsewhere = std::thread::spawn(move || {
        assert!((0..7).all(|_| lease.check().is_allowed()));
        lease
    });
    let mut lease = elsewhere.join().unwrap();
    assert_eq!((lease.held(), limiter.peek("key").remaining()), (0, 92));
    assert!(lease.check_n(2).is_allowed() && lease.held() == 6);
    lease.give_back();
    assert_eq!((lease.held(), limiter.peek("key").remaining()), (0, 90));
    assert!(lease.check_at(ns(0)).is_allowed() && lease.check_n_at(1_000, ns(0)).never_fits());
    drop(lease);
    assert_eq!(limiter.peek("key").remaining(), 89, "dropping gives back");
    let mut lease = Arc::clone(&limiter).lease_owned(small, "key", 1);
    assert_eq!((0..9).filter(|_| lease.check().is_allowed()).count(), 4);
    // Of another limiter: nothing.
    let other = Arc::new(Limiter::builder(Quota::per_minute(100)).build().unwrap());
    assert!(Arc::clone(&other).lease_owned(small, "key", 8).check().never_fits());
    assert_eq!(other.stats().foreign, 1);
    let bucket = Arc::new(Bucket::with_clock(Quota::per_minute(10), ManualClock::default()).unwrap());
    let mut lease = Arc::clone(&bucket).lease_owned(4);
    assert!(lease.check().is_allowed());
    assert_eq!((lease.held(), bucket.peek().remaining()), (3, 6));
    drop(lease);
    assert_eq!(bucket.peek().remaining(), 9);
}
