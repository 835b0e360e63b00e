//! The servers behind the gateway: where they are, how they fare, and which is asked next.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::proxy::coarse_clock;
use crate::proxy::settings::Health;
use crate::proxy::upstream::complaint::{Cause, Complaints};
use crate::values::origin::Origin;

/// One upstream and what is known of it. All orderings are relaxed: these are counts, and nothing hangs on them.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) origin: Origin,
    requests: AtomicU64,
    failures: AtomicU64,
    in_flight: AtomicU64,
    /// Failures to connect since the last success.
    in_a_row: AtomicU32,
    /// The [`coarse_clock`] until which it is left alone.
    rests_until: AtomicU64,
    /// Requests that were sent and not answered since the last answer.
    unanswered_in_a_row: AtomicU32,
    /// The [`coarse_clock`] until which others are asked first.
    spared_until: AtomicU64,
    complaints: Complaints,
}

/// What an upstream has seen so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Requests handed to it, or meant for it when it could not be reached.
    pub requests: u64,
    /// Those that it did not answer: unreachable, too slow, or not HTTP.
    pub failures: u64,
    pub in_flight: u64,
    pub is_resting: bool,
}

impl Upstream {
    fn new(origin: Origin) -> Self {
        Self {
            origin,
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            in_a_row: AtomicU32::new(0),
            rests_until: AtomicU64::new(0),
            unanswered_in_a_row: AtomicU32::new(0),
            spared_until: AtomicU64::new(0),
            complaints: Complaints::default(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let now = coarse_clock::now();
        Counts {
            requests: self.requests.load(Relaxed),
            failures: self.failures.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            is_resting: self.is_resting(now) || self.is_spared(now),
        }
    }

    /// Says on standard error why it failed.
    pub(crate) fn complain(&self, cause: Cause, error: &dyn std::error::Error) {
        self.complaints.tell(&self.origin, cause, error);
    }

    /// A request is meant for it.
    pub(crate) fn asked(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    /// A request goes there, and stays in flight until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(Arc::clone(self))
    }

    /// A request was not answered.
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// A connection could not be made.
    pub(crate) fn unreachable(&self, health: &Health) {
        self.failed();
        Self::one_more(&self.in_a_row, &self.rests_until, health);
    }

    /// A connection was made.
    pub(crate) fn reached(&self) {
        self.in_a_row.store(0, Relaxed);
        self.rests_until.store(0, Relaxed);
    }

    /// A request was sent on a new connection, and the upstream hung up or spoke no HTTP.
    ///
    /// It is quick about that, so it has the fewest requests in flight, and would get nearly all there are. But a client
    /// may know a request that has this effect on every upstream: so they do not rest, and others are only preferred.
    pub(crate) fn unanswering(&self, health: &Health) {
        self.failed();
        Self::one_more(&self.unanswered_in_a_row, &self.spared_until, health);
    }

    /// A request was answered.
    pub(crate) fn answered(&self) {
        // Nearly always the case, and then no other core's copy of this cache line is invalidated.
        if self.unanswered_in_a_row.load(Relaxed) != 0 {
            self.unanswered_in_a_row.store(0, Relaxed);
            self.spared_until.store(0, Relaxed);
        }
    }

    fn one_more(in_a_row: &AtomicU32, until: &AtomicU64, health: &Health) {
        // Saturating would need a loop; four billion failures without one success end in one more trial.
        let in_a_row = in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        if in_a_row >= health.failures {
            until.store(coarse_clock::now().saturating_add(coarse_clock::millis(health.rest)), Relaxed);
        }
    }

    fn is_resting(&self, now: u64) -> bool {
        self.rests_until.load(Relaxed) > now
    }

    fn is_spared(&self, now: u64) -> bool {
        self.spared_until.load(Relaxed) > now
    }
}

/// A request that an upstream has not finished.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Upstream>);

impl InFlight {
    pub(crate) fn upstream(&self) -> &Arc<Upstream> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// All upstreams of a configuration.
#[derive(Debug, Default)]
pub(crate) struct Upstreams(Vec<Arc<Upstream>>);

impl Upstreams {
    /// Upstreams for `origins`; those known from `before` keep their counts, their health and their connections.
    pub(crate) fn new(origins: &[Origin], before: &Self) -> Self {
        let upstream = |origin: &Origin| match before.0.iter().find(|known| known.origin == *origin) {
            Some(known) => Arc::clone(known),
            None => Arc::new(Upstream::new(origin.clone())),
        };
        Self(origins.iter().map(upstream).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.0.iter()
    }

    /// The upstream with the fewest requests in flight that neither rests nor is among `tried`; equals take turns, and one
    /// that has not answered lately is the last.
    ///
    /// A lone upstream never rests: there is no other to ask instead, and it may be back at any moment.
    pub(crate) fn choose(&self, turn: usize, tried: &[Arc<Upstream>]) -> Option<&Arc<Upstream>> {
        if let [only] = self.0.as_slice() {
            return tried.is_empty().then_some(only);
        }
        let now = coarse_clock::now();
        let (front, back) = self.0.split_at(turn.checked_rem(self.0.len())?);
        let able = |upstream: &&Arc<Upstream>| {
            !upstream.is_resting(now) && !tried.iter().any(|tried| Arc::ptr_eq(tried, upstream))
        };
        let order = |upstream: &&Arc<Upstream>| (upstream.is_spared(now), upstream.in_flight.load(Relaxed));
        back.iter().chain(front).filter(able).min_by_key(order)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn upstreams(count: usize) -> Upstreams {
        let origins: Vec<Origin> = (1..=count).map(|n| format!("http://192.0.2.{n}").parse().unwrap()).collect();
        Upstreams::new(&origins, &Upstreams::default())
    }

    #[test]
    fn equals_take_turns_and_the_busy_one_waits() {
        let all = upstreams(3);
        let chosen = |turn| all.choose(turn, &[]).unwrap().origin.to_string();
        assert_eq!([0, 1, 2, 3].map(chosen), [1, 2, 3, 1].map(|n| format!("http://192.0.2.{n}")));
        let busy = all.choose(0, &[]).unwrap().begin();
        assert_eq!(chosen(0), "http://192.0.2.2");
        drop(busy);
        assert_eq!(chosen(0), "http://192.0.2.1");
    }

    #[test]
    fn one_that_cannot_be_reached_rests() {
        let health = Health { failures: 2, rest: Duration::from_secs(60) };
        let all = upstreams(2);
        let first = Arc::clone(all.choose(0, &[]).unwrap());
        first.unreachable(&health);
        assert!(Arc::ptr_eq(all.choose(0, &[]).unwrap(), &first));
        first.unreachable(&health);
        let second = Arc::clone(all.choose(0, &[]).unwrap());
        assert!(!Arc::ptr_eq(&second, &first));
        assert!(first.counts().is_resting);
        assert!(all.choose(0, &[second]).is_none());
        first.reached();
        assert!(Arc::ptr_eq(all.choose(0, &[]).unwrap(), &first));
    }

    #[test]
    fn one_that_does_not_answer_is_the_last_and_never_nobody() {
        let health = Health { failures: 2, rest: Duration::from_secs(60) };
        let all = upstreams(2);
        let chosen = |turn| Arc::clone(all.choose(turn, &[]).unwrap());
        let (first, second) = (chosen(0), chosen(1));
        first.unanswering(&health);
        assert!(Arc::ptr_eq(&chosen(0), &first), "once is no row");
        first.unanswering(&health);
        let _busy = [second.begin(), second.begin()];
        assert!(Arc::ptr_eq(&chosen(0), &second), "however busy the other is");
        assert!(first.counts().is_resting);
        // Nor does it help that a connection can be made.
        first.reached();
        assert!(Arc::ptr_eq(&chosen(0), &second));
        second.unanswering(&health);
        second.unanswering(&health);
        assert!(Arc::ptr_eq(&chosen(0), &first), "where nobody answers there is nobody to prefer");
        second.answered();
        assert!(Arc::ptr_eq(&chosen(0), &second));
    }

    #[test]
    fn a_lone_one_never_rests() {
        let all = upstreams(1);
        all.choose(0, &[]).unwrap().unreachable(&Health { failures: 1, rest: Duration::from_secs(60) });
        assert!(all.choose(0, &[]).is_some());
    }
}
