//! `/live`: what the page shows, once a second. `?since=SECOND` leaves out the past that the page has already.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::Serialize;
use tollgate_http::RateLimiter;
use tollgate_http::fleet::FleetStats;

use super::health::{self, UpstreamHealth};
use super::history::Past;
use super::limits::{self, PolicyJson};
use super::reply::{Reply, json};
use super::state::AdminState;
use crate::proxy::view::{Times, View};

/// Keys that the page shows for each policy.
const TOP: usize = 20;

#[derive(Serialize)]
struct Live {
    version: &'static str,
    status: &'static str,
    /// The last second that has ended, counted from 1970.
    second: u64,
    connections: usize,
    turned_away: usize,
    /// Because their client had too many.
    crowding: usize,
    /// By status: what heads that could not be read were answered.
    unreadable: BTreeMap<String, usize>,
    passed: u64,
    /// By class, such as `2xx`: what the requests that passed were answered.
    answers: BTreeMap<String, u64>,
    /// By status: those of them that the gateway gave itself, because no upstream did.
    own: BTreeMap<String, u64>,
    upstreams: Vec<UpstreamHealth>,
    /// Requests by route.
    routes: BTreeMap<String, usize>,
    table: Table,
    redis: Option<Redis>,
    times: TimesJson,
    past: Past,
    policies: Vec<Policy>,
}

/// How long things took since the start: of each class how many took at most so long, and behind them all there were.
#[derive(Serialize)]
struct TimesJson {
    /// Seconds.
    bounds: Vec<f64>,
    requests: Vec<u64>,
    upstreams: Vec<u64>,
}

/// The limiter's table of keys: of all processes that have it, if it is shared. All else on the page is this process's.
#[derive(Serialize)]
struct Table {
    capacity: usize,
    bytes: usize,
    busy: u64,
    evictions: u64,
    refused_full: u64,
    untracked: u64,
    shared: Option<SharedTable>,
}

/// What several processes have in common.
#[derive(Serialize)]
struct SharedTable {
    path: String,
    /// Of no other table, in hexadecimal.
    id: String,
    /// Whether those who come later do not share it.
    detached: bool,
    age_seconds: u64,
    freed_slots: u64,
}

impl From<&RateLimiter> for Table {
    fn from(limiter: &RateLimiter) -> Self {
        let stats = limiter.stats();
        Self {
            capacity: stats.capacity,
            bytes: stats.bytes,
            busy: stats.busy,
            evictions: stats.evictions,
            refused_full: stats.refused_full,
            untracked: stats.untracked,
            shared: limiter.shared_table().map(|table| SharedTable {
                path: table.path.display().to_string(),
                id: format!("{:032x}", table.id),
                detached: table.is_detached,
                age_seconds: table.age.as_secs(),
                freed_slots: table.freed_slots,
            }),
        }
    }
}

/// The servers of policies on Redis, as this process sees them.
#[derive(Serialize)]
struct Redis {
    servers: u64,
    /// Of the others the breaker is open.
    connected: u64,
    in_flight: u64,
    calls: u64,
    misses: u64,
    outages: u64,
    leases: u64,
    leased: u64,
    known: u64,
}

impl From<FleetStats> for Redis {
    fn from(stats: FleetStats) -> Self {
        let FleetStats { servers, connected, in_flight, calls, misses, outages, leases, leased, known, .. } = stats;
        Self { servers, connected, in_flight, calls, misses, outages, leases, leased, known }
    }
}

#[derive(Serialize)]
struct Policy {
    #[serde(flatten)]
    policy: PolicyJson,
    /// Nothing in the first second of a policy.
    past: Option<Past>,
}

pub(crate) fn reply(state: &AdminState, query: &str) -> Reply {
    let since = query.split('&').find_map(|part| part.strip_prefix("since="));
    let Ok(since) = since.unwrap_or("0").parse() else {
        return super::reply::line(StatusCode::BAD_REQUEST, "`since` is a number of seconds since 1970");
    };
    let (subject, history) = (&state.subject, state.history.borrow());
    let view = subject.gateway.now();
    let View { stage, connections, turned_away, unreadable, passed, answers, own, upstreams, routes, crowding, .. } =
        view;
    let policy = |policy: PolicyJson| {
        let past = history.policy(&policy.name).map(|track| track.after(since));
        Policy { policy, past }
    };
    let live = Live {
        version: env!("CARGO_PKG_VERSION"),
        status: health::status(stage),
        second: history.second,
        connections,
        turned_away,
        crowding,
        unreadable: unreadable.into_iter().map(|(status, count)| (status.to_string(), count)).collect(),
        passed,
        answers: answers.into_iter().map(|(class, count)| (format!("{class}xx"), count)).collect(),
        own: own.into_iter().map(|(status, count)| (status.to_string(), count)).collect(),
        upstreams: upstreams.into_iter().map(UpstreamHealth::from).collect(),
        routes: routes.into_iter().collect(),
        table: (&subject.limiter).into(),
        redis: subject.limiter.fleet().map(|fleet| Redis::from(fleet.stats())),
        times: TimesJson {
            bounds: Times::bounds().to_vec(),
            requests: view.request_times.at_most().to_vec(),
            upstreams: view.upstream_times.at_most().to_vec(),
        },
        past: history.total.after(since),
        policies: limits::policies(subject, TOP).map(policy).collect(),
    };
    json(StatusCode::OK, &live)
}
