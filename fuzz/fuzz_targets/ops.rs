//! A list of calls on a bucket or on one key of a limiter, against the exact model of its algorithm.
//!
//! As in `tests/oracle`: what a nanosecond divides into units is equal to the last figure; elsewhere the engine may be
//! less than a nanosecond early. After the clock went back it lies between two models (P7): one in which the bucket waits
//! for the clock to come back, no longer than a refill takes, and one in which the step took no time.
#![no_main]

#[path = "../../tests/common/mod.rs"]
mod common;

use std::fmt;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::{Corpus, fuzz_target};
use tollgate::{Algorithm, Bucket, Decision, Inheritance, Limit, Limiter, ManualClock, Quota, Reservation};
use tollgate_fuzz::{Scaled, Shape};

use common::model::Model;
use common::{SECOND, YEAR, keeps_its_promise, nanos, ns};

#[derive(Arbitrary)]
struct Input {
    shape: Shape,
    /// Announced with it, so that not every time base is made for one quota alone; and converted to in the end.
    other: Option<Shape>,
    start: Scaled,
    keyed: bool,
    /// Time comes from the clock, not from the caller.
    own_clock: bool,
    steps: Vec<(Move, Call)>,
    how: u8,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shape, other, start, keyed, own_clock, steps, how } = self;
        writeln!(f, "{shape:?}\nother {other:?}, start {start:?}, keyed {keyed}, own clock {own_clock}, rule {how}")?;
        steps.iter().try_for_each(|(step, call)| writeln!(f, "    {step:?}, then {call:?}"))
    }
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Move {
    Stay,
    On(Scaled),
    Back(Scaled),
    /// To what the last decision named, give or take a nanosecond.
    ToRetry(i8),
    ToReset(i8),
    /// To the next window, give or take a nanosecond.
    ToWindow(i8),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Call {
    Check(Cost),
    Peek(Cost),
    TakeUpTo(Cost),
    Refund(Cost),
    Reset,
    Charge(Cost),
    Reserve(Cost, Scaled),
    Cancel(u8),
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Cost {
    One,
    Some(Scaled),
    /// As many as fit, and some more or less.
    Limit(i8),
}

impl Cost {
    fn of(self, limit: u64) -> u64 {
        match self {
            Self::One => 1,
            Self::Some(cost) => cost.0,
            Self::Limit(more) => limit.saturating_add_signed(more.into()),
        }
    }
}

#[derive(Debug)]
enum Subject {
    Bucket(Bucket<ManualClock>),
    Keyed(Limiter<ManualClock>),
}

/// One call on whichever it is, now.
macro_rules! call {
    ($track:expr, $limit:expr, $method:ident ( $($argument:expr),* )) => {
        match $track.subject {
            Subject::Bucket(bucket) => {
                let view = bucket.with($limit);
                if $track.own_clock { view } else { view.at(ns($track.now)) }.$method($($argument),*)
            }
            Subject::Keyed(limiter) => {
                let view = limiter.with($limit);
                if $track.own_clock { view } else { view.at(ns($track.now)) }.$method("key" $(, $argument)*)
            }
        }
    };
    ($track:expr, $method:ident ( $($argument:expr),* )) => { call!($track, $track.limit, $method($($argument),*)) };
}

impl Subject {
    fn new(keyed: bool, quota: Quota, other: Option<Quota>, start: u64) -> Option<Self> {
        let clock = ManualClock::new(ns(start));
        if !keyed {
            return Bucket::with_clock(quota, clock).ok().map(Self::Bucket);
        }
        let builder = Limiter::builder(quota).capacity(64).fixed_seed(1);
        let builder = other.into_iter().fold(builder, |builder, other| builder.expect(other));
        builder.build_with_clock(clock).ok().map(Self::Keyed)
    }

    fn limit(&self, quota: Quota) -> Option<Limit> {
        match self {
            Self::Bucket(bucket) => bucket.limit(quota).ok(),
            Self::Keyed(limiter) => limiter.limit("limit", quota).ok(),
        }
    }

    fn clock(&self) -> &ManualClock {
        match self {
            Self::Bucket(bucket) => bucket.clock(),
            Self::Keyed(limiter) => limiter.clock(),
        }
    }
}

/// What the model can follow: a log that is quick to search, and a default debt that the range does not cut.
fn followed(shape: &Shape) -> Option<Quota> {
    let quota = shape.quota()?;
    let depth = u128::from(quota.burst()) * quota.period().as_nanos() / u128::from(quota.count().max(1));
    match quota.algorithm() {
        Algorithm::SlidingLog if quota.count() > 24 => None,
        _ if quota.max_debt().is_none() && depth > YEAR.into() => None,
        _ => Some(quota),
    }
}

/// One bucket of the engine and what is known of it.
#[derive(Debug)]
struct Track<'a> {
    subject: &'a Subject,
    limit: &'a Limit,
    own_clock: bool,
    now: u64,
    /// No more than what is there: the clock itself, and no forgiveness but P7.
    low: Model,
    /// No less than what is there: a clock that never went back.
    high: Model,
    /// How far `high` is ahead of the clock.
    offset: i128,
    /// How early, in nanoseconds, the engine may be.
    early: i128,
    /// Whether the two models agree.
    synced: bool,
    /// Whether a reservation or a charge was the last to take.
    in_debt: bool,
}

impl<'a> Track<'a> {
    fn t(&self) -> i128 {
        self.now.into()
    }

    fn high_t(&self) -> i128 {
        self.t() + self.offset
    }

    fn equal(&self) -> bool {
        self.synced && self.early == 0
    }

    /// At least and at most this much is there.
    fn there(&self) -> (i128, i128) {
        (self.low.available(self.t()), self.high.available(self.high_t() + self.early))
    }

    fn set(&mut self, now: u64) {
        self.now = now;
        self.subject.clock().set(ns(now));
    }

    /// The clock moves. After a step back there is no more than before (P7).
    fn go(&mut self, to: u64) {
        let from = self.now;
        let before = call!(self, peek()).remaining();
        self.set(to);
        if to < from {
            assert!(call!(self, peek()).remaining() <= before, "P7: more than the {before} before the step back");
            self.offset += i128::from(from - to);
            self.synced = false;
        } else if !self.synced && self.low.is_full(self.t()) && self.high.is_full(self.high_t()) {
            self.resync();
        }
    }

    fn resync(&mut self) {
        (self.high, self.offset, self.synced) = (self.low.clone(), 0, true);
    }

    fn take(&mut self, cost: u64, in_debt: bool) {
        let (t, high_t) = (self.t(), self.high_t());
        self.low.take(t, cost);
        self.high.take(high_t, cost);
        if cost > 0 {
            self.in_debt = in_debt;
        }
    }

    fn reset(&mut self) {
        call!(self, reset());
        let t = self.t();
        self.low.reset(t);
        self.resync();
    }

    /// What must hold of every decision, and of its figures (P2, P10). Says when to retry and when all is back.
    fn judge(&mut self, cost: u64, decision: &Decision<'_>, took: bool) -> (u64, u64) {
        let limit = decision.limit();
        assert_eq!((i128::from(limit), decision.at()), (self.low.limit(), ns(self.now)));
        assert_eq!(decision.never_fits(), cost > limit, "{cost} of {limit}");
        let (least, most) = self.there();
        let admitted = decision.is_allowed();
        assert!(admitted || i128::from(cost) > least && cost > 0, "withheld: {cost}, {least} there");
        assert!(!admitted || i128::from(cost) <= most || cost == 0, "too much: {cost}, {most} there");
        if took && admitted {
            self.take(cost, false);
        } else if took && decision.is_refused() && !self.synced {
            let t = self.t();
            self.low.mend_at_most(t, i128::from(SECOND) + self.early, self.in_debt);
        }

        let (least, most) = self.there();
        let (now, remaining, reset) = (self.now, decision.remaining(), nanos(decision.reset_after()));
        assert!((least..=most).contains(&remaining.into()), "{remaining} remaining, {least} to {most} there");
        assert_eq!(decision.retry_after().is_some(), decision.is_refused());
        let retry = decision.retry_after().map_or(0, nanos);
        if decision.is_refused() {
            assert!(retry > 0);
            self.set(now + retry);
            assert!(call!(self, peek_n(cost)).is_allowed(), "P2: refused {cost} after {retry} ns");
            self.set(now + retry - 1);
            assert!(!call!(self, peek_n(cost)).is_allowed(), "P2: admitted {cost} before {retry} ns");
        }
        self.set(now + reset);
        assert_eq!(call!(self, peek()).remaining(), limit, "P10: not full after {reset} ns");
        if reset > 0 && limit > 0 {
            self.set(now + reset - 1);
            assert!(call!(self, peek()).remaining() < limit, "P10: full before {reset} ns");
        }
        self.set(now);
        if self.equal() {
            if decision.is_refused() {
                assert_eq!(i128::from(now + retry), self.low.when(self.t(), cost.into()), "retry after");
            }
            assert_eq!(i128::from(now + reset), self.low.when_full(self.t()), "reset after");
        }
        (now + retry, now + reset)
    }

    fn charge(&mut self, cost: u64) {
        let charged = call!(self, charge(cost));
        let least = self.low.chargeable(self.t(), cost, -self.early);
        let most = self.high.chargeable(self.high_t() + self.early, cost, self.early);
        assert!((least..=most).contains(&charged.into()), "{charged} charged, {least} to {most}");
        self.take(charged, true);
    }

    /// The reservation, and where it left the level if the model knows that.
    fn reserve(&mut self, cost: u64, max_wait: u64) -> Option<(Reservation<'a>, Option<i128>)> {
        let reserved = call!(self, reserve(cost, Duration::from_nanos(max_wait)));
        let least = self.low.reserve(self.t(), cost, max_wait.into());
        let most = self.high.reserve(self.high_t() + self.early, cost, i128::from(max_wait) + self.early);
        let Ok(reservation) = reserved else {
            assert_eq!(least, None, "no reservation of {cost} in {max_wait} ns");
            return None;
        };
        let wait = i128::from(nanos(reservation.wait()));
        assert!(most.is_some_and(|most| wait >= most), "waits {wait} ns, not {most:?}");
        assert!(least.is_none_or(|least| wait <= least), "waits {wait} ns, not {least:?}");
        assert!(wait <= max_wait.into());
        self.take(cost, true);
        let mark = self.low.mark(self.t());
        Some((reservation, self.equal().then_some(mark)))
    }

    fn cancel(&mut self, mut reservation: Reservation<'_>, mark: Option<i128>) {
        let first = if self.own_clock { reservation.cancel() } else { reservation.cancel_at(ns(self.now)) };
        assert!(first && !reservation.cancel(), "a second time does nothing");
        let t = self.t();
        match mark.filter(|_| self.equal()) {
            Some(mark) => {
                self.low.cancel(t, reservation.cost(), mark);
                self.high = self.low.clone();
            }
            None => self.reset(),
        }
    }

    /// The key changes its quota: the tokens it has then are those that the rule says.
    fn convert(&mut self, new: &Limit, how: Inheritance) {
        if self.limit.quota().count() == 0 || new.quota().count() == 0 {
            return; // the model has no parts of a token then
        }
        if self.early > 0 {
            return; // what is left of a unit is between two nanoseconds
        }
        let t = self.t();
        self.low.convert(t, *new.quota(), how, i128::from(new.units_per_second() / SECOND));
        call!(self, convert(new, how));
        assert_eq!(i128::from(call!(self, new, peek()).remaining()), self.low.available(t), "after {how:?}");
    }
}

fuzz_target!(|input: Input| -> Corpus {
    let start = input.start.0 % (30 * YEAR);
    let Some(quota) = followed(&input.shape) else { return Corpus::Reject };
    let other = input.other.as_ref().and_then(followed);
    let Some(subject) = Subject::new(input.keyed, quota, other, start) else { return Corpus::Reject };
    let Some(limit) = subject.limit(quota) else { return Corpus::Reject };
    // A rate that fits no base is another quota than the model's; `tests/oracle` knows bounds for it.
    if !limit.effective_rate().is_exact() {
        return Corpus::Reject;
    }
    // Parts of a token in which both quotas, and the limiter's units, are whole.
    let units = limit.units_per_second() / SECOND;
    let leak = other.map_or(1, |other| other.count().max(1)).checked_mul(quota.count().max(1));
    let leak = leak.and_then(|leak| leak.checked_mul(units));
    let Some(leak) = leak.filter(|leak| *leak < 1 << 50) else { return Corpus::Reject };
    let mut track = Track {
        subject: &subject,
        limit: &limit,
        own_clock: input.own_clock,
        now: start,
        low: Model::in_parts(quota, leak.into()),
        high: Model::in_parts(quota, leak.into()),
        offset: 0,
        early: i128::from(!limit.units_per_second().is_multiple_of(SECOND)),
        synced: true,
        in_debt: false,
    };
    let follows_back = !matches!(quota.algorithm(), Algorithm::FixedWindow | Algorithm::SlidingWindow);
    let period = nanos(quota.period());
    let (mut retry, mut reset, mut latest) = (start, start, start);
    let mut reservations = Vec::new();
    // What was admitted while there were only checks, on a clock that never went back: then P1 judges it as a whole.
    let (mut history, mut checks_only) = (Vec::new(), true);
    for (step, call) in input.steps.into_iter().take(100) {
        let now = track.now;
        let to = match step {
            Move::Stay => now,
            Move::On(nanos) => now.saturating_add(nanos.0),
            // A limiter's range begins a year before its start, and the model remembers as much.
            Move::Back(nanos) if follows_back => {
                now - nanos.0.min(now.saturating_sub(start.max(latest).saturating_sub(YEAR)))
            }
            Move::Back(_) => now,
            Move::ToRetry(more) => retry.saturating_add_signed(more.clamp(-1, 1).into()).max(now),
            Move::ToReset(more) => reset.saturating_add_signed(more.clamp(-1, 1).into()).max(now),
            Move::ToWindow(more) => ((now / period + 1) * period).saturating_add_signed(more.clamp(-1, 1).into()),
        };
        // The range of a limiter is ten years, and a refill may take a quarter of its whole.
        if to > start + 5 * YEAR {
            break;
        }
        checks_only &= to >= now && matches!(call, Call::Check(_) | Call::Peek(_) | Call::TakeUpTo(_));
        track.go(to);
        latest = latest.max(to);
        let most = u64::try_from(track.low.limit()).unwrap();
        match call {
            Call::Check(cost) => {
                let cost = cost.of(most);
                let decision = call!(track, check_n(cost));
                (retry, reset) = track.judge(cost, &decision, true);
                history.extend((decision.is_allowed() && cost > 0).then_some((to, cost)));
            }
            Call::Peek(cost) => {
                let cost = cost.of(most);
                let decision = call!(track, peek_n(cost));
                (retry, reset) = track.judge(cost, &decision, false);
            }
            Call::TakeUpTo(cost) => {
                let cost = cost.of(most);
                let (least, most) = track.there();
                let (least, most) = (least.min(cost.into()), most.min(cost.into()));
                let taken = call!(track, take_up_to(cost));
                assert!((least..=most).contains(&taken.into()), "{taken} taken, {least} to {most} there");
                track.take(taken, false);
                history.extend((taken > 0).then_some((to, taken)));
            }
            Call::Refund(cost) => {
                let cost = cost.of(most);
                call!(track, refund(cost));
                let (t, high_t) = (track.t(), track.high_t());
                track.low.refund(t, cost);
                track.high.refund(high_t, cost);
            }
            Call::Reset => track.reset(),
            Call::Charge(cost) => track.charge(cost.of(most)),
            Call::Reserve(cost, max_wait) => {
                reservations.extend(track.reserve(cost.of(most), max_wait.0.min(YEAR)));
            }
            Call::Cancel(index) if !reservations.is_empty() => {
                let (reservation, mark) = reservations.swap_remove(usize::from(index) % reservations.len());
                track.cancel(reservation, mark);
            }
            Call::Cancel(_) => {}
        }
    }
    if checks_only {
        // A queue without room to wait still lets one through.
        let limit = u64::try_from(track.low.limit()).unwrap();
        keeps_its_promise(&mut history, &quota.with_burst(limit));
    }
    if let Some(new) =
        other.and_then(|other| subject.limit(other)).filter(|new| track.equal() && new.effective_rate().is_exact())
    {
        const RULES: [Inheritance; 4] =
            [Inheritance::AsIs, Inheritance::Proportional, Inheritance::Additive, Inheritance::Reset];
        track.convert(&new, RULES[usize::from(input.how) % RULES.len()]);
    }
    Corpus::Keep
});
