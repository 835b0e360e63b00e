//! `tollgate check-config`: what a good file means.

use std::path::Path;

use crate::tool::{Folder, check};

fn explained(text: &str) -> String {
    let folder = Folder::new();
    let output = check(&folder.write("tollgate.yaml", text));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty());
    // As one line, wherever it was broken.
    String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_example_can_be_used() {
    let output = check(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tollgate.example.yaml")));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
}

#[test]
fn all_but_the_policies_has_a_default() {
    for text in ["policies: []", "---\npolicies: []\n...\n", "{policies: []}"] {
        let text = explained(text);
        for part in [
            "http://127.0.0.1:8080, for this machine alone.",
            "a built-in echo, because no upstream is named.",
            "No header is believed.",
            "None: nothing is limited.",
            "bodies up to 10 MiB;",
        ] {
            assert!(text.contains(part), "`{part}` is not in {text}");
        }
    }
}

#[test]
fn what_is_written_is_what_is_meant() {
    let rows = [
        ("listen: 0.0.0.0:80", "http://0.0.0.0:80, on every network of this machine."),
        ("admin: off", "No admin page"),
        ("bounds: {body: unlimited}", "bodies of any size"),
        ("bounds: {buffer_request: 0}", "Bodies are passed on as they come."),
        ("bounds: {buffer_request: 1KiB}", "The first 1 KiB of a body are collected before an upstream is asked."),
        (
            "upstreams: [http://a, http://b]\nhealth: {path: /well, every: 2s}",
            "Each is asked for /well every 2 seconds;",
        ),
        ("timeouts: {drain: 10s}", "serving on when told to stop 10 seconds"),
        ("timeouts: {upstream_age: 1m}", "any connection to an upstream 1 minute"),
        ("policies: []", "No access log."),
        ("access_log: {format: json, to: /var/log/a.log}", "Access log: JSON to /var/log/a.log."),
        ("access_log: {to: stdout}", "Access log: combined to standard output."),
        ("bounds: {connections: 1_000_000}", "1,000,000 connections"),
        ("timeouts: {idle: 1m30s}", "no request 90 seconds,"),
        ("timeouts: {idle: 250ms}", "no request 250ms,"),
        ("client: {from: x-forwarded-for, hops: 2}", "the last 2 in front of this gateway"),
        ("client: {trusted: 10.0.0.0/8}", "appended to if they come from 10.0.0.0/8,"),
        ("{client: {trusted: 10.0.0.0/8}, forwarding: {trusted: []}}", "are replaced, because no proxy is trusted."),
        ("threads: 1", "hyphens in their names are not passed on."),
        ("forwarding: {underscores: true}", "hyphens in their names are passed on, unless"),
        ("answer: {status: 503, body: text, headers: none}", "Status 503, a body of the kind `text`,"),
        ("limiter: {on_full: refuse}", "new keys are refused."),
        ("policies: [{name: a, limits: 5/minute}]", "`a`: every request, for each ip: 5 per minute."),
        ("policies: {name: a, limits: 5/minute}", "`a`: every request, for each ip: 5 per minute."),
        ("policies: [{name: a, limits: [5/minute, '9/day, 1/s']}]", "5 per minute, 9 per day and 1 per second."),
        ("policies: [{name: a, limits: 5/m, algorithm: fixed-window}]", "5 per minute (fixed-window)."),
        ("policies: [{name: a, limits: 5/m, shadow: yes}]", "SHADOW"),
        ("policies: [{name: a, limits: 5/m, charge: {only_on: 401}}]", "only if that is one of 401."),
        ("policies: [{name: a, limits: 5/m, charge: {refund_on: 2xx}}]", "given back if the response is one of 2xx."),
        (
            "policies: [{name: a, limits: 5/m, charge: {field: X-Cost}}]",
            "Once it is answered it counts as much as the field `x-cost` of the answer says;",
        ),
        (
            "policies: [{name: a, limits: 5/m, charge: {only_on: 401}}]",
            "401. A request that ends without a response is charged, too.",
        ),
        (
            "policies: [{name: a, limits: 5/m, charge: {only_on: 401, unanswered: free}}]",
            "401. A request that ends without a response is free.",
        ),
        (
            "policies: [{name: a, limits: 5/m, charge: {refund_on: 2xx, unanswered: free}}]",
            "2xx. So is what a request cost that ends without a response.",
        ),
        (
            "routes: [{name: r, hosts: [a.example, '*.b.example'], paths: [/x/*, '/{id}'], upstreams: [http://c, http://d]}]",
            "`r`: http://c and http://d, those for a.example/x/*, a.example/{id}, *.b.example/x/* or *.b.example/{id}.",
        ),
        ("routes: {name: r, paths: /x, upstreams: http://c, health: /w}", "for /x; its servers are asked for /w."),
        ("routes: {name: r, paths: /x, upstreams: http://c, health: off}", "for /x; its servers are not checked."),
        ("routes: {name: r, paths: /x, upstreams: http://c}", "What no route is for is answered 404."),
        ("routes: {name: r, hosts: a, upstreams: http://c}\nupstreams: http://d", "All else to http://d."),
        (
            "routes: {name: r, hosts: a, upstreams: http://c}\nhosts: strict",
            "Hosts that no route names are answered 421.",
        ),
        ("routes: {name: r, hosts: a, upstreams: [http://c, http://d]}", "One that cannot be reached 3 times in a row"),
        ("upstreams: [h2c://c:50051, https://d]", "h2c://c:50051 and https://d, whichever"),
        ("upstreams: https://d\nupstream_http2: off", "HTTP/1.1 is spoken to all https upstreams."),
        (
            "listen: unix:/run/a.sock",
            "unix:/run/a.sock (http), a file of mode 0600; clients have no address, so that to limits by address they are one.",
        ),
        ("listen: {address: unix:/run/a.sock, mode: 0660, peer: 127.0.0.1}", "mode 0660; clients count as 127.0.0.1."),
        ("upstreams: unix:/run/app.sock", "Passes requests to unix:/run/app.sock."),
        ("bounds: {client_connections: 20}", "Of one client 20 connections at once; trusted proxies are not counted."),
        ("upstreams: http://c\nbounds: {upstream_connections: 8}", "To each of them 8 connections are in use at most;"),
        ("policies: [{name: 404, concurrency: 3}]", "`404`: every request, for each ip: 3 in flight at once."),
        (
            "policies: [{name: a, limits: 5/m}, {name: b, limits: 1/m, match: {path: /b}}]",
            "A request that `b` is for is not limited by `a`, unless `always` is said there.",
        ),
    ];
    for (text, part) in rows {
        let text = if text.contains("policies") { text } else { &with_policies(text) };
        let told = explained(text);
        assert!(told.contains(part), "{text}: `{part}` is not in {told}");
    }
}

/// A table in one line, with that key too.
fn with_policies(text: &str) -> String {
    match text.strip_suffix('}').filter(|_| text.starts_with('{')) {
        Some(open) => format!("{open}, policies: []}}"),
        None => format!("{text}\npolicies: []"),
    }
}

#[test]
fn anchors_and_merges_are_followed() {
    let text = "
policies:
  - &a {name: a, limits: 5/minute, key: header:x-api-key}
  - {<<: *a, name: b}
";
    assert!(explained(text).contains("`b`: every request, for each header:x-api-key: 5 per minute."));
}

#[test]
fn a_policy_that_refuses_everything_is_said_to() {
    const SAID: &str = "IT REFUSES EVERY REQUEST, FOR EVER";
    for (policy, refuses) in [
        ("limits: 0/minute", true),
        ("limits: 10/minute, cost: 11", true),
        ("limits: [1000/day, 10/minute], cost: 11", true),
        ("limits: 10/minute burst 5, cost: 6", true),
        ("limits: 10/minute, cost: 10", false),
        ("limits: 10/minute, algorithm: leaky-queue, cost: 10", false),
        ("limits: 10/minute, cost: 0", false),
        ("limits: 0/minute, tiers: {by: header:x-plan, limits: {paid: 5/minute}}", false),
        ("limits: 0/minute, tiers: {by: header:x-plan, limits: {paid: 0/minute}}", true),
        ("concurrency: 1", false),
    ] {
        let text = explained(&format!("policies: [{{name: a, {policy}}}]"));
        assert_eq!(text.contains(SAID), refuses, "{policy}: {text}");
    }
}

#[test]
fn programs_are_told_in_json() {
    let folder = Folder::new();
    let told = |text: &str| {
        let file = folder.write("tollgate.yaml", text);
        let output = crate::tool::program().args(["check-config", "--json"]).arg(file).output().unwrap();
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), value)
    };
    let (code, value) = told("policies: [{name: a, limits: 0/minute}, {name: b, limits: 5/minute, always: true}]");
    assert_eq!((code, &value["usable"]), (Some(0), &serde_json::Value::Bool(true)));
    assert_eq!(value["policies"][0]["refuses_everything"], true);
    assert_eq!(
        (&value["policies"][1]["name"], &value["policies"][1]["refuses_everything"]),
        (&"b".into(), &false.into())
    );
    let (code, value) = told("polices: []\nadmin: x\n");
    assert_eq!((code, &value["usable"]), (Some(78), &serde_json::Value::Bool(false)));
    let problems = value["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{value}");
    assert_eq!((&problems[0]["line"], &problems[0]["key"]), (&1.into(), &"polices".into()));
    assert_eq!((&problems[1]["line"], &problems[1]["key"]), (&2.into(), &"admin".into()));
}
