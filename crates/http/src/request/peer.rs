//! The peer of a connection, and the user of a request.

use std::net::{IpAddr, SocketAddr};

use http::Extensions;

/// The address of the peer of a connection: put it into the extensions of each request, so that the limiter finds it.
///
/// With feature `axum`, `axum::extract::ConnectInfo<SocketAddr>` is found as well, which
/// `Router::into_make_service_with_connect_info::<SocketAddr>()` puts there; with feature `tonic`, what its server puts
/// there for connections without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// A user that the application has authenticated: what the key part `user` reads from a request's extensions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AuthenticatedUser(pub std::sync::Arc<str>);

/// The peer's address, if anybody left it in the extensions.
#[inline(always)]
pub(super) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    if let Some(PeerAddr(address)) = extensions.get() {
        return Some(address.ip());
    }
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(address)) = extensions.get::<axum::extract::ConnectInfo<SocketAddr>>() {
        return Some(address.ip());
    }
    #[cfg(feature = "tonic")]
    if let Some(info) = extensions.get::<tonic::transport::server::TcpConnectInfo>() {
        return info.remote_addr().map(|address| address.ip());
    }
    None
}
