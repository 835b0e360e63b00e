//! Where hyper runs what it cannot run within a connection.

use hyper::rt::Executor;
use tokio::task::spawn_local;

/// Runs the requests of an HTTP/2 connection beside it, on its thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnThisThread;

impl<F: Future<Output: 'static> + 'static> Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
