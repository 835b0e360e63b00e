//! `/healthz`: whether the gateway takes requests, for load balancers and supervisors.

use http::StatusCode;
use serde::Serialize;

use super::reply::{Reply, json};
use super::state::Subject;
use crate::proxy::view::{Stage, Upstream, View};

#[derive(Serialize)]
struct Health {
    status: &'static str,
    upstreams: Vec<UpstreamHealth>,
}

/// How an upstream fares.
#[derive(Debug, Serialize)]
pub(crate) struct UpstreamHealth {
    url: String,
    /// The names of the routes that it is for; empty if it is for what no route is for.
    routes: Vec<String>,
    /// Whether it is left alone, or asked last, for a while after failures in a row.
    resting: bool,
    requests: u64,
    failures: u64,
    in_flight: u64,
}

impl From<Upstream> for UpstreamHealth {
    fn from(Upstream { url, routes, counts }: Upstream) -> Self {
        Self {
            url,
            routes,
            resting: counts.is_resting,
            requests: counts.requests,
            failures: counts.failures,
            in_flight: counts.in_flight,
        }
    }
}

/// A name for what the gateway is doing.
pub(crate) fn status(stage: Stage) -> &'static str {
    match stage {
        Stage::Running => "serving",
        Stage::Leaving => "leaving",
        Stage::Draining => "draining",
        Stage::Closing => "closing",
    }
}

/// 200 while the gateway serves, whatever its upstreams do: restarting it would not help. 503 once it is about to stop.
pub(crate) fn reply(subject: &Subject) -> Reply {
    let View { stage, upstreams, .. } = subject.gateway.now();
    let code = if stage == Stage::Running { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let upstreams = upstreams.into_iter().map(UpstreamHealth::from).collect();
    json(code, &Health { status: status(stage), upstreams })
}
