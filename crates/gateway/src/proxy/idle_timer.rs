//! The time for which a body may stand still.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// How long a body may stand still. The timer is made only for a body that keeps us waiting.
#[derive(Debug)]
pub(crate) struct IdleTimer {
    allowed: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_fresh: bool,
}

impl IdleTimer {
    pub(crate) fn new(allowed: Duration) -> Self {
        Self { allowed, timer: None, is_fresh: true }
    }

    pub(crate) fn allowed(&self) -> Duration {
        self.allowed
    }

    /// Something moved: waiting begins anew.
    pub(crate) fn renew(&mut self) {
        self.is_fresh = false;
    }

    /// Nothing moved: whether that has lasted too long.
    pub(crate) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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
