//! Who makes a table, who attaches to it, and what is refused.

use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use tollgate::OnFull;
use tollgate::clock::{Clock as _, ManualClock};
use tollgate::error::{BuildError, SharedError};
use tollgate::key::Hashed;
use tollgate::shared::{OnMismatch, Shared};

use crate::process::{Child, Directory, builder, shared};

fn error(shared: Shared) -> SharedError {
    match builder("10/hour", 100).shared(shared).build() {
        Err(BuildError::Shared { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_one_process_takes_another_has_not() {
    let directory = Directory::new("takes");
    let path = directory.table();
    let here = shared("10/hour", 100, &path);
    assert!(here.shared().unwrap().is_creator());
    assert_eq!(here.key("key").take_up_to(4), 4);
    Child::new(|| {
        let there = shared("10/hour", 100, &path);
        assert!(!there.shared().unwrap().is_creator());
        assert_eq!(there.peek("key").remaining(), 6);
        assert_eq!(there.key("key").take_up_to(20), 6);
        // A set, a log and an address as well.
        let log = there.prepare("log", "3/hour as sliding-log").unwrap();
        assert_eq!(there.under(&log).key(&("tenant", 7)).take_up_to(9), 3);
    })
    .ends_well();
    assert!(here.check("key").is_refused());
    let log = here.prepare("log", "3/hour as sliding-log").unwrap();
    assert!(here.under(&log).check(&("tenant", 7_i64)).is_refused());
    assert!(here.under(&log).check(&("tenant", 8)).is_allowed());
}

/// A key drained in one process is refused in another with the same wait, to the nanosecond, at the same instant.
#[test]
fn processes_agree_to_the_nanosecond() {
    let directory = Directory::new("agree");
    let path = directory.table();
    let here = shared("7/minute burst 3", 100, &path);
    assert_eq!(here.key("key").take_up_to(9), 3);
    let at = here.now();
    let wait = here.at(at).check("key").retry_after().unwrap();
    Child::new(|| {
        let there = shared("7/minute burst 3", 100, &path);
        assert_eq!(there.at(at).check("key").retry_after(), Some(wait));
        let (this, that) = (here.clock().now(), there.clock().now());
        assert!(that >= this && that <= here.clock().now(), "one clock");
    })
    .ends_well();
    // And windows begin when they do by the wall clock.
    let unix = std::time::UNIX_EPOCH.elapsed().unwrap();
    assert!(unix.abs_diff(Duration::from_nanos(here.now().as_nanos())) < Duration::from_secs(5));
}

#[test]
fn a_table_outlives_its_processes() {
    let directory = Directory::new("outlives");
    let path = directory.table();
    Child::new(|| assert_eq!(shared("10/hour", 100, &path).key("key").take_up_to(10), 10)).ends_well();
    assert!(shared("10/hour", 100, &path).check("key").is_refused());
}

#[test]
fn many_at_once_make_one_table() {
    const AT_ONCE: usize = 64;
    for round in 0..4 {
        let directory = Directory::new(&format!("many-{round}"));
        let path = directory.table();
        let children: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                Child::new(|| {
                    let limiter = shared("1/hour burst 64", 1_000, &path);
                    assert!(limiter.check("key").is_allowed());
                    let code = if limiter.shared().unwrap().is_creator() { 7 } else { 0 };
                    // SAFETY: ends this process, and drops nothing.
                    unsafe { libc::_exit(code) }
                })
            })
            .collect();
        let made = children.into_iter().map(|mut child| child.wait()).inspect(|status| {
            assert!(libc::WIFEXITED(*status) && matches!(libc::WEXITSTATUS(*status), 0 | 7), "{status:#x}");
        });
        assert_eq!(made.filter(|&status| libc::WEXITSTATUS(status) == 7).count(), 1, "one of them made it");
        assert!(shared("1/hour burst 64", 1_000, &path).check("key").is_refused(), "all of them took from it");
        assert_eq!(directory.names(), 1, "nothing else is left");
    }
}

/// Wherever its makers are killed, whoever comes after finds a table, or none.
#[test]
fn makers_who_are_killed_leave_no_half() {
    let directory = Directory::new("makers");
    let path = directory.table();
    for round in 0..100_u64 {
        let child = Child::new(|| drop(shared("10/hour", 10_000, &path)));
        std::thread::sleep(Duration::from_micros(round * 13 % 2_000));
        child.kill();
        assert!(directory.names() <= 1);
        let limiter = shared("10/hour", 10_000, &path);
        assert_eq!(limiter.key("key").take_up_to(20), 10);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_table_without_a_path_is_for_children() {
    let _one = Directory::new("without-a-path");
    let limiter = builder("10/hour", 100).shared(Shared::before_fork()).build().unwrap();
    let children: Vec<_> = (0..4).map(|_| Child::new(|| assert_eq!(limiter.key("key").take_up_to(2), 2))).collect();
    children.into_iter().for_each(Child::ends_well);
    assert_eq!(limiter.key("key").take_up_to(10), 2);
    // By its descriptor it is the same, for whoever was given that; and it cannot be cut.
    let descriptor = limiter.shared().unwrap().descriptor().try_clone_to_owned().unwrap();
    assert!(std::fs::File::from(descriptor.try_clone().unwrap()).set_len(0).is_err());
    // Who attaches by it is not alone, though he holds what he was given: he leaves alone what may be somebody's at work.
    let file = std::fs::File::from(descriptor.try_clone().unwrap());
    let end = file.metadata().unwrap().len();
    let free = |slot: &u64| {
        let mut words = [0; 16];
        file.read_exact_at(&mut words, *slot).unwrap();
        words == [0; 16]
    };
    // The first slots of two lines: the key may have one of them.
    let slot = [end - 2_048, end - 1_024].into_iter().find(free).unwrap();
    file.write_all_at(&(3_u64 << 62).to_le_bytes(), slot + 8).unwrap();
    let other = builder("10/hour", 100).shared(Shared::fd(descriptor)).build().unwrap();
    assert!(other.check("key").is_refused());
    assert_eq!(other.shared().unwrap().freed_slots(), 0);
    assert!(!other.shared().unwrap().is_detached());
}

#[test]
fn what_must_not_be_made_or_must_be_there() {
    let directory = Directory::new("intent");
    let path = directory.table();
    assert!(matches!(error(Shared::attach(&path)), SharedError::NotFound));
    let made = builder("10/hour", 100).shared(Shared::create(&path)).build().unwrap();
    assert!(matches!(error(Shared::create(&path)), SharedError::Exists));
    let attached = builder("10/hour", 100).shared(Shared::attach(&path)).build().unwrap();
    assert_eq!(made.shared().unwrap().id(), attached.shared().unwrap().id());
    assert!(matches!(error(Shared::at(directory.table().join("no-directory"))), SharedError::Io { .. }));
    assert!(matches!(error(Shared::at("/dev/shm/no-such-directory/table")), SharedError::NotFound));
}

#[test]
fn files_of_another_kind_are_refused() {
    let directory = Directory::new("kinds");
    let path = directory.table();
    assert!(matches!(error(Shared::at("/dev/null")), SharedError::NotRegular));
    assert!(matches!(error(Shared::at("/dev/shm")), SharedError::NotRegular));
    let real = shared("10/hour", 100, &path);
    let link = path.with_extension("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(error(Shared::at(&link)), SharedError::NotRegular));
    let second = path.with_extension("second");
    std::fs::hard_link(&path, &second).unwrap();
    assert!(matches!(error(Shared::at(&path)), SharedError::Links { found: 2 }));
    std::fs::remove_file(&second).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(error(Shared::at(&path)), SharedError::Mode { found: 0o644, allowed: 0o600 }));
    assert!(builder("10/hour", 100).shared(Shared::at(&path).mode(0o644)).build().is_ok());
    let stranger = std::fs::metadata(&path).unwrap().uid() + 1;
    assert!(matches!(
        error(Shared::at(&path).mode(0o644).owner(stranger)),
        SharedError::Owner { expected, .. } if expected == stranger
    ));
    drop(real);
    for contents in [&b""[..], b"short", &[b'x'; 10_000]] {
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, contents).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        // Nor replaced: it is somebody's file, and no table.
        for what in [OnMismatch::Refuse, OnMismatch::Adopt, OnMismatch::Replace] {
            let error = error(Shared::at(&path).on_mismatch(what));
            assert!(matches!(error, SharedError::Foreign | SharedError::Length { .. }), "{error:?}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), contents);
    }
}

#[test]
fn the_file_is_its_users_alone_and_reserved_whole() {
    let directory = Directory::new("reserved");
    let limiter = shared("10/hour", 100_000, &directory.table());
    let found = std::fs::metadata(directory.table()).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
    assert!(found.blocks() * 512 >= found.len(), "no touch can fail");
    assert_eq!(found.len(), limiter.shared().unwrap().bytes());
    let sparse = directory.table().with_extension("sparse");
    let _limiter = builder("10/hour", 100_000).shared(Shared::at(&sparse).sparse()).build().unwrap();
    assert!(std::fs::metadata(&sparse).unwrap().blocks() * 512 < 1 << 20);
    // And stays so for those who come later.
    let _limiter = shared("10/hour", 100_000, &sparse);
    assert!(std::fs::metadata(&sparse).unwrap().blocks() * 512 < 1 << 20);
}

/// A file that was copied with holes is filled again, or refused.
#[test]
fn holes_are_filled() {
    let directory = Directory::new("holes");
    let path = directory.table();
    drop(shared("10/hour", 100_000, &path));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.write_all_at(&bytes[..4_096], 0).unwrap();
    let _limiter = shared("10/hour", 100_000, &path);
    assert!(std::fs::metadata(&path).unwrap().blocks() * 512 >= bytes.len() as u64);
}

#[test]
fn what_does_not_fit_is_an_error_and_no_signal() {
    let directory = Directory::new("fits");
    let asked = builder("10/hour", 1 << 36).shared(Shared::at(directory.table()));
    match asked.build() {
        Err(BuildError::Shared { source: SharedError::NoSpace { bytes }, .. }) => assert!(bytes > 1 << 40),
        other => panic!("{other:?}"),
    }
    assert_eq!(directory.names(), 0);
}

/// On the disk that this is built on, if that is one.
#[test]
fn a_disk_must_be_allowed() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("shared-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("table");
    let is_disk = match error(Shared::at(&path)) {
        SharedError::FileSystem { is_disk, .. } => is_disk,
        other => panic!("{other:?}"),
    };
    let allowed = builder("10/hour", 100).shared(Shared::at(&path).allow_disk()).build();
    assert_eq!(allowed.is_ok(), is_disk);
    drop(allowed);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_mismatch_is_refused_adopted_or_replaced() {
    let directory = Directory::new("mismatch");
    let path = directory.table();
    let old = shared("10/hour", 100, &path);
    assert_eq!(old.key("key").take_up_to(10), 10);
    let asked = |what| builder("10/hour", 200).shared(Shared::at(&path).on_mismatch(what)).build();
    let refused = |what| match asked(what) {
        Err(BuildError::Shared { source, .. }) => source,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(OnMismatch::Refuse), SharedError::Capacity { found: 100, asked: 200 }));
    let adopted = asked(OnMismatch::Adopt).unwrap();
    assert_eq!(adopted.stats().capacity, 100);
    assert!(adopted.check("key").is_refused());
    // Others have it mapped: this process does, and a child who holds what he has inherited.
    assert!(matches!(refused(OnMismatch::Replace), SharedError::InUse));
    drop(adopted);
    assert!(!old.shared().unwrap().is_detached());
    let mut child = Child::new(|| {
        // SAFETY: ends no sooner than it is killed.
        unsafe { libc::raise(libc::SIGSTOP) };
        let _ = old.check("key");
    });
    drop(old);
    assert!(matches!(refused(OnMismatch::Replace), SharedError::InUse), "a stopped process has it mapped");
    child.send(libc::SIGKILL);
    child.wait();
    let new = asked(OnMismatch::Replace).unwrap();
    assert_eq!((new.stats().capacity, new.key("key").take_up_to(20)), (200, 10));
    assert_eq!(directory.names(), 1);
    let policy = builder("10/hour", 200).on_full(OnFull::RefuseNew).shared(Shared::at(&path)).build();
    assert!(matches!(
        policy,
        Err(BuildError::Shared { source: SharedError::OnFull { asked: OnFull::RefuseNew, .. }, .. })
    ));
}

#[test]
fn a_file_that_is_gone_is_noticed() {
    let directory = Directory::new("gone");
    let path = directory.table();
    let old = shared("10/hour", 100, &path);
    assert!(!old.shared().unwrap().is_detached());
    std::fs::remove_file(&path).unwrap();
    assert!(old.shared().unwrap().is_detached());
    let new = shared("10/hour", 100, &path);
    assert!(old.shared().unwrap().is_detached() && !new.shared().unwrap().is_detached());
    assert!(old.stats().is_detached && !new.stats().is_detached);
    assert_ne!(old.shared().unwrap().inode(), new.shared().unwrap().inode());
}

/// What leases hold of a table that is gone is void once `stats` has noticed; until then it is theirs.
#[test]
fn leases_on_a_table_that_is_gone_are_void() {
    let directory = Directory::new("void");
    let path = directory.table();
    let old = std::sync::Arc::new(shared("1000/hour", 100, &path));
    let mut lease = old.key("key").lease(64);
    let mut owned = std::sync::Arc::clone(&old).lease_owned(*old.default_limit(), "owned", 64);
    assert!(lease.check().is_allowed() && owned.check().is_allowed());
    assert_eq!((lease.held(), owned.held()), (63, 63));
    std::fs::remove_file(&path).unwrap();
    assert!(!shared("1000/hour", 100, &path).stats().is_detached);
    assert!(lease.check().is_allowed() && lease.held() == 62, "nobody has noticed");
    assert!(old.stats().is_detached);
    assert_eq!((lease.held(), owned.held()), (0, 0));
    // They go to the bucket, one by one, and give nothing back to it.
    let before = old.peek("key").remaining();
    assert!(lease.check().is_allowed() && owned.check().is_allowed());
    assert_eq!((lease.held(), owned.held(), old.peek("key").remaining()), (0, 0, before - 1));
    drop((lease, owned));
    assert_eq!(old.peek("key").remaining(), before - 1);
}

/// A file that came by its descriptor has a name or none, and may lose it.
#[test]
fn a_descriptor_whose_file_is_removed_is_noticed() {
    let directory = Directory::new("lost-name");
    let path = directory.table();
    let maker = shared("10/hour", 100, &path);
    let descriptor = maker.shared().unwrap().descriptor().try_clone_to_owned().unwrap();
    let other = builder("10/hour", 100).shared(Shared::fd(descriptor)).build().unwrap();
    assert!(!other.stats().is_detached);
    std::fs::remove_file(&path).unwrap();
    assert!(other.stats().is_detached);
}

/// Limits that come later are exact, though they were not announced; and the same in all processes.
#[test]
fn everyday_quotas_are_exact_whoever_made_the_table() {
    let directory = Directory::new("exact");
    let path = directory.table();
    let _maker = shared("300/second", 100, &path);
    let limiter = shared("1/day", 100, &path);
    for rate in ["3/second", "7/minute", "60/minute", "100/hour", "5000/hour", "90/day", "1000000/second", "9/hour"] {
        let limit = limiter.prepare("api", rate).unwrap();
        assert!(limit.effective_rate().is_exact(), "{rate}: {:?}", limit.effective_rate());
    }
}

/// What a type feeds to a hasher is no key of several processes: refused, and counted.
#[test]
fn only_keys_whose_bytes_are_defined() {
    let directory = Directory::new("keys");
    let limiter = shared("10/hour", 100, &directory.table());
    assert!(limiter.check(&Hashed("key")).is_refused());
    assert!(limiter.check(&limiter.hash("key")).is_allowed());
    assert_eq!(limiter.stats().foreign, 1);
    assert_eq!(limiter.peek("key").remaining(), 9);
}

#[test]
fn a_limit_that_is_reset_is_new_to_all() {
    let directory = Directory::new("reset");
    let [one, two] = [(); 2].map(|()| shared("10/hour", 100, &directory.table()));
    assert_eq!(one.key("key").take_up_to(10), 10);
    let (first, second) = (one.reset_limit(one.default_limit()), two.reset_limit(two.default_limit()));
    assert_eq!(one.under(&first).key("key").take_up_to(20), 10);
    assert_eq!(two.under(&second).key("key").take_up_to(20), 10, "no limit had these buckets before");
    assert!(two.check("key").is_refused());
}

#[test]
fn clocks_must_be_of_one_kind() {
    let directory = Directory::new("clocks");
    let path = directory.table();
    let limiter = shared("10/hour", 100, &path);
    let clock = ManualClock::new(limiter.now());
    let trusting = || builder("10/hour", 100).shared(Shared::at(&path)).trust_clock(clock.clone()).build();
    assert!(matches!(trusting(), Err(BuildError::Shared { source: SharedError::Clock { is_of_system: true }, .. })));
    drop(limiter);
    std::fs::remove_file(&path).unwrap();
    let limiter = trusting().unwrap();
    assert!(matches!(error(Shared::at(&path)), SharedError::Clock { is_of_system: false }));
    // A clock that is behind what others have seen is none of theirs.
    clock.advance(Duration::from_secs(10));
    let _ = limiter.stats();
    clock.set(limiter.now().saturating_sub(Duration::from_secs(7)));
    match trusting() {
        Err(BuildError::Shared { source: SharedError::ClockBehind { by }, .. }) => {
            assert_eq!(by, Duration::from_secs(7));
        }
        other => panic!("{other:?}"),
    }
    clock.advance(Duration::from_secs(10 * 365 * 86_400));
    assert!(matches!(trusting(), Err(BuildError::Shared { source: SharedError::TooOld { .. }, .. })));
}

/// A table is asked for by its whole path, wherever the process has gone meanwhile; and is there as long as anybody finds it.
#[test]
fn a_file_that_is_there_is_not_gone() {
    let directory = Directory::new("there");
    let path = directory.table();
    Child::new(|| {
        std::env::set_current_dir(path.parent().unwrap()).unwrap();
        let maker = shared("10/hour", 100, Path::new("table"));
        let other = shared("10/hour", 100, Path::new("./table"));
        let mut restored = Vec::new();
        maker.snapshot(&mut restored).unwrap();
        let asked = builder("10/hour", 100).shared(Shared::at("restored"));
        let (restored, _) = asked.restore(restored.as_slice()).unwrap();
        std::env::set_current_dir("/").unwrap();
        assert!(![&maker, &other, &restored].map(|limiter| limiter.stats().is_detached).contains(&true));
        assert_eq!(maker.shared().unwrap().path(), Some(path.as_path()));
        // Another name besides: nobody attaches any more, and nobody has left.
        let second = path.with_extension("second");
        std::fs::hard_link(&path, &second).unwrap();
        assert!(matches!(error(Shared::at(&path)), SharedError::Links { found: 2 }));
        assert!(!maker.stats().is_detached && !other.stats().is_detached);
        std::fs::remove_file(&second).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(maker.stats().is_detached && other.stats().is_detached);
    })
    .ends_well();
}

/// Who may not make one does not take the one away that is there.
#[test]
fn who_only_attaches_or_looks_replaces_nothing() {
    let directory = Directory::new("attaches");
    let path = directory.table();
    drop(shared("10/hour", 100, &path));
    let asked = builder("10/hour", 200).shared(Shared::attach(&path).on_mismatch(OnMismatch::Replace)).build();
    assert!(
        matches!(asked, Err(BuildError::Shared { source: SharedError::Capacity { found: 100, .. }, .. })),
        "{asked:?}"
    );
    assert_eq!(directory.names(), 1);
    // Damaged, and nothing to put in its place.
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[7], 200).unwrap();
    let looked = Shared::at(&path).on_mismatch(OnMismatch::Replace).inspect();
    assert!(matches!(looked, Err(SharedError::Damaged { .. })), "{looked:?}");
    assert_eq!(directory.names(), 1);
}

/// A file that its maker would refuse the next time is not made; who may give it away does.
#[test]
fn the_file_is_whose_it_is_to_be() {
    let directory = Directory::new("whose");
    let path = directory.table();
    // SAFETY: asks for a number.
    let here = unsafe { libc::geteuid() };
    let other = here + 1;
    let asked = || builder("10/hour", 100).shared(Shared::at(&path).owner(other)).build();
    if here == 0 {
        let _limiter = asked().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().uid(), other);
        assert!(!asked().unwrap().shared().unwrap().is_creator());
    } else {
        let found = asked();
        let Err(BuildError::Shared { source: SharedError::Owner { found, expected }, .. }) = found else {
            panic!("{found:?}")
        };
        assert_eq!((found, expected, directory.names()), (here, other, 0));
    }
}

/// Where there is no memory left, a look at a hole of a file is a signal.
#[test]
fn what_stands_before_the_lines_is_there_and_a_file_of_holes_stays_one() {
    let directory = Directory::new("beside");
    let path = directory.table();
    let blocks = || std::fs::metadata(&path).unwrap().blocks() * 512;
    let limiter = builder("10/hour", 400_000).shared(Shared::at(&path).sparse()).build().unwrap();
    let made = blocks();
    assert!((20_480..1 << 20).contains(&made), "{made}");
    // The counters and marks, all of which are asked for.
    let _ = (limiter.stats(), limiter.free_dead_slots());
    assert_eq!(blocks(), made);
    drop(limiter);
    // Copied with holes.
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    assert!(matches!(error(Shared::at(&path)), SharedError::Foreign));
    assert_eq!(blocks(), 0, "looked at without taking memory");
    file.write_all_at(&bytes[..4_096], 0).unwrap();
    let _limiter = builder("10/hour", 400_000).shared(Shared::at(&path)).build().unwrap();
    assert!((20_480..1 << 20).contains(&blocks()), "{}", blocks());
}
