//! Where one key stands, and a new start for it: for operators, who write keys as text.

use std::collections::BTreeSet;
use std::fmt;
#[cfg(feature = "redis")]
use std::sync::mpsc;
#[cfg(feature = "redis")]
use std::time::Duration;

use tollgate::clock::Clock;
use tollgate::{KeyHash, Quota, Report};
#[cfg(feature = "redis")]
use tollgate_redis::{Fleet, FleetDecision, FleetItem};

use super::RateLimiter;
use crate::config::{Cost, LimiterConfig, TierBy, Tiers};
#[cfg(feature = "redis")]
use crate::decision::asking::item_of;
use crate::decision::compile::{NamedLimit, Rule};
use crate::decision::engine::Engine;
use crate::decision::gate;
use crate::decision::matching::{FoundBy, MatchedPolicy, hash_of};
use crate::identity::OnMissingKey;
use crate::identity::key_by::KeyBy;
use crate::identity::written::WrittenKey;
use crate::request::RequestInfo;

/// What stands for the bucket that all requests without a key share.
const NO_KEY: &str = "(none)";

/// Where a key stands with all policies.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standings {
    /// Of each policy and tier of which it may be a key.
    pub found: Vec<Standing>,
    /// The policies that have no such keys: their names, and what their keys are.
    pub others: Vec<(String, String)>,
    /// The policies on a fleet of which no server has said where the key stands: their names, and why.
    pub unanswered: Vec<(String, String)>,
}

/// Where a key stands with one policy, in one tier.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// The policy.
    pub policy: String,
    /// What the key was read as, such as `ip` or `header:x-api-key`.
    pub by: String,
    /// The parts of the key in full, as the policy counts it: an address of IPv6 as its network.
    pub key: Vec<String>,
    /// The tier whose limits these are; nothing for the policy's own.
    pub tier: Option<String>,
    /// Whether the policy is in shadow mode and refuses nobody.
    pub is_shadow: bool,
    /// Where it stands under each limit.
    pub limits: Vec<LimitStanding>,
    /// How many of its requests are in flight, and how many may be, if that is bounded.
    pub in_flight: Option<(u64, u64)>,
}

/// Where a key stands under one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitStanding {
    /// The limit, as header fields name it.
    pub name: String,
    /// What it allows.
    pub quota: Quota,
    /// What a request would be told now, without taking anything; of the policy's cost, or of 1 where that is a function.
    pub report: Report,
}

impl Standing {
    /// Whether a request would be refused now. Not of a shadow policy, whatever it counts.
    #[must_use]
    pub fn refuses(&self) -> bool {
        let is_full = self.in_flight.is_some_and(|(now, most)| now >= most);
        !self.is_shadow && (is_full || self.limits.iter().any(LimitStanding::refuses))
    }
}

impl LimitStanding {
    /// Whether it would refuse a request now. A queue refuses nobody who may wait.
    #[must_use]
    pub fn refuses(&self) -> bool {
        let may_wait = gate::is_queue(&self.quota)
            && self.report.retry_after.is_some_and(|wait| wait <= gate::longest_wait(&self.quota));
        self.report.verdict != tollgate::Verdict::Allowed && !may_wait
    }
}

/// Why a key cannot be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StandingError {
    /// There is no such policy.
    Policy {
        /// As given.
        given: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// It is a key of no policy.
    NoKey {
        /// The policies, and what their keys are.
        keys: Vec<(String, String)>,
    },
    /// Of these policies no server of the fleet has said that the key was reset: it may or may not have been.
    Unanswered {
        /// The policies, and what was the matter.
        failed: Vec<(String, String)>,
        /// Those of the others under which it was reset.
        reset: Vec<String>,
    },
    /// It may be several things, and only one of them can be meant.
    Ambiguous {
        /// What it may be.
        readings: Vec<String>,
    },
}

impl fmt::Display for StandingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy { given, known } if known.is_empty() => {
                write!(f, "there is no policy `{}`, nor any other", given.escape_debug())
            }
            Self::Policy { given, known } => {
                write!(f, "there is no policy `{}`; there are {}", given.escape_debug(), known.join(", "))
            }
            Self::NoKey { keys } if keys.is_empty() => f.write_str("there is no policy, so nothing is limited"),
            Self::NoKey { keys } => {
                f.write_str("no policy has such a key; their keys are")?;
                for (i, (policy, key)) in keys.iter().enumerate() {
                    write!(f, "{} {key} (`{policy}`)", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Self::Unanswered { failed, reset } => {
                for (i, (policy, why)) in failed.iter().enumerate() {
                    let and = if i == 0 { "" } else { "; " };
                    write!(
                        f,
                        "{and}policy `{policy}` is counted on Redis, where the key may not have been reset: {why}"
                    )?;
                }
                if !reset.is_empty() {
                    write!(f, "; it was reset under {}", reset.join(", "))?;
                }
                Ok(())
            }
            Self::Ambiguous { readings } => write!(
                f,
                "it may be a key of several kinds: {}; write which one in front of it, such as `{}:KEY`, or name the policy",
                readings.join(", "),
                readings.first().map_or("", String::as_str)
            ),
        }
    }
}

