//! The algorithms in exact arithmetic, from their documentation: levels and counts in whole numbers of a small part of a
//! token, time in nanoseconds. Questions of the form "when?" are answered by search, not by formula.

use num_bigint::BigInt;
use tollgate::{Algorithm, Inheritance, Quota, WindowStart};

use super::nanos;

/// A thousand years: no question "when?" has a later answer.
const HORIZON: i128 = 1_000 * super::YEAR as i128;

const NANOS: i128 = super::SECOND as i128;

/// A window that begins with the next request.
const NOT_BEGUN: State = State::Begun { end: i128::MIN, count: 0 };

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// What was taken and has not come back: `level` parts of a token at `at`, of which `Model::leak` go a nanosecond.
    /// `overdrawn` says that a reservation or a charge left it past empty.
    Level { level: i128, at: i128, overdrawn: bool },
    /// The counts of window `index` and of the one before.
    Windows { index: i128, previous: i128, current: i128 },
    /// The count of a window that began with its first request, and when it ends.
    Begun { end: i128, count: i128 },
    /// When each of the requests that may be remembered can be forgotten.
    Log(Vec<i128>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    quota: Quota,
    period: i128,
    /// Parts of a token that come back in a nanosecond, and parts that make a token.
    leak: i128,
    token: i128,
    state: State,
    /// Up to where a level was lowered by anything but undoing a debit, and until when somebody waits; in nanoseconds,
    /// exact as fractions of `leak`. Of a log: until when an entry counted that was given back.
    lowered: i128,
    promised: i128,
    /// The limiter's units in a second, and the nanosecond at which there are none: ends and counts are rounded and bounded as
    /// they are. Unknown, no window begins with a request and none counts refusals.
    units: i128,
    zero: i128,
}

/// What was taken at once, and how it may be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Debit {
    pub(crate) cost: u64,
    /// Where the level was, and where it was left, as the instant at which it is zero, times `leak`.
    from: i128,
    end: i128,
    /// The window that counted it.
    index: i128,
}

/// What a handle holds: taken at `since`; of a level the stretch of time, times `leak`, that ends at `until`, and of a
/// window so many of its count, until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) since: i128,
    end: i128,
    until: i128,
    left: i128,
}

impl Batch {
    pub(crate) const NONE: Self = Self { since: i128::MIN, end: 0, until: 0, left: 0 };

    /// Whether nothing is left to give back.
    pub(crate) const fn is_none(&self) -> bool {
        self.left == 0
    }
}

impl Model {
    pub(crate) fn new(quota: Quota) -> Self {
        Self::in_parts(quota, quota.count().into())
    }

    /// With `leak` parts of a token a nanosecond, a multiple of the count.
    pub(crate) fn in_parts(quota: Quota, leak: i128) -> Self {
        let (count, period) = (i128::from(quota.count()), i128::from(nanos(quota.period())));
        let state = match quota.algorithm() {
            Algorithm::FixedWindow if quota.window_start() == WindowStart::FirstHit => NOT_BEGUN,
            Algorithm::FixedWindow | Algorithm::SlidingWindow => State::Windows { index: 0, previous: 0, current: 0 },
            Algorithm::SlidingLog => State::Log(vec![i128::MIN; usize::try_from(count).expect("at most 1,024")]),
            _ => State::Level { level: 0, at: 0, overdrawn: false },
        };
        let token = if count == 0 { 1 } else { leak / count * period };
        Self { quota, period, leak, token, state, lowered: i128::MIN, promised: i128::MIN, units: 0, zero: 0 }
    }

    /// In a limiter with so many units in a second, of which there are none at the nanosecond `zero`.
    pub(crate) fn in_units(self, units: u64, zero: i128) -> Self {
        Self { units: units.into(), zero, ..self }
    }

    /// The period in units, rounded up.
    fn period_in_units(&self) -> i128 {
        assert!(self.units > 0, "the units of the limiter are not known");
        (self.period * self.units + NANOS - 1).div_euclid(NANOS)
    }

    /// To which multiple of units the end of a window is rounded up: a power of two, at most a 1,024th of the period and 2^30;
    /// but for short periods 1,024, or what is half the period at most.
    fn rounding(&self) -> i128 {
        let period = self.period_in_units();
        let largest = |most: i128| (0..31).map(|bits| 1 << bits).take_while(|&power| power <= most).last().unwrap_or(1);
        largest(period / 1_024).max(largest(1_024.min(period / 2)))
    }

