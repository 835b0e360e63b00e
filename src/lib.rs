#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]
#![cfg_attr(tollgate_model, allow(dead_code, reason = "the models reach less than the API does"))]

// A check passes through limiter, scoped, key, hash, handle, clock, ops, table, probe, protocol, slot, word, algorithm and decision, in
// this order; `limiter.rs` is the file to open first.
#[cfg(not(tollgate_model))]
mod limiter;
#[cfg(not(tollgate_model))]
mod limiter_clock;

mod algorithm;
mod arith;
mod bucket;
#[cfg(not(tollgate_model))]
mod builder;
mod cells;
mod claimer;
pub mod clock;
mod decision;
pub mod error;
mod foreign;
mod given;
mod handle;
mod hash;
pub mod key;
pub mod lease;
pub mod limit;
mod marks;
#[cfg(not(tollgate_model))]
mod memory;
#[cfg(tollgate_model)]
#[doc(hidden)]
pub mod model;
mod on_full;
mod ops;
#[cfg(not(tollgate_model))]
mod owned_lease;
mod predecessor;
#[cfg(not(tollgate_model))]
mod probe;
mod process;
mod protocol;
pub mod quota;
mod rate;
mod rehearsal;
mod reservation;
#[cfg(not(tollgate_model))]
pub mod scoped;
#[cfg(feature = "serde")]
mod serial;
pub mod set;
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(tollgate_model)))]
pub mod shared;
mod slot;
#[cfg(not(tollgate_model))]
pub mod snapshot;
pub mod state;
mod step;
mod sync;
#[cfg(not(tollgate_model))]
mod table;
#[cfg(not(tollgate_model))]
mod thread;
mod time_base;
#[cfg(feature = "async")]
mod wait;
mod word;
mod words;

pub use bucket::Bucket;
#[cfg(not(tollgate_model))]
pub use builder::LimiterBuilder;
pub use decision::{Decision, Report, Verdict};
pub use handle::Handle;
pub use hash::KeyHash;
pub use key::Key;
pub use lease::Lease;
pub use limit::Limit;
#[cfg(not(tollgate_model))]
pub use limiter::{Limiter, Stats};
pub use on_full::OnFull;
pub use ops::Inheritance;
pub use quota::{Algorithm, Quota, WindowStart};
pub use rate::parse_quotas;
pub use reservation::Reservation;
pub use set::{LimitSet, SetDecision, SetItem};
#[cfg(all(tollgate_count, not(tollgate_model)))]
#[doc(hidden)]
pub use sync::counting::{cas_failures, yield_once_in};
#[cfg(tollgate_model)]
#[doc(hidden)]
pub use sync::witness;
