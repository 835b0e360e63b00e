//! What two config files make of the same log, request by request.

use std::collections::BTreeMap;

use super::super::record::Outcome;
use super::meetings::policy_and_key;
use super::play::Played;

/// The requests on which the two differ, and on which they agree.
#[derive(Debug, Default)]
pub(super) struct Difference {
    pub(super) both: u64,
    pub(super) only_here: u64,
    pub(super) only_there: u64,
    /// For each policy of the first file, the requests that it refused and that the second file let pass.
    pub(super) by_policy_here: BTreeMap<String, u64>,
    /// The other way round.
    pub(super) by_policy_there: BTreeMap<String, u64>,
    /// The keys on which they differ, the greatest difference first.
    pub(super) keys: Vec<KeyDifference>,
    /// Keys that only the first file limits.
    pub(super) limited_only_here: u64,
    /// Keys that only the second one does.
    pub(super) limited_only_there: u64,
}

/// How often a key was refused. It is the same key where it reads the same, whatever the policies are called.
#[derive(Debug)]
pub(super) struct KeyDifference {
    pub(super) key: String,
    pub(super) counts: KeyRefusals,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct KeyRefusals {
    /// By the first file.
    pub(super) here: u64,
    /// By the second one.
    pub(super) there: u64,
    /// By the first one alone.
    pub(super) only_here: u64,
    /// By the second one alone.
    pub(super) only_there: u64,
}

impl KeyRefusals {
    pub(super) const fn is_limited_only_here(self) -> bool {
        self.there == 0 && self.here > 0
    }

    pub(super) const fn is_limited_only_there(self) -> bool {
        self.here == 0 && self.there > 0
    }
}

impl Difference {
    /// Between `here` and `there`, played on the same log.
    pub(super) fn new(here: &Played, there: &Played) -> Self {
        let mut difference = Self::default();
        let mut keys: BTreeMap<String, KeyRefusals> = BTreeMap::new();
        for (a, b) in here.records.iter().zip(&there.records) {
            let is_refused = |outcome| matches!(outcome, Outcome::Refused(_));
            let (is_here, is_there) = (is_refused(a.outcome), is_refused(b.outcome));
            difference.both += u64::from(is_here && is_there);
            difference.only_here += u64::from(is_here && !is_there);
            difference.only_there += u64::from(is_there && !is_here);
            if let Some(id) = a.key.filter(|_| is_here) {
                let (policy, key) = policy_and_key(here.meetings.keys.text(id));
                let counts = keys.entry(key).or_default();
                counts.here += 1;
                if !is_there {
                    counts.only_here += 1;
                    *difference.by_policy_here.entry(policy.to_owned()).or_default() += 1;
                }
            }
            if let Some(id) = b.key.filter(|_| is_there) {
                let (policy, key) = policy_and_key(there.meetings.keys.text(id));
                let counts = keys.entry(key).or_default();
                counts.there += 1;
                if !is_here {
                    counts.only_there += 1;
                    *difference.by_policy_there.entry(policy.to_owned()).or_default() += 1;
                }
            }
        }
        difference.limited_only_here = count(&keys, KeyRefusals::is_limited_only_here);
        difference.limited_only_there = count(&keys, KeyRefusals::is_limited_only_there);
        let differs = |(_, counts): &(String, KeyRefusals)| {
            counts.only_here + counts.only_there > 0 || counts.is_limited_only_here() || counts.is_limited_only_there()
        };
        difference.keys = keys.into_iter().filter(differs).map(|(key, counts)| KeyDifference { key, counts }).collect();
        // Stable: equal differences stay in the order of the keys.
        difference.keys.sort_by_key(|key| std::cmp::Reverse(key.counts.only_here + key.counts.only_there));
        difference
    }
}

fn count(keys: &BTreeMap<String, KeyRefusals>, is_one: fn(KeyRefusals) -> bool) -> u64 {
    u64::try_from(keys.values().filter(|counts| is_one(**counts)).count()).unwrap_or(u64::MAX)
}
