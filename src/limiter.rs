//! The face of the engine. The way of one check goes on in `scoped.rs`.

use core::fmt;
use core::time::Duration;
use std::io::Write;
#[cfg(feature = "async")]
use std::sync::Arc;

use crate::builder::LimiterBuilder;
use crate::clock::{Clock, ExactClock, Instant};
use crate::decision::Decision;
use crate::error::LimitError;
use crate::foreign::Foreign;
use crate::given::{IntoQuota, IntoQuotas};
use crate::handle::Handle;
use crate::hash::{Hasher, KeyHash};
use crate::key::LocalKey;
use crate::limit::Limit;
use crate::ops::Inheritance;
use crate::quota::{Quota, QuotaError};
use crate::reservation::SetReservation;
use crate::scoped::Scoped;
use crate::set::{LimitSet, LimitSetError, ReserveError, SetDecision, SetItem};
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use crate::shared::SharedTable;
use crate::snapshot::SnapshotInfo;
use crate::snapshot::header::Hashed;
use crate::step::Steps;
use crate::table::Table;

/// A rate limiter for many keys, in bounded memory, shared between threads by reference.
///
/// Lock-free: stop any thread anywhere, and the others' checks still finish. No allocation, no background work.
///
/// ```
/// use std::net::IpAddr;
/// use tollgate::Limiter;
///
/// let limiter = Limiter::builder("100/minute").capacity(100_000).build()?;
/// let client: IpAddr = "192.0.2.7".parse()?;
/// let decision = limiter.check(&client);
/// assert!(decision.is_allowed());
/// assert_eq!(decision.remaining(), 99);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Limiter<C = ExactClock> {
    pub(crate) limit: Limit,
    pub(crate) table: Table,
    pub(crate) hasher: Hasher,
    pub(crate) clock: C,
    pub(crate) capacity: usize,
    pub(crate) steps: Steps,
    pub(crate) foreign: Foreign,
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    pub(crate) shared: Option<Box<SharedTable>>,
    #[cfg(feature = "async")]
    pub(crate) waiters: crate::wait::Waiters,
}

impl Limiter {
    /// The settings of a limiter with `quota` as its default: a [`Quota`], or text such as `"100/minute"`, which is an error when
    /// the limiter is built if it is no rate.
    #[must_use]
    pub fn builder(quota: impl IntoQuota) -> LimiterBuilder {
        LimiterBuilder::new(quota)
    }
}

impl<C: Clock> Limiter<C> {
    /// Makes a quota ready for use with [`Limiter::under`], under a name.
    ///
    /// A key's bucket belongs to (name, quota, key); of sliding logs to (name, period, key), whatever their counts.
    /// Costs a few divisions: do it once, not per check.
    ///
    /// # Errors
    ///
    /// If the text is no rate, or the limiter's time unit cannot hold the quota; see [`QuotaError`].
    /// [`LimiterBuilder::also_exact_for`] helps it to be exact.
    pub fn prepare(&self, name: &str, quota: impl IntoQuota) -> Result<Limit, LimitError> {
        Ok(self.limit_of(name, quota.into_quota()?)?)
    }

