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
}

impl From<&PolicyStats> for PolicyFigures {
    fn from(stats: &PolicyStats) -> Self {
        let PolicyStats { route, key, limits, concurrency, is_shadow, counts, .. } = stats;
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
        }
    }
}
