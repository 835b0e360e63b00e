//! One bucket of the engine, and beside it what exact arithmetic says is in it.

use std::time::Duration;

use super::common::model::Model;
use super::common::{SECOND, nanos, ns};
use super::journal::{Call, Journal};
use super::range::Range;
use super::subject::{At, SKEW, call};
use tollgate::{Algorithm, Decision, Inheritance, Limit, Reservation, Verdict};

/// Where the limiter's unit divides a nanosecond, answers must be equal to `low`'s. Elsewhere it may round `now` down by
/// less than a nanosecond, which can admit a request that much early and never late (P1): they must lie between the two.
#[derive(Debug, Clone)]
pub(crate) struct Track<'a> {
    pub(crate) at: At<'a>,
    pub(crate) t: u64,
    range: Range,
    /// No more than what is there.
    low: Model,
    /// No less than what is there: by a clock that never went back (P7).
    high: Model,
    /// How far `high` is ahead of the clock.
    offset: i128,
    /// How early, in nanoseconds, the engine may be.
    early: i128,
    /// Whether the quota is held to the last digit.
    exact: bool,
    /// Whether the two models agree, and how often they have been made to.
    synced: bool,
    syncs: u64,
    /// Whether something has happened that makes the two incomparable.
    changed: bool,
    /// Whether a reservation or a charge was the last to take.
    in_debt: bool,
    skew: i128,
}

/// A reservation, and what the models need to cancel it.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    reservation: Reservation<'a>,
    low: i128,
    high: i128,
    /// The models have agreed so often before.
    syncs: u64,
}

impl<'a> Track<'a> {
    /// A bucket that nobody has touched. `leak` is for [`Model::in_parts`].
    pub(crate) fn new(at: At<'a>, start: u64, leak: i128) -> Self {
        let (quota, units) = (*at.limit.quota(), at.limit.units_per_second());
        let model = Model::in_parts(quota, leak);
        Self {
            at,
            t: start,
            range: Range::new(start, units),
            high: model.clone(),
            low: model,
            offset: 0,
            early: i128::from(!units.is_multiple_of(SECOND)),
            exact: at.limit.effective_rate().is_exact(),
            synced: true,
            syncs: 0,
            changed: false,
            in_debt: false,
            skew: SKEW.into(),
        }
    }

    pub(crate) fn with_skew(self, skew: u64) -> Self {
        Self { skew: skew.into(), ..self }
    }

    pub(crate) const fn range(&self) -> &Range {
        &self.range
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.at.limit.quota().algorithm()
    }

    fn is_counted(&self) -> bool {
        matches!(self.algorithm(), Algorithm::FixedWindow | Algorithm::SlidingWindow)
    }

    /// Whether the windows of the engine begin elsewhere.
    pub(crate) fn is_off_grid(&self) -> bool {
        !self.exact && self.is_counted()
    }

    pub(crate) const fn is_whole(&self) -> bool {
        self.exact && self.early == 0
    }

    /// Whether answers are known to the last digit. Which entries a log has forgotten is not, and it matters if the clock
    /// goes back to when they counted.
    fn is_equal(&self) -> bool {
        self.is_whole() && (self.synced || self.algorithm() != Algorithm::SlidingLog)
    }

    pub(crate) fn limit(&self) -> u64 {
        u64::try_from(self.low.limit()).expect("a count")
    }

    /// Now, as far as the limiter can tell.
    fn now(&self) -> i128 {
        self.range.nearest(self.t)
    }

    fn high_now(&self) -> i128 {
        self.now() + self.offset
    }

    /// At least this much is there.
    pub(crate) fn at_least(&self) -> i128 {
        if self.exact { self.low.available(self.now()) } else { 0 }
    }

    /// At most this much is there.
    pub(crate) fn at_most(&self) -> i128 {
        if self.is_off_grid() {
            return self.high.limit();
        }
        let high = self.high.available(self.high_now() + self.early);
        if !self.is_equal() {
            return high;
        }
        let low = self.low.available(self.now());
        // Windows are not followed back.
        assert!(low <= high || self.is_counted() || self.changed, "P7: {low} there, {high} without steps back");
        low
    }

