//! Who each request is to each policy: found out once for all requests that are alike.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;

use ahash::RandomState;
use hashbrown::HashTable;
use tollgate::clock::ManualClock;
use tollgate::{Algorithm, Quota};
use tollgate_http::limiter::{AsyncKeys as AskedKeys, KnownMatch};
use tollgate_http::{LimiterConfig, RateLimiter};

use super::super::record::{Records, RequestId, Texts};
use super::fields::RequestFields;
use crate::values::failure::Failure;

/// Stands for a key of a policy, in one of its tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyId(NonZeroU32);

impl KeyId {
    pub(crate) fn index(self) -> usize {
        usize::try_from(self.0.get() - 1).unwrap_or(usize::MAX)
    }
}

/// What a key is: enough to find it again, and its name.
#[derive(Debug, Clone, Copy)]
struct Key {
    id: u64,
    policy: usize,
    tier: usize,
    /// One that has it.
    request: RequestId,
}

/// A policy that is for a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Match<'m> {
    pub(crate) matched: &'m KnownMatch,
    /// The request's key in it; nothing if the policy exempts the request.
    pub(crate) key: Option<KeyId>,
}

/// A key as people know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyName {
    /// With the tier, if the key is of one.
    pub(crate) policy: String,
    pub(crate) key: String,
}

/// The policies that are for each request, and the keys of all of them.
#[derive(Debug)]
pub(crate) struct Matches {
    /// For the rules alone: its table has no room for keys.
    rules: RateLimiter<ManualClock>,
    settings: LimiterConfig,
    all: Vec<KnownMatch>,
    /// Of each of them.
    keys_of: Vec<Option<KeyId>>,
    /// Where those of each request end, and those of the next one begin; nothing if each has one.
    ends: Option<Vec<usize>>,
    keys: Vec<Key>,
    /// Whether a key of the policy may have several parts.
    has_parts: Vec<bool>,
}

impl Matches {
    /// Of the requests that `fields` kept as `texts`, under the rules of `rules`.
    pub(crate) fn new(rules: RateLimiter<ManualClock>, fields: &RequestFields, texts: &Texts) -> Result<Self, Failure> {
        let simulator = rules.simulator();
        let settings = rules.config();
        let mut all = Vec::with_capacity(texts.len());
        let mut keys_of = Vec::with_capacity(texts.len());
        let mut ends = Vec::with_capacity(texts.len());
        let mut keys: Vec<Key> = Vec::new();
        let mut ids: HashTable<KeyId> = HashTable::new();
        let hasher = RandomState::new();
        for (request, text) in texts.iter() {
            let logged = fields.request(text);
            for matched in simulator.matches(&logged.info(), &AskedKeys::default()) {
                let key = Key { id: matched.id(), policy: matched.policy(), tier: matched.tier(), request };
                let same = |of: &Key| (of.id, of.policy, of.tier) == (key.id, key.policy, key.tier);
                let hash = |of: &Key| hasher.hash_one((of.id, of.tier));
                let id = if matched.is_exempt() {
                    None
                } else if let Some(id) = ids.find(hash(&key), |id| same(&keys[id.index()])) {
                    Some(*id)
                } else {
                    let number = u32::try_from(keys.len() + 1).ok().and_then(NonZeroU32::new);
                    let too_many = || Failure::Other("the log has more than 4,294,967,295 keys".to_owned());
                    let id = KeyId(number.ok_or_else(too_many)?);
                    keys.push(key);
                    ids.insert_unique(hash(&key), id, |id| hash(&keys[id.index()]));
                    Some(id)
                };
                all.push(matched);
                keys_of.push(id);
            }
            ends.push(all.len());
        }
        all.shrink_to_fit();
        keys_of.shrink_to_fit();
        let has_each_one = ends.iter().zip(1..).all(|(end, number)| *end == number);
        let ends = (!has_each_one).then_some(ends);
        let has_parts = rules.policies(0).iter().map(|policy| policy.key.contains('+')).collect();
        Ok(Self { rules, settings, all, keys_of, ends, keys, has_parts })
    }

    fn range(&self, request: RequestId) -> Range<usize> {
        let index = request.index();
        let Some(ends) = &self.ends else { return index..index + 1 };
        let start = index.checked_sub(1).map_or(0, |before| ends[before]);
        start..ends[index]
    }

    /// Of a request, for the limiter.
    pub(crate) fn matched(&self, request: RequestId) -> &[KnownMatch] {
        &self.all[self.range(request)]
    }

