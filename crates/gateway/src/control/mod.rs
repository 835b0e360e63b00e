//! The control socket: what an operator asks a running gateway about one client, and a new start for it.
//!
//! A Unix socket that nobody but its owner and root may use. [`socket`] makes it, [`server`] answers there on a thread of its own, so
//! that no request waits for an answer, and [`message`] is what both sides say.

pub(crate) mod message;
pub(crate) mod server;
pub(crate) mod socket;