    /// Sets the clock.
    pub(crate) fn set(&mut self, t: u64) {
        self.t = t;
        self.at.subject.clock().set(ns(t));
        if let Some(now) = &mut self.at.now {
            *now = t;
        }
    }

    /// The clock moves. After a step back the balance must not be higher than it was (P7).
    pub(crate) fn go(&mut self, to: u64, journal: &mut Journal) {
        let (from, was) = (self.t, self.now());
        let before = if to < from { call!(self.at, peek()).remaining() } else { u64::MAX };
        self.set(to);
        if to < from {
            let after = call!(self.at, peek()).remaining();
            assert!(after <= before, "P7: {after} left after a step back, {before} before it");
            self.offset += was - self.now();
            self.synced = false;
            if self.low.is_emptied() {
                self.reset(journal);
            }
        } else if !self.synced && self.low.is_full(self.now()) && self.high.is_full(self.high_now()) {
            self.resync();
        }
    }

    fn resync(&mut self) {
        self.high = self.low.clone();
        (self.offset, self.synced) = (0, true);
        self.syncs += 1;
    }

    pub(crate) fn take(&mut self, cost: u64) {
        let (now, high_now) = (self.now(), self.high_now());
        self.low.take(now, cost);
        self.high.take(high_now, cost);
    }

    /// The engine has refused and, if the bucket owed more than it can, has mended that.
    pub(crate) fn mend(&mut self) {
        if self.is_equal() {
            self.low.mend(self.now(), self.skew);
        } else if !self.synced {
            self.low.mend_at_most(self.now(), self.skew + self.early, self.in_debt);
        }
    }

