//! One connection to an upstream, which runs on the task of the request that uses it.
//!
//! A task of its own for each connection would be woken, queued and polled twice a request, and wake the request's task in
//! turn. Here the request polls both, and a bell keeps the two from waking each other for what is about to be polled anyway.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::{Sleep, sleep_until};

use crate::proxy::coarse_clock;
use crate::proxy::upstream::heard::Ear;
use crate::proxy::upstream::http2::Stream;
use crate::proxy::upstream::request_body::RequestBody;

/// How often a connection runs in one poll of the request before the task lets others go first.
const RUNS: usize = 4;

/// A connection to an upstream, in use or not; of HTTP/2, one request's share of one.
pub(crate) struct Link {
    pub(crate) sender: Sender,
    pub(crate) ear: Ear,
    /// When it was made, by the [`coarse_clock`].
    pub(crate) born: u64,
    /// For how long its upstream keeps it without a request, if it has said that.
    pub(crate) promised: Option<Duration>,
    /// The last request's body never came and never will.
    pub(crate) is_abandoned: bool,
    /// Moves its bytes once it has been [detached](Self::detach).
    task: Option<AbortHandle>,
    /// What moves its bytes; nothing once it has ended or has a task of its own.
    driver: Option<Driver>,
    bell: Arc<Bell>,
    waker: Waker,
    /// When the upstream has been silent for too long. It stays from request to request, and is moved when it rings.
    timer: Option<Pin<Box<Sleep>>>,
}

/// What takes requests.
#[derive(Debug)]
pub(crate) enum Sender {
    Http1(SendRequest<RequestBody>),
    Http2(Stream),
}

type Driver = Pin<Box<dyn Future<Output = ()>>>;

impl Link {
    pub(crate) fn new(sender: SendRequest<RequestBody>, driver: impl Future<Output = ()> + 'static, ear: Ear) -> Self {
        let mut link = Self::idle(Sender::Http1(sender), ear);
        link.driver = Some(Box::pin(driver));
        link
    }

    /// A share of a connection that moves by itself.
    pub(crate) fn share(stream: Stream) -> Self {
        Self::idle(Sender::Http2(stream), Ear::default())
    }

    fn idle(sender: Sender, ear: Ear) -> Self {
        let bell = Arc::new(Bell::default());
        // It has never been run, so nothing could wake it.
        bell.put(true);
        let waker = Waker::from(Arc::clone(&bell));
        let born = coarse_clock::now();
        Self {
            sender,
            ear,
            born,
            promised: None,
            is_abandoned: false,
            task: None,
            driver: None,
            bell,
            waker,
            timer: None,
        }
    }

    /// From now on the connection moves by itself. For requests with a body: it must be sent on while the client does not
    /// take the answer.
    pub(crate) fn detach(&mut self) {
        if let Some(driver) = self.driver.take() {
            self.task = Some(spawn_local(driver).abort_handle());
        }
    }

    /// Polls `step`, and the connection as often as there is something to do for it.
    pub(crate) fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        if self.driver.is_none() {
            return step(cx);
        }
        self.bell.serve(cx.waker());
        // The connection alone has news for `step`, and it is polled here.
        let mut nobody = Context::from_waker(Waker::noop());
        let mut is_first = true;
        for _ in 0..RUNS {
            self.bell.hush();
            let was_rung = self.bell.take();
            let stepped = step(&mut nobody);
            let is_poked = self.bell.take();
            if stepped.is_ready() {
                self.bell.put(was_rung || is_poked);
                return stepped;
            }
            // Rung by its own run it has woken the task, which comes here again.
            let is_due = is_poked || was_rung && is_first;
            if !is_due {
                self.bell.put(was_rung);
                self.bell.speak();
                return Poll::Pending;
            }
            if self.driver.is_none() {
                break;
            }
            is_first = false;
            self.bell.speak();
            self.run();
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Lets the connection do what it can. Whom it wakes is up to the bell.
    fn run(&mut self) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(&mut Context::from_waker(&self.waker)).is_ready()
        {
            self.driver = None;
        }
    }

    /// Whether it is there for the next request; looks whether the upstream has closed it.
    pub(crate) fn is_fit(&mut self) -> bool {
        if self.driver.is_some() {
            self.bell.hush();
            if self.bell.take() || !self.sender.is_ready() {
                self.run();
            }
        }
        // One that is not ready still sends a body whose answer came early, as slowly as that client likes.
        !self.sender.is_closed() && self.sender.is_ready()
    }

    /// Whether it will never be there again.
    pub(crate) fn is_over(&mut self) -> bool {
        !self.is_fit() && (self.driver.is_some() || self.sender.is_closed())
    }

    /// Waits for `answer`, at most for as long as `patience`.
    pub(crate) async fn wait<A: Future>(&mut self, answer: A, patience: Duration) -> Option<A::Output> {
        let mut answer = pin!(answer);
        let end = coarse_clock::now().saturating_add(coarse_clock::millis(patience));
        poll_fn(|cx| {
            if let Poll::Ready(answer) = self.poll_with(cx, |cx| answer.as_mut().poll(cx)) {
                return Poll::Ready(Some(answer));
            }
            let end_instant = coarse_clock::instant(end);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end_instant)));
            loop {
                if timer.is_elapsed() || timer.deadline() > end_instant {
                    timer.as_mut().reset(end_instant);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if coarse_clock::now() >= end {
                    return Poll::Ready(None);
                }
            }
        })
        .await
    }
}

impl Sender {
    fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(stream) => stream.sender.is_ready(),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(stream) => stream.sender.is_closed(),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // It would wait for a body for ever.
        if self.is_abandoned
            && let Some(task) = &self.task
        {
            task.abort();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("sender", &self.sender).finish_non_exhaustive()
    }
}

/// What a connection is woken by. While it is hushed it only notes that it was rung.
///
/// All orderings are relaxed: one thread reads and writes, and the fields are atomic only because a waker must be `Send`.
#[derive(Debug, Default)]
struct Bell {
    task: Mutex<Option<Waker>>,
    is_hushed: AtomicBool,
    is_rung: AtomicBool,
}

impl Bell {
    /// Wakes `task` from now on.
    fn serve(&self, task: &Waker) {
        let mut served = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *served {
            Some(served) => served.clone_from(task),
            none => *none = Some(task.clone()),
        }
    }

    fn hush(&self) {
        self.is_hushed.store(true, Relaxed);
    }

    fn speak(&self) {
        self.is_hushed.store(false, Relaxed);
    }

    fn put(&self, is_rung: bool) {
        self.is_rung.store(is_rung, Relaxed);
    }

    /// Whether it was rung since it was last asked.
    fn take(&self) -> bool {
        let is_rung = self.is_rung.load(Relaxed);
        self.is_rung.store(false, Relaxed);
        is_rung
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_rung.store(true, Relaxed);
        if !self.is_hushed.load(Relaxed)
            && let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner)
        {
            task.wake_by_ref();
        }
    }
}
