//! Several threads that start together on a barrier, each with a bounded number of calls.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{fs, thread};

use super::paired::{Slice, Stopwatch};
use super::terms::Terms;

/// How many threads the machine runs at once.
pub fn available() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// `calls` in all, shared evenly; `run` makes its share and counts what was admitted. The time is that from the first
/// thread to leave the barrier to the last to finish.
///
/// On a machine that has other work to do, threads may come to run one after the other, and would then be told to scale
/// badly, or not to contend: such a slice is made again, as long as that may help.
pub fn together(threads: usize, calls: u64, terms: Terms, run: impl Fn(usize, u64) -> u64 + Sync) -> Slice {
    const TRIES: usize = 6;
    // More threads than the machine runs at once wait for each other, and that is then what is measured.
    let tries = if threads <= available() { TRIES } else { 1 };
    let mut last = once(threads, calls, terms, &run);
    for _ in 1..tries {
        if !last.disturbed {
            break;
        }
        last = once(threads, calls, terms, &run);
    }
    if tries > 1 && last.slice.nanos > SHORT {
        SLICES.fetch_add(1, Ordering::Relaxed);
        DISTURBED.fetch_add(u64::from(last.disturbed), Ordering::Relaxed);
    }
    last.slice
}

/// What is shorter than this is not measured: calls are being fitted to the time.
const SHORT: u64 = 5_000_000;

static SLICES: AtomicU64 = AtomicU64::new(0);
static DISTURBED: AtomicU64 = AtomicU64::new(0);

/// Percent of the slices since the last question whose threads would not run side by side, however often made again.
pub fn disturbed() -> u64 {
    let (slices, disturbed) = (SLICES.swap(0, Ordering::Relaxed), DISTURBED.swap(0, Ordering::Relaxed));
    100 * disturbed / slices.max(1)
}

/// A slice, and whether its threads did not run side by side: one began more than a twentieth of the time after
/// another, or waited for a core for so long.
struct Once {
    slice: Slice,
    disturbed: bool,
}

/// One thread's part.
struct Part {
    start: u64,
    end: u64,
    waited: u64,
    admitted: u64,
}

fn once(threads: usize, calls: u64, terms: Terms, run: &(impl Fn(usize, u64) -> u64 + Sync)) -> Once {
    let share = (calls / threads as u64).max(1);
    let (barrier, origin) = (&Barrier::new(threads), Stopwatch::start());
    let part = move |thread| {
        let waited = waited();
        barrier.wait();
        let start = origin.nanos();
        let admitted = run(thread, share);
        Part { start, end: origin.nanos(), waited: self::waited() - waited, admitted }
    };
    let parts: Vec<Part> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || part(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread of the race")).collect()
    });
    let most = |of: fn(&Part) -> u64| parts.iter().map(of).max().expect("a thread");
    let start = parts.iter().map(|part| part.start).min().expect("a thread");
    let nanos = most(|part| part.end) - start;
    let lost = (most(|part| part.start) - start).max(most(|part| part.waited));
    let disturbed = nanos > SHORT && lost > nanos / 20;
    let (calls, admitted) = (share * threads as u64, parts.iter().map(|part| part.admitted).sum());
    Once { slice: Slice { nanos, calls, admitted, due: terms.due(calls) }, disturbed }
}

/// For how long this thread was ready and had no core, in nanoseconds; zero where the system does not tell.
fn waited() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_ascii_whitespace().nth(1).and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}
