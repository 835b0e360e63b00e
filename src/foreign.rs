//! Calls with a limit or a hash of another limiter.

use crate::clock::Instant;
use crate::decision::Decision;
use crate::limit::Limit;
use crate::sync::{Atomic, Ordering};

/// How many there were.
#[derive(Debug)]
pub(crate) struct Foreign(Atomic<u64>);

impl Foreign {
    pub(crate) fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// The answer to one: never, as nobody can say what is left.
    #[cold]
    pub(crate) fn refuse<'a>(&self, limit: &'a Limit, cost: u64, now: Instant) -> Decision<'a> {
        self.note();
        Decision::foreign(limit, cost, now)
    }

    pub(crate) fn note(&self) {
        // Relaxed, with `count`: a number by itself. No model.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        // Relaxed, with `note`: see there. No model.
        self.0.load(Ordering::Relaxed)
    }
}
