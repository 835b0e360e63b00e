//! One thread's connections to upstreams: made when needed, kept for the next request, most recent first.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use crate::proxy::coarse_clock;
use crate::proxy::error::Error;
use crate::proxy::live::{Live, Seen, View};
use crate::proxy::service::BoxError;
use crate::proxy::settings::Health;
use crate::proxy::upstream::complaint::Cause;
use crate::proxy::upstream::dial::{Socket, dial};
use crate::proxy::upstream::heard::{Ear, Heard};
use crate::proxy::upstream::http2::{self, Shared, Stream};
use crate::proxy::upstream::link::{Link, Sender};
use crate::proxy::upstream::request_body::RequestBody;
use crate::proxy::upstream::upstream::{InFlight, Upstream};
use crate::values::origin::Spoken;

/// How much shorter a connection is kept than its upstream has promised to.
const MARGIN: Duration = Duration::from_secs(1);

/// Connections that wait for a request, by upstream. There are few upstreams, so a list is searched.
#[derive(Debug)]
pub(crate) struct Pool {
    live: View,
    idle: RefCell<Vec<(Arc<Upstream>, Vec<Idle>)>>,
    /// Those of HTTP/2, in use or not.
    shared: RefCell<Vec<(Arc<Upstream>, Rc<Shared>)>>,
}

/// A connection that has just been made.
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once, in a future that is boxed")]
enum Made {
    Http1(http1::SendRequest<RequestBody>, http1::Connection<TokioIo<Heard<Socket>>, RequestBody>),
    Http2(Rc<Shared>),
}

#[derive(Debug)]
struct Idle {
    link: Link,
    /// The [`coarse_clock`] at which the upstream may close it.
    until: u64,
}

impl Pool {
    pub(crate) fn new(live: &Live) -> Rc<Self> {
        Rc::new(Self { live: live.view(), idle: RefCell::default(), shared: RefCell::default() })
    }

    /// What is in force.
    pub(crate) fn state(&self) -> Rc<Seen> {
        self.live.now()
    }

    /// A connection that was used before and is still good; of HTTP/1.1 if it `needs_http1`.
    pub(crate) fn reuse(self: &Rc<Self>, in_flight: InFlight, needs_http1: bool) -> Result<Connection, InFlight> {
        let may_share = match in_flight.upstream().origin.spoken() {
            Spoken::Http1 => false,
            Spoken::Http2 => true,
            Spoken::Negotiated => !needs_http1,
        };
        if may_share && let Some(stream) = self.share(in_flight.upstream()) {
            let link = Link::share(stream);
            return Ok(Connection { pool: Rc::clone(self), in_flight, link, is_fresh: false });
        }
        match self.take(in_flight.upstream()) {
            Some(link) => Ok(Connection { pool: Rc::clone(self), in_flight, link, is_fresh: false }),
            None => Err(in_flight),
        }
    }

    /// A place on a connection of HTTP/2 that is there.
    fn share(&self, upstream: &Arc<Upstream>) -> Option<Stream> {
        let most_age = coarse_clock::millis(self.live.now().settings.timeouts.upstream_age);
        let now = coarse_clock::now();
        let shared = self.shared.borrow();
        let mut known = shared.iter().filter(|(known, _)| Arc::ptr_eq(known, upstream));
        known.find_map(|(_, shared)| shared.enter(now, most_age))
    }

    fn take(&self, upstream: &Arc<Upstream>) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        let (_, stack) = idle.iter_mut().find(|(known, _)| Arc::ptr_eq(known, upstream))?;
        let now = coarse_clock::now();
        while stack.pop_if(|idle| idle.until <= now || idle.link.is_over()).is_some() {}
        let place = stack.iter_mut().rposition(|idle| idle.until > now && idle.link.is_fit())?;
        Some(stack.remove(place).link)
    }

    /// A new connection.
    pub(crate) async fn connect(self: &Rc<Self>, in_flight: InFlight, needs_http1: bool) -> Result<Connection, Error> {
        let state = self.live.now();
        let upstream = in_flight.upstream();
        let ear = Ear::default();
        let making = async {
            let (socket, is_http2) = dial(&state.connectors, &upstream.origin, needs_http1).await?;
            if is_http2 {
                return Ok(Made::Http2(Shared::new(TokioIo::new(socket)).await?));
            }
            let stream = TokioIo::new(Heard::new(socket, ear.clone()));
            // A head with more fields or bytes than this is a fault of the upstream: 502. As much of an answer is held for a
            // client that does not read, once in the connection and once on its way.
            let (sender, connection) = http1::Builder::new().max_buf_size(64 << 10).handshake(stream).await?;
            Ok(Made::Http1(sender, connection))
        };
        let patience = state.settings.timeouts.connect;
        let made: Result<Result<_, BoxError>, _> = timeout(patience, making).await;
        let (error, why): (_, BoxError) = match made {
            Ok(Ok(Made::Http2(shared))) => {
                upstream.reached();
                let link = Link::share(Stream::new(Rc::clone(&shared)));
                self.shared.borrow_mut().push((Arc::clone(upstream), shared));
                return Ok(Connection { pool: Rc::clone(self), in_flight, link, is_fresh: true });
            }
            Ok(Ok(Made::Http1(sender, connection))) => {
                upstream.reached();
                // What waits for the answer sees the error; an idle connection may end at any time.
                let driver = async { drop(connection.with_upgrades().await) };
                let link = Link::new(sender, driver, ear);
                return Ok(Connection { pool: Rc::clone(self), in_flight, link, is_fresh: true });
            }
            Ok(Err(error)) => (Error::Upstream, error),
            Err(_) => (Error::UpstreamTimedOut, format!("nothing within {patience:?}").into()),
        };
        upstream.unreachable(&state.settings.health);
        upstream.complain(Cause::Connect, &*why);
        Err(error)
    }

    fn give_back(&self, upstream: &Arc<Upstream>, mut link: Link) {
        // A share of a connection goes back by being dropped.
        if matches!(link.sender, Sender::Http2(_)) || link.is_over() || link.is_abandoned {
            return;
        }
        let state = self.live.now();
        let (kept, timeouts) = (state.settings.limits.pooled, &state.settings.timeouts);
        let now = coarse_clock::now();
        if now.saturating_sub(link.born) >= coarse_clock::millis(timeouts.upstream_age) {
            return;
        }
        // The upstream counts from when it sent the answer, and its word must not arrive together with a request.
        let promised = link.promised.map_or(Duration::MAX, |promised| promised.saturating_sub(MARGIN));
        let until = now.saturating_add(coarse_clock::millis(timeouts.pooled.min(promised)));
        let mut idle = self.idle.borrow_mut();
        let place = idle.iter().position(|(known, _)| Arc::ptr_eq(known, upstream));
        let new = Idle { link, until };
        match place.and_then(|place| idle.get_mut(place)) {
            Some((_, stack)) if stack.len() < kept => stack.push(new),
            Some(_) => {}
            None if kept > 0 => idle.push((Arc::clone(upstream), vec![new])),
            None => {}
        }
    }

    /// Closes what has not been used for a while. The oldest are at the bottom, because the most recent is used first.
    pub(crate) fn sweep(&self) {
        let now = coarse_clock::now();
        let mut idle = self.idle.borrow_mut();
        for (_, stack) in idle.iter_mut() {
            stack.retain_mut(|idle| !idle.link.is_over() && idle.until > now);
        }
        // Upstreams that are no longer configured go with their last connection.
        idle.retain(|(_, stack)| !stack.is_empty());
        let timeouts = self.live.now().settings.timeouts;
        let (most_idle, most_age) =
            (coarse_clock::millis(timeouts.pooled), coarse_clock::millis(timeouts.upstream_age));
        self.shared.borrow_mut().retain(|(_, shared)| shared.is_kept(now, most_idle, most_age));
    }
}

