//! The PROXY protocol on a listener that has it enabled: who the client is, told by a load balancer before anything
//! else.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use ipnet::IpNet;
use tokio::net::TcpStream;
use tollgate_http::proxy_protocol::{self, Parsed};

use super::connection::read_more;
use super::forward::contains;

/// The client that the header names; what follows the header is left in `early`.
///
/// `None` closes the connection: the peer is not among `networks`, or what it sent is no header.
pub(crate) async fn read(
    socket: &TcpStream,
    peer: SocketAddr,
    networks: &[IpNet],
    early: &mut BytesMut,
) -> Option<SocketAddr> {
    if !contains(networks, peer.ip().to_canonical()) {
        return None;
    }
    loop {
        read_more(socket, early).await.ok()?;
        match proxy_protocol::parse(early).ok()? {
            Parsed::Incomplete => {}
            Parsed::Header { len, source } => {
                early.advance(len.min(early.len()));
                // A check of the balancer's own names nobody.
                return Some(source.unwrap_or(peer));
            }
        }
    }
}
