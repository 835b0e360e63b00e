//! What a policy says whose counts are on a fleet, and what it cannot say.

use tollgate::Algorithm;
use tollgate_redis::{FleetLimit, OnOutage};

use super::charge::Charge;
use super::policy::Policy;
use crate::error::ConfigError;

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

impl Policy {
    /// What it cannot be if it is on a fleet.
    pub(super) fn validate_on_fleet(&self) -> Result<(), ConfigError> {
        let Some(OnFleet { is_leased, .. }) = self.fleet else { return Ok(()) };
        let cannot = |why: String| Err(ConfigError::NotOnFleet { policy: self.name.clone(), why });
        if self.concurrency.is_some() {
            return cannot(
                "requests in flight are counted in each process by itself; give that bound to a policy of its own".to_owned(),
            );
        }
        if is_leased && self.charge != Charge::OnRequest {
            return cannot(
                "leases take tokens before requests come, so they cannot be charged after the response; leave out one of the two"
                    .to_owned(),
            );
        }
        let mut can_lease = false;
        let tiers = self.tiers.iter().flat_map(|tiers| &tiers.tiers);
        let tiers = tiers.map(|(name, quotas)| (Some(name.as_str()), quotas));
        for (tier, quotas) in [(None, &self.limits)].into_iter().chain(tiers) {
            for quota in quotas {
                if quota.algorithm() == Algorithm::LeakyQueue {
                    return cannot(format!("requests do not wait in a queue there, as `{quota:#}` wants"));
                }
                match FleetLimit::check(&fleet_name(&self.name, tier, quotas.len()), *quota, None) {
                    Ok(can) => can_lease |= can,
                    Err(error) => return cannot(error.to_string()),
                }
            }
        }
        if is_leased && !can_lease {
            return cannot(
                "none of its limits can be leased: token buckets and fixed windows of 8 or more can, that take 10 ms or more to fill"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
