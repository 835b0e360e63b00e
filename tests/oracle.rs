//! The engine against an exact model of every algorithm, over random calls biased to the edges.
//!
//! Where the limiter's unit divides a nanosecond, decisions and figures must be equal. Elsewhere it may round `now` down
//! by less than a nanosecond, which can admit a request that much early and never late (P1). When the clock has gone
//! back, the engine must lie between two models (P7): one in which the bucket waits for the clock to come back, no longer
//! than a refill takes, and one in which the step took no time.
//!
//! `TOLLGATE_SEED` repeats a run, `TOLLGATE_STEPS` says how many calls there are in all.

mod common;

use std::time::Duration;

use num_rational::Ratio;

use common::model::Model;
use common::{Admitted, DAY, Replay, Rng, SECOND, YEAR, keeps_its_promise, nanos, ns, setting, within_span};
use tollgate::{
    Algorithm, Bucket, Decision, Inheritance, Limit, LimitSet, Limiter, ManualClock, Quota, Reservation, Verdict,
};

const STEPS: u64 = 1_000_000;
/// Latest instant after the start: the range of a limiter is ten years, and a refill may take a quarter of its whole.
const LATEST: u64 = 5 * YEAR;

type Rational = Ratio<i128>;

fn nanoseconds(t: u64) -> i128 {
    t.into()
}

/// A bucket, or one key of a limiter, asked on its clock or at the caller's `now`.
#[derive(Debug)]
enum Subject {
    Bucket(Bucket<ManualClock>),
    Keyed(Limiter<ManualClock>),
}

#[derive(Debug, Clone, Copy)]
struct At<'a> {
    subject: &'a Subject,
    limit: &'a Limit,
    now: Option<u64>,
}

/// One call on whichever it is.
macro_rules! call {
    ($at:expr, $method:ident ( $($argument:expr),* )) => {{
        let at = $at;
        match at.subject {
            Subject::Bucket(bucket) => {
                let view = bucket.with(at.limit);
                at.now.map_or(view, |now| view.at(ns(now))).$method($($argument),*)
            }
            Subject::Keyed(limiter) => {
                let view = limiter.with(at.limit);
                at.now.map_or(view, |now| view.at(ns(now))).$method("key" $(, $argument)*)
            }
        }
    }};
}

impl Subject {
    fn new(rng: &mut Rng, quotas: &[Quota], start: u64) -> Option<Self> {
        let clock = ManualClock::new(ns(start));
        if quotas.len() == 1 && rng.once_in(2) {
            return Bucket::with_clock(quotas[0], clock).ok().map(Self::Bucket);
        }
        let builder = Limiter::builder(quotas[0]).capacity(256).fixed_seed(rng.next());
        let builder = quotas[1..].iter().fold(builder, |builder, &quota| builder.expect(quota));
        let limiter = builder.build_with_clock(clock).ok()?;
        Some(Self::Keyed(limiter))
    }

    fn limit(&self, quota: Quota, name: &str) -> Option<Limit> {
        match self {
            Self::Bucket(bucket) => bucket.limit(quota).ok(),
            Self::Keyed(limiter) => limiter.limit(name, quota).ok(),
        }
    }

    fn clock(&self) -> &ManualClock {
        match self {
            Self::Bucket(bucket) => bucket.clock(),
            Self::Keyed(limiter) => limiter.clock(),
        }
    }
}

fn random_quota(rng: &mut Rng, algorithm: Algorithm) -> Quota {
    let period = match rng.below(4) {
        0 => rng.magnitude(30 * DAY),
        _ => rng.pick(&[1, 1_000, 1_000_000, SECOND, SECOND, 7 * SECOND, 30 * SECOND, 60 * SECOND, DAY, 30 * DAY]),
    };
    let most = if algorithm == Algorithm::SlidingLog { 24 } else { u64::MAX >> 24 };
    let count = match rng.below(4) {
        0 => rng.magnitude(most),
        1 => rng.magnitude(most.min(40)),
        _ => rng.pick(&[1, 2, 3, 5, 7, 10, 11, 16, 24, 60, 100, 300, 1_000, 50_000, 1_000_000, SECOND]),
    };
    let quota = Quota::new(count.min(most), Duration::from_nanos(period)).expect("a valid period");
    let quota = quota.with_algorithm(algorithm);
    if algorithm.is_window() {
        return quota;
    }
    let quota = match rng.below(4) {
        0 => quota,
        1 => quota.with_burst(rng.magnitude(1 << 33)),
        _ => quota.with_burst(rng.pick(&[1, 2, 3, 10, 60, 1_000, 1 << 32, (1 << 32) - 1])),
    };
    // The default debt is as large as the range allows; the model knows no range.
    let depth = u128::from(quota.burst()) * u128::from(period) / u128::from(quota.count());
    if depth > u128::from(YEAR) || rng.once_in(2) {
        let debts = [0, 1, SECOND, 3_600 * SECOND, period, rng.magnitude(YEAR)];
        return quota.with_max_debt(Duration::from_nanos(rng.pick(&debts).min(YEAR)));
    }
    quota
}

