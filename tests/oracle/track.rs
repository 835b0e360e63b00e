//! One bucket of the engine, and beside it what exact arithmetic says is in it.

use std::time::Duration;

use super::common::model::{Batch, Debit, Model};
use super::common::{SECOND, nanos, ns};
use super::journal::{Call, Journal};
use super::range::Range;
use super::subject::{At, Kind};
use tollgate::clock::Instant;
use tollgate::clock::ManualClock;
use tollgate::state::BucketState;
use tollgate::{Algorithm, Decision, Inheritance, Lease, Reservation, Verdict, WindowStart};

/// Where the limiter's unit divides a nanosecond, answers must be equal to `low`'s. Elsewhere it may round `now` down by
/// less than a nanosecond, which can admit a request that much early and never late (P1): they must lie between the two.
#[derive(Debug, Clone)]
pub(crate) struct Track<'a> {
    pub(crate) at: At<'a>,
    /// What the clock shows, and when the caller thinks it is: the same, or earlier.
    pub(crate) clock: u64,
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
    /// What other buckets of the limiter have marked, in nanoseconds: up to where they were lowered, and until when somebody
    /// waits. A mark is shared by some keys, so one of them may withhold what another could have back.
    pub(crate) others: Marks,
}

/// Instants, in nanoseconds, not before those that the engine has marked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    lowered: i128,
    promised: i128,
}

impl Marks {
    pub(crate) const NONE: Self = Self { lowered: i128::MIN, promised: i128::MIN };

    pub(crate) fn or(self, other: Self) -> Self {
        Self { lowered: self.lowered.max(other.lowered), promised: self.promised.max(other.promised) }
    }
}

/// A handle, and what it holds by the model.
#[derive(Debug)]
pub(crate) struct Handle<'a> {
    lease: Lease<'a, ManualClock>,
    held: Batch,
}

/// A reservation, and what the models need to cancel it.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    reservation: Reservation<'a>,
    low: Debit,
    high: Debit,
    /// The models have agreed so often before.
    syncs: u64,
}

impl<'a> Track<'a> {
    /// A bucket that nobody has touched. `leak` is for [`Model::in_parts`].
    pub(crate) fn new(at: At<'a>, start: u64, leak: i128) -> Self {
        let (quota, units) = (*at.limit.quota(), at.limit.units_per_second());
        let range = Range::new(start, units);
        let model = Model::in_parts(quota, leak).in_units(units, range.zero);
        // Their ends are rounded, and the model's alike.
        let is_begun = quota.window_start() == WindowStart::FirstHit;
        let exact = at.limit.effective_rate().is_exact() || is_begun;
        // Where windows of the clock are whole numbers of units, they begin and end at whole nanoseconds.
        let is_fixed = quota.algorithm() == Algorithm::FixedWindow && exact;
        Self {
            at,
            clock: start,
            t: start,
            range,
            high: model.clone(),
            low: model,
            offset: 0,
            early: i128::from(!units.is_multiple_of(SECOND) && !is_fixed),
            exact,
            synced: true,
            syncs: 0,
            changed: false,
            in_debt: false,
            others: Marks::NONE,
        }
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
    pub(crate) fn is_equal(&self) -> bool {
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
        self.at_least_at(self.now())
    }

    fn at_least_at(&self, now: i128) -> i128 {
        if self.exact { self.low.available(now) } else { 0 }
    }

    /// At most this much is there.
    pub(crate) fn at_most(&self) -> i128 {
        self.at_most_at(self.now())
    }

    fn at_most_at(&self, now: i128) -> i128 {
        if self.is_off_grid() {
            return self.high.limit();
        }
        let high = self.high.available(now + self.offset + self.early);
        if !self.is_equal() {
            return high;
        }
        let low = self.low.available(now);
        // Windows are not followed back.
        assert!(low <= high || self.is_counted() || self.changed, "P7: {low} there, {high} without steps back");
        low
    }

    /// The same bucket at another instant. The clock is left alone: the limiter would see it step back.
    fn at(&self, t: u64) -> At<'a> {
        At { now: Some(t), ..self.at }
    }

    /// Whether a caller may be late: then it is known what there was before.
    pub(crate) fn can_be_late(&self) -> bool {
        self.is_equal() && self.algorithm() != Algorithm::SlidingLog && !self.low.is_emptied()
    }

    /// The next calls are those of a caller who is late, if not of the clock's own.
    pub(crate) fn be_late(&mut self, t: u64) {
        if self.at.now.is_some() {
            self.t = t;
            self.at.now = Some(t);
        }
    }

