//! The limiter as applications hold it: rules that can be changed, over buckets that stay.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ahash::RandomState;
use arc_swap::ArcSwap;
use http::{HeaderMap, Response, StatusCode};
use metrics::Histogram;
use tollgate::clock::{Clock, ExactClock, Instant};
use tollgate::{Limiter, Quota, Stats};

use crate::charge::Settlement;
use crate::decide::{Admitted, Decided, Permits, Stood};
use crate::error::PolicyError;
use crate::gate;
use crate::key::{BoxFuture, KeyBy};
use crate::label::Labeller;
use crate::layer::RateLimitLayer;
use crate::met::Met;
use crate::policy::Policy;
use crate::request::RequestInfo;
use crate::rules::{AskedKeys, Engine, Rules};
use crate::settings::Settings;
use crate::standing::Standing;
use crate::view::PolicyView;

/// Policies over one engine, shared between clones.
///
/// For a tower service there is [`RateLimitLayer`]; this is for everything else, and for changing the rules while
/// requests come.
pub struct RateLimiter<C = ExactClock> {
    pub(crate) inner: Arc<Inner<C>>,
}

pub(crate) struct Inner<C> {
    pub(crate) engine: Engine<C>,
    pub(crate) rules: ArcSwap<Rules>,
    decision_time: Histogram,
}

impl RateLimiter {
    /// A limiter on an [`ExactClock`].
    ///
    /// Metrics go to the recorder that is installed by now.
    ///
    /// # Errors
    ///
    /// If the settings cannot be used; see [`PolicyError`].
    pub fn new(settings: Settings) -> Result<Self, PolicyError> {
        Self::with_clock(settings, ExactClock::new())
    }
}

impl<C: Clock> RateLimiter<C> {
    /// A limiter on a clock of yours, which begins with 1970 if header fields shall tell the time of day.
    ///
    /// # Errors
    ///
    /// If the settings cannot be used; see [`PolicyError`].
    pub fn with_clock(settings: Settings, clock: C) -> Result<Self, PolicyError> {
        let quotas = settings.policies.iter().flat_map(|policy| {
            let tiers = policy.tiers.iter().flat_map(|tiers| &tiers.tiers);
            policy.limits.iter().chain(tiers.flat_map(|(_, quotas)| quotas))
        });
        let mut builder = Limiter::builder(Quota::per_second(1)).capacity(settings.capacity).on_full(settings.on_full);
        let has_gates = gate::are_needed(&settings.policies);
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
        let rules = Rules::new(settings, &engine, None)?;
        engine.remember(&rules);
        metrics::describe_histogram!(
            "tollgate_decision_seconds",
            metrics::Unit::Seconds,
            "Time of a decision, sampled"
        );
        let decision_time = metrics::histogram!("tollgate_decision_seconds");
        Ok(Self { inner: Arc::new(Inner { engine, rules: ArcSwap::from_pointee(rules), decision_time }) })
    }

    /// Puts other rules in the place of those there are, at once for every request that comes after. What keys have used
    /// counts where policy, tier, period and algorithm are the same, in requests: a higher count helps at once, and a lower one
    /// hurts at once. What it could not do is said.
    ///
    /// # Errors
    ///
    /// If the settings cannot be used: then nothing has changed.
    pub fn reload(&self, settings: Settings) -> Result<Reloaded, PolicyError> {
        let before = self.inner.rules.load();
        let mut fixed = Vec::new();
        if settings.capacity != before.settings.capacity {
            fixed.push("capacity");
        }
        if settings.on_full != before.settings.on_full {
            fixed.push("on_full");
        }
        let kept = Settings { capacity: before.settings.capacity, on_full: before.settings.on_full, ..settings };
        let rules = Rules::new(kept, &self.inner.engine, Some(&before))?;
        let begin_anew = rules.begin_anew(&before);
        self.inner.engine.remember(&rules);
        self.inner.rules.store(Arc::new(rules));
        Ok(Reloaded { fixed, begin_anew })
    }

    /// Decides about a request now.
    ///
    /// Where a policy has an async key function, ask for [`keys`](Self::keys) first; without its answer such a request
    /// has no key.
    pub fn check(&self, request: &RequestInfo<'_>) -> Outcome<C> {
        self.check_with(request, &Keys::default())
    }

