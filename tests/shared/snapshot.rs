//! Shared tables written down and restored: over restarts, into other capacities, beside others who go on.

use std::time::Duration;

use tollgate::clock::{Clock as _, Instant, ManualClock};
use tollgate::error::{BuildError, RestoreError, SharedError};
use tollgate::shared::{OnMismatch, Shared};
use tollgate::snapshot::{Restored, SnapshotInfo};
use tollgate::{Limiter, OnFull};

use crate::process::{Child, Directory, builder, shared};

const START: Instant = Instant::from_secs(1_800_000_000);

fn refused<T: std::fmt::Debug>(result: Result<T, RestoreError>) -> SharedError {
    match result {
        Err(RestoreError::Build(BuildError::Shared { source, .. })) => source,
        other => panic!("{other:?}"),
    }
}

/// Every bucket, to the unit: sets, logs and debts among them, in another capacity, after a while.
#[test]
fn a_restored_table_goes_on_as_the_old_one_would_have() {
    let directory = Directory::new("restored");
    let clock = ManualClock::new(START);
    let on = |name: &str, capacity| {
        let shared = Shared::at(directory.table().with_extension(name));
        builder("10/hour", capacity).shared(shared).trust_clock(clock.clone())
    };
    let old = on("old", 200).build().unwrap();
    let quotas = [
        "7/minute burst 3",
        "5/minute debt 30 second",
        "9/minute as fixed-window",
        "9/minute as sliding-window",
        "4/hour as sliding-log",
        "6/minute as leaky-queue",
    ];
    let limits = |limiter: &Limiter<_>| quotas.map(|quota| limiter.prepare("name", quota).unwrap());
    for key in 0..9_u64 {
        let _ = old.key(&key).take_up_to(key);
        for limit in limits(&old) {
            let _ = old.under(&limit).key(&key).take_up_to(key / 2);
        }
        clock.advance(Duration::from_millis(371));
    }
    let _ = old.under(&limits(&old)[1]).key("debtor").charge(40);
    let mut bytes = Vec::new();
    let info = old.snapshot(&mut bytes).unwrap();
    assert!(info.is_of_shared && info.buckets > 40 && info.capacity == 200 && info.taken_at == clock.now());
    assert_eq!(SnapshotInfo::read(&bytes[..]).unwrap(), info);

    clock.advance(Duration::from_secs(2));
    for (name, capacity) in [("more", 10_000), ("as-many", 200)] {
        let (new, restored) = on(name, capacity).restore(&bytes[..]).unwrap();
        let Restored { taken_at, buckets, refilled, displaced, .. } = restored;
        assert_eq!((taken_at, buckets + refilled, displaced), (info.taken_at, info.buckets, 0));
        // And whoever attaches to it now.
        let other = on(name, capacity).build().unwrap();
        for new in [&new, &other] {
            let (before, after) = (limits(&old), limits(new));
            for key in 0..9_u64 {
                assert_eq!(new.key(&key).state(), old.key(&key).state(), "{capacity}: key {key}");
                for (before, after) in before.iter().zip(&after) {
                    let [then, now] = [(&old, before), (new, after)].map(|(limiter, limit)| {
                        let view = limiter.under(limit);
                        (view.key(&key).state(), view.peek(&key).retry_after(), view.peek(&key).remaining())
                    });
                    assert_eq!(now, then, "{capacity}: key {key}, {:?}", before.quota());
                }
            }
            assert_eq!(
                new.under(&after[1]).peek("debtor").retry_after(),
                old.under(&before[1]).peek("debtor").retry_after()
            );
        }
    }
    // Into fewer places than buckets: those nearest to full are left out, and counted.
    let (few, restored) = on("few", 16).restore(&bytes[..]).unwrap();
    assert!(restored.displaced > 0 && restored.buckets == 20, "{restored:?}");
    assert!(few.under(&limits(&few)[1]).check("debtor").is_refused(), "the deepest debt is there");
}

/// What a reset has forgotten does not come back by a reset after the restart.
#[test]
fn limits_that_were_reset_are_not_met_again() {
    let directory = Directory::new("renewed");
    let (old, new) = (directory.table(), directory.table().with_extension("new"));
    let limiter = shared("10/hour", 100, &old);
    let first = limiter.reset_limit(limiter.default_limit());
    assert_eq!(limiter.under(&first).key("key").take_up_to(10), 10);
    let mut bytes = Vec::new();
    limiter.snapshot(&mut bytes).unwrap();
    let (restored, _) = builder("10/hour", 100).shared(Shared::at(&new)).restore(&bytes[..]).unwrap();
    let second = restored.reset_limit(restored.default_limit());
    assert_eq!(restored.under(&second).key("key").take_up_to(20), 10);
}

