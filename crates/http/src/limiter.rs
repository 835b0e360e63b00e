//! The limiter as applications hold it: rules that can be changed, over buckets that stay.

use std::fmt;
use std::sync::{Arc, Mutex};

use ahash::RandomState;
use arc_swap::ArcSwap;
use tollgate::clock::{Clock, ExactClock, Instant};
use tollgate::{Limiter, Quota, Stats};

use crate::config::{LimiterConfig, Policy};
use crate::decision::admission::Admission;
use crate::decision::compile::Rules;
use crate::decision::decide::Decided;
use crate::decision::engine::Engine;
use crate::decision::gate;
use crate::decision::matching::AskedKeys;
use crate::decision::refusal::Refusal;
use crate::decision::shared::Shared;
use crate::error::ConfigError;
use crate::identity::key::{BoxFuture, KeyBy};
use crate::request::RequestInfo;
use crate::stats::{Labeller, PolicyStats};

pub use crate::decision::matching::PolicyMatch;

/// Policies over one engine, shared between clones.
///
/// For a tower service there is [`RateLimitLayer`](crate::RateLimitLayer); this is for everything else, and for changing the rules while
/// requests come.
pub struct RateLimiter<C = ExactClock> {
    shared: Arc<Shared<C>>,
}

impl RateLimiter {
    /// A limiter on an [`ExactClock`].
    ///
    /// Metrics go to the recorder that is installed by now.
    ///
    /// # Errors
    ///
    /// If the config cannot be used; see [`ConfigError`].
    pub fn new(config: LimiterConfig) -> Result<Self, ConfigError> {
        Self::with_clock(config, ExactClock::new())
    }
}

impl<C: Clock> RateLimiter<C> {
    /// A limiter on a clock of yours, which begins with 1970 if header fields shall tell the time of day.
    ///
    /// # Errors
    ///
    /// If the config cannot be used; see [`ConfigError`].
    pub fn with_clock(config: LimiterConfig, clock: C) -> Result<Self, ConfigError> {
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
        let engine = Engine {
            limiter: builder.clock(clock).build()?,
            in_flight: Arc::default(),
            hasher: RandomState::new(),
            labeller: Labeller::new(),
            known: Mutex::default(),
        };
        let rules = Rules::new(config, &engine, None)?;
        engine.remember(rules.identities());
        metrics::describe_histogram!(
            "tollgate_decision_seconds",
            metrics::Unit::Seconds,
            "Time of a decision, sampled"
        );
        let decision_time = metrics::histogram!("tollgate_decision_seconds");
        Ok(Self { shared: Arc::new(Shared { engine, rules: ArcSwap::from_pointee(rules), decision_time }) })
    }

    /// Puts other rules in the place of those there are, at once for every request that comes after. What keys have used
    /// counts where policy, tier, period and algorithm are the same, in requests: a higher count helps at once, and a lower one
    /// hurts at once. What it could not do is said.
    ///
    /// # Errors
    ///
    /// If the config cannot be used: then nothing has changed.
    pub fn reload(&self, config: LimiterConfig) -> Result<Reloaded, ConfigError> {
        let before = self.shared.rules.load();
        let mut fixed = Vec::new();
        if config.capacity != before.config.capacity {
            fixed.push("capacity");
        }
        if config.on_full != before.config.on_full {
            fixed.push("on_full");
        }
        let kept = LimiterConfig { capacity: before.config.capacity, on_full: before.config.on_full, ..config };
        let rules = Rules::new(kept, &self.shared.engine, Some(&before))?;
        let begin_anew = rules.begin_anew(&before);
        self.shared.engine.remember(rules.identities());
        self.shared.rules.store(Arc::new(rules));
        Ok(Reloaded { fixed, begin_anew })
    }

    /// Decides about a request now.
    ///
    /// Where a policy has an async key function, ask for [`async_keys`](Self::async_keys) first; without its answer such a request
    /// has no key.
    pub fn check(&self, request: &RequestInfo<'_>) -> Decision<C> {
        self.check_with(request, &AsyncKeys::default())
    }

