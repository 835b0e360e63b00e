//! Threads that meet on one limiter.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tollgate::Limiter;
use tollgate::clock::{Clock, ManualClock};

use super::Rng;
use super::history::Seen;

/// One test at a time, so that its threads meet each other and not those of other tests.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The random numbers of one thread.
fn rng(seed: u64, thread: usize) -> Rng {
    Rng(Rng(seed.wrapping_add(thread as u64)).next())
}

/// Runs `work` in many threads at once and collects what they saw. `work` gets the number of its thread.
pub(crate) fn race<T: Send>(threads: usize, work: impl Fn(usize) -> Vec<T> + Sync) -> Vec<T> {
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
pub(crate) fn race_while<C: Clock>(
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
        let mut rng = rng(0, thread);
        while !done.load(Ordering::Relaxed) {
            let (key, cost) = pick(&mut rng);
            seen.push(Seen::check(limiter, thread, key, cost));
        }
        seen
    })
}

/// The other way round: threads that check `each` times what `pick` says, while `drive` is called again and again in a
/// thread of its own until all are done.
pub(crate) fn race_through<C: Clock>(
    limiter: &Limiter<C>,
    threads: usize,
    each: usize,
    seed: u64,
    pick: impl Fn(&mut Rng) -> (u64, u64) + Sync,
    drive: impl Fn(&C, &mut Rng) + Sync,
) -> Vec<Seen> {
    /// Counts down even if its thread panics: the driver would wait for ever.
    struct Working<'a>(&'a AtomicUsize);
    impl Drop for Working<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let working = AtomicUsize::new(threads);
    race(threads + 1, |thread| {
        let mut rng = rng(seed, thread);
        if thread == threads {
            while working.load(Ordering::Relaxed) > 0 {
                drive(limiter.clock(), &mut rng);
            }
            return Vec::new();
        }
        let _working = Working(&working);
        let mut seen = Vec::with_capacity(each);
        while seen.len() < each {
            let (key, cost) = pick(&mut rng);
            seen.push(Seen::check(limiter, thread, key, cost));
            mingle(&mut rng);
        }
        seen
    })
}

/// Where there are more threads than processors, they would go one after the other for a long while each.
pub(crate) fn mingle(rng: &mut Rng) {
    if rng.once_in(256) {
        thread::yield_now();
    }
}

/// Sets the clock forward a little, now and then a lot; real time passes too.
pub(crate) fn tick(clock: &ManualClock, rng: &mut Rng, by: u64) {
    clock.advance(Duration::from_nanos(if rng.once_in(256) { 256 * by } else { rng.below(by) }));
    thread::sleep(Duration::from_micros(10));
}

/// So many ticks.
pub(crate) fn advance(clock: &ManualClock, ticks: u64, by: u64) {
    let mut rng = Rng(by);
    (0..ticks).for_each(|_| tick(clock, &mut rng, by));
}

/// The threads race through `work`, which gets the round and the thread; then all meet, one of them alone does what is to
/// be done `between` two rounds, and all go on.
pub(crate) fn race_by_turns<T: Send>(
    threads: usize,
    rounds: usize,
    seed: u64,
    work: impl Fn(usize, usize, &mut Rng) -> Vec<T> + Sync,
    between: impl Fn(usize, &mut Rng) + Sync,
) -> Vec<T> {
    let meet = Barrier::new(threads);
    // The others would wait for ever for a thread that is gone, so all go on to the meeting, and leave together.
    let (panicked, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    race(threads, |thread| {
        let (mut rng, mut seen) = (rng(seed, thread), Vec::new());
        let mut failed = None;
        let mut caught = |what: Result<Vec<T>, _>| match what {
            Ok(more) => seen.extend(more),
            Err(panic) => {
                panicked.store(true, Ordering::SeqCst);
                failed = Some(panic);
            }
        };
        for round in 0..rounds {
            caught(catch_unwind(AssertUnwindSafe(|| work(round, thread, &mut rng))));
            if meet.wait().is_leader() {
                if !panicked.load(Ordering::SeqCst) {
                    caught(catch_unwind(AssertUnwindSafe(|| {
                        between(round, &mut rng);
                        Vec::new()
                    })));
                }
                stop.store(panicked.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            meet.wait();
            if stop.load(Ordering::SeqCst) {
                break;
            }
        }
        failed.map_or(seen, |panic| resume_unwind(panic))
    })
}

/// Time stands still while the threads race through `work`; then all meet, `look` sees what is left, and the clock goes
/// on by less than `step`.
pub(crate) fn race_in_rounds<T: Send, L: Send>(
    clock: &ManualClock,
    threads: usize,
    (rounds, step): (usize, u64),
    work: impl Fn(usize, &mut Rng) -> Vec<T> + Sync,
    look: impl Fn() -> Vec<L> + Sync,
) -> (Vec<T>, Vec<L>) {
    let left = Mutex::new(Vec::new());
    let between = |_, rng: &mut Rng| {
        left.lock().expect("no look panics").extend(look());
        clock.advance(Duration::from_nanos(rng.below(step)));
    };
    let seen = race_by_turns(threads, rounds, 0, |_, thread, rng| work(thread, rng), between);
    (seen, left.into_inner().expect("no look panics"))
}

/// On a busy machine threads may go one after the other: tries again, within reason, until they have met often. `attempt`
/// says how often they did.
pub(crate) fn until_they_meet(mut attempt: impl FnMut() -> usize) {
    let mut met = 0;
    for _ in 0..20 {
        met += attempt();
        if met >= 50 {
            return;
        }
    }
    assert!(met > 0, "twenty times the threads never met");
}
