//! What all rules of a limiter share, and what outlives them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ahash::RandomState;
use tollgate::clock::Clock;
use tollgate::error::LimitError;
use tollgate::{Limit, Limiter, Quota};

use crate::decision::in_flight::InFlight;
use crate::stats::Labeller;

/// What stays when the rules change: the buckets and the requests in flight.
#[derive(Debug)]
pub(crate) struct Engine<C> {
    pub(crate) limiter: Limiter<C>,
    pub(crate) in_flight: Arc<InFlight>,
    /// For the identity of keys outside the limiter; of this process alone.
    pub(crate) hasher: RandomState,
    pub(crate) labeller: Labeller,
    /// The limits that were last in force, by their identities, also of policies that are there no more: what was used under
    /// them counts when they come back.
    pub(crate) known: Mutex<HashMap<String, Limit>>,
}

impl<C: Clock> Engine<C> {
    /// Whether other processes have the table as well.
    pub(crate) fn is_shared(&self) -> bool {
        self.limiter.clock().is_of_shared_table()
    }

    /// What is known under an identity becomes a limit of `quota`.
    pub(super) fn limit(&self, identity: &str, quota: Quota) -> Result<Limit, LimitError> {
        if self.is_shared() {
            // What became of another limit by a change is no limit of a process that never had that one. By name and quota it
            // is everybody's.
            return self.limiter.prepare(identity, quota);
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(identity).copied();
        match known {
            Some(old) => self.limiter.change_quota(&old, quota),
            None => self.limiter.prepare(identity, quota),
        }
    }

    /// These limits are in force: what they were is what later rules change.
    pub(crate) fn remember(&self, limits: impl Iterator<Item = (String, Limit)>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).extend(limits);
    }
}
