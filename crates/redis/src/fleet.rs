//! Limits that hold across a fleet.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use tokio::time::Instant;
use tollgate::quota::IntoQuota;
use tollgate::{Key, Limiter};

use crate::builder::FleetBuilder;
use crate::decision::{FleetDecision, FleetSetDecision};
use crate::error::{LimitError, Outage};
use crate::handle::{FleetHandle, FleetScoped};
use crate::item::{FleetItem, Mode};
use crate::lease::table::Leases;
use crate::lease::tally::Kind;
use crate::limit::FleetLimit;
use crate::nodes::Nodes;
use crate::outage::OnOutage;
use crate::request::Scripts;
use crate::reservation::FleetSetReservation;
use crate::secret::{Secret, Subject};
use crate::servers::Servers;
use crate::status::ServerStatus;

/// Limits that all nodes with the same servers and the same secret hold together. Cheap to clone; all clones share the
/// connections, which close with the last.
///
/// The words are the engine's: what [`Limiter`] does in this process, this does on the servers, in one round trip.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use tollgate_redis::Fleet;
///
/// let fleet = Fleet::builder("redis://127.0.0.1/").secret("what all nodes know, and nobody else").build()?;
/// let limit = fleet.limit("login", "10/minute")?;
/// if fleet.under(&limit).check("ada").await.is_allowed() {
///     // go on
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Fleet(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) servers: Servers,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) secret: Secret,
    /// Of this process alone.
    hasher: RandomState,
    pub(crate) deadline: Duration,
    nodes: Option<u64>,
    /// How many there are, if they are counted.
    counted: Option<Arc<Nodes>>,
    /// Decides during outages.
    pub(crate) local: Limiter,
    pub(crate) outages: AtomicU64,
    pub(crate) leases: Leases,
    /// Where the connections run.
    runtime: tokio::runtime::Handle,
}

impl Fleet {
    /// As many requests may wait for the answer of one server at a time; more are not sent.
    pub const MAX_IN_FLIGHT: u64 = crate::shard::MAX_IN_FLIGHT;

    /// Within a runtime.
    pub(crate) fn new(
        servers: Servers,
        scripts: Arc<Scripts>,
        secret: Secret,
        deadline: Duration,
        (nodes, counted): (Option<u64>, Option<Arc<Nodes>>),
        local: Limiter,
        leases: Leases,
    ) -> Self {
        // Its caller has seen to it that there is one.
        let runtime = tokio::runtime::Handle::current();
        let outages = AtomicU64::new(0);
        let hasher = RandomState::new();
        Self(Arc::new(Inner {
            servers,
            scripts,
            secret,
            hasher,
            deadline,
            nodes,
            counted,
            local,
            outages,
            leases,
            runtime,
        }))
    }

    /// One server: `redis://[user:password@]host[:port][/database]`, `rediss://` for TLS (feature `tls`), or `unix:///path`.
    #[must_use]
    pub fn builder(address: impl Into<String>) -> FleetBuilder {
        FleetBuilder::one(address.into())
    }

    /// The primary that sentinels know under a name. `like` is an address with user, password, database and TLS of the primary;
    /// the host of it is not used.
    #[must_use]
    pub fn sentinel(
        sentinels: impl IntoIterator<Item = impl Into<String>>,
        primary: impl Into<String>,
        like: impl Into<String>,
    ) -> FleetBuilder {
        FleetBuilder::sentinel(sentinels.into_iter().map(Into::into).collect(), primary.into(), like.into())
    }

    /// A cluster, of which some nodes are given; user, password and TLS of the first are those of all.
    #[must_use]
    pub fn cluster(nodes: impl IntoIterator<Item = impl Into<String>>) -> FleetBuilder {
        FleetBuilder::cluster(nodes.into_iter().map(Into::into).collect())
    }

    /// A limit that refuses during an outage.
    ///
    /// # Errors
    ///
    /// If the text is no rate, the name is out of bounds, or a script could not count the quota exactly.
    pub fn limit(&self, name: &str, quota: impl IntoQuota) -> Result<FleetLimit, LimitError> {
        self.limit_with(name, quota, OnOutage::Closed)
    }

