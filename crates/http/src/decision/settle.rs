//! Charging after the response: what it decides about a request that was admitted.

use http::{HeaderMap, StatusCode};
use tollgate::clock::Clock;

use crate::config::{Charge, Policy, Statuses, Unanswered, count};
use crate::decision::admitted::Admitted;
use crate::decision::compile::Rules;
use crate::decision::engine::Engine;

/// The response with which a request has ended, with its fields if they are known.
pub(crate) type Ended<'a> = (StatusCode, Option<&'a HeaderMap>);

/// What is still to be done about a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settlement {
    Charge,
    Refund,
    /// It has been charged its cost, and this is what it should be.
    Correct(u64),
}

impl Settlement {
    /// How much of what cost so much is to be charged, or else given back; nothing if nothing is.
    #[cfg(feature = "redis")]
    fn change_of(self, cost: u64) -> Option<(u64, bool)> {
        match self {
            Self::Charge => Some((cost, true)),
            Self::Refund => Some((cost, false)),
            Self::Correct(count) if count == cost => None,
            Self::Correct(count) => Some((count.abs_diff(cost), count > cost)),
        }
    }
}

/// What is to be done about a request that ended with this response, of which the fields may not be known, or without one.
fn settlement(policy: &Policy, response: Option<Ended<'_>>) -> Option<Settlement> {
    let said = |statuses: &Statuses, otherwise: Unanswered| match response {
        Some((status, _)) => statuses.contains(status),
        None => policy.unanswered == otherwise,
    };
    match &policy.charge {
        Charge::OnlyOn(statuses) if said(statuses, Unanswered::Charged) => Some(Settlement::Charge),
        Charge::RefundOn(statuses) if said(statuses, Unanswered::Free) => Some(Settlement::Refund),
        Charge::ByField(field) => match response {
            Some((_, headers)) => count(headers?, field).map(Settlement::Correct),
            None => (policy.unanswered == Unanswered::Free).then_some(Settlement::Refund),
        },
        _ => None,
    }
}

impl Admitted {
    /// Charges and refunds: the request has ended with this response, or without one.
    pub(crate) fn settle<C: Clock>(&mut self, engine: &Engine<C>, rules: &Rules, response: Option<Ended<'_>>) {
        for pending in self.pending.drain(..) {
            let Some(rule) = rules.rules.get(pending.policy) else { continue };
            let Some(settlement) = settlement(&rule.policy, response) else { continue };
            let limits = rule.tiers.get(pending.tier).map_or(&[][..], |tier| &tier.limits);
            for (index, limit) in limits.iter().enumerate() {
                let view = engine.limiter.under(&limit.limit);
                match settlement {
                    Settlement::Refund => view.key(&pending.key).refund_of(pending.cost, pending.at),
                    Settlement::Charge => {
                        view.key(&pending.key).charge(pending.cost);
                    }
                    Settlement::Correct(count) => match count.checked_sub(pending.cost) {
                        Some(more) => {
                            view.key(&pending.key).charge(more);
                        }
                        // Less than the cost.
                        None => view.key(&pending.key).refund_of(pending.cost.saturating_sub(count), pending.at),
                    },
                }
                let shown = self.tightest.as_mut();
                if let Some(shown) = shown.filter(|shown| shown.is_of(pending.policy, pending.tier, index)) {
                    shown.look_again(view.key(&pending.key).peek_n(pending.cost));
                }
            }
        }
        #[cfg(feature = "redis")]
        for pending in std::mem::take(&mut self.on_fleet) {
            let Some(rule) = rules.rules.get(pending.policy) else { continue };
            let Some(settlement) = settlement(&rule.policy, response) else { continue };
            let Some((cost, is_charge)) = settlement.change_of(pending.item.cost()) else { continue };
            let limit = rule.tiers.get(pending.tier).and_then(|tier| tier.limits.get(pending.limit));
            let shown = self.tightest.as_mut();
            let shown = shown.filter(|shown| shown.is_of(pending.policy, pending.tier, pending.limit));
            if let Some((shown, limit)) = shown.zip(limit) {
                shown.change(limit.limit.quota(), pending.item.cost(), cost, is_charge);
            }
            pending.settle(rules, rule, (cost, is_charge), engine.limiter.now());
        }
    }
}
