//! `/metrics`: what Prometheus collects.

use http::StatusCode;
use metrics::{Label, Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::ledger::Ledger;
use super::reply::Reply;
use super::state::{AdminState, Subject};
use crate::proxy::view::{Times, View};
use crate::values::failure::Failure;

/// The text format of Prometheus.
const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Seconds of a decision: half a microsecond is usual, a millisecond is a thread that was put to sleep.
const DECISION: [f64; 10] = [1e-7, 2e-7, 5e-7, 1e-6, 2e-6, 5e-6, 1e-5, 1e-4, 1e-3, 1e-2];

/// Takes down what is counted anywhere in the process from now on.
pub(crate) fn install() -> Result<PrometheusHandle, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Other(format!("cannot record metrics: {error}"));
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("tollgate_decision_seconds".to_owned()), &DECISION)
        .map_err(|error| failed(&error))?;
    let recorder = builder.install_recorder().map_err(|error| failed(&error))?;
    describe_gauge!("tollgate_build_info", "Always 1; the version is the label");
    describe_gauge!("tollgate_gateway_connections", Unit::Count, "Connections of clients");
    describe_counter!("tollgate_gateway_turned_away_total", "Connections closed at once because there were too many");
    describe_counter!(
        "tollgate_gateway_crowding_total",
        "Connections closed at once because their client had too many"
    );
    describe_counter!("tollgate_route_requests_total", "Requests for a route's group of upstreams");
    describe_gauge!("tollgate_route_upstream", "1 while an upstream is for a route, and 0 once it is no more");
    describe_counter!("tollgate_gateway_unreadable_total", "Request heads that could not be read, by answer");
    describe_counter!("tollgate_gateway_passed_total", "Requests that no policy refused");
    describe_counter!("tollgate_gateway_answers_total", "Answers to requests that passed, by class of status");
    describe_counter!("tollgate_gateway_own_answers_total", "Those that the gateway gave itself, by status");
    describe_counter!("tollgate_upstream_requests_total", "Requests meant for an upstream");
    describe_counter!("tollgate_upstream_failures_total", "Requests that an upstream did not answer");
    describe_gauge!("tollgate_upstream_in_flight", Unit::Count, "Requests that an upstream has not finished");
    describe_gauge!(
        "tollgate_upstream_resting",
        "1 while an upstream is left alone, or asked last, after failures in a row"
    );
    describe_counter!("tollgate_refusals_total", "Refusals by policy, and by the path that it names");
    describe_gauge!("tollgate_table_capacity_keys", "Keys that can be busy at once");
    describe_gauge!("tollgate_table_bytes", Unit::Bytes, "Memory reserved for keys");
    describe_gauge!("tollgate_table_busy_keys", "Keys that have used up something, estimated");
    describe_counter!("tollgate_evictions_total", "Busy keys forgotten to make room");
    describe_counter!("tollgate_refused_full_total", "Requests of new keys refused because there was no room");
    describe_counter!("tollgate_untracked_total", "Requests of new keys admitted unrecorded because there was no room");
    // Of a table that several processes have, each of them tells the same: the largest counts, and not the sum.
    describe_gauge!(
        "tollgate_shared_table_capacity_keys",
        "Keys that can be busy at once, in all processes of a table"
    );
    describe_gauge!(
        "tollgate_shared_table_bytes",
        Unit::Bytes,
        "Memory reserved for keys, by all processes of a table"
    );
    describe_gauge!("tollgate_shared_table_busy_keys", "Keys that have used up something in any process, estimated");
    describe_counter!(
        "tollgate_shared_table_evictions_total",
        "Busy keys forgotten to make room, by any process of a table"
    );
    describe_counter!(
        "tollgate_shared_table_refused_full_total",
        "Requests refused for want of room, by any process of a table"
    );
    describe_counter!(
        "tollgate_shared_table_untracked_total",
        "Requests admitted unrecorded for want of room, by any process of a table"
    );
    describe_gauge!(
        "tollgate_shared_table_detached",
        "1 if the path of the table is another file's by now, or nobody's: then limits are admitted beside it"
    );
    describe_gauge!("tollgate_redis_servers", Unit::Count, "Redis servers that are known");
    describe_gauge!(
        "tollgate_redis_connected",
        Unit::Count,
        "Those that are connected; of the others the breaker is open"
    );
    describe_gauge!("tollgate_redis_in_flight", Unit::Count, "Calls that wait for an answer of Redis");
    describe_counter!("tollgate_redis_calls_total", "Round trips to Redis");
    describe_counter!("tollgate_redis_misses_total", "Those that were not answered within the deadline");
    describe_counter!(
        "tollgate_redis_closed_total",
        "Connections to Redis that broke, or were closed because it did not answer"
    );
    describe_counter!("tollgate_redis_connects_total", "Connections made to Redis");
    describe_counter!("tollgate_redis_repeats_total", "Calls repeated because the answer proved that nothing was run");
    describe_counter!("tollgate_redis_leases_total", "How often tokens were asked for in advance");
    describe_counter!("tollgate_redis_decisions_total", "Decisions of limits on Redis, by policy and by who made them");
    describe_counter!(
        "tollgate_redis_unsettled_total",
        "Charges and refunds after a response that Redis did not confirm"
    );
    gauge!("tollgate_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(recorder)
}

pub(crate) fn reply(state: &AdminState) -> Reply {
    let subject = &state.subject;
    let view = publish(state);
    let mut text = subject.recorder.render();
    histogram(
        &mut text,
        "tollgate_gateway_request_seconds",
        "Time from the head of a request until its answer has gone",
        &view.request_times,
    );
    let about = "Time from when a request is passed on until the head of an upstream's answer is there";
    histogram(&mut text, "tollgate_upstream_response_seconds", about, &view.upstream_times);
    super::reply::reply(StatusCode::OK, KIND, text)
}