    /// When a window ends that begins at `t`: the first nanosecond at or after the rounded end.
    fn end_of_begun(&self, t: i128) -> i128 {
        let now = ((t - self.zero) * self.units).div_euclid(NANOS);
        let rounding = self.rounding();
        let end = (now + self.period_in_units() + rounding - 1).div_euclid(rounding) * rounding;
        (end * NANOS + self.units - 1).div_euclid(self.units) + self.zero
    }

    /// The highest that refusals raise a count to: one less than half of the counts that there is room for, which are as many
    /// as ends are rounded to, or a power of two that is at most the period.
    fn highest(&self) -> i128 {
        let room = match self.state {
            State::Begun { .. } => self.rounding(),
            _ => 1 << self.period_in_units().ilog2(),
        };
        (room / 2 - 1).max(0)
    }

    /// Counts a request that was refused, if the quota says so.
    pub(crate) fn count_refused(&mut self, t: i128, cost: u64) {
        if self.quota.counts_refused() && cost > 0 {
            let (highest, (previous, current)) = (self.highest(), self.windows(t));
            if current < highest {
                self.set_windows(t, (previous, (current + i128::from(cost)).min(highest)));
            }
        }
    }

    /// The most that fits at once.
    pub(crate) fn limit(&self) -> i128 {
        match self.quota.algorithm() {
            _ if self.quota.count() == 0 => 0,
            Algorithm::TokenBucket | Algorithm::LeakyBucket => self.quota.burst().into(),
            Algorithm::LeakyQueue => self.quota.burst().max(1).into(),
            _ => self.quota.count().into(),
        }
    }

    fn is_queue(&self) -> bool {
        self.quota.algorithm() == Algorithm::LeakyQueue
    }

    /// The level of an empty bucket.
    fn empty(&self) -> i128 {
        self.limit() * self.token
    }

    /// How far past empty.
    fn debt(&self) -> i128 {
        let depth = i128::from(self.quota.burst()) * self.token;
        match self.quota.max_debt() {
            _ if self.is_queue() => depth,
            Some(debt) => i128::from(nanos(debt)) * self.leak,
            None => depth.max(3_600 * i128::from(super::SECOND) * self.leak),
        }
    }

    /// The level at `t`; before the instant it was written, higher by what has not leaked yet.
    fn level(&self, t: i128) -> i128 {
        let State::Level { level, at, .. } = self.state else { panic!("{} has no level", self.quota) };
        (level - (t - at) * self.leak).max(0)
    }

    /// When the level was or will be zero, times `leak`.
    fn end(&self) -> i128 {
        let State::Level { level, at, .. } = self.state else { panic!("{} has no level", self.quota) };
        at * self.leak + level
    }

    /// Until when, in nanoseconds, times `leak`, what is in the bucket counts at all: no stamp of the engine is later.
    pub(crate) fn latest(&self, t: i128) -> i128 {
        match &self.state {
            State::Level { .. } => self.end(),
            State::Windows { .. } => (self.windows_at(t) + 3 * self.period) * self.leak,
            State::Begun { end, .. } => (self.end_of_begun(t).max(*end) + self.period) * self.leak,
            State::Log(cells) => cells.iter().max().map_or(0, |end| end * self.leak),
        }
    }

    /// That something was lowered, maybe, that counted until then.
    pub(crate) fn may_have_lowered(&mut self, until: i128) {
        self.lowered = self.lowered.max(until * self.leak);
    }

    /// What was lowered, and what was promised, up to when; as [`latest`](Self::latest).
    pub(crate) const fn marks(&self) -> (i128, i128) {
        (self.lowered, self.promised)
    }

    pub(crate) const fn leak(&self) -> i128 {
        self.leak
    }

    /// Raised past empty, it is overdrawn; lowered, it is only if it was; what stays as it is was not written.
    fn set_level(&mut self, t: i128, to: i128) {
        let from = self.level(t);
        if to.max(0) == from {
            return;
        }
        let overdrawn = to > self.empty() && (to > from || self.is_overdrawn());
        self.state = State::Level { level: to.max(0), at: t, overdrawn };
    }

    fn is_overdrawn(&self) -> bool {
        matches!(self.state, State::Level { overdrawn: true, .. })
    }

