//! The algorithms in exact arithmetic, from their documentation: levels and counts in whole numbers of `1/period` of a
//! token, time in nanoseconds. Questions of the form "when?" are answered by search, not by formula.

use tollgate::{Algorithm, Quota};

use super::nanos;

/// Twenty years: no question "when?" has a later answer.
const HORIZON: i128 = 20 * super::YEAR as i128;
/// How far back the clock of a test may go.
const MEMORY: i128 = super::YEAR as i128;

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// What was taken and has not come back: `level / period` tokens at `at`. It goes down by `count / period` tokens a
    /// nanosecond, to zero.
    Level { level: i128, at: i128 },
    /// The counts of window `index` and of the one before.
    Windows { index: i128, previous: i128, current: i128 },
    /// The instants of the requests admitted.
    Log(Vec<i128>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    quota: Quota,
    count: i128,
    period: i128,
    state: State,
}

impl Model {
    pub(crate) fn new(quota: Quota) -> Self {
        let state = match quota.algorithm() {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => State::Windows { index: 0, previous: 0, current: 0 },
            Algorithm::SlidingLog => State::Log(Vec::new()),
            _ => State::Level { level: 0, at: 0 },
        };
        Self { quota, count: quota.count().into(), period: nanos(quota.period()).into(), state }
    }

    /// The most that fits at once.
    pub(crate) fn limit(&self) -> i128 {
        match self.quota.algorithm() {
            _ if self.count == 0 => 0,
            Algorithm::TokenBucket | Algorithm::LeakyBucket => self.quota.burst().into(),
            Algorithm::LeakyQueue => self.quota.burst().max(1).into(),
            _ => self.count,
        }
    }

    fn is_queue(&self) -> bool {
        self.quota.algorithm() == Algorithm::LeakyQueue
    }

    /// The level at `t`; before the instant it was written, higher by what has not leaked yet.
    fn level(&self, t: i128) -> i128 {
        let State::Level { level, at } = self.state else { panic!("{} has no level", self.quota) };
        (level - (t - at) * self.count).max(0)
    }

    fn set_level(&mut self, t: i128, to: i128) {
        self.state = State::Level { level: to.max(0), at: t };
    }

    /// How far past empty, in parts of a token.
    fn debt(&self) -> i128 {
        let depth = i128::from(self.quota.burst()) * self.period;
        match self.quota.max_debt() {
            _ if self.is_queue() => depth,
            Some(debt) => i128::from(nanos(debt)) * self.count,
            None => depth.max(3_600 * i128::from(super::SECOND) * self.count),
        }
    }

    /// The counts of the window that holds `t`, and of the one before.
    fn windows(&self, t: i128) -> (i128, i128) {
        let State::Windows { index, previous, current } = self.state else { panic!("{} has no windows", self.quota) };
        match t.div_euclid(self.period) - index {
            0 => (previous, current),
            1 => (current, 0),
            _ => (0, 0),
        }
    }

