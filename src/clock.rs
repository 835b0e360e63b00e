//! Step 1 of a check: what time it is.
//!
//! A [`Clock`] answers with an [`Instant`]: nanoseconds since the clock's own zero. The clocks of this crate that run
//! by themselves put their zero at the Unix epoch, read once when they are made; from then on they only run forward,
//! and later corrections of the wall clock do not move them.

use core::time::Duration;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::narrow;
use crate::error::BuildError;
use crate::sync::{Atomic, Ordering};

/// An instant of a [`Clock`], in whole nanoseconds since that clock's zero: 584 years of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The instant `nanos` nanoseconds after the clock's zero.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant `secs` seconds after the clock's zero; the latest instant if that is out of range.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the clock's zero.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This much later, or the latest instant.
    #[must_use]
    pub const fn saturating_add(self, by: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(by)))
    }

    /// This much earlier, or the clock's zero.
    #[must_use]
    pub const fn saturating_sub(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(by)))
    }

    /// How long ago `earlier` was, or zero if it was not.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at the latest instant.
    fn add(self, by: Duration) -> Self {
        self.saturating_add(by)
    }
}

/// A duration in nanoseconds, or the largest `u64` (584 years) if it is longer.
pub(crate) const fn saturating_nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { narrow(nanos) }
}

/// Where time comes from.
///
/// A clock should not run backwards, and the threads that share one should agree; where that fails, promises P1 and
/// P7 in `DESIGN.md` say by how much a limiter is affected. Called once per check, so it should be cheap.
pub trait Clock: Send + Sync {
    /// The current instant.
    fn now(&self) -> Instant;
}

impl<C: Clock + ?Sized> Clock for &C {
    #[inline]
    fn now(&self) -> Instant {
        (**self).now()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    #[inline]
    fn now(&self) -> Instant {
        (**self).now()
    }
}

/// Where the exact clock gets its ticks.
#[derive(Debug, Clone)]
enum Source {
    /// The processor's counter, read and calibrated by `quanta`; nanoseconds per tick with 32 binary places.
    Counter { clock: quanta::Clock, start: u64, nanos_per_tick: u64 },
    /// The operating system's monotonic clock.
    Os { start: std::time::Instant },
}

/// Binary places of the nanoseconds per tick: off by less than a nanosecond in a second.
const TICK_PLACES: u32 = 32;

/// The time now, to the nanosecond, from the processor's counter.
///
/// One reading costs what reading the counter costs (about 20 ns on x86-64). When it is made, the counter is tested:
/// it must agree with the operating system's clock to one part in a thousand, never step back, and be in step between
/// threads to a microsecond. If it fails, or there is no counter, the operating system's monotonic clock is used
/// instead: slower, and right. Making the first one of a process takes up to 0.2 s (`quanta` calibrates).
#[derive(Debug, Clone)]
pub struct ExactClock {
    source: Source,
    /// Unix time at `start`.
    anchor: u64,
}

impl ExactClock {
    /// An exact clock, from the counter if that can be trusted.
    #[must_use]
    pub fn new() -> Self {
        let clock = quanta::Clock::new();
        let source = if counter_is_sound(&clock) {
            let (start, nanos_per_tick) = (clock.raw(), clock.delta_as_nanos(0, 1 << TICK_PLACES));
            Source::Counter { clock, start, nanos_per_tick }
        } else {
            os_source()
        };
        Self { source, anchor: unix_nanos() }
    }

    /// An exact clock that asks the operating system, whatever the processor offers.
    #[must_use]
    pub fn from_os() -> Self {
        Self { source: os_source(), anchor: unix_nanos() }
    }

