//! Waiting until a request may go, on whatever runtime the caller has: the caller brings the `sleep`.

use core::fmt;
use core::time::Duration;

use crate::clock::{Clock, Instant};
use crate::decision::{Decision, Report};
use crate::process::Process;
use crate::reservation::{Reservation, SetReservation};
use crate::sync::{Atomic, Ordering};

/// Why a wait did not end in admission. Nothing is taken in any of these cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// The cost is above the limit: waiting is of no use.
    NeverFits(Report),
    /// It would have taken longer than the deadline, or than debt is allowed to last.
    TooLong(Report),
    /// As many are waiting already as are allowed to.
    TooManyWaiters {
        /// The bound; see [`LimiterBuilder::max_waiters`](crate::LimiterBuilder::max_waiters).
        max: u64,
    },
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverFits(report) => write!(f, "the cost is above the limit of {}: it can never fit", report.burst),
            Self::TooLong(report) => match report.retry_after {
                Some(wait) => write!(f, "the wait of {wait:?} is longer than allowed"),
                None => f.write_str("the wait is longer than allowed"),
            },
            Self::TooManyWaiters { max } => write!(f, "{max} requests are waiting already, which is the most allowed"),
        }
    }
}

impl core::error::Error for WaitError {}

/// How many may wait at once, and how many do.
#[derive(Debug)]
pub(crate) struct Waiters {
    waiting: Atomic<u64>,
    max: u64,
}

impl Waiters {
    pub(crate) const DEFAULT_MAX: u64 = 10_000;

    pub(crate) fn new(max: u64) -> Self {
        Self { waiting: Atomic::new(0), max }
    }

    fn enter(&self) -> Result<Waiting<'_>, WaitError> {
        // Relaxed, with `drop`: a plain counter, through which no data is published; adding before looking keeps it from ever letting in too many.
        // No model: no loop, and nothing is published.
        let waiting = Waiting(self);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max {
            return Err(WaitError::TooManyWaiters { max: self.max });
        }
        Ok(waiting)
    }
}

/// One who waits; leaves when dropped.
struct Waiting<'a>(&'a Waiters);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // Relaxed, with `enter`: see there. No model.
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is reserved: of one limit, or of several.
pub(crate) trait Turn {
    fn go_at(&self) -> Instant;
    fn cancel(self);
}

impl Turn for Reservation<'_> {
    fn go_at(&self) -> Instant {
        self.go_at()
    }

    fn cancel(self) {
        self.cancel();
    }
}

impl Turn for SetReservation<'_> {
    fn go_at(&self) -> Instant {
        self.go_at()
    }

    fn cancel(self) {
        self.cancel();
    }
}

/// A turn that is given back unless it was used: the caller may drop the future at any await. Not in a child that was forked meanwhile,
/// whose memory has a copy of it: it is the parent's, who goes by it or gives it back, and the bucket may be both's.
struct Held<T: Turn>(Option<T>, Process);

impl<T: Turn> Drop for Held<T> {
    fn drop(&mut self) {
        if let Some(turn) = self.0.take()
            && self.1.is_current()
        {
            turn.cancel();
        }
    }
}

/// Reserves, then sleeps until the instant reserved. Limits that promise nothing ahead of time are asked again when
/// their answer said to.
pub(crate) async fn until_ready<'a, T: Turn, F: Future<Output = ()>>(
    reserve: impl Fn(Duration) -> Result<T, Decision<'a>>,
    clock: &impl Clock,
    waiters: &Waiters,
    max_wait: Duration,
    sleep: impl Fn(Duration) -> F,
) -> Result<(), WaitError> {
    let deadline = clock.now().saturating_add(max_wait);
    let sleep_until = async |instant: Instant| {
        // A timer may fire early; an early request would break the limit.
        loop {
            let left = instant.saturating_duration_since(clock.now());
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    };
    let refused = |report: Report, left: Duration| match report.retry_after {
        None => Err(WaitError::NeverFits(report)),
        Some(retry) if retry > left => Err(WaitError::TooLong(report)),
        Some(retry) => Ok(retry),
    };
    loop {
        let left = deadline.saturating_duration_since(clock.now());
        // At once, or not at all: only those who wait need a place, and until they have one they take nothing.
        let Err(decision) = reserve(Duration::ZERO) else { return Ok(()) };
        refused(decision.report(), left)?;
        let _waiting = waiters.enter()?;
        let left = deadline.saturating_duration_since(clock.now());
        match reserve(left) {
            Ok(turn) => {
                let go_at = turn.go_at();
                let mut held = Held(Some(turn), Process::current());
                sleep_until(go_at).await;
                if !held.1.is_current() {
                    // In a child it is for a turn of its own to come.
                    continue;
                }
                held.0 = None;
                return Ok(());
            }
            // It may fit in time, but a window promises nothing that is after its end.
            Err(decision) if decision.limit().quota().algorithm().is_window() => {
                let retry = refused(decision.report(), left)?;
                sleep_until(decision.at().saturating_add(retry)).await;
            }
            Err(decision) => return Err(WaitError::TooLong(decision.report())),
        }
    }
}
