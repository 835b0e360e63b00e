//! What became of all requests, by policy and by key.

use super::super::intern::KeyId;
use super::super::record::{Outcome, Record};
use super::super::tally::Tally;
use super::meetings::Meetings;
use super::play::ShadowRefusal;

/// All counts that the limiter does not keep itself.
pub(super) struct Outcomes {
    /// Refusals by key, by limit and by minute.
    pub(super) tally: Tally,
    /// In the order of the keys.
    pub(super) by_key: Vec<KeyCounts>,
    /// The keys that shadow policies would have refused, most often refused first.
    pub(super) shadowed: Vec<Shadowed>,
    /// Requests that no policy is for.
    pub(super) without_policy: u64,
    /// Requests without a key in some policy.
    pub(super) without_key: u64,
}

/// What became of a key's requests, whichever policy it was that refused them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KeyCounts {
    pub(super) requests: u64,
    pub(super) allowed: u64,
    pub(super) delayed: u64,
}

/// A key that a shadow policy would have refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shadowed {
    pub(super) key: KeyId,
    pub(super) refused: u64,
    /// In nanoseconds since 1970.
    pub(super) first: u64,
}

impl Outcomes {
    /// Of `records`, which came of `requests`, in the same order.
    pub(super) fn new(
        requests: &[Record],
        records: &[Record],
        meetings: &Meetings,
        limits: usize,
        shadow_refusals: &[ShadowRefusal],
    ) -> Self {
        let mut by_key = vec![KeyCounts::default(); meetings.keys.len()];
        let (mut without_policy, mut without_key) = (0, 0);
        for (request, record) in requests.iter().zip(records) {
            let met = request.key.map(|key| meetings.of(key)).unwrap_or_default();
            without_policy += u64::from(met.is_empty());
            without_key += u64::from(met.iter().any(|meeting| meeting.is_keyless));
            for key in met.iter().filter_map(|meeting| meeting.key) {
                let counts = &mut by_key[key.index()];
                counts.requests += 1;
                match record.outcome {
                    Outcome::Allowed => counts.allowed += 1,
                    Outcome::Delayed => counts.delayed += 1,
                    Outcome::Refused(_) | Outcome::Exempt => {}
                }
            }
        }
        Self {
            tally: Tally::new(records, &meetings.keys, limits),
            by_key,
            shadowed: shadowed(shadow_refusals, meetings),
            without_policy,
            without_key,
        }
    }
}

fn shadowed(refusals: &[ShadowRefusal], meetings: &Meetings) -> Vec<Shadowed> {
    let mut by_key: Vec<Option<Shadowed>> = vec![None; meetings.keys.len()];
    for &ShadowRefusal { time, key } in refusals {
        by_key[key.index()].get_or_insert(Shadowed { key, refused: 0, first: time }).refused += 1;
    }
    let mut shadowed: Vec<Shadowed> = by_key.into_iter().flatten().collect();
    shadowed.sort_by(|a, b| {
        let text = |shadowed: &Shadowed| meetings.keys.text(shadowed.key);
        b.refused.cmp(&a.refused).then_with(|| text(a).cmp(text(b)))
    });
    shadowed
}
