//! Request bodies as they come from clients. What nobody wants of one is read on for a while.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::spawn_local;
use tokio::time::timeout;

/// How much is read on, and for how long: more than clients send before they look for the answer.
const MOST: u64 = 16 << 20;
const LONGEST: Duration = Duration::from_secs(5);

/// A request body.
///
/// One that is dropped before its end, because the request was refused or answered early, is read on for a moment: closing a
/// socket with unread bytes resets it, and a client that first sends all of its request would never see the answer.
#[derive(Debug)]
pub(crate) struct ClientBody {
    body: Option<Incoming>,
    /// The client waits for `100 Continue`, which reading would send it, and has not sent anything.
    is_awaited: bool,
}

impl ClientBody {
    pub(crate) fn new(body: Incoming, headers: &HeaderMap) -> Self {
        let is_awaited = !body.is_end_stream() && headers.contains_key(EXPECT);
        Self { body: Some(body), is_awaited }
    }
}

impl ClientBody {
    /// Whether the client sends the body only when it is told to.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.is_awaited = false;
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !body.is_end_stream()
            && !self.is_awaited
        {
            linger(body);
        }
    }
}

fn linger(mut body: Incoming) {
    // A thread that ends drops what is left outside of its tasks, and there nothing is begun.
    if tokio::runtime::Handle::try_current().is_err() {
        return;
    }
    spawn_local(timeout(LONGEST, async move {
        let mut left = MOST;
        while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(u64::try_from(length).unwrap_or(u64::MAX)) else { return };
            left = rest;
        }
    }));
}