    /// Makes several quotas ready that every request must pass together, for [`check_set`](Limiter::check_set): text such as
    /// `"200 per day, 50 per hour"`, or a list of quotas.
    ///
    /// Each limit of the set is what [`prepare`](Self::prepare) makes of its quota under the set's name, in the order given.
    /// As a limit is its name and its quota, each has buckets of its own.
    ///
    /// # Errors
    ///
    /// If the text is no list of rates, the limiter cannot hold one of the quotas, or they make no set: none, more than
    /// [`LimitSet::MAX`], or the same buckets twice (the same quota, or two sliding logs of one period).
    ///
    /// ```
    /// use tollgate::Limiter;
    ///
    /// let limiter = Limiter::builder("1000/second").build()?;
    /// let set = limiter.prepare_set("api", "200 per day, 50 per hour")?;
    /// let answer = limiter.check_set(&set, "grace");
    /// assert!(answer.is_allowed());
    /// assert_eq!((answer.index(), answer.decision().remaining()), (1, 49));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn prepare_set(&self, name: &str, quotas: impl IntoQuotas) -> Result<LimitSet, LimitError> {
        let quotas = quotas.into_quotas()?;
        crate::set::check_count(quotas.len())?;
        let limits: Result<Vec<_>, _> = quotas.iter().map(|&quota| self.limit_of(name, quota)).collect();
        Ok(LimitSet::new(limits?)?)
    }

    fn limit_of(&self, name: &str, quota: Quota) -> Result<Limit, QuotaError> {
        let limit = Limit::new(quota, self.hasher.salt(name, &quota), self.hasher.owner, self.limit.base)?;
        self.table.expect(&limit);
        Ok(limit)
    }

    /// What a limit becomes when its quota changes, now, for all its keys: use the answer in the place of `old` from here on.
    ///
    /// A key's first request that is admitted under the new quota takes all that is left in its old bucket, and begins with
    /// what was used, in tokens, at most the new burst: so a higher quota helps at once, and a lower one hurts at once. From
    /// any instant before the change to any after it, a key is admitted the larger burst at most, and what either rate adds
    /// in its part of the time. What is past empty, owed or promised, is carried over as that. A window that has begun with its
    /// [first request](crate::WindowStart::FirstHit) ends when it would have ended.
    ///
    /// While keys may still have used something before the change (the longer of the two refills, with the debt that is
    /// allowed), a key whose new bucket is full costs a second look-up, and one that is admitted then a second bucket of the
    /// table, for no longer than four refills. Of a limit that changes again meanwhile, four before it are looked at. The same
    /// quota is the same limit; so is another limiter's, which is counted and changes nothing. One of another period, another
    /// algorithm or another [window start](crate::WindowStart) [carries over](Limit::carries_over) nothing, nor does one from or
    /// to [unlimited](Quota::unlimited): its keys begin anew.
    ///
    /// Change a quota once, and give the answer to all who used the old limit. Who goes on with the old one is refused by
    /// `check` until the longest refill is over, and has a bucket of his own from then on; `reserve` and `charge` may go into
    /// the debt that the old one allows before, too. The same change made again at another instant is another limit on the same
    /// buckets, and keys may be refused for longer under the two than under one. A cut that is taken back forgets what had been
    /// used beyond the lower burst.
    ///
    /// # Errors
    ///
    /// As [`Limiter::prepare`].
    ///
    /// ```
    /// use tollgate::{Limiter, Quota};
    ///
    /// let limiter = Limiter::builder(Quota::per_hour(10)).build()?;
    /// assert_eq!(limiter.key("key").take_up_to(4), 4);
    /// let more = limiter.change_quota(limiter.default_limit(), Quota::per_hour(100))?;
    /// assert_eq!(limiter.under(&more).peek("key").remaining(), 96);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn change_quota(&self, old: &Limit, quota: impl IntoQuota) -> Result<Limit, LimitError> {
        let quota = quota.into_quota()?;
        let is_ours = old.owner == self.hasher.owner;
        if !is_ours {
            self.foreign.note();
        }
        if !is_ours || *old.quota() == quota {
            return Ok(*old);
        }
        let salt = self.hasher.changed(old.salt, old.quota(), &quota);
        let limit = old.changed(quota, salt, self.limit.base.units(self.now()))?;
        self.table.expect(&limit);
        Ok(limit)
    }

    /// Forgets all keys of a limit at once: use the answer in the place of `old` from here on. Under it every key is new.
    ///
    /// Takes no longer than [`prepare`](Limiter::prepare): the old buckets stay in the table until time has refilled them, and count
    /// towards its capacity as long. Whoever goes on with the old limit finds them as they were. Another limiter's limit is
    /// counted and changes nothing. Of the default limit, too, it is the answer that forgets: give it with
    /// [`under`](Limiter::under).
    ///
    /// ```
    /// use tollgate::{Limiter, Quota};
    ///
    /// let limiter = Limiter::builder(Quota::per_hour(10)).build()?;
    /// assert_eq!(limiter.key("key").take_up_to(10), 10);
    /// let anew = limiter.reset_limit(limiter.default_limit());
    /// assert_eq!(limiter.under(&anew).peek("key").remaining(), 10);
    /// # Ok::<(), tollgate::error::BuildError>(())
    /// ```
    #[must_use = "the old limit forgets nothing"]
    pub fn reset_limit(&self, old: &Limit) -> Limit {
        if old.owner != self.hasher.owner {
            self.foreign.note();
            return *old;
        }
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        if let Some(shared) = &self.shared {
            return old.anew(self.hasher.renewed_as(old.salt, shared.renew()));
        }
        old.anew(self.hasher.renewed(old.salt))
    }

    /// The limit given at construction.
    #[must_use]
    pub const fn default_limit(&self) -> &Limit {
        &self.limit
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &C {
        &self.clock
    }

    /// The time of the clock, for several calls [at](Limiter::at) one instant. Ask for it here rather than the
    /// [`clock`](Limiter::clock) itself: the limiter notices if that has stepped back.
    #[inline]
    #[must_use]
    pub fn now(&self) -> Instant {
        self.steps.now(&self.clock)
    }

    /// Hashes a key once for several calls; the result can be given wherever a key can.
    // Always: left to itself, the compiler weighs both ways before it knows which of them is there.
    #[inline(always)]
    #[must_use]
    pub fn hash<K: LocalKey + ?Sized>(&self, key: &K) -> KeyHash {
        if self.clock.is_of_shared_table() { self.hasher.shared_key(key) } else { self.hasher.key(key) }
    }

    /// The same limiter under another limit.
    #[inline]
    #[must_use]
    pub const fn under<'a>(&'a self, limit: &'a Limit) -> Scoped<'a, C> {
        Scoped { limiter: self, limit, now: None }
    }

    /// The same limiter at the caller's `now`, so that a request reads the clock once for all its checks.
    ///
    /// The instant should be one of this limiter's clock, from [`Limiter::now`]. One that is behind another's is judged by
    /// the bucket as it is, so refused, with the true wait, where that has taken all. Callers of one key whose `now`s
    /// differ by `s` may gain `rate * s` each time the key's slot has gone to another key in between.
    #[inline]
    #[must_use]
    pub const fn at(&self, now: Instant) -> Scoped<'_, C> {
        Scoped { limiter: self, limit: &self.limit, now: Some(now) }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn refuse_foreign<'a>(&'a self, limit: &'a Limit, cost: u64, now: Option<Instant>) -> Decision<'a> {
        self.foreign.refuse(limit, cost, now.unwrap_or_else(|| self.now()))
    }

    #[inline]
    const fn view(&self) -> Scoped<'_, C> {
        Scoped { limiter: self, limit: &self.limit, now: None }
    }

    /// The table, if other processes may have it as well.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    #[must_use]
    pub fn shared(&self) -> Option<&SharedTable> {
        self.shared.as_deref()
    }

    /// Writes down the buckets that are not full, for [`LimiterBuilder::restore`]: of a later process, on another machine, with
    /// another capacity.
    ///
    /// Goes through the table once, beside whatever else goes on: holds nobody up, takes no more memory than a buffer, and each
    /// bucket is written as it is at one instant, which is another for each. So a snapshot is exact if nobody takes meanwhile; else
    /// a key gets back at most what it has taken since its bucket was written, which is never more than its burst and what its
    /// rate has added since. Leases and reservations are tokens that were taken.
    ///
    /// Of a [shared](crate::shared) table any of its processes can do it, for all of them; it is restored into a shared table, by
    /// `LimiterBuilder<Shared>::restore`.
    ///
    /// **Keep what is written to yourself** (mode 0600): it has the seeds of the hash, and whoever knows them can choose keys that
    /// share slots. It has no keys, only hashes. Write to another name, and rename when all is written: a file that was cut is
    /// refused.
    ///
    /// # Errors
    ///
    /// What `to` answers; [`Unsupported`](std::io::ErrorKind::Unsupported) of a private table that goes by the clock of a shared
    /// one.
    ///
    /// ```
    /// use tollgate::Limiter;
    ///
    /// let limiter = Limiter::builder("10/hour").build()?;
    /// assert_eq!(limiter.key("grace").take_up_to(4), 4);
    /// let mut snapshot = Vec::new();
    /// assert_eq!(limiter.snapshot(&mut snapshot)?.buckets, 1);
    ///
    /// let (later, restored) = Limiter::builder("10/hour").capacity(1_000_000).restore(&snapshot[..])?;
    /// assert_eq!((restored.buckets, later.peek("grace").remaining()), (1, 6));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self, to: impl Write) -> std::io::Result<SnapshotInfo> {
        let hashed = self.hashed().ok_or_else(|| {
            std::io::Error::new(
                std::io::ErrorKind::Unsupported,
                "no snapshot is made of a private table that goes by the clock of a shared one",
            )
        })?;
        crate::snapshot::of_table(&self.table, &self.limit.base, hashed, self.capacity, self.now(), to)
    }

    /// How keys are hashed here, and the fingerprint of that.
    fn hashed(&self) -> Option<(Hashed, [u64; 4])> {
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        if let Some(shared) = &self.shared {
            return Some(shared.hashed());
        }
        self.hasher.origin().map(|origin| (Hashed::Local(origin), self.hasher.fingerprint()))
    }

    /// Gives memory back to the operating system that a flood of keys has left behind, and says how many bytes: every page of
    /// the table, mostly 4 KiB, in which no bucket has been other than full for a second. A key that comes there later takes a
    /// page anew, as the first did.
    ///
    /// Of a table that is in memory since it was built, so of up to 8 MiB or with
    /// [`commit_at_build`](crate::LimiterBuilder::commit_at_build), and on other systems than Linux, it gives back nothing. Of a
    /// [shared](crate::shared) table only if it is [`sparse`](crate::shared::Shared::sparse) and on a tmpfs, then for all of its
    /// processes; whoever is killed in the middle of it leaves the slots of one page out of use until they are freed.
    ///
    /// Call it now and then, from a thread that may wait: it reads all of the table, 0.2 to 0.5 ms for each MiB that is in use. Checks go on
    /// meanwhile. While a page is on its way, for some microseconds, no new key finds room in it; one whose other slots are
    /// all in use may then be treated as in a full table ([`OnFull`](crate::OnFull)).
    ///
    /// ```
    /// use tollgate::Limiter;
    ///
    /// let limiter = Limiter::builder("10/second").capacity(1_000_000).build()?;
    /// assert!(limiter.check("grace").is_allowed());
    /// assert_eq!(limiter.release_idle(), 0); // in use until a moment ago
    /// # Ok::<(), tollgate::error::BuildError>(())
    /// ```
    pub fn release_idle(&self) -> usize {
        let (base, now) = (&self.limit.base, self.now());
        self.table.release_idle(base.units(now), base.units(now.saturating_sub(Duration::from_secs(1))))
    }

    /// Frees the slots of a [shared](crate::shared) table in which processes have died in the middle of an insertion, while others
    /// go on, and says how many. By proof of death, never by time: each process has a lock that goes with it, and one that is stopped
    /// has it still. So does one that was forked after the limiter was built, from its first insertion on; if it cannot open the file
    /// again (another user by now, or no descriptor of it), it has its parent's, which goes when all have gone that were forked from it.
    ///
    /// Whoever attaches does it, so that it needs calling only where processes are killed and none come. Reads all of the table, as
    /// [`release_idle`](Self::release_idle). Nothing happens to a private table.
    pub fn free_dead_slots(&self) -> u64 {
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        if let Some(shared) = &self.shared {
            return shared.free_of_the_dead(&self.table);
        }
        0
    }

    /// How the limiter is doing. Looks at no more than 4,096 lines of the table, so some tens of microseconds.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (counts, now) = (self.table.counts(), self.clock.now());
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        let is_detached = self.shared.as_ref().is_some_and(|shared| {
            shared.see(now);
            shared.is_detached()
        });
        #[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
        let is_detached = false;
        Stats {
            is_detached,
            capacity: self.capacity,
            bytes: self.table.bytes(),
            busy: self.table.busy(self.limit.base.units(now)),
            evictions: counts.evictions,
            refused_full: counts.refused,
            untracked: counts.untracked,
            clock_steps: self.steps.count(),
            foreign: self.foreign.count(),
        }
    }
}

