//! The bound on connections over all threads, and what has become of those that were counted.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

/// How many connections there are, over all threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionLimit(Arc<Counts>);

/// All orderings are relaxed: numbers that publish nothing. A permit gives back what it added, so `present` is exact.
#[derive(Debug, Default)]
struct Counts {
    present: AtomicUsize,
    turned_away: AtomicUsize,
    malformed: AtomicUsize,
    too_large: AtomicUsize,
}

impl ConnectionLimit {
    /// A permit for one more, unless there are `most` already.
    pub(crate) fn enter(&self, most: usize) -> Option<ConnectionPermit> {
        let permit = ConnectionPermit(Arc::clone(&self.0));
        if self.0.present.fetch_add(1, Relaxed) < most {
            return Some(permit);
        }
        self.0.turned_away.fetch_add(1, Relaxed);
        None
    }

    pub(crate) fn present(&self) -> usize {
        self.0.present.load(Relaxed)
    }

    /// Clients whose connection was closed at once because there were too many.
    pub(crate) fn turned_away(&self) -> usize {
        self.0.turned_away.load(Relaxed)
    }

    /// Request heads that could not be read, by what they were answered.
    pub(crate) fn unreadable(&self) -> [(u16, usize); 2] {
        [(400, self.0.malformed.load(Relaxed)), (431, self.0.too_large.load(Relaxed))]
    }
}

/// One connection under the limit; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit(Arc<Counts>);

impl ConnectionPermit {
    /// The connection has ended with `error`; one after an unreadable head is counted.
    pub(crate) fn ended_with(&self, error: &hyper::Error) {
        if error.is_parse_too_large() {
            self.0.too_large.fetch_add(1, Relaxed);
        } else if error.is_parse() {
            self.0.malformed.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.present.fetch_sub(1, Relaxed);
    }
}
