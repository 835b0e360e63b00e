//! What became of each key.

use std::collections::HashMap;

use super::super::ingest::Input;
use super::counter::{KeyCounter, KeyCounts, MinuteKeys, Refusals};
use super::fields::RequestFields;
use super::matches::{KeyId, KeyName};
use super::run::{ShadowRefusal, Simulation};

/// A key that was refused at least once.
#[derive(Debug)]
pub(crate) struct LimitedKey {
    pub(crate) key: KeyId,
    pub(crate) name: KeyName,
    /// When it was refused first, in nanoseconds since 1970, and by which limit.
    pub(crate) first: (u64, u16),
}

/// A key that a shadow policy would have refused.
#[derive(Debug)]
pub(crate) struct ShadowedKey {
    pub(crate) key: KeyId,
    pub(crate) name: KeyName,
    pub(crate) refused: u64,
    /// In nanoseconds since 1970.
    pub(crate) first: u64,
}

/// The counts by key.
#[derive(Debug)]
pub(crate) struct KeyTally {
    by_key: Vec<KeyCounts>,
    /// Of minutes in which a key was refused, in order.
    minutes: Vec<MinuteKeys>,
    /// Refusals of each limit.
    pub(crate) by_limit: Vec<u64>,
    /// Most often refused first.
    pub(crate) limited: Vec<LimitedKey>,
    /// Most often refused first.
    pub(crate) shadowed: Vec<ShadowedKey>,
    /// Requests that no policy is for.
    pub(crate) without_policy: u64,
    /// Requests without a key in some policy.
    pub(crate) without_key: u64,
}

impl KeyTally {
    /// Of `counter`, which counted `simulation`, which was made of `input`.
    pub(crate) fn new(counter: KeyCounter, simulation: &Simulation, fields: &RequestFields, input: &Input) -> Self {
        let matches = &simulation.matches;
        let KeyCounter { by_request, by_key: refusals, by_limit, limited, minutes, .. } = counter;
        let of_key = |refusals: Refusals| KeyCounts { refused: refusals.all, ..KeyCounts::default() };
        let mut by_key: Vec<KeyCounts> = refusals.into_iter().map(of_key).collect();
        let (mut without_policy, mut without_key) = (0, 0);
        for ((request, _), counts) in input.texts.iter().zip(by_request) {
            let (mut is_met, mut is_keyless) = (false, false);
            for found in matches.of(request) {
                is_met = true;
                is_keyless |= found.matched.is_keyless();
                if let Some(key) = found.key {
                    let of_key = &mut by_key[key.index()];
                    of_key.requests += counts.requests;
                    of_key.allowed += counts.allowed;
                    of_key.delayed += counts.delayed;
                }
            }
            without_policy += if is_met { 0 } else { counts.requests };
            without_key += if is_keyless { counts.requests } else { 0 };
        }
        let name = |key| matches.name(key, fields, &input.texts);
        let mut limited: Vec<LimitedKey> =
            limited.into_iter().map(|(key, first)| LimitedKey { key, name: name(key), first }).collect();
        let refused = |limited: &LimitedKey| by_key[limited.key.index()].refused;
        limited.sort_by(|a, b| refused(b).cmp(&refused(a)).then_with(|| a.name.cmp(&b.name)));
        let shadowed = shadowed(&simulation.shadow_refusals, name);
        Self { by_key, minutes, by_limit, limited, shadowed, without_policy, without_key }
    }

    /// What became of one key.
    pub(crate) fn of(&self, key: KeyId) -> KeyCounts {
        self.by_key[key.index()]
    }

    /// Of the minute with that number in the tally, if a key was refused in it.
    pub(crate) fn in_minute(&self, minute: usize) -> Option<MinuteKeys> {
        let at = self.minutes.binary_search_by_key(&minute, |keys| keys.minute).ok()?;
        Some(self.minutes[at])
    }

    /// How many keys have a request. Those of requests that were left out at the end have none.
    pub(crate) fn seen(&self) -> usize {
        self.by_key.iter().filter(|counts| counts.requests > 0).count()
    }
}

fn shadowed(refusals: &[ShadowRefusal], name: impl Fn(KeyId) -> KeyName) -> Vec<ShadowedKey> {
    let mut by_key: HashMap<KeyId, (u64, u64)> = HashMap::new();
    for &ShadowRefusal { time, key } in refusals {
        by_key.entry(key).or_insert((0, time)).0 += 1;
    }
    let of = |(key, (refused, first))| ShadowedKey { key, name: name(key), refused, first };
    let mut shadowed: Vec<ShadowedKey> = by_key.into_iter().map(of).collect();
    shadowed.sort_by(|a, b| b.refused.cmp(&a.refused).then_with(|| a.name.cmp(&b.name)));
    shadowed
}
