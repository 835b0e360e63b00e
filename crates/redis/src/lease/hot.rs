//! A key that is asked for often: what this node holds of it, what it knows, and who is asking.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tollgate::{Report, Verdict};

use crate::lease::anchor::Anchor;
use crate::lease::plan::Plan;
use crate::lease::word::Word;
use crate::limit::FleetLimit;
use crate::rule::{Evidence, Rule};
use crate::secret::Subject;

/// What this node holds of a key under a limit, and what it knows of it.
#[derive(Debug)]
pub(crate) struct Hot {
    pub(crate) subject: Subject,
    pub(crate) limit: FleetLimit,
    /// Of which step of the servers' clocks it is.
    pub(crate) epoch: u64,
    /// Two stretches: while one is spent, the next comes into the place of the other. They are never made one.
    words: [Word; 2],
    known: ArcSwapOption<Known>,
    is_asking: AtomicBool,
    pub(crate) answered: Notify,
    /// Of the last answer: when, and how many tokens were held then.
    asked_at: AtomicU64,
    held: AtomicU64,
    /// How many tokens to ask for, and at how few to do so before they are gone.
    want: AtomicU64,
    low: AtomicU64,
}

/// What the last answer said.
#[derive(Debug)]
struct Known {
    evidence: Evidence,
    anchor: Anchor,
    /// Until then it is certain that the server's clock is not past the stamp, or the end of the window.
    until: u64,
    /// Of a key that is saturated: such a cost, or a larger one, is not asked for again before a pause.
    paused: Option<u64>,
}

/// What can be said without a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Here {
    /// Taken from what is held. Whether it is time for more.
    Allowed { report: Report, is_low: bool },
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
}

impl Hot {
    pub(crate) fn new(subject: Subject, limit: FleetLimit, epoch: u64, now: u64) -> Self {
        Self {
            subject,
            limit,
            epoch,
            words: [Word::new(), Word::new()],
            known: ArcSwapOption::empty(),
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

    pub(crate) fn held(&self, now: u64, plan: &Plan) -> u64 {
        self.words.iter().map(|word| word.left(now, plan.token).0).sum()
    }

    /// Decides here what can be. `fresh` is how old what is known may be, in nanoseconds.
    pub(crate) fn here(&self, now: u64, cost: u64, plan: &Plan, fresh: u64) -> Here {
        let [first, second] = &self.words;
        // What ends first goes first, so that less lapses.
        let (first, second) = if first.end() <= second.end() { (first, second) } else { (second, first) };
        if let Some((left, end)) = first.take(now, cost, plan.token) {
            let (other, other_end) = second.left(now, plan.token);
            return self.allowed(now, left + other, end.max(other_end), other == 0);
        }
        if let Some((left, end)) = second.take(now, cost, plan.token) {
            let (other, _) = first.left(now, plan.token);
            return self.allowed(now, left + other, end, other == 0);
        }
        let known = self.known.load();
        match known.as_deref().and_then(|known| self.refused(known, now, cost, plan, fresh)) {
            Some(report) => Here::Refused { report },
            None => Here::Ask,
        }
    }

    /// What `here` would say, taking nothing.
    pub(crate) fn peek(&self, now: u64, cost: u64, plan: &Plan, fresh: u64) -> Here {
        let lefts = [&self.words[0], &self.words[1]].map(|word| word.left(now, plan.token));
        if lefts.iter().any(|&(left, _)| left >= cost) {
            return self.allowed(now, lefts[0].0 + lefts[1].0, lefts[0].1.max(lefts[1].1), false);
        }
        let known = self.known.load();
        match known.as_deref().and_then(|known| self.refused(known, now, cost, plan, fresh)) {
            Some(report) => Here::Refused { report },
            None => Here::Ask,
        }
    }

    fn allowed(&self, now: u64, left: u64, end: u64, has_place: bool) -> Here {
        let report = Report {
            verdict: Verdict::Allowed,
            burst: self.rule().most(),
            remaining: left,
            retry_after: None,
            reset_after: Duration::from_nanos(end.saturating_sub(now)),
        };
        let is_low = has_place && left <= self.low.load(Ordering::Relaxed);
        Here::Allowed { report, is_low: is_low && !self.is_paused(now) }
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
        let was_saturated = self.known.load().as_ref().is_some_and(|known| known.paused.is_some());
        let is_saturated = !grant.fits || (was_saturated && remaining < plan.most);
        let paused = is_saturated.then_some(grant.cost.max(1));
        let known = Known { evidence: grant.evidence.clone(), anchor: grant.own, until: end, paused };
        self.known.store(Some(Arc::new(known)));
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
        self.known.store(None);
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
