//! The one clock of a table that several processes have mapped.

use rustix::time::{ClockId, clock_gettime};

use crate::arith::NANOS_PER_SECOND;
use crate::clock::{Clock, Instant};

/// The time of a shared table: the operating system's, the same to the nanosecond in every process.
///
/// It is Linux' `CLOCK_BOOTTIME`, which never steps back and goes on while the machine is suspended, plus what the table says
/// lies between that and Unix time, as read once when the table was made. So it agrees with the wall clock of that moment;
/// later corrections of the wall clock do not move it. A reading costs about twice what one of an
/// [`ExactClock`](crate::clock::ExactClock) costs.
#[derive(Debug, Clone, Copy)]
pub struct TableClock {
    /// What the table's time was when the machine was started.
    anchor: u64,
}

impl TableClock {
    pub(crate) const fn new(anchor: u64) -> Self {
        Self { anchor }
    }
}

impl Clock for TableClock {
    #[inline]
    fn now(&self) -> Instant {
        Instant::from_nanos(self.anchor.saturating_add(since_boot()))
    }

    #[inline]
    fn never_steps_back(&self) -> bool {
        true
    }

    #[inline]
    fn is_of_shared_table(&self) -> bool {
        true
    }
}

/// A clock of the caller's for a shared table, which he says is the same in all of its processes; see
/// [`LimiterBuilder::trust_clock`](crate::LimiterBuilder::trust_clock).
#[derive(Debug, Clone, Copy)]
pub struct Trusted<C>(pub(crate) C);

impl<C> Trusted<C> {
    /// The clock.
    #[must_use]
    pub const fn get(&self) -> &C {
        &self.0
    }
}

impl<C: Clock> Clock for Trusted<C> {
    #[inline]
    fn now(&self) -> Instant {
        self.0.now()
    }

    #[inline]
    fn never_steps_back(&self) -> bool {
        self.0.never_steps_back()
    }

    #[inline]
    fn is_of_shared_table(&self) -> bool {
        true
    }
}

/// Nanoseconds since the machine was started, those included in which it was suspended.
#[inline]
pub(super) fn since_boot() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    // Neither is less than zero, as the clock begins at zero; and nothing wraps, as no machine has been on for 584 years. To
    // saturate would take a nanosecond of the seventeen.
    let (seconds, nanos) = (now.tv_sec.cast_unsigned(), now.tv_nsec.cast_unsigned());
    seconds.wrapping_mul(NANOS_PER_SECOND).wrapping_add(nanos)
}
