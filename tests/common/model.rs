//! The algorithms in exact arithmetic, from their documentation: levels and counts in whole numbers of a small part of a
//! token, time in nanoseconds. Questions of the form "when?" are answered by search, not by formula.

use num_bigint::BigInt;
use tollgate::{Algorithm, Inheritance, Quota};

use super::nanos;

/// A thousand years: no question "when?" has a later answer.
const HORIZON: i128 = 1_000 * super::YEAR as i128;

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// What was taken and has not come back: `level` parts of a token at `at`, of which `Model::leak` go a nanosecond.
    /// `overdrawn` says that a reservation or a charge left it past empty.
    Level { level: i128, at: i128, overdrawn: bool },
    /// The counts of window `index` and of the one before.
    Windows { index: i128, previous: i128, current: i128 },
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
}

impl Model {
    pub(crate) fn new(quota: Quota) -> Self {
        Self::in_parts(quota, quota.count().into())
    }

    /// With `leak` parts of a token a nanosecond, a multiple of the count.
    pub(crate) fn in_parts(quota: Quota, leak: i128) -> Self {
        let (count, period) = (i128::from(quota.count()), i128::from(nanos(quota.period())));
        let state = match quota.algorithm() {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => State::Windows { index: 0, previous: 0, current: 0 },
            Algorithm::SlidingLog => State::Log(vec![i128::MIN; usize::try_from(count).expect("at most 1,024")]),
            _ => State::Level { level: 0, at: 0, overdrawn: false },
        };
        Self { quota, period, leak, token: if count == 0 { 1 } else { leak / count * period }, state }
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
        let State::Windows { index, previous, current } = self.state else { panic!("{} has no windows", self.quota) };
        match t.div_euclid(self.period) - index {
            ..=0 => (previous, current),
            1 => (current, 0),
            _ => (0, 0),
        }
    }

    fn set_windows(&mut self, t: i128, (previous, current): (i128, i128)) {
        // A fixed window knows none before it.
        let previous = if self.quota.algorithm() == Algorithm::FixedWindow { 0 } else { previous };
        // Nothing counted is the same in every window.
        let index = if (previous, current) == (0, 0) { 0 } else { self.windows_at(t).div_euclid(self.period) };
        self.state = State::Windows { index, previous, current };
    }

