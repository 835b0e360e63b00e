//! The atomics that ship.

#[cfg(not(tollgate_count))]
pub(crate) use atomic::Atomic;
pub(crate) use atomic::{Ordering, fence};
use crossbeam_utils::Backoff;

#[cfg(tollgate_count)]
pub(crate) use super::counting::Atomic;
/// What `counting.rs` counts with, and counts of.
#[cfg(tollgate_count)]
pub(crate) use atomic::Atomic as Uncounted;

// A fallback with locks would break the promise that no thread ever waits for another.
const _: () = assert!(Atomic::<u64>::is_lock_free());
const _: () = assert!(Atomic::<crate::word::Word>::is_lock_free());
const _: () = assert!(Atomic::<crate::hash::Identity>::is_lock_free());

/// A loop that starts over when another thread was faster.
pub(crate) struct Retry(Backoff);

impl Retry {
    pub(crate) fn new() -> Self {
        Self(Backoff::new())
    }

    /// At the head of the loop: this number is all that the thread has learnt since the loop began. Of use to a
    /// witness, which then need not tell apart how it came here.
    #[inline(always)]
    pub(crate) fn again(&self, _learnt: u32) {}

    /// Lets another thread get on with what this one is waiting to see.
    pub(crate) fn spin(&self) {
        self.0.spin();
    }
}
