//! `/limits`: every policy, what it has done, and who is limited.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;
use tollgate::clock::{Clock, Instant};
use tollgate_http::stats::{PolicyStats, RefusedKey, UsedKey};

use super::reply::{Reply, json};
use super::state::Subject;
use crate::values::policy_figures::PolicyFigures;

/// As many as the limiter remembers for each policy.
const ALL: usize = 128;

#[derive(Serialize)]
struct Limits {
    now: String,
    policies: Vec<PolicyJson>,
}

/// One policy.
#[derive(Debug, Serialize)]
pub(crate) struct PolicyJson {
    pub(crate) name: String,
    #[serde(flatten)]
    figures: PolicyFigures,
    /// Refusals that are in none of the keys below.
    missed: u64,
    keys: Vec<KeyJson>,
    /// Refusals by the path that the policy names.
    paths: BTreeMap<String, u64>,
    /// The keys of the most requests that passed.
    used: Vec<UsedJson>,
}

/// A key of which requests passed.
#[derive(Debug, Serialize)]
struct UsedJson {
    key: String,
    /// About how many.
    requests: u64,
    /// By how much `requests` may be too high.
    error: u64,
    remaining: Option<u64>,
    /// Seconds; null if unknown.
    retry_after: Option<f64>,
}

/// A key that was refused.
#[derive(Debug, Serialize)]
struct KeyJson {
    key: String,
    refused: u64,
    /// By how much `refused` may be too high.
    error: u64,
    first: String,
    last: String,
    remaining: Option<u64>,
    /// Seconds; null if unknown.
    retry_after: Option<f64>,
}

impl From<PolicyStats> for PolicyJson {
    fn from(view: PolicyStats) -> Self {
        Self {
            figures: PolicyFigures::from(&view),
            name: view.name,
            missed: view.missed,
            keys: view.refused.iter().map(KeyJson::from).collect(),
            paths: view.refused_by_path.into_iter().collect(),
            used: view.used.iter().map(UsedJson::from).collect(),
        }
    }
}

impl From<&UsedKey> for UsedJson {
    fn from(row: &UsedKey) -> Self {
        Self {
            key: row.key.to_string(),
            requests: row.requests,
            error: row.error,
            remaining: row.remaining,
            retry_after: row.retry_after.map(|wait| wait.as_secs_f64()),
        }
    }
}

impl From<&RefusedKey> for KeyJson {
    fn from(row: &RefusedKey) -> Self {
        Self {
            key: row.key.to_string(),
            refused: row.refused,
            error: row.error,
            first: time(row.first),
            last: time(row.last),
            remaining: row.remaining,
            retry_after: row.retry_after.map(|wait| wait.as_secs_f64()),
        }
    }
}

/// RFC 3339, to the millisecond.
pub(crate) fn time(at: Instant) -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(at.as_nanos())).unwrap_or_default();
    format!("{at:.3}")
}

pub(crate) fn policies(subject: &Subject, top: usize) -> impl Iterator<Item = PolicyJson> {
    subject.limiter.policies(top).into_iter().map(PolicyJson::from)
}

pub(crate) fn reply(subject: &Subject) -> Reply {
    let now = time(subject.limiter.clock().now());
    json(StatusCode::OK, &Limits { now, policies: policies(subject, ALL).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_rfc_3339() {
        assert_eq!(time(Instant::from_nanos(1_500_000_000)), "1970-01-01T00:00:01.500Z");
        assert_eq!(time(Instant::from_nanos(u64::MAX)), "2554-07-21T23:34:33.709Z");
    }
}