/// One bucket of the engine and what is known of it.
#[derive(Debug)]
struct Track<'a> {
    at: At<'a>,
    /// No more than what is there: the clock itself, and no forgiveness but P7.
    low: Model,
    /// No less than what is there: a clock that never went back.
    high: Model,
    /// How far `high` is ahead of the clock.
    offset: i128,
    /// How early, in nanoseconds, the engine may be.
    early: i128,
    /// Whether the quota is held to the last digit.
    exact: bool,
    /// Whether the two models agree.
    synced: bool,
    /// Whether a reservation or a charge was the last to take.
    in_debt: bool,
    skew: i128,
}

impl<'a> Track<'a> {
    fn new(subject: &'a Subject, limit: &'a Limit, own_clock: bool) -> Self {
        let quota = *limit.quota();
        Self {
            at: At { subject, limit, now: (!own_clock).then_some(0) },
            low: Model::new(quota),
            high: Model::new(quota),
            offset: 0,
            early: i128::from(!limit.units_per_second().is_multiple_of(SECOND)),
            exact: limit.effective_rate().is_exact(),
            synced: true,
            in_debt: false,
            skew: i128::from(SECOND),
        }
    }

    fn equal(&self) -> bool {
        self.synced && self.exact && self.early == 0
    }

    fn quota(&self) -> &'a Quota {
        self.at.limit.quota()
    }

    /// Whether the windows of the engine begin elsewhere.
    fn is_off_grid(&self) -> bool {
        !self.exact && matches!(self.quota().algorithm(), Algorithm::FixedWindow | Algorithm::SlidingWindow)
    }

    fn limit(&self) -> u64 {
        u64::try_from(self.low.limit()).expect("a count")
    }

    fn set(&mut self, t: u64) {
        self.at.subject.clock().set(ns(t));
        if let Some(now) = &mut self.at.now {
            *now = t;
        }
    }

    /// The clock moves. After a step back the balance must not be higher than it was (P7).
    fn go(&mut self, from: u64, to: u64) {
        let before = if to < from { call!(self.at, peek()).remaining() } else { u64::MAX };
        self.set(to);
        if to < from {
            let after = call!(self.at, peek()).remaining();
            assert!(after <= before, "{after} left after a step back, {before} before it");
            self.offset += i128::from(from - to);
            self.synced = false;
        } else if !self.synced && self.low.is_full(to.into()) && self.high.is_full(nanoseconds(to) + self.offset) {
            self.resync();
        }
    }

    fn resync(&mut self) {
        self.high = self.low.clone();
        (self.offset, self.synced) = (0, true);
    }

    fn high_time(&self, t: u64) -> i128 {
        nanoseconds(t) + self.offset
    }

    /// At least this much is there.
    fn at_least(&self, t: u64) -> i128 {
        if self.exact { self.low.available(t.into()) } else { 0 }
    }

    /// At most this much is there.
    fn at_most(&self, t: u64) -> i128 {
        if self.is_off_grid() {
            return self.high.limit();
        }
        self.high.available(self.high_time(t) + self.early)
    }

    fn take(&mut self, t: u64, cost: u64) {
        let high_time = self.high_time(t);
        self.low.take(t.into(), cost);
        self.high.take(high_time, cost);
    }

    fn reset(&mut self, t: u64) {
        call!(self.at, reset());
        self.low.reset(t.into());
        self.resync();
    }

    /// What must hold of every decision.
    fn judge(&mut self, t: u64, cost: u64, decision: &Decision<'_>, took: bool) {
        let limit = self.limit();
        assert_eq!((decision.limit(), decision.at()), (limit, ns(t)));
        if cost > limit {
            assert_eq!(decision.verdict(), Verdict::NeverFits, "{cost} of {limit}");
        } else {
            assert!(!decision.never_fits(), "{cost} of {limit}");
            let (least, most) = (self.at_least(t), self.at_most(t));
            let admitted = decision.is_allowed();
            assert!(admitted || cost > 0 && i128::from(cost) > least, "withheld: {cost}, {least} there");
            assert!(!admitted || cost == 0 || i128::from(cost) <= most, "too much: {cost}, {most} there");
        }
        if took && decision.is_allowed() {
            self.take(t, cost);
            self.in_debt &= cost == 0;
        }
        if took && decision.is_refused() && !self.synced {
            let skew = self.skew + self.early;
            self.low.forgive(t.into(), skew, self.in_debt);
        }
        self.figures(t, cost, decision);
    }

    /// P2 and P10: the figures of a decision are true, by themselves and of the model.
    fn figures(&mut self, t: u64, cost: u64, decision: &Decision<'_>) {
        let (remaining, reset) = (decision.remaining(), nanos(decision.reset_after()));
        let bounds = self.at_least(t)..=self.at_most(t);
        assert!(bounds.contains(&remaining.into()), "{remaining} remaining, {bounds:?} there");
        let later = |after: u64| {
            self.at.subject.clock().set(ns(t + after));
            At { now: self.at.now.map(|_| t + after), ..self.at }
        };
        assert_eq!(decision.retry_after().is_some(), decision.is_refused());
        if let Some(retry) = decision.retry_after().map(nanos) {
            assert!(retry > 0);
            assert!(call!(later(retry), peek_n(cost)).is_allowed(), "P2: refused {cost} after {retry} ns");
            assert!(!call!(later(retry - 1), peek_n(cost)).is_allowed(), "P2: admitted {cost} before {retry} ns");
            if self.equal() {
                assert_eq!(nanoseconds(t + retry), self.low.when(t.into(), cost.into()), "retry after");
            }
        }
        let limit = decision.limit();
        assert_eq!(call!(later(reset), peek()).remaining(), limit, "P10: not full after {reset} ns");
        if reset > 0 && limit > 0 {
            assert!(call!(later(reset - 1), peek()).remaining() < limit, "P10: full before {reset} ns");
        }
        if self.equal() {
            assert_eq!(nanoseconds(t + reset), self.low.when_full(t.into()), "reset after");
        }
        self.at.subject.clock().set(ns(t));
    }
}

