//! The figures of each policy, and where the keys that it refused stand now.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tollgate::clock::Clock;
use tollgate::{Report, Verdict};

use crate::config::Policy;
use crate::decision::compile::{PathCount, Rule, Rules};
use crate::decision::engine::Engine;
use crate::stats::{PolicyStats, RefusedKey, TopEntry, Used, UsedKey};

impl Rules {
    pub(crate) fn figures<C: Clock>(&self, engine: &Engine<C>, top: usize) -> Vec<PolicyStats> {
        self.rules.iter().map(|rule| rule.figures(engine, top)).collect()
    }
}

/// Over all threads.
fn sum(count: &PathCount) -> u64 {
    // Relaxed: a number for people.
    count.all().map(|count| count.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
}

impl Rule {
    fn figures<C: Clock>(&self, engine: &Engine<C>, top: usize) -> PolicyStats {
        let Policy { name, route, key, limits, tiers, concurrency, is_shadow, .. } = &self.policy;
        let tiers = tiers.iter().flat_map(|tiers| &tiers.tiers);
        let tiers = tiers.flat_map(|(tier, quotas)| quotas.iter().map(move |quota| format!("{tier}: {quota:#}")));
        PolicyStats {
            name: name.clone(),
            route: route.to_string(),
            key: key.to_string(),
            limits: limits.iter().map(|quota| format!("{quota:#}")).chain(tiers).collect(),
            concurrency: *concurrency,
            is_shadow: *is_shadow,
            counts: self.stats.counts.get(),
            #[cfg(feature = "redis")]
            fleet: self.policy.fleet.map(|fleet| crate::stats::FleetStats {
                on_outage: fleet.on_outage,
                is_leased: fleet.is_leased,
                places: self.stats.places.get(),
            }),
            missed: self.stats.top.missed(),
            refused: self.refused(engine, top),
            refused_by_path: self.paths.iter().map(|(name, count)| (name.clone(), sum(count))).collect(),
            used: self.used(engine, top),
        }
    }

    fn used<C: Clock>(&self, engine: &Engine<C>, top: usize) -> Vec<UsedKey> {
        // Once a second nothing is asked but the counts.
        let rows = if top == 0 { Vec::new() } else { self.stats.used.list(top) };
        let used = |Used { who, count, error }: Used<TopEntry>| {
            let (remaining, retry_after) = self.stands(engine, &who);
            UsedKey { key: who.label, requests: count, error, remaining, retry_after }
        };
        rows.into_iter().map(used).collect()
    }

    /// What is left to a key, and how long until a request of it would be admitted. On a fleet that is not known here.
    fn stands<C: Clock>(&self, engine: &Engine<C>, who: &TopEntry) -> (Option<u64>, Option<Duration>) {
        let is_here = !self.policy.is_on_fleet();
        let limits = self.tiers.get(who.tier).filter(|_| is_here).map_or(&[][..], |tier| &tier.limits);
        let stands: Vec<Report> =
            limits.iter().map(|limit| engine.limiter.under(&limit.limit).peek(&who.key).report()).collect();
        let waits = stands.iter().map(|report| match report.verdict {
            Verdict::Allowed => Some(Duration::ZERO),
            _ => report.retry_after,
        });
        let remaining = stands.iter().map(|report| report.remaining).min();
        // If one wait is unknown, so is the longest.
        (remaining, waits.collect::<Option<Vec<_>>>().and_then(|waits| waits.into_iter().max()))
    }

    fn refused<C: Clock>(&self, engine: &Engine<C>, top: usize) -> Vec<RefusedKey> {
        let rows = self.stats.top.list(top).into_iter();
        rows.map(|row| {
            let (remaining, retry_after) = self.stands(engine, &row.who);
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
