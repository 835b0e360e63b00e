//! An I/O adapter round an upstream's socket: whether any byte of an answer has come, and that an answer is read which the
//! upstream has given before it closed its ear to the rest of the request.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

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
    /// There once the upstream takes no more: until when writing waits instead of failing, so that an answer is read which came
    /// before, such as a 413. Whoever writes would give up at the error and never read.
    deaf: Option<Pin<Box<Sleep>>>,
}

/// For as long, so that a request whose answer ends before its body does not wait for ever. An answer that has not been read by
/// then is cut short.
const LONGEST: Duration = Duration::from_secs(5);

impl<T> Heard<T> {
    pub(crate) fn new(stream: T, ear: Ear) -> Self {
        Self { stream, ear, deaf: None }
    }
}

/// Whether an error of writing means that the other side has closed. What it sent before can still be read then, and reading
/// never waits any more.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

impl<T> Heard<T> {
    /// What is to be said of a try to write.
    fn written(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Err(error)) if is_closed(&error) => {
                // There is something to read: an answer, or how it ended.
                cx.waker().wake_by_ref();
                self.deaf = Some(Box::pin(sleep(LONGEST)));
                self.wait(cx)
            }
            polled => polled,
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(end) = &mut self.deaf {
            ready!(end.as_mut().poll(cx));
        }
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
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
        if self.deaf.is_some() {
            return self.wait(cx);
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.deaf.is_some() {
            return self.wait(cx);
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::{BodyExt, StreamBody};
    use hyper_util::rt::TokioIo;

    use super::*;

    /// An upstream that has answered and closed; it is only known once something is written to it.
    struct Closed {
        answer: &'static [u8],
        is_known: bool,
        reader: Option<std::task::Waker>,
    }

    impl AsyncRead for Closed {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if !self.is_known {
                self.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if self.answer.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            buf.put_slice(std::mem::take(&mut self.answer));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Closed {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            self.is_known = true;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// The answer to an upload that never ends, over a connection that an upstream has closed after `said`.
    async fn answer(said: &'static [u8]) -> hyper::Result<(u16, Bytes)> {
        let stream = Heard::new(Closed { answer: said, is_known: false, reader: None }, Ear::default());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let pieces = futures_util::stream::repeat_with(|| {
            Ok::<_, io::Error>(http_body::Frame::data(Bytes::from_static(&[0; 1 << 16])))
        });
        let request = Request::post("/").header("host", "a").body(StreamBody::new(pieces)).unwrap();
        let (parts, body) = sender.send_request(request).await?.into_parts();
        Ok((parts.status.as_u16(), body.collect().await?.to_bytes()))
    }

    #[tokio::test]
    async fn an_early_answer_is_read_though_the_write_fails_first() {
        let said = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge";
        assert_eq!(answer(said).await.unwrap(), (413, Bytes::from_static(b"large")));
        answer(b"").await.unwrap_err();
        answer(b"HTTP/1.1 413 Cont").await.unwrap_err();
    }
}
