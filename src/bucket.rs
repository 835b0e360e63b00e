//! One bucket by itself: one word, no table, no key.

use core::time::Duration;
#[cfg(feature = "async")]
use std::sync::Arc;

use crate::clock::{Clock, ExactClock, Instant};
use crate::decision::Decision;
use crate::error::LimitError;
use crate::given::IntoQuota;
use crate::hash::{Owner, Salt};
use crate::lease::Lease;
use crate::limit::Limit;
use crate::ops::{Op, OwnClock};
use crate::reservation::Reservation;
use crate::state::BucketState;
use crate::step::Steps;
use crate::time_base::TimeBase;
use crate::words::Words;

/// A rate limiter for one thing: one atomic word, shared between threads by reference.
///
/// Every method does what the one of the same name on [`Limiter`](crate::Limiter) does, without a key.
///
/// ```
/// use tollgate::clock::{Instant, ManualClock};
/// use tollgate::{Bucket, Quota};
///
/// let bucket = Bucket::with_clock(Quota::per_second(300), ManualClock::default())?;
/// assert_eq!(bucket.take_up_to(1_000), 300);
/// assert!(!bucket.check().is_allowed());
/// bucket.clock().set(Instant::from_secs(1));
/// assert_eq!(bucket.take_up_to(1_000), 300);
/// # Ok::<(), tollgate::error::LimitError>(())
/// ```
#[derive(Debug)]
pub struct Bucket<C = ExactClock> {
    limit: Limit,
    words: Words,
    clock: C,
    steps: Steps,
    #[cfg(feature = "async")]
    waiters: crate::wait::Waiters,
}

impl Bucket {
    /// A full bucket on an [`ExactClock`].
    ///
    /// # Errors
    ///
    /// If the text is no rate, or the quota is out of bounds.
    ///
    /// ```
    /// let bucket = tollgate::Bucket::new("10/s")?;
    /// assert_eq!(bucket.take_up_to(100), 10);
    /// # Ok::<(), tollgate::error::LimitError>(())
    /// ```
    pub fn new(quota: impl IntoQuota) -> Result<Self, LimitError> {
        Self::with_clock(quota, ExactClock::new())
    }
}

impl<C: Clock> Bucket<C> {
    /// A full bucket on a clock of yours; see [`LimiterBuilder::clock`](crate::LimiterBuilder::clock).
    ///
    /// # Errors
    ///
    /// If the text is no rate, or the quota is out of bounds.
    pub fn with_clock(quota: impl IntoQuota, clock: C) -> Result<Self, LimitError> {
        let quota = quota.into_quota()?;
        let now = clock.now();
        let limit = Limit::new(quota, Salt::NONE, Owner::NONE, TimeBase::new(&[quota], now))?;
        Ok(Self {
            words: Words::new(limit.cells),
            limit,
            clock,
            steps: Steps::new(now),
            #[cfg(feature = "async")]
            waiters: crate::wait::Waiters::new(crate::wait::Waiters::DEFAULT_MAX),
        })
    }

    /// The limit given at construction, with the rate that is really held.
    #[must_use]
    pub const fn default_limit(&self) -> &Limit {
        &self.limit
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &C {
        &self.clock
    }

    /// The time of the clock; see [`Limiter::now`](crate::Limiter::now).
    #[inline]
    #[must_use]
    pub fn now(&self) -> Instant {
        self.steps.now(&self.clock)
    }

    /// How many may wait in [`until_ready`](Self::until_ready) at once; 10,000 unless told otherwise.
    #[cfg(feature = "async")]
    #[must_use]
    pub fn with_max_waiters(mut self, max: u64) -> Self {
        self.waiters = crate::wait::Waiters::new(max);
        self
    }

    /// The same bucket at the caller's `now`; see [`Limiter::at`](crate::Limiter::at).
    #[inline]
    #[must_use]
    pub const fn at(&self, now: Instant) -> ScopedBucket<'_, C> {
        ScopedBucket { bucket: self, limit: &self.limit, now: Some(now) }
    }

