//! After `101 Switching Protocols`: bytes are copied both ways until both ends are done or nothing moves.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::time::{sleep_until, timeout};
use tollgate_http::service::Places;

use crate::proxy::coarse_clock;
use crate::proxy::shutdown::Draining;
use crate::proxy::upstream::upstream::InFlight;

/// Copies between the two ends. Until that is over the request is in flight and holds its places, and the thread does not
/// finish draining.
pub(crate) async fn tunnel(
    client: OnUpgrade,
    upstream: OnUpgrade,
    idle: Duration,
    _held: (InFlight, Places, Draining),
) {
    // Both are there as soon as the 101 is written; a client that has gone must not keep this task.
    let Ok(Ok((client, upstream))) = timeout(idle, async { tokio::try_join!(client, upstream) }).await else { return };
    let moved = Rc::new(Cell::new(coarse_clock::now()));
    let mut client = Noted { stream: TokioIo::new(client), moved: Rc::clone(&moved) };
    let mut upstream = Noted { stream: TokioIo::new(upstream), moved: Rc::clone(&moved) };
    tokio::select! {
        // An error is the end of one of the two, and then of the other.
        _ = copy_bidirectional(&mut client, &mut upstream) => {}
        () = stillness(&moved, idle) => {}
    }
}

/// Returns once nothing has moved for as long as `idle`.
async fn stillness(moved: &Cell<u64>, idle: Duration) {
    loop {
        let end = moved.get().saturating_add(coarse_clock::millis(idle));
        if coarse_clock::now() >= end {
            return;
        }
        sleep_until(coarse_clock::instant(end)).await;
    }
}

/// A stream that notes when something came or went.
struct Noted {
    stream: TokioIo<Upgraded>,
    moved: Rc<Cell<u64>>,
}

impl Noted {
    fn noted<R>(&self, moved: Poll<R>) -> Poll<R> {
        if moved.is_ready() {
            self.moved.set(coarse_clock::now());
        }
        moved
    }
}

impl AsyncRead for Noted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.noted(read)
    }
}

impl AsyncWrite for Noted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.noted(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