    /// The counts at `t`: those of its window and the one before, or of a later window if one was written.
    fn windows(&self, t: i128) -> (i128, i128) {
        let (index, previous, current) = match self.state {
            State::Windows { index, previous, current } => (index, previous, current),
            State::Begun { end, count } => return (0, if t < end { count } else { 0 }),
            _ => panic!("{} has no windows", self.quota),
        };
        match t.div_euclid(self.period) - index {
            ..=0 => (previous, current),
            1 => (current, 0),
            _ => (0, 0),
        }
    }

    fn set_windows(&mut self, t: i128, (previous, current): (i128, i128)) {
        if let State::Begun { .. } = self.state {
            let begun = State::Begun { end: self.window(t), count: current };
            self.state = if current == 0 { NOT_BEGUN } else { begun };
            return;
        }
        // A fixed window knows none before it.
        let previous = if self.quota.algorithm() == Algorithm::FixedWindow { 0 } else { previous };
        // Nothing counted is the same in every window.
        let index = if (previous, current) == (0, 0) { 0 } else { self.windows_at(t).div_euclid(self.period) };
        self.state = State::Windows { index, previous, current };
    }

    /// Which window counts at `t`: the number of one of the clock, or when one ends that began with a request.
    fn window(&self, t: i128) -> i128 {
        match self.state {
            State::Begun { end, .. } if t < end => end,
            State::Begun { .. } => self.end_of_begun(t),
            _ => self.windows_at(t).div_euclid(self.period),
        }
    }

    /// When that window ends.
    fn window_end(&self, t: i128) -> i128 {
        match self.state {
            State::Begun { .. } => self.window(t),
            _ => (self.window(t) + 1) * self.period,
        }
    }

    /// Whether this is a window in which nothing is counted. When it was emptied is all that is left of it, so it cannot
    /// be followed back.
    pub(crate) const fn is_emptied(&self) -> bool {
        matches!(self.state, State::Windows { previous: 0, current: 0, .. } | State::Begun { count: 0, .. })
    }

    /// `t`, or the start of the window written, if that is later.
    fn windows_at(&self, t: i128) -> i128 {
        let State::Windows { index, .. } = self.state else { panic!("{} has no windows", self.quota) };
        t.max(index * self.period)
    }

    /// The largest cost admitted at `t`.
    pub(crate) fn available(&self, t: i128) -> i128 {
        let limit = self.limit();
        let left = match (self.quota.algorithm(), &self.state) {
            (Algorithm::LeakyQueue, _) => {
                if self.level(t) == 0 {
                    limit
                } else {
                    0
                }
            }
            (Algorithm::FixedWindow, _) => limit - self.windows(t).1,
            (Algorithm::SlidingWindow, _) => {
                let (previous, current) = self.windows(t);
                let rest = self.period - self.windows_at(t).rem_euclid(self.period);
                (limit * self.period - previous * rest).div_euclid(self.period) - current
            }
            (_, State::Log(cells)) => i128::try_from(cells.iter().filter(|&&end| end <= t).count()).expect("small"),
            _ => (self.empty() - self.level(t)).div_euclid(self.token),
        };
        left.max(0)
    }

    pub(crate) fn admits(&self, t: i128, cost: i128) -> bool {
        cost == 0
            || match (self.quota.algorithm(), &self.state) {
                // The same as by what is available, without a division.
                (Algorithm::TokenBucket | Algorithm::LeakyBucket, _) => {
                    cost <= self.limit() && self.level(t) + cost * self.token <= self.empty()
                }
                _ => cost <= self.available(t),
            }
    }

    pub(crate) fn is_full(&self, t: i128) -> bool {
        match self.state {
            State::Level { .. } => self.level(t) == 0,
            _ => self.available(t) == self.limit(),
        }
    }

    /// Takes `cost` whether it fits or not.
    pub(crate) fn take(&mut self, t: i128, cost: u64) -> Debit {
        let mut debit = Debit { cost, from: 0, end: 0, index: 0 };
        if cost == 0 {
            return debit;
        }
        match &mut self.state {
            State::Level { .. } => {
                debit.from = t * self.leak + self.level(t);
                self.set_level(t, self.level(t) + i128::from(cost) * self.token);
                debit.end = self.end();
            }
            State::Windows { .. } | State::Begun { .. } => {
                let (previous, current) = self.windows(t);
                debit.index = self.window(t);
                self.set_windows(t, (previous, current + i128::from(cost)));
            }
            State::Log(cells) => {
                let mut places: Vec<&mut i128> = cells.iter_mut().collect();
                // What can be forgotten first. The engine may forget another, which matters if the clock goes back: then this
                // remembers no less.
                places.sort_unstable();
                let count = usize::try_from(cost).expect("64 bits");
                places.into_iter().take(count).for_each(|end| *end = t + self.period);
                debit.end = t + self.period;
            }
        }
        debit
    }

