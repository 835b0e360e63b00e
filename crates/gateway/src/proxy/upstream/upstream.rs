//! The servers behind the gateway: where they are, how they fare, and which is asked next.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

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
    /// Health checks without a good answer since the last one.
    unwell_in_a_row: AtomicU32,
    /// Whether that are too many: nobody is sent there.
    is_down: AtomicBool,
    /// Whether there are such checks: without them nobody would find out that it is back.
    is_checked: AtomicBool,
    /// The [`coarse_clock`] at which the next health check is due.
    check_due: AtomicU64,
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
            unwell_in_a_row: AtomicU32::new(0),
            is_down: AtomicBool::new(false),
            is_checked: AtomicBool::new(true),
            check_due: AtomicU64::new(0),
            complaints: Complaints::default(),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let now = coarse_clock::now();
        Counts {
            requests: self.requests.load(Relaxed),
            failures: self.failures.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            is_resting: self.is_resting(now) || self.is_spared(now) || self.is_down(),
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

    /// A request goes there, and stays in flight until the guard is dropped; not if there are `most` already.
    pub(crate) fn begin(self: &Arc<Self>, most: u64) -> Option<InFlight> {
        let before = self.in_flight.fetch_add(1, Relaxed);
        // Takes back what was added too many.
        let in_flight = InFlight(Arc::clone(self));
        (before < most).then_some(in_flight)
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

    /// A request was sent, and the upstream hung up on a new connection, spoke no HTTP or took too long.
    ///
    /// It may be quick about that, so it has the fewest requests in flight, and would get nearly all there are. But a client
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
        // It was tried on a connection that was kept.
        if self.rests_until.load(Relaxed) != 0 {
            self.reached();
        }
    }

    /// Whether it is checked from now on.
    pub(crate) fn set_checked(&self, is_checked: bool) {
        self.is_checked.store(is_checked, Relaxed);
    }

    fn is_down(&self) -> bool {
        self.is_down.load(Relaxed) && self.is_checked.load(Relaxed)
    }

    /// Whether a health check is due, which is then for the caller to make.
    pub(crate) fn check_is_due(&self, health: &Health) -> bool {
        let (now, due) = (coarse_clock::now(), self.check_due.load(Relaxed));
        let next = now.saturating_add(coarse_clock::millis(health.every));
        due <= now && self.check_due.compare_exchange(due, next, Relaxed, Relaxed).is_ok()
    }

    /// A health check was answered well.
    pub(crate) fn is_well(&self) {
        self.unwell_in_a_row.store(0, Relaxed);
        self.is_down.store(false, Relaxed);
    }

    /// A health check was not.
    pub(crate) fn is_unwell(&self, health: &Health) {
        let in_a_row = self.unwell_in_a_row.fetch_add(1, Relaxed).saturating_add(1);
        if in_a_row >= health.failures {
            self.is_down.store(true, Relaxed);
        }
    }

    /// Whether the caller may ask it: always, but when its rest is over, or the time for which others are asked first. Then one
    /// request tries it, and for the others there is another such time, which ends with the first answer.
    fn may_try(&self, now: u64, health: &Health) -> bool {
        let next = now.saturating_add(coarse_clock::millis(health.rest));
        let claims = |until: &AtomicU64| {
            let end = until.load(Relaxed);
            end == 0 || end > now || until.compare_exchange(end, next, Relaxed, Relaxed).is_ok()
        };
        claims(&self.rests_until) && claims(&self.spared_until)
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

    pub(crate) fn has(&self, upstream: &Arc<Upstream>) -> bool {
        self.0.iter().any(|one| Arc::ptr_eq(one, upstream))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.0.iter()
    }

    /// The upstream with the fewest requests in flight that neither rests nor is among `tried`; equals take turns, and one
    /// that has not answered lately is the last.
    ///
    /// A lone upstream never rests: there is no other to ask instead, and it may be back at any moment.
    pub(crate) fn choose(&self, turn: usize, tried: &[Arc<Upstream>], health: &Health) -> Option<&Arc<Upstream>> {
        if let [only] = self.0.as_slice() {
            return tried.is_empty().then_some(only);
        }
        let now = coarse_clock::now();
        let (front, back) = self.0.split_at(turn.checked_rem(self.0.len())?);
        let able = |upstream: &&Arc<Upstream>| {
            !upstream.is_resting(now) && !upstream.is_down() && !tried.iter().any(|tried| Arc::ptr_eq(tried, upstream))
        };
        let order = |upstream: &&Arc<Upstream>| (upstream.is_spared(now), upstream.in_flight.load(Relaxed));
        loop {
            let best = back.iter().chain(front).filter(able).min_by_key(order)?;
            // Who comes too late for a trial looks again, and sees the time that the first has set.
            if best.may_try(now, health) {
                return Some(best);
            }
        }
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

    fn resting_after(failures: u32) -> Health {
        Health { failures, rest: Duration::from_secs(60), ..Health::default() }
    }

    #[test]
    fn equals_take_turns_and_the_busy_one_waits() {
        let all = upstreams(3);
        let chosen = |turn| all.choose(turn, &[], &Health::default()).unwrap().origin.to_string();
        assert_eq!([0, 1, 2, 3].map(chosen), [1, 2, 3, 1].map(|n| format!("http://192.0.2.{n}")));
        let busy = all.choose(0, &[], &Health::default()).unwrap().begin(u64::MAX);
        assert_eq!(chosen(0), "http://192.0.2.2");
        drop(busy);
        assert_eq!(chosen(0), "http://192.0.2.1");
    }

    #[test]
    fn as_many_are_in_flight_as_may_be_and_one_that_may_not_leaves_nothing_behind() {
        let all = upstreams(1);
        let only = all.choose(0, &[], &Health::default()).unwrap();
        let two = [only.begin(2).unwrap(), only.begin(2).unwrap()];
        assert!(only.begin(2).is_none() && only.begin(2).is_none());
        assert_eq!(only.counts().in_flight, 2);
        let [first, _second] = two;
        drop(first);
        let again = only.begin(2);
        assert!(again.is_some() && only.begin(2).is_none());
    }

    #[test]
    fn one_that_cannot_be_reached_rests() {
        let health = resting_after(2);
        let all = upstreams(2);
        let first = Arc::clone(all.choose(0, &[], &Health::default()).unwrap());
        first.unreachable(&health);
        assert!(Arc::ptr_eq(all.choose(0, &[], &Health::default()).unwrap(), &first));
        first.unreachable(&health);
        let second = Arc::clone(all.choose(0, &[], &Health::default()).unwrap());
        assert!(!Arc::ptr_eq(&second, &first));
        assert!(first.counts().is_resting);
        assert!(all.choose(0, &[second], &health).is_none());
        first.reached();
        assert!(Arc::ptr_eq(all.choose(0, &[], &Health::default()).unwrap(), &first));
    }

    #[test]
    fn one_that_does_not_answer_is_the_last_and_never_nobody() {
        let health = resting_after(2);
        let all = upstreams(2);
        let chosen = |turn| Arc::clone(all.choose(turn, &[], &Health::default()).unwrap());
        let (first, second) = (chosen(0), chosen(1));
        first.unanswering(&health);
        assert!(Arc::ptr_eq(&chosen(0), &first), "once is no row");
        first.unanswering(&health);
        let _busy = [second.begin(u64::MAX), second.begin(u64::MAX)];
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
        let health = resting_after(1);
        all.choose(0, &[], &health).unwrap().unreachable(&health);
        assert!(all.choose(0, &[], &health).is_some());
    }

    #[test]
    fn after_its_rest_one_request_tries_it() {
        let all = upstreams(2);
        let chosen = |health: &Health| Arc::clone(all.choose(0, &[], health).unwrap());
        let short = Health { failures: 1, rest: Duration::ZERO, ..Health::default() };
        let first = chosen(&short);
        for fails in [Upstream::unreachable, Upstream::unanswering] {
            fails(&first, &short);
            // Its rest is over already.
            assert!(Arc::ptr_eq(&chosen(&resting_after(1)), &first), "the trial");
            for _ in 0..3 {
                assert!(!Arc::ptr_eq(&chosen(&resting_after(1)), &first), "the others wait for it");
            }
            first.answered();
            assert!(Arc::ptr_eq(&chosen(&short), &first));
        }
    }

    #[test]
    fn one_that_is_not_well_is_asked_nothing_until_it_is() {
        let (all, health) = (upstreams(2), resting_after(2));
        let chosen = || Arc::clone(all.choose(0, &[], &health).unwrap());
        let first = chosen();
        first.is_unwell(&health);
        assert!(Arc::ptr_eq(&chosen(), &first), "once is no row");
        first.is_unwell(&health);
        assert!(!Arc::ptr_eq(&chosen(), &first));
        assert!(first.counts().is_resting);
        first.reached();
        first.answered();
        assert!(!Arc::ptr_eq(&chosen(), &first), "only a check ends it");
        first.is_well();
        assert!(Arc::ptr_eq(&chosen(), &first));
        assert!(first.check_is_due(&health));
        assert!(!first.check_is_due(&health), "the next is for later, and for one thread");
    }
}
