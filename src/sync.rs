//! The facade for atomics: the only file of the engine that names `core::sync::atomic` or `atomic`.
//!
//! Everything shared between threads is an [`Atomic<T>`] of a type as wide as a `u64`. In a normal build that is
//! `atomic::Atomic`, asserted to be lock-free at compile time; under `--cfg tollgate_model` it is an atomic of a
//! [witness](crate::witness) with the same face, so that the models run the code that ships.

#[cfg(not(tollgate_model))]
mod imp {
    #[cfg(not(tollgate_count))]
    pub(crate) use atomic::Atomic;
    pub(crate) use atomic::{Ordering, fence};
    #[cfg(tollgate_count)]
    pub(crate) use counting::Atomic;
    #[cfg(tollgate_count)]
    pub use counting::{cas_failures, yield_once_in};
    pub(crate) use crossbeam_utils::Backoff;

    // A fallback with locks would break the promise that no thread ever waits for another.
    const _: () = assert!(Atomic::<u64>::is_lock_free());
    const _: () = assert!(Atomic::<crate::word::Word>::is_lock_free());
    const _: () = assert!(Atomic::<crate::hash::Identity>::is_lock_free());

    /// For `ci/stress.sh`, which must know that its threads met, and make them meet where few processors would not.
    #[cfg(tollgate_count)]
    mod counting {
        use core::cell::Cell;
        use core::ops::Deref;

        use bytemuck::NoUninit;
        use crossbeam_utils::CachePadded;

        use super::Ordering;

        static CAS_FAILURES: CachePadded<atomic::Atomic<u64>> = CachePadded::new(atomic::Atomic::new(0));
        static SEED: atomic::Atomic<u64> = atomic::Atomic::new(0);
        static YIELD_ONCE_IN: CachePadded<atomic::Atomic<u64>> = CachePadded::new(atomic::Atomic::new(0));

        /// How many compare-and-swaps of this process have failed.
        pub fn cas_failures() -> u64 {
            CAS_FAILURES.load(Ordering::Relaxed)
        }

        /// From now on each thread gives way to others before one in so many of its accesses, at random; 0 for never.
        pub fn yield_once_in(accesses: u64) {
            YIELD_ONCE_IN.store(accesses, Ordering::Relaxed);
        }

        #[inline]
        fn give_way() {
            thread_local!(static DRAW: Cell<u64> = Cell::new(SEED.fetch_add(1 << 33, Ordering::Relaxed)));
            let one_in = YIELD_ONCE_IN.load(Ordering::Relaxed);
            if one_in > 0 {
                // Knuth's MMIX; its upper bits are good enough for this.
                let draw = DRAW.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                DRAW.set(draw);
                if (draw >> 33).is_multiple_of(one_in) {
                    std::thread::yield_now();
                }
            }
        }

        #[derive(Debug)]
        #[repr(transparent)]
        pub(crate) struct Atomic<T: NoUninit>(atomic::Atomic<T>);

        impl<T: NoUninit> Atomic<T> {
            pub(crate) const fn new(value: T) -> Self {
                Self(atomic::Atomic::new(value))
            }

            pub(crate) const fn is_lock_free() -> bool {
                atomic::Atomic::<T>::is_lock_free()
            }

            #[inline]
            pub(crate) fn load(&self, order: Ordering) -> T {
                give_way();
                self.0.load(order)
            }

            #[inline]
            pub(crate) fn swap(&self, value: T, order: Ordering) -> T {
                give_way();
                self.0.swap(value, order)
            }

            #[inline]
            pub(crate) fn compare_exchange(&self, current: T, new: T, ok: Ordering, err: Ordering) -> Result<T, T> {
                give_way();
                let exchanged = self.0.compare_exchange(current, new, ok, err);
                if exchanged.is_err() {
                    CAS_FAILURES.fetch_add(1, Ordering::Relaxed);
                }
                exchanged
            }
        }

        impl<T: NoUninit> Deref for Atomic<T> {
            type Target = atomic::Atomic<T>;

            #[inline]
            fn deref(&self) -> &Self::Target {
                &self.0
            }
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
#[cfg(all(tollgate_count, not(tollgate_model)))]
pub use imp::{cas_failures, yield_once_in};
