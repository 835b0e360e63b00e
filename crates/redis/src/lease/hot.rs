//! A key that is asked for often: what this node holds of it, what it knows, and who is asking.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tollgate::Report;

use crate::lease::anchor::Anchor;
use crate::lease::plan::Plan;
use crate::lease::word::{Taken, Word};
use crate::limit::FleetLimit;
use crate::rule::{Evidence, Rule};
use crate::secret::Subject;

/// What this node holds of a key under a limit, and what it knows of it.
#[derive(Debug)]
pub(crate) struct Hot {
    pub(crate) subject: Subject,
    pub(crate) limit: FleetLimit,
    /// Of the subject and the limit.
    pub(crate) hash: u64,
    /// Of which fleet, and of which step of the servers' clocks it is.
    steps: Arc<Steps>,
    epoch: u64,
    /// Whether another key has its place: it is not told what is given back here, so nobody is to go by it.
    is_gone: AtomicBool,
    /// Two stretches: while one is spent, the next comes into the place of the other. They are never made one.
    words: [Word; 2],
    known: ArcSwapOption<Known>,
    /// How often somebody here has given back: an answer that was under way meanwhile tells of before.
    returns: AtomicU64,
    is_asking: AtomicBool,
    pub(crate) answered: Notify,
    /// Of the last answer: when, and how many tokens were held then.
    asked_at: AtomicU64,
    held: AtomicU64,
    /// How many tokens to ask for, and at how few to do so before they are gone.
    want: AtomicU64,
    low: AtomicU64,
}

/// Steps of the servers' clocks that a fleet has seen: after each of them nothing holds any more.
#[derive(Debug, Default)]
pub(crate) struct Steps(AtomicU64);

impl Steps {
    /// A server's clock has stepped.
    pub(crate) fn step(&self) {
        // Relaxed, with every load: whoever reads it a moment too early has asked before the step was seen. No model.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn seen(&self) -> u64 {
        // Relaxed: as `step`.
        self.0.load(Ordering::Relaxed)
    }
}

/// What the last answer said.
#[derive(Debug)]
struct Known {
    evidence: Evidence,
    anchor: Anchor,
    /// By which connection it came.
    link: u64,
    /// Until then it is certain that the server's clock is not past the stamp, or the end of the window.
    until: u64,
    /// Of a key that is saturated: such a cost, or a larger one, is not asked for again before a pause.
    paused: Option<u64>,
}

/// What can be said without a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Here {
    /// From what is held.
    Allowed { report: Report },
    /// No server would admit it now, or one that has just refused is not asked again yet.
    Refused { report: Report },
    /// Somebody has to ask.
    Ask,
}

/// An answer, with what was granted in advance.
#[derive(Debug)]
pub(crate) struct Grant<'a> {
    /// This answer's own.
    pub(crate) own: Anchor,
    /// The best of that server.
    pub(crate) best: Anchor,
    pub(crate) fits: bool,
    pub(crate) cost: u64,
    pub(crate) evidence: &'a Evidence,
    pub(crate) tokens: u64,
    /// The number of the connection that it was asked for by; 0 if it may have come by another.
    pub(crate) link: u64,
    /// [`Hot::returns`] when it was asked for.
    pub(crate) returns: u64,
}

impl Hot {
    pub(crate) fn new(subject: Subject, limit: FleetLimit, steps: &Arc<Steps>, now: u64) -> Self {
        Self {
            hash: subject.hash() ^ limit.hash(),
            subject,
            limit,
            steps: Arc::clone(steps),
            epoch: steps.seen(),
            is_gone: AtomicBool::new(false),
            words: [Word::new(), Word::new()],
            known: ArcSwapOption::empty(),
            returns: AtomicU64::new(0),
            is_asking: AtomicBool::new(false),
            answered: Notify::new(),
            asked_at: AtomicU64::new(now),
            held: AtomicU64::new(0),
            want: AtomicU64::new(1),
            low: AtomicU64::new(0),
        }
    }

    fn rule(&self) -> &Rule {
        &self.limit.0.rule
    }

    /// Whether it is of this fleet and limit, and no clock has stepped since.
    #[inline]
    pub(crate) fn is_of(&self, limit: &FleetLimit, steps: &Arc<Steps>) -> bool {
        let is_limit = Arc::ptr_eq(&self.limit.0, &limit.0) || self.limit.is_same(limit);
        // Relaxed, with the store in `leave`: whoever reads it a moment too early has asked before. No model.
        let is_gone = self.is_gone.load(Ordering::Relaxed);
        is_limit && Arc::ptr_eq(&self.steps, steps) && self.epoch == steps.seen() && !is_gone
    }

