//! The time base: how long one unit of a limiter is, and the exact way from nanoseconds to units and back.
//!
//! A quota of `n` per `p` needs `T = p / n` per token, which is a whole number of nanoseconds for few quotas only.
//! Rounded up, 300 per second holds 299 a second after it was drained; rounded down, the rate is exceeded for ever. So
//! the unit is chosen from the quotas: `units_per_second` is a common multiple of what they divide a second into, and
//! then every `T`, burst and window is a whole number of units and nothing accumulates.
//!
//! Nanoseconds become units by `floor(ns * units_per_second / 1e9)`, exactly: the factor is kept to 96 binary places,
//! rounded up by `e < 2^-96` per unit of `ns`, so the product is too large by `ns * e < 2^-32`; the true value, unless
//! whole, lies at least `1e-9 > 2^-30` below the next whole number, so the floor is the true one. No division.
//! (The design this grew from used one 64-bit factor, exact at whole periods only.)

use crate::arith::{NANOS_PER_SECOND, gcd, narrow};
use crate::clock::Instant;
use crate::quota::Quota;
use crate::word::{Units, Word};

/// The range of a limiter before its start: a clock may step back this far and still be told apart.
const SECONDS_BEFORE: u64 = 366 * 86_400;
/// The range of a limiter after its start: ten years.
const SECONDS_AFTER: u64 = 3_653 * 86_400;

/// The longest span a bucket may be ahead of now: a quarter of the range.
pub(crate) const MAX_AHEAD: Units = (1 << (Word::STAMP_WIDTH - 2)) - 1;
/// The latest instant: what is left of the range, so that no stamp can wrap.
pub(crate) const LATEST: Units = Word::MAX_STAMP - MAX_AHEAD;

/// The finest unit: the whole range must fit into [`LATEST`].
pub(crate) const MAX_UNITS_PER_SECOND: u64 = LATEST / (SECONDS_BEFORE + SECONDS_AFTER);

// A unit is never longer than a nanosecond: that is the slack promise P1 states. Every multiple of a common divisor
// below has one between half of the maximum and the maximum.
const _: () = assert!(MAX_UNITS_PER_SECOND / 2 >= NANOS_PER_SECOND);

/// How long one unit is, and where zero lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeBase {
    units_per_second: u64,
    /// Units per nanosecond, if that is a whole number; else 0.
    whole: u64,
    /// `ceil(units_per_second * 2^96 / 1e9)`, as `factor_high * 2^64 + factor_low`.
    factor_high: u64,
    factor_low: u64,
    /// The first instant in the range, in nanoseconds of the clock: whole seconds.
    first: u64,
    /// Nanoseconds from zero units to that: whole seconds, 1 unless the clock's own zero lies inside the range.
    lead: u64,
    /// Nanoseconds from the first instant to the last one that is not beyond [`LATEST`].
    span: u64,
}

