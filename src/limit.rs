//! A quota turned into whole numbers of a limiter's time unit, once, off the check path.

use core::time::Duration;

use crate::algorithm::Rule;
use crate::algorithm::first_hit::FirstHit;
use crate::algorithm::fixed_window::{FixedWindow, Windows};
use crate::algorithm::leaky_queue::LeakyQueue;
use crate::algorithm::sliding_window::SlidingWindow;
use crate::algorithm::token_bucket::TokenBucket;
use crate::algorithm::window::Grid;
use crate::arith::{NANOS_PER_SECOND, gcd, saturating_nanos};
use crate::hash::{Owner, Salt};
use crate::predecessor::Predecessor;
use crate::quota::{Algorithm, Quota, QuotaError, WindowStart};
use crate::time_base::{MAX_AHEAD, MAX_UNITS_PER_SECOND, TimeBase};
use crate::word::Units;

/// A quota made ready for one limiter, with an identity: the name it was made under.
///
/// Made by [`Limiter::prepare`](crate::Limiter::prepare); for that limiter only, which refuses those of others. Cheap to copy.
///
/// **A limit is its name and its quota.** The bucket of a key under a limit belongs to (name, quota, key): a limit of another
/// name or another quota has buckets of its own, so two quotas that judge one key in turn admit the sum of both. To change
/// the quota of a limit, name the old one: [`Limiter::change_quota`](crate::Limiter::change_quota) for all keys, or
/// [`Limiter::convert`](crate::Limiter::convert) for one. (Sliding logs of one name and one period share their memory,
/// whatever their counts.)
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    quota: Quota,
    pub(crate) salt: Salt,
    pub(crate) owner: Owner,
    pub(crate) rule: Rule,
    /// How many one-token buckets make up this limit: 1, or the count of a sliding log.
    pub(crate) cells: u64,
    most: u64,
    pub(crate) base: TimeBase,
    /// The limits that this one has taken the place of, the latest first.
    pub(crate) predecessors: [Option<Predecessor>; Limit::PREDECESSORS],
    /// Whether all there is to a check of a key is one try at one word: no log, no predecessor, no count of refusals, and not
    /// nothing at all.
    is_plain: bool,
}

impl Limit {
    /// The name of the limit that a limiter is built with, as for [`Limiter::prepare`](crate::Limiter::prepare).
    pub const DEFAULT_NAME: &'static str = "default";

    /// How many limits before a limit are asked what a key has used.
    pub(crate) const PREDECESSORS: usize = 4;

    /// Bounds are checked here, in 128 bits; nothing after this can wrap.
    pub(crate) fn new(quota: Quota, salt: Salt, owner: Owner, base: TimeBase) -> Result<Self, QuotaError> {
        let is_of_fixed_windows = quota.window_start() != WindowStart::Clock || quota.counts_refused();
        if is_of_fixed_windows && quota.algorithm() != Algorithm::FixedWindow {
            return Err(QuotaError::NotAFixedWindow { quota });
        }
        let (rule, cells) = match quota.algorithm() {
            // Never asked: `Op` answers before. A call that forgot to would refuse, as nothing fits.
            _ if quota.is_unlimited() => (Rule::TokenBucket(CLOSED), 1),
            Algorithm::TokenBucket | Algorithm::LeakyBucket => (Rule::TokenBucket(bucket(&quota, &base)?), 1),
            Algorithm::LeakyQueue => (Rule::LeakyQueue(queue(&quota, &base)?), 1),
            Algorithm::FixedWindow => {
                let windows = match quota.window_start() {
                    WindowStart::Clock => Windows::Clock(grid(&quota, &base)?),
                    WindowStart::FirstHit => Windows::FirstHit(FirstHit::new(window(&quota, &base)?)),
                };
                let counts_refused = quota.counts_refused();
                let limit = at_most(&quota, FixedWindow::max_limit(&windows, counts_refused))?;
                (Rule::FixedWindow(FixedWindow::new(windows, limit, counts_refused)), 1)
            }
            Algorithm::SlidingWindow => {
                let grid = grid(&quota, &base)?;
                let bits = SlidingWindow::bits(grid.window);
                let limit = at_most(&quota, (1 << bits) - 1)?;
                let early = u64::from(!base.is_whole());
                (Rule::SlidingWindow(SlidingWindow { grid, limit, bits, early }), 1)
            }
            Algorithm::SlidingLog => {
                let window = window(&quota, &base)?;
                let cells = at_most(&quota, Quota::MAX_LOG)?;
                // Each request remembered is a bucket of one token that takes a whole period to come back. A log of no
                // cells keeps one that nothing fits into.
                let burst = cells.min(1);
                let cell = TokenBucket { token: window, burst, depth: burst * window, debt: 0 };
                (Rule::TokenBucket(cell), cells.max(1))
            }
        };
        let is_plain = Self::begins_plain(&quota);
        let most = if quota.is_unlimited() { u64::MAX } else { cells * rule.limit() };
        Ok(Self { quota, salt, owner, rule, cells, most, base, predecessors: [None; Self::PREDECESSORS], is_plain })
    }

