//! The `tollgate` program: a gateway that limits rates in front of an API, and a replay of access logs that shows whom
//! it would limit.
//!
//! The rooms, from the top; each uses only those below it (`ci/rooms.py` checks that):
//!
//! - [`cli`]: what can be asked on the command line, and the exit code
//! - `commands`: one file for each subcommand; here the rest is put together
//! - [`replay`]: logs through a limiter, and what would have come of it
//! - [`config`]: the YAML file of the gateway
//! - `admin`: the admin page, `/metrics`, `/healthz` and `/limits`
//! - `control`: the socket by which an operator asks about one client
//! - [`proxy`]: the reverse proxy
//! - [`values`]: small types and helpers that the others share
//!
//! This is a library for its own binary, its tests and the fuzz targets. What is public here is no stable interface.

#![forbid(unsafe_code)]
// Read with `cargo doc --document-private-items`.
#![allow(rustdoc::private_intra_doc_links, reason = "all of the documentation is for those who change the program")]

mod admin;
pub mod cli;
mod commands;
#[doc(hidden)]
pub mod config;
mod control;
#[doc(hidden)]
pub mod proxy;
#[doc(hidden)]
pub mod replay;
#[doc(hidden)]
pub mod values;
