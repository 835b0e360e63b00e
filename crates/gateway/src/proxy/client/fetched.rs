//! Response bodies of HTTP/2: the client fetches them, and one that does not must hold nothing.
//!
//! While a client leaves no room in its window, hyper does not poll the body, and the connection itself may be busy with
//! other requests; so neither the body nor [`activity`](super::activity) would ever learn that the client does not read. A task
//! beside the body keeps the time, and takes the body away when it is up: that ends the request at the upstream and in
//! every count. The rest of the connection goes on.

use std::cell::{Cell, RefCell};
use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep_until;

use crate::proxy::coarse_clock;

/// Bytes for each second of patience that a client has to take while there are as many: one that opens its window by a byte a
/// second would otherwise hold its request for ever, at an upstream that sends small pieces.
const LEAST: u64 = 256;

/// A body that is given up when it has not been fetched for too long.
#[derive(Debug)]
pub(crate) struct Fetched<B> {
    held: Rc<Held<B>>,
    /// Not there for a body that has ended before it began.
    watch: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Held<B> {
    /// Not there any more once it has been given up.
    body: RefCell<Option<Pin<Box<B>>>>,
    /// Since when it is the client's turn; nothing while the upstream is waited for.
    since: Cell<Option<u64>>,
    /// Bytes that it has taken since.
    taken: Cell<u64>,
    /// As many as make its time begin anew.
    enough: u64,
}

/// The client did not fetch the rest.
#[derive(Debug)]
struct GivenUp;

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client does not take the response")
    }
}

impl StdError for GivenUp {}

impl<B: Body + 'static> Fetched<B> {
    /// `body`, of which the client has to take something every so often.
    pub(crate) fn new(body: B, patience: Duration) -> Self {
        let is_over = body.is_end_stream();
        let held = Rc::new(Held {
            body: RefCell::new(Some(Box::pin(body))),
            since: Cell::new(Some(coarse_clock::now())),
            taken: Cell::new(0),
            enough: coarse_clock::millis(patience).saturating_mul(LEAST) / 1_000,
        });
        let watch = (!is_over).then(|| spawn_local(watch(Rc::downgrade(&held), patience)));
        Self { held, watch }
    }
}

/// Takes the body away once it has lain there for as long as `patience`.
async fn watch<B>(held: Weak<Held<B>>, patience: Duration) {
    let patience = coarse_clock::millis(patience);
    let mut end = coarse_clock::now().saturating_add(patience);
    loop {
        sleep_until(coarse_clock::instant(end)).await;
        let Some(held) = held.upgrade() else { return };
        let now = coarse_clock::now();
        end = held.since.get().unwrap_or(now).saturating_add(patience);
        if end <= now {
            // Not while it is borrowed: what ends with it may do much.
            let given_up = held.body.borrow_mut().take();
            drop(given_up);
            return;
        }
    }
}

impl<B> Drop for Fetched<B> {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

impl<B: Body<Error: Into<Box<dyn StdError + Send + Sync>>>> Body for Fetched<B> {
    type Data = B::Data;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        let Held { body, since, taken, enough } = &*self.held;
        let Some(body) = &mut *body.borrow_mut() else { return Poll::Ready(Some(Err(GivenUp.into()))) };
        let frame = body.as_mut().poll_frame(cx);
        match &frame {
            Poll::Pending => {
                since.set(None);
            }
            Poll::Ready(frame) => {
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
                let length = data.map_or(0, |data| u64::try_from(data.remaining()).unwrap_or(u64::MAX));
                let sum = taken.get().saturating_add(length);
                if since.get().is_none() || sum >= *enough {
                    since.set(Some(coarse_clock::now()));
                    taken.set(0);
                } else {
                    taken.set(sum);
                }
            }
        }
        frame.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.held.body.borrow().as_ref().is_some_and(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.held.body.borrow().as_ref().map_or_else(SizeHint::default, |body| body.size_hint())
    }
}
