//! How the policies are doing, for an admin page or a log.

use std::time::Duration;

use tollgate::clock::{Clock, Instant};
use tollgate::{Report, Verdict};

use crate::counts::PolicyCounts;
use crate::label::Label;
use crate::policy::Policy;
use crate::rules::{Engine, Rule, Rules};

/// How one policy is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PolicyView {
    /// Its name.
    pub name: String,
    /// Which requests it is for, in words.
    pub route: String,
    /// Who shares a bucket.
    pub key: String,
    /// Its limits, as rate strings; those of a tier with the tier in front.
    pub limits: Vec<String>,
    /// How many requests of a key may be in flight.
    pub concurrency: Option<u64>,
    /// Whether it refuses nobody.
    pub is_shadow: bool,
    /// What it has counted.
    pub counts: PolicyCounts,
    /// Refusals that are not in `refused`, because another thread was at the list at that moment.
    pub missed: u64,
    /// The keys refused most, most refused first.
    pub refused: Vec<RefusedKey>,
}

/// A key that was refused.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RefusedKey {
    /// The key, as people may see it.
    pub key: Label,
    /// How often it was refused, or somewhat less often.
    pub refused: u64,
    /// By how much `refused` may be too high.
    pub error: u64,
    /// The first refusal since the key is in the list.
    pub first: Instant,
    /// The latest.
    pub last: Instant,
    /// How much is left to it now, under the limit that has least; nothing if the policy has no rate.
    pub remaining: Option<u64>,
    /// How long until a request of it would be admitted, zero if now; nothing if nobody knows, as of a policy that has no
    /// rate.
    pub retry_after: Option<Duration>,
}

impl Rules {
    pub(crate) fn views<C: Clock>(&self, engine: &Engine<C>, top: usize) -> Vec<PolicyView> {
        self.rules.iter().map(|rule| rule.view(engine, top)).collect()
    }
}

impl Rule {
    fn view<C: Clock>(&self, engine: &Engine<C>, top: usize) -> PolicyView {
        let Policy { name, route, key, limits, tiers, concurrency, is_shadow, .. } = &self.policy;
        let tiers = tiers.iter().flat_map(|tiers| &tiers.tiers);
        let tiers = tiers.flat_map(|(tier, quotas)| quotas.iter().map(move |quota| format!("{tier}: {quota:#}")));
        PolicyView {
            name: name.clone(),
            route: route.to_string(),
            key: key.to_string(),
            limits: limits.iter().map(|quota| format!("{quota:#}")).chain(tiers).collect(),
            concurrency: *concurrency,
            is_shadow: *is_shadow,
            counts: self.shared.counts.get(),
            missed: self.shared.top.missed(),
            refused: self.refused(engine, top),
        }
    }

    fn refused<C: Clock>(&self, engine: &Engine<C>, top: usize) -> Vec<RefusedKey> {
        let rows = self.shared.top.list(top).into_iter();
        rows.map(|row| {
            let limits = self.tiers.get(row.who.tier).map_or(&[][..], |tier| &tier.limits);
            let stands: Vec<Report> =
                limits.iter().map(|limit| engine.limiter.under(&limit.limit).peek(&row.who.key).report()).collect();
            let waits = stands.iter().map(|report| match report.verdict {
                Verdict::Allowed => Some(Duration::ZERO),
                _ => report.retry_after,
            });
            let remaining = stands.iter().map(|report| report.remaining).min();
            // One wait that nobody knows is one that nobody knows of all.
            let retry_after = waits.collect::<Option<Vec<_>>>().and_then(|waits| waits.into_iter().max());
            RefusedKey {
                key: row.who.label,
                refused: row.refused,
                error: row.error,
                first: row.first,
                last: row.last,
                remaining,
                retry_after,
            }
        })
        .collect()
    }
}