    /// The clock moves. After a step back the balance must not be higher than it was (P7).
    pub(crate) fn go(&mut self, to: u64, journal: &mut Journal) {
        let (from, was) = (self.clock, self.range.nearest(self.clock));
        let remaining = |t| self.at(t).handle().peek().remaining();
        if to < from {
            let (before, after) = (remaining(from), remaining(to));
            assert!(after <= before, "P7: {after} left after a step back, {before} before it");
        }
        self.at.subject.set_clock(to);
        self.clock = to;
        self.t = to;
        if let Some(now) = &mut self.at.now {
            *now = to;
        }
        if to < from {
            self.offset += was - self.now();
            self.synced = false;
            if self.algorithm() == Algorithm::SlidingLog {
                // Which entries are taken back is not known to the last one.
                self.low.may_have_lowered(was + i128::from(nanos(self.at.limit.quota().period())));
            }
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

    /// What was done to `low` alone is known to be so.
    fn follow(&mut self) {
        if self.synced {
            self.high = self.low.clone();
        } else {
            self.changed = true;
        }
    }

    pub(crate) fn take(&mut self, cost: u64) {
        let (now, high_now) = (self.now(), self.high_now());
        self.low.take(now, cost);
        self.high.take(high_now, cost);
    }

    /// The engine has refused and, if the bucket owed more than it can and the clock is behind itself, has repaired that.
    pub(crate) fn repair(&mut self) {
        if !self.at.subject.is_behind() {
            return;
        }
        let later = self.range.nearest(self.at.subject.clock().max(self.t));
        if self.is_equal() {
            self.low.repair(later);
        } else if !self.synced {
            self.low.repair_at_most(later, self.early, self.in_debt);
        }
    }

    /// What this bucket has marked, for others.
    pub(crate) fn marks(&self) -> Marks {
        let (lowered, promised) = self.low.marks();
        let nanos = |parts: i128| if parts == i128::MIN { parts } else { parts.div_euclid(self.low.leak().max(1)) + 1 };
        Marks { lowered: nanos(lowered), promised: nanos(promised) }
    }

    /// Whether what `low` is now is what the engine has, as far as a look can tell.
    fn is_seen(&self, low: &Model) -> bool {
        let decision = self.at(self.clock.max(self.t)).handle().peek();
        let now = self.range.nearest(self.clock.max(self.t));
        let reset = i128::from(nanos(decision.reset_after()));
        (i128::from(decision.remaining()), now + reset) == (low.available(now), low.when_full(now))
    }

    pub(crate) fn check(&mut self, cost: u64, journal: &mut Journal) -> Decision<'a> {
        let decision = if cost == 1 { self.at.handle().check() } else { self.at.handle().check_n(cost) };
        journal.call(if cost == 1 { Call::Check } else { Call::CheckN }, self.t, cost);
        self.judge(cost, &decision, journal);
        self.took(cost, &decision);
        self.figures(cost, &decision, journal);
        decision
    }

    pub(crate) fn peek(&self, cost: u64, journal: &mut Journal) -> Decision<'a> {
        let decision = if cost == 1 { self.at.handle().peek() } else { self.at.handle().peek_n(cost) };
        journal.call(if cost == 1 { Call::Peek } else { Call::PeekN }, self.t, cost);
        self.judge(cost, &decision, journal);
        self.figures(cost, &decision, journal);
        // Of a closed limit nothing is rounded, and yet its windows need not be whole.
        if self.is_equal() && self.limit() > 0 {
            self.raw_figures();
        }
        decision
    }

    /// What is kept is what the model has.
    fn raw_figures(&self) {
        let state = self.at.handle().state().expect("a limit and a key of its own");
        let now = self.now();
        let nanos = |at: Option<Instant>| at.map(|at| i128::from(at.as_nanos()));
        match state {
            BucketState::Bucket { balance } => {
                let ((told, parts), (held, token)) = (balance.as_fraction(), self.low.balance(now));
                let whole = held.div_euclid(token);
                assert_eq!(i128::from(balance.floor()), whole, "{balance:?}");
                // Less than a token each, so the products are below 2^120.
                let (told, held) = (told - whole * parts, held - whole * token);
                assert_eq!(told * token, held * parts, "{balance:?}");
            }
            BucketState::Window { count, previous_count, end } => {
                let (previous, current, until) = self.low.counts(now);
                let is_sliding = self.algorithm() == Algorithm::SlidingWindow;
                let until = until.map(|until| until.min(u64::MAX.into()));
                assert_eq!(previous_count.map(i128::from), is_sliding.then_some(previous));
                assert_eq!((i128::from(count), nanos(end)), (current, until));
            }
            BucketState::Log { count, oldest } => {
                assert_eq!((i128::from(count), nanos(oldest)), self.low.remembered(now));
            }
            _ => panic!("not known: {state:?}"),
        }
    }