    pub(crate) fn check(&mut self, cost: u64, journal: &mut Journal) -> Decision<'a> {
        let decision = if cost == 1 { call!(self.at, check()) } else { call!(self.at, check_n(cost)) };
        journal.call(if cost == 1 { Call::Check } else { Call::CheckN }, self.t, cost);
        self.judge(cost, &decision, journal);
        self.took(cost, &decision);
        self.figures(cost, &decision, journal);
        decision
    }

    pub(crate) fn peek(&self, cost: u64, journal: &mut Journal) -> Decision<'a> {
        let decision = if cost == 1 { call!(self.at, peek()) } else { call!(self.at, peek_n(cost)) };
        journal.call(if cost == 1 { Call::Peek } else { Call::PeekN }, self.t, cost);
        self.judge(cost, &decision, journal);
        self.figures(cost, &decision, journal);
        decision
    }

    pub(crate) fn took(&mut self, cost: u64, decision: &Decision<'_>) {
        match decision.verdict() {
            Verdict::Allowed => {
                self.take(cost);
                self.in_debt &= cost == 0;
            }
            Verdict::Refused => self.mend(),
            _ => {}
        }
    }

    /// What must hold of every verdict, before it is counted.
    pub(crate) fn judge(&self, cost: u64, decision: &Decision<'_>, journal: &mut Journal) {
        journal.decision(decision);
        journal.tally.exact += u64::from(self.is_equal());
        let limit = self.limit();
        assert_eq!((decision.limit(), decision.at()), (limit, ns(self.t)));
        if cost > limit {
            assert_eq!(decision.verdict(), Verdict::NeverFits, "{cost} of {limit}");
            return;
        }
        assert!(!decision.never_fits(), "{cost} of {limit}");
        let (least, most) = (self.at_least(), self.at_most());
        let admitted = decision.is_allowed();
        assert!(admitted || cost > 0 && i128::from(cost) > least, "P1, withheld: {cost}, {least} there");
        assert!(!admitted || cost == 0 || i128::from(cost) <= most, "P1, too much: {cost}, {most} there");
    }

    /// P10: the figures of a decision that has been counted are those of exact arithmetic.
    pub(crate) fn told(&self, cost: u64, decision: &Decision<'_>) {
        let (remaining, reset) = (decision.remaining(), i128::from(nanos(decision.reset_after())));
        let bounds = self.at_least()..=self.at_most();
        assert!(bounds.contains(&remaining.into()), "{remaining} remaining, {bounds:?} there");
        assert_eq!(decision.retry_after().is_some(), decision.is_refused());
        if !self.exact {
            return;
        }
        let check = |told: i128, when: &dyn Fn(&Model, i128) -> i128, what: &str| {
            let (now, high_now) = (self.now(), self.high_now());
            let latest = when(&self.low, now) - now;
            if self.is_equal() {
                assert_eq!(told, latest, "{what}");
            } else {
                let bounds = (when(&self.high, high_now) - high_now - self.early).max(0)..=latest;
                assert!(bounds.contains(&told), "{what}: {told}, not in {bounds:?}");
            }
        };
        if let Some(retry) = decision.retry_after() {
            check(nanos(retry).into(), &|model, t| model.when(t, cost.into()), "retry after");
        }
        check(reset, &Model::when_full, "reset after");
    }

    /// P2 and P10: the figures are true, by themselves and of the model.
    fn figures(&self, cost: u64, decision: &Decision<'_>, journal: &mut Journal) {
        self.told(cost, decision);
        // Outside its range a limiter's clock stands still.
        let later = |after: u64| {
            let t = self.t.checked_add(after).filter(|&t| self.range.contains(self.t) && self.range.contains(t))?;
            self.at.subject.clock().set(ns(t));
            Some(At { now: self.at.now.map(|_| t), ..self.at })
        };
        if let Some(retry) = decision.retry_after().map(nanos) {
            assert!(retry > 0);
            if let Some(at) = later(retry) {
                journal.tally.probes += 1;
                assert!(call!(at, peek_n(cost)).is_allowed(), "P2: refused {cost} after {retry} ns");
                let at = later(retry - 1).expect("earlier than that");
                assert!(!call!(at, peek_n(cost)).is_allowed(), "P2: admitted {cost} before {retry} ns");
            }
        }
        let (limit, reset) = (decision.limit(), nanos(decision.reset_after()));
        if let Some(at) = later(reset) {
            journal.tally.probes += 1;
            assert_eq!(call!(at, peek()).remaining(), limit, "P10: not full after {reset} ns");
            if reset > 0 && limit > 0 {
                let at = later(reset - 1).expect("earlier than that");
                assert!(call!(at, peek()).remaining() < limit, "P10: full before {reset} ns");
            }
        }
        self.at.subject.clock().set(ns(self.t));
    }

    pub(crate) fn take_up_to(&mut self, cost: u64, journal: &mut Journal) {
        let taken = call!(self.at, take_up_to(cost));
        journal.call(Call::TakeUpTo, self.t, cost);
        journal.answer(taken);
        let most = self.at_most().min(cost.into());
        let least = self.at_least().min(cost.into());
        assert!((least..=most).contains(&taken.into()), "{taken} taken, {least} to {most}");
        self.take(taken);
        self.in_debt &= taken == 0;
        // A log that gave less than was asked has refused, and so has any other that gave nothing.
        if if self.algorithm() == Algorithm::SlidingLog { taken < cost } else { taken == 0 } {
            self.mend();
        }
    }

    pub(crate) fn refund(&mut self, cost: u64, journal: &mut Journal) {
        // What was never taken comes back longer than it was, if a token is rounded up.
        if !self.exact {
            return;
        }
        call!(self.at, refund(cost));
        journal.call(Call::Refund, self.t, cost);
        let (now, high_now) = (self.now(), self.high_now());
        self.low.refund(now, cost);
        self.high.refund(high_now, cost);
    }

    pub(crate) fn reset(&mut self, journal: &mut Journal) {
        call!(self.at, reset());
        journal.call(Call::Reset, self.t, 0);
        self.low.reset(self.now());
        self.resync();
    }

    pub(crate) fn charge(&mut self, cost: u64, journal: &mut Journal) {
        let charged = call!(self.at, charge(cost));
        journal.call(Call::Charge, self.t, cost);
        journal.answer(charged);
        let least = if self.exact { self.low.chargeable(self.now(), cost, -self.early) } else { 0 };
        let most = match () {
            () if self.is_equal() => least,
            () if self.is_off_grid() => self.high.limit().min(cost.into()),
            () => self.high.chargeable(self.high_now() + self.early, cost, self.early),
        };
        assert!((least..=most).contains(&charged.into()), "{charged} charged, {least} to {most}");
        self.take(charged);
        self.in_debt = true;
        if charged == 0 && self.algorithm() != Algorithm::SlidingLog {
            self.mend();
        }
    }

    /// A reservation, if it was granted, and when its request may go.
    pub(crate) fn reserve(&mut self, cost: u64, max_wait: u64, journal: &mut Journal) -> Option<(Reserved<'a>, u64)> {
        let reserved = call!(self.at, reserve(cost, Duration::from_nanos(max_wait)));
        journal.call(Call::Reserve, self.t, cost);
        journal.answer(max_wait);
        // Nothing is promised beyond the range.
        let now = self.now();
        let most_wait = self.range.nearest(self.t.saturating_add(max_wait)) - now;
        let least = self.low.reserve(now, cost, most_wait).filter(|_| self.exact);
        let most = match () {
            () if self.is_equal() => least,
            () if self.is_off_grid() => (cost <= self.limit()).then_some(0),
            () => self.high.reserve(self.high_now() + self.early, cost, most_wait + self.early),
        };
        match reserved {
            Ok(reservation) => {
                let wait = i128::from(nanos(reservation.wait()));
                journal.answer(nanos(reservation.wait()));
                assert!(most.is_some_and(|most| wait >= most), "waits {wait} ns, not {most:?}");
                assert!(least.is_none_or(|least| wait <= least), "waits {wait} ns, not {least:?}");
                assert!(wait <= max_wait.into());
                assert_eq!(reservation.go_at(), reservation.made_at() + reservation.wait());
                self.take(cost);
                self.in_debt = true;
                let (low, high) = (self.low.mark(now), self.high.mark(self.high_now()));
                let go_at = reservation.go_at().as_nanos();
                Some((Reserved { reservation, low, high, syncs: self.syncs }, go_at))
            }
            Err(decision) => {
                journal.decision(&decision);
                assert_eq!(least, None, "no reservation of {cost} in {max_wait} ns: {decision:?}");
                assert!(!decision.is_allowed());
                assert_eq!(decision.never_fits(), cost > self.limit());
                if decision.is_refused() {
                    self.mend();
                }
                None
            }
        }
    }

    pub(crate) fn cancel(&mut self, reserved: Reserved<'a>, journal: &mut Journal) {
        let Reserved { mut reservation, low, high, syncs } = reserved;
        // `high` has been `low` since.
        let high = if syncs == self.syncs { high } else { low };
        let first = match self.at.now {
            Some(now) => reservation.cancel_at(ns(now)),
            None => reservation.cancel(),
        };
        assert!(first && !reservation.cancel(), "a second time does nothing");
        journal.call(Call::Cancel, self.t, reservation.cost());
        if self.is_equal() {
            let (now, high_now) = (self.now(), self.high_now());
            self.low.cancel(now, reservation.cost(), low);
            self.high.cancel(high_now, reservation.cost(), high);
            // What has been paid for cannot be known of a clock that has gone back.
            self.changed |= !self.synced;
        } else {
            self.reset(journal);
        }
    }

    /// The next calls decide by another quota on the same bucket.
    pub(crate) fn switch(&mut self, to: &'a Limit, journal: &mut Journal) {
        self.low.switch(*to.quota());
        self.become_limit(to);
        journal.call(Call::Switch, self.t, 0);
    }

    /// The bucket is rewritten for another quota.
    pub(crate) fn convert(&mut self, to: &'a Limit, how: Inheritance, journal: &mut Journal) {
        let now = self.now();
        call!(self.at, convert(to, how));
        self.low.convert(now, *to.quota(), how, i128::from(to.units_per_second() / SECOND));
        self.become_limit(to);
        journal.call(Call::Convert, self.t, 0);
    }

    fn become_limit(&mut self, to: &'a Limit) {
        assert!(self.is_whole(), "nothing else is followed from one quota to another");
        self.at.limit = to;
        self.resync();
        // A larger quota may hold more.
        self.changed = true;
    }
}
