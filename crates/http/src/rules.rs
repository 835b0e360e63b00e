//! Settings made ready: policies with limits of an engine, their counts, and which of them are for a request.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;
use http::HeaderValue;
use smallvec::SmallVec;
use tollgate::clock::Clock;
use tollgate::error::LimitError;
use tollgate::{KeyHash, Limit, LimitSet, Limiter, Quota};

use crate::address::Grouping;
use crate::counts::Counts;
use crate::dialect::Dialect;
use crate::error::PolicyError;
use crate::gate;
use crate::in_flight::InFlight;
use crate::key::{FoundKey, KeyBy, OnMissingKey};
use crate::label::Labeller;
use crate::policy::Policy;
use crate::request::RequestInfo;
use crate::settings::Settings;
use crate::standing::Unit;
use crate::top::TopRefused;
use crate::who::Who;

/// What stays when the rules change: the buckets, the counts, and whoever is in flight.
#[derive(Debug)]
pub(crate) struct Engine<C> {
    pub(crate) limiter: Limiter<C>,
    pub(crate) in_flight: Arc<InFlight>,
    /// For the identity of keys outside the limiter; of this process alone.
    pub(crate) hasher: RandomState,
    pub(crate) labeller: Labeller,
    /// The limits that were last in force, by their identities, also of policies that are there no more: what was used under
    /// them counts when they come back.
    pub(crate) known: Mutex<HashMap<String, Limit>>,
}

impl<C: Clock> Engine<C> {
    /// What is known under an identity becomes a limit of `quota`.
    fn limit(&self, identity: &str, quota: Quota) -> Result<Limit, LimitError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(identity).copied();
        match known {
            Some(old) => self.limiter.change_quota(&old, quota),
            None => self.limiter.prepare(identity, quota),
        }
    }

    /// These rules are in force: what they limit is what later ones change.
    pub(crate) fn remember(&self, rules: &Rules) {
        let limits = rules.rules.iter().flat_map(|rule| &rule.tiers).flat_map(|tier| &tier.limits);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for limit in limits {
            known.insert(limit.identity.clone(), limit.limit);
            if let Some(gate) = limit.gate {
                known.insert(gate_of(&limit.identity), gate);
            }
        }
    }
}

/// The identity of the gate of a queue.
fn gate_of(identity: &str) -> String {
    format!("{identity}\u{1f}gate")
}

/// The policies of one set of settings, ready for an [`Engine`].
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
    pub(crate) settings: Settings,
    /// Whether there are async key functions.
    pub(crate) asks: bool,
}

/// A policy, ready.
pub(crate) struct Rule {
    pub(crate) policy: Policy,
    /// The policy's own limits, then those of its tiers, in their order.
    pub(crate) tiers: Vec<Tier>,
    pub(crate) shared: Arc<Shared>,
}

/// What a policy keeps when the rules change.
pub(crate) struct Shared {
    pub(crate) counts: Counts,
    pub(crate) top: TopRefused<Who>,
}

/// The limits of one tier.
pub(crate) struct Tier {
    pub(crate) limits: Vec<NamedLimit>,
    /// As a quota, for answers: so many requests in flight.
    pub(crate) in_flight: Option<Quota>,
    /// What `RateLimit-Policy` says of them.
    pub(crate) items: HeaderValue,
}

/// A limit, and what it is called in header fields.
pub(crate) struct NamedLimit {
    pub(crate) name: String,
    /// What it is called in the engine, whatever its count is.
    identity: String,
    pub(crate) limit: Limit,
    /// Of a queue beside which a request may wait in others.
    pub(crate) gate: Option<Limit>,
}

/// A policy that is for a request, and what the request is to it.
pub(crate) struct Meeting<'r> {
    /// Of the policy.
    pub(crate) index: usize,
    pub(crate) rule: &'r Rule,
    pub(crate) tier: usize,
    pub(crate) key: FoundBy<'r>,
    pub(crate) hash: KeyHash,
    pub(crate) cost: u64,
}

/// How a key was found.
pub(crate) enum FoundBy<'r> {
    Spec(FoundKey<'r>),
    Function(String),
    /// There is none: all such requests share a bucket.
    Missing,
    /// By a simulator, once for all requests that are alike: its identity outside the limiter, and whether there is none.
    Known {
        id: u64,
        is_missing: bool,
    },
}