/// By the operating system's clock, in another process; and what is there is not lost for it.
#[test]
fn what_is_there_stays_unless_it_is_to_be_replaced() {
    let directory = Directory::new("stays");
    let path = directory.table();
    let old = shared("10/hour", 100, &path);
    assert_eq!(old.key("key").take_up_to(4), 4);
    let mut bytes = Vec::new();
    old.snapshot(&mut bytes).unwrap();
    assert_eq!(old.key("key").take_up_to(3), 3);

    let restore = |what| builder("10/hour", 200).shared(Shared::at(&path).on_mismatch(what)).restore(&bytes[..]);
    for what in [OnMismatch::Refuse, OnMismatch::Adopt] {
        assert!(matches!(refused(restore(what)), SharedError::Exists));
    }
    assert!(matches!(refused(restore(OnMismatch::Replace)), SharedError::InUse));
    assert!(matches!(
        refused(builder("10/hour", 200).shared(Shared::attach(&path)).restore(&bytes[..])),
        SharedError::NotFound
    ));
    assert_eq!((old.peek("key").remaining(), old.shared().unwrap().is_detached()), (3, false));
    drop(old);
    // A snapshot that is not whole takes nothing away.
    let cut = &bytes[..bytes.len() - 1];
    let damaged = builder("10/hour", 200).shared(Shared::at(&path).on_mismatch(OnMismatch::Replace)).restore(cut);
    assert!(matches!(damaged, Err(RestoreError::Truncated { .. })));
    assert_eq!(shared("10/hour", 100, &path).peek("key").remaining(), 3);

    Child::new(|| {
        let (new, restored) = restore(OnMismatch::Replace).unwrap();
        assert_eq!((restored.buckets, new.stats().capacity, new.peek("key").remaining()), (1, 200, 6));
        assert_eq!(new.key("key").take_up_to(1), 1);
    })
    .ends_well();
    let after = shared("10/hour", 200, &path);
    assert_eq!((after.peek("key").remaining(), directory.names()), (5, 1));
    // A file of somebody's that is no table is not replaced either.
    drop(after);
    std::fs::write(&path, [b'x'; 10_000]).unwrap();
    assert!(matches!(refused(restore(OnMismatch::Replace)), SharedError::Foreign));
    assert_eq!(std::fs::read(&path).unwrap(), [b'x'; 10_000]);
}

#[test]
fn the_other_kind_and_a_clock_behind_are_refused() {
    let directory = Directory::new("kinds-of-snapshot");
    let path = directory.table();
    let clock = ManualClock::new(START);
    let trusting = |path| builder("10/hour", 100).shared(Shared::at(path)).trust_clock(clock.clone());
    let (mut of_shared, mut of_private) = (Vec::new(), Vec::new());
    trusting(path.clone()).build().unwrap().snapshot(&mut of_shared).unwrap();
    builder("10/hour", 100).build().unwrap().snapshot(&mut of_private).unwrap();
    std::fs::remove_file(&path).unwrap();

    let into_private = builder("10/hour", 100).clock(clock.clone()).restore(&of_shared[..]);
    assert!(matches!(into_private, Err(RestoreError::Kind { is_of_shared: true })));
    let into_shared = builder("10/hour", 100).shared(Shared::at(&path)).restore(&of_private[..]);
    assert!(matches!(into_shared, Err(RestoreError::Kind { is_of_shared: false })));
    // A private one that goes by a shared table's clock is neither.
    let table_clock = *builder("10/hour", 100).shared(Shared::before_fork()).build().unwrap().clock();
    let neither = builder("10/hour", 100).clock(table_clock);
    let kind = |bytes: &[u8]| matches!(neither.clone().restore(bytes), Err(RestoreError::Kind { .. }));
    assert!(kind(&of_shared) && kind(&of_private));
    let unsupported = neither.build().unwrap().snapshot(std::io::sink()).unwrap_err();
    assert_eq!(unsupported.kind(), std::io::ErrorKind::Unsupported);

    clock.set(START.saturating_sub(Duration::from_secs(3)));
    let behind = refused(trusting(path.clone()).restore(&of_shared[..]));
    assert!(matches!(behind, SharedError::ClockBehind { by } if by == Duration::from_secs(3)), "{behind:?}");
    clock.set(START + Duration::from_secs(9 * 365 * 86_400 + 86_400));
    assert!(matches!(refused(trusting(path.clone()).restore(&of_shared[..])), SharedError::TooOld { .. }));
    clock.set(START + Duration::from_secs(100 * 365 * 86_400));
    assert!(matches!(trusting(path.clone()).restore(&of_shared[..]), Err(RestoreError::Clock { .. })));
    assert_eq!(directory.names(), 0, "nothing is left of what was not to be had");
    // The system's clock goes on from where the table was, though the wall clock is behind that.
    let (limiter, _) = builder("10/hour", 100).shared(Shared::at(&path)).restore(&of_shared[..]).unwrap();
    assert!(limiter.now() >= START, "{:?}", limiter.now());
}