    pub(crate) fn took(&mut self, cost: u64, decision: &Decision<'_>) {
        match decision.verdict() {
            Verdict::Allowed => {
                self.take(cost);
                self.in_debt &= cost == 0;
            }
            Verdict::Refused => {
                self.repair();
                self.count_refused(cost);
            }
            Verdict::NeverFits => self.count_refused(cost),
        }
    }

    /// The engine has refused, and counts that if the quota says so.
    pub(crate) fn count_refused(&mut self, cost: u64) {
        let (now, high_now) = (self.now(), self.high_now());
        self.low.count_refused(now, cost);
        self.high.count_refused(high_now, cost);
    }

    /// What must hold of every verdict, before it is counted.
    pub(crate) fn judge(&self, cost: u64, decision: &Decision<'_>, journal: &mut Journal) {
        journal.decision(decision);
        journal.tally.exact += u64::from(self.is_equal());
        let limit = self.limit();
        assert_eq!(decision.burst(), limit);
        // Repaired as of the later of the two.
        let repaired = self.at.subject.is_behind() && decision.is_refused() && decision.at() == ns(self.clock);
        assert!(decision.at() == ns(self.t) || repaired, "at {:?}, not {}", decision.at(), self.t);
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
        let at = self.range.nearest(decision.at().as_nanos());
        let bounds = self.at_least_at(at)..=self.at_most_at(at);
        assert!(bounds.contains(&remaining.into()), "{remaining} remaining, {bounds:?} there");
        assert_eq!(decision.retry_after().is_some(), decision.is_retryable());
        if !self.exact {
            return;
        }
        let check = |told: i128, when: &dyn Fn(&Model, i128) -> i128, what: &str| {
            let (now, high_now) = (at, at + self.offset);
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
        let at = decision.at().as_nanos();
        let later = |after: u64| {
            let t = at.checked_add(after).filter(|&t| self.range.contains(at) && self.range.contains(t))?;
            Some(self.at(t))
        };
        if let Some(retry) = decision.retry_after().map(nanos) {
            assert!(retry > 0);
            if let Some(at) = later(retry) {
                journal.tally.probes += 1;
                assert!(at.handle().peek_n(cost).is_allowed(), "P2: refused {cost} after {retry} ns");
                let at = later(retry - 1).expect("earlier than that");
                assert!(!at.handle().peek_n(cost).is_allowed(), "P2: admitted {cost} before {retry} ns");
            }
        }
        let (limit, reset) = (decision.burst(), nanos(decision.reset_after()));
        if let Some(at) = later(reset) {
            journal.tally.probes += 1;
            assert_eq!(at.handle().peek().remaining(), limit, "P10: not full after {reset} ns");
            if reset > 0 && limit > 0 {
                let at = later(reset - 1).expect("earlier than that");
                assert!(at.handle().peek().remaining() < limit, "P10: full before {reset} ns");
            }
        }
    }

    pub(crate) fn take_up_to(&mut self, cost: u64, journal: &mut Journal) -> u64 {
        let taken = self.at.handle().take_up_to(cost);
        journal.call(Call::TakeUpTo, self.t, cost);
        journal.answer(taken);
        let most = self.at_most().min(cost.into());
        let least = self.at_least().min(cost.into());
        assert!((least..=most).contains(&taken.into()), "{taken} taken, {least} to {most}");
        self.take(taken);
        self.in_debt &= taken == 0;
        // A log that gave less than was asked has refused, and so has any other that gave nothing.
        if if self.algorithm() == Algorithm::SlidingLog { taken < cost } else { taken == 0 } {
            self.repair();
        }
        taken
    }

    pub(crate) fn refund(&mut self, cost: u64, journal: &mut Journal) {
        self.refund_as(cost, None, journal);
    }

    /// A refund of what was taken at an instant; of a log only where it is known which of its entries count.
    pub(crate) fn refund_of(&mut self, cost: u64, taken_at: u64, journal: &mut Journal) {
        let keyed = matches!(self.at.subject.kind, Kind::Keyed(_));
        if keyed && self.is_equal() && self.algorithm() != Algorithm::SlidingLog {
            self.refund_as(cost, Some(taken_at), journal);
        }
    }

    fn refund_as(&mut self, cost: u64, taken_at: Option<u64>, journal: &mut Journal) {
        // What was never taken comes back longer than it was, if a token is rounded up.
        if !self.exact {
            return;
        }
        match (taken_at, &self.at.subject.kind) {
            (Some(taken_at), Kind::Keyed(limiter)) => {
                let view = limiter.under(self.at.limit);
                let view = self.at.now.map_or(view, |now| view.at(ns(now)));
                view.key(self.at.key).refund_of(cost, ns(taken_at));
            }
            _ => self.at.handle().refund(cost),
        }
        journal.call(if taken_at.is_some() { Call::RefundOf } else { Call::Refund }, self.t, cost);
        let (now, high_now) = (self.now(), self.high_now());
        let others = self.others.promised.saturating_mul(self.low.leak());
        if self.is_equal() {
            let mut after = self.low.clone();
            match taken_at {
                Some(taken_at) => after.refund_of(now, cost, self.range.nearest(taken_at)),
                None => after.refund(now, cost),
            }
            // Another's promise may be taken for one of this bucket.
            if !self.low.withholds(now, others) || self.is_seen(&after) {
                self.low = after;
            } else {
                assert!(self.is_seen(&self.low), "neither refunded nor withheld");
            }
        } else if !self.low.withholds(now - self.early, i128::MAX) {
            self.low.lower(now, cost);
        }
        self.high.lower(high_now, cost);
        if self.synced && self.is_equal() {
            self.high = self.low.clone();
        }
    }

    pub(crate) fn reset(&mut self, journal: &mut Journal) {
        self.at.handle().reset();
        journal.call(Call::Reset, self.t, 0);
        self.low.reset(self.now());
        self.resync();
    }

    pub(crate) fn charge(&mut self, cost: u64, journal: &mut Journal) {
        let charged = self.at.handle().charge(cost);
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
            self.repair();
        }
    }

