//! The configuration file of the gateway, through the program.

mod access_log;
mod check;
mod fields;
mod keys;
mod mistakes;
mod redis;
mod reload;
mod routes;
mod service;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod shared;
mod tiers;
mod tool;
