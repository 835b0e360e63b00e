//! A configuration made ready: policies with limits of an engine, and their counts.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderValue;
use tollgate::clock::Clock;
use tollgate::{Limit, LimitSet, Quota};

use crate::answer::field_texts::SharedTexts;
use crate::answer::{Dialect, QuotaUnit};
#[cfg(feature = "redis")]
use crate::config::on_fleet::{OnFleet, fleet_name};
use crate::config::{Charge, Cost, LimiterConfig, Policy};
use crate::decision::by_client::ByClient;
use crate::decision::candidates::Candidates;
use crate::decision::engine::Engine;
use crate::decision::gate;
use crate::error::ConfigError;
use crate::identity::key_by::KeyBy;
use crate::per_thread::PerThread;
use crate::request::Route;
use crate::stats::{Counts, TopEntry, TopRefused, UseSketch};

/// The identity of the gate of a queue.
fn gate_of(identity: &str) -> String {
    format!("{identity}\u{1f}gate")
}

/// The policies of one configuration, ready for an [`Engine`].
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
    pub(crate) config: LimiterConfig,
    /// Whether there are async key functions.
    pub(crate) asks: bool,
    /// Whether there is a key of which the client's address is a part.
    pub(crate) needs_client: bool,
    /// Whether all are for the straight path (`straight.rs`).
    pub(crate) is_straight: bool,
    pub(crate) candidates: Candidates,
    /// What is decided about a request that none but the policies for every request are for, if that is by its client alone.
    by_client: Option<ByClient>,
}

/// A policy, ready.
pub(crate) struct Rule {
    pub(crate) policy: Policy,
    /// The policy's own limits, then those of its tiers, in their order.
    pub(crate) tiers: Vec<Tier>,
    pub(crate) stats: Arc<RuleStats>,
    /// Refusals by path.
    pub(crate) paths: Vec<(String, Arc<PathCount>)>,
}

/// What a policy keeps when the rules change.
pub(crate) struct RuleStats {
    pub(crate) counts: Counts,
    pub(crate) top: TopRefused<TopEntry>,
    pub(crate) used: UseSketch<TopEntry>,
    /// Who decided, of a policy on a fleet.
    #[cfg(feature = "redis")]
    pub(crate) places: crate::stats::Places,
    /// Refusals by the paths that the policy has named, also those of earlier rules.
    by_path: Mutex<HashMap<String, Arc<PathCount>>>,
}

/// A count of a path, by thread.
pub(crate) type PathCount = PerThread<AtomicU64>;

impl RuleStats {
    fn new(policy: &str) -> Self {
        Self {
            counts: Counts::new(policy),
            top: TopRefused::new(),
            used: UseSketch::new(),
            #[cfg(feature = "redis")]
            places: crate::stats::Places::new(),
            by_path: Mutex::default(),
        }
    }

    /// The counts of the paths of `route`, in their order; of one that names none, that of all.
    fn paths(&self, route: &Route) -> Vec<(String, Arc<PathCount>)> {
        let mut names: Vec<String> = route.path_names().collect();
        if names.is_empty() {
            names.push("*".to_owned());
        }
        let mut known = self.by_path.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of = |name: String| {
            let count = known.entry(name.clone()).or_insert_with(|| Arc::new(PerThread::new(AtomicU64::default)));
            (name, Arc::clone(count))
        };
        names.into_iter().map(&mut of).collect()
    }
}

/// A limit to which nothing is carried over, because its period or algorithm is another than before, or in a shared table its
/// quota. Displays as its name
/// and its rate: `default: 1 per 1 hour`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestartedLimit {
    /// The name of its policy.
    pub policy: String,
    /// Its own name, as in `RateLimit-Policy`.
    pub name: String,
    /// What it allows now.
    pub quota: Quota,
}

impl fmt::Display for RestartedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.quota)
    }
}

/// The limits of one tier.
pub(crate) struct Tier {
    pub(crate) limits: Vec<NamedLimit>,
    /// As a quota, for answers: so many requests in flight.
    pub(crate) in_flight: Option<Quota>,
    /// What `RateLimit-Policy` says of them.
    pub(crate) items: SharedTexts,
}

