//! How a limiter is set up: returns errors, never panics.

use std::io::Read;

use crate::clock::{Clock, ExactClock, Instant};
use crate::error::{BuildError, ParseQuotaError, RestoreError};
use crate::foreign::Foreign;
use crate::given::{IntoQuota, IntoQuotas};
use crate::hash::Hasher;
use crate::limit::Limit;
use crate::limiter::Limiter;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use crate::limiter_clock::LimiterClock;
use crate::on_full::OnFull;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use crate::probe::Shape;
use crate::quota::Quota;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use crate::shared::{Attached, Shared, TableClock, Trusted, Wanted};
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

    /// The clock to go by; an [`ExactClock`] by default. A reference to one, and an `Arc`, are clocks too.
    ///
    /// The limiter's range is from one year before what the clock shows when it is built to ten years after; earlier and later
    /// instants count as the nearest end of that range.
    #[must_use]
    pub fn clock<D: Clock>(self, clock: D) -> LimiterBuilder<D> {
        self.with(clock).0
    }

    /// A table that other processes of this machine have as well: made if there is none, else attached to. Goes by the clock of
    /// the operating system, and hashes keys by a seed of the table's. See [`shared`](crate::shared).
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    #[must_use]
    pub fn shared(self, shared: Shared) -> LimiterBuilder<Shared> {
        self.with(shared).0
    }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
impl LimiterBuilder<Shared> {
    /// A limiter on a table that other processes have as well.
    ///
    /// # Errors
    ///
    /// If a text is no rate, the quota or the capacity is out of bounds, or the table is not to be had:
    /// [`SharedError`](crate::error::SharedError) says why. May wait for another process that is just making the table fit for
    /// use, for ten seconds at most.
    pub fn build(self) -> Result<Limiter<TableClock>, BuildError> {
        let (builder, shared) = self.with(DefaultClock);
        builder.build_shared(&shared, None, TableClock::new)
    }

    /// A limiter on a new shared table that begins with the buckets of another, from its [snapshot](Limiter::snapshot): of before a
    /// restart of the machine, of another machine, or of another capacity. As
    /// [`restore`](LimiterBuilder::<ExactClock>::restore) of a private one else.
    ///
    /// There must be no table at the path, unless it is to be [replaced](crate::shared::OnMismatch::Replace); then nobody else may have it mapped. The new one gets
    /// its name once it has all buckets, so that others find the old one, or none, or all. Time goes on by the wall
    /// clock, and never back: if that shows less than the table did, the table's time goes on from there. The nine years
    /// of a table count from when the first of those was made that were restored from one another.
    ///
    /// # Errors
    ///
    /// As there, and as [`build`](Self::build); of a snapshot of a private table [`RestoreError::Kind`].
    pub fn restore(self, from: impl Read) -> Result<(Limiter<TableClock>, Restored), RestoreError> {
        let (builder, shared) = self.with(DefaultClock);
        builder.restore_shared(&shared, None, TableClock::new, from)
    }

    /// As [`build`](Self::build), of the type that a limiter on a table of this process has whose clock is a
    /// [`LimiterClock`]: for programs that learn only when they run whether their table is shared.
    ///
    /// # Errors
    ///
    /// As `build`.
    pub fn build_either(self) -> Result<Limiter<LimiterClock>, BuildError> {
        let (builder, shared) = self.with(DefaultClock);
        builder.build_shared(&shared, None, |anchor| TableClock::new(anchor).into())
    }

    /// Goes by a clock of the caller's, which he says shows **the same time in every process** of the table: for tests, and for
    /// clocks that several processes read from one place. Where they differ by `s`, a key may be admitted what its rate adds in
    /// `s` each time that they take turns. All processes of a table must say so, or none.
    #[must_use]
    pub fn trust_clock<C: Clock>(self, clock: C) -> LimiterBuilder<(Shared, Trusted<C>)> {
        let (builder, shared) = self.with(());
        builder.with((shared, Trusted(clock))).0
    }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
impl<C: Clock> LimiterBuilder<(Shared, Trusted<C>)> {
    /// A limiter on a table that other processes have as well, and on the clock that was given.
    ///
    /// # Errors
    ///
    /// As without a clock.
    pub fn build(self) -> Result<Limiter<Trusted<C>>, BuildError> {
        let (builder, (shared, clock)) = self.with(DefaultClock);
        let now = clock.now();
        builder.build_shared(&shared, Some(now), |_| clock)
    }