    /// A reservation, if it was granted, and when its request may go.
    pub(crate) fn reserve(&mut self, cost: u64, max_wait: u64, journal: &mut Journal) -> Option<(Reserved<'a>, u64)> {
        let reserved = self.at.handle().reserve(cost, Duration::from_nanos(max_wait));
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
                let high_now = self.high_now();
                let (low, high) = (self.low.reserve_at(now, cost), self.high.reserve_at(high_now, cost));
                self.in_debt = true;
                let go_at = reservation.go_at().as_nanos();
                Some((Reserved { reservation, low, high, syncs: self.syncs }, go_at))
            }
            Err(decision) => {
                journal.decision(&decision);
                assert_eq!(least, None, "no reservation of {cost} in {max_wait} ns: {decision:?}");
                assert!(!decision.is_allowed());
                assert_eq!(decision.never_fits(), cost > self.limit());
                if decision.is_retryable() {
                    self.repair();
                }
                None
            }
        }
    }

    /// Whether a request under several limits, which goes at one instant, can be followed to the last digit.
    pub(crate) fn is_followed(&self) -> bool {
        self.is_equal() && self.synced && self.algorithm() != Algorithm::SlidingWindow
    }

    /// When a part of such a request fits, in the parts of a nanosecond of the model; nothing if it never does.
    pub(crate) fn fits_at(&self, cost: u64) -> Option<i128> {
        self.low.fits_at(self.now(), cost)
    }

    /// Whether that instant is within `max_wait`, and one that the limit can promise.
    pub(crate) fn promises(&self, go: i128, cost: u64, max_wait: u64) -> bool {
        let latest = self.range.nearest(self.t.saturating_add(max_wait));
        go <= latest * self.low.leak() && (cost == 0 || self.low.promises(self.now(), go))
    }

    /// How many nanoseconds that is from now.
    pub(crate) fn wait(&self, go: i128) -> i128 {
        let leak = self.low.leak();
        (go - self.now() * leak + leak - 1).div_euclid(leak)
    }

    pub(crate) fn take_as_of(&mut self, go: i128, cost: u64) -> Debit {
        let debit = self.low.take_as_of(self.now(), go, cost);
        self.in_debt = true;
        self.follow();
        debit
    }

    pub(crate) fn cancelled(&mut self, debit: &Debit) {
        self.low.undo(self.now(), debit);
        self.follow();
    }

    pub(crate) fn cancel(&mut self, reserved: Reserved<'a>, journal: &mut Journal) {
        let Reserved { reservation, low, high, syncs } = reserved;
        // `high` has been `low` since.
        let high = if syncs == self.syncs { high } else { low };
        journal.call(Call::Cancel, self.t, reservation.cost());
        match self.at.now {
            Some(now) => reservation.cancel_at(ns(now)),
            None => reservation.cancel(),
        }
        if !self.is_equal() {
            return self.reset(journal);
        }
        let (now, high_now) = (self.now(), self.high_now());
        // The entries of a log have a mark each, those of a table.
        let others = self.others.lowered.saturating_mul(self.low.leak());
        let may_differ = match self.algorithm() {
            Algorithm::SlidingLog => low.cost > 0 && !self.low.is_last(&low, others.max(self.low.marks().0)),
            _ => self.low.is_last(&low, self.low.marks().0) && !self.low.is_last(&low, others),
        };
        let before = self.low.clone();
        self.low.undo(now, &low);
        if may_differ && !self.is_seen(&self.low) {
            if self.algorithm() == Algorithm::SlidingLog {
                return self.reset(journal);
            }
            self.low = before;
            assert!(self.is_seen(&self.low), "neither undone nor withheld");
        }
        self.high.undo(high_now, &high);
        self.follow();
    }

    /// A handle that takes up to so many at once.
    pub(crate) fn lease(&self, batch: u64) -> Handle<'a> {
        Handle { lease: self.at.handle().lease(batch), held: Batch::NONE }
    }

    /// Whether a request was admitted by a handle, and when it may try again if not.
    pub(crate) fn check_leased(&mut self, handle: &mut Handle<'a>, cost: u64, journal: &mut Journal) -> Decision<'a> {
        assert!(self.is_equal(), "what is held is known to the last digit");
        let Handle { lease, held } = handle;
        let decision = match self.at.now {
            Some(now) => lease.check_n_at(cost, ns(now)),
            None => lease.check_n(cost),
        };
        journal.call(Call::Lease, self.t, cost);
        let now = self.now();
        if cost > 0 && self.low.spend(held, now, cost) {
            journal.decision(&decision);
            assert!(decision.is_allowed(), "{cost} withheld that were held");
        } else {
            if now < held.since && self.at.subject.is_behind() {
                *held = Batch::NONE;
            }
            if cost == 0 || now < held.since || !self.low.holds_ahead() {
                self.judge(cost, &decision, journal);
                self.took(cost, &decision);
            } else {
                journal.decision(&decision);
                let fetched = self.low.fetch(held, now, cost, lease.batch());
                assert_eq!(decision.is_allowed(), fetched, "{cost} with {held:?}: {decision:?}");
                assert_eq!(decision.never_fits(), cost > self.limit());
                if fetched {
                    self.follow();
                    self.in_debt = false;
                } else {
                    if decision.is_retryable() {
                        self.repair();
                    }
                    self.count_refused(cost);
                }
            }
            // That of a refusal are those of the bucket alone.
            if decision.is_allowed() {
                self.told(cost, &decision);
            } else if decision.is_retryable() && i128::from(cost) > self.at_least() {
                self.figures(cost, &decision, journal);
            }
        }
        let clock = self.range.nearest(self.clock);
        assert_eq!(i128::from(lease.held()), self.low.held(held, clock), "{held:?} at {clock}");
        decision
    }

    /// What is held goes back, as a whole or not at all.
    pub(crate) fn give_back(&mut self, handle: &mut Handle<'a>, journal: &mut Journal) {
        handle.lease.give_back();
        journal.call(Call::GiveBack, self.clock, 0);
        if handle.held.is_none() {
            return; // it still uses nothing earlier than what it held
        }
        let held = std::mem::replace(&mut handle.held, Batch::NONE);
        let (clock, others) = (self.range.nearest(self.clock), self.others.lowered.saturating_mul(self.low.leak()));
        let before = self.low.clone();
        self.low.give_back(&held, clock);
        if self.low != before && !before.is_last_batch(&held, others) && !self.is_seen(&self.low) {
            self.low = before;
            assert!(self.is_seen(&self.low), "neither given back nor withheld");
        }
        self.follow();
    }

    /// The bucket of the same key under another limit holds no more than this one.
    pub(crate) fn convert(&self, to: &mut Self, how: Inheritance, journal: &mut Journal) {
        assert!(self.is_whole() && to.is_whole(), "nothing else is followed from one quota to another");
        match &self.at.subject.kind {
            Kind::Bucket(_) => panic!("a bucket has one limit"),
            Kind::Keyed(limiter) => {
                let view = limiter.under(self.at.limit);
                let view = self.at.now.map_or(view, |now| view.at(ns(now)));
                view.convert(self.at.key, to.at.limit, how);
            }
        }
        journal.call(Call::Convert, self.t, 0);
        let units = i128::from(to.at.limit.units_per_second() / SECOND);
        self.low.convert(self.now(), &mut to.low, how, units);
        // A reset is one with or without steps back.
        if how == Inheritance::Reset {
            to.resync()
        } else {
            to.follow()
        }
        // Carried over as what it is.
        to.in_debt = true;
    }
}
