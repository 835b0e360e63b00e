//! One part of a request: a limit, a key, a cost; and what is decided about it.

use tollgate::clock::Clock;
use tollgate::{Limiter, Verdict};

use crate::decision::{FleetDecision, Place};
use crate::error::Outage;
use crate::limit::FleetLimit;
use crate::reply::Part;
use crate::rule::Evidence;
use crate::secret::{Name, Secret, Subject};

/// What to do with what fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Take,
    Peek,
    /// For a request that may wait so many microseconds.
    Reserve(u64),
    /// The same for all limits together, each of which counts it as of when it goes.
    ReserveAll(u64),
}

/// What one request needs of one limit, for one key; from [`Fleet::item`](crate::Fleet::item).
#[derive(Debug, Clone)]
pub struct FleetItem {
    pub(crate) limit: FleetLimit,
    pub(crate) subject: Subject,
    pub(crate) cost: u64,
}

impl FleetItem {
    /// The limit.
    #[must_use]
    pub const fn limit(&self) -> &FleetLimit {
        &self.limit
    }

    /// The same request and key, under another limit.
    #[must_use]
    pub fn under(&self, limit: &FleetLimit) -> Self {
        Self { limit: limit.clone(), ..self.clone() }
    }

    /// The same request of another cost.
    #[must_use]
    pub fn costing(&self, cost: u64) -> Self {
        Self { cost, ..self.clone() }
    }

    /// What the request costs.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.cost
    }

    /// What its key is called on the servers.
    pub(crate) fn name(&self, secret: &Secret) -> &Name {
        self.subject.name(secret)
    }

    /// The decision about this item by a reply.
    pub(crate) fn decided(&self, part: &Part, now: u64) -> FleetDecision {
        let report = self.limit.0.rule.report(self.cost, now, part.fits, &part.evidence);
        FleetDecision { report, place: Place::Server, at_us: Some(now), mine: part.mine() }
    }

    /// The decision that needs no server.
    pub(crate) fn without_server(&self) -> Option<FleetDecision> {
        without_server(&self.limit, self.cost)
    }

    /// The decision when no server made it, by `local` where this node decides by itself.
    pub(crate) fn in_outage<C: Clock>(&self, local: &Limiter<C>, outage: Outage, mode: Mode) -> FleetDecision {
        let choice = self.limit.on_outage();
        let rule = &self.limit.0.rule;
        let report = match &self.limit.local(local) {
            _ if self.cost > rule.most() => rule.report(self.cost, 0, false, &Evidence::None),
            Some(limit) => {
                let local = local.under(limit);
                let key = local.key(self.subject.bytes());
                let report = match mode {
                    Mode::Peek => key.peek_n(self.cost).report(),
                    Mode::Take | Mode::Reserve(_) | Mode::ReserveAll(_) => key.check_n(self.cost).report(),
                };
                match report.verdict {
                    // Only under the share.
                    Verdict::NeverFits => crate::outage::refusal(rule.most()),
                    _ => report,
                }
            }
            // Of nothing, as ever.
            None if self.cost == 0 => rule.report(0, 0, true, &Evidence::None),
            None => choice.report(rule.most()),
        };
        FleetDecision { report, place: Place::Outage(choice, outage), at_us: None, mine: 0 }
    }

    /// Gives back to `local` what [`in_outage`](Self::in_outage) took there.
    pub(crate) fn give_back_here<C: Clock>(&self, local: &Limiter<C>) {
        if let Some(limit) = self.limit.local(local) {
            local.under(&limit).key(self.subject.bytes()).refund(self.cost);
        }
    }
}

/// The decision that needs no server.
pub(crate) fn without_server(limit: &FleetLimit, cost: u64) -> Option<FleetDecision> {
    let report = limit.0.rule.without_server(cost)?;
    Some(FleetDecision { report, place: Place::Here, at_us: None, mine: 0 })
}

/// Two items on one bucket are one, of both costs: the script reads all before it writes any. The items, and which of them each
/// that was given is.
pub(crate) fn merged(items: Vec<FleetItem>, secret: &Secret) -> (Vec<FleetItem>, Vec<usize>) {
    let mut merged: Vec<(String, FleetItem)> = Vec::new();
    let mut places = Vec::new();
    for item in items {
        let key = item.limit.key(item.name(secret));
        match merged.iter_mut().position(|(known, _)| *known == key) {
            Some(place) => {
                let known = &mut merged[place].1;
                // Of two quotas the one with less room counts; both write the same bucket.
                if item.limit.0.rule.most() < known.limit.0.rule.most() {
                    known.limit = item.limit;
                }
                known.cost = known.cost.saturating_add(item.cost);
                places.push(place);
            }
            None => {
                places.push(merged.len());
                merged.push((key, item));
            }
        }
    }
    (merged.into_iter().map(|(_, item)| item).collect(), places)
}
