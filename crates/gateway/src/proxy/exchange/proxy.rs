//! The path of one request: checked, rewritten, sent to an upstream, answered.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderValue, MAX_FORWARDS, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};
use tollgate_http::service::Places;
use tower_service::Service;

use crate::proxy::client_body::ClientBody;
use crate::proxy::error::Error;
use crate::proxy::exchange::forward::{self, Origination};
use crate::proxy::exchange::hop;
use crate::proxy::exchange::response_body::ResponseBody;
use crate::proxy::exchange::upgrade;
use crate::proxy::fields::{self, OwnBody};
use crate::proxy::live::{Live, State, View};
use crate::proxy::log::entry::Served;
use crate::proxy::settings::Limits;
use crate::proxy::shutdown::Draining;
use crate::proxy::tally::Tally;
use crate::proxy::upstream::check;
use crate::proxy::upstream::complaint::{Cause, Full};
use crate::proxy::upstream::http2;
use crate::proxy::upstream::pool::{Connection, Pool};
use crate::proxy::upstream::request_body::RequestBody;
use crate::proxy::upstream::upstream::Upstream;

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

impl Proxy {
    /// Must be called on a local runtime: connections to upstreams stay on their thread.
    pub(crate) fn new(live: &Live, tally: Arc<Tally>, draining: Draining) -> Self {
        let pool = Pool::new(live);
        let swept = Rc::downgrade(&pool);
        spawn_local(async move {
            while let Some(pool) = swept.upgrade() {
                pool.sweep();
                let next = check::begin(&pool).min(SWEEP);
                drop(pool);
                sleep(next).await;
            }
        });
        Self(Rc::new(Inner { live: live.view(), pool, turn: Cell::new(0), draining, tally }))
    }
}

impl Service<Request<ClientBody>> for Proxy {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    // A box, as the future of an async block cannot be named in stable Rust. One allocation per request.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ClientBody>) -> Self::Future {
        let inner = Rc::clone(&self.0);
        let state = inner.live.now();
        inner.tally.passed();
        let onward = onward(request, &state);
        Box::pin(async move {
            let began = Instant::now();
            let answer = match onward {
                Ok((request, client, group)) => inner.relay(&state, group, &mut Some(request), client).await,
                Err(error) => Err(error),
            };
            let is_own = answer.is_err();
            let took = began.elapsed();
            if !is_own {
                inner.tally.upstreams.record(took);
            }
            let mut response = answer.unwrap_or_else(|error| {
                inner.tally.failed(error);
                let mut answer = error.answer();
                own_body(&mut answer, &state.settings.own_bodies);
                answer.map(|body| ResponseBody::Own(Some(body).filter(|body| !body.is_empty())))
            });
            if state.access_log.is_some() {
                let upstream = response.extensions_mut().remove::<Arc<Upstream>>().filter(|_| !is_own);
                response.extensions_mut().insert(Served { upstream, took });
            }
            inner.tally.answered(response.status());
            Ok(response)
        })
    }
}

/// A request that has not been sent yet. It is lent from hand to hand, because a future that owns it would hold it
/// twice at every step: in its arguments and where it is used.
type Unsent = Option<Request<RequestBody>>;