fn random_cost(rng: &mut Rng, limit: u64) -> u64 {
    match rng.below(12) {
        0 => 0,
        1 => u64::MAX,
        2 => limit.saturating_sub(1),
        3 => limit,
        4 => limit.saturating_add(1),
        5..8 => 1,
        8 => rng.next(),
        _ => rng.magnitude(limit.max(1)),
    }
}

/// The next instant, biased to where something happens.
fn random_time(rng: &mut Rng, t: u64, start: u64, quota: &Quota, hints: &[u64], back: bool) -> u64 {
    let period = nanos(quota.period());
    let near = |rng: &mut Rng, at: u64| (at + rng.below(3)).saturating_sub(1);
    let token = u64::try_from(u128::from(period) / u128::from(quota.count().max(1))).expect("shorter than the period");
    let to = match rng.below(16) {
        0..4 => t,
        4..8 => {
            let hint = rng.pick(hints);
            near(rng, hint)
        }
        8 => near(rng, t + token),
        9 => {
            let some = rng.magnitude(quota.burst().max(1));
            near(rng, t.saturating_add(token.saturating_mul(some)))
        }
        10 => near(rng, (t / period + 1) * period),
        11 => {
            let periods = rng.below(3) + 1;
            near(rng, t + periods * period)
        }
        12 if rng.once_in(20) => t + rng.magnitude(2 * YEAR),
        13 | 14 if back => {
            let step = match rng.below(5) {
                0 => 1,
                1 => rng.pick(&[999_999, 1_000_000, 1_000_001, SECOND - 1, SECOND, SECOND + 1]),
                _ => rng.magnitude(YEAR),
            };
            return t.saturating_sub(step).max(start.saturating_sub(YEAR));
        }
        _ => t + rng.magnitude(DAY),
    };
    to.clamp(t, (start + LATEST).max(t))
}

