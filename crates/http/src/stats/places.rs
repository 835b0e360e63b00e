//! Who decided about the requests of a policy on a fleet.

use std::sync::atomic::{AtomicU64, Ordering};

use tollgate_redis::{FleetDecision, Place};

/// Decisions by who made them, since the policy first came up. A request under several limits counts once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PlaceCounts {
    /// By a server, in a round trip.
    pub server: u64,
    /// By tokens that this node had taken in advance.
    pub lease: u64,
    /// Refused by what a server had said a moment before, without asking again.
    pub known: u64,
    /// By this node, because the limit admits all or nothing.
    pub here: u64,
    /// By no server: what the policy says for an outage.
    pub outage: u64,
    /// Charges and refunds after a response that no server has confirmed, so that they may not have been made.
    pub unsettled: u64,
}

/// Those counts, as they grow.
#[derive(Debug, Default)]
pub(crate) struct Places([AtomicU64; 6]);

impl Places {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// One more decision.
    pub(crate) fn add(&self, decision: &FleetDecision) {
        let index = match decision.place() {
            Place::Server => 0,
            Place::Lease => 1,
            Place::Known => 2,
            Place::Here => 3,
            // And whatever else is no server's word.
            _ => 4,
        };
        // Relaxed, with the loads in `get`: numbers for people; they guard nothing.
        self.0[index].fetch_add(1, Ordering::Relaxed);
    }

    /// One more charge or refund that may not have been made.
    pub(crate) fn add_unsettled(&self) {
        // Relaxed: see `add`.
        self.0[5].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> PlaceCounts {
        // Relaxed: see `add`.
        let [server, lease, known, here, outage, unsettled] =
            self.0.each_ref().map(|count| count.load(Ordering::Relaxed));
        PlaceCounts { server, lease, known, here, outage, unsettled }
    }
}
