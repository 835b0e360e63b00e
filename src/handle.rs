//! All that can be asked of one bucket, whether it is a key's in a table or stands by itself.

use core::fmt;
use core::time::Duration;

use crate::cells::{AnyCells, Cells};
use crate::clock::{Clock, ExactClock, Instant};
use crate::decision::Decision;
use crate::foreign::Foreign;
use crate::lease::Lease;
use crate::limit::Limit;
use crate::ops::{Op, OwnClock};
use crate::reservation::Reservation;
use crate::state::BucketState;
use crate::step::Steps;
#[cfg(feature = "async")]
use crate::wait::Waiters;

/// One bucket: that of a key under a limit, from [`Limiter::key`](crate::Limiter::key), or a [`Bucket`](crate::Bucket) by itself,
/// from [`Bucket::handle`](crate::Bucket::handle). Free to copy.
///
/// Holds the hash of the key, so that several calls hash it once. Reads the clock with each call, unless it was made at an
/// [instant of the caller's](crate::Limiter::at).
///
/// ```
/// use tollgate::Limiter;
///
/// let limiter = Limiter::builder("10/minute").build()?;
/// let client = limiter.key("grace");
/// assert!(client.check().is_allowed());
/// client.refund(1); // the request was not made
/// assert_eq!(client.peek_n(0).remaining(), 10);
/// # Ok::<(), tollgate::error::BuildError>(())
/// ```
#[must_use = "a handle by itself does nothing"]
pub struct Handle<'a, C = ExactClock> {
    pub(crate) cells: AnyCells<'a>,
    pub(crate) limit: &'a Limit,
    pub(crate) clock: &'a C,
    pub(crate) steps: &'a Steps,
    pub(crate) now: Option<Instant>,
    /// Refuses everything, and counts that, if limit or key were another limiter's.
    pub(crate) foreign: Option<&'a Foreign>,
    #[cfg(feature = "async")]
    pub(crate) waiters: &'a Waiters,
}

impl<C> Clone for Handle<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Handle<'_, C> {}

impl<'a, C: Clock> Handle<'a, C> {
    /// The same at the caller's `now`; see [`Limiter::at`](crate::Limiter::at).
    #[inline]
    pub const fn at(self, now: Instant) -> Self {
        Self { now: Some(now), ..self }
    }

    // Asked last, once the line of the table is on its way.
    #[inline]
    fn now(&self) -> Instant {
        self.now.unwrap_or_else(|| self.steps.now(self.clock))
    }

