//! What an admitted request holds until its response.

use std::time::Duration;

use smallvec::SmallVec;
use tollgate::KeyHash;
use tollgate::clock::{Clock, Instant};

use crate::decision::compile::Rules;
use crate::decision::engine::Engine;
use crate::decision::gate::{self, Gates};
use crate::decision::in_flight::Permit;
use crate::decision::status::LimitStatusOwned;

/// What an admitted request takes with it.
#[derive(Default)]
pub(crate) struct Admitted {
    /// The limit that is nearest to refusing the client, if any limit applied.
    pub(crate) tightest: Option<LimitStatusOwned>,
    /// The policies that matched it, and its tier in each, for `RateLimit-Policy`.
    pub(crate) policies: SmallVec<[(usize, usize); 4]>,
    /// How long it has to wait in a queue.
    pub(crate) wait: Duration,
    /// The gates that it must pass then. Boxed, since few requests have any and every admission would grow by their size.
    pub(crate) at_gates: Option<Box<AtGates>>,
    /// Its places under bounds on concurrency.
    pub(crate) permits: Permits,
    /// What its response decides.
    pub(crate) pending: SmallVec<[Pending; 1]>,
    /// The same, of policies on a fleet.
    #[cfg(feature = "redis")]
    pub(crate) on_fleet: Vec<crate::decision::pending_on_fleet::PendingOnFleet>,
    /// The shadow policies that would have refused it.
    pub(crate) shadow_refused: Box<[usize]>,
}

/// Most requests are under no bound on concurrency: empty, it costs nothing.
pub(crate) type Permits = Vec<Permit>;

/// What has gates that a request must pass, and when it comes to them.
pub(crate) struct AtGates {
    pub(super) at: Instant,
    pub(super) of: Vec<Pending>,
}

/// A charge, or a refund, that the response decides; or gates that are still to be passed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) policy: usize,
    pub(crate) tier: usize,
    pub(crate) key: KeyHash,
    pub(crate) cost: u64,
    /// When it was decided about.
    pub(crate) at: Instant,
}

impl Admitted {
    /// Whether its response decides nothing.
    pub(crate) fn is_done(&self) -> bool {
        #[cfg(feature = "redis")]
        if !self.on_fleet.is_empty() {
            return false;
        }
        self.pending.is_empty() && self.at_gates.is_none()
    }

    /// Its response decides nothing any more.
    pub(crate) fn forget_pending(&mut self) {
        self.pending.clear();
        #[cfg(feature = "redis")]
        self.on_fleet.clear();
    }

    /// Keeps the limit with the fewest remaining.
    pub(super) fn nearest(&mut self, status: LimitStatusOwned) {
        if self.tightest.is_none_or(|tightest| status.report.remaining < tightest.report.remaining) {
            self.tightest = Some(status);
        }
    }

    /// Passes the gates as of the instant for which it has waited; else says how much longer it has to.
    pub(crate) fn pass<C: Clock>(&mut self, engine: &Engine<C>, rules: &Rules) -> Result<(), Duration> {
        let Some(AtGates { at, of }) = self.at_gates.as_deref_mut() else { return Ok(()) };
        let mut gates = Gates::new();
        for Pending { policy, tier, key, cost, .. } in of {
            let tier = rules.rules.get(*policy).and_then(|rule| rule.tiers.get(*tier));
            let limits = tier.map_or(&[][..], |tier| &tier.limits);
            gates.extend(limits.iter().filter_map(|limit| Some((limit.gate.as_ref()?, *key, *cost))));
        }
        if let Err(wait) = gate::pass(engine, &gates, *at) {
            *at = at.saturating_add(wait);
            return Err(wait);
        }
        self.at_gates = None;
        Ok(())
    }
}
