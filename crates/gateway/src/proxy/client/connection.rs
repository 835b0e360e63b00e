//! One client's connection: who it is, which protocol it speaks, and how long it may take over it.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use ipnet::IpNet;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tollgate_http::PeerAddr;
use tollgate_http::client::Grouping;

use crate::proxy::client::activity::{Activity, InFlight, Overdue};
use crate::proxy::client::connection_limit::ConnectionPermit;
use crate::proxy::client::fetched::Fetched;
use crate::proxy::client::io::{ClientSocket, Rewound, Watched, read_more};
use crate::proxy::client::listener::ListenerShared;
use crate::proxy::client::preface;
use crate::proxy::client_body::ClientBody;
use crate::proxy::coarse_clock;
use crate::proxy::cors::{self, Cors};
use crate::proxy::exchange::forward::{Origination, contains};
use crate::proxy::executor::OnThisThread;
use crate::proxy::fields::{self, Fields};
use crate::proxy::log::entry::Entry;
use crate::proxy::log::writer::AccessLog;
use crate::proxy::service::HttpService;
use crate::proxy::settings::{Limits, Timeouts};
use crate::proxy::shutdown::Draining;
use crate::proxy::tally::Tally;

/// The service that answers on a connection, and its bounds.
pub(crate) struct ConnectionConfig<S> {
    pub(crate) service: S,
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    pub(crate) cors: Option<Arc<Cors>>,
    pub(crate) log: Option<AccessLog>,
    pub(crate) fields: Arc<Fields>,
    /// Of the thread.
    pub(crate) tally: Arc<Tally>,
}

/// The bound on the connections of one client.
pub(crate) struct Crowd {
    pub(crate) most: NonZeroUsize,
    pub(crate) grouping: Grouping,
    /// Who is no client.
    pub(crate) trusted: Vec<IpNet>,
}

impl Crowd {
    /// Whether `peer` may have one more connection, which `permit` then counts.
    fn admits(&self, peer: Option<SocketAddr>, permit: &mut ConnectionPermit) -> bool {
        // Whoever has no address comes through a Unix socket, which its mode protects.
        let Some(peer) = peer else { return true };
        contains(&self.trusted, peer.ip().to_canonical()) || permit.is_one_of(self.grouping.group(peer.ip()), self.most)
    }
}

/// What the head of a connection told.
struct Opening {
    early: Bytes,
    peer: Option<SocketAddr>,
    is_http2: bool,
}

/// Serves `socket` until either side closes it. Errors concern this client alone and are not reported.
pub(crate) async fn serve<S: HttpService>(
    socket: ClientSocket,
    peer: Option<SocketAddr>,
    shared: Arc<ListenerShared>,
    config: ConnectionConfig<S>,
    mut draining: Draining,
    (mut permit, crowd): (ConnectionPermit, Option<Crowd>),
) {
    // Before anything is waited for; behind a balancer the client is known only once that has said who it is.
    if shared.proxy_protocol.is_none() && crowd.as_ref().is_some_and(|crowd| !crowd.admits(peer, &mut permit)) {
        return;
    }
    socket.set_nodelay();
    let opened = tokio::select! {
        opened = open(&socket, peer, &shared, &config.timeouts) => opened,
        // It has not asked for anything yet.
        () = draining.begun() => return,
    };
    let Some(Opening { early, peer, is_http2 }) = opened else { return };
    let counts = permit.limit();
    if shared.proxy_protocol.is_some() && crowd.is_some_and(|crowd| !crowd.admits(peer, &mut permit)) {
        return;
    }
    let socket = Rewound::new(early, socket);
    // Boxed, here and below, so that a connection is charged for the protocol that it speaks and for no other.
    let ended = if let Some(tls) = shared.tls() {
        let handshake = Box::pin(TlsAcceptor::from(tls).accept(socket));
        let Ok(Ok(stream)) = timeout(config.timeouts.handshake, handshake).await else { return };
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Box::pin(talk(stream, peer, (is_http2, true), config, draining, permit)).await
    } else {
        Box::pin(talk(socket, peer, (is_http2, false), config, draining, permit)).await
    };
    if let Err(error) = ended {
        counts.ended_with(&error);
    }
}

/// Reads as much as it takes to know who is there and what it speaks; with TLS that is told by the handshake.
async fn open(
    socket: &ClientSocket,
    peer: Option<SocketAddr>,
    shared: &ListenerShared,
    timeouts: &Timeouts,
) -> Option<Opening> {
    let mut early = BytesMut::new();
    let mut peer = peer;
    if let Some(networks) = &shared.proxy_protocol {
        let header = preface::proxy_header(socket, peer, networks, &mut early);
        peer = Some(timeout(timeouts.handshake, header).await.ok()??);
    }
    if shared.tls().is_some() {
        return Some(Opening { early: early.freeze(), peer, is_http2: false });
    }
    if early.is_empty() {
        // Connections opened in advance wait here, before anything is allocated for them.
        timeout(timeouts.idle, read_more(socket, &mut early)).await.ok()?.ok()?;
    }
    let is_http2 = timeout(timeouts.head, preface::speaks_http2(socket, &mut early)).await.ok()?.ok()?;
    Some(Opening { early: early.freeze(), peer, is_http2 })
}

