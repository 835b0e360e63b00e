//! Which policies are for a request, and its key, tier and cost in each.

use std::hash::{BuildHasher as _, Hasher as _};

use smallvec::SmallVec;
use tollgate::KeyHash;
use tollgate::clock::Clock;

use crate::config::Policy;
use crate::decision::compile::{NamedLimit, Rule, Rules};
use crate::decision::engine::Engine;
use crate::identity::Grouping;
use crate::identity::OnMissingKey;
use crate::identity::key::FoundKey;
use crate::identity::key_by::{KeyBy, KeyBytes, KeySlot};
use crate::request::{RequestInfo, RequestView};
use crate::stats::Counted;

/// A policy that matches a request, with what it makes of the request: its tier, key and cost in full.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PolicyMatch {
    /// The index of the policy in [`LimiterConfig::policies`](crate::LimiterConfig::policies).
    pub policy: usize,
    /// Whether the policy exempts it.
    pub is_exempt: bool,
    /// The tier, if the request is in one.
    pub tier: Option<String>,
    /// The parts of its key in full, for the operator only: it may hold secrets. `None` if the request has none.
    pub key: Option<Vec<String>>,
    /// What it costs.
    pub cost: u64,
}

/// A policy that matches a request, with the request's tier, key and cost in it. It borrows from both; [`PolicyMatch`] is
/// what callers are shown of it.
pub(crate) struct MatchedPolicy<'r> {
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
    Function(KeyBytes),
    /// There is none: all such requests share a bucket.
    Missing,
    /// By a simulator, once for all requests that are alike: its identity outside the limiter, and whether there is none.
    Known {
        id: u64,
        is_missing: bool,
    },
}

impl<'r> MatchedPolicy<'r> {
    pub(crate) fn limits(&self) -> &'r [NamedLimit] {
        self.rule.tiers.get(self.tier).map_or(&[], |tier| &tier.limits)
    }

    /// Whether it is one that the policy would refuse for lack of a key, were it not a shadow.
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

/// What the engine knows a key by.
#[inline]
pub(crate) fn hash_of<C: Clock>(engine: &Engine<C>, key: &FoundBy<'_>) -> KeyHash {
    match key {
        FoundBy::Spec(key) => engine.limiter.hash(&(0_u8, key)),
        FoundBy::Function(key) => engine.limiter.hash(&(1_u8, key)),
        FoundBy::Missing | FoundBy::Known { .. } => engine.limiter.hash(&2_u8),
    }
}

/// The policies that are for one request.
pub(crate) type MatchedPolicies<'r> = SmallVec<[MatchedPolicy<'r>; 4]>;

/// What async key functions have answered for one request: for each policy that has one, by its name, as the rules may change
/// meanwhile.
#[derive(Debug, Clone, Default)]
pub struct AsyncKeys(pub(crate) Vec<(String, Option<KeyBytes>)>);

