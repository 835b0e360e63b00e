//! Snapshots: what a limiter is after `restore` compared with the one that went on, byte by byte of what is damaged, and what a
//! key can gain.

#![allow(missing_docs, reason = "a test")]
#![cfg(target_endian = "little")]

mod common;

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{DAY, Rng, SECOND, YEAR, ns};
use tollgate::clock::{Clock, ExactClock, Instant, ManualClock};
use tollgate::error::{BuildError, RestoreError};
use tollgate::snapshot::{Restored, SnapshotInfo};
use tollgate::state::BucketState;
use tollgate::{Algorithm, Limit, Limiter, OnFull, Quota, WindowStart};

const START: u64 = 1_700_000_000 * SECOND;
const KEYS: u64 = 40;
/// By `the_script`, of this version: what others must be able to read for ever, or refuse by its version.
const GOLDEN: &[u8] = include_bytes!("data/snapshot-1.bin");

fn quotas() -> Vec<Quota> {
    let of = |algorithm| Quota::new(7, Duration::from_millis(61_337)).unwrap().with_algorithm(algorithm);
    let window = of(Algorithm::FixedWindow);
    let mut quotas: Vec<Quota> = Algorithm::ALL.map(of).into();
    quotas.extend([
        Quota::per_second(300),
        Quota::per_day(100).with_burst(3),
        Quota::per_minute(5).with_max_debt(Duration::from_secs(600)),
        window.with_window_start(WindowStart::FirstHit),
        window.with_refused_counted(true),
    ]);
    quotas
}

fn limits<C: Clock>(limiter: &Limiter<C>) -> Vec<Limit> {
    quotas().iter().enumerate().map(|(at, &quota)| limiter.prepare(&format!("limit {at}"), quota).unwrap()).collect()
}

/// A limiter that has seen a bit of everything, and its clock.
fn the_script(seed: Option<u64>) -> (Limiter<ManualClock>, ManualClock) {
    let clock = ManualClock::new(ns(START));
    let mut builder = Limiter::builder(Quota::per_second(11)).also_exact_for(quotas()).capacity(4_000);
    if let Some(seed) = seed {
        builder = builder.fixed_seed(seed);
    }
    let limiter = builder.clock(clock.clone()).build().unwrap();
    let limits = limits(&limiter);
    let mut rng = Rng(1);
    for _ in 0..20_000 {
        clock.advance(Duration::from_nanos(rng.next() % 10_000_000));
        let key = rng.next() % KEYS;
        let view = limiter.under(&limits[usize::try_from(rng.next()).unwrap_or(0) % limits.len()]);
        match rng.next() % 10 {
            0 => view.key(&key).refund(1),
            1 => {
                view.key(&key).charge(2);
            }
            2 => {
                let _ = view.key(&key).reserve(1, Duration::from_secs(30));
            }
            cost => {
                let _ = view.key(&key).check_n(cost.min(3));
            }
        }
        let _ = limiter.check(&key);
    }
    (limiter, clock)
}

fn left_of(state: BucketState) -> u64 {
    match state {
        BucketState::Bucket { balance } => u64::try_from(balance.floor()).expect("not past empty"),
        other => panic!("{other:?}"),
    }
}

fn snapshot<C: Clock>(limiter: &Limiter<C>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let info = limiter.snapshot(&mut bytes).unwrap();
    assert_eq!(SnapshotInfo::read(&bytes[..]).unwrap(), info);
    assert_eq!(info.bytes, bytes.len() as u64);
    bytes
}

/// A quota of another limiter than `the_script`'s, so that the time base must come from the snapshot.
fn restore(bytes: &[u8], capacity: usize, now: Instant) -> (Limiter<ManualClock>, ManualClock, Restored) {
    let clock = ManualClock::new(now);
    let builder = Limiter::builder(Quota::per_second(11)).capacity(capacity).clock(clock.clone());
    let (limiter, restored) = builder.restore(bytes).unwrap();
    (limiter, clock, restored)
}

