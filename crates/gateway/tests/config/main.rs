//! The configuration file of the gateway, through the program.

mod access_log;
mod check;
mod fields;
mod mistakes;
mod reload;
mod service;
mod tool;