/// Once a second, as there may be no scraper: puts the times of decisions into their buckets, which are kept one by one until then, and
/// looks at counts that a reload may end.
pub(crate) fn keep_up(state: &AdminState) {
    publish(state);
    state.subject.recorder.run_upkeep();
}

/// Most things keep their counts themselves and are asked for them only now.
fn publish(state: &AdminState) -> View {
    let subject = &state.subject;
    subject.limiter.publish();
    let mut ledger = state.ledger.borrow_mut();
    ledger.begin();
    for policy in subject.limiter.policies(0) {
        for (path, count) in policy.refused_by_path {
            let labels = labels([("policy", &policy.name), ("route", &path)]);
            ledger.counter("tollgate_refusals_total", labels, count);
        }
    }
    let view = subject.gateway.now();
    publish_gateway(&view);
    publish_routes(&mut ledger, &view);
    publish_redis(&mut ledger, subject);
    ledger.end();
    view
}

/// A histogram as Prometheus reads it. Not by way of the recorder, which is shared by all threads: these are counted by thread.
fn histogram(text: &mut String, name: &str, about: &str, times: &Times) {
    use std::fmt::Write as _;
    let at_most = times.at_most();
    let all = at_most.last().copied().unwrap_or_default();
    // Writing to memory cannot fail.
    let _ = write!(text, "# HELP {name} {about}\n# TYPE {name} histogram\n");
    for (bound, count) in Times::bounds().iter().zip(at_most) {
        let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}");
    }
    let _ = write!(
        text,
        "{name}_bucket{{le=\"+Inf\"}} {all}\n{name}_sum {}\n{name}_count {all}\n\n",
        times.sum.as_secs_f64()
    );
}

/// What lasts as long as the process.
fn publish_gateway(view: &View) {
    gauge!("tollgate_gateway_connections").set(as_f64(view.connections));
    counter!("tollgate_gateway_turned_away_total").absolute(as_u64(view.turned_away));
    counter!("tollgate_gateway_crowding_total").absolute(as_u64(view.crowding));
    for (status, count) in view.unreadable {
        counter!("tollgate_gateway_unreadable_total", "status" => status.to_string()).absolute(as_u64(count));
    }
    counter!("tollgate_gateway_passed_total").absolute(view.passed);
    for (class, count) in &view.answers {
        counter!("tollgate_gateway_answers_total", "class" => format!("{class}xx")).absolute(*count);
    }
    for (status, count) in &view.own {
        counter!("tollgate_gateway_own_answers_total", "status" => status.to_string()).absolute(*count);
    }
}

fn publish_routes(ledger: &mut Ledger, view: &View) {
    for (route, count) in &view.routes {
        ledger.counter("tollgate_route_requests_total", labels([("route", route)]), as_u64(*count));
    }
    for upstream in &view.upstreams {
        let (url, counts) = (&upstream.url, upstream.counts);
        let of_it = || labels([("upstream", url)]);
        for route in &upstream.routes {
            ledger.gauge("tollgate_route_upstream", labels([("route", route), ("upstream", url)]), 1.0);
        }
        ledger.counter("tollgate_upstream_requests_total", of_it(), counts.requests);
        ledger.counter("tollgate_upstream_failures_total", of_it(), counts.failures);
        let in_flight = usize::try_from(counts.in_flight).unwrap_or(usize::MAX);
        ledger.gauge("tollgate_upstream_in_flight", of_it(), as_f64(in_flight));
        ledger.gauge("tollgate_upstream_resting", of_it(), if counts.is_resting { 1.0 } else { 0.0 });
    }
}

/// Of policies on Redis. If the servers are others after a reload, their counts begin anew.
fn publish_redis(ledger: &mut Ledger, subject: &Subject) {
    let Some(fleet) = subject.limiter.fleet() else { return };
    let stats = fleet.stats();
    for (name, value) in [
        ("tollgate_redis_servers", stats.servers),
        ("tollgate_redis_connected", stats.connected),
        ("tollgate_redis_in_flight", stats.in_flight),
    ] {
        ledger.gauge(name, Vec::new(), as_f64(usize::try_from(value).unwrap_or(usize::MAX)));
    }
    for (name, value) in [
        ("tollgate_redis_calls_total", stats.calls),
        ("tollgate_redis_misses_total", stats.misses),
        ("tollgate_redis_closed_total", stats.closed),
        ("tollgate_redis_connects_total", stats.connects),
        ("tollgate_redis_repeats_total", stats.repeats),
        ("tollgate_redis_leases_total", stats.leases),
    ] {
        ledger.counter(name, Vec::new(), value);
    }
    for policy in subject.limiter.policies(0) {
        let Some(fleet) = policy.fleet else { continue };
        let places = fleet.places;
        for (place, count) in [
            ("server", places.server),
            ("lease", places.lease),
            ("known", places.known),
            ("here", places.here),
            ("outage", places.outage),
        ] {
            let labels = labels([("policy", &policy.name), ("place", place)]);
            ledger.counter("tollgate_redis_decisions_total", labels, count);
        }
        ledger.counter("tollgate_redis_unsettled_total", labels([("policy", &policy.name)]), places.unsettled);
    }
}

fn labels<const N: usize>(pairs: [(&'static str, &str); N]) -> Vec<Label> {
    pairs.map(|(name, value)| Label::new(name, value.to_owned())).into()
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Gauges are floating-point: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a number for people")]
fn as_f64(number: usize) -> f64 {
    number as f64
}
