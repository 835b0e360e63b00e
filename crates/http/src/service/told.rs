//! What a service round the limiter is told of a decision, for a log.

use tollgate::clock::Clock;

use crate::answer::LimitStatus;
use crate::decision::admission::Admission;
use crate::decision::refusal::Refusal;

/// In the extensions of a request: its response is to have a [`ToldStanding`] in its own. A request that has it takes
/// the longer way through the limiter, by which it is decided and counted the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TellStanding;

/// In the extensions of a response: the limit that refused the request, or is nearest to refusing its client, whatever header fields
/// tell.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToldStanding {
    /// The policy.
    pub policy: String,
    /// The limit, as `RateLimit-Policy` names it: as its policy, with tier and period where there are several.
    pub limit: String,
    /// How much is left to the client; nothing if no limit refused it, as for want of a key.
    pub remaining: Option<u64>,
}

impl ToldStanding {
    pub(super) fn of_admitted<C: Clock>(admission: &Admission<C>) -> Option<Self> {
        admission.limit_status().map(|status| Self::of(&status))
    }

    pub(super) fn of_refused(refusal: &Refusal) -> Self {
        let policy = refusal.policy();
        let unlimited = || Self { policy: policy.to_owned(), limit: policy.to_owned(), remaining: None };
        refusal.limit_status().map_or_else(unlimited, |status| Self::of(&status))
    }

    fn of(status: &LimitStatus<'_>) -> Self {
        let remaining = Some(status.report.remaining);
        Self { policy: status.policy.to_owned(), limit: status.name.to_owned(), remaining }
    }
}
