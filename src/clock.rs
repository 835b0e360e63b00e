//! What time it is.
//!
//! A [`Clock`] answers with an [`Instant`]: nanoseconds since the clock's own zero. The clocks of this crate that run
//! by themselves put their zero at the Unix epoch, read once when they are made; from then on they only run forward,
//! and later corrections of the wall clock do not move them.

#[cfg(not(tollgate_model))]
mod cached;
#[cfg(not(tollgate_model))]
mod counter;
mod exact;
pub(crate) mod kept;
pub(crate) mod os;
pub(crate) mod timeline;

use core::time::Duration;
use std::sync::Arc;

use crate::arith::saturating_nanos;
use crate::sync::{Atomic, Ordering};

#[cfg(not(tollgate_model))]
pub use crate::builder::DefaultClock;
#[cfg(not(tollgate_model))]
pub use crate::limiter_clock::LimiterClock;
#[cfg(not(tollgate_model))]
pub use cached::{CachedClock, ClockError};
pub use exact::ExactClock;

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

/// Where time comes from.
///
/// A clock should not run backwards, and the threads that share one should agree. Where it steps back, a limiter notices
/// ([`Stats::clock_steps`](crate::Stats)) and goes on. Called once per check, so it should be cheap.
pub trait Clock: Send + Sync {
    /// The current instant.
    fn now(&self) -> Instant;

    /// Whether no reading is ever earlier, by a millisecond or more, than one that any thread had made before. Limiters watch a
    /// clock that does not say so, which costs some instructions a check, and go on if it has stepped back.
    fn never_steps_back(&self) -> bool {
        false
    }

    // Whether keys are hashed as in a table that several processes have mapped: known when this is compiled, so that a check of
    // a private table does not ask.
    #[doc(hidden)]
    fn is_of_shared_table(&self) -> bool {
        false
    }
}

impl<C: Clock + ?Sized> Clock for &C {
    #[inline]
    fn now(&self) -> Instant {
        (**self).now()
    }

    #[inline]
    fn never_steps_back(&self) -> bool {
        (**self).never_steps_back()
    }

    #[inline]
    fn is_of_shared_table(&self) -> bool {
        (**self).is_of_shared_table()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    #[inline]
    fn now(&self) -> Instant {
        (**self).now()
    }

    #[inline]
    fn never_steps_back(&self) -> bool {
        (**self).never_steps_back()
    }

    #[inline]
    fn is_of_shared_table(&self) -> bool {
        (**self).is_of_shared_table()
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
        // Release, with `now`: a thread that observes the time also observes what was done before it was set. Model: clock.
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
        // Acquire, with `set` and `advance`: a thread that observes the time also observes what was done before. Model: clock.
        Instant(self.nanos.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
