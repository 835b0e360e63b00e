//! Random quotas, costs and instants, biased to the bounds and to the instants where something happens.

use std::time::Duration;

use super::common::{DAY, Rng, SECOND, YEAR, nanos};
use super::range::Range;
use tollgate::{Algorithm, Decision, Quota, WindowStart};

/// From one in ten years to more than a billion a second, bursts from 0 to beyond what fits.
pub(crate) fn quota(rng: &mut Rng, algorithm: Algorithm) -> Quota {
    let period = match rng.below(32) {
        0 => nanos(Quota::MAX_PERIOD),
        1..9 => rng.magnitude(30 * DAY),
        _ => rng.pick(&[1, 1_000, 1_000_000, SECOND, SECOND, 7 * SECOND, 30 * SECOND, 60 * SECOND, DAY, 30 * DAY]),
    };
    // A log of more is as slow as it is long.
    let most = match algorithm {
        Algorithm::SlidingLog if rng.once_in(100) => Quota::MAX_LOG,
        Algorithm::SlidingLog => 24,
        _ => u64::MAX >> 24,
    };
    let count = match rng.below(32) {
        0 => most,
        1..8 => rng.magnitude(most),
        8..16 => rng.magnitude(most.min(40)),
        _ => rng.pick(&[1, 2, 3, 5, 7, 10, 11, 16, 24, 60, 100, 300, 1_000, 50_000, 1_000_000, SECOND]),
    };
    let quota = Quota::new(count.min(most), Duration::from_nanos(period)).expect("a valid period");
    let quota = quota.with_algorithm(algorithm);
    if algorithm.is_window() {
        return of_fixed_windows(rng, quota);
    }
    let quota = match rng.below(8) {
        0 | 1 => quota,
        2 | 3 => quota.with_burst(rng.magnitude(1 << 33)),
        _ => quota.with_burst(rng.pick(&[0, 1, 2, 3, 10, 60, 1_000, 1 << 32, (1 << 32) - 1, u64::MAX])),
    };
    in_debt(rng, quota)
}

/// Fixed windows perhaps begin with their first request, and perhaps count what they refuse.
fn of_fixed_windows(rng: &mut Rng, quota: Quota) -> Quota {
    if quota.algorithm() != Algorithm::FixedWindow {
        return quota;
    }
    let start = rng.pick(&[WindowStart::Clock, WindowStart::FirstHit]);
    quota.with_window_start(start).with_refused_counted(rng.once_in(3))
}

/// Perhaps with a bound on debt of its own; surely so where the default would be what the range leaves, because the model
/// knows no range.
fn in_debt(rng: &mut Rng, quota: Quota) -> Quota {
    let period = nanos(quota.period());
    let depth = u128::from(quota.burst()) * u128::from(period) / u128::from(quota.count().max(1));
    if depth > u128::from(YEAR) || rng.once_in(2) {
        let debts = [0, 1, SECOND, 3_600 * SECOND, period, rng.magnitude(YEAR)];
        return quota.with_max_debt(Duration::from_nanos(rng.pick(&debts).min(YEAR)));
    }
    quota
}

/// Two or three quotas that one bucket may have in turn, all held to the last digit.
pub(crate) fn related(rng: &mut Rng) -> Vec<Quota> {
    const LEVELS: [Algorithm; 3] = [Algorithm::TokenBucket, Algorithm::LeakyBucket, Algorithm::LeakyQueue];
    const WINDOWS: [Algorithm; 2] = [Algorithm::FixedWindow, Algorithm::SlidingWindow];
    let (kind, window) = (rng.below(3), rng.pick(&WINDOWS));
    // Counts that divide half a period's nanoseconds.
    let periods = [1_000, 1_000_000, SECOND, 5 * SECOND, 60 * SECOND, DAY];
    let same = rng.pick(&periods);
    (0..2 + rng.below(2))
        .map(|_| {
            let count = rng.pick(&[1, 2, 4, 5, 8, 10, 16, 20, 25, 100, 1_000]);
            let (algorithm, period) = match kind {
                0 => (rng.pick(&LEVELS), rng.pick(&periods)),
                1 => (window, same),
                _ => (rng.pick(&Algorithm::ALL), rng.pick(&periods)),
            };
            let count = if algorithm == Algorithm::SlidingLog { count.min(20) } else { count };
            let quota = Quota::new(count, Duration::from_nanos(period)).expect("a valid period");
            let quota = quota.with_algorithm(algorithm);
            if algorithm.is_window() {
                return of_fixed_windows(rng, quota);
            }
            let some = rng.magnitude(1 << 20);
            let quota = quota.with_burst(rng.pick(&[1, 2, count, 30, 100, some]));
            in_debt(rng, quota)
        })
        .collect()
}