    /// Takes for a request that goes `wait` after `t`.
    pub(crate) fn reserve_at(&mut self, t: i128, cost: u64) -> Debit {
        let debit = self.take(t, cost);
        if cost > 0 && matches!(self.state, State::Level { .. }) {
            let goes = if self.is_queue() { debit.from } else { debit.end - self.empty() };
            if goes > t * self.leak {
                self.promised = self.promised.max(goes);
            }
        }
        debit
    }

    /// When `cost` fits, if nobody else comes, times `leak`: exactly for what has a level, else the first nanosecond.
    pub(crate) fn fits_at(&self, t: i128, cost: u64) -> Option<i128> {
        let (cost, now) = (i128::from(cost), t * self.leak);
        match self.state {
            _ if cost == 0 => Some(now),
            _ if cost > self.limit() => None,
            State::Level { .. } if self.is_queue() => Some(self.end().max(now)),
            State::Level { .. } => Some((self.end() + cost * self.token - self.empty()).max(now)),
            _ => Some(self.when(t, cost) * self.leak),
        }
    }

    /// Whether it can be said at `t` that a request may go at `go`, times `leak`.
    pub(crate) fn promises(&self, t: i128, go: i128) -> bool {
        let now = t * self.leak;
        go == now
            || match self.state {
                State::Level { .. } => go - now <= self.debt(),
                State::Windows { .. } => go < (t.div_euclid(self.period) + 1) * self.period * self.leak,
                State::Begun { .. } | State::Log(_) => false,
            }
    }

    /// Takes at `t` for a request that goes at `go`, times `leak`, which fits and is promised; as of then.
    pub(crate) fn take_as_of(&mut self, t: i128, go: i128, cost: u64) -> Debit {
        if cost == 0 || !matches!(self.state, State::Level { .. }) {
            return self.take(t, cost);
        }
        let now = t * self.leak;
        let (from, end) = (self.end().max(now), self.end().max(go) + i128::from(cost) * self.token);
        self.set_level(t, end - now);
        if go > now {
            self.promised = self.promised.max(go);
        }
        Debit { cost, from, end, index: 0 }
    }

    /// Whether a refund at `t` gives nothing back, as somebody waits, or may, for what came back.
    pub(crate) fn withholds(&self, t: i128, promised: i128) -> bool {
        let busy = match self.state {
            State::Level { .. } => self.level(t) > if self.is_queue() { 0 } else { self.empty() },
            _ => false,
        };
        busy && promised > t * self.leak
    }

    pub(crate) fn refund(&mut self, t: i128, cost: u64) {
        if self.withholds(t, self.promised) {
            return;
        }
        self.lower(t, cost);
    }

    /// Gives back what was taken at an instant, unless somebody waits: a window only what it has counted itself, a log the
    /// places taken at that instant, and a level no more than one that was empty then can still owe.
    pub(crate) fn refund_of(&mut self, t: i128, cost: u64, taken_at: i128) {
        if self.withholds(t, self.promised) {
            return;
        }
        let latest = self.latest(t);
        match &mut self.state {
            State::Level { .. } => {
                // A queue's may have waited.
                let most = self.empty() + if self.is_queue() { self.debt() } else { 0 };
                let owed = (taken_at * self.leak + most - t * self.leak).max(0);
                let back = i128::from(cost).saturating_mul(self.token).min(owed);
                let before = self.end();
                self.set_level(t, self.level(t) - back.min(self.level(t)));
                if self.end() < before {
                    self.lowered = self.lowered.max(before);
                }
            }
            State::Windows { .. } => {
                self.lowered = self.lowered.max(latest);
                self.undo_in(t, cost.into(), taken_at.div_euclid(self.period));
            }
            State::Begun { end, .. } => {
                // Whether the request came before the first of this window is known as far as its rounded end tells.
                let end = *end;
                if taken_at < end && self.end_of_begun(taken_at) >= end {
                    self.undo_in(t, cost.into(), end);
                }
            }
            State::Log(cells) => {
                let mine = cells.iter_mut().filter(|end| **end == taken_at + self.period && **end > t);
                mine.take(usize::try_from(cost).expect("64 bits")).for_each(|end| *end = t);
            }
        }
    }