/// Asks both the same, and nothing may differ; then both are used, and go on alike.
fn are_alike(one: (&Limiter<ManualClock>, &ManualClock), two: (&Limiter<ManualClock>, &ManualClock)) {
    let limits = [limits(one.0), limits(two.0)];
    let mut rng = Rng(2);
    for step in [0, 1, 400, 3_000, 20_000, 70_000, 3_600_000] {
        for clock in [one.1, two.1] {
            clock.advance(Duration::from_millis(step));
        }
        assert_eq!(one.1.now(), two.1.now());
        for key in 0..KEYS {
            let both = [one.0, two.0].map(|limiter| limiter.key(&key).state());
            assert_eq!(both[0], both[1], "key {key}");
            let cost = 1 + rng.next() % 3;
            for (at, (first, second)) in limits[0].iter().zip(&limits[1]).enumerate() {
                assert_eq!(first.effective_rate(), second.effective_rate());
                let ask = |limiter: &Limiter<ManualClock>, limit: &Limit| {
                    let (state, view) = (limiter.under(limit).key(&key).state(), limiter.under(limit));
                    let decision = view.key(&key).check_n(cost);
                    (state, decision.is_allowed(), decision.remaining(), decision.retry_after())
                };
                assert_eq!(ask(one.0, first), ask(two.0, second), "limit {at}, key {key}, {step} ms on");
            }
        }
    }
}

#[test]
fn a_restored_limiter_decides_as_the_one_that_went_on() {
    for capacity in [4_000, 5_000, 1_000_000] {
        let (limiter, clock) = the_script(None);
        let bytes = snapshot(&limiter);
        let (other, other_clock, restored) = restore(&bytes, capacity, clock.now());
        assert_eq!((restored.displaced, restored.refilled), (0, 0));
        assert!(restored.buckets > KEYS * 10 && restored.taken_at == clock.now(), "{restored:?}");
        assert_eq!(other.stats().clock_steps, 0);
        are_alike((&limiter, &clock), (&other, &other_clock));
    }
}

#[test]
fn time_that_passed_in_between_has_passed() {
    for millis in [1, 5_000, 61_337, 300_000, DAY / 1_000_000] {
        let (limiter, clock) = the_script(None);
        let bytes = snapshot(&limiter);
        clock.advance(Duration::from_millis(millis));
        let (other, other_clock, restored) = restore(&bytes, 4_000, clock.now());
        let in_all = SnapshotInfo::read(&bytes[..]).unwrap().buckets;
        assert_eq!((restored.buckets + restored.refilled, restored.displaced), (in_all, 0));
        are_alike((&limiter, &clock), (&other, &other_clock));
    }
}

#[test]
fn a_snapshot_of_one_that_was_restored_is_as_good() {
    let (limiter, clock) = the_script(None);
    let mut bytes = snapshot(&limiter);
    for _ in 0..3 {
        let (other, _, _) = restore(&bytes, 4_000, clock.now());
        bytes = snapshot(&other);
    }
    let (other, other_clock, _) = restore(&bytes, 4_000, clock.now());
    are_alike((&limiter, &clock), (&other, &other_clock));
}

