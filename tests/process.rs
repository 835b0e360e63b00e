//! What a fork, and an operating system that refuses everything, do to clocks and builders. Each test does it to a child.
#![cfg(target_os = "linux")]
#![allow(missing_docs, reason = "a test")]
#![allow(unsafe_code, reason = "a child is forked, and its limits are set, by the C library's functions")]

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tollgate::clock::{CachedClock, Clock, ExactClock};
use tollgate::error::{BuildError, ClockError};
use tollgate::{Bucket, Limiter, Quota};

/// Runs this in a forked child, which has to come to an end within half a minute.
fn in_child(body: impl FnOnce()) {
    // SAFETY: the child runs `body` alone, and ends without returning to the test harness. The C library makes its own
    // allocator and its threads fit for use after a fork.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no child");
    if child == 0 {
        // Past the test harness, which would keep it to itself.
        std::panic::set_hook(Box::new(|panic| drop(writeln!(std::io::stderr(), "in a child: {panic}"))));
        let code = i32::from(catch_unwind(AssertUnwindSafe(body)).is_err());
        // SAFETY: ends this process; nothing of the parent's is flushed or dropped twice.
        unsafe { libc::_exit(code) }
    }
    let started = now();
    loop {
        let mut status = 0;
        // SAFETY: `status` is a place for one, and the child is this process's own.
        if unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == child {
            assert!(
                libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
                "the child ended with status {status:#x}"
            );
            return;
        }
        if started.elapsed() > Duration::from_secs(30) {
            // SAFETY: the child has not been waited for, so its id is still its own.
            unsafe { libc::kill(child, libc::SIGKILL) };
            panic!("the child does not come to an end");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a stopwatch beside the clocks that are tested")]
    Instant::now()
}

fn limit(resource: libc::__rlimit_resource_t, value: u64) {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: `limit` is one, and is read only.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// No more threads: as an ordinary user, whom alone the limit binds.
fn forbid_threads() {
    // SAFETY: takes a number, and touches no memory. The C library has other threads follow, of which there are none here.
    unsafe { libc::setuid(65_534) };
    limit(libc::RLIMIT_NPROC, 0);
    assert!(
        std::thread::Builder::new().spawn(|| {}).is_err(),
        "the test needs a user who may be kept from starting threads"
    );
}

fn sleep(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// The clock shows what a stopwatch does, to so much.
fn goes_on(clock: &impl Clock, to: Duration) {
    let (watch, start) = (now(), clock.now());
    sleep(60);
    let (shown, passed) = (clock.now().saturating_duration_since(start), watch.elapsed());
    assert!(shown + to >= Duration::from_millis(60) && shown <= passed + to, "{shown:?} of {passed:?}");
}

#[test]
fn a_cached_clock_goes_on_in_a_child() {
    let bucket = Bucket::with_clock(Quota::per_second(100), CachedClock::new().unwrap()).unwrap();
    assert_eq!(bucket.handle().take_up_to(100), 100);
    let before = bucket.clock().now();
    in_child(|| {
        assert!(bucket.clock().now() >= before, "a step back");
        sleep(100);
        assert!(bucket.check().is_allowed(), "the child's time stands still");
        goes_on(bucket.clock(), Duration::from_micros(100));
        // And in a child's child.
        in_child(|| goes_on(bucket.clock(), Duration::from_micros(100)));
    });
    // In the parent it has gone on all the while.
    goes_on(bucket.clock(), Duration::from_millis(50));
}

#[test]
fn a_cached_clock_is_kept_again_in_a_child() {
    let clock = CachedClock::with_period(Duration::from_millis(20)).unwrap();
    in_child(|| {
        // Many ask at once; one thread is left, and the clock moves in periods again.
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| clock.resume().unwrap()))));
        let started = now();
        while !is_kept(&clock) {
            assert!(started.elapsed() < Duration::from_secs(10), "nothing was resumed");
        }
        goes_on(&clock, Duration::from_millis(50));
        assert_eq!(threads(), 2, "one thread keeps the time");
        clock.resume().unwrap();
        sleep(30);
        assert_eq!(threads(), 2, "and needs no other");
    });
}

/// A thread keeps the time: it moves in periods.
fn is_kept(clock: &CachedClock) -> bool {
    (0..1_000).map(|_| clock.now()).collect::<std::collections::BTreeSet<_>>().len() < 100
}

#[test]
fn more_cached_clocks_than_are_kept_are_exact() {
    in_child(|| {
        let new = || CachedClock::with_period(CachedClock::MAX_PERIOD).unwrap();
        let mut kept = Vec::new();
        let more = loop {
            let clock = new();
            if !is_kept(&clock) {
                break clock;
            }
            kept.push(clock);
        };
        // Other tests have some, and so have their children.
        assert!((CachedClock::MAX_KEPT - 16..=CachedClock::MAX_KEPT).contains(&kept.len()), "{}", kept.len());
        more.resume().unwrap();
        goes_on(&more, Duration::from_micros(100));
        assert_eq!(threads(), kept.len() + 1, "none for the last");
        // One that is dropped makes room, and its clone did not.
        drop(kept[0].clone());
        assert!(!is_kept(&new()));
        drop(kept.pop());
        let started = now();
        while !is_kept(&new()) {
            assert!(started.elapsed() < Duration::from_secs(10), "there is no room again");
        }
    });
}

