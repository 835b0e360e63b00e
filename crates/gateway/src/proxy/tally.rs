//! What became of the requests that passed, counted by each thread for itself.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use crate::proxy::error::Error;
use crate::proxy::times::{Histogram, Times};

/// The statuses of [`Error`].
const OWN: [u16; 10] = [400, 404, 408, 413, 421, 431, 501, 502, 503, 504];

/// One thread's counts. All orderings are relaxed: these are numbers for people.
#[derive(Debug, Default)]
// Two cache lines, which is what processors fetch at once: no thread waits for another's counting.
#[repr(align(128))]
pub(crate) struct Tally {
    passed: AtomicU64,
    classes: [AtomicU64; 5],
    own: [AtomicU64; OWN.len()],
    /// From a request's head until its answer has gone.
    pub(crate) requests: Histogram,
    /// From when a request is passed on until the head of an upstream's answer is there.
    pub(crate) upstreams: Histogram,
}

impl Tally {
    /// A request has come that no policy refused.
    pub(crate) fn passed(&self) {
        self.passed.fetch_add(1, Relaxed);
    }

    /// It is answered with `status`, by an upstream or by us.
    pub(crate) fn answered(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).checked_sub(1);
        if let Some(count) = class.and_then(|class| self.classes.get(class)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// It is answered by us, because of `error`.
    pub(crate) fn failed(&self, error: Error) {
        let status = error.status().as_u16();
        if let Some((_, count)) = OWN.iter().zip(&self.own).find(|(own, _)| **own == status) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// The counts of all threads together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Total {
    pub(crate) passed: u64,
    /// From 1 to 5.
    pub(crate) classes: Vec<(u16, u64)>,
    pub(crate) own: Vec<(u16, u64)>,
    pub(crate) requests: Times,
    pub(crate) upstreams: Times,
}

/// The tallies of all threads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tallies(Arc<Mutex<Vec<Arc<Tally>>>>);

impl Tallies {
    /// A tally for one more thread.
    pub(crate) fn join(&self) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&tally));
        tally
    }

    pub(crate) fn total(&self) -> Total {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |of: &dyn Fn(&Tally) -> Option<&AtomicU64>| {
            tallies.iter().filter_map(|tally| of(tally)).map(|count| count.load(Relaxed)).sum()
        };
        let (mut requests, mut upstreams) = (Times::default(), Times::default());
        for tally in tallies.iter() {
            tally.requests.add_to(&mut requests);
            tally.upstreams.add_to(&mut upstreams);
        }
        Total {
            requests,
            upstreams,
            passed: sum(&|tally| Some(&tally.passed)),
            classes: (0..5).zip(1..).map(|(i, class)| (class, sum(&|tally| tally.classes.get(i)))).collect(),
            own: OWN.into_iter().enumerate().map(|(i, status)| (status, sum(&|tally| tally.own.get(i)))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_are_counted_together() {
        let tallies = Tallies::default();
        let (one, other) = (tallies.join(), tallies.join());
        one.passed();
        other.passed();
        one.answered(StatusCode::OK);
        other.answered(StatusCode::BAD_GATEWAY);
        other.failed(Error::Upstream);
        let total = tallies.total();
        assert_eq!(total.passed, 2);
        assert_eq!(total.classes, [(1, 0), (2, 1), (3, 0), (4, 0), (5, 1)]);
        assert_eq!(total.own.iter().filter(|(_, count)| *count > 0).collect::<Vec<_>>(), [&(502, 1)]);
        assert_eq!(total.own.len(), OWN.len());
    }

    #[test]
    fn every_error_is_counted() {
        use Error::{
            BodyTimedOut, BodyTooLarge, HeadTooLarge, Malformed, Method, Misdirected, NoRoute, NoUpstream, Upstream,
            UpstreamTimedOut,
        };
        let tally = Tally::default();
        for error in [
            Malformed,
            HeadTooLarge,
            BodyTimedOut,
            BodyTooLarge,
            Method,
            Upstream,
            NoUpstream,
            UpstreamTimedOut,
            NoRoute,
            Misdirected,
        ] {
            tally.failed(error);
        }
        assert!(tally.own.iter().all(|count| count.load(Relaxed) == 1), "{tally:?}");
    }
}