/// A number of a time base that none has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfRange {
    pub(crate) name: &'static str,
    pub(crate) found: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl TimeBase {
    /// A base in which as many of `quotas` as possible are exact, earlier ones first, for a limiter that starts at
    /// `start`. Zero units lie a whole number of seconds from the clock's zero.
    pub(crate) fn new(quotas: &[Quota], start: Instant) -> Self {
        let mut common = 1;
        for quota in quotas {
            if let Some(multiple) = lcm(common, divisor(quota)).filter(|&m| m <= MAX_UNITS_PER_SECOND) {
                common = multiple;
            }
        }
        // Whole units per nanosecond, where the quotas allow it: then not even `now` is rounded.
        if let Some(multiple) = lcm(common, NANOS_PER_SECOND).filter(|&m| m <= MAX_UNITS_PER_SECOND) {
            common = multiple;
        }
        let units = MAX_UNITS_PER_SECOND / common * common;
        let start = start.as_nanos() / NANOS_PER_SECOND;
        Self::with_units(units, start.saturating_sub(SECONDS_BEFORE), SECONDS_BEFORE.saturating_sub(start))
    }

    /// When the limiter started, to the second.
    #[cfg(not(tollgate_model))]
    pub(crate) const fn start(&self) -> Instant {
        let [_, first, lead] = self.parts();
        Instant::from_secs(first.saturating_add(SECONDS_BEFORE - lead))
    }

    /// Both in seconds, and at least one is 0.
    const fn with_units(units_per_second: u64, first: u64, lead: u64) -> Self {
        // units < 2^32, so the shifted value stays below 2^128.
        assert!(units_per_second >= NANOS_PER_SECOND && units_per_second <= MAX_UNITS_PER_SECOND);
        let factor = ((units_per_second as u128) << 96).div_ceil(NANOS_PER_SECOND as u128);
        // Halves of a u128: both fit by construction.
        let (factor_high, factor_low) = (narrow(factor >> 64), narrow(factor & u64::MAX as u128));
        // A year at most; and a second, so that no instant is zero units: a slot that was never used is idle always.
        let lead = (lead + 1) * NANOS_PER_SECOND;
        // A unit is at most a nanosecond, so this is at most LATEST; and the range is more than a year long.
        let span = narrow(LATEST as u128 * NANOS_PER_SECOND as u128 / units_per_second as u128) - lead;
        // A range that would reach beyond the last u64 begins earlier instead, so that no instant before it can wrap
        // into it: see `nanos`.
        let latest_first = (u64::MAX - span) / NANOS_PER_SECOND;
        let first = if first < latest_first { first } else { latest_first } * NANOS_PER_SECOND;
        let whole =
            if units_per_second.is_multiple_of(NANOS_PER_SECOND) { units_per_second / NANOS_PER_SECOND } else { 0 };
        Self { units_per_second, whole, factor_high, factor_low, first, lead, span }
    }

    pub(crate) const fn units_per_second(&self) -> u64 {
        self.units_per_second
    }

    /// The base that [`Self::parts`] was asked of, or the first of the numbers that no base has, with its name and bounds.
    pub(crate) fn from_parts([units_per_second, first, lead]: [u64; 3]) -> Result<Self, OutOfRange> {
        let within = |name, found, min, max| {
            if (min..=max).contains(&found) { Ok(()) } else { Err(OutOfRange { name, found, min, max }) }
        };
        within("units per second", units_per_second, NANOS_PER_SECOND, MAX_UNITS_PER_SECOND)?;
        within("lead", lead, 0, SECONDS_BEFORE)?;
        // One of the two is zero: the clock's own zero lies inside the range, or before it.
        within("first second", first, 0, if lead == 0 { u64::MAX / NANOS_PER_SECOND } else { 0 })?;
        Ok(Self::with_units(units_per_second, first, lead))
    }

    /// Units per second, and where the range begins, in seconds: what makes this base again.
    pub(crate) const fn parts(&self) -> [u64; 3] {
        // A second more than was asked for: see `with_units`.
        [self.units_per_second, self.first / NANOS_PER_SECOND, self.lead / NANOS_PER_SECOND - 1]
    }

    /// The instants that are told apart, from the first to the last.
    pub(crate) const fn range(&self) -> [Instant; 2] {
        [Instant::from_nanos(self.first), Instant::from_nanos(self.first + self.span)]
    }

    /// Nanoseconds since zero units; an instant outside the range counts as its nearest end.
    #[inline]
    const fn nanos(&self, now: Instant) -> u64 {
        // An instant before the first wraps to more than the span.
        let since = now.as_nanos().wrapping_sub(self.first);
        if since <= self.span { self.lead + since } else { self.nearest_end(now) }
    }

    #[cold]
    const fn nearest_end(&self, now: Instant) -> u64 {
        self.lead + if now.as_nanos() < self.first { 0 } else { self.span }
    }

    /// The instant in units, rounded down. Exact; never above [`LATEST`].
    #[inline]
    pub(crate) const fn units(&self, now: Instant) -> Units {
        let ns = self.nanos(now);
        if self.whole != 0 {
            return ns * self.whole; // what the factor below would give, sooner; at most LATEST
        }
        let ns = ns as u128;
        // ns * factor < 2^60 * 2^98: too wide for one product, so two, of which the lower gives only its carry.
        narrow((ns * self.factor_high as u128 + ((ns * self.factor_low as u128) >> 64)) >> 32)
    }

    /// How many nanoseconds after `now` the clock first shows `target` or more; 0 if it does already.
    pub(crate) const fn nanos_until(&self, now: Instant, target: Units) -> u64 {
        // floor(ns * u / 1e9) >= target  iff  ns >= target * 1e9 / u. The quotient is below 2^60, as units are no
        // longer than a nanosecond.
        if self.whole != 0 {
            // The same, without 128 bits: a unit is that part of a nanosecond.
            return target.div_ceil(self.whole).saturating_sub(self.nanos(now));
        }
        let ns = narrow((target as u128 * NANOS_PER_SECOND as u128).div_ceil(self.units_per_second as u128));
        ns.saturating_sub(self.nanos(now))
    }

    /// The first instant at which the clock shows `target` or more; of one before the range, its beginning.
    pub(crate) const fn instant(&self, target: Units) -> Instant {
        // As in `nanos_until`.
        let ns = narrow((target as u128 * NANOS_PER_SECOND as u128).div_ceil(self.units_per_second as u128));
        Instant::from_nanos(self.first.saturating_add(ns.saturating_sub(self.lead)))
    }

    /// A span of whole nanoseconds in units, rounded up.
    pub(crate) const fn span(&self, ns: u64) -> u128 {
        (ns as u128 * self.units_per_second as u128).div_ceil(NANOS_PER_SECOND as u128)
    }

    /// How far the clock's own zero lies from a multiple of `window`, as what must be added to a stamp to align it.
    pub(crate) fn phase(&self, window: Units) -> Units {
        // A stamp is the clock's time, less `first`, plus `lead`; whole seconds are whole units, below 2^36 * 2^32.
        let seconds = |nanos: u64| (nanos / NANOS_PER_SECOND) as u128 * self.units_per_second as u128;
        let window = window as u128;
        let (first, lead) = (seconds(self.first) % window, seconds(self.lead) % window);
        narrow((first + window - lead) % window) // below `window`, which is a u64
    }

    /// Whether a nanosecond is a whole number of units, so that not even `now` is rounded.
    pub(crate) const fn is_whole(&self) -> bool {
        self.whole != 0
    }
}

