//! Numbers: `/metrics`, `/limits` and `/live` against what clients were answered.

use std::thread;

use serde_json::Value;

use crate::program::{Program, connect, send, until};

/// `count` requests one after the other: how many were answered 200, and how many 429.
fn requests(program: &Program, count: usize) -> (u64, u64) {
    (0..count).fold((0, 0), |(allowed, refused), _| match program.request("/").status {
        200 => (allowed + 1, refused),
        429 => (allowed, refused + 1),
        status => panic!("{status}"),
    })
}

#[test]
fn five_pass_and_three_do_not() {
    let program = Program::start(&["--limit", "5/hour"]);
    assert_eq!(requests(&program, 8), (5, 3));
    assert_eq!(program.json("/live")["table"]["shared"], Value::Null, "a table of this process alone");
    let metrics = program.metrics();
    for (name, value) in [
        (r#"tollgate_requests_total{policy="default",outcome="allowed"}"#, 5.0),
        (r#"tollgate_requests_total{policy="default",outcome="refused"}"#, 3.0),
        (r#"tollgate_requests_total{policy="default",outcome="shadow_refused"}"#, 0.0),
        (r#"tollgate_requests_total{policy="default",outcome="exempt"}"#, 0.0),
        ("tollgate_gateway_passed_total", 5.0),
        (r#"tollgate_gateway_answers_total{class="2xx"}"#, 5.0),
        (r#"tollgate_gateway_answers_total{class="4xx"}"#, 0.0),
        (r#"tollgate_gateway_own_answers_total{status="502"}"#, 0.0),
        ("tollgate_gateway_turned_away_total", 0.0),
        ("tollgate_table_capacity_keys", 65_536.0),
        ("tollgate_evictions_total", 0.0),
        (concat!("tollgate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(metrics.get(name), Some(&value), "{name} in {metrics:#?}");
    }
    let of_upstream = |name: &str| metrics.iter().find(|(key, _)| key.starts_with(name)).map(|(_, value)| *value);
    assert_eq!(of_upstream("tollgate_upstream_requests_total{"), Some(5.0));
    assert_eq!(of_upstream("tollgate_upstream_failures_total{"), Some(0.0));
    assert_eq!(of_upstream("tollgate_upstream_in_flight{"), Some(0.0));
}

#[test]
fn limits_names_who_is_refused_and_for_how_long() {
    let program = Program::start(&["--limit", "2/hour"]);
    assert_eq!(requests(&program, 5), (2, 3));
    let limits = program.json("/limits");
    let policy = &limits["policies"][0];
    assert_eq!(policy["name"], "default");
    assert_eq!(policy["limits"], serde_json::json!(["2 per 1 hour"]));
    assert_eq!((policy["allowed"].as_u64(), policy["refused"].as_u64()), (Some(2), Some(3)));
    assert_eq!(policy["shadow"], false);
    let keys = policy["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    // Addresses are not shown in full unless asked.
    assert_eq!(keys[0]["key"], "127.0.0.0/24");
    assert_eq!((keys[0]["refused"].as_u64(), keys[0]["error"].as_u64()), (Some(3), Some(0)));
    assert_eq!(keys[0]["remaining"], 0);
    let retry_after = keys[0]["retry_after"].as_f64().unwrap();
    assert!(retry_after > 1_700.0 && retry_after <= 1_800.0, "{retry_after}");
    let time = |value: &Value| value.as_str().unwrap().to_owned();
    let (first, last, now) = (time(&keys[0]["first"]), time(&keys[0]["last"]), time(&limits["now"]));
    assert!(first <= last && last <= now, "{first} {last} {now}");
}

#[test]
fn clients_at_once_are_all_counted() {
    let program = Program::start(&["--limit", "40/hour"]);
    let seen: Vec<(u64, u64)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(|| requests(&program, 25))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let (allowed, refused) = seen.into_iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    assert_eq!((allowed, refused), (40, 160));
    let (limits, live) = (program.json("/limits"), program.json("/live"));
    let policy = &limits["policies"][0];
    assert_eq!((policy["allowed"].as_u64(), policy["refused"].as_u64()), (Some(allowed), Some(refused)));
    assert_eq!(live["passed"], allowed);
    assert_eq!(live["answers"]["2xx"], allowed);
    assert_eq!(live["upstreams"][0]["requests"], allowed);
    // Refusals that two threads would have listed at the same moment are counted, but listed once.
    let (listed, missed) = (policy["keys"][0]["refused"].as_u64(), policy["missed"].as_u64());
    assert_eq!(listed.unwrap() + missed.unwrap(), refused);
}

#[test]
fn the_past_holds_every_request_once() {
    let program = Program::start(&["--limit", "3/hour"]);
    assert_eq!(requests(&program, 7), (3, 4));
    let sum = |series: &Value, of: &str| -> u64 {
        series[of].as_array().into_iter().flatten().filter_map(Value::as_u64).sum()
    };
    let second = until(|| {
        let live = program.json("/live");
        let pasts = [&live["past"], &live["policies"][0]["past"]];
        let counts = pasts.map(|past| {
            [&past["seconds"], &past["minutes"]].map(|series| (sum(series, "allowed"), sum(series, "refused")))
        });
        (counts == [[(3, 4); 2]; 2]).then(|| live["second"].as_u64().unwrap())
    });
    let later = program.json(&format!("/live?since={second}"));
    let seconds = &later["past"]["seconds"];
    assert_eq!(seconds["from"].as_u64(), Some(second + 1));
    assert_eq!(sum(seconds, "allowed") + sum(seconds, "refused"), 0);
}

#[test]
fn an_upstream_that_is_down_is_counted() {
    // Bound and not listened on, so that nobody else has it meanwhile.
    let reserved = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    reserved.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let closed = reserved.local_addr().unwrap().as_socket().unwrap();
    let program = Program::start(&["--limit", "9/hour", "--upstream", &format!("http://{closed}")]);
    assert_eq!(program.request("/").status, 502);
    assert_eq!(program.request("/").status, 502);
    let metrics = program.metrics();
    assert_eq!(metrics[r#"tollgate_gateway_own_answers_total{status="502"}"#], 2.0);
    assert_eq!(metrics[r#"tollgate_gateway_answers_total{class="5xx"}"#], 2.0);
    assert_eq!(metrics[&format!("tollgate_upstream_requests_total{{upstream=\"http://{closed}\"}}")], 2.0);
    assert_eq!(metrics[&format!("tollgate_upstream_failures_total{{upstream=\"http://{closed}\"}}")], 2.0);
    // To take the gateway away as well would help nobody.
    let health = program.json("/healthz");
    assert_eq!(health["status"], "serving");
    assert_eq!(health["upstreams"][0]["failures"], 2);
}

#[test]
fn heads_that_cannot_be_read_are_counted() {
    let program = Program::start(&[]);
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-Many: 1\r\n".repeat(150));
    assert_eq!(send(program.gateway, &large).status, 431);
    assert_eq!(send(program.gateway, "GET / HTTP/1.1\r\nno field\r\n\r\n").status, 400);
    assert_eq!(send(program.gateway, "what is this\r\n\r\n").status, 400);
    let counted = |status| format!("tollgate_gateway_unreadable_total{{status=\"{status}\"}}");
    let counts = || Some(program.metrics()).filter(|metrics| metrics[&counted(431)] + metrics[&counted(400)] >= 3.0);
    let metrics = until(counts);
    assert_eq!((metrics[&counted(400)], metrics[&counted(431)]), (2.0, 1.0));
    assert_eq!(metrics["tollgate_gateway_passed_total"], 0.0);
}

#[test]
fn connections_are_counted_while_they_last() {
    let program = Program::start(&[]);
    let connections: Vec<_> = (0..5).map(|_| connect(program.gateway)).collect();
    let present = |count| until(|| (program.metrics()["tollgate_gateway_connections"] == count).then_some(()));
    present(5.0);
    drop(connections);
    present(0.0);
}

#[test]
fn who_uses_most_is_named_and_refusals_by_route() {
    let program = Program::start(&["--limit", "5/hour"]);
    assert_eq!(requests(&program, 8), (5, 3));
    let policy = &program.json("/limits")["policies"][0];
    let used = policy["used"].as_array().unwrap();
    // A look at the very moment of a request leaves it out; here nobody looks meanwhile but the second's sample, which does not.
    assert_eq!((used.len(), used[0]["key"].as_str(), used[0]["requests"].as_u64()), (1, Some("127.0.0.0/24"), Some(5)));
    assert_eq!((used[0]["error"].as_u64(), used[0]["remaining"].as_u64()), (Some(0), Some(0)));
    assert_eq!(policy["paths"], serde_json::json!({"*": 3}));
    assert_eq!(program.metrics()[r#"tollgate_refusals_total{policy="default",route="*"}"#], 3.0);
}

#[test]
fn times_are_counted_in_histograms() {
    let program = Program::start(&["--limit", "5/hour"]);
    assert_eq!(requests(&program, 8), (5, 3));
    let names = ["tollgate_gateway_request_seconds", "tollgate_upstream_response_seconds"];
    let count = |metrics: &std::collections::BTreeMap<String, f64>, name: &str| metrics[&format!("{name}_count")];
    // A request is counted when its answer has gone, a moment after its client has it. Those that were refused took time, too.
    let metrics = until(|| Some(program.metrics()).filter(|metrics| count(metrics, names[0]) == 8.0));
    assert_eq!(count(&metrics, names[1]), 5.0);
    for name in names {
        let classes: Vec<f64> = ["0.0001", "0.001", "0.1", "1", "60", "+Inf"]
            .map(|bound| metrics[&format!("{name}_bucket{{le=\"{bound}\"}}")])
            .to_vec();
        assert!(classes.is_sorted() && classes[5] == count(&metrics, name), "{classes:?}");
        let sum = metrics[&format!("{name}_sum")];
        assert!(sum > 0.0 && sum < 60.0 * 8.0, "{sum}");
    }
    let times = &program.json("/live")["times"];
    let (bounds, of_requests) = (times["bounds"].as_array().unwrap(), times["requests"].as_array().unwrap());
    assert_eq!((of_requests.len(), of_requests.last().unwrap().as_u64()), (bounds.len() + 1, Some(8)));
}