    fn set_windows(&mut self, t: i128, (previous, current): (i128, i128)) {
        self.state = State::Windows { index: t.div_euclid(self.period), previous, current };
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
                let rest = self.period - t.rem_euclid(self.period);
                (limit * self.period - previous * rest).div_euclid(self.period) - current
            }
            (_, State::Log(log)) => {
                limit - i128::try_from(log.iter().filter(|&&s| t - s < self.period).count()).expect("small")
            }
            _ => (limit * self.period - self.level(t)).div_euclid(self.period),
        };
        left.max(0)
    }

    /// What is there, below zero past empty, as a fraction.
    pub(crate) fn tokens(&self, t: i128) -> (i128, i128) {
        match self.state {
            State::Level { .. } => (self.limit() * self.period - self.level(t), self.period),
            _ => (self.available(t), 1),
        }
    }

    pub(crate) fn admits(&self, t: i128, cost: u64) -> bool {
        cost == 0 || i128::from(cost) <= self.available(t)
    }

    pub(crate) fn is_full(&self, t: i128) -> bool {
        self.available(t) == self.limit() && !matches!(self.state, State::Level { .. } if self.level(t) > 0)
    }

    /// Takes `cost` whether it fits or not.
    pub(crate) fn take(&mut self, t: i128, cost: u64) {
        if cost == 0 {
            return;
        }
        match &mut self.state {
            State::Level { .. } => self.set_level(t, self.level(t) + i128::from(cost) * self.period),
            State::Windows { .. } => {
                let (previous, current) = self.windows(t);
                self.set_windows(t, (previous, current + i128::from(cost)));
            }
            State::Log(log) => {
                log.retain(|s| t - s < self.period + MEMORY);
                log.extend((0..cost).map(|_| t));
            }
        }
    }

    pub(crate) fn refund(&mut self, t: i128, cost: u64) {
        match &mut self.state {
            State::Level { .. } => self.set_level(t, self.level(t).saturating_sub(i128::from(cost) * self.period)),
            State::Windows { .. } => {
                let (previous, current) = self.windows(t);
                let from_previous = (i128::from(cost) - current).max(0);
                let counts = ((previous - from_previous).max(0), (current - i128::from(cost)).max(0));
                self.set_windows(t, counts);
            }
            State::Log(log) => {
                // As full as if they had expired just now.
                log.sort_unstable_by(|a, b| b.cmp(a));
                let latest = log.iter_mut().filter(|s| t - **s < self.period);
                latest.take(usize::try_from(cost).expect("64 bits")).for_each(|s| *s = t - self.period);
            }
        }
    }

    pub(crate) fn reset(&mut self, t: i128) {
        match &mut self.state {
            State::Level { .. } => self.set_level(t, 0),
            State::Windows { .. } => self.set_windows(t, (0, 0)),
            State::Log(_) => self.refund(t, u64::MAX),
        }
    }

    /// How much of `cost` a charge records, if the bound on debt is longer by `slack`.
    pub(crate) fn chargeable(&self, t: i128, cost: u64, slack: i128) -> i128 {
        let room = match self.state {
            State::Level { .. } if self.limit() == 0 => 0,
            State::Level { .. } => {
                let most = self.limit() * self.period + self.debt() + slack * self.count;
                (most - self.level(t)).div_euclid(self.period)
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
            State::Level { .. } => Some((self.level(t) + (i128::from(cost) - self.limit()) * self.period).max(0)),
            _ => self.admits(t, cost).then_some(0),
        }
    }

    /// How many whole nanoseconds a reservation has to wait, if it is granted.
    pub(crate) fn reserve(&self, t: i128, cost: u64, max_wait: i128) -> Option<i128> {
        if cost == 0 {
            return Some(0);
        }
        let shortage = self.shortage(t, cost)?;
        let granted = shortage <= max_wait * self.count && (shortage == 0 || shortage <= self.debt());
        granted.then(|| (shortage + self.count - 1).div_euclid(self.count))
    }

    /// What `cancel` needs to know of a reservation: where it left the level; for the others, when it was made.
    pub(crate) fn mark(&self, t: i128) -> i128 {
        match self.state {
            State::Level { .. } => self.level(t) + t * self.count,
            _ => t,
        }
    }

    /// Gives back what has not been paid for by now, and no later reservation stands on: none may in a queue.
    pub(crate) fn cancel(&mut self, t: i128, cost: u64, mark: i128) {
        match &mut self.state {
            _ if cost == 0 => return,
            State::Level { .. } => {}
            State::Windows { .. } => {
                let age = t.div_euclid(self.period) - mark.div_euclid(self.period);
                let (previous, current) = self.windows(t);
                let cost = i128::from(cost);
                return match (self.quota.algorithm(), age) {
                    (_, 0) => self.set_windows(t, (previous, (current - cost).max(0))),
                    (Algorithm::SlidingWindow, 1) => self.set_windows(t, ((previous - cost).max(0), current)),
                    _ => {}
                };
            }
            State::Log(log) => {
                let mine = log.iter_mut().filter(|s| **s == mark && t - **s < self.period);
                mine.take(usize::try_from(cost).expect("64 bits")).for_each(|s| *s = t - self.period);
                return;
            }
        }
        let behind = (self.mark(t) - mark).max(0);
        let stood_on = match self.is_queue() {
            true if self.mark(t) != mark => return,
            false if self.level(t) > self.limit() * self.period => behind,
            _ => 0,
        };
        let unpaid = (mark - t * self.count).max(0);
        let back = (i128::from(cost) * self.period - stood_on).clamp(0, unpaid);
        self.set_level(t, self.level(t) - back);
    }

    /// At most what a bucket can owe whose last request came `skew` after `t`: P7.
    pub(crate) fn forgive(&mut self, t: i128, skew: i128, in_debt: bool) {
        let most = self.limit() * self.period + skew * self.count;
        let debt = if in_debt { self.debt() } else { 0 };
        match &mut self.state {
            State::Level { .. } => self.set_level(t, self.level(t).min(most + debt)),
            State::Windows { .. } => panic!("windows are not followed back"),
            State::Log(log) => {
                log.iter_mut().for_each(|s| *s = (*s).min(t + skew));
            }
        }
    }

    /// The first nanosecond from `t` on at which `cost` is admitted.
    pub(crate) fn when(&self, t: i128, cost: i128) -> i128 {
        self.search(t, |t| self.available(t) >= cost)
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
