//! The time as it was a moment ago.

use core::time::Duration;
use std::sync::Arc;

use super::os::Os;
use super::{Clock, Instant};
use crate::error::BuildError;
use crate::process::Process;
use crate::sync::{Atomic, Ordering};
use crate::thread;

/// The time as it was at most one period ago, kept by one background thread; a reading costs two loads.
///
/// The error is one period (half a millisecond unless set), plus however long the operating system keeps the thread
/// from running. All who share it read the same value, and it never goes back, so nothing is over-admitted by it: a
/// request may be refused that much too long. The thread ends soon after the last clone is dropped.
///
/// **After a fork** the thread is the parent's alone. In the child a reading asks the operating system's clock, so the time
/// goes on and is exact, and costs some 40 ns; [`CachedClock::resume`] starts a thread there.
#[derive(Debug, Clone)]
pub struct CachedClock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    kept: Kept,
    os: Os,
    period: Duration,
}

/// A time, and the process with the thread that keeps it.
#[derive(Debug)]
pub(crate) struct Kept {
    nanos: Atomic<u64>,
    keeper: Atomic<u64>,
}

impl Kept {
    pub(crate) fn new(nanos: u64, keeper: Process) -> Self {
        Self { nanos: Atomic::new(nanos), keeper: Atomic::new(keeper.bits()) }
    }

    /// The time, if it is kept here.
    #[inline]
    pub(crate) fn nanos(&self, is_here: impl FnOnce(Process) -> bool) -> Option<u64> {
        // Acquire, with the exchange in `take_over`: who sees who keeps the time sees none from before that. Model: clock.
        let keeper = Process::from_bits(self.keeper.load(Ordering::Acquire));
        // Relaxed, with the maximum in `set`: see there. A reader that still sees an older value has an older `now`,
        // which is within the stated error. Model: clock.
        is_here(keeper).then(|| self.nanos.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, nanos: u64) {
        // Relaxed, with `nanos`: the value is all there is, nothing is published through it. Max: never back.
        // Model: clock.
        self.nanos.fetch_max(nanos, Ordering::Relaxed);
    }

    fn keeper(&self) -> Process {
        // Relaxed, with `take_over`: only a guess at what the exchange there will find. Model: clock.
        Process::from_bits(self.keeper.load(Ordering::Relaxed))
    }

    /// Begins to keep the time here, unless a thread of this process does.
    pub(crate) fn take_over(&self, here: Process, nanos: u64) -> bool {
        let keeper = self.keeper();
        self.set(nanos);
        // Release, with `nanos`: carries the time set above. Relaxed if it fails: another thread keeps it. Model: clock.
        let (old, new) = (keeper.bits(), here.bits());
        keeper != here && self.keeper.compare_exchange(old, new, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

impl CachedClock {
    /// How often a cached clock is set unless told otherwise.
    pub const DEFAULT_PERIOD: Duration = Duration::from_micros(500);
    /// The shortest period; the thread would do little else.
    pub const MIN_PERIOD: Duration = Duration::from_micros(10);
    /// The longest period.
    pub const MAX_PERIOD: Duration = Duration::from_secs(1);

    /// A cached clock set every [`CachedClock::DEFAULT_PERIOD`] from the operating system's monotonic clock.
    ///
    /// # Errors
    ///
    /// If the operating system does not start the thread.
    pub fn new() -> Result<Self, BuildError> {
        Self::with_period(Self::DEFAULT_PERIOD)
    }

    /// A cached clock set every `period` from the operating system's monotonic clock.
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
        let os = Os::new();
        let kept = Kept::new(os.nanos(), Process::current());
        let clock = Self { shared: Arc::new(Shared { kept, os, period }) };
        clock.start(|_| true)?;
        Ok(clock)
    }

    /// In a forked child: starts a thread that keeps the time there, so that a reading costs two loads again. Does nothing where
    /// there is one. The first reading after it may be earlier than the last one before it, by less than a period.
    ///
    /// # Errors
    ///
    /// If the operating system does not start the thread. The clock goes on asking the operating system then.
    pub fn resume(&self) -> Result<(), BuildError> {
        let here = Process::current();
        if self.shared.kept.keeper() == here {
            return Ok(());
        }
        // The thread takes over, so that nobody relies on one that was never started.
        self.start(move |shared| shared.kept.take_over(here, shared.os.nanos()))
    }

    /// Starts a thread that keeps the time as long as somebody has the clock, if it `begins` to.
    fn start(&self, begins: impl Fn(&Shared) -> bool + Send + 'static) -> Result<(), BuildError> {
        let weak = Arc::downgrade(&self.shared);
        let upkeep = move || {
            let mut keeps = false;
            while let Some(shared) = weak.upgrade() {
                keeps = keeps || begins(&shared);
                if !keeps {
                    break;
                }
                shared.kept.set(shared.os.nanos());
                let period = shared.period;
                drop(shared);
                std::thread::sleep(period);
            }
        };
        let thread = thread::small("tollgate-clock").and_then(|builder| builder.spawn(upkeep));
        thread.map(drop).map_err(BuildError::ClockThread)
    }
}

impl Clock for CachedClock {
    #[inline]
    fn now(&self) -> Instant {
        Instant(self.shared.kept.nanos(Process::is_current).unwrap_or_else(|| self.shared.exact()))
    }

    #[inline]
    fn never_steps_back(&self) -> bool {
        // But for what `resume` says, which is within the error of a period that any reading has.
        true
    }
}

impl Shared {
    #[cold]
    #[inline(never)]
    fn exact(&self) -> u64 {
        // No earlier than what the parent had cached: that was read of the same clock.
        self.os.nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::super::ExactClock;
    use super::*;

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
}