    /// As [`check`](Self::check), with the answers of async key functions.
    pub fn check_with(&self, request: &RequestInfo<'_>, keys: &Keys) -> Outcome<C> {
        let now = self.inner.engine.limiter.now();
        let outcome = self.check_at(request, keys, now);
        // One in 64 or so: two readings of the clock cost as much as a check.
        if now.as_nanos().is_multiple_of(64) {
            let took = self.inner.engine.limiter.clock().now().saturating_duration_since(now);
            self.inner.decision_time.record(took.as_secs_f64());
        }
        outcome
    }

    /// As [`check_with`](Self::check_with), at the caller's `now`; see [`tollgate::Limiter::at`].
    pub fn check_at(&self, request: &RequestInfo<'_>, keys: &Keys, now: Instant) -> Outcome<C> {
        let rules = self.inner.rules.load_full();
        let request = rules.locate(request.clone());
        let decided = rules.decide(&self.inner.engine, &request, &keys.0, now);
        outcome(&self.inner, rules, decided, request.is_grpc())
    }

    /// What the async key functions answer that are for `request`; nothing if there is none.
    pub fn keys(&self, request: &RequestInfo<'_>) -> Option<BoxFuture<Keys>> {
        let rules = self.inner.rules.load();
        if !rules.asks {
            return None;
        }
        let request = rules.locate(request.clone());
        let mut asked: Vec<_> = Vec::new();
        for index in rules.applicable(&request) {
            let Some(Policy { name, key: KeyBy::Async(key), .. }) = rules.settings.policies.get(index) else {
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
            Keys(keys)
        }))
    }

    /// The policies that are for `request`, and who it is to each. Nothing is decided, taken or counted: this is for
    /// explaining rules, and for trying them on a log.
    #[must_use]
    pub fn met(&self, request: &RequestInfo<'_>, keys: &Keys) -> Vec<Met> {
        let rules = self.inner.rules.load();
        let request = rules.locate(request.clone());
        rules.met(&request, &keys.0)
    }

    /// A layer of this limiter.
    #[must_use]
    pub fn layer(&self) -> RateLimitLayer<C> {
        RateLimitLayer::from(self.clone())
    }

    /// The rules there are now.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.inner.rules.load().settings.clone()
    }

    /// How each policy is doing, with up to `top` of the keys that it refused most (128 are kept).
    #[must_use]
    pub fn policies(&self, top: usize) -> Vec<PolicyView> {
        self.inner.rules.load().views(&self.inner.engine, top)
    }

    /// How the table of keys is doing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.engine.limiter.stats()
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &C {
        self.inner.engine.limiter.clock()
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

/// What was decided by `rules`, for the caller.
pub(crate) fn outcome<C: Clock>(
    inner: &Arc<Inner<C>>,
    rules: Arc<Rules>,
    decided: Decided,
    is_grpc: bool,
) -> Outcome<C> {
    match decided {
        Decided::Admitted(admitted) => {
            let is_done = admitted.pending.is_empty() && admitted.at_gates.is_none();
            let inner = (!is_done).then(|| Arc::clone(inner));
            Outcome::Admitted(Admission { inner, rules, admitted })
        }
        Decided::Refused(stood) => Outcome::Refused(Refusal { rules, stood, is_grpc }),
    }
}

/// For gauges, which are floating-point: exact up to 2^53, nearest above.
#[allow(clippy::cast_precision_loss, reason = "a number for people")]
const fn as_f64(number: u64) -> f64 {
    number as f64
}

impl<C> Clone for RateLimiter<C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<C> fmt::Debug for RateLimiter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("settings", &self.inner.rules.load().settings).finish_non_exhaustive()
    }
}

/// What async key functions have answered for one request.
#[derive(Debug, Clone, Default)]
pub struct Keys(pub(crate) AskedKeys);

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
pub enum Outcome<C: Clock = ExactClock> {
    /// It may go.
    Admitted(Admission<C>),
    /// It may not.
    Refused(Refusal),
}

impl<C: Clock> Outcome<C> {
    /// Whether it may go.
    #[must_use]
    pub const fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted(_))
    }
}

/// A request that may go. Keep it until the response has been sent: it holds the request's places under bounds on
/// concurrency.
///
/// One that is dropped before it has been told the [response](Self::respond) is of a request that ended without any, see
/// [`Unanswered`](crate::Unanswered). If the request never went, [withdraw](Self::withdraw) it instead.
pub struct Admission<C: Clock = ExactClock> {
    /// For what the response decides, and for the turn in several queues; nothing if there is neither.
    inner: Option<Arc<Inner<C>>>,
    rules: Arc<Rules>,
    admitted: Admitted,
}