/// A limit, and what it is called in header fields.
pub(crate) struct NamedLimit {
    pub(crate) name: String,
    /// What it is called in the engine, whatever its count is.
    identity: String,
    /// What each response begins with that tells its figures.
    pub(crate) item_start: String,
    pub(crate) limit: Limit,
    /// Of a queue beside which a request may wait in others.
    pub(crate) gate: Option<Limit>,
    /// What it is on the fleet, if its counts are there; the limit here is not asked then.
    #[cfg(feature = "redis")]
    pub(crate) fleet: Option<tollgate_redis::FleetLimit>,
}

impl Rules {
    /// Makes `config` ready. Policies that `before` had under the same name keep their counts.
    pub(crate) fn new<C: Clock>(
        config: LimiterConfig,
        engine: &Engine<C>,
        before: Option<&Self>,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let kept: HashMap<&str, &Rule> =
            before.iter().flat_map(|rules| &rules.rules).map(|rule| (rule.policy.name.as_str(), rule)).collect();
        #[cfg(feature = "redis")]
        let fleet = config.fleet.as_ref();
        let has_gates = gate::are_needed(&config.policies);
        let ready = |policy: &Policy| {
            let tiers = policy.tiers.iter().flat_map(|tiers| &tiers.tiers);
            let tiers = tiers.map(|(name, quotas)| (Some(name.as_str()), quotas));
            let tiers = [(None, &policy.limits)].into_iter().chain(tiers);
            let stats = match kept.get(policy.name.as_str()) {
                Some(rule) => Arc::clone(&rule.stats),
                None => Arc::new(RuleStats::new(&policy.name)),
            };
            Ok(Rule {
                paths: stats.paths(&policy.route),
                policy: policy.clone(),
                tiers: tiers
                    .map(|(tier, quotas)| {
                        let ready = Tier::new(policy, tier, quotas, has_gates, config.answer.dialect(), engine);
                        #[cfg(feature = "redis")]
                        let ready = ready.and_then(|ready| ready.on_fleet(policy, tier, fleet));
                        ready
                    })
                    .collect::<Result<_, ConfigError>>()?,
                stats,
            })
        };
        let rules = config.policies.iter().map(ready).collect::<Result<Vec<Rule>, ConfigError>>()?;
        let asks = config.policies.iter().any(|policy| matches!(policy.key, KeyBy::Async(_)));
        let by_client = |policy: &Policy| matches!(&policy.key, KeyBy::Spec(spec) if spec.needs_client());
        let needs_client = config.policies.iter().any(by_client);
        // A log asks how each client stands, which the straight path does not keep.
        let is_straight = !config.tells_standing && rules.iter().all(Rule::is_straight);
        let candidates = Candidates::new(&config.policies);
        let mut rules = Self { rules, config, asks, needs_client, is_straight, candidates, by_client: None };
        if !rules.config.tells_standing {
            rules.by_client = rules.common_by_client();
        }
        Ok(rules)
    }

    /// The policies for every path, if each of them is for every request, by client address, and charges it the same when it comes.
    fn common_by_client(&self) -> Option<ByClient> {
        let policies = self.candidates.common.clone();
        let (mut limits, mut of, mut costs): (Vec<Limit>, _, Vec<u64>) = (Vec::new(), Vec::new(), Vec::new());
        for &index in &policies {
            let (named, cost) = self.rules.get(index)?.by_client()?;
            limits.extend(named.iter().map(|limit| limit.limit));
            of.extend((0..named.len()).map(|limit| (index, limit)));
            costs.push(cost);
        }
        let (cost, others) = costs.split_first()?;
        let is_one_cost = others.iter().all(|other| other == cost);
        let set = LimitSet::new(limits).ok().filter(|_| is_one_cost)?;
        let tiers: Vec<(usize, usize)> = policies.iter().map(|&policy| (policy, 0)).collect();
        let items = self.policy_items(&tiers);
        let text_of = |&(policy, limit): &(usize, usize)| {
            let limit = self.rules.get(policy)?.tiers.first()?.limits.get(limit)?;
            Some(SharedTexts::new(&items, &limit.item_start))
        };
        let texts = of.iter().map(text_of).collect::<Option<_>>()?;
        Some(ByClient { set, cost: *cost, policies, of, texts })
    }