/// Every call at the time of the limiter's clock, under its default limit.
impl<C: Clock> Limiter<C> {
    /// Admits one request of `key`, or not.
    ///
    /// Costs a reading of the clock, a hash, one or two cache lines of the table and one compare-and-swap; a refusal
    /// writes nothing, unless [it counts](Quota::with_refused_counted). Lock-free. Synchronises nothing but the bucket: no order of other memory follows from it.
    #[inline]
    pub fn check<K: LocalKey + ?Sized>(&self, key: &K) -> Decision<'_> {
        self.view().check(key)
    }

    /// Admits a request that costs `cost` tokens, all of it or nothing. A cost of 0 is always admitted and takes
    /// nothing; one above the limit [never fits](Decision::never_fits).
    #[inline]
    pub fn check_n<K: LocalKey + ?Sized>(&self, key: &K, cost: u64) -> Decision<'_> {
        self.view().check_n(key, cost)
    }

    /// What [`check`](Limiter::check) would answer. Writes nothing, so it does not repair what a clock left that has stepped
    /// back.
    #[inline]
    pub fn peek<K: LocalKey + ?Sized>(&self, key: &K) -> Decision<'_> {
        self.view().peek(key)
    }

    /// The bucket of `key`, for all else that can be asked of it: to refund, charge, reserve, lease, wait. Costs a hash.
    #[inline]
    pub fn key<K: LocalKey + ?Sized>(&self, key: &K) -> Handle<'_, C> {
        self.view().key(key)
    }

    /// As [`until_ready`](Handle::until_ready) under a limit, with a future that owns the limiter and borrows nothing: it can be
    /// stored, and given to another task.
    ///
    /// # Errors
    ///
    /// As [`until_ready`](Handle::until_ready).
    #[cfg(feature = "async")]
    pub fn until_ready_owned<K: LocalKey + ?Sized, F: Future<Output = ()>, S: Fn(Duration) -> F>(
        self: Arc<Self>,
        limit: Limit,
        key: &K,
        cost: u64,
        max_wait: Duration,
        sleep: S,
    ) -> impl Future<Output = Result<(), crate::error::WaitError>> + use<C, K, F, S> {
        let key = self.hash(key);
        async move { self.under(&limit).key(&key).until_ready(cost, max_wait, sleep).await }
    }

    /// Waits until a request that costs `cost` tokens may go under all limits of a set; else as
    /// [`until_ready`](Handle::until_ready). The tokens are [reserved](Self::reserve_set) first.
    ///
    /// # Errors
    ///
    /// As [`until_ready`](Handle::until_ready).
    #[cfg(feature = "async")]
    pub fn until_set_ready<'a, K: LocalKey + ?Sized, F: Future<Output = ()>, S: Fn(Duration) -> F>(
        &'a self,
        set: &'a LimitSet,
        key: &K,
        cost: u64,
        max_wait: Duration,
        sleep: S,
    ) -> impl Future<Output = Result<(), crate::error::WaitError>> + use<'a, C, K, F, S> {
        self.view().until_set_ready(set, key, cost, max_wait, sleep)
    }

    /// Moves one key from one limit to another, such as a client who pays from now on: its bucket under `to` holds at most the
    /// tokens that it has left under this one, by the rule of `how`. Call it on the [view](Limiter::under) of the old limit, and
    /// decide the key by the new one from there on.
    ///
    /// The bucket under `to` is only ever made emptier, so converting back and forth sells nothing; what is cancelled or
    /// refunded under the old limit afterwards comes back there. But for [`Inheritance::Reset`], which fills it: a cost
    /// below zero, by definition. For all keys at once there is [`change_quota`](Limiter::change_quota).
    pub fn convert<'a, K: LocalKey + ?Sized>(&'a self, key: &K, to: &'a Limit, how: Inheritance) {
        self.view().convert(key, to, how);
    }

    /// Checks many keys at one instant: hashes and fetches ahead, so that cache misses overlap. Calls `each` with the
    /// index and the decision of every key, in order.
    pub fn check_keys<'a, K: LocalKey>(&'a self, keys: &[K], each: impl FnMut(usize, Decision<'a>)) {
        self.view().check_keys(keys, each);
    }

    /// Decides a list of requests, each by itself under its own limit, for its own key, at one instant: fetches ahead, as
    /// [`check_keys`](Limiter::check_keys) does. Calls `each` with the index and the decision of every item, in order. For all
    /// or nothing there is [`check_items`](Limiter::check_items).
    pub fn check_each<'a>(&'a self, items: &[SetItem<'a>], each: impl FnMut(usize, Decision<'a>)) {
        self.view().check_each(items, each);
    }

    /// Checks one request of `key` under all limits of a set, all or nothing (P11): refused by one, the others keep
    /// their balance. Where [refusals count](Quota::with_refused_counted), it counts under the limits that refuse it
    /// themselves, and under no other. Costs a look and a check for each limit.
    ///
    /// In a full table a request may displace a key for its first limit and then find no room for its second: the
    /// tokens come back, the displaced key does not.
    #[inline]
    pub fn check_set<'a, K: LocalKey + ?Sized>(&'a self, set: &'a LimitSet, key: &K) -> SetDecision<'a> {
        self.view().check_set(set, key)
    }

    /// As [`check_set`](Limiter::check_set), for a request that costs `cost` tokens of each.
    #[inline]
    pub fn check_set_n<'a, K: LocalKey + ?Sized>(&'a self, set: &'a LimitSet, key: &K, cost: u64) -> SetDecision<'a> {
        self.view().check_set_n(set, key, cost)
    }

    /// As [`check_set`](Limiter::check_set), for limits that have keys and costs of their own: per address, per user
    /// and for all together, say. Two shares may fall on one bucket: then both costs are taken, or none; but each is judged
    /// by itself, so that the answer may be "not now" where both together never fit.
    ///
    /// # Errors
    ///
    /// If there are none, or more than [`LimitSet::MAX`].
    #[inline]
    pub fn check_items<'a>(&'a self, shares: &[SetItem<'a>]) -> Result<SetDecision<'a>, LimitSetError> {
        self.view().check_items(shares)
    }

    /// Takes `cost` tokens under every limit of a set now, or under none, for a request that may go within `max_wait`, and says
    /// when: one instant, the first at which all of them admit it. First come, first served.
    ///
    /// Each limit counts the request as of that instant, so that what waits for one limit does not go late under another, on
    /// top of what that has admitted since. In a limit that others share this may hold them up: one whose burst takes less time
    /// to refill than this request has to wait admits nobody before it. Windows and logs promise nothing beyond their end: if
    /// the request would go later than that, it is refused, with the wait.
    ///
    /// Costs a look and a check for each limit, and an allocation.
    ///
    /// # Errors
    ///
    /// The decision, if it would have to wait longer, or than one of the limits may promise: nothing was taken.
    /// [`SetDecision::retry_after`] says when it could go at once.
    pub fn reserve_set<'a, K: LocalKey + ?Sized>(
        &'a self,
        set: &'a LimitSet,
        key: &K,
        cost: u64,
        max_wait: Duration,
    ) -> Result<SetReservation<'a>, SetDecision<'a>> {
        self.view().reserve_set(set, key, cost, max_wait)
    }

    /// As [`reserve_set`](Limiter::reserve_set), with a limit, a key and a cost for each part, as in
    /// [`check_items`](Limiter::check_items).
    ///
    /// # Errors
    ///
    /// If there are no items, or more than [`LimitSet::MAX`]; and as [`reserve_set`](Limiter::reserve_set).
    pub fn reserve_items<'a>(
        &'a self,
        items: &[SetItem<'a>],
        max_wait: Duration,
    ) -> Result<SetReservation<'a>, ReserveError<'a>> {
        self.view().reserve_items(items, max_wait)
    }
}

