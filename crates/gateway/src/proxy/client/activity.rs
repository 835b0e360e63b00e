//! What a client's connection is doing, so that it can be given up when it does nothing for too long.
//!
//! One timer serves a connection for its whole life: requests only leave notes here, and the timer is moved when it
//! rings or when something must end sooner. All orderings are relaxed: one thread reads and writes, and the fields
//! are atomic only because a connection that may be upgraded must be `Send`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use tokio::time::Instant;

use crate::proxy::coarse_clock;
use crate::proxy::settings::Timeouts;
use crate::proxy::tally::Tally;

#[derive(Debug)]
pub(crate) struct Activity {
    /// Requests whose answer is not finished.
    in_flight: AtomicU32,
    /// When the connection last became idle, or when the first byte of a head came.
    since: AtomicU64,
    /// Whether a head has begun to arrive.
    head: AtomicBool,
    /// Since when the client takes nothing; zero while it does.
    blocked: AtomicU64,
    /// Bytes on an idle HTTP/2 connection may be a ping and do not begin a head.
    counts_heads: bool,
    /// Where it is counted how long requests took.
    tally: Arc<Tally>,
}

/// Which patience ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    Idle,
    Head,
    Send,
}

impl Activity {
    pub(crate) fn new(is_http2: bool, tally: Arc<Tally>) -> Arc<Self> {
        Arc::new(Self {
            in_flight: AtomicU32::new(0),
            since: AtomicU64::new(coarse_clock::now()),
            head: AtomicBool::new(false),
            blocked: AtomicU64::new(0),
            counts_heads: !is_http2,
            tally,
        })
    }

    /// Bytes came from the client.
    pub(crate) fn received(&self) {
        if self.counts_heads && self.in_flight.load(Relaxed) == 0 && !self.head.load(Relaxed) {
            self.head.store(true, Relaxed);
            self.since.store(coarse_clock::now(), Relaxed);
        }
    }

    /// The client took bytes, or (`false`) would not.
    pub(crate) fn sent(&self, took: bool) {
        let blocked = self.blocked.load(Relaxed);
        if took && blocked != 0 {
            self.blocked.store(0, Relaxed);
        } else if !took && blocked == 0 {
            self.blocked.store(coarse_clock::now(), Relaxed);
        }
    }

    /// A request has come and is answered until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        self.head.store(false, Relaxed);
        InFlight { of: Arc::clone(self), began: Instant::now() }
    }

    /// Until when the connection may go on like this; `None` while a request is answered and the client listens.
    pub(crate) fn deadline(&self, timeouts: &Timeouts) -> Option<(u64, Overdue)> {
        let after = |since: u64, patience| since.saturating_add(coarse_clock::millis(patience));
        let blocked = self.blocked.load(Relaxed);
        if blocked != 0 {
            return Some((after(blocked, timeouts.send), Overdue::Send));
        }
        if self.in_flight.load(Relaxed) > 0 {
            return None;
        }
        let since = self.since.load(Relaxed);
        Some(if self.head.load(Relaxed) {
            (after(since, timeouts.head), Overdue::Head)
        } else {
            (after(since, timeouts.idle), Overdue::Idle)
        })
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct InFlight {
    of: Arc<Activity>,
    began: Instant,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.of.since.store(coarse_clock::now(), Relaxed);
        self.of.in_flight.fetch_sub(1, Relaxed);
        self.of.tally.requests.record(self.began.elapsed());
    }
}