#[test]
#[cfg(all(target_pointer_width = "64", not(target_feature = "aes")))]
fn a_snapshot_of_this_version_stays_readable() {
    let (limiter, clock) = the_script(Some(7));
    if let Some(path) = std::env::var_os("TOLLGATE_WRITE_GOLDEN") {
        std::fs::write(path, snapshot(&limiter)).unwrap();
    }
    assert_eq!(SnapshotInfo::read(GOLDEN).unwrap().version, 1);
    let (other, other_clock, restored) = restore(GOLDEN, 4_000, clock.now());
    assert_eq!(restored.displaced, 0);
    are_alike((&limiter, &clock), (&other, &other_clock));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let clock = ManualClock::new(ns(START));
    let limiter = Limiter::builder(Quota::per_second(11)).clock(&clock).build().unwrap();
    assert!((0..5_u64).all(|key| limiter.check(&key).is_allowed()));
    let mut bytes = snapshot(&limiter);
    assert_eq!(bytes.len(), 256 + 16 * (5 + 1) + 8);
    let restore = |bytes: &[u8]| Limiter::builder(Quota::per_second(11)).capacity(99).clock(&clock).restore(bytes);
    restore(&bytes).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let error = restore(&bytes).expect_err("a bit was flipped");
            let info = SnapshotInfo::read(&bytes[..]).expect_err("a bit was flipped");
            assert!(!matches!(error, RestoreError::Io(_) | RestoreError::Build(_)), "byte {at}: {error}");
            assert_eq!(error.to_string(), info.to_string());
            bytes[at] ^= 1 << bit;
        }
        let error = restore(&bytes[..at]).expect_err("it was cut");
        assert!(matches!(error, RestoreError::Truncated { bytes } if bytes == at as u64), "{error}");
    }
    let whole = bytes.len() as u64;
    bytes.push(0);
    let error = restore(&bytes).expect_err("there is more");
    assert!(matches!(error, RestoreError::Trailing { bytes } if bytes == whole), "{error}");
}

#[test]
fn where_there_is_no_room_those_furthest_from_full_stay() {
    let clock = ManualClock::new(ns(START));
    let quota = Quota::per_hour(1_000);
    let limiter = Limiter::builder(quota).capacity(1_000).clock(&clock).build().unwrap();
    for key in 1..=1_000_u64 {
        assert_eq!(limiter.key(&key).take_up_to(key), key);
    }
    let bytes = snapshot(&limiter);
    let builder = Limiter::builder(quota).capacity(1).clock(&clock);
    // All of a table this small want the same twenty slots.
    for policy in [OnFull::EvictNearestIdle, OnFull::RefuseNew, OnFull::AdmitUntracked] {
        let (small, restored) = builder.clone().on_full(policy).restore(&bytes[..]).unwrap();
        assert_eq!((restored.buckets, restored.displaced), (20, 980));
        assert_eq!(small.stats().busy, 20);
        for key in 1..=1_000_u64 {
            let left = if key > 980 { 1_000 - key } else { 1_000 };
            assert_eq!(small.key(&key).state().map(left_of), Some(left), "key {key}");
        }
    }
}

#[test]
fn a_clock_behind_the_snapshot_has_stepped_back() {
    let clock = ManualClock::new(ns(START));
    let quota = Quota::per_minute(60);
    let limiter = Limiter::builder(quota).clock(&clock).build().unwrap();
    assert_eq!(limiter.key("key").take_up_to(60), 60);
    let bytes = snapshot(&limiter);
    clock.set(ns(START - DAY));
    let (other, _) = Limiter::builder(quota).clock(&clock).restore(&bytes[..]).unwrap();
    assert_eq!(other.stats().clock_steps, 1);
    // Nobody waits for a day: no longer than a refill.
    assert!(other.check("key").is_refused());
    clock.advance(Duration::from_secs(1));
    assert!(other.check("key").is_allowed() && other.check("key").is_refused());
}

