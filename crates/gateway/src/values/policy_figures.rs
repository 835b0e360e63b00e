//! The figures of a policy, as every JSON of this program has them.

use serde::Serialize;
use tollgate_http::stats::PolicyStats;

/// What a policy is and what it has counted, all but its name.
#[derive(Debug, Serialize)]
pub(crate) struct PolicyFigures {
    route: String,
    key: String,
    limits: Vec<String>,
    concurrency: Option<u64>,
    shadow: bool,
    allowed: u64,
    refused: u64,
    shadow_refused: u64,
    exempt: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<OnRedis>,
}

/// What a policy on Redis does there.
#[derive(Debug, Serialize)]
struct OnRedis {
    on_outage: &'static str,
    leased: bool,
    /// Decisions of each of its limits, by who made them.
    server: u64,
    lease: u64,
    known: u64,
    here: u64,
    outage: u64,
    /// Charges and refunds after a response that were not confirmed.
    unsettled: u64,
}

impl From<&PolicyStats> for PolicyFigures {
    fn from(stats: &PolicyStats) -> Self {
        let PolicyStats { route, key, limits, concurrency, is_shadow, counts, fleet, .. } = stats;
        Self {
            route: route.clone(),
            key: key.clone(),
            limits: limits.clone(),
            concurrency: *concurrency,
            shadow: *is_shadow,
            allowed: counts.allowed,
            refused: counts.refused,
            shadow_refused: counts.shadow_refused,
            exempt: counts.exempt,
            redis: fleet.map(|fleet| OnRedis {
                on_outage: fleet.on_outage.name(),
                leased: fleet.is_leased,
                server: fleet.places.server,
                lease: fleet.places.lease,
                known: fleet.places.known,
                here: fleet.places.here,
                outage: fleet.places.outage,
                unsettled: fleet.places.unsettled,
            }),
        }
    }
}
