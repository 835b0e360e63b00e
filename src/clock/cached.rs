//! The time as it was a moment ago.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use super::kept::{Kept, Taken};
use super::os::Os;
use super::{Clock, Instant};
use crate::process;
use crate::sync::Atomic;
use crate::thread;

/// The time as it was at most one period ago, kept by one background thread; a reading costs one load.
///
/// The error is one period (half a millisecond unless set), plus however long the operating system keeps the thread
/// from running. All who share it read the same value, and it never goes back, so nothing is over-admitted by it: a
/// request may be refused that much too long. The thread ends soon after the last clone is dropped.
///
/// **After a fork** the thread is the parent's alone. In the child a reading asks the operating system's clock, so the time
/// goes on and is exact, and costs some 40 ns; [`CachedClock::resume`] starts a thread there.
///
/// **Where no time is kept** every reading asks the operating system's clock, and there is no thread: of more than
/// [`CachedClock::MAX_KEPT`] clocks of a process at once (clones are one), those that were made last; and on systems with `fork`
/// that cannot keep memory from a child (other than Linux since 4.14).
#[derive(Debug, Clone)]
pub struct CachedClock {
    /// The time in `shared`, at hand.
    kept: Kept<'static>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    place: Place,
    os: Os,
    period: Duration,
}

/// A place for a time, on the page that is empty in a child. Free again once all have dropped the clock, and its thread has.
#[derive(Debug)]
struct Place {
    kept: Kept<'static>,
    /// Which one it is; `None` of one where no time is ever kept.
    number: Option<(usize, u32)>,
}

static TAKEN: [Taken; process::EMPTIED / 64] = [const { Taken(Atomic::new(0)) }; process::EMPTIED / 64];
static NOWHERE: Atomic<u64> = Atomic::new(0);

impl Place {
    fn take() -> Self {
        let taken = process::emptied().and_then(|times| {
            let taken = TAKEN.iter().zip(times.chunks_exact(64)).enumerate();
            taken.flat_map(|(group, (places, times))| Some((group, places.take()?, times))).next()
        });
        match taken {
            // `place` is below 64.
            Some((group, place, times)) => Self { kept: Kept(&times[place as usize]), number: Some((group, place)) },
            None => Self { kept: Kept(&NOWHERE), number: None },
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((group, place)) = self.number {
            self.kept.leave();
            TAKEN[group].give_back(place);
        }
    }
}

impl CachedClock {
    /// How often a cached clock is set unless told otherwise.
    pub const DEFAULT_PERIOD: Duration = Duration::from_micros(500);
    /// The shortest period; the thread would do little else.
    pub const MIN_PERIOD: Duration = Duration::from_micros(10);
    /// The longest period.
    pub const MAX_PERIOD: Duration = Duration::from_secs(1);
    /// For how many clocks of one process the time is kept.
    pub const MAX_KEPT: usize = process::EMPTIED;

    /// A cached clock set every [`CachedClock::DEFAULT_PERIOD`] from the operating system's monotonic clock.
    ///
    /// # Errors
    ///
    /// If the operating system does not start the thread.
    pub fn new() -> Result<Self, ClockError> {
        Self::with_period(Self::DEFAULT_PERIOD)
    }

    /// A cached clock set every `period` from the operating system's monotonic clock.
    ///
    /// # Errors
    ///
    /// If the period is outside [`CachedClock::MIN_PERIOD`]`..=`[`CachedClock::MAX_PERIOD`], or the operating system
    /// does not start the thread.
    pub fn with_period(period: Duration) -> Result<Self, ClockError> {
        let (min, max) = (Self::MIN_PERIOD, Self::MAX_PERIOD);
        if period < min || period > max {
            return Err(ClockError::Period { period, min, max });
        }
        let place = Place::take();
        let clock = Self { kept: place.kept, shared: Arc::new(Shared { place, os: Os::new(), period }) };
        if clock.shared.place.number.is_some() {
            clock.kept.take_over(clock.shared.os.nanos());
            clock.start(|_| true)?;
        }
        Ok(clock)
    }

    /// In a forked child: starts a thread that keeps the time there, so that a reading costs one load again. Does nothing where
    /// there is one, or no time is kept. The first reading after it may be earlier than the last one before it, by less than a period.
    ///
    /// # Errors
    ///
    /// If the operating system does not start the thread. The clock goes on asking the operating system then.
    pub fn resume(&self) -> Result<(), ClockError> {
        if self.kept.nanos().is_some() || self.shared.place.number.is_none() {
            return Ok(());
        }
        // The thread takes over, so that nobody relies on one that was never started.
        self.start(|shared| shared.place.kept.take_over(shared.os.nanos()))
    }

    /// Starts a thread that keeps the time as long as somebody has the clock, if it `begins` to.
    fn start(&self, begins: impl Fn(&Shared) -> bool + Send + 'static) -> Result<(), ClockError> {
        let weak = Arc::downgrade(&self.shared);
        let upkeep = move || {
            let mut keeps = false;
            while let Some(shared) = weak.upgrade() {
                keeps = keeps || begins(&shared);
                if !keeps {
                    break;
                }
                shared.place.kept.set(shared.os.nanos());
                let period = shared.period;
                drop(shared);
                std::thread::sleep(period);
            }
        };
        let thread = thread::small("tollgate-clock").and_then(|builder| builder.spawn(upkeep));
        thread.map(drop).map_err(ClockError::Thread)
    }
}

/// A cached clock that cannot be made, or not go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClockError {
    /// The operating system did not start the thread.
    Thread(std::io::Error),
    /// The period is outside its bounds.
    Period {
        /// The period that was asked for.
        period: Duration,
        /// The shortest period.
        min: Duration,
        /// The longest period.
        max: Duration,
    },
}

impl fmt::Display for ClockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(source) => write!(f, "starting the thread of a cached clock failed: {source}"),
            Self::Period { period, min, max } => {
                write!(f, "the period of a cached clock must be from {min:?} to {max:?}, and {period:?} was given")
            }
        }
    }
}

impl core::error::Error for ClockError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Thread(source) => Some(source),
            Self::Period { .. } => None,
        }
    }
}

impl Clock for CachedClock {
    #[inline]
    fn now(&self) -> Instant {
        Instant(self.kept.nanos().unwrap_or_else(|| self.shared.exact()))
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
    fn places_begin_anew_and_run_out() {
        for _ in 0..2 {
            let places: Vec<_> = (0..=CachedClock::MAX_KEPT).map(|_| Place::take()).collect();
            for place in &places {
                assert_eq!(place.kept.nanos(), None, "a time from before, or another's");
                assert!(place.number.is_none() || place.kept.take_over(5));
            }
            assert!(places.last().is_some_and(|last| last.number.is_none()), "more than there are");
            // Others take some meanwhile.
            let kept = places.iter().filter(|place| place.number.is_some()).count();
            assert!(kept + 16 > CachedClock::MAX_KEPT, "{kept}");
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
