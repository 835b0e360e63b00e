//! Bodies on their way through: counted, given up when they stand still, never collected.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::error::Error;
use super::moment;
use super::pool::Connection;
use super::settings::{Limits, Timeouts};

/// How long a body may stand still. The timer is made only for a body that keeps us waiting.
#[derive(Debug)]
struct Patience {
    allowed: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_fresh: bool,
}

impl Patience {
    fn new(allowed: Duration) -> Self {
        Self { allowed, timer: None, is_fresh: true }
    }

    /// Something moved: waiting begins anew.
    fn renew(&mut self) {
        self.is_fresh = false;
    }

    /// Nothing moved: whether that has lasted too long.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = match &mut self.timer {
            Some(timer) => {
                if !self.is_fresh {
                    timer.as_mut().reset(Instant::now() + self.allowed);
                }
                timer
            }
            none => none.insert(Box::pin(sleep(self.allowed))),
        };
        self.is_fresh = true;
        timer.as_mut().poll(cx)
    }
}

/// How far a request body has come, for whoever waits for the answer meanwhile.
#[derive(Debug)]
pub(crate) struct Progress {
    moved: Cell<u64>,
    waits_for_client: Cell<bool>,
}

impl Progress {
    /// Until when the upstream may keep silent.
    ///
    /// Its time runs from when it last took a piece of the request; while the client is the slow one, it does not run.
    pub(crate) fn deadline(&self, patience: Duration) -> u64 {
        let since = if self.waits_for_client.get() { moment::now() } else { self.moved.get() };
        since.saturating_add(moment::millis(patience))
    }

    fn moved(&self) {
        self.moved.set(moment::now());
        self.waits_for_client.set(false);
    }
}

/// A request body on its way to an upstream.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// Nothing for a request without one that is sent again.
    body: Option<Incoming>,
    patience: Patience,
    /// Bytes that may still come.
    left: Option<u64>,
    progress: Option<Rc<Progress>>,
}

impl RequestBody {
    pub(crate) fn new(body: Incoming, timeouts: &Timeouts, limits: &Limits) -> Self {
        let progress = (!body.is_end_stream())
            .then(|| Rc::new(Progress { moved: Cell::new(moment::now()), waits_for_client: Cell::new(false) }));
        Self { body: Some(body), patience: Patience::new(timeouts.request_body), left: limits.body_bytes, progress }
    }

    /// Another body that is nothing, if this one is.
    pub(crate) fn nothing(&self) -> Option<Self> {
        let patience = Patience::new(self.patience.allowed);
        self.is_end_stream().then_some(Self { body: None, patience, left: self.left, progress: None })
    }

    /// `None` if there is nothing to send.
    pub(crate) fn progress(&self) -> Option<Rc<Progress>> {
        self.progress.clone()
    }

    fn check(&mut self, frame: &Frame<Bytes>) -> Result<(), Error> {
        if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            *left = left.checked_sub(length).ok_or(Error::BodyTooLarge)?;
        }
        Ok(())
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
            if let Some(progress) = &this.progress {
                progress.waits_for_client.set(true);
            }
            ready!(this.patience.poll_end(cx));
            return Poll::Ready(Some(Err(Error::BodyTimedOut)));
        };
        this.patience.renew();
        if let Some(progress) = &this.progress {
            progress.moved();
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(this.check(&frame).map(|()| frame)),
            // Broken framing, or the client has gone and reads no answer.
            Some(Err(_)) => Some(Err(Error::Malformed)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}

/// A response body on its way to the client.
#[derive(Debug)]
pub(crate) enum ResponseBody {
    /// An answer of our own.
    Own(Option<Bytes>),
    /// What an upstream sends.
    Relayed(Relayed),
}

#[derive(Debug)]
pub(crate) struct Relayed {
    body: Incoming,
    patience: Patience,
    /// Given back to the pool once the body has ended; if it does not, both are dropped, which closes the connection.
    connection: Option<Connection>,
}

impl ResponseBody {
    pub(crate) fn relay(body: Incoming, connection: Connection, timeouts: &Timeouts) -> Self {
        let mut relayed =
            Relayed { body, patience: Patience::new(timeouts.response_body), connection: Some(connection) };
        relayed.release_at_end();
        Self::Relayed(relayed)
    }
}

impl Relayed {
    fn release_at_end(&mut self) {
        if self.body.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.give_back();
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            ready!(self.patience.poll_end(cx));
            return Poll::Ready(Some(Err(self.failed(Error::UpstreamTimedOut))));
        };
        self.patience.renew();
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                self.release_at_end();
                Some(Ok(frame))
            }
            Some(Err(_)) => Some(Err(self.failed(Error::Upstream))),
            None => {
                self.release();
                None
            }
        })
    }

    fn failed(&mut self, error: Error) -> Error {
        if let Some(connection) = self.connection.take() {
            connection.upstream().failed();
        }
        error
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self.get_mut() {
            Self::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(relayed) => relayed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(bytes) => bytes.is_none(),
            Self::Relayed(relayed) => relayed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
            }
            Self::Relayed(relayed) => relayed.body.size_hint(),
        }
    }
}