    /// As [`check`](Self::check), with the answers of async key functions.
    pub fn check_with(&self, request: &RequestInfo<'_>, keys: &AsyncKeys) -> Decision<C> {
        let now = self.shared.engine.limiter.now();
        let outcome = self.check_at(request, keys, now);
        // One in 64 or so: two readings of the clock cost as much as a check.
        if now.as_nanos().is_multiple_of(64) {
            let took = self.shared.engine.limiter.clock().now().saturating_duration_since(now);
            self.shared.decision_time.record(took.as_secs_f64());
        }
        outcome
    }

    /// As [`check_with`](Self::check_with), at the caller's `now`; see [`tollgate::Limiter::at`].
    pub fn check_at(&self, request: &RequestInfo<'_>, keys: &AsyncKeys, now: Instant) -> Decision<C> {
        let rules = self.shared.rules.load_full();
        let request = rules.locate(request.clone());
        match rules.decide(&self.shared.engine, &request, &keys.0, now) {
            Decided::Admitted(admitted) => {
                let is_done = admitted.pending.is_empty() && admitted.at_gates.is_none();
                let shared = (!is_done).then(|| Arc::clone(&self.shared));
                Decision::Admitted(Admission { shared, rules, admitted })
            }
            Decided::Refused(status) => Decision::Refused(Refusal { rules, status, is_grpc: request.is_grpc() }),
        }
    }

    /// What the async key functions answer that are for `request`; nothing if there is none.
    pub fn async_keys(&self, request: &RequestInfo<'_>) -> Option<BoxFuture<AsyncKeys>> {
        let rules = self.shared.rules.load();
        if !rules.asks {
            return None;
        }
        let request = rules.locate(request.clone());
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
            let mut keys = AskedKeys::with_capacity(asked.len());
            for (policy, key) in asked {
                keys.push((policy, key.await));
            }
            AsyncKeys(keys)
        }))
    }

    /// The policies that are for `request`, and who it is to each. Nothing is decided, taken or counted: this is for
    /// explaining rules, and for trying them on a log.
    #[must_use]
    pub fn matching(&self, request: &RequestInfo<'_>, keys: &AsyncKeys) -> Vec<PolicyMatch> {
        let rules = self.shared.rules.load();
        let request = rules.locate(request.clone());
        rules.policy_matches(&request, &keys.0)
    }

    /// The rules there are now.
    #[must_use]
    pub fn config(&self) -> LimiterConfig {
        self.shared.rules.load().config.clone()
    }

    /// How each policy is doing, with up to `top` of the keys that it refused most (128 are kept).
    #[must_use]
    pub fn policies(&self, top: usize) -> Vec<PolicyStats> {
        self.shared.rules.load().figures(&self.shared.engine, top)
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
    pub fn publish(&self) {
        let stats = self.stats();
        metrics::gauge!("tollgate_table_capacity_keys").set(as_f64(stats.capacity as u64));
        metrics::gauge!("tollgate_table_bytes").set(as_f64(stats.bytes as u64));
        metrics::gauge!("tollgate_table_busy_keys").set(as_f64(stats.busy));
        metrics::counter!("tollgate_evictions_total").absolute(stats.evictions);
        metrics::counter!("tollgate_refused_full_total").absolute(stats.refused_full);
        metrics::counter!("tollgate_untracked_total").absolute(stats.untracked);
    }
}

/// For gauges, which are floating-point: exact up to 2^53, nearest above.
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
        f.debug_struct("RateLimiter").field("config", &self.shared.rules.load().config).finish_non_exhaustive()
    }
}

/// What async key functions have answered for one request.
#[derive(Debug, Clone, Default)]
pub struct AsyncKeys(AskedKeys);

/// What a [reload](RateLimiter::reload) could not do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// Which of `capacity` and `on_full` should have changed, and stay as they were.
    pub fixed: Vec<&'static str>,
    /// The limits of another period or algorithm than before, by name and quota: under them nothing has been used.
    pub begin_anew: Vec<String>,
}

/// What became of a request.
#[derive(Debug)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "most are admitted, and a box would cost each of them an allocation")]
pub enum Decision<C: Clock = ExactClock> {
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