#[test]
fn a_clock_of_another_zero_or_one_too_late_is_refused() {
    let bytes = snapshot(&the_script(None).0);
    let range = SnapshotInfo::read(&bytes[..]).unwrap().range.map(Instant::as_nanos);
    let at = |now: u64| {
        let clock = ManualClock::new(ns(now));
        Limiter::builder(Quota::per_second(11)).clock(clock).restore(&bytes[..]).map(|_| ())
    };
    let last = range[1] - YEAR;
    for (now, is_good) in [(0, false), (range[0] - 1, false), (range[0], true), (last, true), (last + 1, false)] {
        match at(now) {
            Ok(()) => assert!(is_good, "{now}"),
            Err(RestoreError::Clock { now: shown, earliest, latest }) => {
                assert!(!is_good && shown == ns(now) && earliest == ns(range[0]) && latest == ns(last), "{now}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(at(START + 8 * YEAR).is_ok() && at(START + 10 * YEAR).is_err());
}

/// Nobody gains more than what was taken since the snapshot began, nor loses what was there when it ended.
#[test]
fn beside_checks_each_bucket_is_one_that_there_was() {
    const BURST: u64 = 1_000_000_000;
    // Time stands still, so nothing comes back; and nobody is refused.
    let quota = Quota::new(BURST, Duration::from_nanos(YEAR)).unwrap();
    let clock = ManualClock::new(ns(START));
    let limiter = Limiter::builder(quota).capacity(10_000).clock(&clock).build().unwrap();
    let taken: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let stop = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (limiter, taken, stop) = (&limiter, &taken, &stop);
            scope.spawn(move || {
                let mut rng = Rng(thread);
                while stop.load(Ordering::Relaxed) == 0 {
                    let key = rng.next() % KEYS;
                    assert!(limiter.check(&key).is_allowed());
                    taken[usize::try_from(key).unwrap()].fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let counts = || taken.iter().map(|count| count.load(Ordering::SeqCst)).collect::<Vec<u64>>();
        let mut moved = 0;
        for _ in 0..50 {
            // A thread may have taken one that it has not counted yet.
            let (before, bytes, after) = (counts(), snapshot(&limiter), counts());
            let (other, _) = Limiter::builder(quota).clock(&clock).restore(&bytes[..]).unwrap();
            for (key, (before, after)) in (0..KEYS).zip(before.into_iter().zip(after)) {
                let used = BURST - other.peek(&key).remaining();
                assert!(before <= used && used <= after + 2, "key {key}: {before} to {after}, not {used}");
                moved += after - before;
            }
        }
        stop.store(1, Ordering::Relaxed);
        assert!(moved > 0, "nobody took anything meanwhile");
    });
}

#[test]
fn the_wall_clock_goes_on() {
    let quota = Quota::per_hour(3_600);
    let limiter = Limiter::builder(quota).build().unwrap();
    assert_eq!(limiter.key("key").take_up_to(3_600), 3_600);
    let bytes = snapshot(&limiter);
    std::thread::sleep(Duration::from_millis(1_100));
    // A clock that was made anew, as in another process.
    let clock = ExactClock::from_os();
    let (other, restored) = Limiter::builder(quota).clock(clock).restore(&bytes[..]).unwrap();
    assert_eq!((restored.buckets, restored.displaced), (1, 0));
    let left = other.peek("key").remaining();
    assert!((1..60).contains(&left), "{left}");
    let (other, _) = Limiter::builder(quota).restore(&bytes[..]).unwrap();
    assert!((1..60).contains(&other.peek("key").remaining()));
}

#[test]
fn what_breaks_down_is_told() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            if self.0 >= GOLDEN.len() / 2 {
                return Err(io::Error::other("the disk is gone"));
            }
            // By the byte, and interrupted before each.
            self.0 += 1;
            to[0] = GOLDEN[self.0 - 1];
            Ok(1)
        }
    }
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is full"))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = SnapshotInfo::read(Broken(0)).unwrap_err();
    assert!(matches!(&error, RestoreError::Io(_)) && error.to_string().contains("the disk is gone"), "{error}");
    let error = the_script(None).0.snapshot(Broken(0)).unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
    let error = SnapshotInfo::read(&b"GIF89a and more of it, and more and more, as long as a header has to be, which is rather long, longer than what most people write in one go, and longer than this as well; so there has to be more of it, and more, and more, until two hundred and fifty-six bytes are there."[..]);
    assert_eq!(
        error.unwrap_err().to_string(),
        "this is no snapshot: it begins with \"GIF89a a\", not with \"TOLLSNAP\""
    );
    let bytes = snapshot(&the_script(None).0);
    let error =
        Limiter::builder(Quota::per_second(11)).capacity(0).clock(ManualClock::new(ns(START))).restore(&bytes[..]);
    assert!(matches!(error.unwrap_err(), RestoreError::Build(BuildError::Capacity { capacity: 0, .. })));
    let error = Limiter::builder("5 per").restore(&bytes[..]);
    assert!(matches!(error.unwrap_err(), RestoreError::Build(BuildError::Text(_))));
}
