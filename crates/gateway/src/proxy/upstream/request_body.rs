//! Request bodies on their way to an upstream: counted, given up when they stand still, never collected.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, timeout_at};

use crate::proxy::client_body::ClientBody;
use crate::proxy::coarse_clock;
use crate::proxy::error::Error;
use crate::proxy::idle_timer::IdleTimer;
use crate::proxy::settings::{Limits, Timeouts};

/// How far a request body has come, for the task that waits for the answer meanwhile.
#[derive(Debug)]
pub(crate) struct Progress {
    moved: Cell<u64>,
    waits_for_client: Cell<bool>,
}

impl Progress {
    /// Until when the upstream may keep silent.
    ///
    /// Its time runs from when it last took a piece of the request; while the client is the slow one, it does not run.
    fn deadline(&self, patience: Duration) -> u64 {
        let since = if self.waits_for_client.get() { coarse_clock::now() } else { self.moved.get() };
        since.saturating_add(coarse_clock::millis(patience))
    }

    /// Waits for `answer`, but not longer than `patience` after the upstream last took something.
    pub(crate) async fn within<A: Future>(&self, patience: Duration, answer: A) -> Option<A::Output> {
        let mut answer = pin!(answer);
        let mut end = Instant::now() + patience;
        loop {
            if let Ok(answer) = timeout_at(end, &mut answer).await {
                return Some(answer);
            }
            let deadline = self.deadline(patience);
            if deadline <= coarse_clock::now() {
                return None;
            }
            end = coarse_clock::instant(deadline);
        }
    }

    fn moved(&self) {
        self.moved.set(coarse_clock::now());
        self.waits_for_client.set(false);
    }
}

/// A request body on its way to an upstream.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// Nothing for a request without one that is sent again.
    body: Option<ClientBody>,
    idle: IdleTimer,
    /// Bytes that may still come.
    left: Option<u64>,
    progress: Option<Rc<Progress>>,
}

impl RequestBody {
    pub(crate) fn new(body: ClientBody, timeouts: &Timeouts, limits: &Limits) -> Self {
        let progress = (!body.is_end_stream())
            .then(|| Rc::new(Progress { moved: Cell::new(coarse_clock::now()), waits_for_client: Cell::new(false) }));
        Self { body: Some(body), idle: IdleTimer::new(timeouts.request_body), left: limits.body_bytes, progress }
    }

    /// Another body that is nothing, if this one is.
    pub(crate) fn nothing(&self) -> Option<Self> {
        let idle = IdleTimer::new(self.idle.allowed());
        self.is_end_stream().then_some(Self { body: None, idle, left: self.left, progress: None })
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
            ready!(this.idle.poll_end(cx));
            return Poll::Ready(Some(Err(Error::BodyTimedOut)));
        };
        this.idle.renew();
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
        self.body.as_ref().is_none_or(ClientBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), ClientBody::size_hint)
    }
}