    /// A limit, and what it does during an outage.
    ///
    /// # Errors
    ///
    /// As [`limit`](Self::limit); and if it is to be shared out, [`FleetBuilder::nodes`] was not set, and nodes are not
    /// [counted](FleetBuilder::count_nodes).
    pub fn limit_with(&self, name: &str, quota: impl IntoQuota, on_outage: OnOutage) -> Result<FleetLimit, LimitError> {
        let (local, nodes, quota) = (&self.0.local, self.0.nodes, quota.into_quota()?);
        match &self.0.counted {
            Some(counted) if on_outage == OnOutage::Share => {
                FleetLimit::prepare_counted(local, counted, nodes, name, quota)
            }
            _ => FleetLimit::prepare(local, nodes, name, quota, on_outage),
        }
    }

    /// How long a decision may take before [`OnOutage`] decides.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.0.deadline
    }

    /// Waits until the servers are connected, up to `within`; whether they are.
    pub async fn ready(&self, within: Duration) -> bool {
        self.0.servers.ready(Instant::now() + within).await
    }

    /// The fleet under one limit.
    #[must_use]
    pub fn under<'a>(&'a self, limit: &'a FleetLimit) -> FleetScoped<'a> {
        FleetScoped { fleet: self, limit }
    }

    /// The bucket of a key under a limit, for all that can be asked of it.
    pub fn key<'a, K: Key + ?Sized>(&'a self, limit: &'a FleetLimit, key: &K) -> FleetHandle<'a> {
        FleetHandle { fleet: self, limit, subject: self.subject(key) }
    }

    /// One part of a request that several limits decide.
    pub fn item<K: Key + ?Sized>(&self, limit: &FleetLimit, key: &K, cost: u64) -> FleetItem {
        FleetItem { limit: limit.clone(), subject: self.subject(key), cost }
    }

    /// Checks one request of `key` under several limits, all or nothing, in one round trip.
    pub async fn check_set<K: Key + ?Sized>(&self, limits: &[FleetLimit], key: &K) -> FleetSetDecision {
        self.check_set_n(limits, key, 1).await
    }

    /// As [`check_set`](Self::check_set), for a request that costs `cost` tokens of each.
    pub async fn check_set_n<K: Key + ?Sized>(&self, limits: &[FleetLimit], key: &K, cost: u64) -> FleetSetDecision {
        let subject = self.subject(key);
        let items = limits.iter().map(|limit| FleetItem { limit: limit.clone(), subject: subject.clone(), cost });
        crate::set::check(self, items.collect()).await
    }

    /// As [`check_set`](Self::check_set), for limits that have keys and costs of their own.
    ///
    /// On one server it is one round trip, and all or nothing. In a cluster keys of several subjects lie in several slots: each
    /// slot is asked at once, and where one refuses, the others are given back in a second round trip. Then nobody is
    /// over-admitted; for that round trip others may see less than there is. What cannot be given back, as the server is gone
    /// by then, stays taken: at most the cost of this request.
    pub async fn check_items(&self, items: Vec<FleetItem>) -> FleetSetDecision {
        crate::set::check(self, items).await
    }

    /// Takes `cost` tokens of each of several limits now, for a request of `key` that may go within `max_wait`, or of none. It goes at one
    /// instant, the first at which all of them would admit it, and each counts it as of then, so that what waits for one limit does not
    /// go late under another. One round trip: all keys of a subject are in one slot.
    ///
    /// A bucket whose burst takes less time to refill than the request has to wait admits nobody before it. Windows promise nothing beyond
    /// their end, and logs nothing at all: if the request would go later than that, it is refused. Nothing is taken from
    /// [leases](FleetLimit::leased).
    ///
    /// # Errors
    ///
    /// The decision, if it would have to wait longer, or than one of the limits may promise, or if no server decided and a limit is
    /// closed then: nothing was taken (of an outage: by no node; a server may have).
    pub async fn reserve_set<K: Key + ?Sized>(
        &self,
        limits: &[FleetLimit],
        key: &K,
        cost: u64,
        max_wait: Duration,
    ) -> Result<FleetSetReservation<'_>, FleetSetDecision> {
        let subject = self.subject(key);
        let items = limits.iter().map(|limit| FleetItem { limit: limit.clone(), subject: subject.clone(), cost });
        crate::reservation::reserve_set(self, items.collect(), max_wait).await
    }

    /// As [`check_items`](Self::check_items), without waiting: `None` if a server has to be asked about any of them, which has not
    /// been done then. Of limits that are not [leased](FleetLimit::leased) nothing is decided here, unless they admit all or nothing.
    /// If several calls for the same keys are made at once, what was taken in advance may lapse.
    pub fn check_items_here(&self, items: &[FleetItem]) -> Option<FleetSetDecision> {
        crate::ahead::all_here(self, items).map(FleetSetDecision::new)
    }

    /// As [`check_items`](Self::check_items), for a caller that does not wait: no server is asked, and each limit does what it does
    /// [during an outage](OnOutage).
    pub fn check_items_without_servers(&self, items: &[FleetItem]) -> FleetSetDecision {
        crate::set::without_servers(self, items)
    }

    /// What each of several limits would say of a request, by itself; in one round trip, and nothing is taken.
    pub async fn peek_items(&self, items: &[FleetItem]) -> Vec<FleetDecision> {
        crate::set::peek(self, items).await
    }

    /// Takes the cost of an item whether it is there or not; see [`FleetHandle::charge`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn charge_item(&self, item: &FleetItem) -> Result<u64, Outage> {
        FleetHandle { fleet: self, limit: &item.limit, subject: item.subject.clone() }.charge(item.cost).await
    }

    /// Fills the bucket of an item; see [`FleetHandle::reset`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn reset_item(&self, item: &FleetItem) -> Result<(), Outage> {
        FleetHandle { fleet: self, limit: &item.limit, subject: item.subject.clone() }.reset().await
    }

    /// Gives back what a decision about an item took, where it was taken; `age` is how long ago the decision was asked for. What time
    /// has paid for since does not come back: a window gets back only what it has counted itself, a bucket no more than one that was
    /// drained then has not refilled since. What was decided by a lease lapses instead.
    ///
    /// # Errors
    ///
    /// The outage, if no server has said so. Then it may or may not have come back.
    pub async fn give_back(&self, item: &FleetItem, decision: &FleetDecision, age: Duration) -> Result<(), Outage> {
        crate::set::give_back_of(self, item, decision, age).await
    }

    /// Runs a future where the fleet's connections run, and does not wait for it: for a [charge](Self::charge_item) or a
    /// [refund](Self::give_back) that a response decides. What has not run when that runtime ends is not run.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.runtime.spawn(future);
    }

    /// How the fleet's servers are doing, as seen from here.
    #[must_use]
    pub fn stats(&self) -> FleetStats {
        // Relaxed, all of these: numbers by themselves, to be shown. No model.
        let mut stats = FleetStats { outages: self.0.outages.load(Ordering::Relaxed), ..FleetStats::default() };
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let leases = &self.0.leases;
        (stats.leased, stats.known) = (leases.decided.sum(Kind::Allowed), leases.decided.sum(Kind::Refused));
        stats.leases = leases.asked();
        stats.nodes = self.0.counted.as_ref().map_or(self.0.nodes, |counted| counted.number()).unwrap_or(0);
        for shard in self.0.servers.shards() {
            stats.servers += 1;
            stats.connected += u64::from(shard.is_up());
            stats.in_flight += shard.in_flight();
            stats.calls += load(&shard.counts.calls);
            stats.misses += load(&shard.counts.misses);
            stats.closed += load(&shard.counts.closed);
            stats.connects += load(&shard.counts.connects);
            stats.repeats += load(&shard.counts.repeats);
        }
        stats
    }

    /// What each server has failed in so far. For a look now and then, as it allocates.
    #[must_use]
    pub fn server_statuses(&self) -> Vec<ServerStatus> {
        self.0.servers.shards().iter().map(|shard| shard.status()).collect()
    }

    pub(crate) fn subject<K: Key + ?Sized>(&self, key: &K) -> Subject {
        Subject::new(key, &self.0.secret, &self.0.hasher)
    }

    #[inline]
    pub(crate) fn hash_of<K: Key + ?Sized>(&self, key: &K) -> u64 {
        Subject::hash_of(key, &self.0.hasher)
    }

    /// A decision that no server made.
    pub(crate) fn count_outage(&self) {
        // Relaxed: as `stats`.
        self.0.outages.fetch_add(1, Ordering::Relaxed);
    }
}

