//! How the policies are doing, for an admin page or a log.

use std::time::Duration;

use tollgate::KeyHash;
use tollgate::clock::Instant;

use super::counts::PolicyCounts;
use super::label::Label;

/// How one policy is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PolicyStats {
    /// Its name.
    pub name: String,
    /// Which requests it is for, in words.
    pub route: String,
    /// Which requests share a bucket.
    pub key: String,
    /// Its limits, as rate strings; those of a tier with the tier in front.
    pub limits: Vec<String>,
    /// How many requests of a key may be in flight.
    pub concurrency: Option<u64>,
    /// Whether it is in shadow mode and only counts what it would refuse.
    pub is_shadow: bool,
    /// What it has counted.
    pub counts: PolicyCounts,
    /// If it is on a fleet, what it does in an outage, whether it is leased, and who has decided.
    #[cfg(feature = "redis")]
    pub fleet: Option<FleetStats>,
    /// Refusals that are not in `refused`, because another thread was at the list at that moment.
    pub missed: u64,
    /// The keys refused most, most refused first.
    pub refused: Vec<RefusedKey>,
    /// Refusals by the path that the policy names and the request is of; `*` where it names none.
    pub refused_by_path: Vec<(String, u64)>,
    /// The keys of the most requests that it let pass, most first, if that is [watched](crate::LimiterConfig::watch_use).
    pub used: Vec<UsedKey>,
}

/// A key of which requests passed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UsedKey {
    /// The key, as people may see it.
    pub key: Label,
    /// About how many of its requests passed, since the policy first came up.
    pub requests: u64,
    /// As many of these may have been of others.
    pub error: u64,
    /// How much is left to it now, as with [`RefusedKey`].
    pub remaining: Option<u64>,
    /// How long until a request of it would be admitted, as with [`RefusedKey`].
    pub retry_after: Option<Duration>,
}

/// How a policy on a fleet is doing.
#[cfg(feature = "redis")]
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct FleetStats {
    /// What it does when no server decides.
    pub on_outage: tollgate_redis::OnOutage,
    /// Whether this node takes tokens in advance.
    pub is_leased: bool,
    /// Who has decided.
    pub places: super::places::PlaceCounts,
}

/// A key that was refused.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RefusedKey {
    /// The key, as people may see it.
    pub key: Label,
    /// How often it was refused, or somewhat less often.
    pub refused: u64,
    /// By how much `refused` may be too high.
    pub error: u64,
    /// The first refusal since the key is in the list.
    pub first: Instant,
    /// The latest.
    pub last: Instant,
    /// How much is left to it now, under the limit that has least; nothing if the policy has no rate.
    pub remaining: Option<u64>,
    /// How long until a request of it would be admitted, zero if now; `None` if it is unknown, as with a policy that has no
    /// rate.
    pub retry_after: Option<Duration>,
}

/// A key, as the lists remember it.
#[derive(Debug, Clone)]
pub(crate) struct TopEntry {
    pub(crate) label: Label,
    pub(crate) key: KeyHash,
    pub(crate) tier: usize,
}
