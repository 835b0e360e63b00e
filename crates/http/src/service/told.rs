//! What a service round the limiter is told of a decision, for a log.

use tollgate::clock::Clock;

use crate::answer::LimitStatus;
use crate::decision::admission::Admission;
use crate::decision::refusal::Refusal;

/// In the extensions of a response, if that is [asked for](crate::LimiterConfig::tell_standing): the limit that refused the request, or
/// is nearest to refusing its client, whatever header fields tell.
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
        let status = admission.limit_status().filter(|_| admission.rules.config.tells_standing);
        status.map(|status| Self::of(&status))
    }

    pub(super) fn of_refused(refusal: &Refusal) -> Option<Self> {
        let policy = refusal.policy();
        let unlimited = || Self { policy: policy.to_owned(), limit: policy.to_owned(), remaining: None };
        let told = || refusal.limit_status().map_or_else(unlimited, |status| Self::of(&status));
        refusal.rules.config.tells_standing.then(told)
    }

    fn of(status: &LimitStatus<'_>) -> Self {
        let remaining = Some(status.report.remaining);
        Self { policy: status.policy.to_owned(), limit: status.name.to_owned(), remaining }
    }
}
