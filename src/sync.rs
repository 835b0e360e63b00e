//! The facade for atomics: the only file of the engine that names `core::sync::atomic` or `atomic`.
//!
//! Everything shared between threads is an [`Atomic<T>`] of a type as wide as a `u64`. In a normal build that is
//! `atomic::Atomic`, asserted to be lock-free at compile time; under `--cfg tollgate_model` it is an atomic of a
//! [witness](crate::witness) with the same face, so that the models run the code that ships.

#[cfg(not(tollgate_model))]
mod imp {
    pub(crate) use atomic::{Atomic, Ordering, fence};
    pub(crate) use crossbeam_utils::Backoff;

    // A fallback with locks would break the promise that no thread ever waits for another.
    const _: () = assert!(Atomic::<u64>::is_lock_free());
    const _: () = assert!(Atomic::<crate::word::Word>::is_lock_free());
    const _: () = assert!(Atomic::<crate::hash::Identity>::is_lock_free());
}

#[cfg(tollgate_model)]
mod imp {
    use bytemuck::Pod;
    use core::marker::PhantomData;

    use crate::witness;

    pub(crate) use crate::witness::fence;
    pub(crate) use core::sync::atomic::Ordering;

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
    pub(crate) struct Backoff;

    impl Backoff {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn spin(&self) {
            witness::yield_now();
        }
    }
}

pub(crate) use imp::*;
