//! Who each request is to each policy: found out once for all requests that are alike.

use std::ops::Range;

use tollgate::Algorithm;
use tollgate_http::limiter::{AsyncKeys as AskedKeys, PolicyMatch};
use tollgate_http::{LimiterConfig, RateLimiter};

use super::super::intern::{KeyId, Keys};
use super::super::key::{MISSING, SEPARATOR};
use super::super::record::Record;
use super::asked::Asked;
use crate::values::failure::Failure;

/// A policy that is for a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meeting {
    /// Its index.
    pub(super) policy: usize,
    /// The request's key in it; nothing if the policy exempts the request.
    pub(super) key: Option<KeyId>,
    /// Whether the key is that of all requests without one.
    pub(super) is_keyless: bool,
    cost: u64,
}

/// Whose a key is.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) policy: usize,
    pub(super) tier: Option<String>,
}

/// The policies that each request meets.
#[derive(Debug, Default)]
pub(super) struct Meetings {
    /// The policy, with the tier, and behind it the parts of the key.
    pub(super) keys: Keys,
    /// In the order of the keys.
    pub(super) owners: Vec<Owner>,
    all: Vec<Meeting>,
    /// Which of them are whose, in the order of the requests' texts.
    of_request: Vec<Range<usize>>,
}

impl Meetings {
    /// Of the requests that were kept as `texts`.
    pub(super) fn new<C: tollgate::clock::Clock>(
        limiter: &RateLimiter<C>,
        asked: &Asked,
        texts: &Keys,
    ) -> Result<Self, Failure> {
        let settings = limiter.config();
        let mut meetings = Self::default();
        for text in texts.iter() {
            let request = asked.request(text);
            let start = meetings.all.len();
            for met in limiter.matching(&request.info(), &AskedKeys::default()) {
                let is_keyless = met.key.is_none() && !met.is_exempt;
                let (policy, cost) = (met.policy, met.cost);
                let key = if met.is_exempt { None } else { Some(meetings.key(&settings, met)?) };
                meetings.all.push(Meeting { policy, key, is_keyless, cost });
            }
            meetings.of_request.push(start..meetings.all.len());
        }
        Ok(meetings)
    }

    fn key(&mut self, settings: &LimiterConfig, met: PolicyMatch) -> Result<KeyId, Failure> {
        let mut text = settings.policies().get(met.policy).map_or("", |policy| policy.name()).to_owned();
        if let Some(tier) = &met.tier {
            text.push('/');
            text.push_str(tier);
        }
        for part in met.key.unwrap_or_else(|| vec![MISSING.to_owned()]) {
            text.push(SEPARATOR);
            text.push_str(&part);
        }
        let id = self.keys.intern(&text).ok_or_else(Keys::too_many)?;
        if self.owners.len() < self.keys.len() {
            self.owners.push(Owner { policy: met.policy, tier: met.tier });
        }
        Ok(id)
    }

    /// Of the request with that text.
    pub(super) fn of(&self, request: KeyId) -> &[Meeting] {
        self.of_request.get(request.index()).and_then(|range| self.all.get(range.clone())).unwrap_or_default()
    }

    /// How many buckets can be busy at once, so that none is ever evicted for want of room.
    ///
    /// A bucket per limit and key; a sliding log takes one for each unit that it remembers, and a queue up to two.
    pub(super) fn buckets(&self, settings: &LimiterConfig, records: &[Record]) -> usize {
        let mut units = vec![0_u64; self.keys.len()];
        for meeting in records.iter().filter_map(|record| record.key).flat_map(|request| self.of(request)) {
            if let Some(key) = meeting.key {
                units[key.index()] = units[key.index()].saturating_add(meeting.cost);
            }
        }
        let limits_of = |owner: &Owner| {
            let policy = settings.policies().get(owner.policy);
            policy.map_or(&[][..], |policy| policy.limits(owner.tier.as_deref()))
        };
        let buckets_of = |(owner, units): (&Owner, u64)| -> u64 {
            let of_limit = |quota: &tollgate::Quota| match quota.algorithm() {
                Algorithm::SlidingLog => units.min(quota.count()),
                // A line, and a gate beside those of other queues.
                Algorithm::LeakyQueue => 2,
                _ => 1,
            };
            limits_of(owner).iter().map(of_limit).sum()
        };
        let total = self.owners.iter().zip(units).map(buckets_of).fold(0, u64::saturating_add);
        usize::try_from(total).unwrap_or(usize::MAX).max(1)
    }
}

/// A key's text as its policy, with the tier, and the key for people.
pub(super) fn policy_and_key(text: &str) -> (&str, String) {
    let (policy, key) = text.split_once(SEPARATOR).unwrap_or((text, ""));
    (policy, super::super::key::shown(key).into_owned())
}
