//! Waiting until a request may go, on whatever runtime the caller has: the caller brings the `sleep`.

use core::fmt;
use core::time::Duration;

use crate::clock::{Clock, Instant};
use crate::decision::{Decision, Report};
use crate::reservation::Reservation;
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
        // Relaxed, with `drop`: a count of heads that guards no data; adding before looking keeps it from ever letting in too many.
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

/// A reservation that is given back unless it was used: the caller may drop the future at any await.
struct Held<'a>(Option<Reservation<'a>>);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(reservation) = self.0.take() {
            reservation.cancel();
        }
    }
}

/// Reserves, then sleeps until the instant reserved. Algorithms that promise nothing ahead of time are asked again when
/// their answer said to.
pub(crate) async fn until_ready<'a, F: Future<Output = ()>>(
    reserve: impl Fn(Duration) -> Result<Reservation<'a>, Decision<'a>>,
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
    loop {
        let left = deadline.saturating_duration_since(clock.now());
        // At once, or not at all: only those who wait need a place, and until they have one they take nothing.
        let decision = match reserve(Duration::ZERO) {
            Ok(_) => return Ok(()),
            Err(decision) => decision,
        };
        let report = decision.report();
        let Some(retry) = report.retry_after else { return Err(WaitError::NeverFits(report)) };
        if retry > left {
            return Err(WaitError::TooLong(report));
        }
        let _waiting = waiters.enter()?;
        if decision.limit().quota().algorithm().is_window() {
            sleep_until(decision.at().saturating_add(retry)).await;
            continue;
        }
        let left = deadline.saturating_duration_since(clock.now());
        let reservation = reserve(left).map_err(|decision| WaitError::TooLong(decision.report()))?;
        let go_at = reservation.go_at();
        let mut held = Held(Some(reservation));
        sleep_until(go_at).await;
        held.0 = None;
        return Ok(());
    }
}
