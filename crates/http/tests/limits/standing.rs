//! Where one key stands, as operators ask for it.

use std::net::IpAddr;
use std::time::Duration;

use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri};
use tollgate::clock::{Instant, ManualClock};
use tollgate::{Algorithm, Verdict};
use tollgate_http::limiter::{Standing, StandingError};
use tollgate_http::request::RequestParts;
use tollgate_http::{Charge, Decision, LimiterConfig, OnMissingKey, Policy, Precedence, RateLimiter, Route, Tiers};

fn policy(name: &str, limits: &str, key: &str) -> Policy {
    Policy::new(name, limits).unwrap().key(key.parse().unwrap())
}

fn limiter(policies: impl IntoIterator<Item = Policy>) -> RateLimiter<ManualClock> {
    let config = policies.into_iter().fold(LimiterConfig::new(), LimiterConfig::policy);
    RateLimiter::with_clock(config, ManualClock::new(Instant::from_secs(1_000_000))).unwrap()
}

/// What becomes of a request. One that is admitted is answered with 401, and in flight until it is dropped.
fn send(
    limiter: &RateLimiter<ManualClock>,
    peer: &str,
    path: &str,
    fields: &[(&'static str, &'static str)],
) -> Decision<ManualClock> {
    let uri: Uri = path.parse().unwrap();
    let headers: HeaderMap =
        fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect();
    let peer: IpAddr = peer.parse().unwrap();
    let extensions = Extensions::new();
    let mut decision = limiter.check(&RequestParts::new(&Method::GET, &uri, &headers, &extensions, Some(peer)));
    if let Decision::Admitted(admission) = &mut decision {
        admission.settle(StatusCode::UNAUTHORIZED);
    }
    decision
}

fn found(limiter: &RateLimiter<ManualClock>, key: &str) -> Vec<Standing> {
    limiter.standings(key, None).unwrap().found
}

/// What is left under each limit.
fn left(limiter: &RateLimiter<ManualClock>, key: &str) -> Vec<(String, u64)> {
    let standings = found(limiter, key);
    let limits = standings.iter().flat_map(|standing| &standing.limits);
    limits.map(|limit| (limit.name.clone(), limit.report.remaining)).collect()
}

#[track_caller]
fn assert_left(limiter: &RateLimiter<ManualClock>, key: &str, expected: &[(&str, u64)]) {
    let expected: Vec<(String, u64)> = expected.iter().map(|(name, left)| ((*name).to_owned(), *left)).collect();
    assert_eq!(left(limiter, key), expected, "{key}");
}

#[test]
fn every_policy_says_how_a_client_stands_and_a_reset_fills_all() {
    let queue = || policy("queue", "60/minute", "ip").algorithm(Algorithm::LeakyQueue).burst(5);
    let limiter = limiter([
        policy("plain", "5/minute, 50/hour", "ip"),
        policy("window", "4/hour as fixed-window", "ip"),
        policy("log", "3/hour as sliding-log", "ip"),
        policy("after", "9/minute", "ip").charge(Charge::OnlyOn("401".parse().unwrap())),
        policy("shadow", "1/hour", "ip").shadow(true),
        queue(),
        Policy::without_rate("places").concurrency(2),
        policy("api", "7/minute", "header:x-api-key").on_missing_key(OnMissingKey::Skip),
    ]);
    let client = "2001:db8::1";
    let held = [(); 2].map(|()| send(&limiter, client, "/", &[]));
    assert!(held.iter().all(Decision::is_admitted));
    let used = [
        ("plain/minute", 3),
        ("plain/hour", 48),
        ("window", 2),
        ("log", 1),
        ("after", 7),
        ("shadow", 0),
        // At once: another would have to wait.
        ("queue", 0),
    ];
    // Another address of its network is the same client; the look itself takes nothing.
    for key in ["2001:db8::1", "2001:db8::ffff", "ip:2001:db8::2"] {
        assert_left(&limiter, key, &used);
    }
    let standings = limiter.standings(client, None).unwrap();
    assert_eq!(standings.others, [("api".to_owned(), "header:x-api-key".to_owned())]);
    let places = standings.found.iter().find(|standing| standing.policy == "places").unwrap();
    assert_eq!((places.in_flight, places.refuses()), (Some((2, 2)), true));
    assert_eq!((places.by.as_str(), places.key.as_slice()), ("ip", &["2001:db8::/64".to_owned()][..]));
    assert!(standings.found.iter().all(|standing| !standing.refuses() || standing.policy == "places"));
    assert_left(
        &limiter,
        "2001:db8:0:1::1",
        &[
            ("plain/minute", 5),
            ("plain/hour", 50),
            ("window", 4),
            ("log", 3),
            ("after", 9),
            ("shadow", 1),
            ("queue", 5),
        ],
    );
    drop(held);
    // The bound on places is let go of, and the log is used up.
    assert!(send(&limiter, client, "/", &[]).is_admitted());
    assert!(!send(&limiter, client, "/", &[]).is_admitted());
    let log = &limiter.standings(client, Some("log")).unwrap().found[0];
    assert!(log.refuses() && log.limits[0].report.verdict == Verdict::Refused);
    assert_eq!(log.limits[0].report.retry_after, Some(Duration::from_secs(3600)));
    let before = limiter.reset_key(client, None).unwrap();
    assert_eq!(before.found[2].limits[0].report.remaining, 0, "what it was");
    let full: Vec<(String, u64)> = left(&limiter, "2001:db8:0:1::1");
    assert_eq!(left(&limiter, client), full);
    // The three that the log has room for, and all of the queue's turns.
    assert!([(); 3].iter().all(|()| send(&limiter, client, "/", &[]).is_admitted()));
}