impl Meeting<'_> {
    pub(crate) fn limits(&self) -> &[NamedLimit] {
        self.rule.tiers.get(self.tier).map_or(&[], |tier| &tier.limits)
    }

    /// Whether it is one that the policy would refuse for want of a key, were it not a shadow.
    pub(crate) fn lacks_key(&self) -> bool {
        matches!(self.key, FoundBy::Missing | FoundBy::Known { is_missing: true, .. })
            && self.rule.policy.on_missing_key == OnMissingKey::Refuse
    }

    /// The key's identity outside the limiter.
    pub(crate) fn id<C>(&self, engine: &Engine<C>) -> u64 {
        let name = &self.rule.policy.name;
        let mut hasher = engine.hasher.build_hasher();
        let feed = |part: &[u8]| hasher.write(part);
        match &self.key {
            FoundBy::Spec(key) => tollgate::key::feed(&(name, 0_u8, key), feed),
            FoundBy::Function(key) => tollgate::key::feed(&(name, 1_u8, key), feed),
            FoundBy::Missing => tollgate::key::feed(&(name, 2_u8), feed),
            FoundBy::Known { id, .. } => return *id,
        }
        hasher.finish()
    }
}

/// The policies that are for one request.
pub(crate) type Meetings<'r> = SmallVec<[Meeting<'r>; 4]>;

/// What async key functions have answered: for each policy that has one, by its name, as the rules may change meanwhile.
pub(crate) type AskedKeys = Vec<(String, Option<String>)>;

impl Rules {
    /// Makes `settings` ready. Policies that `before` had under the same name keep their counts.
    pub(crate) fn new<C: Clock>(
        settings: Settings,
        engine: &Engine<C>,
        before: Option<&Self>,
    ) -> Result<Self, PolicyError> {
        settings.validate()?;
        let kept: HashMap<&str, &Rule> =
            before.iter().flat_map(|rules| &rules.rules).map(|rule| (rule.policy.name.as_str(), rule)).collect();
        let has_gates = gate::are_needed(&settings.policies);
        let ready = |policy: &Policy| {
            let tiers = policy.tiers.iter().flat_map(|tiers| &tiers.tiers);
            let tiers = tiers.map(|(name, quotas)| (Some(name.as_str()), quotas));
            let tiers = [(None, &policy.limits)].into_iter().chain(tiers);
            let shared = match kept.get(policy.name.as_str()) {
                Some(rule) => Arc::clone(&rule.shared),
                None => Arc::new(Shared { counts: Counts::new(&policy.name), top: TopRefused::new() }),
            };
            Ok(Rule {
                policy: policy.clone(),
                tiers: tiers
                    .map(|(tier, quotas)| Tier::new(policy, tier, quotas, has_gates, settings.answer.dialect(), engine))
                    .collect::<Result<_, PolicyError>>()?,
                shared,
            })
        };
        let rules = settings.policies.iter().map(ready).collect::<Result<_, PolicyError>>()?;
        let asks = settings.policies.iter().any(|policy| matches!(policy.key, KeyBy::Async(_)));
        Ok(Self { rules, settings, asks })
    }

    /// The limits whose keys begin anew under these rules, of policies that `before` had: of another period or algorithm than
    /// what it had, so that what was used there says nothing.
    pub(crate) fn begin_anew(&self, before: &Self) -> Vec<String> {
        let mut anew = Vec::new();
        for rule in &self.rules {
            let Some(old) = before.rules.iter().find(|old| old.policy.name == rule.policy.name) else { continue };
            let was = |limit: &NamedLimit| {
                old.tiers.iter().flat_map(|tier| &tier.limits).any(|old| old.identity == limit.identity)
            };
            let limits = rule.tiers.iter().flat_map(|tier| &tier.limits).filter(|limit| !was(limit));
            anew.extend(limits.map(|limit| format!("{}: {}", limit.name, limit.limit.quota())));
        }
        anew
    }