    /// What this limit becomes at `since` under another quota, with buckets of `salt`.
    pub(crate) fn changed(&self, quota: Quota, salt: Salt, since: Units) -> Result<Self, QuotaError> {
        let mut new = Self::new(quota, salt, self.owner, self.base)?;
        // Of another period, algorithm or beginning of windows, what was counted says nothing; without a limit nothing is counted.
        let is_counted = !quota.is_unlimited() && !self.is_unlimited();
        let counts_alike = |quota: &Quota| (quota.algorithm(), quota.period(), quota.window_start());
        if is_counted && counts_alike(&quota) == counts_alike(&self.quota) {
            let way = new.salt.way_to(self.salt);
            let last = Predecessor::new(self.rule, self.cells, way, &new.rule, since);
            new.predecessors[0] = Some(last);
            // What has no longer a say need not be asked.
            let earlier = self.predecessors.iter().flatten().filter(|earlier| earlier.counts_at(since));
            for (place, earlier) in new.predecessors[1..].iter_mut().zip(earlier) {
                *place = Some(earlier.further(&last));
            }
            new.is_plain = false;
        }
        Ok(new)
    }

    /// The same limit with buckets of another salt, and nothing before.
    #[cfg(not(tollgate_model))]
    pub(crate) fn anew(&self, salt: Salt) -> Self {
        let is_plain = Self::begins_plain(&self.quota);
        Self { salt, predecessors: [None; Self::PREDECESSORS], is_plain, ..*self }
    }

    /// Whether a limit of this quota is plain before it changes.
    fn begins_plain(quota: &Quota) -> bool {
        quota.algorithm() != Algorithm::SlidingLog && !quota.counts_refused() && !quota.is_unlimited()
    }

    /// Whether what keys used under the quota before counts under this one: if it came by
    /// [`Limiter::change_quota`](crate::Limiter::change_quota) from one of the same period, algorithm and
    /// [window start](crate::WindowStart).
    #[must_use]
    pub const fn carries_over(&self) -> bool {
        self.predecessors[0].is_some()
    }

    /// The resolution of the limiter: how many of its time units make a second, at least 1e9.
    ///
    /// Where it is a multiple of 1e9, not even `now` is rounded; else `now` is rounded down, by less than a nanosecond.
    #[must_use]
    pub const fn units_per_second(&self) -> u64 {
        self.base.units_per_second()
    }

    /// The quota this limit was made from.
    #[must_use]
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// How far ahead of now any call can leave a stamp: without debt, and with.
    pub(crate) const fn reach(&self) -> [Units; 2] {
        [self.rule.reach(false), self.rule.reach(true)]
    }

    /// The most that fits at once.
    #[inline]
    pub(crate) const fn most(&self) -> u64 {
        self.most
    }

    /// Whether one try at one word is all that there is to a check.
    #[inline]
    pub(crate) const fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Whether everything is admitted: then no bucket is looked at, nor written.
    #[inline]
    pub(crate) const fn is_unlimited(&self) -> bool {
        self.quota.is_unlimited()
    }

    /// Whether several cells make up one bucket.
    #[inline]
    pub(crate) const fn is_log(&self) -> bool {
        matches!(self.quota.algorithm(), Algorithm::SlidingLog)
    }