const NAMES: [&str; 20] = [
    "check",
    "check",
    "check",
    "check",
    "check",
    "check",
    "peek",
    "check one for",
    "take",
    "take",
    "refund",
    "reset",
    "charge",
    "charge",
    "reserve",
    "reserve",
    "reserve",
    "cancel for",
    "cancel for",
    "peek one for",
];

/// Random calls on one bucket. Says how many there were.
fn scenario(rng: &mut Rng, algorithm: Algorithm) -> u64 {
    let quota = random_quota(rng, algorithm);
    let start = rng.pick(&[0, 1, 59 * SECOND, 1_700_000_123 * SECOND, 1_700_000_123_456_789_012, 30 * YEAR]);
    // A second quota, so that not every base is made for one alone.
    let other = random_quota(rng, Algorithm::TokenBucket);
    let quotas = if rng.once_in(3) { vec![other, quota] } else { vec![quota] };
    let Some(subject) = Subject::new(rng, &quotas, start) else { return 0 };
    let Some(limit) = subject.limit(quota, "limit") else { return 0 };
    let own_clock = rng.once_in(2);
    let mut track = Track::new(&subject, &limit, own_clock);
    // Only checks: their history is then judged as a whole.
    let checks_only = rng.once_in(3);
    let back =
        !checks_only && !matches!(algorithm, Algorithm::FixedWindow | Algorithm::SlidingWindow) && rng.once_in(2);
    let debt = quota.max_debt();
    let replay = Replay::new(format!("{quota} ({algorithm}, debt {debt:?}) among {quotas:?} since {start}: {track:?}"));

    let mut history: Vec<Admitted> = Vec::new();
    let mut reservations: Vec<(Reservation<'_>, Option<i128>)> = Vec::new();
    let (mut t, mut hints) = (start, [start; 2]);
    track.set(t);
    let steps = 40 + rng.below(160);
    for _ in 0..steps {
        let to = random_time(rng, t, start, &quota, &hints, back);
        if to == start + LATEST {
            break;
        }
        track.go(t, to);
        t = to;
        let cost = random_cost(rng, track.limit());
        let call = if checks_only { rng.below(8) } else { rng.below(20) };
        replay.note(NAMES[usize::try_from(call).expect("a name")], t, cost);
        match call {
            0..6 => {
                let decision = call!(track.at, check_n(cost));
                track.judge(t, cost, &decision, true);
                if decision.is_allowed() && cost > 0 {
                    history.push((t, cost));
                }
                let retry = decision.retry_after().map_or(0, nanos);
                hints = [t + retry, t + nanos(decision.reset_after())];
            }
            6 => {
                let decision = call!(track.at, peek_n(cost));
                track.judge(t, cost, &decision, false);
            }
            7 => {
                let decision = call!(track.at, check());
                track.judge(t, 1, &decision, true);
                if decision.is_allowed() {
                    history.push((t, 1));
                }
            }
            8 | 9 => {
                let taken = call!(track.at, take_up_to(cost));
                let (least, most) = (track.at_least(t), track.at_most(t));
                let most = most.min(cost.into());
                assert!((least.min(cost.into())..=most).contains(&taken.into()), "{taken} taken, {least} to {most}");
                track.take(t, taken);
                track.in_debt &= taken == 0;
            }
            // What was never taken comes back longer than it was, if a token is rounded up.
            10 if track.exact => {
                call!(track.at, refund(cost));
                let high_time = track.high_time(t);
                track.low.refund(t.into(), cost);
                track.high.refund(high_time, cost);
            }
            11 => track.reset(t),
            12 | 13 => {
                let charged = call!(track.at, charge(cost));
                let least = if track.exact { track.low.chargeable(t.into(), cost, -track.early) } else { 0 };
                let high_time = if track.is_off_grid() { i128::MAX / 2 } else { track.high_time(t) + track.early };
                let most = track.high.chargeable(high_time, cost, track.early);
                assert!((least..=most).contains(&charged.into()), "{charged} charged, {least} to {most}");
                track.take(t, charged);
                track.in_debt = true;
            }
            14..17 => {
                let max_wait = rng.pick(&[0, 1, SECOND, YEAR, nanos(quota.period()), hints[1].saturating_sub(t)]);
                let reserved = call!(track.at, reserve(cost, Duration::from_nanos(max_wait)));
                let least = track.low.reserve(t.into(), cost, max_wait.into()).filter(|_| track.exact);
                let high_time = if track.is_off_grid() { i128::MAX / 2 } else { track.high_time(t) + track.early };
                let most = track.high.reserve(high_time, cost, nanoseconds(max_wait) + track.early);
                match reserved {
                    Ok(reservation) => {
                        let wait = i128::from(nanos(reservation.wait()));
                        assert!(most.is_some_and(|most| wait >= most), "waits {wait} ns, not {most:?}");
                        assert!(least.is_none_or(|least| wait <= least), "waits {wait} ns, not {least:?}");
                        assert!(wait <= max_wait.into());
                        assert_eq!(reservation.go_at(), reservation.made_at() + reservation.wait());
                        track.take(t, cost);
                        track.in_debt = true;
                        let mark = track.low.mark(t.into());
                        reservations.push((reservation, track.equal().then_some(mark)));
                    }
                    Err(decision) => {
                        assert_eq!(least, None, "no reservation of {cost} in {max_wait} ns: {decision:?}");
                        assert!(!decision.is_allowed());
                        assert_eq!(decision.never_fits(), cost > track.limit());
                    }
                }
            }
            17 | 18 if !reservations.is_empty() => {
                let count = u64::try_from(reservations.len()).expect("a length");
                let index = usize::try_from(rng.below(count)).expect("a length");
                let (mut reservation, mark) = reservations.swap_remove(index);
                let cost = reservation.cost();
                let first = if own_clock { reservation.cancel() } else { reservation.cancel_at(ns(t)) };
                assert!(first && !reservation.cancel(), "a second time does nothing");
                match mark.filter(|_| track.equal()) {
                    Some(mark) => {
                        track.low.cancel(t.into(), cost, mark);
                        track.high.cancel(t.into(), cost, mark);
                    }
                    None => track.reset(t),
                }
            }
            _ => {
                let decision = call!(track.at, peek());
                track.judge(t, 1, &decision, false);
                hints[1] = t + nanos(decision.reset_after());
            }
        }
    }
    if checks_only && track.is_off_grid() {
        assert_eq!(within_span(&history, nanos(quota.period()), 2 * quota.count()), Ok(()));
    } else if checks_only {
        keeps_its_promise(&mut history, &quota);
    }
    steps
}

/// A clock that goes back under the algorithms with windows: the balance never rises, and one refusal is enough for
/// everything to be back within the time that a refill may take (P7).
fn window_step_back(rng: &mut Rng, algorithm: Algorithm) -> u64 {
    let quota = random_quota(rng, algorithm);
    let start = rng.pick(&[YEAR, 1_700_000_123 * SECOND]);
    let Some(subject) = Subject::new(rng, &[quota], start) else { return 0 };
    let Some(limit) = subject.limit(quota, "limit") else { return 0 };
    let period = nanos(quota.period());
    let own_clock = rng.once_in(2);
    let mut track = Track::new(&subject, &limit, own_clock);
    let replay = Replay::new(format!("{quota} ({algorithm}) since {start}, {own_clock}"));
    let mut t = start;
    track.set(t);
    for _ in 0..4 {
        let cost = random_cost(rng, quota.count());
        let _ = call!(track.at, check_n(cost)).is_allowed();
        replay.note("check", t, cost);
        t = random_time(rng, t, start, &quota, &[t], false);
        track.go(t, t);
    }
    let _ = call!(track.at, take_up_to(u64::MAX));
    replay.note("take", t, u64::MAX);
    let some = rng.magnitude(YEAR / 2);
    let back = rng.pick(&[1, SECOND, period, period / 2, 2 * period, some]).min(YEAR / 2);
    track.go(t, t - back);
    t -= back;
    let refused = call!(track.at, check_n(quota.count()));
    replay.note("check", t, quota.count());
    if refused.is_refused() {
        let refill = if algorithm == Algorithm::SlidingWindow { 2 * period } else { period };
        let wait = refused.retry_after().map_or(0, nanos);
        let bound = refill + u64::try_from(track.skew).expect("a second");
        assert!(wait <= bound, "P7: {wait} ns after a step back of {back} ns, longer than a refill of {refill} ns");
        track.set(t + wait);
        assert!(call!(track.at, check_n(quota.count())).is_allowed(), "P2 after a step back");
    }
    10
}

/// Several limits of one key decided at once: exactly when all admit, and all of them pay, or none does (P11).
fn set_scenario(rng: &mut Rng) -> u64 {
    let count = 2 + rng.below(2);
    let quota = |_| {
        let algorithm = rng.pick(&Algorithm::ALL);
        random_quota(rng, algorithm)
    };
    let quotas: Vec<Quota> = (0..count).map(quota).collect();
    let start = rng.pick(&[0, 1_700_000_123_456_789_012]);
    let builder = Limiter::builder(quotas[0]).capacity(256).fixed_seed(rng.next());
    let builder = quotas.iter().fold(builder, |builder, &quota| builder.expect(quota));
    let Ok(limiter) = builder.build_with_clock(ManualClock::new(ns(start))) else { return 0 };
    let subject = Subject::Keyed(limiter);
    let names = ["first", "second", "third"];
    let limits: Vec<Limit> = quotas.iter().zip(names).filter_map(|(&quota, name)| subject.limit(quota, name)).collect();
    let exact = limits.iter().all(|limit| limit.effective_rate().is_exact());
    let Ok(set) = LimitSet::new(limits.iter().copied()) else { return 0 };
    if limits.len() != quotas.len() || !exact {
        return 0;
    }
    let Subject::Keyed(limiter) = &subject else { return 0 };
    let mut tracks: Vec<Track<'_>> = limits.iter().map(|limit| Track::new(&subject, limit, false)).collect();
    let replay = Replay::new(format!("{quotas:?} since {start}"));
    let (mut t, mut hints) = (start, [start; 2]);
    let steps = 20 + rng.below(60);
    for _ in 0..steps {
        let quota = rng.pick(&quotas);
        t = random_time(rng, t, start, &quota, &hints, false);
        if t == start + LATEST {
            break;
        }
        tracks.iter_mut().for_each(|track| track.set(t));
        let some = rng.pick(&limits).quota().burst();
        let cost = random_cost(rng, some);
        let decision = limiter.at(ns(t)).check_set_n(&set, "key", cost);
        replay.note("check", t, cost);
        let told = decision.decision();
        hints = [t + told.retry_after().map_or(0, nanos), t + nanos(told.reset_after())];
        let must = cost == 0 || tracks.iter().all(|track| track.at_least(t) >= cost.into());
        let may = cost == 0 || tracks.iter().all(|track| track.at_most(t) >= cost.into());
        assert!(if decision.is_allowed() { may } else { !must }, "{cost}: {decision:?}");
        if decision.is_allowed() {
            tracks.iter_mut().for_each(|track| track.take(t, cost));
        }
        // What each says by itself is what the set has left it with, and what the set tells is the most telling of it.
        for (index, track) in tracks.iter_mut().enumerate() {
            let single = call!(track.at, peek_n(cost));
            track.judge(t, cost, &single, false);
            match told.verdict() {
                Verdict::Allowed => assert!(single.remaining() >= told.remaining()),
                Verdict::Refused => assert!(single.retry_after() <= told.retry_after() && !single.never_fits()),
                _ => assert!(told.never_fits()),
            }
            if index == decision.index() && !told.is_allowed() {
                assert_eq!(told.report(), single.report());
            }
        }
    }
    steps
}

/// What each rule of inheritance makes of `tokens`.
fn inherit(tokens: Rational, how: Inheritance, old: i128, new: i128) -> Rational {
    match how {
        Inheritance::AsIs => tokens,
        Inheritance::Proportional if old > 0 => tokens * Rational::new(new, old),
        Inheritance::Additive => tokens + Rational::from(new - old),
        _ => Rational::from(new),
    }
}

/// A key changes its quota, from any algorithm to any other: the tokens it has then are those that the rule says.
fn convert_scenario(rng: &mut Rng) -> u64 {
    // Counts that divide the unit, so that the time of the change is not rounded.
    let quota = |rng: &mut Rng| {
        let algorithm = rng.pick(&Algorithm::ALL);
        let count = rng.pick(&[1, 2, 4, 5, 8, 10, 16, 20]);
        let period = rng.pick(&[1_000, SECOND, 5 * SECOND, 60 * SECOND, DAY]);
        let quota = Quota::new(count, Duration::from_nanos(period)).expect("valid").with_algorithm(algorithm);
        if algorithm.is_window() { quota } else { quota.with_burst(rng.pick(&[1, 2, count, 30, 100])) }
    };
    let (from, to) = (quota(rng), quota(rng));
    let how = rng.pick(&[Inheritance::AsIs, Inheritance::Proportional, Inheritance::Additive, Inheritance::Reset]);
    let start = rng.pick(&[0, 1_700_000_123_456_789_012]);
    let builder = Limiter::builder(from).expect(to).capacity(256).fixed_seed(rng.next());
    let Ok(limiter) = builder.build_with_clock(ManualClock::new(ns(start))) else { return 0 };
    let subject = Subject::Keyed(limiter);
    let (Some(old), Some(new)) = (subject.limit(from, "tier"), subject.limit(to, "tier")) else { return 0 };
    let mut track = Track::new(&subject, &old, false);
    let replay = Replay::new(format!("{from} ({}) to {to} ({}), {how:?}", from.algorithm(), to.algorithm()));
    let mut t = start;
    track.set(t);
    for _ in 0..3 {
        let cost = random_cost(rng, from.burst());
        let taken = if rng.once_in(4) { call!(track.at, charge(cost)) } else { call!(track.at, take_up_to(cost)) };
        replay.note("take", t, taken);
        track.take(t, taken);
        t = random_time(rng, t, start, &from, &[t], false).min(t + DAY);
        track.set(t);
    }
    let (numerator, denominator) = track.low.tokens(t.into());
    let tokens = inherit(Rational::new(numerator, denominator), how, track.low.limit(), to.burst().into());
    let whole = tokens.floor().to_integer().clamp(0, to.burst().into());
    call!(track.at, convert(&new, how));
    replay.note("convert", t, 0);
    let after = At { limit: &new, ..track.at };
    let remaining = i128::from(call!(after, peek()).remaining());
    if to.algorithm() == Algorithm::LeakyQueue {
        assert_eq!(remaining > 0, tokens >= Rational::from(i128::from(to.burst())), "{tokens} tokens");
    } else {
        assert_eq!(remaining, whole, "{tokens} tokens");
    }
    if matches!(to.algorithm(), Algorithm::TokenBucket | Algorithm::LeakyBucket)
        && from.algorithm() != Algorithm::SlidingLog
    {
        // When the next token comes: not before it is due, and not a nanosecond late.
        let full = Rational::from(i128::from(to.burst()));
        let token = Rational::new(nanos(to.period()).into(), to.count().into());
        let debt = (full * token).max(Rational::from(nanoseconds(3_600 * SECOND)));
        let due = ((full - tokens) * token).min(full * token + debt).ceil().to_integer().max(0);
        let told = nanos(call!(after, peek()).reset_after());
        assert!((due..=due + 1).contains(&told.into()), "full after {told} ns, due after {due} ns");
    }
    6
}

/// Scenarios until the share of the steps is done.
fn run(share: u64, offset: u64, scenario: impl Fn(&mut Rng) -> u64) {
    let first = setting("TOLLGATE_SEED", 0x70_11_6A_7E + offset);
    let (mut seeds, mut seed) = (Rng(first), first);
    let (steps, mut done, mut idle) = (setting("TOLLGATE_STEPS", STEPS) / 100 * share, 0, 0);
    while done < steps {
        let _replay = Replay::new(format!("TOLLGATE_SEED={seed}"));
        let did = scenario(&mut Rng(seed));
        done += did;
        idle = if did == 0 { idle + 1 } else { 0 };
        assert!(idle < 10_000, "no valid quota in 10,000");
        seed = seeds.next();
    }
}

#[test]
fn token_bucket() {
    run(28, 0, |rng| scenario(rng, Algorithm::TokenBucket));
}

#[test]
fn leaky_bucket() {
    run(8, 1, |rng| scenario(rng, Algorithm::LeakyBucket));
}

#[test]
fn leaky_queue() {
    run(16, 2, |rng| scenario(rng, Algorithm::LeakyQueue));
}

#[test]
fn fixed_window() {
    run(16, 3, |rng| scenario(rng, Algorithm::FixedWindow));
}

#[test]
fn sliding_window() {
    run(16, 4, |rng| scenario(rng, Algorithm::SlidingWindow));
}

#[test]
fn sliding_log() {
    run(8, 5, |rng| scenario(rng, Algorithm::SlidingLog));
}

#[test]
fn fixed_window_step_back() {
    run(1, 6, |rng| window_step_back(rng, Algorithm::FixedWindow));
}

#[test]
fn sliding_window_step_back() {
    run(1, 7, |rng| window_step_back(rng, Algorithm::SlidingWindow));
}

#[test]
fn sets() {
    run(4, 8, set_scenario);
}

#[test]
fn conversions() {
    run(1, 9, convert_scenario);
}
