//! The path of one request: checked, rewritten, sent to an upstream, answered.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tollgate_http::PeerAddr;
use tower_service::Service;

use super::body::{Progress, RequestBody, ResponseBody};
use super::connection::OverTls;
use super::error::Error;
use super::forward::{self, Origination};
use super::hop;
use super::live::{Live, State, View};
use super::moment;
use super::pool::{Connection, Pool};
use super::shutdown::Draining;
use super::tally::Tally;
use super::upgrade;

/// How often unused connections to upstreams are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// One thread's proxy: a service that answers every request with what an upstream says to it.
#[derive(Debug, Clone)]
pub(crate) struct Proxy(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    live: View,
    pool: Rc<Pool>,
    /// Counts requests, so that equal upstreams take turns.
    turn: Cell<usize>,
    draining: Draining,
    tally: Arc<Tally>,
}

/// What the client changes to, and how it is reached then.
struct Upgrade {
    protocol: HeaderValue,
    client: OnUpgrade,
}

impl Proxy {
    /// Must be called on a local runtime: connections to upstreams stay on their thread.
    pub(crate) fn new(live: &Live, tally: Arc<Tally>, draining: Draining) -> Self {
        let pool = Pool::new(live);
        let swept = Rc::downgrade(&pool);
        spawn_local(async move {
            while let Some(pool) = swept.upgrade() {
                pool.sweep();
                drop(pool);
                sleep(SWEEP).await;
            }
        });
        Self(Rc::new(Inner { live: live.view(), pool, turn: Cell::new(0), draining, tally }))
    }
}

impl Service<Request<Incoming>> for Proxy {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    // Boxed, because stable Rust has no name for the future of an async block. Once per request.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let inner = Rc::clone(&self.0);
        Box::pin(async move { Ok(inner.answer(request).await) })
    }
}

impl Inner {
    async fn answer(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        let state = self.live.now();
        self.tally.passed();
        let response = self.relay(&state, request).await.unwrap_or_else(|error| {
            self.tally.failed(error);
            error.answer().map(|problem| ResponseBody::Own(Some(problem)))
        });
        self.tally.answered(response.status());
        response
    }

    async fn relay(&self, state: &State, request: Request<Incoming>) -> Result<Response<ResponseBody>, Error> {
        let settings = &state.settings;
        if let Err(error) = check(&request, settings.limits.body_bytes) {
            linger(request.into_body());
            return Err(error);
        }
        let (request, upgrade) = onward(request, state)?;
        let (connection, mut response) = self.send(state, request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(connection, response, upgrade, settings.timeouts.upgraded);
        }
        hop::strip(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(|body| ResponseBody::relay(body, connection, &settings.timeouts)))
    }

    /// Sends `request` to one upstream after the other until one can be reached.
    ///
    /// Another one is tried only while nothing of the request has been sent, so no upstream sees half of it and none
    /// sees it twice.
    async fn send(
        &self,
        state: &State,
        mut request: Request<RequestBody>,
    ) -> Result<(Connection, Response<Incoming>), Error> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let mut tried = Vec::new();
        let mut last = Error::NoUpstream;
        while let Some(upstream) = state.upstreams.choose(turn, &tried) {
            if !state.settings.forwarding.keep_host || !request.headers().contains_key(HOST) {
                request.headers_mut().insert(HOST, upstream.origin.host().clone());
            }
            upstream.asked();
            // A kept connection that the upstream has closed meanwhile says nothing about the upstream.
            while let Ok(connection) = self.pool.reuse(upstream.begin()) {
                match exchange(connection, request, state).await? {
                    Sent::Answered(connection, response) => return Ok((connection, response)),
                    Sent::Nothing(unsent) => request = unsent,
                }
            }
            match self.pool.connect(upstream.begin()).await {
                Ok(connection) => match exchange(connection, request, state).await? {
                    Sent::Answered(connection, response) => return Ok((connection, response)),
                    Sent::Nothing(unsent) => (request, last) = (unsent, Error::Upstream),
                },
                Err(error) => last = error,
            }
            tried.push(Arc::clone(upstream));
        }
        Err(last)
    }

    /// The upstream agrees to another protocol: so do we, and copy from then on.
    fn switch(
        &self,
        connection: Connection,
        mut response: Response<Incoming>,
        upgrade: Option<Upgrade>,
        idle: Duration,
    ) -> Result<Response<ResponseBody>, Error> {
        let Some(Upgrade { protocol, client }) = upgrade else {
            // Nobody asked.
            connection.upstream().failed();
            return Err(Error::Upstream);
        };
        let upstream = hyper::upgrade::on(&mut response);
        let (mut parts, _) = response.into_parts();
        let protocol = parts.headers.get(UPGRADE).cloned().unwrap_or(protocol);
        hop::strip(&mut parts.headers);
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, protocol);
        spawn_local(upgrade::tunnel(client, upstream, idle, connection.leave(), self.draining.clone()));
        Ok(Response::from_parts(parts, ResponseBody::Own(None)))
    }
}