/// Without addresses, which may hold a password.
impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("deadline", &self.0.deadline)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// How a fleet's servers are doing, as seen from one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FleetStats {
    /// How many servers are known.
    pub servers: u64,
    /// How many of them are connected; of the others the breaker is open.
    pub connected: u64,
    /// Calls that wait for an answer now.
    pub in_flight: u64,
    /// Scripts and other commands sent since the start.
    pub calls: u64,
    /// Calls that were not answered within the deadline.
    pub misses: u64,
    /// Connections closed because they broke, or did not answer three times in a row.
    pub closed: u64,
    /// Connections made.
    pub connects: u64,
    /// Calls repeated because the answer proved that nothing was run.
    pub repeats: u64,
    /// Decisions made by [`OnOutage`].
    pub outages: u64,
    /// Requests admitted by tokens that were [taken in advance](FleetLimit::leased).
    pub leased: u64,
    /// Requests refused by what a server had said of the key a moment before.
    pub known: u64,
    /// How often tokens were asked for in advance.
    pub leases: u64,
    /// By how many nodes limits are shared out during an outage: as [was set](FleetBuilder::nodes), or as they
    /// [are counted](FleetBuilder::count_nodes). 0 if neither is known.
    pub nodes: u64,
}

/// Every call under one limit.
impl<'a> FleetScoped<'a> {
    /// Admits one request of `key`, or not.
    pub fn check<K: Key + ?Sized>(&self, key: &K) -> impl Future<Output = FleetDecision> {
        self.check_n(key, 1)
    }