impl Inner {
    async fn relay(
        &self,
        state: &State,
        group: Option<usize>,
        request: &mut Unsent,
        client: Option<OnUpgrade>,
    ) -> Result<Response<ResponseBody>, Error> {
        if let Some(request) = request
            && request.body().is_collected_first()
        {
            // A box, as below: most requests have no body.
            Box::pin(request.body_mut().collect()).await?;
        }
        let (mut connection, mut response) = self.send(state, (group, client.is_some()), request).await?;
        if state.access_log.is_some() {
            response.extensions_mut().insert(Arc::clone(connection.upstream()));
        }
        let timeouts = &state.settings.timeouts;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(connection, response, client, timeouts.upgraded);
        }
        if !hop::is_framing_known(response.headers()) {
            // What is in that coding would be taken for what it codes.
            connection.upstream().failed();
            connection.upstream().complain(Cause::Answer, &Error::Coding);
            return Err(Error::Upstream);
        }
        if let Some(promised) = hop::strip(response.headers_mut()) {
            connection.is_kept_for(promised);
        }
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(|body| ResponseBody::relay(body, connection, timeouts)))
    }

    /// Sends `request` to one upstream of its group after the other until one can be reached.
    ///
    /// Another one is tried while nothing of the request has been sent, so no upstream sees half of it. One that may be
    /// [repeated](repeatable) is sent once more, on a new connection, if the first ended without a byte of an answer:
    /// the upstream may have closed it just as the request came.
    async fn send(
        &self,
        state: &State,
        (group, needs_http1): (Option<usize>, bool),
        request: &mut Unsent,
    ) -> Result<(Connection, Response<Incoming>), Error> {
        let (upstreams, turn) = match group.and_then(|group| state.groups.as_ref()?.get(group)) {
            // Turns of its own: by common ones, two groups that are asked by turns would each ask one of two.
            Some(group) => (&group.upstreams, group.begin()),
            None => (&state.upstreams, self.turn.replace(self.turn.get().wrapping_add(1))),
        };
        let most = state.settings.limits.upstream_connections.map_or(u64::MAX, NonZeroU64::get);
        let mut tried = Vec::new();
        let mut last = Error::NoUpstream;
        let mut may_repeat = true;
        while let Some(upstream) = upstreams.choose(turn, &tried, &state.settings.health) {
            name_host(request, upstream, state.settings.forwarding.keep_host);
            let mut place = upstream.begin(most);
            if place.is_some() {
                upstream.asked();
            }
            // A kept connection that the upstream has closed meanwhile says nothing about the upstream.
            while may_repeat && let Some(free) = place.take() {
                match self.pool.reuse(free, needs_http1) {
                    Ok(connection) => {
                        if let Some(answered) = exchange(connection, request, state, &mut may_repeat).await? {
                            return Ok(answered);
                        }
                        place = upstream.begin(most);
                    }
                    Err(free) => {
                        place = Some(free);
                        break;
                    }
                }
            }
            match place {
                None => upstream.complain(Cause::Full, &Full),
                // A box: it is large and rarely needed, and without it the future of every request would be as large.
                Some(place) => match Box::pin(self.pool.connect(place, needs_http1)).await {
                    Ok(connection) => match exchange(connection, request, state, &mut may_repeat).await? {
                        Some(answered) => return Ok(answered),
                        None => last = Error::Upstream,
                    },
                    Err(error) => last = error,
                },
            }
            tried.push(Arc::clone(upstream));
        }
        Err(last)
    }

    /// The upstream agrees to become a WebSocket: so do we, and copy from then on.
    fn switch(
        &self,
        connection: Connection,
        mut response: Response<Incoming>,
        client: Option<OnUpgrade>,
        idle: Duration,
    ) -> Result<Response<ResponseBody>, Error> {
        let asked = client.filter(|_| hop::becomes_websocket(response.headers()));
        let Some(client) = asked else {
            // Nobody asked, or for something else.
            connection.upstream().failed();
            return Err(Error::Upstream);
        };
        let upstream = hyper::upgrade::on(&mut response);
        let (mut parts, _) = response.into_parts();
        hop::strip(&mut parts.headers);
        parts.headers.remove(CONTENT_LENGTH);
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        // A WebSocket is in flight for as long as it lasts.
        let places = Places::new();
        parts.extensions.insert(places.clone());
        let held = (connection.leave(), places, self.draining.clone());
        spawn_local(upgrade::tunnel(client, upstream, idle, held));
        Ok(Response::from_parts(parts, ResponseBody::Own(None)))
    }
}

/// Puts the operator's words in place of the gateway's.
fn own_body(answer: &mut Response<Bytes>, bodies: &[(u16, OwnBody)]) {
    let status = answer.status().as_u16();
    let Some((_, OwnBody { content_type, text })) = bodies.iter().find(|(of, _)| *of == status) else { return };
    answer.headers_mut().insert(CONTENT_TYPE, content_type.clone());
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    answer.body_mut().clone_from(text);
}

/// What can be refused by the head alone.
fn check(request: &Request<ClientBody>, limits: &Limits) -> Result<(), Error> {
    // HTTP/1 has been held to it already.
    if request.headers().len() > limits.head_fields {
        return Err(Error::HeadTooLarge);
    }
    if !hop::is_framing_known(request.headers()) {
        return Err(Error::Coding);
    }
    if !is_forwarded(request.method()) {
        return Err(Error::Method);
    }
    match limits.body_bytes {
        Some(limit) if request.body().size_hint().lower() > limit => Err(Error::BodyTooLarge),
        _ => Ok(()),
    }
}

/// Whether a method goes on to upstreams. `post` is another method than `POST` (RFC 9110, 9.1), to a limit as well; but there are
/// applications that take it for the same, and a limit for `POST` would not hold there.
fn is_forwarded(method: &Method) -> bool {
    match *method {
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::DELETE | Method::OPTIONS | Method::PATCH => {
            true
        }
        Method::CONNECT | Method::TRACE => false,
        ref other => !other.as_str().bytes().any(|byte| byte.is_ascii_lowercase()),
    }
}

/// `OPTIONS` goes on one step less far (RFC 9110, 7.6.2).
fn one_step_on(headers: &mut HeaderMap) -> Result<(), Error> {
    let Some(left) = headers.get(MAX_FORWARDS) else { return Ok(()) };
    let left: u64 = left.to_str().ok().and_then(|left| left.trim().parse().ok()).ok_or(Error::Malformed)?;
    let left = left.checked_sub(1).ok_or(Error::AskedHere)?;
    headers.insert(MAX_FORWARDS, HeaderValue::from(left));
    Ok(())
}

