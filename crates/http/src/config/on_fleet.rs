//! How a policy is on a fleet.

use tollgate_redis::OnOutage;

/// How a policy is on a fleet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnFleet {
    pub(crate) on_outage: OnOutage,
    pub(crate) is_leased: bool,
}

/// What a limit is called on the fleet: by its policy, its tier, and how many limits like it come before it. No name holds the
/// separator, so that no two are called alike.
pub(crate) fn fleet_name(policy: &str, tier: Option<&str>, alike: usize) -> String {
    match (tier, alike) {
        (None, 0) => policy.to_owned(),
        _ => format!("{policy}\u{1f}{}\u{1f}{alike}", tier.unwrap_or_default()),
    }
}
