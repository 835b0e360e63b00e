//! Copies of a value for threads, so that they do not write to one line of memory.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::CachePadded;

/// A copy for each of a few threads; of more threads, some share.
#[derive(Debug)]
pub(crate) struct PerThread<T>([CachePadded<T>; COPIES]);

const COPIES: usize = 16;

impl<T> PerThread<T> {
    pub(crate) fn new(mut make: impl FnMut() -> T) -> Self {
        Self(std::array::from_fn(|_| CachePadded::new(make())))
    }

    /// This thread's copy.
    pub(crate) fn mine(&self) -> &T {
        &self.0[number() % COPIES]
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|copy| &**copy)
    }
}

/// Threads in the order in which they first asked.
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.get().unwrap_or_else(|| {
        // Relaxed: a number by itself; it guards nothing.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        NUMBER.set(Some(number));
        number
    })
}
