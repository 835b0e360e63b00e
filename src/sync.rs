//! The facade for atomics: the only file of the engine that names `core::sync::atomic`, `atomic`, `loom` or `shuttle`.
//!
//! Everything shared between threads is an [`Atomic<T>`] of a type as wide as a `u64`. In a normal build that is
//! `atomic::Atomic`, asserted to be lock-free at compile time; under `--cfg tollgate_model` it is an atomic of a
//! [witness](crate::witness) with the same face, so that the models run the code that ships.

#[cfg(not(tollgate_model))]
mod imp {
    #[cfg(not(tollgate_count))]
    pub(crate) use atomic::Atomic;
    pub(crate) use atomic::{Ordering, fence};
    use crossbeam_utils::Backoff;

    #[cfg(tollgate_count)]
    pub(crate) use crate::counting::Atomic;
    /// What `counting` counts with, and counts of.
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
}

#[cfg(tollgate_model)]
mod imp {
    use bytemuck::Pod;
    use core::marker::PhantomData;

    use crate::witness;

    pub(crate) use crate::witness::fence;
    pub(crate) use core::sync::atomic::Ordering;

    /// What the witnesses `loom` and Shuttle bring, for `witness`.
    pub(crate) mod schedulers {
        pub(crate) use loom::sync::atomic as loom_atomic;
        pub(crate) use loom::thread::yield_now as loom_yield;
        pub(crate) use shuttle::sync::atomic as shuttle_atomic;
        pub(crate) use shuttle::thread::yield_now as shuttle_yield;
    }

    #[derive(Debug)]
    pub(crate) struct Atomic<T>(witness::AtomicU64, PhantomData<T>);

    impl<T: Pod> Atomic<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(witness::AtomicU64::new(bytemuck::cast(value)), PhantomData)
        }

        pub(crate) fn load(&self, order: Ordering) -> T {
            bytemuck::cast(self.0.load(order))
        }

        pub(crate) fn swap(&self, value: T, order: Ordering) -> T {
            bytemuck::cast(self.0.swap(bytemuck::cast(value), order))
        }

        /// By a thread that alone may write here. A swap, as loom takes a store that races with a read-modify-write for a
        /// schedule that hardware does not have: a compare-and-swap that fails would see the value from before it.
        pub(crate) fn store(&self, value: T, order: Ordering) {
            self.swap(value, order);
        }

        pub(crate) fn compare_exchange(&self, current: T, new: T, ok: Ordering, err: Ordering) -> Result<T, T> {
            self.0
                .compare_exchange(bytemuck::cast(current), bytemuck::cast(new), ok, err)
                .map(bytemuck::cast)
                .map_err(bytemuck::cast)
        }
    }

    impl Atomic<u64> {
        pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
            self.0.fetch_add(value, order)
        }

        pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
            self.0.fetch_max(value, order)
        }

        pub(crate) fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
            self.0.fetch_sub(value, order)
        }
    }

    /// `crossbeam_utils::Backoff` spins where no witness can see it; a yield lets the others run.
    pub(crate) struct Retry;

    impl Retry {
        pub(crate) fn new() -> Self {
            witness::memory::begin_loop();
            Self
        }

        pub(crate) fn again(&self, learnt: u32) {
            witness::memory::begin_again(learnt);
        }

        pub(crate) fn spin(&self) {
            witness::yield_now();
        }
    }
}

pub(crate) use imp::*;
