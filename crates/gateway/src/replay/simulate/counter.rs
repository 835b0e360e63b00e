//! Counts of each key, while requests are replayed.

use super::super::record::Record;
use super::super::tally::Outcome;
use super::matches::{KeyId, Matches};

/// What became of a key's requests, whichever policy it was that refused them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KeyCounts {
    pub(crate) requests: u64,
    pub(crate) allowed: u64,
    pub(crate) delayed: u64,
    /// Refused by the key's own policy.
    pub(crate) refused: u64,
}

/// The keys that were refused in one minute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MinuteKeys {
    /// The number of the minute in the tally.
    pub(super) minute: usize,
    /// How many.
    pub(crate) count: usize,
    /// The one that was refused most, of equals the one that the log has first, and how often.
    pub(crate) most: (KeyId, u64),
}

/// Counts what becomes of each key while requests are replayed.
#[derive(Debug)]
pub(crate) struct KeyCounter {
    /// By request first: keys are spread all over memory.
    pub(super) by_request: Vec<KeyCounts>,
    pub(super) by_key: Vec<Refusals>,
    pub(super) by_limit: Vec<u64>,
    pub(super) limited: Vec<(KeyId, (u64, u16))>,
    pub(super) minutes: Vec<MinuteKeys>,
    /// The minute that is being counted, and the keys refused in it.
    minute: usize,
    in_minute: Vec<KeyId>,
}

/// Of one key: in all, and in the minute in which it was refused last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refusals {
    pub(super) all: u64,
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
