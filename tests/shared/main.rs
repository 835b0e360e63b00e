//! One table for all processes of a machine. Processes are forked from the tests.
#![cfg(all(target_os = "linux", target_pointer_width = "64"))]
#![allow(missing_docs, reason = "a test")]
#![allow(unsafe_code, reason = "processes are forked, stopped and killed by the C library's functions")]

mod attach;
mod damage;
mod kill;
mod process;
mod release;
mod snapshot;
mod together;