    #[inline]
    const fn view(&self) -> ScopedBucket<'_, C> {
        ScopedBucket { bucket: self, limit: &self.limit, now: None }
    }

    /// See [`Limiter::check`](crate::Limiter::check).
    #[inline]
    pub fn check(&self) -> Decision<'_> {
        self.view().check()
    }

    /// See [`Limiter::check_n`](crate::Limiter::check_n).
    #[inline]
    pub fn check_n(&self, cost: u64) -> Decision<'_> {
        self.view().check_n(cost)
    }

    /// See [`Limiter::peek`](crate::Limiter::peek).
    #[inline]
    pub fn peek(&self) -> Decision<'_> {
        self.view().peek()
    }

    /// See [`Limiter::peek_n`](crate::Limiter::peek_n).
    #[inline]
    pub fn peek_n(&self, cost: u64) -> Decision<'_> {
        self.view().peek_n(cost)
    }

    /// See [`Limiter::state`](crate::Limiter::state).
    #[must_use]
    pub fn state(&self) -> BucketState {
        self.view().state()
    }

    /// See [`Limiter::take_up_to`](crate::Limiter::take_up_to).
    #[inline]
    #[must_use = "nothing says how much may go but the answer"]
    pub fn take_up_to(&self, most: u64) -> u64 {
        self.view().take_up_to(most)
    }

    /// See [`Limiter::refund`](crate::Limiter::refund).
    #[inline]
    pub fn refund(&self, cost: u64) {
        self.view().refund(cost);
    }

    /// See [`Limiter::refund_of`](crate::Limiter::refund_of).
    #[inline]
    pub fn refund_of(&self, cost: u64, taken_at: Instant) {
        self.view().refund_of(cost, taken_at);
    }

    /// See [`Limiter::reset`](crate::Limiter::reset).
    #[inline]
    pub fn reset(&self) {
        self.view().reset();
    }

    /// See [`Limiter::charge`](crate::Limiter::charge).
    #[inline]
    pub fn charge(&self, cost: u64) -> u64 {
        self.view().charge(cost)
    }

    /// See [`Limiter::reserve`](crate::Limiter::reserve).
    ///
    /// # Errors
    ///
    /// As [`Limiter::reserve`](crate::Limiter::reserve).
    pub fn reserve(&self, cost: u64, max_wait: Duration) -> Result<Reservation<'_>, Decision<'_>> {
        self.view().reserve(cost, max_wait)
    }

    /// See [`Limiter::lease`](crate::Limiter::lease).
    pub fn lease(&self, batch: u64) -> Lease<'_, C> {
        self.view().lease(batch)
    }

    /// See [`Limiter::until_ready`](crate::Limiter::until_ready).
    ///
    /// # Errors
    ///
    /// As [`Limiter::until_ready`](crate::Limiter::until_ready).
    #[cfg(feature = "async")]
    pub fn until_ready<F: Future<Output = ()>, S: Fn(Duration) -> F>(
        &self,
        cost: u64,
        max_wait: Duration,
        sleep: S,
    ) -> impl Future<Output = Result<(), crate::error::WaitError>> + use<'_, C, F, S> {
        let reserve = move |left| self.reserve(cost, left);
        crate::wait::until_ready(reserve, &self.clock, &self.waiters, max_wait, sleep)
    }

    /// See [`Limiter::until_ready_owned`](crate::Limiter::until_ready_owned).
    ///
    /// # Errors
    ///
    /// As [`Limiter::until_ready`](crate::Limiter::until_ready).
    #[cfg(feature = "async")]
    pub async fn until_ready_owned<F: Future<Output = ()>, S: Fn(Duration) -> F>(
        self: Arc<Self>,
        cost: u64,
        max_wait: Duration,
        sleep: S,
    ) -> Result<(), crate::error::WaitError> {
        self.until_ready(cost, max_wait, sleep).await
    }
}

/// A [`Bucket`] at the caller's time. Free to make and to copy.
#[derive(Debug)]
pub struct ScopedBucket<'a, C = ExactClock> {
    bucket: &'a Bucket<C>,
    limit: &'a Limit,
    now: Option<Instant>,
}

impl<C> Clone for ScopedBucket<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for ScopedBucket<'_, C> {}

impl<'a, C: Clock> ScopedBucket<'a, C> {
    /// The same at the caller's `now`; see [`Bucket::at`].
    #[inline]
    #[must_use]
    pub const fn at(self, now: Instant) -> Self {
        Self { now: Some(now), ..self }
    }

    #[inline]
    fn op(&self) -> Op<'a, &'a Words> {
        let own = OwnClock { clock: &self.bucket.clock, steps: &self.bucket.steps };
        let now = self.now.unwrap_or_else(|| self.bucket.steps.now(&self.bucket.clock));
        Op::new(&self.bucket.words, self.limit, now, own)
    }

    /// See [`Limiter::check`](crate::Limiter::check).
    #[inline]
    pub fn check(&self) -> Decision<'a> {
        self.op().check(1)
    }

    /// See [`Limiter::check_n`](crate::Limiter::check_n).
    #[inline]
    pub fn check_n(&self, cost: u64) -> Decision<'a> {
        self.op().check(cost)
    }

    /// See [`Limiter::peek`](crate::Limiter::peek).
    #[inline]
    pub fn peek(&self) -> Decision<'a> {
        self.op().peek(1)
    }

    /// See [`Limiter::peek_n`](crate::Limiter::peek_n).
    #[inline]
    pub fn peek_n(&self, cost: u64) -> Decision<'a> {
        self.op().peek(cost)
    }

    /// See [`Limiter::state`](crate::Limiter::state).
    #[must_use]
    pub fn state(&self) -> BucketState {
        self.op().state()
    }

    /// See [`Limiter::take_up_to`](crate::Limiter::take_up_to).
    #[inline]
    #[must_use = "nothing says how much may go but the answer"]
    pub fn take_up_to(&self, most: u64) -> u64 {
        self.op().take_up_to(most)
    }

    /// See [`Limiter::refund`](crate::Limiter::refund).
    #[inline]
    pub fn refund(&self, cost: u64) {
        self.op().refund(cost);
    }

    /// See [`Limiter::refund_of`](crate::Limiter::refund_of).
    #[inline]
    pub fn refund_of(&self, cost: u64, taken_at: Instant) {
        self.op().refund_of(cost, taken_at);
    }

    /// See [`Limiter::reset`](crate::Limiter::reset).
    #[inline]
    pub fn reset(&self) {
        self.op().reset();
    }

    /// See [`Limiter::charge`](crate::Limiter::charge).
    #[inline]
    pub fn charge(&self, cost: u64) -> u64 {
        self.op().charge(cost)
    }

    /// See [`Limiter::reserve`](crate::Limiter::reserve).
    ///
    /// # Errors
    ///
    /// As [`Limiter::reserve`](crate::Limiter::reserve).
    pub fn reserve(&self, cost: u64, max_wait: Duration) -> Result<Reservation<'a>, Decision<'a>> {
        Reservation::new(self.op(), cost, max_wait)
    }

    /// See [`Scoped::lease`](crate::scoped::Scoped::lease).
    pub fn lease(&self, batch: u64) -> Lease<'a, C> {
        Lease::new((&self.bucket.words).into(), self.limit, &self.bucket.clock, &self.bucket.steps, batch)
    }
}
