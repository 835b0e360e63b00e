//! Tokens taken for a request that may go later.

use core::fmt;
use core::time::Duration;

use crate::bucket::Words;
use crate::clock::Instant;
use crate::decision::Decision;
use crate::ops::{Cells, Op};
#[cfg(not(tollgate_model))]
use crate::table::Entry;
use crate::word::Units;

/// Where the tokens came from.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    #[cfg(not(tollgate_model))]
    Table(Op<'a, Entry<'a>>),
    Bucket(Op<'a, &'a Words>),
}

#[cfg(not(tollgate_model))]
impl<'a> From<Op<'a, Entry<'a>>> for Origin<'a> {
    fn from(op: Op<'a, Entry<'a>>) -> Self {
        Self::Table(op)
    }
}

impl<'a> From<Op<'a, &'a Words>> for Origin<'a> {
    fn from(op: Op<'a, &'a Words>) -> Self {
        Self::Bucket(op)
    }
}

/// Tokens taken for a request, and the instant at which it may go.
///
/// Dropping it keeps the tokens taken: the request went. If it will not go, [`cancel`](Self::cancel).
#[must_use = "the tokens are taken: wait for them, or cancel"]
pub struct Reservation<'a> {
    origin: Origin<'a>,
    cost: u64,
    /// The stamp this reservation left.
    stamp: Units,
    wait: Duration,
    made_at: Instant,
    cancelled: bool,
}

impl<'a> Reservation<'a> {
    pub(crate) fn new<S: Cells>(op: Op<'a, S>, cost: u64, max_wait: Duration) -> Result<Self, Decision<'a>>
    where
        Op<'a, S>: Into<Origin<'a>>,
    {
        let reserved = op.reserve(cost, max_wait)?;
        Ok(Self {
            cost,
            stamp: reserved.stamp,
            wait: Duration::from_nanos(op.limit.base.nanos_until(op.now, reserved.go_at)),
            made_at: op.now,
            cancelled: false,
            origin: op.into(),
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

    /// Gives the tokens back; a second time does nothing. Says whether it was the first.
    ///
    /// While reservations made later still wait, only what they do not stand on comes back, as in Go's
    /// `x/time/rate`: their instants were promised after this one's. The limiter's clock says when "now" is, or, for a
    /// reservation made at a caller's `now`, that same `now`.
    pub fn cancel(&mut self) -> bool {
        self.cancel_by(None)
    }

    /// As [`cancel`](Self::cancel), at the caller's `now`.
    pub fn cancel_at(&mut self, now: Instant) -> bool {
        self.cancel_by(Some(now))
    }

    fn cancel_by(&mut self, now: Option<Instant>) -> bool {
        if core::mem::replace(&mut self.cancelled, true) {
            return false;
        }
        match &self.origin {
            #[cfg(not(tollgate_model))]
            Origin::Table(op) => self.give_back(*op, now),
            Origin::Bucket(op) => self.give_back(*op, now),
        }
        true
    }

    fn give_back<S: Cells>(&self, op: Op<'a, S>, now: Option<Instant>) {
        let now = || now.unwrap_or_else(|| op.latest());
        op.at(now()).cancel(self.cost, self.stamp, || op.limit.base.units(now()));
    }
}

impl fmt::Debug for Reservation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("cost", &self.cost)
            .field("wait", &self.wait)
            .field("cancelled", &self.cancelled)
            .finish_non_exhaustive()
    }
}
