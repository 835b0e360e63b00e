//! The limiter as applications hold it: rules that can be changed, over buckets that stay.

mod asks;
mod shared_table;
mod simulator;
mod standing;

use std::fmt;
use std::sync::{Arc, Mutex};

use ahash::RandomState;
use bytes::Bytes;
use http::Response;
use tollgate::clock::{Clock, Instant};
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
use tollgate::shared::TableClock;
use tollgate::{Limiter, LimiterBuilder, Quota, Stats};

use crate::answer::ResponseFields;
use crate::config::{LimiterConfig, Policy, SharedAt};
use crate::decision::admission::Admission;
use crate::decision::by_client::ByClient;
use crate::decision::compile::Rules;
use crate::decision::decide::Decided;
use crate::decision::engine::Engine;
use crate::decision::gate;
use crate::decision::refusal::Refusal;
use crate::decision::shared::Shared;
use crate::error::ConfigError;
use crate::identity::key_by::{BoxFuture, KeyBy};
use crate::request::{RequestInfo, RequestView};
use crate::stats::{Labeller, PolicyStats};

#[cfg(feature = "redis")]
pub use asks::Asks;
#[cfg(all(not(feature = "redis"), feature = "tower"))]
pub(crate) use asks::Asks;
pub use shared_table::SharedTable;
pub use simulator::{KnownMatch, Simulator};
pub use standing::{LimitStanding, Standing, StandingError, Standings};

pub use crate::config::LooksAt;
pub use crate::decision::compile::RestartedLimit;
pub use crate::decision::matching::{AsyncKeys, PolicyMatch};
pub use tollgate::clock::LimiterClock;

/// Policies over one engine, shared between clones.
///
/// For a tower service there is [`RateLimitLayer`](crate::RateLimitLayer); this is for everything else, and for changing the rules while
/// requests come.
pub struct RateLimiter<C = LimiterClock> {
    shared: Arc<Shared<C>>,
}

impl RateLimiter {
    /// A limiter on an [`ExactClock`](tollgate::clock::ExactClock), or, where the configuration has a [shared
    /// table](LimiterConfig::shared), on that and on its clock.
    ///
    /// Metrics go to the recorder that is installed by now.
    ///
    /// # Errors
    ///
    /// If the configuration cannot be used, or the shared table; see [`ConfigError`]. For that it may wait, up to ten seconds, for
    /// another process that is just making the table fit for use.
    pub fn new(config: LimiterConfig) -> Result<Self, ConfigError> {
        // Before a table is made that others would find.
        config.validate()?;
        let builder = builder(&config);
        let limiter = match &config.shared {
            None => builder.clock(LimiterClock::default()).build()?,
            Some(table) => shared_table::open(builder, table)?,
        };
        Self::over(config, limiter)
    }

    /// The table that the limits are in, if other processes may have it as well.
    ///
    /// Takes two system calls, so it is for an operator's page, once in some seconds, and not for each request.
    #[must_use]
    pub fn shared_table(&self) -> Option<SharedTable> {
        shared_table::of(&self.shared.engine.limiter)
    }
}