#[test]
fn where_a_child_has_its_parents_pages_no_time_is_kept() {
    in_child(|| {
        forbid_call(libc::SYS_madvise, libc::EINVAL);
        let clock = CachedClock::new().unwrap();
        assert!(!is_kept(&clock));
        goes_on(&clock, Duration::from_micros(100));
        in_child(|| goes_on(&clock, Duration::from_micros(100)));
    });
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn a_child_that_may_start_no_thread_has_the_time() {
    let clock = CachedClock::new().unwrap();
    in_child(|| {
        forbid_threads();
        let error = clock.resume().unwrap_err();
        assert!(matches!(error, ClockError::Thread(_)), "{error}");
        goes_on(&clock, Duration::from_micros(100));
    });
}

#[test]
fn an_exact_clock_goes_on_in_a_child() {
    let clock = ExactClock::new();
    in_child(|| {
        goes_on(&clock, Duration::from_millis(1));
        assert_eq!(ExactClock::new().uses_counter(), clock.uses_counter());
        goes_on(&ExactClock::new(), Duration::from_millis(1));
    });
}

#[test]
fn the_counter_is_tested_once_in_a_process() {
    let takes = || {
        let start = now();
        (ExactClock::new(), start.elapsed()).1
    };
    in_child(|| {
        let first = takes();
        // The best of a few: the machine has other things to do.
        let second = (0..20).map(|_| takes()).min().unwrap();
        assert!(second * 100 < first, "{second:?} after {first:?}");
        // Other terms may hold for a child.
        in_child(|| assert!(takes() > second * 20, "a child takes its parent's word for it"));
    });
}

/// The calibration is behind a lock, which a child finds held if it was forked meanwhile.
#[test]
fn a_child_forked_during_the_test_has_a_clock() {
    in_child(|| {
        // Until one has been: it takes the two seconds in which the test is given up.
        for delay in (0..80).map(|step| Duration::from_micros(100 * step)) {
            let started = now();
            in_child(|| {
                let tester = std::thread::spawn(ExactClock::new);
                std::thread::sleep(delay);
                in_child(|| goes_on(&ExactClock::new(), Duration::from_millis(1)));
                tester.join().unwrap();
            });
            if started.elapsed() > Duration::from_millis(1_500) {
                return;
            }
        }
    });
}

#[test]
fn builders_need_no_thread() {
    in_child(|| {
        forbid_threads();
        let clock = ExactClock::new();
        assert!(!clock.uses_counter());
        goes_on(&clock, Duration::from_micros(100));
        let limiter = Limiter::builder(Quota::per_second(10)).build().unwrap();
        assert!(limiter.check("key").is_allowed());
        assert!(Bucket::new(Quota::per_second(10)).unwrap().check().is_allowed());
        let error = CachedClock::new().unwrap_err();
        assert!(matches!(error, ClockError::Thread(_)), "{error}");
    });
}

#[test]
fn a_table_for_which_there_is_no_memory_is_an_error() {
    in_child(|| {
        limit(libc::RLIMIT_AS, 1 << 30);
        for keys in [1 << 26, 1 << 30, 1 << 36] {
            let error = Limiter::builder(Quota::per_second(10)).capacity(keys).build().unwrap_err();
            assert!(matches!(error, BuildError::Memory { bytes, .. } if bytes > keys * 20), "{error}");
        }
        assert!(Limiter::builder(Quota::per_second(10)).build().unwrap().check("key").is_allowed());
    });
}

#[test]
fn without_entropy_nothing_is_built_that_needs_it() {
    in_child(|| {
        forbid_entropy();
        let error = Limiter::builder(Quota::per_second(10)).build().unwrap_err();
        assert!(matches!(error, BuildError::Entropy(_)), "{error}");
        let seeded = Limiter::builder(Quota::per_second(10)).fixed_seed(7).build().unwrap();
        assert!(seeded.check("key").is_allowed());
        assert!(Bucket::new(Quota::per_second(10)).unwrap().check().is_allowed());
    });
}

/// With so little memory that it is sometimes enough, and sometimes not: an answer, and no abort.
#[test]
fn builders_do_with_the_memory_there_is() {
    for spare in (0..120).map(|step| step * 12 * 1_024) {
        in_child(|| {
            let used = std::fs::read_to_string("/proc/self/statm").unwrap();
            let pages: u64 = used.split(' ').next().unwrap().parse().unwrap();
            limit(libc::RLIMIT_AS, pages * 4_096 + spare);
            for capacity in [1, 1_000, 65_536] {
                match Limiter::builder(Quota::per_second(10)).capacity(capacity).build() {
                    Ok(limiter) => assert!(limiter.check("key").is_allowed()),
                    Err(error) => assert!(matches!(error, BuildError::Memory { .. }), "{error}"),
                }
            }
            assert!(Bucket::new(Quota::per_second(10)).unwrap().check().is_allowed());
            drop(CachedClock::new());
        });
    }
}

/// No system call for random bytes, and no file to read them from.
fn forbid_entropy() {
    forbid_call(libc::SYS_getrandom, libc::ENOSYS);
    limit(libc::RLIMIT_NOFILE, 0);
}

/// A system call fails from now on.
fn forbid_call(number: libc::c_long, errno: libc::c_int) {
    let number = u32::try_from(number).unwrap();
    let step = |code: u32, jump: (u8, u8), k: u32| libc::sock_filter {
        code: code.try_into().unwrap(),
        jt: jump.0,
        jf: jump.1,
        k,
    };
    let errno = u32::try_from(errno).unwrap();
    let mut program = [
        // The number of the call is the first word of what the filter is given.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, (0, 0), 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, (0, 1), number),
        step(libc::BPF_RET | libc::BPF_K, (0, 0), libc::SECCOMP_RET_ERRNO | errno),
        step(libc::BPF_RET | libc::BPF_K, (0, 0), libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len().try_into().unwrap(), filter: program.as_mut_ptr() };
    // SAFETY: takes numbers alone.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, 0);
    // SAFETY: `filter` is a program of as many steps as it says, which the kernel copies.
    let filtered = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    assert_eq!(filtered, 0, "the test needs a kernel that filters system calls");
}
