//! Every knob of the gateway, its unit and its default.
//!
//! [`Listen`] and [`Settings::threads`] are read once, at the start. Everything else is read anew for each connection
//! or each request, so that another `Settings` can take its place while the gateway runs.

use std::net::IpAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use ipnet::IpNet;
use tollgate_http::client::Grouping;

use crate::proxy::cors::Cors;
use crate::proxy::fields::{Fields, OwnBody};
use crate::values::listen_addr::ListenAddr;
use crate::values::origin::Origin;
use crate::values::place::Place;

/// What the gateway does and within which bounds.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listeners: Vec<Listen>,
    /// Threads that serve, each with its own sockets, connections and pool. Default: one for each core.
    pub threads: NonZeroUsize,
    /// For what no route is for. Without any, that is 404, if there are routes.
    pub upstreams: Vec<Origin>,
    /// Groups of upstreams for some hosts and paths. Default: none.
    pub routes: Vec<RouteGroup>,
    /// Whether hosts that no route names are answered 421. Default: no.
    pub hosts_strict: bool,
    /// PEM file with the authorities that may vouch for `https://` upstreams. Default: those of Mozilla.
    pub upstream_ca: Option<PathBuf>,
    /// Whether `https://` upstreams are offered HTTP/2. Default: yes.
    pub upstream_http2: bool,
    pub forwarding: Forwarding,
    pub timeouts: Timeouts,
    pub limits: Limits,
    /// Which addresses are one client to [`Limits::client_connections`]. Default: each of IPv4, and a /64 of IPv6.
    pub grouping: Grouping,
    pub health: Health,
    /// Where requests are written down. Default: nowhere.
    pub access_log: Option<LogSettings>,
    /// Fields that are changed on the way. Default: none.
    pub(crate) fields: Arc<Fields>,
    /// Bodies for the gateway's own 502, 503 and 504, in place of a problem of RFC 9457. Default: none.
    pub(crate) own_bodies: Vec<(u16, OwnBody)>,
    /// Whose pages may read answers that do not say so themselves. Default: nobody's.
    pub(crate) cors: Option<Arc<Cors>>,
}

/// A group of upstreams, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteGroup {
    pub name: String,
    pub places: Vec<Place>,
    pub upstreams: Vec<Origin>,
    pub check: GroupCheck,
}

/// What the servers of a group are asked for, to see whether they are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupCheck {
    /// [`Health::path`], if there is one.
    Common,
    Of(PathAndQuery),
    Nothing,
}

impl GroupCheck {
    /// The path, where the common one is `common`.
    pub(crate) fn path<'a>(&'a self, common: Option<&'a PathAndQuery>) -> Option<&'a PathAndQuery> {
        match self {
            Self::Common => common,
            Self::Of(path) => Some(path),
            Self::Nothing => None,
        }
    }
}

/// How requests are written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    pub format: LogFormat,
    pub target: LogTarget,
}

/// What a line of the access log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// As nginx's `main`, with more behind it.
    Combined,
    /// One object of JSON.
    Json,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogTarget {
    Stdout,
    File(PathBuf),
}

/// One address to listen on.
#[derive(Debug, Clone)]
pub struct Listen {
    pub addr: ListenAddr,
    /// Who may connect to a Unix socket, as the mode of its file. Default: 0600, its owner.
    pub mode: u32,
    /// The address that clients of a Unix socket count as having. Default: none.
    pub peer: Option<IpAddr>,
    /// HTTPS instead of HTTP. Default: none.
    pub tls: Option<TlsFiles>,
    /// The networks whose connections must begin with a PROXY protocol header; connections from elsewhere are closed.
    /// Default: none, and no header is understood.
    pub proxy_protocol: Option<Vec<IpNet>>,
}

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// What the upstream is told about the client.
#[derive(Debug, Clone)]
pub struct Forwarding {
    /// Default: [`XForwarded::Trusted`].
    pub x_forwarded: XForwarded,
    /// The proxies in front of this one, whose `X-Forwarded-*` are believed. Default: none.
    pub trusted: Vec<IpNet>,
    /// Whether the upstream sees the `Host` that the client named, or its own. Default: the client's.
    pub keep_host: bool,
    /// Whether `Via` is added to requests. Default: yes.
    pub via: bool,
    /// Whether fields are passed on whose names have an underscore, or anything but letters, digits and hyphens; never
    /// those that could be taken for one of the gateway's own. Default: no.
    pub underscores: bool,
}

/// What becomes of `X-Forwarded-For`, `-Proto` and `-Host`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XForwarded {
    /// A trusted peer's fields are kept and the peer is appended; anybody else's are replaced.
    Trusted,
    /// Always kept and appended to. The upstream must know what it can believe.
    Append,
    /// Always replaced.
    Replace,
    /// Passed as they came.
    Untouched,
}