    /// How to decide about a request for `path`, if that is by its client alone.
    #[inline]
    pub(crate) fn by_client<'p>(&self, path: impl FnOnce() -> &'p str) -> Option<&ByClient> {
        let by_client = self.by_client.as_ref()?;
        (self.candidates.are_common() || self.candidates.has_common_only(path())).then_some(by_client)
    }

    /// All limits by their identities, gates too.
    pub(crate) fn identities(&self) -> impl Iterator<Item = (String, Limit)> {
        let limits = self.rules.iter().flat_map(|rule| &rule.tiers).flat_map(|tier| &tier.limits);
        limits.flat_map(|limit| {
            let gate = limit.gate.map(|gate| (gate_of(&limit.identity), gate));
            [(limit.identity.clone(), limit.limit)].into_iter().chain(gate)
        })
    }

    /// The limits whose keys start over under these rules, of policies that `before` had: of another period or algorithm than
    /// what it had, so that what was used there says nothing. Where the table is shared, of another quota.
    pub(crate) fn restarted(&self, before: &Self, is_shared: bool) -> Vec<RestartedLimit> {
        let mut restarted = Vec::new();
        for rule in &self.rules {
            let Some(old) = before.rules.iter().find(|old| old.policy.name == rule.policy.name) else { continue };
            let was = |limit: &NamedLimit| {
                let is_it = |old: &NamedLimit| {
                    let is_same = !is_shared || old.limit.quota() == limit.limit.quota();
                    old.identity == limit.identity && is_same
                };
                old.tiers.iter().flat_map(|tier| &tier.limits).any(is_it)
            };
            let limits = rule.tiers.iter().flat_map(|tier| &tier.limits).filter(|limit| !was(limit));
            restarted.extend(limits.map(|limit| RestartedLimit {
                policy: rule.policy.name.clone(),
                name: limit.name.clone(),
                quota: *limit.limit.quota(),
            }));
        }
        restarted
    }
}

impl Rule {
    /// Whether all that the policy does is done when a request comes, so that it is for the straight path.
    fn is_straight(&self) -> bool {
        let Policy { charge, concurrency, is_shadow, key, .. } = &self.policy;
        if self.policy.is_on_fleet() {
            return false;
        }
        let has_queue =
            self.tiers.iter().flat_map(|tier| &tier.limits).any(|limit| gate::is_queue(limit.limit.quota()));
        let is_asked = matches!(key, KeyBy::Async(_));
        *charge == Charge::OnRequest && concurrency.is_none() && !is_shadow && !has_queue && !is_asked
    }

    /// The limits of this policy and the cost of a request, if that is all about it, and for each client address.
    fn by_client(&self) -> Option<(&[NamedLimit], u64)> {
        let Policy { key: KeyBy::Spec(key), cost: Cost::Constant(cost), tiers: None, route, .. } = &self.policy else {
            return None;
        };
        let [Tier { limits, .. }] = &self.tiers[..] else { return None };
        let is_all = key.is_client() && route.is_any() && !self.policy.has_exemptions();
        (is_all && self.is_straight()).then_some((limits, *cost))
    }
}

