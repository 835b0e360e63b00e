//! Small types and helpers that the rooms above share.

pub(crate) mod admin_listen;
pub mod failure;
pub(crate) mod fleet_settings;
pub mod listen_addr;
pub mod origin;
pub mod output;
pub mod place;
pub(crate) mod policy_figures;
pub(crate) mod rates;
pub(crate) mod socket_file;
