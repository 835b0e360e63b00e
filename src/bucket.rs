//! One bucket by itself: one word, no table, no key.

#[cfg(feature = "async")]
use core::time::Duration;
#[cfg(feature = "async")]
use std::sync::Arc;

use crate::cells::AnyCells;
use crate::clock::{Clock, ExactClock, Instant};
use crate::decision::Decision;
use crate::error::LimitError;
use crate::given::IntoQuota;
use crate::handle::Handle;
use crate::hash::{Owner, Salt};
use crate::limit::Limit;
use crate::step::Steps;
use crate::time_base::TimeBase;
use crate::words::Words;

/// A rate limiter for one thing: one atomic word, shared between threads by reference.
///
/// [`handle`](Self::handle) gives what a [limiter](crate::Limiter) gives for a [key](crate::Limiter::key).
///
/// ```
/// use tollgate::clock::{Instant, ManualClock};
/// use tollgate::{Bucket, Quota};
///
/// let bucket = Bucket::with_clock(Quota::per_second(300), ManualClock::default())?;
/// assert_eq!(bucket.handle().take_up_to(1_000), 300);
/// assert!(!bucket.check().is_allowed());
/// bucket.clock().set(Instant::from_secs(1));
/// assert_eq!(bucket.handle().take_up_to(1_000), 300);
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
    /// assert_eq!(bucket.handle().take_up_to(100), 10);
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

    /// How many may wait in [`until_ready`](Handle::until_ready) at once; 10,000 unless told otherwise.
    #[cfg(feature = "async")]
    #[must_use]
    pub fn with_max_waiters(mut self, max: u64) -> Self {
        self.waiters = crate::wait::Waiters::new(max);
        self
    }

    /// The bucket at the caller's `now`; see [`Limiter::at`](crate::Limiter::at).
    #[inline]
    pub const fn at(&self, now: Instant) -> Handle<'_, C> {
        self.handle().at(now)
    }

    /// All that can be asked of it: to refund, charge, reserve, lease, wait.
    #[inline]
    pub const fn handle(&self) -> Handle<'_, C> {
        Handle {
            cells: AnyCells::Bucket(&self.words),
            limit: &self.limit,
            clock: &self.clock,
            steps: &self.steps,
            now: None,
            foreign: None,
            #[cfg(feature = "async")]
            waiters: &self.waiters,
        }
    }

    /// See [`Limiter::check`](crate::Limiter::check).
    #[inline]
    pub fn check(&self) -> Decision<'_> {
        self.handle().check()
    }

    /// See [`Limiter::check_n`](crate::Limiter::check_n).
    #[inline]
    pub fn check_n(&self, cost: u64) -> Decision<'_> {
        self.handle().check_n(cost)
    }

    /// See [`Limiter::peek`](crate::Limiter::peek).
    #[inline]
    pub fn peek(&self) -> Decision<'_> {
        self.handle().peek()
    }

    /// See [`Limiter::until_ready_owned`](crate::Limiter::until_ready_owned).
    ///
    /// # Errors
    ///
    /// As [`Handle::until_ready`](crate::Handle::until_ready).
    #[cfg(feature = "async")]
    pub async fn until_ready_owned<F: Future<Output = ()>, S: Fn(Duration) -> F>(
        self: Arc<Self>,
        cost: u64,
        max_wait: Duration,
        sleep: S,
    ) -> Result<(), crate::error::WaitError> {
        self.handle().until_ready(cost, max_wait, sleep).await
    }
}
