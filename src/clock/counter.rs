//! Whether the processor's counter can be trusted: tested once in a process, and again in a forked child, which may run on
//! other terms.

use std::thread::{available_parallelism, scope, sleep};
use std::time::Duration;

use super::os::{Os, order};
use super::timeline::{Reading, Source};
use crate::process::Process;
use crate::sync::{Atomic, Ordering};
use crate::thread;

/// How many milliseconds the test may take: `quanta` calibrates for up to 0.2 s, and the rest takes about 10 ms.
const PATIENCE: u32 = 2_000;

/// The processes in which the counter was found sound, and not; zero for none.
static SOUND: Atomic<u64> = Atomic::new(0);
static UNSOUND: Atomic<u64> = Atomic::new(0);

/// The counter, if it is sound.
pub(crate) fn tested() -> Option<quanta::Clock> {
    let here = Process::current().bits();
    // Relaxed, all, with each other: an answer by itself. Who does not see it yet tests as well, for what that costs; nobody
    // waits for a thread that may not be in this process. No model: it is not on the path of a check.
    if SOUND.load(Ordering::Relaxed) == here {
        // Calibrated in this process, so this does not wait.
        return Some(quanta::Clock::new());
    }
    if UNSOUND.load(Ordering::Relaxed) == here {
        return None;
    }
    let counter = test();
    let answer = if counter.is_some() { &SOUND } else { &UNSOUND };
    answer.swap(here, Ordering::Relaxed);
    counter
}

/// Tests in a thread that can be left alone: `quanta` calibrates behind a lock, which is held for ever in a child that was
/// forked meanwhile.
fn test() -> Option<quanta::Clock> {
    let test = || {
        let counter = quanta::Clock::new();
        (keeps_pace(&counter) && agrees_between_threads(&counter)).then_some(counter)
    };
    let thread = thread::small("tollgate-counter").and_then(|builder| builder.spawn(test)).ok()?;
    for _ in 0..PATIENCE {
        if thread.is_finished() {
            return thread.join().ok()?;
        }
        sleep(Duration::from_millis(1));
    }
    None
}

struct Both<'a>(&'a quanta::Clock, Os);

impl Source for Both<'_> {
    fn ticks(&self) -> u64 {
        self.0.raw()
    }

    fn os_nanos(&self) -> u64 {
        self.1.nanos()
    }
}

/// Whether the counter and the operating system's clock measure the same 4 ms, to one part in a thousand and as long as it
/// takes to read both.
fn keeps_pace(counter: &quanta::Clock) -> bool {
    let both = Both(counter, Os::new());
    let first = Reading::take(&both);
    let mut last = first.ticks;
    while both.os_nanos().saturating_sub(first.os) < 4_000_000 {
        let ticks = counter.raw();
        if ticks < last {
            return false;
        }
        last = ticks;
    }
    let end = Reading::take(&both);
    let (counted, passed) = (counter.delta_as_nanos(first.ticks, end.ticks), end.os.saturating_sub(first.os));
    counted.abs_diff(passed) <= passed / 1_000 + first.width + end.width
}

/// Whether a reading is never more than a microsecond behind one that another thread had made before.
fn agrees_between_threads(counter: &quanta::Clock) -> bool {
    const READINGS: u32 = 20_000;
    let threads = available_parallelism().map_or(1, usize::from).min(8);
    let origin = counter.raw();
    let latest = Atomic::<u64>::new(0);
    let sound = || {
        (0..READINGS).all(|_| {
            // AcqRel, with each other, in every thread: a reading must come after the one it is compared with, so take
            // that first; the maximum is then published for the others. No model: this guards no data, it measures.
            let before = latest.fetch_max(0, Ordering::AcqRel);
            order();
            let now = counter.delta_as_nanos(origin, counter.raw());
            latest.fetch_max(now, Ordering::AcqRel);
            now.saturating_add(1_000) >= before
        })
    };
    scope(|scope| {
        // All are started before one is waited for. What cannot be started cannot be tested.
        let start = |_| thread::small("tollgate-counter")?.spawn_scoped(scope, sound);
        let others: Vec<_> = (1..threads).map(start).collect();
        let here = sound();
        others.into_iter().all(|other| other.is_ok_and(|thread| thread.join().unwrap_or(false))) && here
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_tested_once() {
        let sound = tested().is_some();
        let here = Process::current().bits();
        let answer = if sound { &SOUND } else { &UNSOUND };
        // Relaxed: set by this thread or before. No model: a test.
        assert_eq!(answer.load(Ordering::Relaxed), here);
        let os = Os::new();
        let again = (0..20).map(|_| (os.nanos(), tested(), os.nanos())).map(|(before, _, after)| after - before);
        // The best of a few, as the machine has other things to do. Half a millisecond: the test takes four.
        let nanos = again.min().expect("twenty times");
        assert!(nanos < 500_000, "it was tested again: {nanos} ns");
    }
}