    /// Whether the processor's counter passed the test and is in use.
    #[must_use]
    pub fn uses_counter(&self) -> bool {
        matches!(self.source, Source::Counter { .. })
    }
}

impl Default for ExactClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ExactClock {
    #[inline]
    fn now(&self) -> Instant {
        let elapsed = match &self.source {
            // A shift by a constant, where `quanta` has one by a variable: the time is what a check waits for longest. A
            // counter that is a little behind where it started shows the start. 584 years of nanoseconds fit.
            Source::Counter { clock, start, nanos_per_tick } => {
                let ticks = clock.raw().saturating_sub(*start);
                narrow((u128::from(ticks) * u128::from(*nanos_per_tick)) >> TICK_PLACES)
            }
            Source::Os { start } => saturating_nanos(start.elapsed()),
        };
        Instant(self.anchor.saturating_add(elapsed))
    }
}

fn os_source() -> Source {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    let start = std::time::Instant::now();
    Source::Os { start }
}

/// Unix time in nanoseconds; zero if the wall clock stands before 1970.
fn unix_nanos() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    let now = SystemTime::now();
    saturating_nanos(now.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// The self-test of [`ExactClock::new`]; takes about 5 ms.
fn counter_is_sound(clock: &quanta::Clock) -> bool {
    keeps_pace(clock) && agrees_between_threads(clock)
}

/// Whether the counter and the OS clock measure the same 4 ms, to one part in a thousand and 20 us of scheduling.
fn keeps_pace(clock: &quanta::Clock) -> bool {
    let Source::Os { start } = os_source() else { return false };
    let first = clock.raw();
    let mut last = first;
    while start.elapsed() < Duration::from_millis(4) {
        let raw = clock.raw();
        if raw < last {
            return false;
        }
        last = raw;
    }
    let counted = clock.delta_as_nanos(first, clock.raw());
    let elapsed = saturating_nanos(start.elapsed());
    counted.abs_diff(elapsed) <= elapsed / 1_000 + 20_000
}

/// Whether a reading is never more than a microsecond behind one that another thread had made before.
fn agrees_between_threads(clock: &quanta::Clock) -> bool {
    const READINGS: u32 = 20_000;
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let origin = clock.raw();
    let latest = Atomic::<u64>::new(0);
    let sound = || {
        (0..READINGS).all(|_| {
            // AcqRel, with each other, in every thread: a reading must come after the one it is compared with, so take
            // that first; the maximum is then published for the others. No model: this guards no data, it measures.
            let before = latest.fetch_max(0, Ordering::AcqRel);
            let now = clock.delta_as_nanos(origin, clock.raw());
            latest.fetch_max(now, Ordering::AcqRel);
            now.saturating_add(1_000) >= before
        })
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(sound)).collect();
        let here = sound();
        others.into_iter().all(|thread| thread.join().unwrap_or(false)) && here
    })
}

/// The time as it was at most one period ago, kept by one background thread; a reading costs one load.
///
/// The error is one period (half a millisecond unless set), plus however long the operating system keeps the thread
/// from running. All who share it read the same value, and it never goes back, so nothing is over-admitted by it: a
/// request may be refused that much too long. The thread ends soon after the last clone is dropped.
#[derive(Debug, Clone)]
pub struct CachedClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    nanos: Atomic<u64>,
}

impl CachedClock {
    /// How often a cached clock is set unless told otherwise.
    pub const DEFAULT_PERIOD: Duration = Duration::from_micros(500);
    /// The shortest period; the thread would do little else.
    pub const MIN_PERIOD: Duration = Duration::from_micros(10);
    /// The longest period.
    pub const MAX_PERIOD: Duration = Duration::from_secs(1);

    /// A cached clock set every [`CachedClock::DEFAULT_PERIOD`] from an [`ExactClock`].
    ///
    /// # Errors
    ///
    /// If the operating system does not start the thread.
    pub fn new() -> Result<Self, BuildError> {
        Self::with_period(Self::DEFAULT_PERIOD)
    }