/// How long anything may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// The TLS handshake of a client, and the PROXY header before it. Default: 10 s.
    pub handshake: Duration,
    /// A request head, from its first byte to its last. Default: 10 s.
    pub head: Duration,
    /// A connection without a request. Default: 75 s.
    pub idle: Duration,
    /// Between two pieces of a request body. Default: 60 s.
    pub request_body: Duration,
    /// A client that does not take what is sent to it. Default: 60 s.
    pub send: Duration,
    /// Connecting to an upstream, with name resolution and TLS. Default: 5 s.
    pub connect: Duration,
    /// The head of the upstream's answer, from the end of the request. Default: 60 s.
    pub response_head: Duration,
    /// Between two pieces of a response body. Default: 60 s.
    pub response_body: Duration,
    /// An upgraded connection on which nothing moves either way. Default: 1 h.
    pub upgraded: Duration,
    /// An unused connection to an upstream; shorter if the upstream says so in `Keep-Alive: timeout=`. Less than the 4 to 5 s
    /// after which common servers close, so that we are the ones who do. Default: 3 s.
    pub pooled: Duration,
    /// A connection to an upstream in all, after which it serves no further request, so that a name that has moved to
    /// another address is seen. Default: 5 min.
    pub upstream_age: Duration,
    /// For how long requests are served on when the gateway is told to stop, while `/healthz` says 503. Default: none.
    pub drain: Duration,
    /// Requests in flight when the gateway stops. Default: 30 s.
    pub shutdown: Duration,
}

/// How much of anything is accepted.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a request head, above which the answer is 431. Default: 32 KiB; at least 8 KiB.
    pub head_bytes: u32,
    /// Fields of a request head, above which the answer is 431. Default: 100, which costs no allocation.
    pub head_fields: usize,
    /// Bytes of a request body, above which the answer is 413. Default: 10 MiB; `None` is no limit.
    pub body_bytes: Option<u64>,
    /// Client connections in all; one more is closed at once. Default: 20,000.
    pub connections: usize,
    /// Connections at once of one client address, or of those that count as one by [`Settings::grouping`]; one more is closed
    /// at once. Trusted proxies are not counted. Default: no bound.
    pub client_connections: Option<NonZeroUsize>,
    /// Connections in use at once to each upstream, over all threads: others are asked meanwhile, and 503 is answered once all have
    /// as many. A stream of HTTP/2 and a WebSocket count as one. Default: no bound.
    pub upstream_connections: Option<NonZeroU64>,
    /// Requests at once on one HTTP/2 connection. Default: 128.
    pub streams: u32,
    /// Unused connections that each thread keeps to each upstream. Default: 256.
    pub pooled: usize,
    /// Bytes of a request body that are collected before an upstream is asked, so that a slow upload holds none of its workers.
    /// A longer one is passed on from there as it comes. Zero passes on at once. Default: 64 KiB.
    pub buffer_request: usize,
}

/// When an upstream is left alone for a while, or asked last.
#[derive(Debug, Clone)]
pub struct Health {
    /// Failures to connect in a row, or requests in a row that were sent on new connections and not answered.
    /// Default: 3.
    pub failures: u32,
    /// For how long. Then one request tries it, and the others follow once that was answered. Default: 10 s.
    pub rest: Duration,
    /// A path that each upstream is asked for, and answers with 2xx or 3xx if it is well. After as many
    /// [`failures`](Self::failures) in a row it is left alone until it answers so again. Default: none.
    pub path: Option<PathAndQuery>,
    /// How often, and the most that an answer may take. Default: 5 s.
    pub every: Duration,
}

impl Listen {
    /// The defaults.
    pub fn new(addr: impl Into<ListenAddr>) -> Self {
        Self { addr: addr.into(), mode: 0o600, peer: None, tls: None, proxy_protocol: None }
    }
}

impl Settings {
    /// The defaults, for one plain listener.
    pub fn new(addr: impl Into<ListenAddr>, upstreams: Vec<Origin>) -> Self {
        Self {
            listeners: vec![Listen::new(addr)],
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            upstreams,
            routes: Vec::new(),
            hosts_strict: false,
            upstream_ca: None,
            upstream_http2: true,
            forwarding: Forwarding::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            grouping: Grouping::default(),
            health: Health::default(),
            access_log: None,
            fields: Arc::default(),
            own_bodies: Vec::new(),
            cors: None,
        }
    }
}

impl Default for Forwarding {
    fn default() -> Self {
        Self { x_forwarded: XForwarded::Trusted, trusted: Vec::new(), keep_host: true, via: true, underscores: false }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            request_body: Duration::from_secs(60),
            send: Duration::from_secs(60),
            connect: Duration::from_secs(5),
            response_head: Duration::from_secs(60),
            response_body: Duration::from_secs(60),
            upgraded: Duration::from_secs(3_600),
            pooled: Duration::from_secs(3),
            upstream_age: Duration::from_secs(300),
            drain: Duration::ZERO,
            shutdown: Duration::from_secs(30),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 32 << 10,
            head_fields: 100,
            body_bytes: Some(10 << 20),
            connections: 20_000,
            client_connections: None,
            upstream_connections: None,
            streams: 128,
            pooled: 256,
            buffer_request: 64 << 10,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self { failures: 3, rest: Duration::from_secs(10), path: None, every: Duration::from_secs(5) }
    }
}
