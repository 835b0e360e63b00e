//! HTTP/2 to an upstream: one connection for many requests at once, and the form that requests have there.

use std::cell::Cell;
use std::rc::Rc;

use http::header::{CONNECTION, EXPECT, HOST, HeaderValue, UPGRADE};
use http::uri::{Authority, Parts, PathAndQuery};
use http::{Request, Uri, Version};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioTimer;
use tokio::task::spawn_local;

use crate::proxy::coarse_clock;
use crate::proxy::error::Error;
use crate::proxy::executor::OnThisThread;
use crate::proxy::upstream::request_body::RequestBody;
use crate::values::origin::Origin;

/// Requests at once on one connection; then there is another. Servers are asked to allow as many (RFC 9113, 6.5.2), and what one
/// that allows fewer does not take at once waits.
const STREAMS: usize = 100;

/// What is held of an answer for a client that does not read.
const WINDOW: u32 = 64 << 10;

/// A connection that several requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    sender: SendRequest<RequestBody>,
    /// When it was made, by the [`coarse_clock`].
    born: u64,
    in_use: Cell<usize>,
    /// When the last request that used it ended.
    idle_since: Cell<u64>,
    /// A request got no answer on it: it may be dead, and gets no other.
    is_spent: Cell<bool>,
}

impl Shared {
    pub(crate) async fn new<T: Read + Write + Unpin + 'static>(stream: T) -> hyper::Result<Rc<Self>> {
        let mut builder = Builder::new(OnThisThread);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            // As much as all streams together, so that those whose clients do not read hold up no other.
            .initial_connection_window_size(WINDOW.saturating_mul(u32::try_from(STREAMS).unwrap_or(u32::MAX)))
            .max_header_list_size(64 << 10)
            .max_send_buf_size(64 << 10);
        let (sender, connection) = builder.handshake(stream).await?;
        // Ends with the last sender and the last stream.
        spawn_local(connection);
        let now = coarse_clock::now();
        Ok(Rc::new(Self {
            sender,
            born: now,
            in_use: Cell::new(0),
            idle_since: Cell::new(now),
            is_spent: Cell::new(false),
        }))
    }

    /// A place for one request, if it is young enough and has room.
    pub(crate) fn enter(self: &Rc<Self>, now: u64, most_age: u64) -> Option<Stream> {
        let has_room = self.in_use.get() < STREAMS && now.saturating_sub(self.born) < most_age;
        (has_room && self.is_usable()).then(|| Stream::new(Rc::clone(self)))
    }

    /// Whether there is a reason to keep it.
    pub(crate) fn is_kept(&self, now: u64, most_idle: u64, most_age: u64) -> bool {
        let is_young = now.saturating_sub(self.born) < most_age;
        let is_idle = self.in_use.get() == 0 && now.saturating_sub(self.idle_since.get()) >= most_idle;
        is_young && !is_idle && self.is_usable()
    }

    fn is_usable(&self) -> bool {
        !self.is_spent.get() && !self.sender.is_closed()
    }
}

/// One request's place on a shared connection.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) sender: SendRequest<RequestBody>,
    shared: Rc<Shared>,
}

impl Stream {
    pub(crate) fn new(shared: Rc<Shared>) -> Self {
        shared.in_use.set(shared.in_use.get().saturating_add(1));
        Self { sender: shared.sender.clone(), shared }
    }

    /// The request got no answer.
    pub(crate) fn is_spent(&self) {
        self.shared.is_spent.set(true);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.in_use.set(self.shared.in_use.get().saturating_sub(1));
        self.shared.idle_since.set(coarse_clock::now());
    }
}

/// Gives a request the form of HTTP/2: scheme and host are in its target.
///
/// # Errors
///
/// If its `Host` cannot stand there, such as an empty one: to name another would have it answered by another host than it asks for.
pub(crate) fn to_http2(request: &mut Request<RequestBody>, origin: &Origin) -> Result<(), Error> {
    let headers = request.headers_mut();
    for name in [CONNECTION, UPGRADE, EXPECT] {
        headers.remove(name);
    }
    let mut parts = Parts::default();
    parts.scheme = origin.uri().scheme().cloned();
    parts.authority = match headers.remove(HOST) {
        Some(host) => Some(Authority::from_maybe_shared(host).map_err(|_| Error::Malformed)?),
        None => origin.uri().authority().cloned(),
    };
    parts.path_and_query =
        Some(request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    *request.uri_mut() = Uri::from_parts(parts).map_err(|_| Error::Malformed)?;
    *request.version_mut() = Version::HTTP_2;
    Ok(())
}

/// Takes that back, of a request that was not sent.
pub(crate) fn to_http1(mut request: Request<RequestBody>) -> Request<RequestBody> {
    if request.version() != Version::HTTP_2 {
        return request;
    }
    let parts = std::mem::take(request.uri_mut()).into_parts();
    if let Some(host) = parts.authority.and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = parts.path_and_query.map(Uri::from).unwrap_or_default();
    *request.version_mut() = Version::HTTP_11;
    request
}