    /// Gives back, whoever waits.
    pub(crate) fn lower(&mut self, t: i128, cost: u64) {
        match &mut self.state {
            State::Level { .. } => {
                let (before, back) = (self.end(), i128::from(cost).saturating_mul(self.token));
                self.set_level(t, self.level(t).saturating_sub(back));
                if self.end() < before {
                    self.lowered = self.lowered.max(before);
                }
            }
            State::Windows { .. } | State::Begun { .. } => {
                let (previous, current) = self.windows(t);
                let from_previous = (i128::from(cost) - current).max(0);
                let counts = ((previous - from_previous).max(0), (current - i128::from(cost)).max(0));
                if (previous, current) != (0, 0) {
                    self.lowered = self.lowered.max(self.latest(t));
                    self.set_windows(t, counts);
                }
            }
            State::Log(cells) => {
                let mut latest: Vec<&mut i128> = cells.iter_mut().filter(|end| **end > t).collect();
                // Of those taken at once, the last.
                latest.reverse();
                latest.sort_by_key(|end| std::cmp::Reverse(**end));
                for end in latest.into_iter().take(usize::try_from(cost).expect("64 bits")) {
                    self.lowered = self.lowered.max(*end * self.leak);
                    *end = t;
                }
            }
        }
    }

    pub(crate) fn reset(&mut self, t: i128) {
        match self.state {
            State::Level { .. } if self.level(t) == 0 => {}
            State::Level { .. } => {
                self.lowered = self.lowered.max(self.end());
                self.set_level(t, 0);
            }
            // Those that are over as well.
            State::Windows { .. } | State::Begun { .. } => {
                self.lowered = self.lowered.max(self.latest(t));
                self.set_windows(t, (0, 0));
            }
            State::Log(_) => self.lower(t, u64::MAX),
        }
    }

    /// How much of `cost` a charge records, if the bound on debt is longer by `slack`.
    pub(crate) fn chargeable(&self, t: i128, cost: u64, slack: i128) -> i128 {
        let room = match self.state {
            State::Level { .. } if self.limit() == 0 => 0,
            State::Level { .. } => {
                let most = self.empty() + self.debt() + slack * self.leak;
                (most - self.level(t)).div_euclid(self.token)
            }
            State::Windows { .. } | State::Begun { .. } => self.limit() - self.windows(t).1,
            State::Log(_) => self.available(t),
        };
        i128::from(cost).min(room.max(0))
    }

    /// How long, in parts of a token, a reservation of `cost` must wait; `None` if no wait helps.
    fn shortage(&self, t: i128, cost: u64) -> Option<i128> {
        if i128::from(cost) > self.limit() {
            return None;
        }
        match self.state {
            State::Level { .. } if self.is_queue() => Some(self.level(t)),
            State::Level { .. } => Some((self.level(t) + (i128::from(cost) - self.limit()) * self.token).max(0)),
            _ => self.admits(t, cost.into()).then_some(0),
        }
    }

    /// How many whole nanoseconds a reservation has to wait, if it is granted.
    pub(crate) fn reserve(&self, t: i128, cost: u64, max_wait: i128) -> Option<i128> {
        if cost == 0 {
            return Some(0);
        }
        let shortage = self.shortage(t, cost)?;
        let granted = shortage <= max_wait * self.leak && (shortage == 0 || shortage <= self.debt());
        granted.then(|| (shortage + self.leak - 1).div_euclid(self.leak))
    }

    /// Whether a debit that is undone comes back in a bucket that was lowered up to `lowered`: a level must be where the
    /// debit left it, and not be there for the second time.
    pub(crate) fn is_last(&self, debit: &Debit, lowered: i128) -> bool {
        match self.state {
            State::Level { .. } => self.end() == debit.end && debit.end > lowered,
            State::Windows { .. } | State::Begun { .. } => true,
            State::Log(_) => debit.end * self.leak > lowered,
        }
    }

