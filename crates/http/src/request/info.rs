//! A request as rules and functions of the application see it.

use std::fmt;
use std::net::IpAddr;

use http::HeaderName;
use http::header::{CONTENT_TYPE, HOST};

use super::path::Readings;
use super::view::{FieldLines, RequestView};

/// A request with what rules have found out about it: its path in one spelling, and the client's address.
#[derive(Clone)]
pub struct RequestInfo<'a> {
    view: &'a dyn RequestView,
    path: Readings<'a>,
    peer: Option<IpAddr>,
    client: Option<IpAddr>,
    ignores_path_case: bool,
}

impl<'a> RequestInfo<'a> {
    /// Of `request`, with its peer as the client: for trying out functions, routes and exemptions.
    #[must_use]
    pub fn new(request: &'a dyn RequestView) -> Self {
        let peer = request.peer();
        Self { view: request, path: Readings::new(request.path()), peer, client: peer, ignores_path_case: false }
    }

    /// The same, come from `client`.
    pub(crate) fn set_client(&mut self, client: IpAddr) {
        self.client = Some(client);
    }

    /// The same, to an application that may take `/Login` for `/login`.
    pub(crate) fn set_ignores_path_case(&mut self, ignores: bool) {
        self.ignores_path_case = ignores;
    }

    /// Whether the application may take `/Login` for `/login`.
    pub(crate) fn ignores_path_case(&self) -> bool {
        self.ignores_path_case
    }

    /// The request itself.
    pub(crate) fn view(&self) -> &'a dyn RequestView {
        self.view
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &'a str {
        self.view.method()
    }

    /// The path without the query, in its one spelling: decoded, slashes too, and without dot segments, doubled slashes,
    /// a slash at the end, and what follows a `;`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.one()
    }

    /// The query as it came, without the `?`.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.view.query()
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
        let lines = self.lines(&HOST).into_iter().filter_map(text);
        let names = lines
            .map(move |host| host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name));
        self.view.target_host().into_iter().chain(names).map(|name| name.strip_suffix('.').unwrap_or(name))
    }

    /// The value of a header field, if it is there exactly once and is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&'a str> {
        self.lines(name).only().and_then(text)
    }

    /// All lines of a header field.
    #[must_use]
    pub fn lines(&self, name: &HeaderName) -> FieldLines<'a> {
        FieldLines::of(self.view, name)
    }

    /// The user that the application has authenticated.
    #[must_use]
    pub fn user(&self) -> Option<&'a str> {
        self.view.user()
    }

    /// What an earlier layer has left in the request's extensions, such as the plan of a customer.
    #[must_use]
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&'a T> {
        self.view.extensions()?.get()
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

    /// Whether this is gRPC, whose clients look for `grpc-status`.
    pub(crate) fn is_grpc(&self) -> bool {
        self.lines(&CONTENT_TYPE).first().is_some_and(|kind| kind.starts_with(b"application/grpc"))
    }
}

/// A line as text, if it is visible ASCII, blanks and tabs.
fn text(line: &[u8]) -> Option<&str> {
    let is_text = line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
    str::from_utf8(line).ok().filter(|_| is_text)
}

impl fmt::Debug for RequestInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestInfo")
            .field("method", &self.method())
            .field("path", &self.path())
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