/// Beside others who take and insert all the while: each bucket as it was at one instant of the snapshot.
#[test]
fn beside_others_each_bucket_is_one_that_it_had() {
    let directory = Directory::new("beside");
    let path = directory.table();
    let here = shared("1000/hour", 20_000, &path);
    let fixed: Vec<String> = (0..500).map(|key| format!("fixed {key}")).collect();
    for (taken, key) in (1..).zip(&fixed) {
        assert_eq!(here.key(key.as_str()).take_up_to(taken), taken);
    }
    let other = Child::new(|| {
        let there = shared("1000/hour", 20_000, &path);
        for key in 0_u64.. {
            let _ = there.check(&(key % 9_000));
        }
    });
    for round in 0..10 {
        let mut bytes = Vec::new();
        let _ = here.snapshot(&mut bytes).unwrap();
        let to = Shared::at(path.with_extension(format!("{round}")));
        let (again, restored) = builder("1000/hour", 20_000).shared(to).restore(&bytes[..]).unwrap();
        assert_eq!(restored.displaced, 0);
        for (taken, key) in (1..).zip(&fixed) {
            // 3.6 s a token: none or one has come back meanwhile, but for slow machines.
            let left = again.peek(key.as_str()).remaining();
            assert!((1_000 - taken..1_010 - taken).contains(&left), "{key}: {left} of {}", 1_000 - taken);
        }
    }
    other.kill();
}

/// A tool needs to know nothing of a table: neither capacity nor policy nor clock.
#[test]
fn a_tool_looks_writes_down_and_restores() {
    let directory = Directory::new("tool");
    let path = directory.table();
    let clock = ManualClock::new(START);
    let policy = OnFull::RefuseNew;
    let trusting = builder("10/hour", 300).on_full(policy).shared(Shared::at(&path)).trust_clock(clock.clone());
    for is_system_clock in [true, false] {
        let _ = std::fs::remove_file(&path);
        assert!(matches!(Shared::at(&path).inspect().unwrap_err(), SharedError::NotFound));
        let made: Box<dyn std::any::Any> = if is_system_clock {
            let limiter = builder("10/hour", 300).on_full(policy).shared(Shared::at(&path)).build().unwrap();
            assert_eq!(limiter.key("key").take_up_to(4), 4);
            Box::new(limiter)
        } else {
            let limiter = trusting.clone().build().unwrap();
            assert_eq!(limiter.key("key").take_up_to(4), 4);
            Box::new(limiter)
        };
        let found = Shared::at(&path).inspect().unwrap();
        let info = found.info();
        assert_eq!((info.capacity, info.on_full, info.is_system_clock), (300, policy, is_system_clock));
        assert_eq!((info.busy, info.between_owners, info.freed, info.is_sparse), (1, 0, 0, false));
        assert!(info.age < Duration::from_secs(60) && info.reach >= Duration::from_secs(3_600), "{info:?}");
        let mut bytes = Vec::new();
        assert_eq!(found.snapshot(&mut bytes).unwrap().buckets, 1);
        drop((found, made));
        std::fs::remove_file(&path).unwrap();
        if is_system_clock {
            let (made, restored) = Shared::at(&path).restore(1_000, OnFull::EvictNearestIdle, &bytes[..]).unwrap();
            assert_eq!((restored.buckets, made.info().capacity), (1, 1_000));
            drop(made);
            assert_eq!(shared("10/hour", 1_000, &path).peek("key").remaining(), 6);
        }
    }
    let bounds = Shared::at(&path).restore(0, policy, &[][..]);
    assert!(matches!(bounds, Err(RestoreError::Build(BuildError::Capacity { capacity: 0, .. }))));
}

/// Whatever stands in the slots: what is written down is whole.
#[test]
fn a_snapshot_of_anything_is_a_snapshot() {
    use std::os::unix::fs::FileExt as _;

    let directory = Directory::new("anything");
    let path = directory.table();
    let limiter = shared("10/hour", 60, &path);
    let length = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    // A live word far ahead, and no key; then one with everything set.
    for (key, word) in [(0_u64, (1_u64 << 60) - 1), (u64::MAX, (1 << 61) - 1), (7, 1 << 59)] {
        for slot in (20_480..length).step_by(16) {
            file.write_all_at(&[key.to_le_bytes(), word.to_le_bytes()].concat(), slot).unwrap();
        }
        let mut bytes = Vec::new();
        let info = limiter.snapshot(&mut bytes).unwrap();
        assert_eq!(SnapshotInfo::read(&bytes[..]).unwrap(), info);
        let to = Shared::before_fork();
        let restored = builder("10/hour", 60).shared(to).restore(&bytes[..]);
        assert!(restored.is_ok(), "{restored:?}");
    }
}
