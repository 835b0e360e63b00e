//! What a connection begins with, before HTTP: the header of the PROXY protocol, in which a load balancer says who the
//! client is, on a listener that has it enabled; and the bytes by which HTTP/2 is known.

use std::io;
use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use ipnet::IpNet;
use tollgate_http::proxy_protocol::{self, Parsed};

use crate::proxy::client::io::{ClientSocket, read_more};
use crate::proxy::exchange::forward::contains;

/// With these bytes an HTTP/2 connection begins (RFC 9113, 3.4); no HTTP/1 request does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The client that the header names; what follows the header is left in `early`.
///
/// `None` closes the connection: the peer is not among `networks`, as one without an address is not, or what it sent is no header.
pub(crate) async fn proxy_header(
    socket: &ClientSocket,
    peer: Option<SocketAddr>,
    networks: &[IpNet],
    early: &mut BytesMut,
) -> Option<SocketAddr> {
    let peer = peer.filter(|peer| contains(networks, peer.ip().to_canonical()))?;
    loop {
        read_more(socket, early).await.ok()?;
        match proxy_protocol::parse(early).ok()? {
            Parsed::Incomplete => {}
            Parsed::Header { len, source } => {
                early.advance(len.min(early.len()));
                // A health check of the balancer itself names no client.
                return Some(source.unwrap_or(peer));
            }
        }
    }
}

/// Whether the connection speaks HTTP/2; reads as much as it takes to know, and leaves it in `early`.
pub(crate) async fn speaks_http2(socket: &ClientSocket, early: &mut BytesMut) -> io::Result<bool> {
    loop {
        let known = early.len().min(PREFACE.len());
        if early.get(..known) != PREFACE.get(..known) {
            return Ok(false);
        }
        if known == PREFACE.len() {
            return Ok(true);
        }
        read_more(socket, early).await?;
    }
}