impl std::error::Error for StandingError {}

impl<C: Clock> RateLimiter<C> {
    /// Where `key` stands with each policy, or with the one that is named, in every tier it may be in. Takes nothing.
    ///
    /// The key is what people write: an address; the value of the header field or cookie that is the policy's key, or
    /// `header:x-api-key:VALUE` where a value might be that of several; the parts of a key of several with `+` between them;
    /// `(none)` for the requests without one. Keys of functions have no text and cannot be asked for.
    ///
    /// Costs a look at each limit, and waits for nothing but the map of requests in flight. Of a policy on a fleet it waits until a
    /// server has answered, some [deadlines](LimiterConfig::fleet) and a second at most, so it is not for a thread of the fleet's
    /// runtime; one that cannot be looked up is in [`unanswered`](Standings::unanswered), with the reason.
    ///
    /// # Errors
    ///
    /// If there is no such policy, or no policy that may have such a key.
    pub fn standings(&self, key: &str, policy: Option<&str>) -> Result<Standings, StandingError> {
        self.look_up(key, policy, false)
    }

    /// Fills the buckets of `key` under each policy, or the one that is named; returns where it stood before. Requests in flight
    /// stay in flight. What is written is as with [`standings`](Self::standings).
    ///
    /// # Errors
    ///
    /// If there is no such policy or key; or if the text may be a key of several kinds, when nothing is changed; or if no server of a
    /// fleet has said that it was done, when it was tried under all policies.
    pub fn reset_key(&self, key: &str, policy: Option<&str>) -> Result<Standings, StandingError> {
        self.look_up(key, policy, true)
    }

    fn look_up(&self, key: &str, policy: Option<&str>, resets: bool) -> Result<Standings, StandingError> {
        let engine = &self.shared.engine;
        let rules = self.shared.rules();
        let rules_of = || rules.rules.iter().filter(|rule| policy.is_none_or(|name| name == rule.policy.name));
        if let Some(name) = policy
            && rules_of().next().is_none()
        {
            let known = rules.rules.iter().map(|rule| rule.policy.name.clone()).collect();
            return Err(StandingError::Policy { given: name.to_owned(), known });
        }
        let mut read: Vec<(&Rule, Option<WrittenKey>)> = rules_of()
            .flat_map(|rule| match &rule.policy.key {
                KeyBy::Spec(spec) if key != NO_KEY => {
                    spec.written(key).into_iter().map(|written| (rule, Some(written))).collect()
                }
                _ if key == NO_KEY && rule.policy.on_missing_key == OnMissingKey::Share => vec![(rule, None)],
                _ => Vec::new(),
            })
            .collect();
        // An address that might as well be somebody's API key is an address.
        if read.iter().flat_map(|(_, written)| written).any(WrittenKey::is_typed) {
            read.retain(|(_, written)| written.as_ref().is_some_and(WrittenKey::is_typed));
        }
        if read.is_empty() {
            return Err(StandingError::NoKey { keys: rules_of().map(Rule::keys_in_words).collect() });
        }
        let readings: BTreeSet<&str> = read.iter().flat_map(|(_, written)| written).map(WrittenKey::by).collect();
        if resets && readings.len() > 1 {
            return Err(StandingError::Ambiguous { readings: readings.into_iter().map(str::to_owned).collect() });
        }
        let (mut found, mut unanswered) = (Vec::new(), Vec::new());
        for (rule, written) in &read {
            let Some(index) = rules.rules.iter().position(|other| std::ptr::eq(other, *rule)) else { continue };
            let nothing = WrittenKey::default();
            let mut info = RequestInfo::new(written.as_ref().unwrap_or(&nothing));
            info.set_ignores_path_case(rules.config.ignores_path_case);
            let key = match (written, &rule.policy.key) {
                (Some(_), KeyBy::Spec(spec)) => spec.find(&info, rules.config.grouping).map(FoundBy::Spec),
                _ => None,
            };
            let (by, texts) = match (&key, written) {
                (Some(FoundBy::Spec(key)), Some(written)) => (written.by().to_owned(), key.texts()),
                _ => (NO_KEY.to_owned(), vec![NO_KEY.to_owned()]),
            };
            let hash = hash_of(engine, key.as_ref().unwrap_or(&FoundBy::Missing));
            let matched =
                MatchedPolicy { index, rule, tier: 0, key: key.unwrap_or(FoundBy::Missing), hash, cost: rule.cost() };
            for tier in rule.possible_tiers(&info) {
                match matched.reports(engine, &rules.config, tier, resets) {
                    Ok(reports) => found.push(matched.standing(engine, tier, by.clone(), texts.clone(), reports)),
                    // Its other tiers are on the same servers, and each would be waited for.
                    Err(why) => {
                        unanswered.push((rule.policy.name.clone(), why));
                        break;
                    }
                }
            }
        }
        let is_other = |rule: &&Rule| !read.iter().any(|(found, _)| std::ptr::eq(*found, *rule));
        if resets && !unanswered.is_empty() {
            let mut reset: Vec<String> = found.into_iter().map(|standing: Standing| standing.policy).collect();
            reset.dedup();
            reset.retain(|policy| unanswered.iter().all(|(failed, _)| failed != policy));
            return Err(StandingError::Unanswered { failed: unanswered, reset });
        }
        let others = rules_of().filter(is_other).map(Rule::keys_in_words).collect();
        Ok(Standings { found, others, unanswered })
    }
}

