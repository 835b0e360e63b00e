//! Atomics that count and give way, for `ci/stress.sh`: it must know that its threads met, and make them meet where few
//! processors would not. Built under `--cfg tollgate_count` only.

use core::cell::Cell;
use core::ops::Deref;

use bytemuck::NoUninit;
use crossbeam_utils::CachePadded;

use crate::sync::{Ordering, Uncounted};

// Relaxed, all of them: numbers that guard nothing and publish nothing, each read by itself. A test reads or sets them
// before its threads start and after they are joined, so it sees what they did. No model: they are not in the engine.
static CAS_FAILURES: CachePadded<Uncounted<u64>> = CachePadded::new(Uncounted::new(0));
static SEED: Uncounted<u64> = Uncounted::new(0);
static YIELD_ONCE_IN: CachePadded<Uncounted<u64>> = CachePadded::new(Uncounted::new(0));

/// How many compare-and-swaps of this process have failed.
pub fn cas_failures() -> u64 {
    // Relaxed, in and after the threads' lives: see above. No model.
    CAS_FAILURES.load(Ordering::Relaxed)
}

/// From now on each thread gives way to others before one in so many of its accesses, at random; 0 for never.
pub fn yield_once_in(accesses: u64) {
    // Relaxed, in and after the threads' lives: see above. No model.
    YIELD_ONCE_IN.store(accesses, Ordering::Relaxed);
}

#[inline]
fn give_way() {
    // Relaxed, both: see above. No model.
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
pub(crate) struct Atomic<T: NoUninit>(Uncounted<T>);

impl<T: NoUninit> Atomic<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Uncounted::new(value))
    }

    pub(crate) const fn is_lock_free() -> bool {
        Uncounted::<T>::is_lock_free()
    }

    #[inline]
    pub(crate) fn load(&self, order: Ordering) -> T {
        give_way();
        self.0.load(order)
    }

    #[inline]
    pub(crate) fn store(&self, value: T, order: Ordering) {
        give_way();
        self.0.store(value, order);
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
            // Relaxed, in and after the threads' lives: see above. No model.
            CAS_FAILURES.fetch_add(1, Ordering::Relaxed);
        }
        exchanged
    }
}

impl<T: NoUninit> Deref for Atomic<T> {
    type Target = Uncounted<T>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
