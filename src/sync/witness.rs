//! Who schedules the threads of a model. There are three witnesses, and each sees what the others do not:
//!
//! - **loom**: every schedule up to a bound on preemptions, with the stale values that weak orderings allow;
//! - **Shuttle**: schedules drawn at random, sequentially consistent, for more threads and calls than loom can bear;
//! - **the explorer** of `loom-tests`: every schedule without a bound, sequentially consistent.
//!
//! Built under `--cfg tollgate_model` only. `TOLLGATE_WITNESS` chooses one when a test starts, so one build serves all.

use std::sync::OnceLock;

use super::schedulers::{loom_atomic, loom_yield, shuttle_atomic, shuttle_yield};
use crate::sync::Ordering;

pub mod memory;

/// Who schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    Loom,
    Shuttle,
    Explorer,
}

impl Witness {
    /// The one that `TOLLGATE_WITNESS` names; loom if it names none.
    pub fn chosen() -> Self {
        static CHOSEN: OnceLock<Witness> = OnceLock::new();
        *CHOSEN.get_or_init(|| match std::env::var("TOLLGATE_WITNESS").as_deref() {
            Err(_) | Ok("loom") => Self::Loom,
            Ok("shuttle") => Self::Shuttle,
            Ok("explorer") => Self::Explorer,
            Ok(other) => panic!("TOLLGATE_WITNESS is {other:?}; it may be loom, shuttle or explorer"),
        })
    }
}

/// Loom explores fewer schedules when a thread begins with a plain load (tokio-rs/loom #166, #392). With
/// `TOLLGATE_LOOM_RMW` set every load is `fetch_add(0)`, which it does explore; the suite runs both ways.
fn loads_are_rmw() -> bool {
    static FLAG: OnceLock<bool> = OnceLock::new();
    *FLAG.get_or_init(|| std::env::var_os("TOLLGATE_LOOM_RMW").is_some())
}

/// One atomic of the chosen witness.
#[derive(Debug)]
pub(crate) enum AtomicU64 {
    Loom(loom_atomic::AtomicU64),
    Shuttle(shuttle_atomic::AtomicU64),
    Explorer(memory::AtomicU64),
}

/// The same call, whoever it is.
macro_rules! each {
    ($self:expr, $atomic:ident => $call:expr) => {
        match $self {
            Self::Loom($atomic) => $call,
            Self::Shuttle($atomic) => $call,
            Self::Explorer($atomic) => $call,
        }
    };
}

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> Self {
        match Witness::chosen() {
            Witness::Loom => Self::Loom(loom_atomic::AtomicU64::new(value)),
            Witness::Shuttle => Self::Shuttle(shuttle_atomic::AtomicU64::new(value)),
            Witness::Explorer => Self::Explorer(memory::AtomicU64::new(value)),
        }
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        match self {
            Self::Loom(atomic) if loads_are_rmw() => atomic.fetch_add(0, order),
            _ => each!(self, atomic => atomic.load(order)),
        }
    }

    pub(crate) fn swap(&self, value: u64, order: Ordering) -> u64 {
        each!(self, atomic => atomic.swap(value, order))
    }

    pub(crate) fn compare_exchange(&self, current: u64, new: u64, ok: Ordering, err: Ordering) -> Result<u64, u64> {
        each!(self, atomic => atomic.compare_exchange(current, new, ok, err))
    }

    pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        each!(self, atomic => atomic.fetch_add(value, order))
    }

    pub(crate) fn fetch_max(&self, value: u64, order: Ordering) -> u64 {
        each!(self, atomic => atomic.fetch_max(value, order))
    }

    pub(crate) fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        each!(self, atomic => atomic.fetch_sub(value, order))
    }
}

/// A fence; the two witnesses that are sequentially consistent have nothing to order.
pub(crate) fn fence(order: Ordering) {
    if Witness::chosen() == Witness::Loom {
        loom_atomic::fence(order);
    }
}

/// Lets the others run, for those who would go round in a circle otherwise.
pub(crate) fn yield_now() {
    match Witness::chosen() {
        Witness::Loom => loom_yield(),
        Witness::Shuttle => shuttle_yield(),
        Witness::Explorer => {}
    }
}