/// A connection that belongs to one request.
#[derive(Debug)]
pub(crate) struct Connection {
    pool: Rc<Pool>,
    in_flight: InFlight,
    link: Link,
    /// Whether it was made for this request. One that was kept may have been closed by the upstream meanwhile.
    is_fresh: bool,
}

impl Connection {
    /// Gives `request` the form that it has on this connection.
    ///
    /// # Errors
    ///
    /// If it has none there.
    pub(crate) fn fit(&self, request: &mut Request<RequestBody>) -> Result<(), Error> {
        match self.link.sender {
            Sender::Http1(_) => Ok(()),
            Sender::Http2(_) => http2::to_http2(request, &self.upstream().origin),
        }
    }

    /// Sends `request`, which [fits](Self::fit), and comes back if not a byte of it has been written. `None` if no answer comes
    /// for as long as `patience`, which does not run while the client is the slow one.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
        patience: Duration,
    ) -> Option<Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> {
        let link = &mut self.link;
        link.ear.listen();
        let Sender::Http1(sender) = &mut link.sender else {
            // A box: the future of every request would be as large.
            return Box::pin(self.send_http2(request, patience)).await;
        };
        match request.body().progress() {
            None => {
                let answer = sender.try_send_request(request);
                link.wait(answer, patience).await
            }
            Some(progress) => {
                let expected = request.body().expected();
                let answer = sender.try_send_request(request);
                link.detach();
                let answer = progress.within(patience, answer).await;
                // The upstream has answered without the body, which is not sent any more: nothing can follow it here.
                if let (Some(Ok(_)), Some(gate)) = (&answer, expected) {
                    link.is_abandoned = gate.shut();
                }
                answer
            }
        }
    }

    async fn send_http2(
        &mut self,
        request: Request<RequestBody>,
        patience: Duration,
    ) -> Option<Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> {
        if let Some(gate) = request.body().expected() {
            // hyper would not tell what the upstream says of it.
            gate.open();
        }
        let progress = request.body().progress();
        let Sender::Http2(stream) = &mut self.link.sender else { return None };
        let answer = stream.sender.try_send_request(request);
        let answer = match &progress {
            None => self.link.wait(answer, patience).await,
            Some(progress) => progress.within(patience, answer).await,
        };
        let is_of_client = progress.is_some_and(|progress| progress.fault().is_some());
        if let Sender::Http2(stream) = &self.link.sender
            && !matches!(answer, Some(Ok(_)))
            && !is_of_client
        {
            stream.is_spent();
        }
        answer
    }

    /// Polls `step`, and what it needs of the connection.
    pub(crate) fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        step: impl FnMut(&mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        self.link.poll_with(cx, step)
    }

    /// Whether not a byte of an answer has come.
    pub(crate) fn is_unanswered(&self) -> bool {
        !self.link.ear.has_heard()
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// No answer came. On a connection that was kept, that says nothing about the upstream's health.
    pub(crate) fn lost(&self, health: &Health) {
        if self.is_fresh { self.upstream().unanswering(health) } else { self.upstream().failed() }
    }

    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        self.in_flight.upstream()
    }

    /// The upstream says for how long it keeps the connection without a request.
    pub(crate) fn is_kept_for(&mut self, promised: Duration) {
        self.link.promised = Some(promised);
    }

    /// The answer has been read to its end: the connection can serve the next request.
    pub(crate) fn give_back(self) {
        self.pool.give_back(self.in_flight.upstream(), self.link);
    }

    /// The connection speaks something else from now on; the request stays in flight until the guard is dropped.
    pub(crate) fn leave(mut self) -> InFlight {
        self.link.detach();
        self.in_flight
    }
}