/// For all that `config` limits.
fn builder(config: &LimiterConfig) -> LimiterBuilder {
    let quotas = config.policies.iter().flat_map(|policy| {
        let tiers = policy.tiers.iter().flat_map(|tiers| &tiers.tiers);
        policy.limits.iter().chain(tiers.flat_map(|(_, quotas)| quotas))
    });
    let mut builder = Limiter::builder(Quota::per_second(1)).capacity(config.capacity).on_full(config.on_full);
    let has_gates = gate::are_needed(&config.policies);
    for quota in quotas {
        builder = builder.also_exact_for(*quota);
        if has_gates && gate::is_queue(quota) {
            builder = builder.also_exact_for(gate::quota(quota));
        }
    }
    builder
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
impl RateLimiter<TableClock> {
    /// A limiter on a table that other processes of this machine have as well, or that forks of this one share. Bounds on requests
    /// in flight are of each process.
    ///
    /// # Errors
    ///
    /// If the configuration cannot be used or names a [table](LimiterConfig::shared) itself, or if the table is not to be had; see
    /// [`ConfigError`].
    pub fn shared(config: LimiterConfig, table: tollgate::shared::Shared) -> Result<Self, ConfigError> {
        // Before a table is made that others would find.
        config.validate()?;
        if let Some(SharedAt { path, .. }) = config.shared {
            return Err(ConfigError::NotShared { path, why: "another table is given" });
        }
        let limiter = builder(&config).shared(table).build()?;
        Self::over(config, limiter)
    }
}

impl<C: Clock> RateLimiter<C> {
    /// A limiter on the given clock. Its epoch must be the Unix epoch for header fields that carry dates or seconds since 1970.
    ///
    /// # Errors
    ///
    /// If the configuration cannot be used; see [`ConfigError`]. One with a [shared table](LimiterConfig::shared) cannot: that goes
    /// by its own clock.
    pub fn with_clock(config: LimiterConfig, clock: C) -> Result<Self, ConfigError> {
        if let Some(SharedAt { path, .. }) = config.shared {
            return Err(ConfigError::NotShared { path, why: "it goes by a clock of its own" });
        }
        let limiter = builder(&config).clock(clock).build()?;
        Self::over(config, limiter)
    }

    fn over(config: LimiterConfig, limiter: Limiter<C>) -> Result<Self, ConfigError> {
        let engine = Engine {
            limiter,
            in_flight: Arc::default(),
            hasher: RandomState::new(),
            labeller: Labeller::new(),
            known: Mutex::default(),
        };
        let rules = Rules::new(config, &engine, None)?;
        engine.remember(rules.identities());
        Ok(Self { shared: Arc::new(Shared::new(engine, rules)) })
    }

    /// Atomically replaces the rules, for every request from now on. What keys have used counts where policy, tier, period
    /// and algorithm are the same, in requests: a higher count helps at once, and a lower one hurts at once. What could not
    /// be changed is returned.
    ///
    /// In a [shared table](LimiterConfig::shared), which stays, a limit with another quota begins anew, and is the one that every
    /// other process has with that quota: to carry counts over would give this process a limit of its own.
    ///
    /// Each thread keeps the rules by which it last decided, with the functions in them, until it decides again or ends.
    ///
    /// # Errors
    ///
    /// If the configuration cannot be used; then nothing has changed.
    pub fn reload(&self, config: LimiterConfig) -> Result<Reloaded, ConfigError> {
        let before = self.shared.rules();
        let mut fixed = Vec::new();
        if config.capacity != before.config.capacity {
            fixed.push(FixedSetting::Capacity);
        }
        if config.on_full != before.config.on_full {
            fixed.push(FixedSetting::OnFull);
        }
        if config.shared != before.config.shared {
            fixed.push(FixedSetting::Shared);
        }
        let kept = LimiterConfig {
            capacity: before.config.capacity,
            on_full: before.config.on_full,
            shared: before.config.shared.clone(),
            ..config
        };
        let rules = Rules::new(kept, &self.shared.engine, Some(&before))?;
        let restarted = rules.restarted(&before, self.shared.engine.is_shared());
        self.shared.engine.remember(rules.identities());
        self.shared.replace(rules);
        Ok(Reloaded { fixed, restarted })
    }

    /// Decides about a request now.
    ///
    /// Where a policy has an async key function, ask for [`async_keys`](Self::async_keys) first; without its answer such a request
    /// has no key. Where a policy is on a fleet (feature `redis`), use `check_async`: this does not wait, so that a policy whose servers
    /// would have to be asked does what it does in an outage.
    pub fn check(&self, request: &dyn RequestView) -> Decision<C> {
        self.check_with(request, &AsyncKeys::default())
    }

    /// As [`check`](Self::check), with the answers of async key functions.
    pub fn check_with(&self, request: &dyn RequestView, keys: &AsyncKeys) -> Decision<C> {
        let Shared { engine, timer, .. } = &*self.shared;
        let now = engine.limiter.now();
        let begun = timer.begin(|| now);
        let decision = self.check_at(request, keys, now);
        timer.end(begun, || engine.limiter.clock().now());
        decision
    }

    /// As [`check_with`](Self::check_with), or what has to be waited for first. This is what the layer does.
    ///
    /// # Errors
    ///
    /// If servers of a [fleet](LimiterConfig::fleet) have to be asked.
    #[cfg(feature = "redis")]
    pub fn check_or_ask(&self, request: &dyn RequestView, keys: &AsyncKeys) -> Result<Decision<C>, Asks<C>> {
        let Shared { engine, timer, .. } = &*self.shared;
        let now = engine.limiter.now();
        let begun = timer.begin(|| now);
        let rules = self.shared.rules();
        let request = rules.locate(request);
        self.warn_without_address(&rules, &request);
        let decided = match rules.decide_or_ask(engine, &request, keys, now) {
            Decided::Asks(asking) => return Err(Asks::new(Arc::clone(&self.shared), rules, asking)),
            decided => decision(&self.shared, rules, decided, || request.is_grpc()),
        };
        timer.end(begun, || engine.limiter.clock().now());
        Ok(decided)
    }

    /// Decides about a request, and asks the servers of a [fleet](LimiterConfig::fleet) where policies have their counts there: for
    /// that it waits up to the fleet's deadline, twice as long if some of the policies are charged after the response and others when
    /// the request comes. Within a tokio runtime.
    #[cfg(feature = "redis")]
    pub async fn check_async(&self, request: &dyn RequestView, keys: &AsyncKeys) -> Decision<C> {
        match self.check_or_ask(request, keys) {
            Ok(decision) => decision,
            Err(mut asks) => {
                std::future::poll_fn(|cx| asks.poll(cx)).await;
                asks.finish(request)
            }
        }
    }

    /// Nothing is asked without a fleet.
    #[cfg(all(not(feature = "redis"), feature = "tower"))]
    pub(crate) fn check_or_ask(&self, request: &dyn RequestView, keys: &AsyncKeys) -> Result<Decision<C>, Asks<C>> {
        Ok(self.check_with(request, keys))
    }

    /// As [`check_with`](Self::check_with), at the caller's `now`; see [`tollgate::Limiter::at`].
    pub fn check_at(&self, request: &dyn RequestView, keys: &AsyncKeys, now: Instant) -> Decision<C> {
        // Counted, because the admission holds the rules until its response, and may get there on another thread.
        let rules = self.shared.rules();
        let request = rules.locate(request);
        self.warn_without_address(&rules, &request);
        let decided = rules.decide_or_ask(&self.shared.engine, &request, keys, now);
        #[cfg(feature = "redis")]
        let decided = match decided {
            Decided::Asks(asking) => rules.answered(&self.shared.engine, &request, *asking, None),
            decided => decided,
        };
        decision(&self.shared, rules, decided, || request.is_grpc())
    }

    /// Decides about a request now, if everything about it is decided now: then it waits in no queue, its response decides nothing,
    /// and all that is to be kept for that are the fields of its header. `Err` is the answer to one that is refused.
    ///
    /// `None` if the rules ask for more, such as a bound on requests in flight, a charge after the response, a queue, shadow mode
    /// or an async key; or, of policies by client address, if the request has none. Nothing has been taken or counted then:
    /// [`check`](Self::check) it. The layer does both. For one policy with one limit by client address this costs about twice a check of the engine.
    /// Policies for paths of another first segment cost next to nothing, and what they ask for does not matter if all others are by client address.
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use http::{Request, Response};
    /// use tollgate_http::{Decision, LimiterConfig, PeerAddr, Policy, RateLimiter};
    ///
    /// let limiter = RateLimiter::new(LimiterConfig::new().policy(Policy::new("default", "1/hour")?))?;
    /// let mut request = Request::new(());
    /// request.extensions_mut().insert(PeerAddr(SocketAddr::from(([192, 0, 2, 7], 40_000))));
    ///
    /// let fields = limiter.check_at_once(&request).expect("one plain limit").expect("the first request");
    /// let mut response = Response::new("hello");
    /// fields.write(response.headers_mut());
    /// assert_eq!(response.headers()["ratelimit"], "\"default\";r=0;t=3600");
    ///
    /// let refused = limiter.check_at_once(&request).expect("one plain limit").expect_err("the second");
    /// assert_eq!(refused.status(), 429);
    /// # Ok::<(), tollgate_http::ConfigError>(())
    /// ```
    #[inline]
    pub fn check_at_once(&self, request: &impl RequestView) -> Option<Result<ResponseFields, Response<Bytes>>> {
        let Shared { engine, timer, .. } = &*self.shared;
        let clock = || engine.limiter.clock().now();
        let rules = &self.shared.rules_here().rules;
        if let Some(by_client) = rules.by_client(|| request.path()) {
            let ByClient { set, cost, .. } = by_client;
            let client = rules.config.client.client_ip(request.peer()?, request);
            let begun = timer.begin(clock);
            let key = rules.client_key(engine, client);
            return Some(match set.limits() {
                // On the limiter's clock, which is read while the bucket is fetched.
                [limit] => {
                    let decision = engine.limiter.under(limit).check_n(&key, *cost);
                    rules.answer_by_client(&self.shared, request, begun, (client, key), by_client, (0, &decision))
                }
                _ => {
                    let decision = engine.limiter.check_set_n(set, &key, *cost);
                    let index = decision.index();
                    rules.answer_by_client(
                        &self.shared,
                        request,
                        begun,
                        (client, key),
                        by_client,
                        (index, &decision.decision()),
                    )
                }
            });
        }
        if !rules.is_straight {
            return None;
        }
        let now = engine.limiter.now();
        let begun = timer.begin(|| now);
        let request = rules.locate(request);
        self.warn_without_address(rules, &request);
        let decided = rules.decide_straight(engine, &request, now);
        timer.end(begun, clock);
        Some(decided.map_err(|status| rules.refusal(&status, request.is_grpc())))
    }

    fn warn_without_address(&self, rules: &Rules, request: &RequestInfo<'_>) {
        if rules.needs_client && request.client().is_none() {
            self.shared.warnings.no_address();
        }
    }

    /// What the async key functions answer that are for `request`; nothing if there is none.
    pub fn async_keys(&self, request: &dyn RequestView) -> Option<BoxFuture<AsyncKeys>> {
        let rules = &self.shared.rules_here().rules;
        if !rules.asks {
            return None;
        }
        let request = rules.locate(request);
        let mut asked: Vec<_> = Vec::new();
        for index in rules.applicable(&request) {
            let Some(Policy { name, key: KeyBy::Async(key), .. }) = rules.config.policies.get(index) else {
                continue;
            };
            asked.push((name.clone(), key(&request)));
        }
        if asked.is_empty() {
            return None;
        }
        Some(Box::pin(async move {
            let mut keys = Vec::with_capacity(asked.len());
            for (policy, key) in asked {
                keys.push((policy, key.await));
            }
            AsyncKeys(keys)
        }))
    }

    /// The policies that are for `request`, and who it is to each. Nothing is decided, taken or counted: this is for
    /// explaining rules, and for trying them on a log.
    #[must_use]
    pub fn matching(&self, request: &dyn RequestView, keys: &AsyncKeys) -> Vec<PolicyMatch> {
        let rules = self.shared.rules();
        let request = rules.locate(request);
        rules.policy_matches(&request, keys)
    }

    /// For deciding about many requests that are alike; see [`Simulator`].
    #[must_use]
    pub fn simulator(&self) -> Simulator<C> {
        Simulator::new(Arc::clone(&self.shared), self.shared.rules())
    }

    /// The fleet of the configuration that is in force.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn fleet(&self) -> Option<tollgate_redis::Fleet> {
        self.shared.rules().config.fleet.clone()
    }

    /// The configuration that is in force. Cloned, so not for each request.
    #[must_use]
    pub fn config(&self) -> LimiterConfig {
        self.shared.rules().config.clone()
    }

    /// How each policy is doing, with up to `top` of the keys that it refused most (128 are kept).
    #[must_use]
    pub fn policies(&self, top: usize) -> Vec<PolicyStats> {
        self.shared.rules().figures(&self.shared.engine, top)
    }

    /// How the table of keys is doing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.engine.limiter.stats()
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &C {
        self.shared.engine.limiter.clock()
    }

    /// Tells the `metrics` recorder how the table is doing: before it is scraped, or every few seconds.
    ///
    /// The figures of a table of this process are `tollgate_table_*`, and may be added up over processes. Those of a [shared
    /// table](LimiterConfig::shared) are the same in each of its processes, so they have other names, `tollgate_shared_table_*` with the
    /// label `table`: take the largest of each table, and add up tables.
    #[cfg(feature = "metrics")]
    pub fn publish(&self) {
        let stats = self.stats();
        if self.shared.engine.is_shared() {
            return shared_table::publish(&self.shared.engine.limiter, &stats);
        }
        metrics::gauge!("tollgate_table_capacity_keys").set(as_f64(stats.capacity as u64));
        metrics::gauge!("tollgate_table_bytes").set(as_f64(stats.bytes as u64));
        metrics::gauge!("tollgate_table_busy_keys").set(as_f64(stats.busy));
        metrics::counter!("tollgate_evictions_total").absolute(stats.evictions);
        metrics::counter!("tollgate_refused_full_total").absolute(stats.refused_full);
        metrics::counter!("tollgate_untracked_total").absolute(stats.untracked);
    }
}