/// Quotas of everyday use: for a table to which limits come later, from programs that did not make it.
#[cfg(all(target_os = "linux", not(tollgate_model)))]
pub(crate) fn everyday() -> impl Iterator<Item = Quota> {
    const COUNTS: [u64; 15] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 20, 25, 30, 50];
    const PERIODS: [fn(u64) -> Quota; 4] = [Quota::per_second, Quota::per_minute, Quota::per_hour, Quota::per_day];
    // Up to a million a second: 1 to 9, then tens, and so on.
    let counts = (0..6).flat_map(|power| COUNTS.map(|count| count * 10_u64.pow(power))).chain([1_000_000]);
    counts.flat_map(|count| PERIODS.map(|per| per(count)))
}

/// The least number of units a second must have for the quota's token and window to be whole.
fn divisor(quota: &Quota) -> u64 {
    let period = quota.period().as_nanos();
    let nanos = u128::from(NANOS_PER_SECOND);
    // A token lasts period / count nanoseconds, which is (period * u) / (count * 1e9) units.
    let token = u128::from(quota.count().max(1)) * nanos;
    let (token, window) = (token / gcd(token, period), nanos / gcd(nanos, period));
    let needed = if quota.algorithm().is_window() { window } else { token };
    u64::try_from(needed).unwrap_or(u64::MAX)
}