#[test]
fn a_reset_concerns_one_key_of_one_policy_if_that_is_named() {
    let limiter = limiter([
        policy("one", "2/hour", "ip"),
        policy("other", "2/hour", "ip").precedence(Precedence::Always),
        policy("each", "2/hour", "ip+path").precedence(Precedence::Always),
    ]);
    for client in ["192.0.2.1", "192.0.2.2"] {
        assert!(send(&limiter, client, "/a", &[]).is_admitted());
    }
    limiter.reset_key("192.0.2.1", Some("one")).unwrap();
    assert_left(&limiter, "192.0.2.1", &[("one", 2), ("other", 1)]);
    assert_left(&limiter, "192.0.2.2", &[("one", 1), ("other", 1)]);
    assert_left(&limiter, "192.0.2.1+/a", &[("each", 1)]);
    assert_left(&limiter, "192.0.2.1+/b", &[("each", 2)]);
    limiter.reset_key("192.0.2.1+//a/", None).unwrap();
    assert_left(&limiter, "192.0.2.1+/a", &[("each", 2)]);
}

#[test]
fn what_may_be_several_keys_is_shown_and_not_reset() {
    let limiter = limiter([
        policy("api", "5/hour", "header:x-api-key | cookie:sid | ip"),
        policy("person", "5/hour", "header:x-user").precedence(Precedence::Always),
    ]);
    let _ = send(&limiter, "192.0.2.1", "/", &[("x-api-key", "abc"), ("x-user", "abc")]);
    let _ = send(&limiter, "192.0.2.1", "/", &[("cookie", "sid=abc"), ("x-user", "7")]);
    let _ = send(&limiter, "192.0.2.1", "/", &[("cookie", "sid=abc"), ("x-user", "7")]);
    assert_left(&limiter, "abc", &[("api", 4), ("api", 3), ("person", 4)]);
    let error = limiter.reset_key("abc", None).unwrap_err();
    let StandingError::Ambiguous { readings } = &error else { panic!("{error}") };
    assert_eq!(readings, &["cookie:sid", "header:x-api-key", "header:x-user"]);
    assert!(error.to_string().contains("such as `cookie:sid:KEY`"), "{error}");
    assert_left(&limiter, "abc", &[("api", 4), ("api", 3), ("person", 4)]);
    limiter.reset_key("cookie:sid:abc", None).unwrap();
    limiter.reset_key("abc", Some("person")).unwrap();
    assert_left(&limiter, "abc", &[("api", 4), ("api", 5), ("person", 5)]);
    // An address is one, though it might be somebody's API key.
    assert_left(&limiter, "192.0.2.1", &[("api", 5)]);
    assert_left(&limiter, "header:x-api-key:192.0.2.1", &[("api", 5)]);
}

#[test]
fn requests_without_a_key_have_a_name() {
    let limiter = limiter([policy("api", "5/hour", "header:x-api-key")]);
    let _ = send(&limiter, "192.0.2.1", "/", &[]);
    assert_left(&limiter, "(none)", &[("api", 4)]);
    limiter.reset_key("(none)", None).unwrap();
    assert_left(&limiter, "(none)", &[("api", 5)]);
}

#[test]
fn every_tier_is_shown() {
    let tiers = Tiers::by_header("x-plan".parse().unwrap()).tier("gold", "9/hour").unwrap();
    let limiter = limiter([policy("api", "5/hour", "ip").tiers(tiers)]);
    let _ = send(&limiter, "192.0.2.1", "/", &[("x-plan", "gold")]);
    assert_left(&limiter, "192.0.2.1", &[("api", 5), ("api/gold", 8)]);
    let tiers: Vec<_> = found(&limiter, "192.0.2.1").into_iter().map(|standing| standing.tier).collect();
    assert_eq!(tiers, [None, Some("gold".to_owned())]);
    limiter.reset_key("192.0.2.1", None).unwrap();
    assert_left(&limiter, "192.0.2.1", &[("api", 5), ("api/gold", 9)]);
}

#[test]
fn a_reset_opens_the_gates_of_queues() {
    let queue = |name| policy(name, "1/hour", "ip").algorithm(Algorithm::LeakyQueue).burst(1);
    let limiter = limiter([queue("a"), queue("b")]);
    let Decision::Admitted(mut first) = send(&limiter, "192.0.2.1", "/", &[]) else { panic!() };
    assert_eq!((first.wait(), first.turn()), (Duration::ZERO, Ok(())));
    limiter.reset_key("192.0.2.1", None).unwrap();
    let Decision::Admitted(mut next) = send(&limiter, "192.0.2.1", "/", &[]) else { panic!() };
    assert_eq!((next.wait(), next.turn()), (Duration::ZERO, Ok(())), "as if nobody had come before");
}

#[test]
fn what_is_no_key_is_said() {
    let limiter = limiter([policy("api", "5/hour", "ip").on(Route::any().path("/api").unwrap())]);
    let error = limiter.standings("abc", None).unwrap_err();
    assert_eq!(error.to_string(), "no policy has such a key; their keys are ip (`api`)");
    let error = limiter.reset_key("192.0.2.1", Some("apo")).unwrap_err();
    assert_eq!(error.to_string(), "there is no policy `apo`; there are api");
}
