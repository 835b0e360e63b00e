//! The straight path of the layer, for requests about which everything is decided when they come: by limits that are charged
//! then and make nobody wait. The decision, its counts and its header fields are made in one go, so that nothing is kept until
//! the response but the fields, and nothing is written that requests of other keys write.
//!
//! It decides as [`decide`](super::decide) does, or leaves it to that before anything has been taken or counted.

use std::net::IpAddr;

use smallvec::SmallVec;
use tollgate::clock::{Clock, Instant};
use tollgate::{Decision, KeyHash, LimitSet, SetItem};

use crate::answer::ResponseFields;
use crate::config::Cost;
use crate::decision::compile::{Rule, Rules, Tier};
use crate::decision::engine::Engine;
use crate::decision::matching::{AsyncKeys, FoundBy, hash_of};
use crate::decision::status::LimitStatusOwned;
use crate::identity::key::ClientKey;
use crate::request::RequestInfo;
use crate::stats::Counted;

/// What came of a request on the straight path.
pub(crate) enum Straight {
    /// It may go; its response shall have these fields.
    Admitted(ResponseFields),
    /// This limit refuses it.
    Refused(LimitStatusOwned),
    /// It is not for this path: nothing has been decided.
    Otherwise,
}

/// A policy that limits the request.
struct Part<'r> {
    index: usize,
    rule: &'r Rule,
    tier: (usize, &'r Tier),
    key: KeyHash,
    cost: u64,
}

impl Rules {
    /// The shortest path: one limit of one policy for each client address. `None` if that is not all there is to it.
    #[inline]
    pub(crate) fn decide_by_client<C: Clock>(&self, engine: &Engine<C>, client: IpAddr) -> Option<(Straight, Instant)> {
        let [rule] = self.rules.as_slice() else { return None };
        let ([Tier { limits, items, .. }], Cost::Constant(cost)) = (rule.tiers.as_slice(), &rule.policy.cost) else {
            return None;
        };
        let [limit] = limits.as_slice() else { return None };
        let key = engine.limiter.hash(&(0_u8, ClientKey(self.config.grouping.group(client))));
        // On the limiter's clock, which is read while the bucket is fetched.
        let decision = engine.limiter.under(&limit.limit).check_n(&key, *cost);
        let now = decision.at();
        if !decision.is_allowed() {
            return Some((Straight::Refused(LimitStatusOwned::at_limit((0, 0, 0), &decision)), now));
        }
        rule.stats.counts.add(Counted::Allowed);
        if !self.config.answer.informs() {
            return Some((Straight::Admitted(ResponseFields::NONE), now));
        }
        let limit = self.limit_status(&LimitStatusOwned::at_limit((0, 0, 0), &decision));
        let fields = limit.map(|limit| self.config.answer.dialect().fields(&limit, items.mine().clone()));
        Some((Straight::Admitted(fields.unwrap_or(ResponseFields::NONE)), now))
    }

    /// Decides about `request`, whose client has been [found](Self::locate), if it is for this path.
    pub(crate) fn decide_straight<C: Clock>(
        &self,
        engine: &Engine<C>,
        request: &RequestInfo<'_>,
        now: Instant,
    ) -> Straight {
        let mut parts = SmallVec::<[Part<'_>; 2]>::new();
        if self.has_routes {
            for index in self.applicable(request) {
                if self.add(&mut parts, index, request, engine).is_none() {
                    return Straight::Otherwise;
                }
            }
        } else {
            for index in 0..self.rules.len() {
                if self.add(&mut parts, index, request, engine).is_none() {
                    return Straight::Otherwise;
                }
            }
        }
        match parts.as_slice() {
            // The common case by itself: one limit needs no list.
            [Part { tier: (tier, Tier { limits, .. }), key, cost, index, .. }] if limits.len() == 1 => {
                let decision = engine.limiter.at(now).under(&limits[0].limit).check_n(key, *cost);
                self.ended(&parts, (*index, *tier, 0), &decision)
            }
            _ => self.decide_parts(engine, &parts, now),
        }
    }

    /// Adds a policy of those that are for the request; `None` if it, or the request, is not for this path.
    #[inline(always)]
    fn add<'r, C: Clock>(
        &'r self,
        parts: &mut SmallVec<[Part<'r>; 2]>,
        index: usize,
        request: &'r RequestInfo<'r>,
        engine: &Engine<C>,
    ) -> Option<()> {
        let rule = self.rules.get(index)?;
        // Exemptions are counted by the other path, and a lacking key is looked at more closely there.
        if rule.has_exemptions && rule.policy.exempts(request) {
            return None;
        }
        let key: FoundBy<'_> = rule.key(request, self.config.grouping, &AsyncKeys::default())?;
        let (tier, cost) = (rule.tier(request), rule.policy.cost.of(request));
        parts.push(Part { index, rule, tier: (tier, rule.tiers.get(tier)?), key: hash_of(engine, &key), cost });
        Some(())
    }

    #[inline(never)]
    fn decide_parts<C: Clock>(&self, engine: &Engine<C>, parts: &SmallVec<[Part<'_>; 2]>, now: Instant) -> Straight {
        let limits = || parts.iter().flat_map(|part| part.tier.1.limits.iter().map(move |limit| (part, limit)));
        let items: SmallVec<[SetItem<'_>; 8]> =
            limits().map(|(part, limit)| SetItem { limit: &limit.limit, key: part.key, cost: part.cost }).collect();
        if items.is_empty() || items.len() > LimitSet::MAX {
            return Straight::Otherwise;
        }
        let Ok(decided) = engine.limiter.at(now).check_items(&items) else { return Straight::Otherwise };
        let mut from = decided.index();
        for part in parts {
            let Some(further) = from.checked_sub(part.tier.1.limits.len()) else {
                return self.ended(parts, (part.index, part.tier.0, from), &decided.decision());
            };
            from = further;
        }
        Straight::Otherwise // not reached: an index of the items, which are of the parts
    }

    #[inline(always)]
    fn ended(&self, parts: &SmallVec<[Part<'_>; 2]>, of: (usize, usize, usize), decision: &Decision<'_>) -> Straight {
        if !decision.is_allowed() {
            return Straight::Refused(LimitStatusOwned::at_limit(of, decision));
        }
        for part in parts {
            part.rule.stats.counts.add(Counted::Allowed);
        }
        let answer = &self.config.answer;
        if !answer.informs() {
            return Straight::Admitted(ResponseFields::NONE);
        }
        let Some(limit) = self.limit_status(&LimitStatusOwned::at_limit(of, decision)) else {
            return Straight::Admitted(ResponseFields::NONE);
        };
        let policies = match parts.as_slice() {
            [one] => one.tier.1.items.mine().clone(),
            several => {
                let several: SmallVec<[(usize, usize); 4]> =
                    several.iter().map(|part| (part.index, part.tier.0)).collect();
                self.policy_items(&several)
            }
        };
        Straight::Admitted(answer.dialect().fields(&limit, policies))
    }
}
