//! Who is at the other end of the connection.

use std::net::SocketAddr;

/// The address of the peer of a connection: put it into the extensions of each request, so that the limiter finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);
