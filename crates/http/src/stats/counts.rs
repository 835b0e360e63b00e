//! What is counted of each policy, for callers and for the `metrics` facade.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counts of one policy since it first came up. They only grow, but for a moment may not agree with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PolicyCounts {
    /// Requests that it was asked for and that were admitted.
    pub allowed: u64,
    /// Requests that it refused.
    pub refused: u64,
    /// Requests that it would have refused, were it not in shadow mode.
    pub shadow_refused: u64,
    /// Requests that it exempts.
    pub exempt: u64,
}

/// One count, kept here and by whatever recorder is installed.
pub(crate) struct Count {
    here: AtomicU64,
    #[cfg(feature = "metrics")]
    there: metrics::Counter,
}

impl Count {
    fn new(policy: &str, outcome: &'static str) -> Self {
        #[cfg(not(feature = "metrics"))]
        let _ = (policy, outcome);
        Self {
            here: AtomicU64::new(0),
            #[cfg(feature = "metrics")]
            there: metrics::counter!("tollgate_requests_total", "policy" => policy.to_owned(), "outcome" => outcome),
        }
    }

    pub(crate) fn add(&self) {
        // Relaxed, with the load in `get`: a number for people; it guards nothing.
        self.here.fetch_add(1, Ordering::Relaxed);
        #[cfg(feature = "metrics")]
        self.there.increment(1);
    }

    fn get(&self) -> u64 {
        // Relaxed, with `add`: see there.
        self.here.load(Ordering::Relaxed)
    }
}

/// The counts of one policy; they outlive a reload.
pub(crate) struct Counts {
    pub(crate) allowed: Count,
    pub(crate) refused: Count,
    pub(crate) shadow_refused: Count,
    pub(crate) exempt: Count,
}

impl Counts {
    pub(crate) fn new(policy: &str) -> Self {
        #[cfg(feature = "metrics")]
        metrics::describe_counter!("tollgate_requests_total", "Requests by policy and what became of them");
        Self {
            allowed: Count::new(policy, "allowed"),
            refused: Count::new(policy, "refused"),
            shadow_refused: Count::new(policy, "shadow_refused"),
            exempt: Count::new(policy, "exempt"),
        }
    }

    pub(crate) fn get(&self) -> PolicyCounts {
        PolicyCounts {
            allowed: self.allowed.get(),
            refused: self.refused.get(),
            shadow_refused: self.shadow_refused.get(),
            exempt: self.exempt.get(),
        }
    }
}
