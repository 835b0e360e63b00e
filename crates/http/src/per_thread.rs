//! Copies of a value for threads, so that they do not write to one line of memory.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

/// A copy for each of the first threads of the process that ask, and one that all others share.
#[derive(Debug)]
pub(crate) struct PerThread<T>([CachePadded<T>; COPIES]);

const COPIES: usize = 17;

impl<T> PerThread<T> {
    pub(crate) fn new(mut make: impl FnMut() -> T) -> Self {
        Self(std::array::from_fn(|_| CachePadded::new(make())))
    }

    /// This thread's copy.
    #[inline]
    pub(crate) fn mine(&self) -> &T {
        &self.0[number().min(SHARED)]
    }

    /// This thread's copy, if no other thread ever has the same; else that of all others.
    #[inline]
    pub(crate) fn own(&self) -> Result<&T, &T> {
        let number = number();
        if number < SHARED { Ok(&self.0[number]) } else { Err(&self.0[SHARED]) }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|copy| &**copy)
    }
}

/// The copy that all others share.
const SHARED: usize = COPIES - 1;

/// Threads in the order in which they first asked. No number is given twice.
#[inline]
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    let number = NUMBER.get();
    if number != usize::MAX {
        return number;
    }
    // Relaxed: a number by itself; it guards nothing. Below the largest, as no process has that many threads.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    NUMBER.set(number);
    number
}
