//! The records after the replay, counted: in all, by key, by limit and by minute.

use std::ops::Range;

use super::intern::{KeyId, Keys};
use super::record::{Outcome, Record};

/// Nanoseconds in a minute.
pub(crate) const MINUTE: u64 = 60_000_000_000;

/// How often each outcome came up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Passed at once.
    pub(crate) allowed: u64,
    pub(crate) delayed: u64,
    pub(crate) refused: u64,
    pub(crate) exempt: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Allowed => &mut self.allowed,
            Outcome::Delayed => &mut self.delayed,
            Outcome::Refused(_) => &mut self.refused,
            Outcome::Exempt => &mut self.exempt,
        } += 1;
    }

    pub(crate) fn total(&self) -> u64 {
        self.passed() + self.refused
    }

    /// All that got through.
    pub(crate) fn passed(&self) -> u64 {
        self.allowed + self.delayed + self.exempt
    }
}

/// What became of one key.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyTally {
    pub(crate) counts: Counts,
    /// When it was refused first, and by which limit.
    pub(crate) first_refused: Option<(u64, u16)>,
}

/// What became of one minute.
#[derive(Debug, Clone)]
pub(crate) struct Minute {
    /// Nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) counts: Counts,
    /// Its records.
    pub(crate) records: Range<usize>,
}

/// All counts.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) totals: Counts,
    /// Refusals of each limit.
    pub(crate) by_limit: Vec<u64>,
    /// In the order of the keys' numbers.
    pub(crate) by_key: Vec<KeyTally>,
    /// The keys that were refused at least once, most refused first.
    pub(crate) limited: Vec<KeyId>,
    /// The minutes that have a request, in order.
    pub(crate) minutes: Vec<Minute>,
}

impl Tally {
    /// Counts `records`, whose keys are numbers of `keys`, under so many limits.
    pub(crate) fn new(records: &[Record], keys: &Keys, limits: usize) -> Self {
        let mut tally = Self {
            totals: Counts::default(),
            by_limit: vec![0; limits],
            by_key: vec![KeyTally::default(); keys.len()],
            limited: Vec::new(),
            minutes: Vec::new(),
        };
        for (i, record) in records.iter().enumerate() {
            tally.record(i, record);
        }
        let refused = |key: &KeyId| tally.by_key[key.index()].counts.refused;
        tally.limited.sort_by(|a, b| refused(b).cmp(&refused(a)).then_with(|| keys.text(*a).cmp(keys.text(*b))));
        tally
    }

    fn record(&mut self, i: usize, record: &Record) {
        self.totals.add(record.outcome);
        let start = record.time - record.time % MINUTE;
        match self.minutes.last_mut() {
            Some(minute) if minute.start == start => {
                minute.counts.add(record.outcome);
                minute.records.end = i + 1;
            }
            _ => {
                let mut counts = Counts::default();
                counts.add(record.outcome);
                self.minutes.push(Minute { start, counts, records: i..i + 1 });
            }
        }
        let Some(id) = record.key else { return };
        let key = &mut self.by_key[id.index()];
        key.counts.add(record.outcome);
        if let Outcome::Refused(limit) = record.outcome {
            self.by_limit[usize::from(limit)] += 1;
            if key.first_refused.is_none() {
                key.first_refused = Some((record.time, limit));
                self.limited.push(id);
            }
        }
    }

    /// Up to `count` minutes with refusals: the most refused first, then the busiest, then the earliest.
    pub(crate) fn worst_minutes(&self, count: usize) -> Vec<&Minute> {
        let mut worst: Vec<&Minute> = self.minutes.iter().filter(|minute| minute.counts.refused > 0).collect();
        worst.sort_by_key(|minute| {
            let Counts { refused, .. } = minute.counts;
            (std::cmp::Reverse((refused, minute.counts.total())), minute.start)
        });
        worst.truncate(count);
        worst
    }

    /// The keys refused in `minute`, most refused first.
    pub(crate) fn refused_in(minute: &Minute, records: &[Record]) -> Vec<(KeyId, u64)> {
        let refused = records[minute.records.clone()].iter().filter(|r| matches!(r.outcome, Outcome::Refused(_)));
        let mut keys: Vec<KeyId> = refused.filter_map(|record| record.key).collect();
        keys.sort_by_key(|key| key.index());
        let mut counted: Vec<(KeyId, u64)> = Vec::new();
        for key in keys {
            match counted.last_mut() {
                Some((last, count)) if *last == key => *count += 1,
                _ => counted.push((key, 1)),
            }
        }
        counted.sort_by_key(|&(key, count)| (std::cmp::Reverse(count), key.index()));
        counted
    }
}
