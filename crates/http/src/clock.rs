//! The clock of a limiter: by itself, or that of a table which several processes share.

use tollgate::clock::{Clock, ExactClock, Instant};
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use tollgate::shared::TableClock;

/// The clock of a [`RateLimiter`](crate::RateLimiter) that was given none: an [`ExactClock`], or, where the limits are in a
/// [shared table](crate::LimiterConfig::shared), the clock of that. Both begin at the Unix epoch and never step back.
#[derive(Debug, Clone)]
pub struct LimiterClock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Own(ExactClock),
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    Table(TableClock),
}

impl LimiterClock {
    /// Of a table of this process alone.
    pub(crate) fn own() -> Self {
        ExactClock::new().into()
    }

    /// Of a table that several processes share.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    pub(crate) const fn of_table(clock: TableClock) -> Self {
        Self(Kind::Table(clock))
    }
}

/// The clock of a table of this process alone, read as it is given.
impl From<ExactClock> for LimiterClock {
    fn from(clock: ExactClock) -> Self {
        Self(Kind::Own(clock))
    }
}

impl Clock for LimiterClock {
    #[inline]
    fn now(&self) -> Instant {
        match &self.0 {
            Kind::Own(clock) => clock.now(),
            #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
            Kind::Table(clock) => clock.now(),
        }
    }

    #[inline]
    fn never_steps_back(&self) -> bool {
        match &self.0 {
            Kind::Own(clock) => clock.never_steps_back(),
            #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
            Kind::Table(clock) => clock.never_steps_back(),
        }
    }

    // Keys are hashed as all processes of a shared table hash them.
    #[inline]
    fn is_of_shared_table(&self) -> bool {
        match &self.0 {
            Kind::Own(_) => false,
            #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
            Kind::Table(_) => true,
        }
    }
}