    pub(crate) fn undo(&mut self, t: i128, debit: &Debit) {
        if self.is_last(debit, self.lowered) {
            self.undo_anyway(t, debit);
        }
    }

    fn undo_anyway(&mut self, t: i128, debit: &Debit) {
        let cost = i128::from(debit.cost);
        if cost == 0 {
            return;
        }
        match &mut self.state {
            State::Level { .. } => self.go_back(t, debit.from),
            State::Windows { .. } | State::Begun { .. } => self.undo_in(t, cost, debit.index),
            State::Log(cells) => {
                let mine = cells.iter_mut().filter(|end| **end == debit.end && **end > t);
                mine.take(usize::try_from(cost).expect("64 bits")).for_each(|end| *end = t);
            }
        }
    }

    /// A level that lasts is set to one that was zero, or will be, at `end`.
    fn go_back(&mut self, t: i128, end: i128) {
        if self.level(t) > 0 && end != self.end() {
            let level = end - t * self.leak;
            let overdrawn = self.is_overdrawn() && level > self.empty();
            self.state = State::Level { level, at: t, overdrawn };
        }
    }

    /// One window's count becomes less, while it is the current one, or the one before under a sliding window.
    fn undo_in(&mut self, t: i128, cost: i128, index: i128) {
        let (previous, current) = self.windows(t);
        if current == 0 && matches!(self.state, State::Begun { .. }) {
            return;
        }
        match (self.quota.algorithm(), self.window(t) - index) {
            (_, 0) => self.set_windows(t, (previous, (current - cost).max(0))),
            (Algorithm::SlidingWindow, 1) => self.set_windows(t, ((previous - cost).max(0), current)),
            _ => {}
        }
    }

    /// What of a batch is good at `t`.
    fn good(&self, held: &Batch, t: i128) -> i128 {
        match self.state {
            State::Level { .. } => held.left.min((held.until - t * self.leak).max(0)),
            _ if t < held.until => held.left,
            _ => 0,
        }
    }

    /// Whether whoever holds this is admitted without the bucket.
    pub(crate) fn spend(&self, held: &mut Batch, t: i128, cost: u64) -> bool {
        let unit = if matches!(self.state, State::Level { .. }) { self.token } else { 1 };
        let price = i128::from(cost).saturating_mul(unit);
        let spent = t >= held.since
            && !self.is_queue()
            && i128::from(cost) <= self.limit()
            && price <= self.good(held, t)
            && !matches!(self.state, State::Log(_));
        if spent {
            held.left = self.good(held, t).min(held.left) - price;
        }
        spent
    }

    /// Takes what a request needs beyond what is held, and up to `batch` in all, but no more ahead than half of what is
    /// there then. Not for one who is earlier than what he holds, nor where nothing can be held.
    pub(crate) fn fetch(&mut self, held: &mut Batch, t: i128, cost: u64, batch: u64) -> bool {
        if i128::from(cost) > self.limit() {
            return false;
        }
        let ahead = |spare: i128| i128::from(batch.saturating_sub(cost)).min(spare / 2);
        match self.state {
            State::Level { .. } if self.is_queue() => {
                if !self.admits(t, cost.into()) {
                    return false;
                }
                self.take(t, cost);
                *held = Batch::NONE;
            }
            State::Level { .. } => {
                let room = (self.empty() - self.level(t)).max(0);
                let need = (i128::from(cost) * self.token - self.good(held, t)).max(0);
                if need > room {
                    return false;
                }
                let left = ahead((room - need) / self.token) * self.token;
                self.set_level(t, self.level(t) + need + left);
                *held = Batch { since: t, end: self.end(), until: self.end(), left };
            }
            State::Windows { .. } | State::Begun { .. } => {
                let until = self.window_end(t);
                let need = (i128::from(cost) - if held.until == until { held.left } else { 0 }).max(0);
                let room = self.available(t);
                if need > room {
                    return false;
                }
                let left = ahead(room - need);
                self.take(t, u64::try_from(need + left).expect("at most the limit"));
                *held = Batch { since: t, end: 0, until, left };
            }
            State::Log(_) => panic!("a log keeps nothing ahead"),
        }
        true
    }

    /// Whether what is held comes back, in a bucket that was lowered up to `lowered`.
    pub(crate) fn is_last_batch(&self, held: &Batch, lowered: i128) -> bool {
        match self.state {
            State::Level { .. } => self.end() == held.end && held.end > lowered,
            _ => true,
        }
    }

