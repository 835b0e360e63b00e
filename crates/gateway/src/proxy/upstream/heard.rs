//! An I/O adapter round an upstream's socket: whether any byte of an answer has come.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether bytes have come from an upstream. All orderings are relaxed: one thread reads and writes, and it is atomic
/// only because a connection that may be upgraded must be `Send`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ear(Arc<AtomicBool>);

impl Ear {
    /// Forgets what has come.
    pub(crate) fn listen(&self) {
        self.0.store(false, Relaxed);
    }

    /// Whether anything has come since.
    pub(crate) fn has_heard(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A stream from which an [`Ear`] hears bytes come.
#[derive(Debug)]
pub(crate) struct Heard<T> {
    stream: T,
    ear: Ear,
}

impl<T> Heard<T> {
    pub(crate) fn new(stream: T, ear: Ear) -> Self {
        Self { stream, ear }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if buf.filled().len() > before {
            self.ear.0.store(true, Relaxed);
        }
        Poll::Ready(read)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
