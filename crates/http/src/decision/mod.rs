//! From a request to an admission or a refusal.
//!
//! A request passes, in this order: [`matching`] (which policies are for it, with its key in each), [`decide`] (all of them
//! or none), [`settle`] (what is charged or refunded after the response). [`compile`] makes the rules that these read, over
//! the buckets of the [`engine`].

pub(crate) mod admission;
pub(crate) mod admitted;
#[cfg(feature = "redis")]
pub(crate) mod asking;
pub(crate) mod by_client;
mod candidates;
pub(crate) mod compile;
pub(crate) mod decide;
pub(crate) mod engine;
#[cfg(feature = "redis")]
mod fleet;
pub(crate) mod gate;
mod in_flight;
pub(crate) mod matching;
#[cfg(feature = "redis")]
pub(crate) mod pending_on_fleet;
pub(crate) mod refusal;
mod refused;
mod settle;
pub(crate) mod shared;
mod stats;
pub(crate) mod status;
pub(crate) mod straight;
pub(crate) mod warnings;
