//! A thread's own handle on a hot bucket, which takes tokens in small batches.

use core::fmt;

use crate::algorithm::batch::Batch;
use crate::cells::{AnyCells, Cells as _};
use crate::clock::{Clock, ExactClock, Instant};
use crate::decision::Decision;
use crate::foreign::Foreign;
use crate::handle::Handle;
use crate::limit::Limit;
use crate::ops::{Op, OwnClock};
use crate::process::Process;
use crate::step::Steps;

#[cfg(not(tollgate_model))]
pub use crate::owned_lease::OwnedLease;

/// One thread's handle on one bucket: takes tokens in batches, so that most checks of a hot key touch nothing shared.
///
/// Made by [`Handle::lease`]; one for each thread. It may
/// be moved to another thread; it is not shared. What it holds is given back when it is dropped.
///
/// ```
/// use tollgate::{Limiter, Quota};
///
/// let limiter = Limiter::builder(Quota::per_second(1_000_000)).build()?;
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         scope.spawn(|| {
///             let mut lease = limiter.key("everybody").lease(64);
///             for _ in 0..1_000 {
///                 assert!(lease.check().is_allowed());
///             }
///         });
///     }
/// });
/// # Ok::<(), tollgate::error::BuildError>(())
/// ```
///
/// # Never more than the limit
///
/// All that the limit promises holds of any number of leases and of everybody else together, as if each had asked the
/// bucket itself: no allowance is added for the batches. What is held does not keep: under a token bucket a token that is
/// not used by the time at which it would have run over has lapsed; under a window, when the window ends.
///
/// One exception is of your making: [`refund`](crate::Handle::refund) and [`reset`](crate::Handle::reset) while tokens are
/// held. These give back what the bucket takes for used, so they also count (as a cost less than zero) in spans that begin
/// later, in which held tokens are used. In a forked child what was held is void: its parent has it.
/// So is what was held of a shared table, once it is [noticed](crate::shared::SharedTable::is_detached) that its file is gone.
///
/// # How much may go unused
///
/// - A handle holds less than `batch` tokens, and others are without them until they are used, given back, or lapse. It
///   takes no more ahead than half of what its own request leaves. So a bucket with fewer than three tokens serves
///   everybody one request at a time, as if there were no leases.
/// - Under a token bucket all that is held has lapsed by the time at which the bucket would be full if nobody else took:
///   `burst / rate` at most, and `batch / rate` if it was full when they were taken. Tokens that lapse are lost as those are
///   that run over a full bucket: up to `batch - 1` for each request that went to the bucket. That makes bursts smaller, down
///   to three tokens if every handle is slow; the rate stays what it is.
/// - Under a fixed window up to `batch - 1` of its count for each handle; under a sliding window counter these still weigh in
///   the next window.
/// - A handle by itself, while time stands still, gets every token there is.
///
/// So lease keys that each thread asks for many times in `batch / rate`, with a batch of no more than
/// `burst / (2 * threads)`; 16 to 64 is enough to make the shared step rare. Otherwise [`check`](crate::Limiter::check).
///
/// A leaky queue, in which requests leave one by one, and a sliding log keep nothing ahead: there every check goes to the
/// bucket, as [`Limiter::check`](crate::Limiter::check) does.
#[must_use = "a lease that nobody checks holds nothing"]
pub struct Lease<'a, C: Clock = ExactClock> {
    cells: AnyCells<'a>,
    limit: &'a Limit,
    clock: &'a C,
    steps: &'a Steps,
    batch: u64,
    holding: Holding,
    /// Refuses everything, and counts that, if limit or key were another limiter's.
    foreign: Option<&'a Foreign>,
}

/// What a lease holds.
pub(crate) struct Holding {
    batch: Batch,
    /// In which it was taken. What a process took before it was forked is its own: the child's memory has a copy of it, and of
    /// the bucket.
    process: Process,
}

impl Holding {
    pub(crate) fn nothing() -> Self {
        Self { batch: Batch::NONE, process: Process::current() }
    }

    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::nothing())
    }

    #[inline]
    fn forget_if_forked(&mut self) {
        if !self.process.is_current() {
            *self = Self::nothing();
        }
    }

    /// How many whole tokens of a limit, and good at this time.
    pub(crate) fn at(&self, limit: &Limit, now: Instant) -> u64 {
        if !self.process.is_current() {
            return 0;
        }
        limit.rule.held_at(&self.batch, limit.base.units(now))
    }
}

