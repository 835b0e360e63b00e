//! What is counted of each policy, for callers and for the `metrics` facade.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::per_thread::PerThread;

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

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counted {
    Allowed,
    Refused,
    ShadowRefused,
    Exempt,
}

impl Counted {
    const ALL: [Self; 4] = [Self::Allowed, Self::Refused, Self::ShadowRefused, Self::Exempt];

    #[cfg(feature = "metrics")]
    const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::ShadowRefused => "shadow_refused",
            Self::Exempt => "exempt",
        }
    }
}

/// The counts of one policy; they outlive a reload. Kept here, by thread, and by whatever recorder is installed.
pub(crate) struct Counts {
    here: PerThread<[AtomicU64; Counted::ALL.len()]>,
    #[cfg(feature = "metrics")]
    there: [metrics::Counter; Counted::ALL.len()],
}

impl Counts {
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "the name is the recorder's"))]
    pub(crate) fn new(policy: &str) -> Self {
        #[cfg(feature = "metrics")]
        metrics::describe_counter!("tollgate_requests_total", "Requests by policy and what became of them");
        Self {
            here: PerThread::new(Default::default),
            #[cfg(feature = "metrics")]
            there: Counted::ALL.map(|counted| {
                metrics::counter!("tollgate_requests_total", "policy" => policy.to_owned(), "outcome" => counted.name())
            }),
        }
    }

    /// One more.
    pub(crate) fn add(&self, counted: Counted) {
        let index = counted as usize; // of a unit variant, in the order of `ALL`
        // Relaxed, with the loads in `get`: numbers for people; they guard nothing. Where no other thread writes, a load and a store
        // lose none.
        match self.here.own() {
            Ok(mine) => mine[index].store(mine[index].load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed),
            Err(shared) => drop(shared[index].fetch_add(1, Ordering::Relaxed)),
        }
        #[cfg(feature = "metrics")]
        self.there[index].increment(1);
    }

    pub(crate) fn get(&self) -> PolicyCounts {
        // Relaxed, with `add`: see there.
        let sum = |counted: Counted| {
            self.here.all().map(|counts| counts[counted as usize].load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
        };
        PolicyCounts {
            allowed: sum(Counted::Allowed),
            refused: sum(Counted::Refused),
            shadow_refused: sum(Counted::ShadowRefused),
            exempt: sum(Counted::Exempt),
        }
    }
}
