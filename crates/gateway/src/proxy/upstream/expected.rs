//! `Expect: 100-continue`: a client that sends its body only once somebody wants it. That is for the upstream to say.

use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::task::Waker;

/// Behind which a request body waits for the upstream's word.
///
/// All orderings are relaxed: one thread reads and writes, and it is atomic only because what hears the word must be `Send`.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: AtomicU8,
    waiting: Mutex<Option<Waker>>,
}

const WAITING: u8 = 0;
const OPEN: u8 = 1;
const SHUT: u8 = 2;

impl Gate {
    /// The body is wanted.
    pub(crate) fn open(&self) {
        self.decide(OPEN);
    }

    /// The request is answered, and a body that waits until now will not be sent. Whether it did.
    pub(crate) fn shut(&self) -> bool {
        self.decide(SHUT)
    }

    fn decide(&self, state: u8) -> bool {
        let is_first = self.state.compare_exchange(WAITING, state, Relaxed, Relaxed).is_ok();
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        is_first
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Relaxed) == OPEN
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.state.load(Relaxed) == SHUT
    }

    /// Wakes `waker` when it is decided.
    pub(crate) fn wake(&self, waker: &Waker) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }
}
