//! The side of the client: sockets, connections and what they speak.

pub(super) mod activity;
pub(super) mod connection;
pub(super) mod connection_limit;
pub(super) mod fetched;
pub(super) mod io;
pub(crate) mod listener;
pub(super) mod preface;
