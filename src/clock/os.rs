//! The operating system's clocks: the only place that asks them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::arith::saturating_nanos;

/// The monotonic clock, set to Unix time once.
#[derive(Debug)]
pub(crate) struct Os {
    start: Instant,
    /// Unix time at `start`.
    unix: u64,
}

impl Os {
    pub(crate) fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the clock")]
        let start = Instant::now();
        Self { start, unix: unix_nanos() }
    }

    /// Nanoseconds since the Unix epoch, as it was when this was made. Never back.
    #[inline]
    pub(crate) fn nanos(&self) -> u64 {
        self.unix.saturating_add(saturating_nanos(self.start.elapsed()))
    }
}

/// Makes the processor read its counter after whatever has been read from memory so far, and not a few microseconds before
/// that has arrived: reading a clock of the operating system waits for it.
pub(crate) fn order() {
    // In a model instants are arguments.
    #[cfg(not(tollgate_model))]
    unix_nanos();
}

/// Unix time in nanoseconds; zero if the wall clock stands before 1970.
pub(crate) fn unix_nanos() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    let now = SystemTime::now();
    saturating_nanos(now.duration_since(UNIX_EPOCH).unwrap_or_default())
}