    /// Admits a request that costs `cost` tokens, all of it or nothing.
    pub fn check_n<K: Key + ?Sized>(&self, key: &K, cost: u64) -> impl Future<Output = FleetDecision> {
        Checking { scoped: *self, key, cost, asking: None }
    }

    /// As [`check`](Self::check), without waiting: `None` if a server has to be asked, which has not been done then, and nothing was
    /// taken. For keys of a limit that is [leased](FleetLimit::leased), while tokens of theirs are here: a few steps more than a check
    /// of a [`Limiter`]. Of other limits nothing is decided here, unless they admit all or nothing.
    #[inline]
    pub fn check_here<K: Key + ?Sized>(&self, key: &K) -> Option<FleetDecision> {
        self.check_n_here(key, 1)
    }

    /// As [`check_here`](Self::check_here), for a request that costs `cost` tokens.
    #[inline]
    pub fn check_n_here<K: Key + ?Sized>(&self, key: &K, cost: u64) -> Option<FleetDecision> {
        match crate::ahead::here_near(self.fleet, self.limit, key, cost) {
            None => self.key(key).here(cost, true),
            decision => decision,
        }
    }

    /// What [`check`](Self::check) would answer. Writes nothing.
    pub async fn peek<K: Key + ?Sized>(&self, key: &K) -> FleetDecision {
        self.key(key).peek().await
    }

    /// The bucket of `key`.
    pub fn key<K: Key + ?Sized>(&self, key: &K) -> FleetHandle<'a> {
        self.fleet.key(self.limit, key)
    }
}

/// A check of a key: made when it is first asked for, and there at once if the tokens are here. Else what asks a server is boxed, so
/// that those that ask nobody do not move it.
struct Checking<'a, 'k, K: ?Sized> {
    scoped: FleetScoped<'a>,
    key: &'k K,
    cost: u64,
    asking: Option<Pin<Box<dyn Future<Output = FleetDecision> + Send + 'a>>>,
}

impl<K: Key + ?Sized> Future for Checking<'_, '_, K> {
    type Output = FleetDecision;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<FleetDecision> {
        let this = self.get_mut();
        if let Some(asking) = &mut this.asking {
            return asking.as_mut().poll(context);
        }
        match crate::ahead::here_near(this.scoped.fleet, this.scoped.limit, this.key, this.cost) {
            Some(decision) => Poll::Ready(decision),
            None => this.ask(context),
        }
    }
}

impl<K: Key + ?Sized> Checking<'_, '_, K> {
    #[cold]
    fn ask(&mut self, context: &mut Context<'_>) -> Poll<FleetDecision> {
        let handle = self.scoped.key(self.key);
        match handle.at_once(self.cost, Mode::Take) {
            Some(decision) => Poll::Ready(decision),
            None => self.asking.insert(Box::pin(handle.ask(self.cost, Mode::Take))).as_mut().poll(context),
        }
    }
}