/// When a limiter starts: at the ends of what a clock can show, and at some moment in between.
pub(crate) fn start(rng: &mut Rng) -> u64 {
    let today = 1_700_000_123_456_789_012;
    let ends = [0, 1, 59 * SECOND, 366 * DAY, u64::MAX - 15 * YEAR, u64::MAX - 1, u64::MAX];
    match rng.below(4) {
        0 => rng.pick(&ends),
        _ => rng.pick(&[YEAR, 30 * YEAR, 1_700_000_123 * SECOND, today, today + 1]),
    }
}

pub(crate) fn cost(rng: &mut Rng, limit: u64) -> u64 {
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

/// Where instants are drawn from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    range: Range,
    start: u64,
    /// No step leads beyond this: five years from the start, or the last instant of a clock.
    latest: u64,
    /// Whether the clock may go back.
    pub(crate) back: bool,
    /// What the last answers said: when to try again, when everything will be back, when a request may go.
    pub(crate) hints: [u64; 3],
}

impl Times {
    pub(crate) fn new(rng: &mut Rng, range: Range, start: u64, back: bool) -> Self {
        let latest = if rng.once_in(8) { u64::MAX } else { start.saturating_add(5 * YEAR).min(range.last) };
        Self { range, start, latest, back, hints: [start; 3] }
    }

    /// Whether a scenario goes on to the end of the range.
    pub(crate) const fn goes_to_the_end(&self) -> bool {
        self.latest > self.range.last
    }

    /// An instant about the last one of the range.
    pub(crate) fn near_the_end(&self, rng: &mut Rng, quota: &Quota) -> u64 {
        let depth = u128::from(quota.burst()) * u128::from(nanos(quota.period())) / u128::from(quota.count().max(1));
        let depth = u64::try_from(depth).unwrap_or(YEAR).min(YEAR);
        self.range.last - rng.magnitude(depth.max(1))
    }

    /// What a decision at `t` says of later ones.
    pub(crate) fn told(&mut self, t: u64, decision: &Decision<'_>) {
        let later = |after: Duration| t.saturating_add(nanos(after));
        self.hints[0] = decision.retry_after().map_or(t, later);
        self.hints[1] = later(decision.reset_after());
    }

    /// The instant after `t`.
    pub(crate) fn next(&self, rng: &mut Rng, t: u64, quota: &Quota) -> u64 {
        let period = nanos(quota.period());
        let near = |rng: &mut Rng, at: u64| at.saturating_add(rng.below(3)).saturating_sub(1);
        let token =
            u64::try_from(u128::from(period) / u128::from(quota.count().max(1))).expect("shorter than the period");
        let to = match rng.below(16) {
            0..4 => t,
            4..8 => {
                let hint = rng.pick(&self.hints);
                near(rng, hint)
            }
            8 => near(rng, t.saturating_add(token)),
            9 => {
                let some = rng.magnitude(quota.burst().max(1));
                near(rng, t.saturating_add(token.saturating_mul(some)))
            }
            10 => near(rng, (t / period).saturating_add(1).saturating_mul(period)),
            11 => {
                let periods = rng.below(3) + 1;
                near(rng, t.saturating_add(periods * period))
            }
            12 if rng.once_in(20) => t.saturating_add(rng.magnitude(2 * YEAR)),
            12 if self.goes_to_the_end() && rng.once_in(4) => {
                let end = rng.pick(&[self.range.last, u64::MAX]);
                near(rng, end)
            }
            13 | 14 if self.back => return self.before(rng, t),
            _ => t.saturating_add(rng.magnitude(DAY)),
        };
        to.clamp(t, self.latest.max(t))
    }

    /// An instant up to a year earlier, or the first one.
    fn before(&self, rng: &mut Rng, t: u64) -> u64 {
        let step = match rng.below(6) {
            0 => 1,
            1 => rng.pick(&[999_999, 1_000_000, 1_000_001, SECOND - 1, SECOND, SECOND + 1]),
            2 if self.goes_to_the_end() => t - rng.pick(&[0, self.range.first, self.range.first + 1]).min(t),
            _ => rng.magnitude(YEAR),
        };
        let earliest = if self.goes_to_the_end() { 0 } else { self.range.first.max(self.start.saturating_sub(YEAR)) };
        t.saturating_sub(step).max(earliest.min(t))
    }
}