/// For gauges, which are floating-point: exact up to 2^53, nearest above.
#[cfg(feature = "metrics")]
#[allow(clippy::cast_precision_loss, reason = "a number for people")]
const fn as_f64(number: u64) -> f64 {
    number as f64
}

impl<C> Clone for RateLimiter<C> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<C> fmt::Debug for RateLimiter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("config", &self.shared.rules().config).finish_non_exhaustive()
    }
}

/// What was decided by `rules`, for the caller.
fn decision<C: Clock>(
    shared: &Arc<Shared<C>>,
    rules: Arc<Rules>,
    decided: Decided,
    is_grpc: impl FnOnce() -> bool,
) -> Decision<C> {
    match decided {
        Decided::Admitted(admitted) => {
            let shared = (!admitted.is_done()).then(|| Arc::clone(shared));
            Decision::Admitted(Admission { shared, rules, admitted })
        }
        Decided::Refused(status) => Decision::Refused(Refusal { rules, status, is_grpc: is_grpc() }),
        // Never: whoever calls has seen to it. Nothing has said yes.
        #[cfg(feature = "redis")]
        Decided::Asks(asking) => {
            let status = asking.refusal();
            Decision::Refused(Refusal { rules, status, is_grpc: is_grpc() })
        }
    }
}

/// What a [reload](RateLimiter::reload) could not do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// What should have changed and stays as it was, because it is fixed when a limiter is made.
    pub fixed: Vec<FixedSetting>,
    /// The limits of another period or algorithm than before; in a [shared table](LimiterConfig::shared), of another quota. What
    /// was used under those before says nothing about them.
    pub restarted: Vec<RestartedLimit>,
}

/// A setting that is fixed when a limiter is made. Displays as the method that sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FixedSetting {
    /// [`LimiterConfig::capacity`].
    Capacity,
    /// [`LimiterConfig::on_full`].
    OnFull,
    /// [`LimiterConfig::shared`].
    Shared,
}

impl fmt::Display for FixedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Capacity => "capacity",
            Self::OnFull => "on_full",
            Self::Shared => "shared",
        })
    }
}

/// What became of a request.
#[derive(Debug)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "most are admitted, and a box would cost each of them an allocation")]
pub enum Decision<C: Clock = LimiterClock> {
    /// It may go.
    Admitted(Admission<C>),
    /// It may not.
    Refused(Refusal),
}

impl<C: Clock> Decision<C> {
    /// Whether it may go.
    #[must_use]
    pub const fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted(_))
    }
}
