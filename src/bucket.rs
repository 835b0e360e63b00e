//! One bucket by itself: one word, no table, no key.

use core::time::Duration;

use crate::base::TimeBase;
use crate::clock::{Clock, ExactClock, Instant};
use crate::decision::Decision;
use crate::error::QuotaError;
use crate::hash::{Owner, Salt};
use crate::lease::{Lease, Source};
use crate::limit::Limit;
use crate::marks::Marks;
use crate::ops::{Cells, Op, OwnClock};
use crate::protocol::{Outcome, Tried};
use crate::quota::Quota;
use crate::rehearsal::Rehearsal;
use crate::reservation::Reservation;
use crate::step::Steps;
use crate::sync::{Atomic, Ordering};
use crate::word::{Balance, Units, Word};

/// The word of a bucket; for a sliding log, one word per request it can remember.
#[derive(Debug)]
pub(crate) struct Words {
    words: Box<[Atomic<Word>]>,
    marks: Marks,
}

impl Words {
    pub(crate) fn new(count: u64) -> Self {
        Self { words: (0..count).map(|_| Atomic::new(Word::FULL)).collect(), marks: Marks::new() }
    }

    fn word(&self, cell: u64) -> &Atomic<Word> {
        // A limit has as many cells as were made for it: at most `Quota::MAX_LOG`. Any other quota falls on the first.
        usize::try_from(cell).ok().and_then(|cell| self.words.get(cell)).unwrap_or(&self.words[0])
    }
}

impl Cells for &Words {
    #[inline]
    fn try_update(&self, decide: impl FnMut(Balance) -> Option<Balance>) -> Tried {
        Tried::Done(self.update(0, 0, decide))
    }

    fn insert(&self, now: Units, decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        self.update(0, now, decide)
    }

    #[inline]
    fn update(&self, cell: u64, _now: Units, mut decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        let cell = self.word(cell);
        // Acquire, also when the exchange fails, and Release in the exchange, with each other: who sees a stamp sees the
        // reading of the clock that made it, on which `Op::pull_back` relies, and the marks that were raised before it
        // (`marks.rs`), on which refunding and undoing rely. Nothing else is published. An exchange that succeeds needs no
        // Acquire: what it replaces was acquired before. Models: clock, reserve, undo.
        let mut word = cell.load(Ordering::Acquire);
        loop {
            let Some(after) = decide(word.balance()) else { return Outcome::Kept(word.balance()) };
            match cell.compare_exchange(word, word.live(after), Ordering::Release, Ordering::Acquire) {
                Ok(_) => return Outcome::Changed(after),
                Err(newer) => word = newer,
            }
        }
    }

    #[inline]
    fn read(&self, cell: u64) -> Balance {
        // Acquire, with the exchange above: as there. Models: bucket, clock.
        self.word(cell).load(Ordering::Acquire).balance()
    }

    fn under(&self, _other: Salt) -> Self {
        self // a bucket has one limit
    }

    fn update_if_room(&self, now: Units, decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        self.update(0, now, decide)
    }

    fn rehearse(&self, cell: u64, _: &mut Rehearsal, mut decide: impl FnMut(Balance) -> Option<Balance>) -> bool {
        decide(self.read(cell)).is_some()
    }

    fn marks(&self, _cell: u64) -> &Marks {
        &self.marks
    }
}

/// A rate limiter for one thing: one atomic word, shared between threads by reference.
///
/// Every method does what the one of the same name on [`Limiter`](crate::Limiter) does, without a key.
///
/// ```
/// use tollgate::{Bucket, Instant, ManualClock, Quota};
///
/// let bucket = Bucket::with_clock(Quota::per_second(300), ManualClock::default())?;
/// assert_eq!(bucket.take_up_to(1_000), 300);
/// assert!(!bucket.check().is_allowed());
/// bucket.clock().set(Instant::from_secs(1));
/// assert_eq!(bucket.take_up_to(1_000), 300);
/// # Ok::<(), tollgate::QuotaError>(())
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
    /// If the quota is out of bounds.
    pub fn new(quota: Quota) -> Result<Self, QuotaError> {
        Self::with_clock(quota, ExactClock::new())
    }
}

impl<C: Clock> Bucket<C> {
    /// A full bucket on a clock of yours; see [`Builder::build_with_clock`](crate::Builder::build_with_clock).
    ///
    /// # Errors
    ///
    /// If the quota is out of bounds.
    pub fn with_clock(quota: Quota, clock: C) -> Result<Self, QuotaError> {
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

    /// The same bucket at the caller's `now`; see [`Limiter::at`](crate::Limiter::at).
    #[inline]
    #[must_use]
    pub const fn at(&self, now: Instant) -> BucketView<'_, C> {
        BucketView { bucket: self, limit: &self.limit, now: Some(now) }
    }

    #[inline]
    const fn view(&self) -> BucketView<'_, C> {
        BucketView { bucket: self, limit: &self.limit, now: None }
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

    /// See [`Limiter::until_ready`](crate::Limiter::until_ready); up to 10,000 may wait.
    ///
    /// # Errors
    ///
    /// As [`Limiter::until_ready`](crate::Limiter::until_ready).
    #[cfg(feature = "async")]
    pub async fn until_ready<F: Future<Output = ()>>(
        &self,
        cost: u64,
        max_wait: Duration,
        sleep: impl Fn(Duration) -> F,
    ) -> Result<(), crate::WaitError> {
        crate::wait::until_ready(|left| self.reserve(cost, left), &self.clock, &self.waiters, max_wait, sleep).await
    }
}

/// A [`Bucket`] at the caller's time. Free to make and to copy.
#[derive(Debug)]
pub struct BucketView<'a, C = ExactClock> {
    bucket: &'a Bucket<C>,
    limit: &'a Limit,
    now: Option<Instant>,
}

impl<C> Clone for BucketView<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for BucketView<'_, C> {}

impl<'a, C: Clock> BucketView<'a, C> {
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

    /// See [`View::lease`](crate::View::lease).
    pub fn lease(&self, batch: u64) -> Lease<'a, C> {
        Lease::new(Source::Bucket(&self.bucket.words), self.limit, &self.bucket.clock, &self.bucket.steps, batch)
    }
}
