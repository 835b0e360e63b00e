//! How a limiter is set up: returns errors, never panics.

use core::time::Duration;

use crate::base::{MAX_AHEAD, TimeBase};
use crate::clock::{Clock, ExactClock, saturating_nanos};
use crate::error::BuildError;
use crate::hash::Hasher;
use crate::limit::Limit;
use crate::limiter::Limiter;
use crate::policy::OnFull;
use crate::quota::Quota;
use crate::table::Table;

/// The settings of a [`Limiter`], from [`Limiter::builder`].
#[derive(Debug, Clone)]
pub struct Builder {
    quota: Quota,
    expected: Vec<Quota>,
    capacity: usize,
    on_full: OnFull,
    seed: Option<u64>,
    max_clock_skew: Duration,
    #[cfg(feature = "async")]
    max_waiters: u64,
}

impl Builder {
    /// The capacity unless told otherwise: 65,536 keys, 1.6 MB.
    pub const DEFAULT_CAPACITY: usize = 65_536;

    pub(crate) const fn new(quota: Quota) -> Self {
        Self {
            quota,
            expected: Vec::new(),
            capacity: Self::DEFAULT_CAPACITY,
            on_full: OnFull::EvictNearestIdle,
            seed: None,
            max_clock_skew: Duration::from_secs(1),
            #[cfg(feature = "async")]
            max_waiters: crate::wait::Waiters::DEFAULT_MAX,
        }
    }

    /// How many keys may be busy (not full) at once: 1 to 2^36.
    ///
    /// Takes 24 bytes a key, reserved at once and committed by the operating system as it is touched; the smallest
    /// table is one page. A [sliding log](crate::Algorithm::SlidingLog) uses as many as it remembers requests.
    #[must_use]
    pub const fn capacity(mut self, keys: usize) -> Self {
        self.capacity = keys;
        self
    }

    /// Announces a quota that will be given later, so that the time unit is chosen to hold it exactly too.
    ///
    /// Earlier ones win when not all can be exact; [`Limit::effective_rate`] tells.
    #[must_use]
    pub fn expect(mut self, quota: Quota) -> Self {
        self.expected.push(quota);
        self
    }

    /// What happens to a new key when every slot it may use is busy.
    #[must_use]
    pub const fn on_full(mut self, policy: OnFull) -> Self {
        self.on_full = policy;
        self
    }

    /// Hashes with a fixed seed instead of one from the operating system: the same slots in every run.
    ///
    /// For tests and replays. Who knows the seed can choose keys that share slots.
    #[must_use]
    pub const fn fixed_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// How far one call's `now` may be behind the latest one used on the same key, whether the caller gave it (see
    /// [`Limiter::at`]) or the clock; 1 s by default, and never more than a quarter of the limiter's range.
    ///
    /// Up to that, a late caller is judged by the bucket as it is. A `now` further back is taken for a clock that has
    /// stepped back: the bucket is set to *empty* as of that `now`, so that it refuses no longer than a refill takes.
    /// The limiter's own clock is asked again before that is concluded, so a thread may sleep as long as it likes; a
    /// caller's `now` cannot be, so this should be longer than one is kept.
    #[must_use]
    pub const fn max_clock_skew(mut self, skew: Duration) -> Self {
        self.max_clock_skew = skew;
        self
    }

    /// How many may wait in [`Limiter::until_ready`] at once, over all keys; 10,000 by default.
    #[cfg(feature = "async")]
    #[must_use]
    pub const fn max_waiters(mut self, max: u64) -> Self {
        self.max_waiters = max;
        self
    }

    /// A limiter on an [`ExactClock`].
    ///
    /// # Errors
    ///
    /// If the quota or the capacity is out of bounds, the memory cannot be reserved, or the operating system gives no random
    /// seed. Where it starts no threads the clock is its own, see [`ExactClock`].
    pub fn build(self) -> Result<Limiter, BuildError> {
        self.build_with_clock(ExactClock::new())
    }

    /// A limiter on a clock of yours.
    ///
    /// Its range is from one year before what the clock shows now to ten years after; earlier and later instants count
    /// as the nearest end of that range.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn build_with_clock<C: Clock>(self, clock: C) -> Result<Limiter<C>, BuildError> {
        let mut quotas = vec![self.quota];
        quotas.extend(self.expected);
        let base = TimeBase::new(&quotas, clock.now());
        let hasher = self.seed.map_or_else(Hasher::from_os, |seed| Ok(Hasher::fixed(seed)))?;
        let limit = Limit::new(self.quota, hasher.salt(Limit::DEFAULT_NAME), base)?;
        let table = Table::new(self.capacity, self.on_full)?;
        table.expect(&limit);
        Ok(Limiter {
            skew: u64::try_from(base.span(saturating_nanos(self.max_clock_skew))).unwrap_or(u64::MAX).min(MAX_AHEAD),
            capacity: self.capacity,
            #[cfg(feature = "async")]
            waiters: crate::wait::Waiters::new(self.max_waiters),
            limit,
            table,
            hasher,
            clock,
        })
    }
}
