//! A lock-free, keyed rate limiter: one atomic word per bucket, exact arithmetic, bounded memory.
#![doc = ""]
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]
#![cfg_attr(tollgate_loom, allow(dead_code, reason = "the models reach less than the API does"))]

// In the order in which a check passes through them.
mod algorithm;
mod clock;
mod decision;
mod hash;
#[cfg(not(tollgate_loom))]
mod limiter;
#[cfg(not(tollgate_loom))]
mod memory;
mod ops;
#[cfg(not(tollgate_loom))]
mod probe;
mod protocol;
mod slot;
#[cfg(not(tollgate_loom))]
mod table;
mod word;

// What a check needs to have been made before.
mod base;
mod bucket;
#[cfg(not(tollgate_loom))]
mod builder;
mod error;
mod limit;
#[cfg(tollgate_loom)]
#[doc(hidden)]
pub mod model;
mod policy;
mod quota;
mod rate;
mod reservation;
mod set;
mod sync;
#[cfg(feature = "async")]
mod wait;

pub use bucket::{Bucket, BucketView};
pub use clock::{CachedClock, Clock, ExactClock, Instant, ManualClock};
pub use decision::{Decision, Report, Verdict};
pub use error::{BuildError, QuotaError, UnknownAlgorithm};
pub use hash::{Key, KeyHash};
pub use limit::{EffectiveRate, Limit};
pub use ops::Inheritance;
pub use policy::OnFull;
pub use quota::{Algorithm, Quota};
pub use rate::{ParseQuotaError, parse_quotas};
pub use reservation::Reservation;
pub use set::{LimitSet, LimitSetError, SetDecision, Share};
#[cfg(feature = "async")]
pub use wait::WaitError;
#[cfg(not(tollgate_loom))]
pub use {
    builder::Builder,
    limiter::{Limiter, Stats, View},
};
