//! Sockets that accept clients: one for each thread and address, so that no thread ever waits for another. A Unix socket there can
//! be one of only, and all threads accept from it.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::sleep;
use tokio_rustls::rustls::ServerConfig;

use crate::proxy::client::io::ClientSocket;
use crate::proxy::settings::Listen;
use crate::proxy::tls::{self, TlsError};
use crate::values::listen_addr::ListenAddr;
use crate::values::output;
use crate::values::socket_file::SocketFile;

/// Connections that the kernel holds for a thread until it accepts them.
const BACKLOG: i32 = 4_096;

/// How long accepting pauses when the process is out of sockets: long enough for some to be closed.
const PAUSE: Duration = Duration::from_millis(100);

/// What all threads share of one listening address.
#[derive(Debug)]
pub(crate) struct ListenerShared {
    pub(crate) addr: ListenAddr,
    /// What clients without an address count as having.
    peer: Option<SocketAddr>,
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
    socket: BoundSocket,
}

#[derive(Debug)]
enum BoundSocket {
    Net(StdListener),
    /// With its file, which goes with the last thread's share.
    Unix(StdUnixListener, Arc<SocketFile>),
}

/// Why an address cannot be listened on.
#[derive(Debug)]
pub(crate) enum ListenError {
    Socket(ListenAddr, io::Error),
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
    let failed = |error| ListenError::Socket(listen.addr.clone(), error);
    let tls = listen.tls.as_ref().map(tls::server).transpose().map_err(ListenError::Tls)?;
    let (addr, sockets) = match &listen.addr {
        ListenAddr::Net(addr) => {
            // Sockets that share a port share it with any process of this user. A first one that does not share finds out
            // whether somebody is there, and picks the port if it may be any.
            let addr = probe(*addr).map_err(failed)?;
            let sockets = (0..threads).map(|_| socket(addr).map(BoundSocket::Net)).collect::<io::Result<Vec<_>>>();
            (ListenAddr::Net(addr), sockets.map_err(failed)?)
        }
        ListenAddr::Unix(path) => (listen.addr.clone(), unix(path, listen.mode, threads).map_err(failed)?),
    };
    let peer = listen.peer.map(|peer| SocketAddr::new(peer, 0));
    let proxy_protocol = listen.proxy_protocol.clone();
    let shared = Arc::new(ListenerShared { addr, peer, tls: tls.map(ArcSwap::new), proxy_protocol });
    Ok(sockets.into_iter().map(|socket| Bound { shared: Arc::clone(&shared), socket }).collect())
}

/// A Unix socket at `path`, once for each thread.
fn unix(path: &Path, mode: u32, threads: usize) -> io::Result<Vec<BoundSocket>> {
    let (socket, file) = SocketFile::listen(path, mode, BACKLOG)?;
    let file = Arc::new(file);
    (0..threads).map(|_| Ok(BoundSocket::Unix(socket.try_clone()?, Arc::clone(&file)))).collect()
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
    pub(crate) async fn accept(
        self,
        serve: impl Fn(ClientSocket, Option<SocketAddr>, Arc<ListenerShared>),
    ) -> io::Result<()> {
        let acceptor = match self.socket {
            BoundSocket::Net(socket) => Acceptor::Net(TcpListener::from_std(socket)?),
            BoundSocket::Unix(socket, file) => Acceptor::Unix(UnixListener::from_std(socket)?, file),
        };
        let mut is_short = false;
        loop {
            let accepted = match &acceptor {
                Acceptor::Net(listener) => {
                    listener.accept().await.map(|(socket, peer)| (ClientSocket::Net(socket), Some(peer)))
                }
                Acceptor::Unix(listener, _) => {
                    listener.accept().await.map(|(socket, _)| (ClientSocket::Unix(socket), self.shared.peer))
                }
            };
            match accepted {
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

/// A [`BoundSocket`] on its thread.
enum Acceptor {
    Net(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "goes when it is dropped")] Arc<SocketFile>),
}

/// The client has gone again before it was accepted.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
