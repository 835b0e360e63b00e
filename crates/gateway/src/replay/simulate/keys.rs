//! What became of each key.

use std::collections::HashMap;

use super::super::ingest::Input;
use super::super::record::Record;
use super::super::tally::Outcome;
use super::fields::RequestFields;
use super::matches::{KeyId, KeyName, Matches};
use super::run::{ShadowRefusal, Simulation};

/// What became of a key's requests, whichever policy it was that refused them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KeyCounts {
    pub(crate) requests: u64,
    pub(crate) allowed: u64,
    pub(crate) delayed: u64,
    /// Refused by the key's own policy.
    pub(crate) refused: u64,
}

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

/// The keys that were refused in one minute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MinuteKeys {
    /// The number of the minute in the tally.
    minute: usize,
    /// How many.
    pub(crate) count: usize,
    /// The one that was refused most, of equals the one that the log has first, and how often.
    pub(crate) most: (KeyId, u64),
}

/// Counts what becomes of each key while requests are replayed.
#[derive(Debug)]
pub(crate) struct KeyCounter {
    /// By request first: keys are spread all over memory.
    by_request: Vec<KeyCounts>,
    by_key: Vec<Refusals>,
    by_limit: Vec<u64>,
    limited: Vec<(KeyId, (u64, u16))>,
    minutes: Vec<MinuteKeys>,
    /// The minute that is being counted, and the keys refused in it.
    minute: usize,
    in_minute: Vec<KeyId>,
}

/// Of one key: in all, and in the minute in which it was refused last.
#[derive(Debug, Clone, Copy, Default)]
struct Refusals {
    all: u64,
    minute: usize,
    in_minute: u64,
}

impl KeyCounter {
    pub(crate) fn new(matches: &Matches, requests: usize) -> Self {
        Self {
            by_request: vec![KeyCounts::default(); requests],
            by_key: vec![Refusals::default(); matches.keys()],
            by_limit: Vec::new(),
            limited: Vec::new(),
            minutes: Vec::new(),
            minute: 0,
            in_minute: Vec::new(),
        }
    }

    /// Counts what became of `record` in that minute, and the key that was refused, if one was.
    pub(crate) fn add(&mut self, record: Record, outcome: Outcome, minute: usize, refused: Option<KeyId>) {
        let counts = &mut self.by_request[record.request.index()];
        counts.requests += 1;
        let limit = match outcome {
            Outcome::Allowed => {
                counts.allowed += 1;
                return;
            }
            Outcome::Delayed => {
                counts.delayed += 1;
                return;
            }
            Outcome::Exempt => return,
            Outcome::Refused(limit) => limit,
        };
        let index = usize::from(limit);
        if self.by_limit.len() <= index {
            self.by_limit.resize(index + 1, 0);
        }
        self.by_limit[index] += 1;
        let Some(key) = refused else { return };
        if self.minute != minute {
            self.close_minute();
            self.minute = minute;
        }
        let refusals = &mut self.by_key[key.index()];
        if refusals.all == 0 {
            self.limited.push((key, (record.time, limit)));
        }
        if refusals.all == 0 || refusals.minute != minute {
            (refusals.minute, refusals.in_minute) = (minute, 0);
            self.in_minute.push(key);
        }
        refusals.all += 1;
        refusals.in_minute += 1;
    }

    fn close_minute(&mut self) {
        let count_of = |key: KeyId| self.by_key[key.index()].in_minute;
        let most = self.in_minute.iter().copied().max_by_key(|key| (count_of(*key), std::cmp::Reverse(key.index())));
        if let Some(key) = most {
            let (minute, count) = (self.minute, self.in_minute.len());
            self.minutes.push(MinuteKeys { minute, count, most: (key, count_of(key)) });
        }
        self.in_minute.clear();
    }

    /// No more will be added.
    pub(crate) fn finish(&mut self) {
        self.close_minute();
    }

    /// How many keys have been refused at least once.
    pub(crate) fn limited(&self) -> usize {
        self.limited.len()
    }
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
