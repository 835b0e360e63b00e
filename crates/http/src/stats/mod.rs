//! What is counted: requests by policy and outcome, and the keys that were refused most.

mod counts;
mod decision_timer;
mod label;
#[cfg(feature = "redis")]
mod places;
mod policy_stats;
#[cfg(feature = "serde")]
mod serial;
mod top;

pub use counts::PolicyCounts;
pub use label::Label;
#[cfg(feature = "redis")]
pub use places::PlaceCounts;
#[cfg(feature = "redis")]
pub(crate) use places::Places;
#[cfg(feature = "redis")]
pub use policy_stats::FleetStats;
pub use policy_stats::{PolicyStats, RefusedKey};
// Public for the tests of this crate alone.
#[doc(hidden)]
pub use label::Labeller;
#[doc(hidden)]
pub use top::{TopRefused, TopRow};

pub(crate) use counts::{Counted, Counts};
pub(crate) use decision_timer::DecisionTimer;
pub(crate) use policy_stats::TopEntry;