    /// Of a request, with its keys.
    pub(crate) fn of(&self, request: RequestId) -> impl Iterator<Item = Match<'_>> {
        let range = self.range(request);
        self.all[range.clone()].iter().zip(&self.keys_of[range]).map(|(matched, &key)| Match { matched, key })
    }

    /// The key of a request in one policy.
    pub(crate) fn key_in(&self, request: RequestId, policy: usize) -> Option<KeyId> {
        self.of(request).find(|found| found.matched.policy() == policy)?.key
    }

    /// How many keys there are.
    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// What people call a key that [`fields`](super::fields) has kept in `texts`.
    pub(crate) fn name(&self, id: KeyId, fields: &RequestFields, texts: &Texts) -> KeyName {
        let Key { policy, request, .. } = self.keys[id.index()];
        let logged = fields.request(texts.text(request));
        let met = self.rules.matching(&logged.info(), &AskedKeys::default());
        let met = met.into_iter().find(|met| met.policy == policy);
        let (tier, key) = met.map_or((None, None), |met| (met.tier, met.key));
        let has_parts = self.has_parts.get(policy).is_some_and(|has_parts| *has_parts);
        let policy = self.settings.policies().get(policy).map_or("", |policy| policy.name());
        KeyName {
            policy: tier.map_or_else(|| policy.to_owned(), |tier| format!("{policy}/{tier}")),
            key: key.map_or_else(|| "(none)".to_owned(), |parts| joined(&parts, has_parts)),
        }
    }

    /// How many buckets can be busy at once, so that none is ever evicted for want of room.
    ///
    /// A bucket per limit and key; a sliding log takes one for each unit that it remembers, and a queue up to two.
    pub(crate) fn buckets(&self, records: &Records) -> usize {
        let simulator = self.rules.simulator();
        let mut limits: HashMap<(usize, usize), Vec<Quota>> = HashMap::new();
        for &Key { policy, tier, .. } in &self.keys {
            limits.entry((policy, tier)).or_insert_with(|| simulator.limits(policy, tier));
        }
        let limits_of = |key: &Key| limits.get(&(key.policy, key.tier)).map_or(&[][..], Vec::as_slice);
        let is_log = |quota: &Quota| quota.algorithm() == Algorithm::SlidingLog;
        let mut units = Vec::new();
        if limits.values().flatten().any(is_log) {
            units.resize(self.keys.len(), 0_u64);
            for record in records.iter() {
                for found in self.of(record.request) {
                    if let Some(key) = found.key {
                        units[key.index()] = units[key.index()].saturating_add(found.matched.cost());
                    }
                }
            }
        }
        let buckets_of = |(index, key): (usize, &Key)| -> u64 {
            let of_limit = |quota: &Quota| match quota.algorithm() {
                Algorithm::SlidingLog => units.get(index).map_or(quota.count(), |units| *units.min(&quota.count())),
                // A line, and a gate beside those of other queues.
                Algorithm::LeakyQueue => 2,
                _ => 1,
            };
            limits_of(key).iter().map(of_limit).fold(0, u64::saturating_add)
        };
        let total = self.keys.iter().enumerate().map(buckets_of).fold(0, u64::saturating_add);
        usize::try_from(total).unwrap_or(usize::MAX).max(1)
    }
}

/// The parts of a key with blanks between. Where there may be several, one that has a blank or quotes itself, or is empty, is in quotes: so no
/// two keys of a policy read the same.
fn joined<S: AsRef<str>>(parts: &[S], may_be_several: bool) -> String {
    let told = |part: &S| {
        let part = part.as_ref();
        if may_be_several && (part.is_empty() || part.contains([' ', '"'])) {
            format!("\"{}\"", part.replace('\\', "\\\\").replace('"', "\\\""))
        } else {
            part.to_owned()
        }
    };
    parts.iter().map(told).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn parts_of_a_key_stay_apart() {
        assert_eq!(joined(&["192.0.2.1", "/a"], true), "192.0.2.1 /a");
        assert_eq!(joined(&["a b"], false), "a b");
        let parts = ["a", "b", "a b", "\"a", "b\"", "", "\\", "\\\"", "a\\\" b"];
        let mut seen = std::collections::HashSet::new();
        let mut tell = |parts: &[&str]| {
            let name = joined(parts, true);
            assert!(seen.insert(name.clone()), "{parts:?} reads as another: {name}");
        };
        for one in parts {
            tell(&[one]);
            for two in parts {
                tell(&[one, two]);
                parts.iter().for_each(|three| tell(&[one, two, three]));
            }
        }
    }
}
