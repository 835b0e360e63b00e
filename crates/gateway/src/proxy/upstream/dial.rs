//! A connection to an upstream: over the network, with TLS or without, or to a Unix socket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;

use crate::proxy::service::BoxError;
use crate::proxy::tls::Connectors;
use crate::values::origin::{Origin, Spoken};

/// A connected socket.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lies in the box of its connection, and the large one is the usual one"
)]
pub(crate) enum Socket {
    Net(TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>),
    Unix(UnixStream),
}

/// Connects to `origin`. Says whether HTTP/2 is spoken there, which never is where `needs_http1`, unless it speaks nothing else.
pub(crate) async fn dial(
    connectors: &Connectors,
    origin: &Origin,
    needs_http1: bool,
) -> Result<(Socket, bool), BoxError> {
    if let Some(path) = origin.socket() {
        let socket = UnixStream::connect(path).await?;
        return Ok((Socket::Unix(socket), origin.spoken() == Spoken::Http2));
    }
    let mut connector = if needs_http1 { connectors.http1.clone() } else { connectors.usual.clone() };
    let stream = connector.call(origin.uri().clone()).await?;
    let is_http2 = match origin.spoken() {
        Spoken::Http1 => false,
        Spoken::Http2 => true,
        Spoken::Negotiated => stream.connected().is_negotiated_h2(),
    };
    Ok((Socket::Net(TokioIo::new(stream)), is_http2))
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Net(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Net(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Net(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Net(socket) => socket.is_write_vectored(),
            Self::Unix(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Net(socket) => Pin::new(socket).poll_flush(cx),
            Self::Unix(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Net(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