    /// Whether this is a window in which nothing is counted. When it was emptied is all that is left of it, so it cannot
    /// be followed back.
    pub(crate) const fn is_emptied(&self) -> bool {
        matches!(self.state, State::Windows { previous: 0, current: 0, .. })
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
    pub(crate) fn take(&mut self, t: i128, cost: u64) {
        if cost == 0 {
            return;
        }
        match &mut self.state {
            State::Level { .. } => self.set_level(t, self.level(t) + i128::from(cost) * self.token),
            State::Windows { .. } => {
                let (previous, current) = self.windows(t);
                self.set_windows(t, (previous, current + i128::from(cost)));
            }
            State::Log(cells) => {
                let mut places: Vec<&mut i128> = cells.iter_mut().collect();
                // What can be forgotten first. The engine may forget another, which matters if the clock goes back: then this
                // remembers no less.
                places.sort_unstable();
                let count = usize::try_from(cost).expect("64 bits");
                places.into_iter().take(count).for_each(|end| *end = t + self.period);
            }
        }
    }

    pub(crate) fn refund(&mut self, t: i128, cost: u64) {
        match &mut self.state {
            State::Level { .. } => {
                let back = i128::from(cost).saturating_mul(self.token);
                self.set_level(t, self.level(t).saturating_sub(back));
            }
            State::Windows { .. } => {
                let (previous, current) = self.windows(t);
                let from_previous = (i128::from(cost) - current).max(0);
                let counts = ((previous - from_previous).max(0), (current - i128::from(cost)).max(0));
                self.set_windows(t, counts);
            }
            State::Log(cells) => {
                let mut latest: Vec<&mut i128> = cells.iter_mut().filter(|end| **end > t).collect();
                // Of those taken at once, the last.
                latest.reverse();
                latest.sort_by_key(|end| std::cmp::Reverse(**end));
                latest.into_iter().take(usize::try_from(cost).expect("64 bits")).for_each(|end| *end = t);
            }
        }
    }

    pub(crate) fn reset(&mut self, t: i128) {
        match &mut self.state {
            State::Level { .. } => self.set_level(t, 0),
            State::Windows { .. } | State::Log(_) => self.refund(t, u64::MAX),
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
            State::Windows { .. } => self.limit() - self.windows(t).1,
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

    /// What `cancel` needs to know of a reservation just made: where it left the level; which window counted it; when its
    /// place in the log comes back.
    pub(crate) fn mark(&self, t: i128) -> i128 {
        match self.state {
            State::Level { .. } => self.level(t) + t * self.leak,
            State::Windows { .. } => self.windows_at(t).div_euclid(self.period),
            State::Log(_) => t + self.period,
        }
    }

    /// Gives back what has not been paid for by now, and no later reservation stands on: none may in a queue.
    pub(crate) fn cancel(&mut self, t: i128, cost: u64, mark: i128) {
        if cost == 0 {
            return;
        }
        match &mut self.state {
            State::Level { .. } => {}
            State::Windows { .. } => {
                let (previous, current) = self.windows(t);
                let cost = i128::from(cost);
                return match (self.quota.algorithm(), t.div_euclid(self.period) - mark) {
                    (_, ..=0) => self.set_windows(t, (previous, (current - cost).max(0))),
                    (Algorithm::SlidingWindow, 1) => self.set_windows(t, ((previous - cost).max(0), current)),
                    _ => {}
                };
            }
            State::Log(cells) => {
                let mine = cells.iter_mut().filter(|end| **end == mark && **end > t);
                mine.take(usize::try_from(cost).expect("64 bits")).for_each(|end| *end = t);
                return;
            }
        }
        let behind = (self.mark(t) - mark).max(0);
        let stood_on = match self.is_queue() {
            true if self.mark(t) != mark => return,
            false if self.level(t) > self.empty() => behind,
            _ => 0,
        };
        let unpaid = (mark - t * self.leak).max(0);
        let back = (i128::from(cost) * self.token - stood_on).clamp(0, unpaid);
        self.set_level(t, self.level(t) - back);
    }

    /// A refusal at `t` of a bucket that owes more than its last request can have left, if that came `skew` after `t`
    /// (P7): it owes as much as a bucket can that was written at `t`.
    pub(crate) fn mend(&mut self, t: i128, skew: i128) {
        let debt = if self.is_overdrawn() { self.debt() } else { 0 };
        let (limit, most, late) = (self.limit(), self.empty() + debt, t + skew);
        match &mut self.state {
            State::Level { level, at, .. } => {
                if *level - (late - *at) * self.leak > most {
                    (*level, *at) = (most, t);
                }
            }
            State::Windows { index, previous, current } => {
                let before = if self.quota.algorithm() == Algorithm::FixedWindow { 0 } else { limit };
                if (*index, *previous, *current) > (late.div_euclid(self.period), before, limit) {
                    self.state = State::Windows { index: t.div_euclid(self.period), previous: 0, current: limit };
                }
            }
            State::Log(cells) => {
                let late = cells.iter_mut().filter(|end| **end > late + self.period);
                late.for_each(|end| *end = t + self.period);
            }
        }
    }

    /// As [`Self::mend`], where it is not known to the last digit whether that was called for: no less than is owed.
    pub(crate) fn mend_at_most(&mut self, t: i128, skew: i128, in_debt: bool) {
        let debt = if in_debt { self.debt() } else { 0 };
        let most = self.empty() + debt + skew * self.leak;
        match &mut self.state {
            State::Level { level, at, .. } => {
                if *level - (t - *at) * self.leak > most {
                    (*level, *at) = (most, t);
                }
            }
            State::Windows { .. } => panic!("windows are not followed back"),
            State::Log(cells) => cells.iter_mut().for_each(|end| *end = (*end).min(t + skew + self.period)),
        }
    }

    /// The same bucket judged by another quota of the same kind: a level keeps its time, a window its counts.
    pub(crate) fn switch(&mut self, quota: Quota) {
        *self = Self { state: self.state.clone(), ..Self::in_parts(quota, self.leak) };
    }

    /// The bucket rewritten for another quota: its tokens, as an exact fraction, are what `how` says, rounded down to a
    /// whole number of the limiter's units, of which there are `units` in a nanosecond.
    pub(crate) fn convert(&mut self, t: i128, quota: Quota, how: Inheritance, units: i128) {
        let mut to = Self::in_parts(quota, self.leak);
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
            _ => (BigInt::from(new), BigInt::from(1)),
        };
        // Rounded down, also below zero.
        let mut whole = &tokens / &parts;
        if &whole * &parts > tokens {
            whole -= 1;
        }
        let rest = tokens - &whole * &parts;
        let missing = new - whole.clone().clamp(BigInt::from(0), BigInt::from(new));
        let missing = u64::try_from(missing).expect("a count");
        match (&self.state, &to.state) {
            (State::Level { .. } | State::Windows { .. }, State::Level { .. }) => {
                let unit = self.leak / units;
                let held = whole * to.token + rest * to.token / parts / unit * unit;
                let held = held.clamp(BigInt::from(-to.debt()), BigInt::from(to.empty()));
                let level = to.empty() - i128::try_from(held).expect("between two such numbers");
                to.state = State::Level { level, at: t, overdrawn: level > to.empty() };
            }
            _ => to.take(t, missing),
        }
        match (&self.state, &to.state) {
            // Full before and after: not written.
            (State::Level { .. }, State::Level { .. }) if self.is_full(t) && to.is_full(t) => self.switch(quota),
            _ => *self = to,
        }
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
