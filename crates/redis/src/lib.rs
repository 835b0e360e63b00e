#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "client"), allow(dead_code, reason = "the client uses more of what is computed"))]

#[cfg(feature = "client")]
mod ahead;
#[cfg(feature = "client")]
mod builder;
pub mod calls;
mod decision;
pub mod error;
#[cfg(feature = "client")]
mod exchange;
#[cfg(feature = "client")]
mod fleet;
#[cfg(feature = "client")]
mod handle;
mod item;
mod lease;
mod limit;
#[cfg(feature = "client")]
mod nodes;
mod outage;
mod question;
mod reply;
mod request;
#[cfg(feature = "client")]
mod reservation;
mod rule;
mod secret;
#[cfg(feature = "client")]
mod servers;
#[cfg(feature = "client")]
mod set;
#[cfg(feature = "client")]
mod shard;
mod span;
#[cfg(feature = "client")]
mod status;
mod sync;
#[cfg(feature = "client")]
mod target;

#[cfg(feature = "client")]
pub use builder::FleetBuilder;
pub use decision::{FleetDecision, FleetSetDecision, Place};
#[cfg(feature = "client")]
pub use fleet::{Fleet, FleetStats};
#[cfg(feature = "client")]
pub use handle::{FleetHandle, FleetScoped};
pub use item::FleetItem;
pub use limit::FleetLimit;
pub use outage::{OnOutage, UnknownOnOutage};
#[cfg(feature = "client")]
pub use reservation::{FleetReservation, FleetSetReservation};
#[cfg(feature = "client")]
pub use status::ServerStatus;