    /// A limiter on a new shared table that begins with the buckets of another, and on the clock that was given.
    ///
    /// # Errors
    ///
    /// As without a clock, and if this one shows less than the table did.
    pub fn restore(self, from: impl Read) -> Result<(Limiter<Trusted<C>>, Restored), RestoreError> {
        let (builder, (shared, clock)) = self.with(DefaultClock);
        let now = clock.now();
        builder.restore_shared(&shared, Some(now), |_| clock, from)
    }
}

impl<C> LimiterBuilder<C> {
    /// The same settings with something else in the place of the clock, and that.
    fn with<D>(self, clock: D) -> (LimiterBuilder<D>, C) {
        let builder = LimiterBuilder {
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
        };
        (builder, self.clock)
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
    /// For tests and replays. Who knows the seed can choose keys that share slots. A [shared](Self::shared) table has a seed of its
    /// own, whatever this says.
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
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        let hasher = if self.clock.is_of_shared_table() { Hasher::of_bytes(self.seed) } else { hasher };
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
        // By the clock of a shared table keys are hashed as in those.
        if self.clock.is_of_shared_table() {
            return Err(RestoreError::Kind { is_of_shared: false });
        }
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
        let quotas = self.quotas()?;
        let (base, steps) = time(&quotas, self.clock.now());
        let limit = Limit::new(quotas[0], hasher.salt(Limit::DEFAULT_NAME, &quotas[0]), hasher.owner, base)?;
        let table = Table::new(self.capacity, self.on_full, self.commit_at_build)?;
        Ok(self.limiter(limit, table, hasher, steps))
    }
}

impl<C> LimiterBuilder<C> {
    /// The default quota, and those that were announced; at least one.
    fn quotas(&self) -> Result<Vec<Quota>, BuildError> {
        let quota = self.quota.clone()?;
        if let Some(error) = &self.wrong {
            return Err(BuildError::Text(error.clone()));
        }
        Ok(core::iter::once(quota).chain(self.expected.iter().copied()).collect())
    }

    fn limiter(self, limit: Limit, table: Table, hasher: Hasher, steps: Steps) -> Limiter<C> {
        table.expect(&limit);
        Limiter {
            steps,
            foreign: Foreign::new(),
            capacity: self.capacity,
            #[cfg(feature = "async")]
            waiters: crate::wait::Waiters::new(self.max_waiters),
            #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
            shared: None,
            limit,
            table,
            hasher,
            clock: self.clock,
        }
    }
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
impl LimiterBuilder<DefaultClock> {
    /// On a table that is shared; `now` is what a clock of the caller's shows.
    fn build_shared<C: Clock>(
        self,
        shared: &Shared,
        now: Option<Instant>,
        clock: impl FnOnce(u64) -> C,
    ) -> Result<Limiter<C>, BuildError> {
        let quotas = self.quotas()?;
        self.on_shared(&quotas, now, clock, |wanted| {
            shared.open(wanted).map_err(|source| BuildError::Shared { path: shared.name(), source })
        })
    }

    /// On a new one, with the buckets of a snapshot.
    fn restore_shared<C: Clock>(
        self,
        shared: &Shared,
        now: Option<Instant>,
        clock: impl FnOnce(u64) -> C,
        from: impl Read,
    ) -> Result<(Limiter<C>, Restored), RestoreError> {
        let quotas = self.quotas()?;
        let mut restored = Restored { taken_at: Instant::default(), buckets: 0, refilled: 0, displaced: 0 };
        let limiter = self.on_shared(&quotas, now, clock, |wanted| {
            let attached;
            (attached, restored) = shared.open_restored(wanted, from)?;
            Ok::<_, RestoreError>(attached)
        })?;
        Ok((limiter, restored))
    }

    fn on_shared<C: Clock, E: From<BuildError>>(
        self,
        quotas: &[Quota],
        now: Option<Instant>,
        clock: impl FnOnce(u64) -> C,
        open: impl FnOnce(&Wanted<'_>) -> Result<Attached, E>,
    ) -> Result<Limiter<C>, E> {
        if !(1..=Shape::MAX_CAPACITY).contains(&self.capacity) {
            return Err(BuildError::Capacity { capacity: self.capacity, max: Shape::MAX_CAPACITY }.into());
        }
        let wanted = Wanted { capacity: self.capacity, on_full: self.on_full, quotas, now, accepts_any: false };
        let attached = open(&wanted)?;
        let hasher = Hasher::shared(attached.seeds);
        let salt = hasher.salt(Limit::DEFAULT_NAME, &quotas[0]);
        let limit = Limit::new(quotas[0], salt, hasher.owner, attached.base).map_err(BuildError::from)?;
        let clock = clock(attached.anchor);
        let now = clock.now();
        let mut limiter =
            self.capacity(attached.capacity).clock(clock).limiter(limit, attached.table, hasher, Steps::new(now));
        limiter.shared = Some(Box::new(attached.shared));
        Ok(limiter)
    }
}
