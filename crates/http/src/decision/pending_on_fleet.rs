//! What a response decides on a fleet.

use std::sync::Arc;

use tollgate::clock::Instant;
use tollgate_redis::{FleetDecision, FleetItem};

use crate::decision::compile::{Rule, Rules};

/// A charge, or a refund, that the response decides.
pub(crate) struct PendingOnFleet {
    pub(crate) policy: usize,
    pub(crate) tier: usize,
    pub(crate) limit: usize,
    pub(crate) item: FleetItem,
    pub(crate) decision: FleetDecision,
    pub(crate) at: Instant,
}

impl PendingOnFleet {
    /// Charges or gives back so much, and does not wait for it.
    pub(crate) fn settle(self, rules: &Rules, rule: &Rule, (cost, is_charge): (u64, bool), now: Instant) {
        let Some(fleet) = rules.config.fleet.clone() else { return };
        let item = self.item.costing(cost);
        let (stats, age) = (Arc::clone(&rule.stats), now.saturating_duration_since(self.at));
        fleet.clone().spawn(async move {
            let settled = match is_charge {
                true => fleet.charge_item(&item).await.map(drop),
                false => fleet.give_back(&item, &self.decision, age).await,
            };
            if settled.is_err() {
                stats.places.add_unsettled();
            }
        });
    }
}
