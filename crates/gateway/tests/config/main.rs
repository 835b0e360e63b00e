//! The configuration file of the gateway, through the program.

mod check;
mod mistakes;
mod reload;
mod tool;