/// A request as the upstream gets it; how the client is reached once both speak WebSocket, if it asks for that; and the group of
/// upstreams that it is for, if that is not the default.
type Onward = (Request<RequestBody>, Option<OnUpgrade>, Option<usize>);

/// Makes a request ready for the upstream, or says why it ends here.
fn onward(mut request: Request<ClientBody>, state: &State) -> Result<Onward, Error> {
    let settings = &state.settings;
    check(&request, &settings.limits)?;
    let from = request.extensions_mut().remove::<Origination>();
    let (mut parts, body) = request.into_parts();
    let is_websocket = forward::rewrite(&mut parts, from, &settings.forwarding)?;
    let group = match &state.groups {
        None => None,
        Some(groups) => groups.choose(&parts)?,
    };
    fields::edit(&mut parts.headers, &settings.fields.request);
    let client = if is_websocket { parts.extensions.remove::<OnUpgrade>() } else { None };
    // Nothing in the extensions is for the upstream.
    parts.extensions.clear();
    if parts.method == Method::OPTIONS {
        one_step_on(&mut parts.headers)?;
    }
    // Calls may send and answer by turns for as long as they like.
    let is_call = || {
        let kind = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
    };
    let buffer = if body.is_end_stream() || is_call() { 0 } else { settings.limits.buffer_request };
    let is_awaited = body.is_awaited();
    let mut body = RequestBody::new(body, &settings.timeouts, &settings.limits, buffer);
    let expected = is_awaited.then(|| body.expect());
    let mut request = Request::from_parts(parts, body);
    if let Some(gate) = expected {
        // The upstream decides whether the body is wanted.
        request.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
        hyper::ext::on_informational(&mut request, move |answer| {
            if answer.status() == StatusCode::CONTINUE {
                gate.open();
            }
        });
    }
    Ok((request, client, group))
}

/// The request must say which host it is for, if the client did not or if the upstream wants to hear its own name.
fn name_host(request: &mut Unsent, upstream: &Upstream, keep: bool) {
    if let Some(request) = request
        && !(keep && request.headers().contains_key(HOST))
    {
        request.headers_mut().insert(HOST, upstream.origin.host().clone());
    }
}

/// One request and one answer on `connection`.
///
/// No answer if nothing was sent, or if what was sent ended without a byte of an answer and it [may be sent once
/// more](repeatable): then `request` is there again. `may_repeat` is whether it has not come to that yet.
async fn exchange(
    mut connection: Connection,
    request: &mut Unsent,
    state: &State,
    may_repeat: &mut bool,
) -> Result<Option<(Connection, Response<Incoming>)>, Error> {
    let settings = &state.settings;
    let Some(mut sent) = request.take() else { return Err(Error::Upstream) };
    let progress = sent.body().progress();
    let copy = if *may_repeat { repeatable(&sent) } else { None };
    connection.fit(&mut sent)?;
    let mut refused = match connection.send(sent, settings.timeouts.response_head).await {
        Some(Ok(response)) => {
            connection.upstream().answered();
            return Ok(Some((connection, response)));
        }
        Some(Err(refused)) => refused,
        None => {
            connection.upstream().unanswering(&settings.health);
            connection.upstream().complain(Cause::Silence, &Error::UpstreamTimedOut);
            return Err(Error::UpstreamTimedOut);
        }
    };
    if let Some(error) = of_the_client(refused.error()).or_else(|| progress?.fault()) {
        return Err(error);
    }
    let unsent = refused.take_message().map(http2::to_http1);
    let is_sent = unsent.is_none();
    *request = unsent.or(copy.filter(|_| connection.is_unanswered()));
    // A kept connection that ends costs no more than another one, if the request is there again.
    if connection.is_fresh() || request.is_none() {
        connection.lost(&settings.health);
    }
    if connection.is_fresh() {
        connection.upstream().complain(Cause::Answer, refused.error());
    }
    if request.is_none() {
        return Err(Error::Upstream);
    }
    *may_repeat &= !is_sent;
    Ok(None)
}

/// A copy of `request`, if it may be sent twice: it does the same as once (RFC 9110, 9.2.2), and no body is needed for it,
/// which would have gone with the first.
fn repeatable(request: &Request<RequestBody>) -> Unsent {
    let body = request.body().nothing()?;
    if !request.method().is_idempotent() {
        return None;
    }
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// The client's part in it that no answer came: its body broke off.
fn of_the_client(error: &hyper::Error) -> Option<Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(own) = error.downcast_ref::<Error>() {
            return Some(*own);
        }
        cause = error.source();
    }
    None
}