    /// A cached clock set every `period` from an [`ExactClock`].
    ///
    /// # Errors
    ///
    /// If the period is outside [`CachedClock::MIN_PERIOD`]`..=`[`CachedClock::MAX_PERIOD`], or the operating system
    /// does not start the thread.
    pub fn with_period(period: Duration) -> Result<Self, BuildError> {
        let (min, max) = (Self::MIN_PERIOD, Self::MAX_PERIOD);
        if period < min || period > max {
            return Err(BuildError::ClockPeriod { period, min, max });
        }
        let clock = ExactClock::new();
        let shared = Arc::new(Shared { nanos: Atomic::new(clock.now().as_nanos()) });
        let weak = Arc::downgrade(&shared);
        let upkeep = move || {
            while let Some(shared) = weak.upgrade() {
                // Relaxed, with `now`: the value is all there is, nothing is published through it. Max: never back.
                // Model: clock, whose clock is as weak as this one.
                shared.nanos.fetch_max(clock.now().as_nanos(), Ordering::Relaxed);
                drop(shared);
                std::thread::sleep(period);
            }
        };
        std::thread::Builder::new().name("tollgate-clock".into()).spawn(upkeep).map_err(BuildError::ClockThread)?;
        Ok(Self { shared })
    }
}

impl Clock for CachedClock {
    #[inline]
    fn now(&self) -> Instant {
        // Relaxed, with the maximum in `with_period`: see there. A reader that still sees an older value has an older
        // `now`, which is within the stated error. Model: clock.
        Instant(self.shared.nanos.load(Ordering::Relaxed))
    }
}

/// A clock that stands still until told otherwise, for tests and replays. Clones share the time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    nanos: Arc<Atomic<u64>>,
}

impl ManualClock {
    /// A clock that shows `start`.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self { nanos: Arc::new(Atomic::new(start.as_nanos())) }
    }

    /// Sets the time, forward or back.
    pub fn set(&self, now: Instant) {
        // Release, with `now`: who sees the time sees what was done before it was set. Model: clock.
        self.nanos.swap(now.as_nanos(), Ordering::Release);
    }

    /// Sets the time forward, at most to the latest instant. Two threads that advance at once both count.
    pub fn advance(&self, by: Duration) {
        // Relaxed, with the exchange below, here and when that fails: only a guess at what it will find. Model: clock.
        let mut now = Instant(self.nanos.load(Ordering::Relaxed));
        // Release, with `now`: as `set`. Model: clock.
        while let Err(newer) =
            self.nanos.compare_exchange(now.0, now.saturating_add(by).0, Ordering::Release, Ordering::Relaxed)
        {
            now = Instant(newer);
        }
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new(Instant::default())
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        // Acquire, with `set` and `advance`: who sees the time sees what was done before. Model: clock.
        Instant(self.nanos.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_run_forward_and_near_the_wall_clock() {
        for clock in [ExactClock::new(), ExactClock::from_os()] {
            let first = clock.now();
            assert!(first.as_nanos().abs_diff(unix_nanos()) < 1_000_000_000, "{clock:?}");
            assert!((0..10_000).fold(first, |last, _| last.max(clock.now())) <= clock.now());
        }
    }

    #[test]
    fn cached_clock_follows_and_stops() {
        let clock = CachedClock::with_period(Duration::from_micros(100)).unwrap();
        let first = clock.now();
        let start = ExactClock::from_os();
        let began = start.now();
        while clock.now() == first {
            assert!(start.now().saturating_duration_since(began) < Duration::from_secs(10), "the clock stands still");
            std::thread::yield_now();
        }
        let weak = Arc::downgrade(&clock.shared);
        drop(clock);
        while weak.upgrade().is_some() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_cached_clock_out_of_bounds_is_refused() {
        for period in [Duration::ZERO, Duration::from_secs(2)] {
            let error = CachedClock::with_period(period).unwrap_err();
            assert!(error.to_string().contains(&format!("{period:?} was given")), "{error}");
        }
    }

    #[test]
    fn manual_clock_is_shared() {
        let clock = ManualClock::new(Instant::from_secs(5));
        let other = clock.clone();
        other.advance(Duration::from_nanos(1));
        assert_eq!(clock.now().as_nanos(), 5_000_000_001);
        clock.set(Instant::from_secs(1));
        assert_eq!(other.now(), Instant::from_secs(1));
    }
}
