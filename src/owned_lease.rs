//! A lease that keeps its limiter alive, for tasks that outlive the scope they were started in.

use core::fmt;
use std::sync::Arc;

use crate::bucket::Bucket;
use crate::clock::{Clock, ExactClock, Instant};
use crate::decision::Decision;
use crate::hash::KeyHash;
use crate::key::LocalKey;
use crate::lease::{Holding, Lease};
use crate::limit::Limit;
use crate::limiter::Limiter;

/// A [`Lease`] that owns its limiter, so that it can be stored, and moved to another thread or task. All that is said of a
/// [`Lease`] holds; a check costs a few instructions more.
///
/// Made by [`Limiter::lease_owned`] or [`Bucket::lease_owned`].
///
/// ```
/// use std::sync::Arc;
/// use tollgate::{Limiter, Quota};
///
/// let limiter = Arc::new(Limiter::builder(Quota::per_second(1_000_000)).build()?);
/// let mut lease = Arc::clone(&limiter).lease_owned(*limiter.default_limit(), "everybody", 64);
/// let thread = std::thread::spawn(move || lease.check().is_allowed());
/// assert!(thread.join().unwrap());
/// # Ok::<(), tollgate::error::BuildError>(())
/// ```
#[must_use = "a lease that nobody checks holds nothing"]
pub struct OwnedLease<C: Clock = ExactClock> {
    from: From<C>,
    limit: Limit,
    batch: u64,
    holding: Holding,
}

/// What is leased from.
enum From<C> {
    Limiter(Arc<Limiter<C>>, KeyHash),
    Bucket(Arc<Bucket<C>>),
}

impl<C: Clock> From<C> {
    /// The lease itself, for one call.
    #[inline]
    fn lend<'a>(&'a self, limit: &'a Limit, batch: u64, holding: Holding) -> Lease<'a, C> {
        let lease = match self {
            Self::Limiter(limiter, hash) => limiter.under(limit).key(hash).lease(batch),
            Self::Bucket(bucket) => bucket.handle().lease(batch),
        };
        lease.with(holding)
    }

    fn now(&self) -> Instant {
        match self {
            Self::Limiter(limiter, _) => limiter.clock().now(),
            Self::Bucket(bucket) => bucket.clock().now(),
        }
    }
}

impl<C: Clock> Limiter<C> {
    /// As [`lease`](crate::Handle::lease) under a limit, with a handle that owns the limiter.
    pub fn lease_owned<K: LocalKey + ?Sized>(self: Arc<Self>, limit: Limit, key: &K, batch: u64) -> OwnedLease<C> {
        let hash = self.hash(key);
        OwnedLease { from: From::Limiter(self, hash), limit, batch, holding: Holding::nothing() }
    }
}

impl<C: Clock> Bucket<C> {
    /// As [`lease`](crate::Handle::lease), with a handle that owns the bucket.
    pub fn lease_owned(self: Arc<Self>, batch: u64) -> OwnedLease<C> {
        let limit = *self.default_limit();
        OwnedLease { from: From::Bucket(self), limit, batch, holding: Holding::nothing() }
    }
}

impl<C: Clock> OwnedLease<C> {
    /// See [`Lease::check`].
    #[inline]
    pub fn check(&mut self) -> Decision<'_> {
        self.check_n(1)
    }

    /// See [`Lease::check_n`].
    #[inline]
    pub fn check_n(&mut self, cost: u64) -> Decision<'_> {
        let now = self.from.now();
        self.check_n_at(cost, now)
    }

    /// See [`Lease::check_at`].
    #[inline]
    pub fn check_at(&mut self, now: Instant) -> Decision<'_> {
        self.check_n_at(1, now)
    }

    /// See [`Lease::check_n_at`].
    #[inline]
    pub fn check_n_at(&mut self, cost: u64, now: Instant) -> Decision<'_> {
        let mut lease = self.from.lend(&self.limit, self.batch, self.holding.take());
        let decision = lease.check_n_at(cost, now);
        self.holding = lease.put_down();
        decision
    }

    /// See [`Lease::held`].
    #[must_use]
    pub fn held(&self) -> u64 {
        if matches!(&self.from, From::Limiter(limiter, _) if limiter.table.is_detached()) {
            return 0;
        }
        self.holding.at(&self.limit, self.from.now())
    }

    /// See [`Lease::batch`].
    #[must_use]
    pub const fn batch(&self) -> u64 {
        self.batch
    }

    /// See [`Lease::give_back`]; dropping the lease does the same.
    pub fn give_back(&mut self) {
        drop(self.from.lend(&self.limit, self.batch, self.holding.take()));
    }
}

impl<C: Clock> Drop for OwnedLease<C> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<C: Clock> fmt::Debug for OwnedLease<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedLease")
            .field("quota", self.limit.quota())
            .field("batch", &self.batch)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}
