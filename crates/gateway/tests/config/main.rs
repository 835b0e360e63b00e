//! The configuration file of the gateway, through the program.

mod check;
mod mistakes;
mod reload;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod shared;
mod tool;