impl<C> fmt::Debug for Limiter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("quota", self.limit.quota())
            .field("capacity", &self.capacity)
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

/// How a limiter is doing. Nothing is counted on the allowed path.
///
/// Of a [shared](crate::shared) table `evictions`, `refused_full` and `untracked` are what all of its processes have counted since
/// it was made, and `clock_steps` and `foreign` what this one has: do not add up the former.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many keys may be busy at once, as configured.
    pub capacity: usize,
    /// Whether the file of a shared table has been removed or replaced, so that others do not share it any more:
    /// [`is_detached`](crate::shared::SharedTable::is_detached). False of a private table.
    pub is_detached: bool,
    /// Bytes of memory reserved for buckets and counters.
    pub bytes: usize,
    /// How many keys are busy (not full), estimated from a sample of the table.
    pub busy: u64,
    /// Busy keys forgotten to make room for new ones, since the start.
    pub evictions: u64,
    /// Requests of new keys refused because there was no room, or not on top of the debt they would have inherited,
    /// since the start.
    pub refused_full: u64,
    /// Requests of new keys admitted unrecorded because there was no room, since the start.
    pub untracked: u64,
    /// How often the limiter's clock has stepped back, by a millisecond or more, since the start. Until it has caught up
    /// with itself, buckets that it left further ahead than they can be now are taken back to empty when they refuse.
    pub clock_steps: u64,
    /// Calls refused because their limit or their hash was another limiter's, since the start: a mistake of the caller's.
    pub foreign: u64,
}

// Shared between threads by reference, whatever its clock.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Limiter>();
    shared::<crate::Bucket>();
};