    /// Its place is another key's from now on.
    pub(crate) fn leave(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }

    /// Whether all that it holds has lapsed by a step.
    pub(crate) fn is_past(&self) -> bool {
        self.epoch != self.steps.seen()
    }

    /// When somebody last asked for it.
    pub(crate) fn asked_at(&self) -> u64 {
        // Relaxed, with every access of this, `held`, `want` and `low`: guesses at how much to take, each by itself; whatever they
        // say, what is taken is paid for. No model.
        self.asked_at.load(Ordering::Relaxed)
    }

    /// How many tokens to ask for.
    pub(crate) fn want(&self) -> u64 {
        self.want.load(Ordering::Relaxed)
    }

    /// What was said by another connection than this one, and by none since: the server at the end of this one may have lost it. A
    /// stamp only rises but by what is given back, so that it counts if it is the later one.
    pub(crate) fn seen_before(&self, link: u64) -> Option<Evidence> {
        let known = self.known.load();
        known.as_deref().filter(|known| known.link != link).map(|known| known.evidence.clone())
    }

    pub(crate) fn held(&self, now: u64, plan: &Plan) -> u64 {
        self.words.iter().map(|word| word.left(now, plan.token).0).sum()
    }

    /// Takes what is held, and is enough.
    #[inline]
    pub(crate) fn take(&self, now: u64, cost: u64, plan: &Plan) -> Option<Taken> {
        Word::take_of(&self.words, now, cost, plan.token)
    }

    /// Whether it is time for more than so much.
    #[inline]
    pub(crate) fn is_low(&self, taken: Taken, now: u64) -> bool {
        taken.is_last && taken.left <= self.low.load(Ordering::Relaxed) && !self.is_paused(now)
    }

    /// The refusal, if what is known of it says so; `fresh` is how old that may be, in nanoseconds.
    pub(crate) fn refusal(&self, now: u64, cost: u64, plan: &Plan, fresh: u64) -> Option<Report> {
        let known = self.known.load();
        known.as_deref().and_then(|known| self.refused(known, now, cost, plan, fresh))
    }

    /// Decides here what can be.
    #[cfg(test)]
    pub(crate) fn here(&self, now: u64, cost: u64, plan: &Plan, fresh: u64) -> Here {
        if let Some(taken) = self.take(now, cost, plan) {
            return Here::Allowed { report: plan.allowed(now, taken.left, taken.end) };
        }
        self.refusal(now, cost, plan, fresh).map_or(Here::Ask, |report| Here::Refused { report })
    }

    /// What could be decided here, taking nothing.
    pub(crate) fn peek(&self, now: u64, cost: u64, plan: &Plan, fresh: u64) -> Here {
        let lefts = [&self.words[0], &self.words[1]].map(|word| word.left(now, plan.token));
        if lefts.iter().any(|&(left, _)| left >= cost) {
            return Here::Allowed { report: plan.allowed(now, lefts[0].0 + lefts[1].0, lefts[0].1.max(lefts[1].1)) };
        }
        self.refusal(now, cost, plan, fresh).map_or(Here::Ask, |report| Here::Refused { report })
    }

    fn is_paused(&self, now: u64) -> bool {
        let known = self.known.load();
        let (Some(known), Some(plan)) = (known.as_deref(), self.limit.plan()) else { return false };
        known.paused.is_some() && now < known.anchor.read.saturating_add(plan.pause)
    }

    fn refused(&self, known: &Known, now: u64, cost: u64, plan: &Plan, fresh: u64) -> Option<Report> {
        let age = now.saturating_sub(known.anchor.read);
        if age > fresh {
            return None;
        }
        let pause = plan.pause.min(fresh).saturating_sub(age);
        let is_paused = pause > 0 && known.paused.is_some_and(|paused| cost >= paused);
        let ahead = known.until.saturating_sub(now);
        let is_certain = match &known.evidence {
            // The stamp only rises while nobody gives back: it will be at least as far ahead as this.
            Evidence::Stamp { .. } => self.rule().lacks(cost, ahead / 1_000),
            Evidence::Window { count, .. } => ahead > 0 && count.saturating_add(cost) > self.rule().most(),
            _ => false,
        };
        if !is_paused && !is_certain {
            return None;
        }
        // The server's clock at the earliest, so that nobody is told to come too soon.
        let mut report = self.rule().report(cost, known.anchor.low(now), false, &known.evidence);
        let waits = |wait: Duration| wait + wait / 999 + Duration::from_micros(1);
        report.retry_after = report
            .retry_after
            .map(|wait| waits(wait).max(if is_paused { Duration::from_nanos(pause) } else { Duration::ZERO }));
        Some(report)
    }

