#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]
#![cfg_attr(tollgate_model, allow(dead_code, reason = "the models reach less than the API does"))]

// A check passes through limiter, clock, hash, table, probe, protocol, slot, word, ops, algorithm, decision, in this
// order; `limiter.rs` is the file to open first.
#[cfg(not(tollgate_model))]
mod limiter;

mod algorithm;
mod base;
mod bucket;
#[cfg(not(tollgate_model))]
mod builder;
mod clock;
#[cfg(all(tollgate_count, not(tollgate_model)))]
mod counting;
mod decision;
mod error;
mod foreign;
mod hash;
mod lease;
mod limit;
mod marks;
#[cfg(not(tollgate_model))]
mod memory;
#[cfg(tollgate_model)]
#[doc(hidden)]
pub mod model;
mod ops;
mod policy;
mod predecessor;
#[cfg(not(tollgate_model))]
mod probe;
mod process;
mod protocol;
mod quota;
mod rate;
mod rehearsal;
mod reservation;
mod set;
mod slot;
mod step;
mod sync;
#[cfg(not(tollgate_model))]
mod table;
#[cfg(not(tollgate_model))]
mod thread;
#[cfg(feature = "async")]
mod wait;
#[cfg(tollgate_model)]
#[doc(hidden)]
#[allow(missing_docs, missing_debug_implementations, reason = "for the models only")]
pub mod witness;
mod word;

pub use bucket::{Bucket, BucketView};
#[cfg(not(tollgate_model))]
pub use builder::Builder;
#[cfg(not(tollgate_model))]
pub use clock::CachedClock;
pub use clock::{Clock, ExactClock, Instant, ManualClock};
#[cfg(all(tollgate_count, not(tollgate_model)))]
#[doc(hidden)]
pub use counting::{cas_failures, yield_once_in};
pub use decision::{Decision, Report, Verdict};
pub use error::{BuildError, QuotaError, UnknownAlgorithm};
pub use hash::{Key, KeyHash};
pub use lease::Lease;
pub use limit::{EffectiveRate, Limit};
#[cfg(not(tollgate_model))]
pub use limiter::{Limiter, Stats, View};
pub use ops::Inheritance;
pub use policy::OnFull;
pub use quota::{Algorithm, Quota};
pub use rate::{ParseQuotaError, parse_quotas};
pub use reservation::Reservation;
pub use set::{LimitSet, LimitSetError, SetDecision, Share};
#[cfg(feature = "async")]
pub use wait::WaitError;