/// HTTP on `stream`, with `service` answering each request.
async fn talk<T, S>(
    stream: T,
    peer: Option<SocketAddr>,
    (is_http2, is_tls): (bool, bool),
    config: ConnectionConfig<S>,
    draining: Draining,
    permit: ConnectionPermit,
) -> hyper::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: HttpService,
{
    let ConnectionConfig { service, timeouts, limits, cors, log, fields, tally } = config;
    // Most have none, and then no request needs a handle.
    let fields = Some(fields).filter(|fields| !fields.response.is_empty());
    let activity = Activity::new(is_http2, tally);
    let stream = Watched::new(stream, Arc::clone(&activity), permit);
    let requests = Arc::clone(&activity);
    let from = Origination::new(peer, is_tls);
    let service = service_fn(move |request: Request<Incoming>| {
        let (parts, body) = request.into_parts();
        let reader = cors.as_ref().and_then(|cors| cors.allows(&parts.headers));
        let body = ClientBody::new(body, &parts.headers);
        let mut request = Request::from_parts(parts, body);
        let in_flight = requests.begin();
        // A box, so that without a log nothing grows.
        let mut entry =
            log.as_ref().map(|log| Box::new(Entry::new(log.clone(), peer.map(|peer| peer.ip()), &mut request)));
        if let Some(peer) = peer {
            request.extensions_mut().insert(PeerAddr(peer));
        }
        request.extensions_mut().insert(from.clone());
        let mut service = service.clone();
        let fields = fields.clone();
        async move {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            let mut response = service.call(request).await?;
            if let Some(origin) = reader {
                cors::open(response.headers_mut(), origin);
            }
            if let Some(fields) = &fields {
                fields::edit(response.headers_mut(), &fields.response);
            }
            if let Some(entry) = &mut entry {
                entry.answered(&mut response);
            }
            Ok::<_, S::Error>(response.map(|body| {
                let body = Answering { body, _in_flight: in_flight, entry };
                // HTTP/1 sends one response at a time, and the connection knows whether the client takes it.
                if is_http2 { Either::Left(Fetched::new(body, timeouts.send)) } else { Either::Right(body) }
            }))
        }
    });
    if is_http2 {
        let connection = http2(&limits).serve_connection(stream, service);
        let wind_down = http2::Connection::graceful_shutdown;
        Box::pin(drive(connection, wind_down, &activity, &timeouts, draining)).await
    } else {
        let connection = http1(&limits).serve_connection(stream, service).with_upgrades();
        let wind_down = http1::UpgradeableConnection::graceful_shutdown;
        Box::pin(drive(connection, wind_down, &activity, &timeouts, draining)).await
    }
}

fn http1(limits: &Limits) -> http1::Builder {
    // hyper panics below the first; the second bounds what one slow request can make us hold.
    const LEAST: usize = 8 << 10;
    const BUFFER: usize = 64 << 10;
    let head = usize::try_from(limits.head_bytes).unwrap_or(BUFFER).max(LEAST);
    let mut builder = http1::Builder::new();
    // Time is kept by `drive`, which knows an idle connection from a slow head.
    builder.header_read_timeout(None).max_header_size(head).max_buf_size(head.max(BUFFER));
    if limits.head_fields != Limits::default().head_fields {
        // hyper's own number is the same and needs no allocation.
        builder.max_headers(limits.head_fields);
    }
    builder
}

fn http2(limits: &Limits) -> http2::Builder<OnThisThread> {
    let mut builder = http2::Builder::new(OnThisThread);
    // Of each stream this much is held for a client that does not read.
    builder.max_send_buf_size(64 << 10);
    builder.timer(TokioTimer::new()).max_concurrent_streams(limits.streams).max_header_list_size(limits.head_bytes);
    builder
}

/// Drives `connection` to its end, which is its own, that of its patience or, while draining, that of its requests.
async fn drive<C: Future<Output = hyper::Result<()>>>(
    connection: C,
    wind_down: impl Fn(Pin<&mut C>),
    activity: &Activity,
    timeouts: &Timeouts,
    mut draining: Draining,
) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let mut begun = pin!(draining.begun());
    let mut is_draining = false;
    let mut timer = pin!(sleep_until(coarse_clock::instant(coarse_clock::now())));
    poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
            return Poll::Ready(ended);
        }
        if !is_draining && begun.as_mut().poll(cx).is_ready() {
            is_draining = true;
            wind_down(connection.as_mut());
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
        }
        loop {
            let deadline = activity.deadline(timeouts);
            // While requests are answered there is no deadline, but somebody must look again.
            let end =
                deadline.map_or_else(|| coarse_clock::now() + coarse_clock::millis(timeouts.idle), |(end, _)| end);
            let end_instant = coarse_clock::instant(end);
            if timer.is_elapsed() || timer.deadline() > end_instant {
                timer.as_mut().reset(end_instant);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if let Some((end, overdue)) = deadline
                && end <= coarse_clock::now()
            {
                if overdue == Overdue::Idle {
                    // Tells an HTTP/2 client which of its requests were not seen.
                    wind_down(connection.as_mut());
                    let _ = connection.as_mut().poll(cx);
                }
                return Poll::Ready(Ok(()));
            }
        }
    })
    .await
}

pin_project! {
    /// A response body; the request is in flight until it has gone.
    struct Answering<B> {
        #[pin]
        body: B,
        _in_flight: InFlight,
        entry: Option<Box<Entry>>,
    }
}

impl<B: Body<Data = Bytes>> Body for Answering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(cx);
        if let Some(entry) = this.entry
            && let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            entry.sent(data.len());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
