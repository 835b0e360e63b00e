//! How a limiter is set up: returns errors, never panics.

use std::io::Read;

use crate::clock::{Clock, ExactClock, Instant};
use crate::error::{BuildError, ParseQuotaError, RestoreError};
use crate::foreign::Foreign;
use crate::given::{IntoQuota, IntoQuotas};
use crate::hash::Hasher;
use crate::limit::Limit;
use crate::limiter::Limiter;
use crate::on_full::OnFull;
use crate::quota::Quota;
use crate::snapshot::Restored;
use crate::snapshot::records::Records;
use crate::step::Steps;
use crate::table::Table;
use crate::time_base::TimeBase;

/// The settings of a [`Limiter`], from [`Limiter::builder`].
#[derive(Debug, Clone)]
pub struct LimiterBuilder<C = DefaultClock> {
    quota: Result<Quota, ParseQuotaError>,
    /// The first text that was wrong beside it, for `build` to tell.
    wrong: Option<ParseQuotaError>,
    expected: Vec<Quota>,
    capacity: usize,
    commit_at_build: bool,
    on_full: OnFull,
    seed: Option<u64>,
    #[cfg(feature = "async")]
    max_waiters: u64,
    clock: C,
}

/// Of a [`LimiterBuilder`] that was given no clock: an [`ExactClock`] is made when the limiter is built.
#[derive(Debug, Clone, Copy, Default)]
pub struct DefaultClock;

impl LimiterBuilder {
    /// The capacity unless told otherwise: 65,536 keys, 1.6 MB.
    pub const DEFAULT_CAPACITY: usize = 65_536;

    pub(crate) fn new(quota: impl IntoQuota) -> Self {
        Self {
            quota: quota.into_quota(),
            wrong: None,
            expected: Vec::new(),
            capacity: Self::DEFAULT_CAPACITY,
            commit_at_build: false,
            on_full: OnFull::EvictNearestIdle,
            seed: None,
            #[cfg(feature = "async")]
            max_waiters: crate::wait::Waiters::DEFAULT_MAX,
            clock: DefaultClock,
        }
    }

    /// A limiter on an [`ExactClock`].
    ///
    /// # Errors
    ///
    /// If a text is no rate, the quota or the capacity is out of bounds, the memory cannot be reserved, or the operating system
    /// gives no random seed. Where it starts no threads the clock is its own, see [`ExactClock`].
    pub fn build(self) -> Result<Limiter, BuildError> {
        self.clock(ExactClock::new()).build()
    }

    /// A limiter on an [`ExactClock`], with buckets that another one had: see
    /// [`restore`](LimiterBuilder::<ExactClock>::restore) with a clock of one's own.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn restore(self, from: impl Read) -> Result<(Limiter, Restored), RestoreError> {
        self.clock(ExactClock::new()).restore(from)
    }
}

impl<C> LimiterBuilder<C> {
    /// The clock to go by; an [`ExactClock`] by default. A reference to one, and an `Arc`, are clocks too.
    ///
    /// The limiter's range is from one year before what the clock shows when it is built to ten years after; earlier and later
    /// instants count as the nearest end of that range.
    #[must_use]
    pub fn clock<D: Clock>(self, clock: D) -> LimiterBuilder<D> {
        LimiterBuilder {
            quota: self.quota,
            wrong: self.wrong,
            expected: self.expected,
            capacity: self.capacity,
            commit_at_build: self.commit_at_build,
            on_full: self.on_full,
            seed: self.seed,
            #[cfg(feature = "async")]
            max_waiters: self.max_waiters,
            clock,
        }
    }

    /// How many keys may be busy (not full) at once: 1 to 2^36.
    ///
    /// So many find room whatever their names are and in whatever order they come and go.
    ///
    /// Takes 24 bytes a key (25 for 1,000 keys, 39 for 100), reserved at once. A table of up to 8 MiB (349,000 keys) is
    /// committed at once too. Of a larger one the operating system commits a page of 4 KiB when a key first needs it, so that
    /// it takes what its keys need; [`commit_at_build`](Self::commit_at_build) changes that. A
    /// [sliding log](crate::Algorithm::SlidingLog) uses as many keys as it remembers requests.
    #[must_use]
    pub const fn capacity(mut self, keys: usize) -> Self {
        self.capacity = keys;
        self
    }

    /// Whether a table of more than 8 MiB is committed when the limiter is built as well, in huge pages where the system has
    /// them; no by default.
    ///
    /// For a table that will be well filled: with a million busy keys a check takes up to a sixth less time, with ten million
    /// up to half, and no check ever waits for the operating system to clear a page. Building takes 0.1 to 3 ms for each MiB,
    /// and all of the table counts as in use from then on.
    #[must_use]
    pub const fn commit_at_build(mut self, yes: bool) -> Self {
        self.commit_at_build = yes;
        self
    }