    /// The rate that is really held: the quota's own if it is a whole number of the limiter's time units, else the
    /// nearest lower one. Of windows that begin with their [first request](crate::WindowStart::FirstHit) it is that of the
    /// longest of them, as their ends are rounded up. Of an
    /// [unlimited](Quota::unlimited) quota: [`u64::MAX`] a second.
    ///
    /// ```
    /// use tollgate::{Limiter, Quota};
    ///
    /// let limiter = Limiter::builder(Quota::per_second(300)).build()?;
    /// assert!(limiter.default_limit().effective_rate().is_exact());
    /// // A quota that was not announced with `expect` may fit no whole number of units.
    /// let odd = limiter.prepare("odd", Quota::per_second(1_000_003))?.effective_rate();
    /// assert!(!odd.is_exact() && odd.per_second() > 999_000.0 && odd.per_second() < 1_000_003.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn effective_rate(&self) -> EffectiveRate {
        if self.is_unlimited() {
            return EffectiveRate { numerator: u128::from(self.quota.count()), denominator: 1, exact: true };
        }
        if self.most() == 0 {
            return EffectiveRate { numerator: 0, denominator: 1, exact: true }; // closed: nothing to round
        }
        let units = u128::from(self.base.units_per_second());
        let (numerator, denominator) = match self.rule {
            Rule::TokenBucket(rule) | Rule::LeakyQueue(LeakyQueue { bucket: rule }) => {
                (units * u128::from(self.cells), u128::from(rule.token))
            }
            Rule::FixedWindow(FixedWindow { windows, limit, .. }) => {
                (units * u128::from(limit), u128::from(windows.longest()))
            }
            Rule::SlidingWindow(SlidingWindow { grid, limit, .. }) => {
                (units * u128::from(limit), u128::from(grid.window))
            }
        };
        let divisor = gcd(numerator, denominator).max(1);
        let (numerator, denominator) = (numerator / divisor, denominator / divisor);
        // count * 1e9 / period = numerator / denominator; all below 2^64 * 2^60.
        let asked = u128::from(self.quota.count()) * u128::from(NANOS_PER_SECOND);
        let period = u128::from(self.quota.period_nanos());
        let divisor = gcd(asked, period).max(1);
        let exact = (asked / divisor, period / divisor) == (numerator, denominator);
        EffectiveRate { numerator, denominator, exact }
    }
}

/// A rate as the limiter holds it: a fraction of tokens per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectiveRate {
    numerator: u128,
    denominator: u128,
    exact: bool,
}

impl EffectiveRate {
    /// Whether it is the quota's rate to the last digit. If not, it is lower, never higher.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.exact
    }

    /// Tokens per second as a fraction in lowest terms: numerator and denominator.
    #[must_use]
    pub const fn as_fraction(&self) -> (u128, u128) {
        (self.numerator, self.denominator)
    }

    /// Tokens per second, rounded to a float.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure to show; the fraction is there for exact use")]
    pub fn per_second(&self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}

/// The longest debt in which a bucket may stand by default, unless its burst takes longer.
const DEFAULT_DEBT_NANOS: u64 = 3_600 * NANOS_PER_SECOND;

/// A bucket that nothing fits into.
const CLOSED: TokenBucket = TokenBucket { token: 1, burst: 0, depth: 0, debt: 0 };

/// The longest period that fits into what a stamp may be ahead of now; of a bucket or a queue, the longest token.
const fn longest(algorithm: Algorithm) -> Units {
    MAX_AHEAD
        / match algorithm {
            Algorithm::TokenBucket | Algorithm::LeakyBucket => 1,
            // The largest request, and the line.
            Algorithm::LeakyQueue => 2,
            // The window that holds now, and the next one if its end is the stamp's; with the counts, which are less than a
            // window.
            Algorithm::FixedWindow | Algorithm::SlidingLog => 2,
            Algorithm::SlidingWindow => 3,
        }
}

impl Algorithm {
    /// The longest period that every limiter holds, whatever its other quotas are, in whole days; for a bucket or a queue with
    /// the count as its burst (the count being less than 1e14).
    ///
    /// A limiter whose time unit is coarser holds up to twice that, and a bucket whose burst is smaller than its count up to
    /// [`Quota::MAX_PERIOD`]; what does not fit is refused with the bound, as
    /// [`QuotaError::PeriodTooLong`] or
    /// [`QuotaError::BurstTooLarge`].
    ///
    /// ```
    /// use tollgate::Algorithm;
    ///
    /// let days = Algorithm::ALL.map(|algorithm| algorithm.max_period().as_secs() / 86_400);
    /// assert_eq!(days, [1_339, 1_339, 669, 669, 446, 669]);
    /// ```
    #[must_use]
    pub const fn max_period(self) -> Duration {
        // Less than a day is left over, so that a token that is rounded up still fits.
        Duration::from_secs(longest(self) / MAX_UNITS_PER_SECOND / DAY_SECONDS * DAY_SECONDS)
    }
}

const DAY_SECONDS: u64 = 86_400;

