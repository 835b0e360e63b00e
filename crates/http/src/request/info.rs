//! What of a request decides about it.

use std::net::IpAddr;

use http::{Extensions, HeaderMap, Method, Request, Uri};

use crate::request::path::Readings;
use crate::request::peer;

/// A request as the rules see it: all but its body.
#[derive(Debug, Clone)]
pub struct RequestInfo<'a> {
    method: &'a Method,
    uri: &'a Uri,
    path: Readings<'a>,
    headers: &'a HeaderMap,
    extensions: &'a Extensions,
    peer: Option<IpAddr>,
    client: Option<IpAddr>,
}

impl<'a> RequestInfo<'a> {
    /// Of `request`; the peer's address is looked for in its extensions, see [`PeerAddr`](crate::PeerAddr).
    pub fn new<B>(request: &'a Request<B>) -> Self {
        let peer = peer(request.extensions()).map(|address| address.ip());
        Self::from_parts(request.method(), request.uri(), request.headers(), request.extensions(), peer)
    }

    /// Of the parts of a request that is in another form.
    pub fn from_parts(
        method: &'a Method,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        extensions: &'a Extensions,
        peer: Option<IpAddr>,
    ) -> Self {
        Self { method, uri, path: Readings::new(uri.path()), headers, extensions, peer, client: peer }
    }

    /// The same, come from `client`.
    pub(crate) fn with_client(mut self, client: Option<IpAddr>) -> Self {
        self.client = client;
        self
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The target as it came.
    #[must_use]
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }

    /// The path without the query, in its one spelling: decoded, slashes too, and without dot segments, doubled slashes,
    /// a slash at the end, and what follows a `;`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.one()
    }

    /// The path in every way in which servers read it.
    pub(crate) fn paths(&self) -> &Readings<'a> {
        &self.path
    }

    /// The host that was asked for, without the port and without a dot at the end.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        self.hosts().next()
    }

    /// Every host that it names: in the target, where HTTP/2 has it, and in `Host`. Servers differ in what they believe
    /// of those who name several.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let lines = self.headers.get_all(http::header::HOST).iter().filter_map(|line| line.to_str().ok());
        let names = lines
            .map(move |host| host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name));
        self.uri.host().into_iter().chain(names).map(|name| name.strip_suffix('.').unwrap_or(name))
    }

    /// The header fields.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// What earlier layers have left, such as who the user is.
    #[must_use]
    pub fn extensions(&self) -> &'a Extensions {
        self.extensions
    }

    /// The address at the other end of the connection.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// The client's address: the peer's, or what trusted proxies say.
    #[must_use]
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// Whether this is gRPC, whose clients look for a status of its own.
    pub(crate) fn is_grpc(&self) -> bool {
        let kind = self.headers.get(http::header::CONTENT_TYPE);
        kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
    }
}
