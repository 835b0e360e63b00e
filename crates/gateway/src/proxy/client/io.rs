//! Two I/O adapters round a client's socket: one gives back bytes that were read too early, and through the other
//! [`Activity`] sees what moves.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::proxy::client::activity::Activity;
use crate::proxy::client::connection_limit::ConnectionPermit;

/// A client's socket.
#[derive(Debug)]
pub(crate) enum ClientSocket {
    Net(TcpStream),
    Unix(UnixStream),
}

impl ClientSocket {
    /// Small answers must not wait for the acknowledgement of the ones before.
    pub(crate) fn set_nodelay(&self) {
        if let Self::Net(socket) = self {
            let _ = socket.set_nodelay(true);
        }
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Net(socket) => socket.readable().await,
            Self::Unix(socket) => socket.readable().await,
        }
    }

    fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Net(socket) => socket.try_read(bytes),
            Self::Unix(socket) => socket.try_read(bytes),
        }
    }
}

/// A socket some of whose bytes have been read already.
#[derive(Debug)]
pub(crate) struct Rewound {
    early: Bytes,
    socket: ClientSocket,
}

impl Rewound {
    pub(crate) fn new(early: Bytes, socket: ClientSocket) -> Self {
        Self { early, socket }
    }
}

impl AsyncRead for Rewound {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return match &mut self.socket {
                ClientSocket::Net(socket) => Pin::new(socket).poll_read(cx, buf),
                ClientSocket::Unix(socket) => Pin::new(socket).poll_read(cx, buf),
            };
        }
        let length = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            ClientSocket::Net(socket) => Pin::new(socket).poll_write(cx, buf),
            ClientSocket::Unix(socket) => Pin::new(socket).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            ClientSocket::Net(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            ClientSocket::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            ClientSocket::Net(socket) => socket.is_write_vectored(),
            ClientSocket::Unix(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            ClientSocket::Net(socket) => Pin::new(socket).poll_flush(cx),
            ClientSocket::Unix(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            ClientSocket::Net(socket) => Pin::new(socket).poll_shutdown(cx),
            ClientSocket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

/// A stream whose movements are noted.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    stream: TokioIo<T>,
    activity: Arc<Activity>,
    /// Goes with the stream, and so with a WebSocket that it becomes.
    _permit: ConnectionPermit,
}

impl<T> Watched<T> {
    pub(crate) fn new(stream: T, activity: Arc<Activity>, permit: ConnectionPermit) -> Self {
        Self { stream: TokioIo::new(stream), activity, _permit: permit }
    }

    fn noted<R>(&self, written: Poll<R>) -> Poll<R> {
        self.activity.sent(written.is_ready());
        written
    }
}

impl<T: AsyncRead + Unpin> Read for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.activity.received();
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> Write for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.noted(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Waits for bytes and appends them to `early`; nothing is allocated before they come.
pub(crate) async fn read_more(socket: &ClientSocket, early: &mut BytesMut) -> io::Result<()> {
    loop {
        // May be true too early, and is for most new sockets.
        socket.readable().await?;
        let mut bytes = [0; 4 << 10];
        match socket.try_read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                early.extend_from_slice(bytes.get(..length).unwrap_or_default());
                return Ok(());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
