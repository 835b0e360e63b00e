//! Sockets that accept clients: one for each thread and address, so that no thread ever waits for another.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_rustls::rustls::ServerConfig;

use crate::proxy::settings::Listen;
use crate::proxy::tls::{self, TlsError};
use crate::values::output;

/// Connections that the kernel holds for a thread until it accepts them.
const BACKLOG: i32 = 4_096;

/// How long accepting pauses when the process is out of sockets: long enough for some to be closed.
const PAUSE: Duration = Duration::from_millis(100);

/// What all threads share of one listening address.
#[derive(Debug)]
pub(crate) struct ListenerShared {
    pub(crate) addr: SocketAddr,
    tls: Option<ArcSwap<ServerConfig>>,
    pub(crate) proxy_protocol: Option<Vec<IpNet>>,
}

impl ListenerShared {
    /// The certificate for the next client.
    pub(crate) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.as_ref().map(ArcSwap::load_full)
    }

    /// Shows another certificate to the clients that come from now on; for a listener with TLS.
    pub(crate) fn renew(&self, config: Arc<ServerConfig>) {
        if let Some(tls) = &self.tls {
            tls.store(config);
        }
    }
}

/// One thread's share of an address.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) shared: Arc<ListenerShared>,
    socket: StdListener,
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub(crate) enum ListenError {
    Socket(SocketAddr, io::Error),
    Tls(TlsError),
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(addr, error) => write!(f, "cannot listen on {addr}: {error}"),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ListenError {}

/// Listens on one address with `threads` sockets, among which the kernel divides the clients.
pub(crate) fn bind(listen: &Listen, threads: usize) -> Result<Vec<Bound>, ListenError> {
    let failed = |error| ListenError::Socket(listen.addr, error);
    // Sockets that share a port share it with any process of this user. A first one that does not share finds out
    // whether somebody is there, and picks the port if it may be any.
    let addr = probe(listen.addr).map_err(failed)?;
    let tls = listen.tls.as_ref().map(tls::server).transpose().map_err(ListenError::Tls)?;
    let shared =
        Arc::new(ListenerShared { addr, tls: tls.map(ArcSwap::new), proxy_protocol: listen.proxy_protocol.clone() });
    (0..threads).map(|_| Ok(Bound { shared: Arc::clone(&shared), socket: socket(addr).map_err(failed)? })).collect()
}

fn probe(addr: SocketAddr) -> io::Result<SocketAddr> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    StdListener::from(socket).local_addr()
}

fn socket(addr: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Bound {
    /// Hands every client to `serve`, for ever.
    pub(crate) async fn accept(self, serve: impl Fn(TcpStream, SocketAddr, Arc<ListenerShared>)) -> io::Result<()> {
        let listener = TcpListener::from_std(self.socket)?;
        let mut is_short = false;
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => {
                    is_short = false;
                    serve(socket, peer, Arc::clone(&self.shared));
                }
                Err(error) if is_of_client(&error) => {}
                Err(error) => {
                    // Once, until it is over: there may be thousands in a second.
                    if !is_short {
                        output::complain(&format_args!("cannot accept on {}: {error}", self.shared.addr));
                    }
                    is_short = true;
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// The client has gone again before it was accepted.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