impl Tier {
    fn new<C: Clock>(
        policy: &Policy,
        tier: Option<&str>,
        quotas: &[Quota],
        has_gates: bool,
        dialect: Dialect,
        engine: &Engine<C>,
    ) -> Result<Self, ConfigError> {
        let mut limits: Vec<NamedLimit> = Vec::with_capacity(quotas.len());
        let mut items = Vec::new();
        for quota in quotas {
            // Buckets belong to the policy, to the tier, and to how they count: a count that changes keeps them, as does a
            // limit that gets company; a window of another length does not. No name holds a separator.
            let (period, algorithm) = (quota.period(), quota.algorithm());
            let alike = limits.iter().filter(|limit: &&NamedLimit| limit.limit.quota().period() == period).count();
            let name = limit_name(policy, tier, quotas.len(), quota, alike);
            let identity = format!(
                "{}\u{1f}{}\u{1f}{}\u{1f}{algorithm}\u{1f}{alike}",
                policy.name,
                tier.unwrap_or_default(),
                period.as_nanos()
            );
            let unusable = |error| ConfigError::Quota { policy: policy.name.clone(), error };
            let limit = engine.limit(&identity, *quota).map_err(unusable)?;
            let gate = (has_gates && gate::makes_wait(policy) && gate::is_queue(quota))
                .then(|| engine.limit(&gate_of(&identity), gate::quota(quota)))
                .transpose()
                .map_err(unusable)?;
            items.push(dialect.policy_item(&name, quota, QuotaUnit::Requests));
            let item_start = Dialect::item_start(&name);
            limits.push(NamedLimit {
                name,
                identity,
                item_start,
                limit,
                gate,
                #[cfg(feature = "redis")]
                fleet: None,
            });
        }
        let in_flight = policy.concurrency.map(Quota::per_second);
        if let Some(quota) = &in_flight {
            items.push(dialect.policy_item(&policy.name, quota, QuotaUnit::ConcurrentRequests));
        }
        let items = HeaderValue::try_from(items.join(", "));
        let items = items.map_err(|_| ConfigError::Name { name: policy.name.clone() })?;
        Ok(Self { limits, in_flight, items: SharedTexts::new(&items, "") })
    }
}

#[cfg(feature = "redis")]
impl Tier {
    /// With its limits on the fleet, if the policy is there.
    fn on_fleet(
        mut self,
        policy: &Policy,
        tier: Option<&str>,
        fleet: Option<&tollgate_redis::Fleet>,
    ) -> Result<Self, ConfigError> {
        let Some(OnFleet { on_outage, is_leased }) = policy.fleet else { return Ok(self) };
        let cannot = |why: String| ConfigError::NotOnFleet { policy: policy.name.clone(), why };
        let fleet = fleet.ok_or_else(|| cannot("no servers are configured".to_owned()))?;
        for index in 0..self.limits.len() {
            let quota = *self.limits[index].limit.quota();
            let is_alike = |limit: &&NamedLimit| {
                let other = limit.limit.quota();
                (other.period(), other.algorithm()) == (quota.period(), quota.algorithm())
            };
            let alike = self.limits[..index].iter().filter(is_alike).count();
            let limit = fleet.limit_with(&fleet_name(&policy.name, tier, alike), quota, on_outage);
            let limit = limit.map_err(|error| cannot(error.to_string()))?;
            self.limits[index].fleet = Some(if is_leased { limit.leased() } else { limit });
        }
        Ok(self)
    }
}

/// What a limit is called: as its policy, with the tier, and the period where there are several. Of those over one
/// period, `alike` of which come before it, the second is `name-2`.
fn limit_name(policy: &Policy, tier: Option<&str>, limits: usize, quota: &Quota, alike: usize) -> String {
    let mut name = policy.name.clone();
    if let Some(tier) = tier {
        name.push_str(&format!("/{tier}"));
    }
    if limits > 1 || policy.concurrency.is_some() {
        name.push_str(&format!("/{}", period_name(quota)));
    }
    if alike == 0 { name } else { format!("{name}-{}", alike + 1) }
}

/// `hour`, `5min`, `90s`, `250ms`.
fn period_name(quota: &Quota) -> String {
    let nanos = quota.period().as_nanos();
    let units: [(u128, &str, &str); 6] = [
        (86_400_000_000_000, "day", "d"),
        (3_600_000_000_000, "hour", "h"),
        (60_000_000_000, "minute", "min"),
        (1_000_000_000, "second", "s"),
        (1_000_000, "millisecond", "ms"),
        (1, "nanosecond", "ns"),
    ];
    let whole = units.into_iter().find(|(unit, ..)| nanos.is_multiple_of(*unit));
    let (unit, one, many) = whole.unwrap_or((1, "nanosecond", "ns"));
    let count = nanos / unit;
    if count == 1 { one.to_owned() } else { format!("{count}{many}") }
}
