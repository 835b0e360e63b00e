//! What is counted: requests by policy and outcome, and the keys that were refused most and that use most.

mod counts;
mod decision_timer;
mod label;
#[cfg(feature = "redis")]
mod places;
mod policy_stats;
#[cfg(feature = "serde")]
mod serial;
mod top;
mod use_sketch;

pub use counts::PolicyCounts;
pub use label::Label;
#[cfg(feature = "redis")]
pub use places::PlaceCounts;
#[cfg(feature = "redis")]
pub(crate) use places::Places;
#[cfg(feature = "redis")]
pub use policy_stats::FleetStats;
pub use policy_stats::{PolicyStats, RefusedKey, UsedKey};
// Public for the tests of this crate alone.
#[doc(hidden)]
pub use label::Labeller;
#[doc(hidden)]
pub use top::{TopRefused, TopRow};

pub(crate) use counts::{Counted, Counts};
pub(crate) use decision_timer::DecisionTimer;
pub(crate) use policy_stats::TopEntry;
pub(crate) use use_sketch::{UseSketch, Used};