/// What became of a request on one connection.
enum Sent {
    Answered(Connection, Response<Incoming>),
    Nothing(Request<RequestBody>),
}

/// What can be refused by the head alone.
fn check(request: &Request<Incoming>, limit: Option<u64>) -> Result<(), Error> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Error::Method);
    }
    match limit {
        Some(limit) if request.body().size_hint().lower() > limit => Err(Error::BodyTooLarge),
        _ => Ok(()),
    }
}

/// The request as the upstream gets it.
fn onward(mut request: Request<Incoming>, state: &State) -> Result<(Request<RequestBody>, Option<Upgrade>), Error> {
    let settings = &state.settings;
    let is_https = request.extensions().get::<OverTls>().is_some();
    let from = request.extensions().get().map(|PeerAddr(peer)| Origination { peer: *peer, is_https });
    let client = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    let protocol = match forward::rewrite(&mut parts, from, &settings.forwarding) {
        Ok(protocol) => protocol,
        Err(error) => {
            linger(body);
            return Err(error);
        }
    };
    // Nothing in the extensions is for the upstream.
    parts.extensions.clear();
    let upgrade = protocol.zip(client).map(|(protocol, client)| Upgrade { protocol, client });
    Ok((Request::from_parts(parts, RequestBody::new(body, &settings.timeouts, &settings.limits)), upgrade))
}

/// One request and one answer on `connection`.
async fn exchange(mut connection: Connection, request: Request<RequestBody>, state: &State) -> Result<Sent, Error> {
    let progress = request.body().progress();
    let sending = connection.send(request);
    match within(state.settings.timeouts.response_head, progress.as_deref(), sending).await {
        Some(Ok(response)) => Ok(Sent::Answered(connection, response)),
        Some(Err(mut refused)) => match refused.take_message() {
            Some(unsent) => Ok(Sent::Nothing(unsent)),
            None => Err(blame(refused.error(), &connection)),
        },
        None => {
            connection.upstream().failed();
            Err(Error::UpstreamTimedOut)
        }
    }
}

/// Waits for `answer`, but not longer than `patience` after the upstream last took something.
async fn within<A: Future>(patience: Duration, progress: Option<&Progress>, answer: A) -> Option<A::Output> {
    let Some(progress) = progress else { return timeout(patience, answer).await.ok() };
    let mut answer = pin!(answer);
    let mut end = Instant::now() + patience;
    loop {
        if let Ok(answer) = timeout_at(end, &mut answer).await {
            return Some(answer);
        }
        let deadline = progress.deadline(patience);
        if deadline <= moment::now() {
            return None;
        }
        end = moment::instant(deadline);
    }
}

/// Whose fault it is that no answer came: the client's, if its body broke off.
fn blame(error: &hyper::Error, connection: &Connection) -> Error {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(own) = error.downcast_ref::<Error>() {
            return *own;
        }
        cause = error.source();
    }
    connection.upstream().failed();
    Error::Upstream
}

/// Reads on for a moment after a refusal: closing a socket with unread bytes resets it, and the client would never see
/// the answer.
fn linger(mut body: Incoming) {
    const BYTES: usize = 1 << 20;
    const TIME: Duration = Duration::from_secs(2);
    if body.is_end_stream() {
        return;
    }
    spawn_local(timeout(TIME, async move {
        let mut left = BYTES;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            left = rest;
        }
    }));
}
