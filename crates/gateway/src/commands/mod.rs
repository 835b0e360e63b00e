//! The subcommands. Here, and nowhere else, the rooms below are put together.

pub(crate) mod check_config;
pub(crate) mod demonstrate;
mod fleet;
mod fleet_log;
pub(crate) mod keys;
mod reload;
pub(crate) mod serve;
pub(crate) mod table;
