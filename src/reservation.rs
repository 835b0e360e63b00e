//! Tokens taken for a request that may go later.

use core::fmt;
use core::time::Duration;

use crate::algorithm::Debit;
use crate::cells::{AnyCells, Cells};
use crate::clock::Instant;
use crate::decision::Decision;
use crate::ops::Op;
use crate::set::Part;
use crate::word::Units;

/// Tokens taken for a request, and the instant at which it may go.
///
/// Dropping it keeps the tokens taken: the request went. If it will not go, [`cancel`](Self::cancel).
#[must_use = "the tokens are taken: wait for them, or cancel"]
pub struct Reservation<'a> {
    op: Op<'a, AnyCells<'a>>,
    cost: u64,
    debit: Debit,
    wait: Duration,
    made_at: Instant,
}

impl<'a> Reservation<'a> {
    pub(crate) fn new<S>(op: Op<'a, S>, cost: u64, max_wait: Duration) -> Result<Self, Decision<'a>>
    where
        S: Cells + Into<AnyCells<'a>>,
    {
        let reserved = op.reserve(cost, max_wait)?;
        Ok(Self {
            cost,
            debit: reserved.debit,
            wait: Duration::from_nanos(op.limit.base.nanos_until(op.now, reserved.go_at)),
            made_at: op.now,
            op: op.of_any_kind(),
        })
    }

    /// How long after [`made_at`](Self::made_at) the request may go; zero if it may go at once. To the nanosecond.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// The instant at which the request may go.
    #[must_use]
    pub const fn go_at(&self) -> Instant {
        self.made_at.saturating_add(self.wait)
    }

    /// The instant at which it was reserved.
    #[must_use]
    pub const fn made_at(&self) -> Instant {
        self.made_at
    }

    /// How many tokens were taken.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.cost
    }

    /// Gives the tokens back, all of them or none.
    ///
    /// They come back if nobody has taken from the bucket since: then it is as if the reservation had not been made. If
    /// somebody has, what he took lies behind them, and nothing comes back: his instant was promised after this one's, or
    /// he may hold tokens ahead. Nor does it after a [refund](crate::Handle::refund), a reset or a conversion of the key
    /// that came later. Under a window the count becomes less by the cost, while it lasts, whoever else took, and whatever has
    /// been refunded or reset meanwhile: so do not give one request back twice.
    ///
    /// Go's `x/time/rate` gives back what later reservations do not stand on. That depends on how many of them have been
    /// cancelled before, which a bucket of one word does not remember, and sells tokens twice if it is some.
    pub fn cancel(self) {
        let now = self.op.latest();
        self.cancel_at(now);
    }

    /// As [`cancel`](Self::cancel), at the caller's `now`.
    pub fn cancel_at(self, now: Instant) {
        self.op.at(now).undo(&self.debit);
    }
}

impl fmt::Debug for Reservation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("cost", &self.cost).field("wait", &self.wait).finish_non_exhaustive()
    }
}

/// Tokens of several limits taken for one request, and the one instant at which it may go under all of them.
///
/// Dropping it keeps the tokens taken: the request went. If it will not go, [`cancel`](Self::cancel).
#[must_use = "the tokens are taken: wait for them, or cancel"]
pub struct SetReservation<'a> {
    /// One at least.
    parts: Box<[Part<'a, AnyCells<'a>>]>,
    wait: Duration,
    made_at: Instant,
}

impl<'a> SetReservation<'a> {
    pub(crate) fn new<S>(parts: Vec<Part<'a, S>>, go_at: Units) -> Self
    where
        S: Cells + Into<AnyCells<'a>>,
    {
        let first = parts[0].0;
        Self {
            wait: Duration::from_nanos(first.limit.base.nanos_until(first.now, go_at)),
            made_at: first.now,
            parts: parts.into_iter().map(|(op, debit)| (op.of_any_kind(), debit)).collect(),
        }
    }

    /// How long after [`made_at`](Self::made_at) the request may go; zero if it may go at once. To the nanosecond.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// The instant at which the request may go.
    #[must_use]
    pub const fn go_at(&self) -> Instant {
        self.made_at.saturating_add(self.wait)
    }

    /// The instant at which it was reserved.
    #[must_use]
    pub const fn made_at(&self) -> Instant {
        self.made_at
    }

    /// Gives the tokens back, of each limit all or none, as [`Reservation::cancel`] does.
    pub fn cancel(self) {
        let now = self.parts[0].0.latest();
        self.cancel_at(now);
    }

    /// As [`cancel`](Self::cancel), at the caller's `now`.
    pub fn cancel_at(self, now: Instant) {
        // The last first: of several of one bucket that is the one on top.
        self.parts.iter().rev().for_each(|(op, debit)| op.at(now).undo(debit));
    }
}

impl fmt::Debug for SetReservation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetReservation")
            .field("limits", &self.parts.len())
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}
