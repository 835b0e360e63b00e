//! A lock-free, keyed rate limiter: one atomic word per bucket, exact arithmetic, bounded memory.
#![doc = ""]
#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

// In the order in which a check passes through them.
#[cfg(not(tollgate_loom))]
mod limiter;
mod clock;
mod hash;
#[cfg(not(tollgate_loom))]
mod table;
#[cfg(not(tollgate_loom))]
mod memory;
#[cfg(not(tollgate_loom))]
mod probe;
mod protocol;
mod slot;
mod word;
mod ops;
mod algorithm;
mod decision;

// What a check needs to have been made before.
mod base;
mod bucket;
mod builder;
mod error;
mod limit;
mod quota;
mod rate;
mod reservation;
mod set;
mod sync;

pub use bucket::{Bucket, BucketView};
pub use builder::OnFull;
pub use clock::{CachedClock, Clock, ExactClock, Instant, ManualClock};
pub use decision::{Decision, Report, Verdict};
pub use error::{BuildError, QuotaError, UnknownAlgorithm};
pub use hash::{Key, KeyHash};
pub use limit::{EffectiveRate, Limit};
pub use ops::Inheritance;
pub use quota::{Algorithm, Quota};
pub use rate::{ParseQuotaError, parse_quotas};
pub use reservation::Reservation;
pub use set::{LimitSet, LimitSetError, SetDecision, Share};
#[cfg(not(tollgate_loom))]
pub use {builder::Builder, limiter::{Limiter, Stats, View}};