    /// Takes an answer in, for whoever had the [turn](Self::turn).
    pub(crate) fn learn(&self, grant: &Grant<'_>, plan: &Plan) {
        let now = grant.own.read;
        let left = self.held(now, plan);
        let until = |us| grant.own.until(us).max(grant.best.until(us));
        let end = match grant.evidence {
            Evidence::Stamp { stamp } => until(stamp.us),
            // It is over once its end is reached.
            Evidence::Window { end, .. } => until(end.saturating_sub(1)),
            _ => 0,
        };
        if grant.tokens > 0 {
            let _is_put = self.words.iter().any(|word| word.put(now, end, grant.tokens, plan.token));
        }
        // Saturated from a refusal on until as much is left as a node may hold: as long as there is little, asking at each request for
        // what has just come back would take a command for each; after a pause it comes at once.
        let remaining = self.rule().report(0, grant.own.server_us, true, grant.evidence).remaining;
        let was = self.known.load().as_ref().and_then(|known| known.paused);
        // From the smallest cost that was refused on: where a large one does not fit, a small one may.
        let paused = match (grant.fits, was) {
            (false, was) => Some(was.unwrap_or(u64::MAX).min(grant.cost)),
            (true, Some(was)) if remaining < plan.most => Some(was),
            (true, _) => None,
        };
        // A server that answered in the place of another has not been told what that one had said: the next question tells it.
        let before = self.known.load();
        let is_untold = |before: &&Known| grant.link == 0 && before.evidence.is_later(grant.evidence);
        let evidence = before.as_deref().filter(is_untold).map_or(grant.evidence, |before| &before.evidence).clone();
        let known = Known { evidence, anchor: grant.own, link: grant.link, until: end, paused };
        self.known.store(Some(Arc::new(known)));
        if self.returns() != grant.returns {
            // What was given back meanwhile may not be in it. Looked at after the store, so that of a return at this very
            // instant either this sees the number or that takes away what was stored.
            self.known.store(None);
        }
        // How many were used since the last answer, and so how many last for the horizon.
        let used = self.held.load(Ordering::Relaxed).saturating_sub(left).saturating_add(grant.cost);
        let took = now.saturating_sub(self.asked_at.load(Ordering::Relaxed)).max(1);
        let in_span = |span: u64| {
            let tokens = (u128::from(used) * u128::from(span)).div_ceil(u128::from(took));
            u64::try_from(tokens).unwrap_or(u64::MAX)
        };
        let way = now.saturating_sub(grant.own.sent);
        // A batch that has lapsed before it is there would be for nothing.
        let most = if plan.depth / 10 >= way { plan.most } else { 0 };
        self.want.store(in_span(plan.horizon).min(most), Ordering::Relaxed);
        self.low.store(in_span(way.saturating_mul(2)).min(most / 2), Ordering::Relaxed);
        self.held.store(left + grant.tokens, Ordering::Relaxed);
        self.asked_at.store(now, Ordering::Relaxed);
    }

    /// What is known is no longer so: somebody here gave back.
    pub(crate) fn forget(&self) {
        // SeqCst, with the load in `returns`: this adds and then takes away, `learn` stores and then looks, and one of the two must
        // see the other; the stores between are of an `ArcSwap`, which are SeqCst as well. No model: the worst is a refusal that
        // is 250 ms late.
        self.returns.fetch_add(1, Ordering::SeqCst);
        self.known.store(None);
    }

    /// How often somebody here has given back.
    pub(crate) fn returns(&self) -> u64 {
        // SeqCst: as `forget`.
        self.returns.load(Ordering::SeqCst)
    }

    /// The right to ask, if nobody else is asking.
    pub(crate) fn turn(self: &Arc<Self>) -> Option<Turn> {
        // Acquire, with the release of the one before: whoever asks next goes by what that one learnt. It is tried once, and
        // nobody waits here. No model: a flag, whose swap is one step.
        (!self.is_asking.swap(true, Ordering::Acquire)).then(|| Turn(Arc::clone(self)))
    }

    pub(crate) fn is_asking(&self) -> bool {
        // Acquire: as `turn`.
        self.is_asking.load(Ordering::Acquire)
    }

    /// Lets all that is held lapse.
    pub(crate) fn clear(&self) {
        self.words.iter().for_each(Word::clear);
        self.forget();
    }
}

/// The right to ask for a key; given up when it is dropped, and all who wait for the answer are told.
#[derive(Debug)]
pub(crate) struct Turn(Arc<Hot>);

