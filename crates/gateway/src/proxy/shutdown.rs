//! Stopping: first nothing new, then what is in flight, then everything.

use tokio::sync::watch;

/// How far the gateway is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Running,
    /// All is served as before, and `/healthz` says that it ends soon, so that load balancers look elsewhere.
    Leaving,
    /// No connection is accepted; requests in flight are finished, until the deadline.
    Draining,
    /// Whatever is left is cut off.
    Closing,
}

/// Tells all threads which stage has come.
#[derive(Debug, Clone)]
pub(crate) struct Signal(watch::Sender<Stage>);

impl Signal {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Stage::Running))
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.0.send_replace(stage);
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.0.borrow()
    }

    /// Returns once all threads have ended.
    pub(crate) async fn unheard(&self) {
        self.0.closed().await;
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Stage> {
        self.0.subscribe()
    }
}

/// One thread's word to its connections; being told by a neighbour would cost a lock shared between the threads.
#[derive(Debug)]
pub(crate) struct Drain(watch::Sender<bool>);

/// Held by whatever must be finished before the thread may end.
#[derive(Debug, Clone)]
pub(crate) struct Draining(watch::Receiver<bool>);

impl Drain {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn watch(&self) -> Draining {
        Draining(self.0.subscribe())
    }

    /// Asks all connections to finish, and waits until they have.
    pub(crate) async fn finish(&self) {
        self.0.send_replace(true);
        self.0.closed().await;
    }
}

impl Draining {
    /// Waits until the thread begins to drain.
    pub(crate) async fn begun(&mut self) {
        // An error means that the thread has gone, and then so has its drain.
        let _ = self.0.wait_for(|is_draining| *is_draining).await;
    }
}