impl<'a, C: Clock> Lease<'a, C> {
    pub(crate) fn new(handle: Handle<'a, C>, batch: u64) -> Self {
        let Handle { cells, limit, clock, steps, foreign, .. } = handle;
        Self { cells, limit, clock, steps, batch, holding: Holding::nothing(), foreign }
    }

    /// The same lease, holding what another of the same bucket has put down.
    #[cfg(not(tollgate_model))]
    pub(crate) fn with(mut self, holding: Holding) -> Self {
        self.holding = holding;
        self
    }

    /// What it holds, which is then not given back.
    #[cfg(not(tollgate_model))]
    pub(crate) fn put_down(mut self) -> Holding {
        self.holding.take()
    }

    #[inline]
    const fn op(&self, now: Instant) -> Op<'a, AnyCells<'a>> {
        Op::new(self.cells, self.limit, now, OwnClock { clock: self.clock, steps: self.steps })
    }

    /// Admits one request, or not; see [`check_n`](Self::check_n).
    #[inline]
    pub fn check(&mut self) -> Decision<'a> {
        self.check_n(1)
    }

    /// Admits a request that costs `cost` tokens, all of it or nothing.
    ///
    /// From what is held, if that is enough: that takes a reading of the clock, and touches nothing that other threads write.
    /// Else from the bucket, as
    /// [`Limiter::check_n`](crate::Limiter::check_n), with what is held put towards it and the rest of a batch taken ahead.
    ///
    /// The figures of the decision are those of the bucket: as it was left when the batch was taken, if the request was
    /// admitted from what is held. A refusal's [`retry_after`](Decision::retry_after) is when the bucket alone would admit
    /// the request: it will then; with what is held put towards it, it may a little earlier.
    #[inline]
    pub fn check_n(&mut self, cost: u64) -> Decision<'a> {
        self.check_n_at(cost, self.clock.now())
    }

    /// As [`check`](Self::check), at the caller's `now`; see [`Limiter::at`](crate::Limiter::at).
    #[inline]
    pub fn check_at(&mut self, now: Instant) -> Decision<'a> {
        self.check_n_at(1, now)
    }

    /// As [`check_n`](Self::check_n), at the caller's `now`. At an instant before the batch was taken, nothing that is held
    /// is used.
    #[inline]
    pub fn check_n_at(&mut self, cost: u64, now: Instant) -> Decision<'a> {
        if let Some(foreign) = self.foreign {
            return foreign.refuse(self.limit, cost, now);
        }
        self.holding.forget_if_forked();
        if self.cells.is_detached() {
            // Tokens of a table that others have left: nothing is held of it, nor given back to it.
            self.holding = Holding::nothing();
            return self.op(now).check(cost);
        }
        self.op(now).take_ahead(&mut self.holding.batch, cost, self.batch)
    }

    /// How many whole tokens are held, and good at the time of the clock.
    #[must_use]
    pub fn held(&self) -> u64 {
        if self.cells.is_detached() {
            return 0;
        }
        self.holding.at(self.limit, self.clock.now())
    }

    /// The most tokens taken in one step, the request's own included, as given; 0 does the same as 1.
    #[must_use]
    pub const fn batch(&self) -> u64 {
        self.batch
    }

    /// Gives back what is held; dropping the lease does the same.
    ///
    /// Under a window all of it, while the window lasts. Under a token bucket all of it if nobody has taken from the bucket
    /// since this handle did; else nothing, as what others have taken lies behind it: then it lapses, in its time.
    pub fn give_back(&mut self) {
        self.holding.forget_if_forked();
        if self.holding.batch.is_none() || self.cells.is_detached() {
            return;
        }
        self.op(self.clock.now()).give_back(&mut self.holding.batch);
    }
}

impl<C: Clock> Drop for Lease<'_, C> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<C: Clock> fmt::Debug for Lease<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("quota", self.limit.quota())
            .field("batch", &self.batch)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

// It may be moved to the thread that uses it.
const _: () = {
    const fn sent<T: Send>() {}
    sent::<Lease<'_>>();
    #[cfg(not(tollgate_model))]
    sent::<crate::lease::OwnedLease>();
};
