//! Atomics of a witness, for the models.

use bytemuck::Pod;
use core::marker::PhantomData;

use super::witness;

pub(crate) use super::witness::fence;
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
