//! What a limiter is told.

mod charge;
mod exemption;
mod limiter_config;
mod looks_at;
#[cfg(feature = "redis")]
pub(crate) mod on_fleet;
mod policy;
#[cfg(feature = "serde")]
mod serial;
mod shared_at;
mod tier_map;
mod tiers;

pub(crate) use charge::count;
pub use charge::{Charge, Statuses, Unanswered};
pub use exemption::Exemption;
pub use limiter_config::LimiterConfig;
pub use looks_at::LooksAt;
pub(crate) use policy::Cost;
pub use policy::{Policy, Precedence};
pub use shared_at::{SharedAt, TableMismatch};
pub use tier_map::{TierMap, TierMapBuilder, TierRowError};
pub(crate) use tiers::TierBy;
pub use tiers::Tiers;