    /// Announces quotas that will be given later, one or several, so that the time unit is chosen to hold them exactly too.
    ///
    /// Earlier ones win when not all can be exact; [`Limit::effective_rate`] tells. Text that is no list of rates is an error
    /// when the limiter is [built](Self::build).
    ///
    /// ```
    /// use tollgate::Limiter;
    ///
    /// let rates = "200 per day, 11 per second";
    /// let limiter = Limiter::builder("300/second").also_exact_for(rates).build()?;
    /// let set = limiter.prepare_set("api", rates)?;
    /// assert!(set.limits().iter().all(|limit| limit.effective_rate().is_exact()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn also_exact_for(mut self, quotas: impl IntoQuotas) -> Self {
        match quotas.into_quotas() {
            Ok(quotas) => self.expected.extend(quotas),
            Err(error) => self.wrong = self.wrong.or(Some(error)),
        }
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

    /// How many may wait in [`crate::Handle::until_ready`] at once, over all keys; 10,000 by default.
    #[cfg(feature = "async")]
    #[must_use]
    pub const fn max_waiters(mut self, max: u64) -> Self {
        self.max_waiters = max;
        self
    }
}

impl<C: Clock> LimiterBuilder<C> {
    /// A limiter on the clock that was given.
    ///
    /// # Errors
    ///
    /// If a text is no rate, the quota or the capacity is out of bounds, the memory cannot be reserved, or the operating system
    /// gives no random seed.
    pub fn build(self) -> Result<Limiter<C>, BuildError> {
        let hasher = self.seed.map_or_else(Hasher::from_os, |seed| Ok(Hasher::fixed(seed)));
        let hasher = hasher.map_err(BuildError::Entropy)?;
        self.build_with(hasher, |quotas, now| (TimeBase::new(quotas, now), Steps::new(now)))
    }

    /// The limiter with buckets that another one had, from its [snapshot](Limiter::snapshot), which may have been another process,
    /// on another machine, of another capacity. As [`build`](Self::build) else.
    ///
    /// A key finds its bucket again under a limit that was made of the same name and the same quota, or has become what it is by
    /// the same [changes](Limiter::change_quota) from there. What a [reset](Limiter::reset_limit) had forgotten is there again.
    /// Everything else waits until time has refilled it.
    ///
    /// The time unit and the seeds of the hash are those of the snapshot, so that what was announced with
    /// [`also_exact_for`](LimiterBuilder::also_exact_for) and a [`fixed_seed`](LimiterBuilder::fixed_seed) have no say;
    /// [`Limit::effective_rate`] tells whether a quota is exact. The clock must have the zero that the other's had, as all clocks
    /// have that run by themselves: the Unix epoch. Then the time that has passed in between has refilled the buckets. Of a
    /// clock that shows less than the other did, it counts as a [step back](crate::Stats::clock_steps).
    ///
    /// Where there is no room for a bucket, the one nearest to full of those that want its slots is left out;
    /// [`Restored::displaced`] counts them. Takes about a second for five million buckets, and no memory but the table.
    ///
    /// # Errors
    ///
    /// If the settings are wrong, nothing can be read, or what is read is not a whole snapshot of a version that this one knows,
    /// from a program that hashes as this one does and a time that the clock can go on from: see [`RestoreError`]. There is no
    /// limiter then; what to begin with instead is for the caller to choose.
    pub fn restore(self, from: impl Read) -> Result<(Limiter<C>, Restored), RestoreError> {
        let (header, mut records) = Records::open(from)?;
        let (base, hasher) = (header.base()?, header.hasher()?);
        let now = self.clock.now();
        header.check_clock(&base, now)?;
        let limiter = self.build_with(hasher, |_, now| (base, Steps::since(header.taken_at, now)))?;
        limiter.table.expect_reach(header.reach);
        let restored = limiter.table.restore(&mut records, base.units(now))?;
        Ok((limiter, Restored { taken_at: header.taken_at, ..restored }))
    }

    fn build_with(
        self,
        hasher: Hasher,
        time: impl FnOnce(&[Quota], Instant) -> (TimeBase, Steps),
    ) -> Result<Limiter<C>, BuildError> {
        let quota = self.quota?;
        if let Some(error) = self.wrong {
            return Err(BuildError::Text(error));
        }
        let clock = self.clock;
        let mut quotas = vec![quota];
        quotas.extend(self.expected);
        let (base, steps) = time(&quotas, clock.now());
        let limit = Limit::new(quota, hasher.salt(Limit::DEFAULT_NAME, &quota), hasher.owner, base)?;
        let table = Table::new(self.capacity, self.on_full, self.commit_at_build)?;
        table.expect(&limit);
        Ok(Limiter {
            steps,
            foreign: Foreign::new(),
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
