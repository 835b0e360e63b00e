//! What two sets of rules make of the same log, request by request.

use std::collections::{BTreeMap, HashMap};

use super::super::record::Records;
use super::keys::{KeyTally, LimitedKey};
use super::matches::KeyId;
use super::run::Simulation;

/// The requests on which the two differ, and on which they agree.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    pub(crate) both: u64,
    pub(crate) only_here: u64,
    pub(crate) only_there: u64,
    /// For each policy of the first file, the requests that it refused and that the second file let pass.
    pub(crate) by_policy_here: BTreeMap<String, u64>,
    /// The other way round.
    pub(crate) by_policy_there: BTreeMap<String, u64>,
    /// The keys on which they differ, the greatest difference first.
    pub(crate) keys: Vec<KeyDifference>,
    /// Keys that only the first file limits.
    pub(crate) limited_only_here: u64,
    /// Keys that only the second one does.
    pub(crate) limited_only_there: u64,
}

/// How often a key was refused. It is the same key where it reads the same, whatever the policies are called.
#[derive(Debug)]
pub(crate) struct KeyDifference {
    pub(crate) key: String,
    pub(crate) counts: KeyRefusals,
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct KeyRefusals {
    /// By the first file.
    pub(crate) here: u64,
    /// By the second one.
    pub(crate) there: u64,
    /// By the first one alone.
    pub(crate) only_here: u64,
    /// By the second one alone.
    pub(crate) only_there: u64,
}

impl KeyRefusals {
    pub(crate) const fn is_limited_only_here(self) -> bool {
        self.there == 0 && self.here > 0
    }

    pub(crate) const fn is_limited_only_there(self) -> bool {
        self.here == 0 && self.there > 0
    }
}

/// One of two runs, with its names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'s> {
    pub(crate) simulation: &'s Simulation,
    pub(crate) keys: &'s KeyTally,
}

impl Difference {
    /// Between `here` and `there`, of the same `records`; both have kept their outcomes.
    pub(crate) fn new(here: Side<'_>, there: Side<'_>, records: &Records) -> Self {
        let mut difference = Self::default();
        let mut alone_here: HashMap<KeyId, u64> = HashMap::new();
        let mut alone_there: HashMap<KeyId, u64> = HashMap::new();
        let outcomes = here.simulation.outcomes.iter().zip(&there.simulation.outcomes);
        for (record, (a, b)) in records.iter().zip(outcomes) {
            let (a, b) = (a.get(), b.get());
            let (side, outcome, alone) = match (a.is_refused(), b.is_refused()) {
                (false, false) => continue,
                (true, true) => {
                    difference.both += 1;
                    continue;
                }
                (true, false) => {
                    difference.only_here += 1;
                    (here, a, &mut alone_here)
                }
                (false, true) => {
                    difference.only_there += 1;
                    (there, b, &mut alone_there)
                }
            };
            if let Some(key) = side.simulation.refused_key(record.request, outcome) {
                *alone.entry(key).or_default() += 1;
            }
        }
        let mut keys: BTreeMap<&str, KeyRefusals> = BTreeMap::new();
        for LimitedKey { key, name, .. } in &here.keys.limited {
            let alone = alone_here.get(key).copied().unwrap_or(0);
            let counts = keys.entry(&name.key).or_default();
            counts.here += here.keys.of(*key).refused;
            counts.only_here += alone;
            if alone > 0 {
                *difference.by_policy_here.entry(name.policy.clone()).or_default() += alone;
            }
        }
        for LimitedKey { key, name, .. } in &there.keys.limited {
            let alone = alone_there.get(key).copied().unwrap_or(0);
            let counts = keys.entry(&name.key).or_default();
            counts.there += there.keys.of(*key).refused;
            counts.only_there += alone;
            if alone > 0 {
                *difference.by_policy_there.entry(name.policy.clone()).or_default() += alone;
            }
        }
        difference.limited_only_here = count(&keys, KeyRefusals::is_limited_only_here);
        difference.limited_only_there = count(&keys, KeyRefusals::is_limited_only_there);
        let differs = |(_, counts): &(&str, KeyRefusals)| {
            counts.only_here + counts.only_there > 0 || counts.is_limited_only_here() || counts.is_limited_only_there()
        };
        difference.keys = keys
            .into_iter()
            .filter(differs)
            .map(|(key, counts)| KeyDifference { key: key.to_owned(), counts })
            .collect();
        // Stable: equal differences stay in the order of the keys.
        difference.keys.sort_by_key(|key| std::cmp::Reverse(key.counts.only_here + key.counts.only_there));
        difference
    }
}

fn count(keys: &BTreeMap<&str, KeyRefusals>, is_one: fn(KeyRefusals) -> bool) -> u64 {
    u64::try_from(keys.values().filter(|counts| is_one(**counts)).count()).unwrap_or(u64::MAX)
}