impl<C: Clock> Admission<C> {
    /// How long the request has to wait before it goes; zero but for leaky queues.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.admitted.wait
    }

    /// Asks whether the request goes once its [`wait`](Self::wait) is over. One that waits in several queues may have to
    /// wait a little longer, so that each of them keeps its pace: then it has to ask again. Nothing is taken by asking.
    ///
    /// # Errors
    ///
    /// How much longer.
    pub fn turn(&mut self) -> Result<(), Duration> {
        match &self.inner {
            Some(inner) => self.admitted.pass(&inner.engine, &self.rules),
            None => Ok(()),
        }
    }

    /// The policies that would have refused it, were they not in shadow mode.
    pub fn shadow_refusals(&self) -> impl Iterator<Item = &str> {
        let policies = self.admitted.shadow_refused.iter().filter_map(|index| self.rules.rules.get(*index));
        policies.map(|rule| rule.policy.name.as_str())
    }

    /// Where the client stands with the limit that is nearest to refusing it, if it met any.
    #[must_use]
    pub fn standing(&self) -> Option<Standing<'_>> {
        self.rules.standing(self.admitted.tightest.as_ref()?)
    }

    /// What the response decides: charges what is charged afterwards, refunds what is refunded, and writes the header
    /// fields that tell the client how it stands. Once for each request.
    pub fn respond(&mut self, status: StatusCode, headers: &mut HeaderMap) {
        self.settle(status);
        let answer = &self.rules.settings.answer;
        if let Some(standing) = self.standing() {
            answer.inform(headers, &standing, &self.rules.policies(&self.admitted.met));
        }
    }

    /// The part of [`respond`](Self::respond) that charges and refunds.
    pub fn settle(&mut self, status: StatusCode) {
        self.ended(Some(status));
    }

    /// The request did not go after all, so that no response decides anything. What was charged when it came stays so.
    pub fn withdraw(mut self) {
        self.admitted.pending.clear();
    }

    /// The request has ended with a response of this status, or without one.
    fn ended(&mut self, status: Option<StatusCode>) {
        let Some(inner) = &self.inner else { return };
        let limiter = &inner.engine.limiter;
        for pending in self.admitted.pending.drain(..) {
            let Some(rule) = self.rules.rules.get(pending.policy) else { continue };
            let Some(settlement) = rule.policy.settlement(status) else { continue };
            let limits = rule.tiers.get(pending.tier).map_or(&[][..], |tier| &tier.limits);
            for (index, limit) in limits.iter().enumerate() {
                let view = limiter.under(&limit.limit);
                match settlement {
                    Settlement::Refund => view.refund_of(&pending.key, pending.cost, pending.at),
                    Settlement::Charge => {
                        view.charge(&pending.key, pending.cost);
                    }
                }
                if let Some(stood) = self.admitted.tightest.as_mut().filter(|stood| stood.is(&pending, index)) {
                    stood.look_again(view.peek_n(&pending.key, pending.cost));
                }
            }
        }
    }

    /// The places under bounds on concurrency alone, to be held until the body has been sent.
    pub(crate) fn into_permits(mut self) -> Permits {
        std::mem::take(&mut self.admitted.permits)
    }
}

impl<C: Clock> Drop for Admission<C> {
    fn drop(&mut self) {
        self.ended(None);
    }
}

impl<C: Clock> fmt::Debug for Admission<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("wait", &self.admitted.wait).finish_non_exhaustive()
    }
}

/// A request that may not go.
pub struct Refusal {
    rules: Arc<Rules>,
    stood: Stood,
    is_grpc: bool,
}

impl Refusal {
    /// Where the client stands with the limit that refused it.
    #[must_use]
    pub fn standing(&self) -> Option<Standing<'_>> {
        self.rules.standing(&self.stood)
    }

    /// The policy that refused it.
    #[must_use]
    pub fn policy(&self) -> &str {
        self.rules.rules.get(self.stood.policy().0).map_or("", |rule| &rule.policy.name)
    }

    /// The answer, as the settings say.
    #[must_use]
    pub fn response(&self) -> Response<bytes::Bytes> {
        let policies = self.rules.policies(&[self.stood.policy()]);
        match self.standing() {
            Some(standing) => self.rules.settings.answer.refuse(&standing, &policies, self.is_grpc),
            // For want of a key, in a tier without limits: there are no figures to show.
            None => {
                let mut response = Response::new(bytes::Bytes::new());
                *response.status_mut() = self.rules.settings.answer.status();
                response
            }
        }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").field("policy", &self.policy()).field("report", self.stood.report()).finish()
    }
}
