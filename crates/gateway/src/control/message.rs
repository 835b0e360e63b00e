//! What is said on the control socket: a line of JSON each way.

use serde::{Deserialize, Serialize};
use tollgate_http::limiter::{LimitStanding, Standing, Standings};

/// The longest line of a question, in bytes.
pub(crate) const LONGEST_QUESTION: u64 = 64 << 10;

/// The longest line of an answer.
pub(crate) const LONGEST_ANSWER: u64 = 16 << 20;

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// As it was written; `POLICY=KEY` if it begins with the name of a policy.
    pub(crate) key: String,
    pub(crate) policy: Option<String>,
    /// Whether its buckets are to be filled.
    pub(crate) resets: bool,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// Where the key stands; after a reset, where it stood before.
    Standings(KeyJson),
    /// What is wrong with the question.
    Refused(String),
    /// What was not reset, because Redis has not said so, and what was.
    Unanswered(String),
}

/// What `--json` prints.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyJson {
    /// Whether the buckets have been filled since.
    pub(crate) reset: bool,
    pub(crate) policies: Vec<StandingJson>,
    /// Policies that have no such keys.
    pub(crate) others: Vec<OtherJson>,
    /// Policies on Redis, which has not answered.
    pub(crate) unanswered: Vec<UnansweredJson>,
}

/// A key with one policy in one tier.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StandingJson {
    pub(crate) policy: String,
    pub(crate) by: String,
    pub(crate) key: String,
    pub(crate) tier: Option<String>,
    pub(crate) shadow: bool,
    /// Whether a request would be refused now.
    pub(crate) refuses: bool,
    pub(crate) limits: Vec<LimitJson>,
    pub(crate) in_flight: Option<InFlightJson>,
}

/// A key under one limit.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LimitJson {
    pub(crate) name: String,
    pub(crate) limit: String,
    pub(crate) burst: u64,
    pub(crate) remaining: u64,
    pub(crate) refuses: bool,
    /// Seconds until a request passes; null if that is unknown, or never.
    pub(crate) retry_after: Option<f64>,
    /// Seconds until nothing is used any more.
    pub(crate) full_after: f64,
}

/// Requests in flight.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InFlightJson {
    pub(crate) now: u64,
    pub(crate) most: u64,
}

/// A policy that has no such keys.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OtherJson {
    pub(crate) policy: String,
    pub(crate) by: String,
}

/// A policy of which it is not known where the key stands.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UnansweredJson {
    pub(crate) policy: String,
    pub(crate) why: String,
}

impl KeyJson {
    pub(crate) fn new(standings: &Standings, reset: bool) -> Self {
        let other = |(policy, by): &(String, String)| OtherJson { policy: policy.clone(), by: by.clone() };
        let unanswered = |(policy, why): &(String, String)| UnansweredJson { policy: policy.clone(), why: why.clone() };
        Self {
            reset,
            policies: standings.found.iter().map(StandingJson::from).collect(),
            others: standings.others.iter().map(other).collect(),
            unanswered: standings.unanswered.iter().map(unanswered).collect(),
        }
    }
}

impl From<&Standing> for StandingJson {
    fn from(standing: &Standing) -> Self {
        Self {
            policy: standing.policy.clone(),
            by: standing.by.clone(),
            key: standing.key.join(" + "),
            tier: standing.tier.clone(),
            shadow: standing.is_shadow,
            refuses: standing.refuses(),
            limits: standing.limits.iter().map(LimitJson::from).collect(),
            in_flight: standing.in_flight.map(|(now, most)| InFlightJson { now, most }),
        }
    }
}

impl From<&LimitStanding> for LimitJson {
    fn from(limit: &LimitStanding) -> Self {
        let report = &limit.report;
        Self {
            name: limit.name.clone(),
            limit: format!("{:#}", limit.quota),
            burst: report.burst,
            remaining: report.remaining,
            refuses: limit.refuses(),
            retry_after: report.retry_after.map(|wait| wait.as_secs_f64()),
            full_after: report.reset_after.as_secs_f64(),
        }
    }
}
