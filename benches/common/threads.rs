//! Several threads that start together on a barrier, each with a bounded number of calls.

use std::sync::Barrier;
use std::thread;

use super::paired::{Slice, Stopwatch};
use super::terms::Terms;

/// How many threads the machine runs at once.
pub fn available() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// `calls` in all, shared evenly; `run` makes its share and counts what was admitted. The time is that from the first
/// thread to leave the barrier to the last to finish.
pub fn together(threads: usize, calls: u64, terms: Terms, run: impl Fn(usize, u64) -> u64 + Sync) -> Slice {
    let share = (calls / threads as u64).max(1);
    let (barrier, origin) = (Barrier::new(threads), Stopwatch::start());
    let one = |thread| {
        barrier.wait();
        let start = origin.nanos();
        let admitted = run(thread, share);
        (start, origin.nanos(), admitted)
    };
    let ended: Vec<(u64, u64, u64)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread of the race")).collect()
    });
    let start = ended.iter().map(|(start, ..)| *start).min().expect("a thread");
    let end = ended.iter().map(|(_, end, _)| *end).max().expect("a thread");
    let calls = share * threads as u64;
    Slice { nanos: end - start, calls, admitted: ended.iter().map(|ended| ended.2).sum(), due: terms.due(calls) }
}