    /// What is left of a batch goes back.
    pub(crate) fn give_back(&mut self, held: &Batch, t: i128) {
        match self.state {
            _ if held.left == 0 => {}
            State::Level { .. } if self.is_last_batch(held, self.lowered) => {
                self.go_back(t, held.until - self.good(held, t));
            }
            State::Level { .. } | State::Log(_) => {}
            State::Windows { .. } => self.undo_in(t, held.left, held.until.div_euclid(self.period) - 1),
            State::Begun { .. } => self.undo_in(t, held.left, held.until),
        }
    }

    /// How many whole requests are held at `t`.
    pub(crate) fn held(&self, held: &Batch, t: i128) -> i128 {
        let unit = if matches!(self.state, State::Level { .. }) { self.token } else { 1 };
        self.good(held, t) / unit
    }

    pub(crate) fn holds_ahead(&self) -> bool {
        !matches!(self.state, State::Log(_))
    }

    /// Whether a refusal at `t` rests on more than any call at `t` can have left without debt.
    pub(crate) fn is_from_another_time(&self, t: i128) -> bool {
        match &self.state {
            State::Level { .. } => self.level(t) > self.empty(),
            State::Windows { index, previous, current } => {
                let before = if self.quota.algorithm() == Algorithm::FixedWindow { 0 } else { self.limit() };
                (*index, *previous, *current) > (t.div_euclid(self.period), before, self.most_counted())
            }
            State::Begun { end, .. } => *end > self.end_of_begun(t),
            State::Log(cells) => cells.iter().any(|end| *end > t + self.period),
        }
    }

    /// What was left at a time that the clock has yet to show again is taken back (P7): the bucket owes as much as one can
    /// that was written at `t`. Says whether there was such a thing.
    pub(crate) fn repair(&mut self, t: i128) -> bool {
        let debt = if self.is_overdrawn() { self.debt() } else { 0 };
        let (limit, most, most_counted) = (self.limit(), self.empty() + debt, self.most_counted());
        match &mut self.state {
            State::Level { level, at, .. } => {
                if *level - (t - *at) * self.leak <= most {
                    return false;
                }
                self.lowered = self.lowered.max(*level + *at * self.leak);
                (*level, *at) = (most, t);
            }
            State::Windows { index, previous, current } => {
                let before = if self.quota.algorithm() == Algorithm::FixedWindow { 0 } else { limit };
                if (*index, *previous, *current) <= (t.div_euclid(self.period), before, most_counted) {
                    return false;
                }
                self.state = State::Windows { index: t.div_euclid(self.period), previous: 0, current: limit };
            }
            State::Begun { end, .. } => {
                let latest = *end;
                if latest <= self.end_of_begun(t) {
                    return false;
                }
                self.state = State::Begun { end: self.end_of_begun(t), count: limit };
            }
            State::Log(cells) => {
                let mut found = false;
                for end in cells.iter_mut().filter(|end| **end > t + self.period) {
                    self.lowered = self.lowered.max(*end * self.leak);
                    (*end, found) = (t + self.period, true);
                }
                return found;
            }
        }
        true
    }

    /// The most that a window has counted.
    fn most_counted(&self) -> i128 {
        if self.quota.counts_refused() { self.highest() } else { self.limit() }
    }

    /// As [`Self::repair`], where it is not known to the last digit whether that was called for: no less than is owed.
    pub(crate) fn repair_at_most(&mut self, t: i128, early: i128, in_debt: bool) {
        let debt = if in_debt { self.debt() } else { 0 };
        let most = self.empty() + debt + early * self.leak;
        match &mut self.state {
            State::Level { level, at, .. } => {
                if *level - (t - *at) * self.leak > most {
                    (*level, *at) = (most, t);
                }
            }
            State::Windows { .. } | State::Begun { .. } => panic!("windows are not followed back"),
            State::Log(cells) => cells.iter_mut().for_each(|end| *end = (*end).min(t + early + self.period)),
        }
    }

