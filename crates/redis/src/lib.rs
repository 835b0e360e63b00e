#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod ahead;
mod builder;
mod decision;
pub mod error;
mod exchange;
mod fleet;
mod handle;
mod lease;
mod limit;
mod outage;
mod reply;
mod request;
mod reservation;
mod rule;
mod secret;
mod servers;
mod set;
mod shard;
mod span;
mod sync;
mod target;

pub use builder::FleetBuilder;
pub use decision::{FleetDecision, FleetSetDecision, Place};
pub use fleet::{Fleet, FleetStats};
pub use handle::{FleetHandle, FleetScoped};
pub use limit::FleetLimit;
pub use outage::{OnOutage, UnknownOnOutage};
pub use reservation::{FleetReservation, FleetSetReservation};
pub use set::FleetItem;