    /// One call on the bucket; the answer instead if it is not this limiter's.
    #[inline]
    fn on(&self, cost: u64) -> Result<Op<'a, AnyCells<'a>>, Decision<'a>> {
        match self.foreign {
            None => Ok(self.op(self.cells)),
            Some(foreign) => Err(refuse(foreign, self.limit, cost, self.now, (self.clock, self.steps))),
        }
    }

    #[inline(always)]
    fn op<S: Cells>(&self, cells: S) -> Op<'a, S> {
        Op::new(cells, self.limit, self.now(), OwnClock { clock: self.clock, steps: self.steps })
    }

    /// Admits one request, or not; see [`Limiter::check`](crate::Limiter::check).
    #[inline(always)]
    pub fn check(&self) -> Decision<'a> {
        self.check_n(1)
    }

    /// Admits a request that costs `cost` tokens; see [`Limiter::check_n`](crate::Limiter::check_n).
    // Inlined, so that where a handle is made and used at once nothing is left of the choice between kinds of cells.
    #[inline(always)]
    pub fn check_n(&self, cost: u64) -> Decision<'a> {
        if let Some(foreign) = self.foreign {
            return refuse(foreign, self.limit, cost, self.now, (self.clock, self.steps));
        }
        match self.cells {
            #[cfg(not(tollgate_model))]
            AnyCells::Table(entry) => self.op(entry).check(cost),
            AnyCells::Bucket(words) => self.op(words).check(cost),
        }
    }

    /// What [`check`](Self::check) would answer; see [`Limiter::peek`](crate::Limiter::peek).
    #[inline]
    pub fn peek(&self) -> Decision<'a> {
        self.peek_n(1)
    }

    /// As [`peek`](crate::Limiter::peek), for [`check_n`](crate::Limiter::check_n). With a cost of 0, which needs no slot: how the bucket of
    /// the key stands, whether there is room for it or not.
    #[inline]
    pub fn peek_n(&self, cost: u64) -> Decision<'a> {
        self.on(cost).map_or_else(|foreign| foreign, |op| op.peek(cost))
    }

    /// What the bucket of `key` holds, as it is kept: a window's count and its end, say, or the balance below zero. Writes
    /// nothing. `None` if the limit or the hash of the key is another limiter's.
    ///
    /// All of one answer is of one word, read once: of a [log](crate::Algorithm::SlidingLog) it is read cell by cell, and of a
    /// limit whose [quota has changed](crate::Limiter::change_quota) the words before are looked at too. Costs as much as
    /// [`peek`](crate::Limiter::peek), and a division or two.
    ///
    /// ```
    /// use tollgate::state::BucketState;
    /// use tollgate::{Algorithm, Limiter, Quota};
    ///
    /// let limiter = Limiter::builder(Quota::per_hour(5).with_algorithm(Algorithm::FixedWindow)).build()?;
    /// assert_eq!(limiter.key("key").take_up_to(3), 3);
    /// let Some(BucketState::Window { count, .. }) = limiter.key("key").state() else { panic!("a window") };
    /// assert_eq!(count, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn state(&self) -> Option<BucketState> {
        self.on(0).ok().map(Op::state)
    }

    /// Takes as much of `most` as is there, in one step, and says how much.
    #[inline]
    #[must_use = "nothing says how much may go but the answer"]
    pub fn take_up_to(&self, most: u64) -> u64 {
        self.on(most).map_or(0, |op| op.take_up_to(most))
    }

    /// Gives `cost` tokens back, up to full: for a request that was admitted and then not made.
    ///
    /// The limiter does not know who took what: give back only what was taken. By definition a refund is a cost of its own,
    /// less than zero, at its own instant; beside a [`Lease`] that holds tokens of the key also later, when those are used.
    /// While requests that were [reserved](Self::reserve) wait for their instants it gives nothing back, as whoever came
    /// next would get one of those. A reservation made before a refund of the same key gives nothing back when it is
    /// cancelled.
    #[inline]
    pub fn refund(&self, cost: u64) {
        if let Ok(op) = self.on(0) {
            op.refund(cost);
        }
    }

    /// As [`refund`](Self::refund), of what was taken at an earlier instant, [`Decision::at`]: a request whose response
    /// decides that it was free. What has been paid for by the time that has passed does not come back: a window gives back
    /// only what it has counted itself (the sliding counter in the window after as well; one that began with its first request, as
    /// far as its rounded end tells), a log the places taken at that very
    /// instant, a bucket no more than one that was drained then has not refilled since.
    #[inline]
    pub fn refund_of(&self, cost: u64, taken_at: Instant) {
        if let Ok(op) = self.on(0) {
            op.refund_of(cost, taken_at);
        }
    }

    /// Fills the bucket of `key`: forgets what it owes, and what was promised. By definition a cost less than zero, as a
    /// [refund](Self::refund) of all.
    #[inline]
    pub fn reset(&self) {
        if let Ok(op) = self.on(0) {
            op.reset();
        }
    }

    /// Takes `cost` tokens whether they are there or not, and says how much was recorded: for a cost that is known only
    /// afterwards.
    ///
    /// A bucket goes at most as far past empty as [`Quota::with_max_debt`](crate::Quota::with_max_debt) says; a window fills up to its limit and
    /// carries nothing into the next. What is beyond that is not recorded, nor is a new key for which the table has no
    /// room.
    #[inline]
    pub fn charge(&self, cost: u64) -> u64 {
        self.on(cost).map_or(0, |op| op.charge(cost))
    }

    /// Takes `cost` tokens now for a request that may go within `max_wait`, and says when: an instant of its own for
    /// each, first come first served.
    ///
    /// No wait is longer than [`Quota::with_max_debt`](crate::Quota::with_max_debt) either (for a [queue](crate::Algorithm::LeakyQueue), than the
    /// queue is long). Window algorithms promise nothing ahead of time: there a reservation goes now or is refused.
    ///
    /// # Errors
    ///
    /// The decision, if it would have to wait longer: nothing was taken. [`Decision::retry_after`] then says when it
    /// could go at once.
    pub fn reserve(&self, cost: u64, max_wait: Duration) -> Result<Reservation<'a>, Decision<'a>> {
        Reservation::new(self.on(cost)?, cost, max_wait)
    }

    /// A handle on the bucket of `key` for one thread, which takes up to `batch` tokens at a time, so that most checks of a
    /// key that many threads ask for at once touch nothing shared. Takes nothing yet; costs a hash.
    ///
    /// Never admits more; may leave some unused. [`Lease`] says how much, and when it pays.
    pub fn lease(&self, batch: u64) -> Lease<'a, C> {
        Lease::new(*self, batch)
    }

    /// Waits until a request that costs `cost` tokens may go; at most `max_wait`, by the limiter's clock.
    ///
    /// `sleep` is your runtime's timer, such as `tokio::time::sleep`. The tokens are [reserved](Self::reserve) first,
    /// so waiters go first come first served and each wakes once, at an instant of its own. Under a window algorithm,
    /// which promises nothing ahead of time, all who wait for a window wake when it begins and try again. Dropping the
    /// future gives back what it had reserved, as [`Reservation::cancel`] does.
    ///
    /// # Errors
    ///
    /// If the request can never fit, would have to wait longer, or [too many](crate::LimiterBuilder::max_waiters) are waiting.
    #[cfg(feature = "async")]
    pub fn until_ready<F: Future<Output = ()>, S: Fn(Duration) -> F>(
        &self,
        cost: u64,
        max_wait: Duration,
        sleep: S,
    ) -> impl Future<Output = Result<(), crate::error::WaitError>> + use<'a, C, F, S> {
        let handle = Self { now: None, ..*self };
        let reserve = move |left| handle.reserve(cost, left);
        crate::wait::until_ready(reserve, handle.clock, handle.waiters, max_wait, sleep)
    }
}

/// The answer to a call on what is another limiter's.
// From parts, so that the handle itself need not be in memory.
#[cold]
#[inline(never)]
fn refuse<'a, C: Clock>(
    foreign: &Foreign,
    limit: &'a Limit,
    cost: u64,
    now: Option<Instant>,
    (clock, steps): (&C, &Steps),
) -> Decision<'a> {
    foreign.refuse(limit, cost, now.unwrap_or_else(|| steps.now(clock)))
}

impl<C> fmt::Debug for Handle<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("quota", self.limit.quota()).field("now", &self.now).finish_non_exhaustive()
    }
}