impl Rule {
    /// The policy's name, and what its keys are.
    fn keys_in_words(&self) -> (String, String) {
        (self.policy.name.clone(), self.policy.key.to_string())
    }

    /// The tiers that requests with this key may be of: one, if a table says which.
    fn possible_tiers(&self, key: &RequestInfo<'_>) -> std::ops::Range<usize> {
        match &self.policy.tiers {
            Some(Tiers { by: TierBy::Map(map), .. }) if map.by().is_in(key) => {
                let tier = self.tier(key);
                tier..tier.saturating_add(1)
            }
            _ => 0..self.tiers.len(),
        }
    }

    /// What a request costs that nothing else is known of.
    fn cost(&self) -> u64 {
        match &self.policy.cost {
            Cost::Constant(cost) => *cost,
            Cost::Function(_) => 1,
        }
    }
}

impl MatchedPolicy<'_> {
    fn limits_of(&self, tier: usize) -> &[NamedLimit] {
        self.rule.tiers.get(tier).map_or(&[], |tier| &tier.limits)
    }

    /// Where it stands under each limit of a tier; then a new start, if that is wanted. An error is why it cannot be told.
    fn reports<C: Clock>(
        &self,
        engine: &Engine<C>,
        config: &LimiterConfig,
        tier: usize,
        resets: bool,
    ) -> Result<Vec<Report>, String> {
        #[cfg(feature = "redis")]
        if let Some(fleet) = config.fleet.as_ref().filter(|_| self.rule.policy.is_on_fleet()) {
            return self.reports_of_fleet(fleet, tier, resets);
        }
        let _ = config;
        let report = |limit: &NamedLimit| engine.limiter.under(&limit.limit).key(&self.hash).peek_n(self.cost).report();
        let reports = self.limits_of(tier).iter().map(report).collect();
        if resets {
            self.reset(engine, tier);
        }
        Ok(reports)
    }

    /// The same on a fleet: this thread waits, while the fleet's own runtime asks.
    #[cfg(feature = "redis")]
    fn reports_of_fleet(&self, fleet: &Fleet, tier: usize, resets: bool) -> Result<Vec<Report>, String> {
        let limits = self.limits_of(tier).iter().filter_map(|limit| limit.fleet.as_ref());
        let items: Vec<FleetItem> = limits.map(|limit| item_of(fleet, self, limit)).collect();
        let (tell, told) = mpsc::sync_channel(1);
        let (asking, calls) = (fleet.clone(), u32::try_from(items.len()).unwrap_or(u32::MAX).saturating_add(1));
        fleet.spawn(async move {
            let looked = asking.peek_items(&items).await;
            let mut outage = looked.iter().find_map(|decision| decision.outage().cloned());
            let resets = resets && outage.is_none();
            for item in items.iter().filter(|_| resets) {
                outage = outage.or(asking.reset_item(item).await.err());
            }
            let reports = looked.iter().map(FleetDecision::report).collect();
            // Nobody may wait any more.
            let _ = tell.send(outage.map_or(Ok(reports), |outage| Err(outage.to_string())));
        });
        // A deadline for the looks, and one for each reset; and time for the runtime.
        let patience = fleet.deadline().saturating_mul(calls).saturating_add(Duration::from_secs(1));
        told.recv_timeout(patience).unwrap_or_else(|_| Err("nothing came in time".to_owned()))
    }

    fn standing<C: Clock>(
        &self,
        engine: &Engine<C>,
        tier: usize,
        by: String,
        key: Vec<String>,
        reports: Vec<Report>,
    ) -> Standing {
        let policy = &self.rule.policy;
        let limit = |(limit, report): (&NamedLimit, Report)| LimitStanding {
            name: limit.name.clone(),
            quota: *limit.limit.quota(),
            report,
        };
        let tiers = policy.tiers.as_ref().map_or(&[][..], |tiers| &tiers.tiers);
        Standing {
            policy: policy.name.clone(),
            by,
            key,
            tier: tier.checked_sub(1).and_then(|tier| tiers.get(tier)).map(|(name, _)| name.clone()),
            is_shadow: policy.is_shadow,
            limits: self.limits_of(tier).iter().zip(reports).map(limit).collect(),
            in_flight: policy.concurrency.map(|most| (engine.in_flight.count(self.id(engine)), most)),
        }
    }

    fn reset<C: Clock>(&self, engine: &Engine<C>, tier: usize) {
        let fill = |limit| {
            let key: &KeyHash = &self.hash;
            engine.limiter.under(limit).key(key).reset();
        };
        for limit in self.limits_of(tier) {
            fill(&limit.limit);
            if let Some(gate) = &limit.gate {
                fill(gate);
            }
        }
    }
}
