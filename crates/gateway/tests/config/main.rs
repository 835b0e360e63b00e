//! The configuration file of the gateway, through the program.

mod access_log;
mod check;
mod mistakes;
mod reload;
mod tool;