impl Rules {
    /// `request`, with the client's address found.
    pub(crate) fn locate<'a>(&self, request: &'a dyn RequestView) -> RequestInfo<'a> {
        let mut info = RequestInfo::new(request);
        info.set_ignores_path_case(self.config.ignores_path_case);
        if let Some(peer) = info.peer() {
            info.set_client(self.config.client.client_ip(peer, info.view()));
        }
        info
    }

    /// The indices of the policies that are for `request`: those with a route that fits, those that always hold, and
    /// the defaults unless one of the former takes their place.
    pub(crate) fn applicable(&self, request: &RequestInfo<'_>) -> SmallVec<[usize; 8]> {
        let mut found = SmallVec::<[usize; 8]>::new();
        let mut is_overridden = false;
        let mut ask = |index: usize| {
            let Policy { route, .. } = &self.rules[index].policy; // an index of these rules
            if route.covers(request) {
                found.push(index);
                is_overridden |= self.rules[index].policy.overrides() && route.covers_surely(request);
            }
        };
        match request.paths().only() {
            Some(path) => self.candidates.in_order(path).for_each(&mut ask),
            None => (0..self.rules.len()).for_each(&mut ask),
        }
        if is_overridden {
            found.retain(|index| !self.rules[*index].policy.is_default()); // an index of these rules
        }
        found
    }

    /// Adds the policies that are for `request`, with its key in each. `Err` with one that refuses it for lack of a key.
    // Into a list of the caller's: it is large, and moving it would cost as much as a check.
    pub(crate) fn matching<'r, C: Clock>(
        &'r self,
        engine: &Engine<C>,
        request: &'r RequestInfo<'r>,
        asked: &AsyncKeys,
        matched: &mut MatchedPolicies<'r>,
    ) -> Result<(), MatchedPolicy<'r>> {
        for index in self.applicable(request) {
            let rule = &self.rules[index]; // an index of these rules
            if rule.policy.exempts(request) {
                rule.stats.counts.add(Counted::Exempt);
                continue;
            }
            let key = rule.key(request, self.config.grouping, asked);
            let is_missing = key.is_none();
            let hash = hash_of(engine, key.as_ref().unwrap_or(&FoundBy::Missing));
            let (tier, cost) = (rule.tier(request), rule.policy.cost.of(request));
            let policy = MatchedPolicy { index, rule, tier, key: key.unwrap_or(FoundBy::Missing), hash, cost };
            match rule.policy.on_missing_key {
                OnMissingKey::Skip if is_missing => {}
                OnMissingKey::Refuse if is_missing && !rule.policy.is_shadow => return Err(policy),
                _ => matched.push(policy),
            }
        }
        Ok(())
    }

    /// The policies that are for `request`, whose client has been [found](Self::locate); not those that do not apply
    /// for lack of a key.
    pub(crate) fn policy_matches(&self, request: &RequestInfo<'_>, asked: &AsyncKeys) -> Vec<PolicyMatch> {
        let mut matches = Vec::new();
        for policy in self.applicable(request) {
            let Some(rule) = self.rules.get(policy) else { continue };
            let key = rule.key(request, self.config.grouping, asked).and_then(|key| match key {
                FoundBy::Spec(key) => Some(key.texts()),
                FoundBy::Function(key) => Some(vec![key.text()]),
                FoundBy::Missing | FoundBy::Known { .. } => None,
            });
            let is_exempt = rule.policy.exempts(request);
            if key.is_none() && !is_exempt && rule.policy.on_missing_key == OnMissingKey::Skip {
                continue;
            }
            let tiers = rule.policy.tiers.as_ref().map_or(&[][..], |tiers| &tiers.tiers);
            let tier = rule.tier(request).checked_sub(1).and_then(|index| tiers.get(index));
            let tier = tier.map(|(name, _)| name.clone());
            matches.push(PolicyMatch { policy, is_exempt, tier, key, cost: rule.policy.cost.of(request) });
        }
        matches
    }
}

impl Rule {
    /// The key of `request`, if it has one.
    pub(crate) fn key<'r>(
        &'r self,
        request: &'r RequestInfo<'r>,
        grouping: Grouping,
        asked: &AsyncKeys,
    ) -> Option<FoundBy<'r>> {
        match &self.policy.key {
            KeyBy::Spec(spec) => spec.find(request, grouping).map(FoundBy::Spec),
            KeyBy::Function(key) => {
                let mut slot = KeySlot::default();
                key(request, &mut slot);
                slot.take().map(FoundBy::Function)
            }
            KeyBy::Async(_) => {
                let answer = asked.0.iter().find(|(of, _)| *of == self.policy.name).and_then(|(_, key)| key.clone());
                answer.map(FoundBy::Function)
            }
        }
    }

    /// Which tier `request` is of; 0 stands for the policy's own limits.
    pub(crate) fn tier(&self, request: &RequestInfo<'_>) -> usize {
        let Some(tiers) = &self.policy.tiers else { return 0 };
        // Of as many tiers as there are names in memory.
        tiers.by.find(request, &tiers.tiers).map_or(0, |index| index.saturating_add(1))
    }
}