    /// The bucket of the key under another limit holds no more tokens than this one at `t`: as an exact fraction, what `how`
    /// says, rounded down to a whole number of the limiter's units, of which there are `units` in a nanosecond. Or it is
    /// filled.
    pub(crate) fn convert(&self, t: i128, to: &mut Self, how: Inheritance, units: i128) {
        let (old, new) = (self.limit(), to.limit());
        let (tokens, parts) = match self.state {
            State::Level { .. } => (self.empty() - self.level(t), self.token),
            _ => (self.available(t), 1),
        };
        // Shares of a quick quota's tokens in a slow one's are more than 128 bits tell.
        let (tokens, parts) = (BigInt::from(tokens), BigInt::from(parts));
        let (tokens, parts) = match how {
            Inheritance::AsIs => (tokens, parts),
            Inheritance::Proportional if old == 0 => (tokens, parts),
            Inheritance::Proportional => (tokens * new, parts * old),
            Inheritance::Additive => (tokens + &parts * (new - old), parts),
            _ => return to.reset(t),
        };
        // Rounded down, also below zero.
        let mut whole = &tokens / &parts;
        if &whole * &parts > tokens {
            whole -= 1;
        }
        let rest = tokens - &whole * &parts;
        let left = whole.clone().clamp(BigInt::from(0), BigInt::from(new));
        let left = i128::try_from(left).expect("a count");
        match to.state {
            State::Level { .. } => {
                let unit = to.leak / units;
                let held = whole * to.token + rest * to.token / parts / unit * unit;
                let held = held.clamp(BigInt::from(-to.debt()), BigInt::from(to.empty()));
                let level = to.empty() - i128::try_from(held).expect("between two such numbers");
                if level > to.level(t) {
                    to.state = State::Level { level, at: t, overdrawn: level > to.empty() };
                }
            }
            State::Windows { .. } => to.fill_windows(t, new - left),
            State::Begun { .. } if left < new => to.set_windows(t, (0, to.windows(t).1.max(new - left))),
            State::Begun { .. } => {}
            State::Log(_) => {
                let surplus = (to.available(t) - left).max(0);
                to.take(t, u64::try_from(surplus).expect("a count"));
            }
        }
    }

    /// The window of `t` has counted so many at least; if a later one was written, they were before that.
    fn fill_windows(&mut self, t: i128, used: i128) {
        let ((previous, current), later) = (self.windows(t), self.windows_at(t).div_euclid(self.period));
        let counts = match later - t.div_euclid(self.period) {
            0 => (previous, current.max(used)),
            1 => (previous.max(used), current),
            _ => (previous, current),
        };
        if used > 0 && counts != (previous, current) {
            self.set_windows(t, counts);
        }
    }

    /// The balance, in parts of a token, and how many make one.
    pub(crate) fn balance(&self, t: i128) -> (i128, i128) {
        (self.empty() - self.level(t), self.token)
    }

    /// What the window before and the one of `t` have counted, and when that ends, if it has begun.
    pub(crate) fn counts(&self, t: i128) -> (i128, i128, Option<i128>) {
        let (previous, current) = self.windows(t);
        let has_begun = current > 0 || !matches!(self.state, State::Begun { .. });
        (previous, current, has_begun.then(|| self.window_end(t)))
    }

    /// How many requests are remembered at `t`, and when the oldest was admitted.
    pub(crate) fn remembered(&self, t: i128) -> (i128, Option<i128>) {
        let State::Log(cells) = &self.state else { panic!("{} has no log", self.quota) };
        let busy = cells.iter().filter(|&&end| end > t);
        (busy.clone().count() as i128, busy.min().map(|end| end - self.period))
    }

    /// The first nanosecond from `t` on at which `cost` is admitted.
    pub(crate) fn when(&self, t: i128, cost: i128) -> i128 {
        self.search(t, |t| self.admits(t, cost))
    }

    /// The first nanosecond from `t` on at which nothing is missing.
    pub(crate) fn when_full(&self, t: i128) -> i128 {
        self.search(t, |t| self.is_full(t))
    }

    fn search(&self, t: i128, there: impl Fn(i128) -> bool) -> i128 {
        if there(t) {
            return t;
        }
        let (mut no, mut step) = (t, 1);
        while !there(no + step) {
            assert!(step < HORIZON, "{} never comes back: {self:?}", self.quota);
            no += step;
            step *= 2;
        }
        let mut yes = no + step;
        while yes - no > 1 {
            let middle = no + (yes - no) / 2;
            if there(middle) {
                yes = middle;
            } else {
                no = middle;
            }
        }
        yes
    }
}