/// So many units, times `factor`, as a span: rounded down to the nanosecond, so that its units are no more.
fn span_of(units: Units, factor: u64, base: &TimeBase) -> Duration {
    // Two 64-bit numbers, so the product fits; where it does not as nanoseconds, it is beyond all bounds.
    let product = u128::from(units) * u128::from(factor);
    let (seconds, rest) =
        (product / u128::from(base.units_per_second()), product % u128::from(base.units_per_second()));
    let nanos = rest * u128::from(NANOS_PER_SECOND) / u128::from(base.units_per_second());
    // Below a second.
    Duration::new(u64::try_from(seconds).unwrap_or(u64::MAX), u32::try_from(nanos).unwrap_or(0))
}

fn bucket(quota: &Quota, base: &TimeBase) -> Result<TokenBucket, QuotaError> {
    if quota.count() == 0 || quota.burst() == 0 {
        return Ok(CLOSED);
    }
    let token = token(quota, base, longest(quota.algorithm()))?;
    let burst = quota.burst();
    let depth = depth(quota, token, burst, MAX_AHEAD)?;
    let debt = debt(quota, base, depth)?;
    Ok(TokenBucket { token, burst, depth, debt })
}

fn queue(quota: &Quota, base: &TimeBase) -> Result<LeakyQueue, QuotaError> {
    if quota.count() == 0 {
        return Ok(LeakyQueue { bucket: CLOSED });
    }
    // A queue without room to wait still lets through what may leave at once, and has no line.
    let has_line = quota.burst() > 0;
    let room = if has_line { longest(quota.algorithm()) } else { MAX_AHEAD };
    let token = token(quota, base, room)?;
    let burst = quota.burst().max(1);
    let depth = depth(quota, token, burst, room)?;
    let line = if has_line { depth } else { 0 };
    Ok(LeakyQueue { bucket: TokenBucket { token, burst, depth, debt: line } })
}

/// `T`, rounded up where it is not whole: slower than asked, never faster.
fn token(quota: &Quota, base: &TimeBase, max: Units) -> Result<Units, QuotaError> {
    let units = u128::from(base.units_per_second());
    // period < 2^59 and units < 2^32; count * 1e9 < 2^94.
    let period = u128::from(quota.period_nanos()) * units;
    let parts = u128::from(quota.count()) * u128::from(NANOS_PER_SECOND);
    if parts > period {
        return Err(QuotaError::RateTooHigh { quota: *quota, max_per_second: base.units_per_second() });
    }
    let token = period.div_ceil(parts);
    let token = u64::try_from(token).ok().filter(|&token| token <= max);
    token.ok_or_else(|| too_long(quota, span_of(max, quota.count(), base)))
}

fn too_long(quota: &Quota, max: Duration) -> QuotaError {
    QuotaError::PeriodTooLong { algorithm: Some(quota.algorithm()), period: quota.period(), max }
}

/// What an empty bucket lacks, if there is room for it.
fn depth(quota: &Quota, token: Units, burst: u64, room: Units) -> Result<Units, QuotaError> {
    let max_burst = room / token;
    if burst > max_burst {
        return Err(QuotaError::BurstTooLarge { quota: *quota, max_burst });
    }
    Ok(burst * token)
}

fn debt(quota: &Quota, base: &TimeBase, depth: Units) -> Result<Units, QuotaError> {
    let room = MAX_AHEAD - depth;
    match quota.max_debt() {
        None => {
            let hour = u64::try_from(base.span(DEFAULT_DEBT_NANOS)).unwrap_or(u64::MAX);
            Ok(depth.max(hour).min(room))
        }
        Some(max_debt) => match u64::try_from(base.span(saturating_nanos(max_debt))) {
            Ok(debt) if debt <= room => Ok(debt),
            _ => Err(QuotaError::DebtTooLong { quota: *quota, max_debt: span_of(room, 1, base) }),
        },
    }
}

/// The window in units, rounded up where it is not whole.
fn window(quota: &Quota, base: &TimeBase) -> Result<Units, QuotaError> {
    if quota.burst() != quota.count() {
        return Err(QuotaError::BurstInWindow { quota: *quota });
    }
    let max = longest(quota.algorithm());
    match u64::try_from(base.span(quota.period_nanos())) {
        Ok(window) if window <= max => Ok(window),
        _ => Err(too_long(quota, span_of(max, 1, base))),
    }
}

fn grid(quota: &Quota, base: &TimeBase) -> Result<Grid, QuotaError> {
    let window = window(quota, base)?;
    Ok(Grid::new(window, base.phase(window)))
}

fn at_most(quota: &Quota, max_count: u64) -> Result<u64, QuotaError> {
    if quota.count() > max_count {
        return Err(QuotaError::CountTooLarge { quota: *quota, max_count });
    }
    Ok(quota.count())
}
