//! Request bodies on their way to an upstream: counted, given up when they stand still; of each only the beginning is collected.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::proxy::client_body::ClientBody;
use crate::proxy::coarse_clock;
use crate::proxy::error::Error;
use crate::proxy::exchange::hop;
use crate::proxy::idle_timer::IdleTimer;
use crate::proxy::settings::{Limits, Timeouts};
use crate::proxy::upstream::expected::Gate;

/// How far a request body has come, for the task that waits for the answer meanwhile.
#[derive(Debug)]
pub(crate) struct Progress {
    moved: Cell<u64>,
    waits_for_client: Cell<bool>,
    /// Why the body broke off, if it did.
    fault: Cell<Option<Error>>,
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

    /// The client's part in it that no answer comes. HTTP/2 tells of it by a reset and nothing more.
    pub(crate) fn fault(&self) -> Option<Error> {
        self.fault.get()
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
    /// Bytes that are to be collected first.
    buffer: usize,
    /// Those that were.
    early: Option<Bytes>,
    /// The trailers after them.
    trailers: Option<HeaderMap>,
    /// What the client waits for before it sends anything.
    expected: Option<Expected>,
}

/// A body that waits for the upstream's word, but not for ever: there are servers that never give it (RFC 9110, 10.1.1).
#[derive(Debug)]
struct Expected {
    gate: Arc<Gate>,
    most: Option<Pin<Box<Sleep>>>,
}

/// How long the word is waited for.
const WORD: Duration = Duration::from_secs(1);

impl Expected {
    /// Whether the body may be asked for.
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.gate.is_open() {
            return Poll::Ready(());
        }
        self.gate.wake(cx.waker());
        let most = self.most.get_or_insert_with(|| Box::pin(sleep(WORD)));
        if self.gate.is_shut() {
            return Poll::Pending;
        }
        ready!(most.as_mut().poll(cx));
        self.gate.open();
        Poll::Ready(())
    }
}

impl RequestBody {
    /// `body`, of which `buffer` bytes are to be [collected](Self::collect) before an upstream is asked.
    pub(crate) fn new(body: ClientBody, timeouts: &Timeouts, limits: &Limits, buffer: usize) -> Self {
        let progress = (!body.is_end_stream()).then(|| {
            let moved = Cell::new(coarse_clock::now());
            Rc::new(Progress { moved, waits_for_client: Cell::new(false), fault: Cell::new(None) })
        });
        Self {
            body: Some(body),
            left: limits.body_bytes,
            progress,
            buffer,
            ..Self::empty(IdleTimer::new(timeouts.request_body))
        }
    }

    fn empty(idle: IdleTimer) -> Self {
        Self { body: None, idle, left: None, progress: None, buffer: 0, early: None, trailers: None, expected: None }
    }

    /// Waits for the returned gate to open before anything is asked of the client, and collects nothing.
    pub(crate) fn expect(&mut self) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        self.buffer = 0;
        self.expected = Some(Expected { gate: Arc::clone(&gate), most: None });
        gate
    }

    /// What it waits for, if it does.
    pub(crate) fn expected(&self) -> Option<Arc<Gate>> {
        self.expected.as_ref().map(|expected| Arc::clone(&expected.gate))
    }

    pub(crate) fn is_collected_first(&self) -> bool {
        self.buffer > 0
    }

    /// Waits for all of it, or for as much as is to be collected.
    pub(crate) async fn collect(&mut self) -> Result<(), Error> {
        let most = std::mem::take(&mut self.buffer);
        let mut early = BytesMut::new();
        while early.len() < most {
            match poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => early.extend_from_slice(&data),
                Some(Err(frame)) => self.trailers = frame.into_trailers().ok(),
                None => {
                    self.body = None;
                    // Nobody needs to wait for it any more.
                    self.progress = None;
                    break;
                }
            }
        }
        self.early = Some(early.freeze()).filter(|early| !early.is_empty());
        // The upstream's time begins now.
        if let Some(progress) = &self.progress {
            progress.moved();
        }
        Ok(())
    }

    /// Another body that is nothing, if this one is.
    pub(crate) fn nothing(&self) -> Option<Self> {
        let idle = IdleTimer::new(self.idle.allowed());
        self.is_end_stream().then(|| Self::empty(idle))
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

impl RequestBody {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self;
        if let Some(early) = this.early.take() {
            return Poll::Ready(Some(Ok(Frame::data(early))));
        }
        if let Some(expected) = &mut this.expected {
            if expected.gate.is_shut() {
                // The client is answered and need not be read from.
                this.body = None;
            }
            ready!(expected.poll_open(cx));
        }
        let Some(body) = &mut this.body else {
            return Poll::Ready(this.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))));
        };
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
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    hop::strip_trailers(trailers);
                }
                Some(this.check(&frame).map(|()| frame))
            }
            // Broken framing, or the client has gone and reads no answer.
            Some(Err(_)) => Some(Err(Error::Malformed)),
            None => None,
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = self.poll_next(cx);
        if let (Poll::Ready(Some(Err(fault))), Some(progress)) = (&polled, &self.progress) {
            progress.fault.set(Some(*fault));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.early.is_none() && self.trailers.is_none() && self.body.as_ref().is_none_or(ClientBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let early = self.early.as_ref().map_or(0, |early| u64::try_from(early.len()).unwrap_or(u64::MAX));
        let rest = match &self.body {
            Some(body) => body.size_hint(),
            // Only a body of unknown length has room for trailers.
            None if self.trailers.is_some() => SizeHint::new(),
            None => SizeHint::with_exact(0),
        };
        let mut both = SizeHint::new();
        both.set_lower(rest.lower().saturating_add(early));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(early)) {
            both.set_upper(upper);
        }
        both
    }
}
