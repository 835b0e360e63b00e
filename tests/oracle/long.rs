//! All suites on all cores, with progress: what `ci/oracle.sh` runs.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::journal::Tally;
use super::{SUITES, Suite};
use tollgate::clock::{Clock, ExactClock};

#[test]
#[ignore = "as long as TOLLGATE_STEPS says: run by `ci/oracle.sh [STEPS]`"]
fn all_suites() {
    let mut chunks: Vec<(u64, usize, u64)> = Vec::new();
    for (place, suite) in SUITES.iter().enumerate() {
        let count = suite.chunks();
        // All suites advance together, so that the rate says how long the rest will take.
        chunks.extend((0..count).map(|index| (index * 1_000_000_000 / count, place, index)));
    }
    chunks.sort_unstable();
    let total = SUITES.iter().map(Suite::steps).sum();
    let tallies = Mutex::new(vec![Tally::default(); SUITES.len()]);
    let (next, done, failed) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        // The others need not go on when a scenario has failed.
        struct OnPanic<'a>(&'a AtomicBool);
        impl Drop for OnPanic<'_> {
            fn drop(&mut self) {
                self.0.fetch_or(thread::panicking(), Ordering::Relaxed);
            }
        }
        let _guard = OnPanic(&failed);
        while let Some(&(_, suite, index)) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            if failed.load(Ordering::Relaxed) {
                return;
            }
            let tally = SUITES[suite].chunk(index);
            done.fetch_add(tally.steps(), Ordering::Relaxed);
            tallies.lock().unwrap_or_else(PoisonError::into_inner)[suite].add(&tally);
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        progress(total, &done, || workers.iter().all(thread::ScopedJoinHandle::is_finished));
    });
    let mut all = Tally::default();
    for (suite, tally) in SUITES.iter().zip(tallies.into_inner().unwrap_or_else(PoisonError::into_inner)) {
        tally.print(suite.name);
        all.add(&tally);
    }
    all.print("all suites");
}

/// A line that is kept up to date on a terminal, and written now and then elsewhere.
fn progress(total: u64, done: &AtomicU64, is_over: impl Fn() -> bool) {
    let clock = ExactClock::from_os();
    let (start, terminal) = (clock.now(), io::stderr().is_terminal());
    let (begin, end, pause) = if terminal { ("\r", "\u{1b}[K", 1) } else { ("", "\n", 10) };
    let mut told = start;
    while !is_over() {
        thread::sleep(Duration::from_millis(20));
        let now = clock.now();
        if now.saturating_duration_since(told) < Duration::from_secs(pause) {
            continue;
        }
        told = now;
        let (done, seconds) = (done.load(Ordering::Relaxed), now.saturating_duration_since(start).as_secs().max(1));
        let (rate, left) = (done / seconds, total.saturating_sub(done));
        let (percent, minutes) = (u128::from(done) * 100 / u128::from(total.max(1)), left / rate.max(1) / 60);
        eprint!("{begin}oracle: {done} of {total} steps, {percent} %, {rate} a second, {minutes} min left{end}");
        io::stderr().flush().ok();
    }
    if terminal {
        eprintln!();
    }
}