impl Drop for Turn {
    fn drop(&mut self) {
        // Release: as `turn`.
        self.0.is_asking.store(false, Ordering::Release);
        self.0.answered.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use ahash::RandomState;

    use super::*;
    use crate::outage::OnOutage;
    use crate::secret::Secret;
    use crate::span::Span;

    const MS: u64 = 1_000_000;
    const NOW: u64 = 1_796_000_000_000_000;

    fn hot(quota: &str) -> Hot {
        let limit = FleetLimit::new("api", quota.parse().unwrap(), OnOutage::Closed, None, 4).unwrap().leased();
        let subject = Subject::new("ada", &Secret::new(b"a secret of the tests"), &RandomState::new());
        Hot::new(subject, limit, &Arc::default(), 0)
    }

    /// An answer to a request of `cost`: the bucket is full again so many microseconds later.
    fn learn(hot: &Hot, ms: u64, fits: bool, cost: u64, ahead_us: u64, returns: u64) {
        let own = Anchor { sent: ms * MS, read: ms * MS + MS, server_us: NOW + ms * 1_000 };
        let evidence = Evidence::Stamp { stamp: Span { us: own.server_us + ahead_us, parts: 0 } };
        let grant = Grant { own, best: own, fits, cost, evidence: &evidence, tokens: 0, link: 1, returns };
        hot.learn(&grant, hot.limit.plan().unwrap());
    }

    fn here(hot: &Hot, ms: u64, cost: u64) -> Here {
        hot.here(ms * MS, cost, hot.limit.plan().unwrap(), 250 * MS)
    }

    #[test]
    fn an_answer_from_before_a_return_is_not_believed() {
        let hot = hot("10/second burst 100");
        learn(&hot, 0, false, 1, 10_000_000, hot.returns());
        assert!(matches!(here(&hot, 1, 1), Here::Refused { .. }));
        // Asked for before somebody here gave back, and read after it.
        let returns = hot.returns();
        hot.forget();
        learn(&hot, 0, false, 1, 10_000_000, returns);
        assert_eq!(here(&hot, 1, 1), Here::Ask);
        learn(&hot, 2, false, 1, 10_000_000, hot.returns());
        assert!(matches!(here(&hot, 3, 1), Here::Refused { .. }));
    }

    #[test]
    fn what_was_seen_is_told_to_another_server_though_that_has_answered_already() {
        let hot = hot("10/second burst 100");
        let stamp = |ahead_us| Some(Evidence::Stamp { stamp: Span { us: NOW + ahead_us, parts: 0 } });
        let answer = |ahead_us, link| {
            let own = Anchor { sent: 0, read: MS, server_us: NOW };
            let evidence = stamp(ahead_us).unwrap();
            let grant = Grant { own, best: own, fits: true, cost: 1, evidence: &evidence, tokens: 0, link, returns: 0 };
            hot.learn(&grant, hot.limit.plan().unwrap());
        };
        answer(5_000_000, 1);
        assert_eq!((hot.seen_before(1), hot.seen_before(2)), (None, stamp(5_000_000)));
        // Sent by the first connection, and answered by the second, which has lost most of it.
        answer(200_000, 0);
        assert_eq!(hot.seen_before(2), stamp(5_000_000));
        answer(5_100_000, 2);
        assert_eq!(hot.seen_before(2), None);
        // What others gave back, as the same server says.
        answer(300_000, 2);
        assert_eq!(hot.seen_before(3), stamp(300_000));
    }

    #[test]
    fn a_large_request_that_was_refused_holds_up_no_small_one() {
        let hot = hot("10/second burst 400");
        // 20 of 400 are left; 25 are as much as a node may hold.
        learn(&hot, 0, false, 200, 38_000_000, 0);
        assert!(matches!(here(&hot, 2, 200), Here::Refused { .. }));
        assert_eq!(here(&hot, 2, 1), Here::Ask);
        learn(&hot, 2, true, 1, 38_100_000, 0);
        assert_eq!(here(&hot, 4, 1), Here::Ask);
        assert!(matches!(here(&hot, 4, 200), Here::Refused { .. }));
        // One token was refused: then all are paced.
        learn(&hot, 10, false, 1, 40_000_000, 0);
        learn(&hot, 20, false, 300, 40_000_000, 0);
        learn(&hot, 30, true, 1, 39_900_000, 0);
        assert!(matches!(here(&hot, 32, 1), Here::Refused { .. }));
        assert_eq!(here(&hot, 60, 1), Here::Ask);
    }
}
