//! A limit's state for a client, as a decision keeps it and as answers tell it.

use std::time::Duration;

use http::HeaderValue;
use tollgate::clock::Instant;
use tollgate::{Decision, Report, Verdict};

use crate::answer::{LimitStatus, QuotaUnit};
use crate::decision::compile::Rules;
use crate::decision::matching::MatchedPolicy;

/// A [`LimitStatus`] that borrows nothing: indices in the rules, and the figures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LimitStatusOwned {
    policy: usize,
    tier: usize,
    /// The index of the limit; the bound on concurrency has none.
    limit: Option<usize>,
    pub(super) at: Instant,
    pub(super) report: Report,
    /// Whether no limit refuses, but no server could say, and the policy is closed then.
    pub(super) is_outage: bool,
}

impl LimitStatusOwned {
    pub(super) fn of(matched: &MatchedPolicy<'_>, limit: Option<usize>, at: Instant, report: Report) -> Self {
        Self { policy: matched.index, tier: matched.tier, limit, at, report, is_outage: false }
    }

    /// Of a limit: policy, tier and its index there.
    #[inline]
    pub(super) fn at_limit((policy, tier, limit): (usize, usize, usize), decision: &Decision<'_>) -> Self {
        Self { policy, tier, limit: Some(limit), at: decision.at(), report: decision.report(), is_outage: false }
    }

    /// Whether this is about that limit of that policy in that tier.
    pub(super) fn is_of(&self, policy: usize, tier: usize, limit: usize) -> bool {
        (self.policy, self.tier, self.limit) == (policy, tier, Some(limit))
    }

    /// The state after a charge or a refund.
    pub(crate) fn look_again(&mut self, decision: Decision<'_>) {
        (self.at, self.report) = (decision.at(), decision.report());
    }

    /// The state after a charge or a refund on a fleet, as far as it is known without asking again.
    #[cfg(feature = "redis")]
    pub(super) fn change(&mut self, cost: u64, is_charge: bool) {
        let Report { remaining, burst, .. } = &mut self.report;
        *remaining =
            if is_charge { remaining.saturating_sub(cost) } else { remaining.saturating_add(cost).min(*burst) };
    }

    /// Closed for want of an answer.
    #[cfg(feature = "redis")]
    pub(super) fn closed(policy: usize, tier: usize, at: Instant) -> Self {
        let wait = Duration::from_secs(1);
        let report =
            Report { verdict: Verdict::Refused, burst: 0, remaining: 0, retry_after: Some(wait), reset_after: wait };
        Self { policy, tier, limit: None, at, report, is_outage: true }
    }

    /// With a policy that this request can never pass.
    pub(crate) fn never(matched: &MatchedPolicy<'_>, at: Instant) -> Self {
        let limit = (!matched.limits().is_empty()).then_some(0);
        let burst = matched.limits().first().map_or(0, |limit| limit.limit.quota().burst());
        let report =
            Report { verdict: Verdict::NeverFits, burst, remaining: 0, retry_after: None, reset_after: Duration::ZERO };
        Self::of(matched, limit, at, report)
    }

    /// Whether the policy is closed because no server decided.
    pub(crate) const fn is_outage(&self) -> bool {
        self.is_outage
    }

    pub(crate) const fn report(&self) -> &Report {
        &self.report
    }

    pub(crate) const fn policy(&self) -> (usize, usize) {
        (self.policy, self.tier)
    }
}

impl Rules {
    /// `status` as answers tell it; `None` if it is of other rules.
    pub(crate) fn limit_status(&self, status: &LimitStatusOwned) -> Option<LimitStatus<'_>> {
        let rule = self.rules.get(status.policy)?;
        let tier = rule.tiers.get(status.tier)?;
        let policy = rule.policy.name.as_str();
        let (name, quota, unit, item_start) = match status.limit {
            Some(limit) => {
                let limit = tier.limits.get(limit)?;
                (limit.name.as_str(), limit.limit.quota(), QuotaUnit::Requests, Some(limit.item_start.as_str()))
            }
            None => (policy, tier.in_flight.as_ref()?, QuotaUnit::ConcurrentRequests, None),
        };
        Some(LimitStatus { name, policy, quota, unit, at: status.at, report: status.report, item_start })
    }

    /// What `RateLimit-Policy` says of policies in their tiers.
    pub(crate) fn policy_items(&self, policies: &[(usize, usize)]) -> HeaderValue {
        let tier = |(policy, tier): &(usize, usize)| self.rules.get(*policy)?.tiers.get(*tier);
        let mut items =
            policies.iter().filter_map(tier).map(|tier| tier.items.mine()).filter(|items| !items.is_empty());
        let Some(first) = items.next() else { return HeaderValue::from_static("") };
        let Some(second) = items.next() else { return first.clone() };
        let mut list = bytes::BytesMut::from(first.as_bytes());
        for items in [second].into_iter().chain(items) {
            list.extend_from_slice(b", ");
            list.extend_from_slice(items.as_bytes());
        }
        HeaderValue::from_maybe_shared(list.freeze()).unwrap_or(HeaderValue::from_static(""))
    }
}