    /// `request`, with the client's address found.
    pub(crate) fn locate<'a>(&self, request: RequestInfo<'a>) -> RequestInfo<'a> {
        match request.peer() {
            Some(peer) => {
                let client = self.settings.client.client_ip(peer, request.headers());
                request.with_client(Some(client))
            }
            None => request,
        }
    }

    /// The indices of the policies that are for `request`: those with a route that fits, those that always hold, and
    /// the defaults unless one of the former takes their place.
    pub(crate) fn applicable(&self, request: &RequestInfo<'_>) -> SmallVec<[usize; 8]> {
        let mut found = SmallVec::<[usize; 8]>::new();
        let mut is_overridden = false;
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.policy.route.covers(request) {
                found.push(index);
                is_overridden |= rule.policy.overrides() && rule.policy.route.covers_surely(request);
            }
        }
        if is_overridden {
            found.retain(|index| !self.rules[*index].policy.is_default()); // an index of these rules
        }
        found
    }

    /// The policies that `request` meets, with its key in each. `Err` with one that refuses it for want of a key.
    pub(crate) fn meet<'r, C: Clock>(
        &'r self,
        engine: &Engine<C>,
        request: &'r RequestInfo<'r>,
        asked: &AskedKeys,
    ) -> Result<Meetings<'r>, Meeting<'r>> {
        let mut met = Meetings::new();
        for index in self.applicable(request) {
            let rule = &self.rules[index]; // an index of these rules
            let policy = &rule.policy;
            if policy.exempts(request) {
                rule.shared.counts.exempt.add();
                continue;
            }
            let key = rule.key(request, self.settings.grouping, asked);
            let hash = match &key {
                Some(FoundBy::Spec(key)) => engine.limiter.hash(&(0_u8, key)),
                Some(FoundBy::Function(key)) => engine.limiter.hash(&(1_u8, key)),
                Some(FoundBy::Missing | FoundBy::Known { .. }) | None => engine.limiter.hash(&2_u8),
            };
            let is_missing = key.is_none();
            let (tier, cost) = (rule.tier(request), policy.cost.of(request));
            let meeting = Meeting { index, rule, tier, key: key.unwrap_or(FoundBy::Missing), hash, cost };
            match policy.on_missing_key {
                OnMissingKey::Skip if is_missing => {}
                OnMissingKey::Refuse if is_missing && !policy.is_shadow => return Err(meeting),
                _ => met.push(meeting),
            }
        }
        Ok(met)
    }

    /// What `RateLimit-Policy` says of policies in their tiers.
    pub(crate) fn policies(&self, met: &[(usize, usize)]) -> HeaderValue {
        let tier = |(policy, tier): &(usize, usize)| self.rules.get(*policy)?.tiers.get(*tier);
        let mut items = met.iter().filter_map(tier).map(|tier| &tier.items).filter(|items| !items.is_empty());
        let Some(first) = items.next() else { return HeaderValue::from_static("") };
        let Some(second) = items.next() else { return first.clone() };
        let mut list = bytes::BytesMut::from(first.as_bytes());
        for items in [second].into_iter().chain(items) {
            list.extend_from_slice(b", ");
            list.extend_from_slice(items.as_bytes());
        }
        HeaderValue::from_maybe_shared(list.freeze()).unwrap_or(HeaderValue::from_static(""))
    }
}

impl Rule {
    /// The key of `request`, if it has one.
    pub(crate) fn key<'r>(
        &'r self,
        request: &'r RequestInfo<'r>,
        grouping: Grouping,
        asked: &AskedKeys,
    ) -> Option<FoundBy<'r>> {
        match &self.policy.key {
            KeyBy::Spec(spec) => spec.find(request, grouping).map(FoundBy::Spec),
            KeyBy::Function(key) => key(request).map(FoundBy::Function),
            KeyBy::Async(_) => {
                let answer = asked.iter().find(|(of, _)| *of == self.policy.name).and_then(|(_, key)| key.clone());
                answer.map(FoundBy::Function)
            }
        }
    }

    /// Which tier `request` is of; 0 stands for the policy's own limits.
    pub(crate) fn tier(&self, request: &RequestInfo<'_>) -> usize {
        let Some(tiers) = &self.policy.tiers else { return 0 };
        tiers
            .by
            .with(request, |wanted| {
                let wanted = wanted?;
                tiers.tiers.iter().position(|(name, _)| name == wanted).map(|index| index + 1)
            })
            .unwrap_or(0)
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
    ) -> Result<Self, PolicyError> {
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
            let unusable = |error| PolicyError::Quota { policy: policy.name.clone(), error };
            let limit = engine.limit(&identity, *quota).map_err(unusable)?;
            let gate = (has_gates && gate::makes_wait(policy) && gate::is_queue(quota))
                .then(|| engine.limit(&gate_of(&identity), gate::quota(quota)))
                .transpose()
                .map_err(unusable)?;
            items.push(dialect.policy_item(&name, quota, Unit::Requests));
            limits.push(NamedLimit { name, identity, limit, gate });
        }
        let in_flight = policy.concurrency.map(Quota::per_second);
        if let Some(quota) = &in_flight {
            items.push(dialect.policy_item(&policy.name, quota, Unit::ConcurrentRequests));
        }
        let items = HeaderValue::try_from(items.join(", "));
        let items = items.map_err(|_| PolicyError::Name { name: policy.name.clone() })?;
        Ok(Self { limits, in_flight, items })
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

/// Refuses policies of which one request could meet more limits than can be decided together.
///
/// The policies that one request meets all meet each other. So one that meets policies of no more than 32 limits is in no
/// crowd that is too large; without it, others may be in none either; and whoever is left may be.
pub(crate) fn check_counts(policies: &[Policy]) -> Result<(), PolicyError> {
    let mut left: Vec<&Policy> = policies.iter().collect();
    loop {
        let count = |policy: &Policy| {
            let beside = left.iter().filter(|other| other.route.meets(&policy.route));
            beside.map(|other| other.most_limits()).sum::<usize>()
        };
        let kept: Vec<&Policy> = left.iter().copied().filter(|policy| count(policy) > LimitSet::MAX).collect();
        if kept.len() == left.len() {
            let Some(first) = left.first() else { return Ok(()) };
            return Err(PolicyError::TooManyLimits { policy: first.name.clone(), count: count(first) });
        }
        left = kept;
    }
}
