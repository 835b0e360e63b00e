//! A limit's state for a client, as a decision keeps it and as answers tell it.

use std::time::Duration;

use http::HeaderValue;
#[cfg(feature = "redis")]
use tollgate::Quota;
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
    pub(super) fn change(&mut self, quota: &Quota, asked: u64, cost: u64, is_charge: bool) {
        let Report { remaining, burst, reset_after, verdict, retry_after } = &mut self.report;
        *remaining =
            if is_charge { remaining.saturating_sub(cost) } else { remaining.saturating_add(cost).min(*burst) };
        // As long as time takes to pay for so many.
        let pays = |tokens: u64| {
            let nanos =
                quota.period().as_nanos().saturating_mul(tokens.into()).div_ceil(u128::from(quota.count().max(1)));
            Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
        };
        let fits_after = match (quota.algorithm().is_window(), is_charge) {
            // When the window ends is known if it had begun; else that it does within a period.
            (true, true) if reset_after.is_zero() => {
                *reset_after = quota.period();
                *reset_after
            }
            (true, _) => *reset_after,
            (false, _) => {
                let full = pays(*burst);
                // As the engine has it where none is set.
                let debt = quota.max_debt().unwrap_or_else(|| full.max(Duration::from_secs(3_600)));
                let most = full.saturating_add(debt);
                *reset_after = match is_charge {
                    true => reset_after.saturating_add(pays(cost)).min(most),
                    false => reset_after.saturating_sub(pays(cost)),
                };
                reset_after.saturating_sub(pays(burst.saturating_sub(asked)))
            }
        };
        (*verdict, *retry_after) = match asked <= *remaining {
            true => (Verdict::Allowed, Some(Duration::ZERO)),
            false => (Verdict::Refused, Some(fits_after)),
        };
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
            policies.iter().filter_map(tier).map(|tier| &tier.items.here().policies).filter(|items| !items.is_empty());
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

#[cfg(all(test, feature = "redis"))]
mod tests {
    use super::*;

    /// What is told after a charge or a refund is what the same limit in this process tells after it.
    #[test]
    fn a_change_on_a_fleet_changes_the_times_too() {
        let told = |quota: &str, (remaining, secs): (u64, u64), asked: u64, (cost, is_charge): (u64, bool)| {
            let quota: Quota = quota.parse().unwrap();
            let reset_after = Duration::from_secs(secs);
            let report = Report {
                verdict: Verdict::Allowed,
                burst: quota.burst(),
                remaining,
                retry_after: Some(Duration::ZERO),
                reset_after,
            };
            let at = Instant::from_secs(0);
            let mut status = LimitStatusOwned { policy: 0, tier: 0, limit: Some(0), at, report, is_outage: false };
            status.change(&quota, asked, cost, is_charge);
            let Report { remaining, verdict, retry_after, reset_after, .. } = status.report;
            let wait = if verdict == Verdict::Allowed { reset_after } else { retry_after.unwrap() };
            (remaining, wait.as_secs())
        };
        let hour = "100/hour";
        assert_eq!(told(hour, (98, 72), 2, (50, true)), (48, 1_872));
        assert_eq!(told(hour, (98, 72), 2, (2, false)), (100, 0));
        assert_eq!(told(hour, (98, 72), 2, (99_998, true)), (0, 3_672));
        assert_eq!(told("5 per 15 minutes", (5, 0), 1, (1, true)), (4, 180));
        assert_eq!(told("5 per 15 minutes", (1, 720), 1, (1, true)), (0, 180));
        assert_eq!(told("5/minute as fixed-window", (5, 0), 1, (1, true)), (4, 60));
        assert_eq!(told("5/minute as fixed-window", (1, 20), 1, (1, true)), (0, 20));
    }
}
