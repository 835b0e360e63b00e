//! Charging after the response: what it decides about a request that was admitted.

use http::StatusCode;
use tollgate::clock::Clock;

use crate::config::{Charge, Policy, Statuses, Unanswered};
use crate::decision::admitted::Admitted;
use crate::decision::compile::Rules;
use crate::decision::engine::Engine;

/// What is still to be done about a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settlement {
    Charge,
    Refund,
}

/// What is to be done about a request that ended with `status`, or without a response.
fn settlement(policy: &Policy, status: Option<StatusCode>) -> Option<Settlement> {
    let said = |statuses: &Statuses, otherwise: Unanswered| match status {
        Some(status) => statuses.contains(status),
        None => policy.unanswered == otherwise,
    };
    match &policy.charge {
        Charge::OnlyOn(statuses) if said(statuses, Unanswered::Charged) => Some(Settlement::Charge),
        Charge::RefundOn(statuses) if said(statuses, Unanswered::Free) => Some(Settlement::Refund),
        _ => None,
    }
}

impl Admitted {
    /// Charges and refunds: the request has ended with a response of this status, or without one.
    pub(crate) fn settle<C: Clock>(&mut self, engine: &Engine<C>, rules: &Rules, status: Option<StatusCode>) {
        for pending in self.pending.drain(..) {
            let Some(rule) = rules.rules.get(pending.policy) else { continue };
            let Some(settlement) = settlement(&rule.policy, status) else { continue };
            let limits = rule.tiers.get(pending.tier).map_or(&[][..], |tier| &tier.limits);
            for (index, limit) in limits.iter().enumerate() {
                let view = engine.limiter.under(&limit.limit);
                match settlement {
                    Settlement::Refund => view.key(&pending.key).refund_of(pending.cost, pending.at),
                    Settlement::Charge => {
                        view.key(&pending.key).charge(pending.cost);
                    }
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
            let Some(settlement) = settlement(&rule.policy, status) else { continue };
            let is_charge = settlement == Settlement::Charge;
            if let Some(shown) =
                self.tightest.as_mut().filter(|shown| shown.is_of(pending.policy, pending.tier, pending.limit))
            {
                shown.change(pending.item.cost(), is_charge);
            }
            pending.settle(rules, rule, is_charge, engine.limiter.now());
        }
    }
}