fn lcm(a: u64, b: u64) -> Option<u64> {
    let divisor = u64::try_from(gcd(u128::from(a), u128::from(b))).ok()?;
    a.checked_mul(b / divisor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use num_bigint::BigUint;

    fn base(quotas: &[Quota]) -> TimeBase {
        TimeBase::new(quotas, Instant::from_nanos(0))
    }

    #[test]
    fn units_are_the_exact_floor() {
        let quotas = [Quota::per_second(300), Quota::per_second(11), Quota::new(7, Duration::from_secs(30)).unwrap()];
        for quota in quotas {
            let base = TimeBase::new(&[quota], Instant::from_secs(1_000_000_000));
            let mut ns = 1_u64;
            for step in 0..4_000_u64 {
                ns = ns.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step) >> (step % 60);
                for ns in [ns, ns / NANOS_PER_SECOND * NANOS_PER_SECOND, ns.saturating_sub(1)] {
                    let exact =
                        BigUint::from(base.nanos(Instant::from_nanos(ns))) * base.units_per_second / NANOS_PER_SECOND;
                    let exact = exact.min(BigUint::from(LATEST));
                    assert_eq!(BigUint::from(base.units(Instant::from_nanos(ns))), exact, "{quota:?} at {ns} ns");
                }
            }
        }
    }

    #[test]
    fn nanos_until_is_the_first_that_reaches() {
        let base = base(&[Quota::per_second(11)]);
        let now = Instant::from_nanos(123_456_789);
        for ahead in [0, 1, 2, 3, 1_000, 226_363_637, MAX_AHEAD] {
            let target = base.units(now) + ahead;
            let wait = base.nanos_until(now, target);
            assert!(base.units(Instant::from_nanos(now.as_nanos() + wait)) >= target);
            assert!(wait == 0 || base.units(Instant::from_nanos(now.as_nanos() + wait - 1)) < target);
        }
    }

    #[test]
    fn several_quotas_are_exact_together() {
        let quotas = [Quota::per_second(300), Quota::per_second(11), Quota::per_day(1)];
        let base = base(&quotas);
        for quota in quotas {
            assert_eq!(base.units_per_second() % divisor(&quota), 0, "{quota:?}");
        }
    }

    #[test]
    fn a_thousand_million_a_second_is_exact() {
        assert_eq!(base(&[Quota::per_second(1_000_000_000)]).units_per_second(), 2_000_000_000);
    }

    #[test]
    fn a_quota_that_fits_no_base_leaves_the_others_exact() {
        let odd = Quota::per_second(4_294_967_291); // a prime above the finest unit
        let base = base(&[odd, Quota::per_second(300)]);
        assert_eq!(base.units_per_second() % 300, 0);
        assert!(base.units_per_second() >= NANOS_PER_SECOND);
    }

    #[test]
    fn the_range_is_a_year_back_and_ten_ahead() {
        let start = Instant::from_secs(1_700_000_000);
        let base = TimeBase::new(&[Quota::per_second(1)], start);
        assert!(base.units(start.saturating_sub(Duration::from_secs(365 * 86_400))) > 0);
        assert!(base.units(start.saturating_add(Duration::from_secs(3_652 * 86_400))) < LATEST);
        assert_eq!(base.units(Instant::from_nanos(0)), base.units_per_second());
        assert!(LATEST - base.units(Instant::from_nanos(u64::MAX)) < 4);
        for start in [0, 1 << 62, u64::MAX] {
            let base = TimeBase::new(&[Quota::per_second(11)], Instant::from_nanos(start));
            let mut ends = [0, 1, start / 2, start, start.saturating_add(1), u64::MAX - 1, u64::MAX];
            ends.sort_unstable();
            let ends = ends.map(Instant::from_nanos);
            assert!(ends.is_sorted_by_key(|&now| base.units(now)), "started at {start}");
            assert!(base.units(Instant::from_nanos(start)) > 0);
        }
    }

    #[test]
    fn windows_align_to_the_zero_of_the_clock() {
        for start in [0, 59, 366 * 86_400, 1_700_000_123, 9_000_000_000] {
            let base = TimeBase::new(&[Quota::per_minute(10)], Instant::from_secs(start));
            let window = 60 * base.units_per_second();
            let phase = base.phase(window);
            for minute in [start / 60 + 1, start / 60 + 2] {
                assert_eq!((base.units(Instant::from_secs(minute * 60)) + phase) % window, 0, "started at {start}");
            }
        }
    }
}
