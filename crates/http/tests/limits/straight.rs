//! The straight path decides, counts and answers as the other does.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use tollgate::Algorithm;
use tollgate::clock::{Instant, ManualClock};
use tollgate_http::answer::{Dialect, ResetForm};
use tollgate_http::{
    Answer, Charge, Decision, Exemption, LimiterConfig, OnMissingKey, PeerAddr, Policy, Precedence, RateLimiter, Route,
    Tiers,
};

use crate::app::policy;

const X_A: HeaderName = HeaderName::from_static("x-a");

/// The index of the configuration that refuses nothing.
const UNLIMITED: usize = 17;

const START: Instant = Instant::from_nanos(1_700_000_000_250_000_000);

fn key(key: &str) -> tollgate_http::KeySpec {
    key.parse().unwrap()
}

fn route(path: &str) -> Route {
    Route::any().path(path).unwrap()
}

/// Configurations, and whether requests with all that could be asked for take the straight path under them.
fn configs() -> Vec<(LimiterConfig, bool)> {
    let of = |policies: Vec<Policy>| policies.into_iter().fold(LimiterConfig::new(), LimiterConfig::policy);
    let answer = |dialect| Answer::new().with_dialect(dialect);
    let tiers = || Tiers::by_header(HeaderName::from_static("x-plan")).tier("gold", "5/minute").unwrap();
    vec![
        (of(vec![policy("default", "3/minute")]), true),
        (of(vec![policy("default", "3/minute").cost(2)]), true),
        (of(vec![policy("default", "3/minute")]).answer(answer(Dialect::None)), true),
        (
            of(vec![policy("default", "3/minute")]).answer(answer(Dialect::XRateLimit { reset: ResetForm::Seconds })),
            true,
        ),
        (of(vec![policy("default", "3/minute")]).answer(answer(Dialect::Draft03)), true),
        (of(vec![policy("default", "3/minute")]).answer(Answer::new().with_headers_on_success(false)), true),
        (of(vec![policy("default", "3/minute, 5/hour")]), true),
        (of(vec![policy("w", "3/minute").algorithm(Algorithm::FixedWindow)]), true),
        (of(vec![policy("log", "3/minute").algorithm(Algorithm::SlidingLog)]), true),
        (
            of(vec![policy("a", "4/minute"), policy("b", "3/minute").key(key("header:x-a")), policy("c", "9/hour")]),
            true,
        ),
        (of(vec![policy("tiers", "3/minute").tiers(tiers())]), true),
        (of(vec![policy("default", "4/minute"), policy("a", "2/minute").on(route("/a")).key(key("ip+path"))]), true),
        (of(vec![policy("all", "9/minute").key(key("all"))]), true),
        (of(vec![policy("a", "2/minute").on(route("/a"))]), true),
        (of(vec![policy("x", "3/minute").key(key("header:x-a")).on_missing_key(OnMissingKey::Skip)]), true),
        (of(vec![policy("tiny", "9/minute").exempt_when(|request| request.header(&X_A) == Some("1"))]), true),
        (of(vec![policy("nothing", "blocked")]), true),
        (of(vec![policy("anything", "unlimited")]), true),
        (of(vec![policy("default", "3/minute").exempt(Exemption::path("/a").unwrap())]), true),
        (of(vec![policy("x", "3/minute").key(key("header:x-a")).on_missing_key(OnMissingKey::Refuse)]), true),
        // None of these does.
        (of(vec![policy("default", "3/minute"), policy("shadow", "1/minute").shadow(true)]), false),
        (of(vec![policy("default", "3/minute").concurrency(2)]), false),
        (of(vec![policy("failed", "3/minute").charge(Charge::OnlyOn("401".parse().unwrap()))]), false),
        (of(vec![policy("default", "3/minute").charge(Charge::RefundOn("2xx".parse().unwrap()))]), false),
        (of(vec![policy("queue", "60/minute burst 3").algorithm(Algorithm::LeakyQueue)]), false),
        // Several for every request, and some for paths: those that begin otherwise, or may in another reading; in any case.
        (of(vec![policy("a", "4/minute, 40/hour"), policy("b", "5/minute, 30/hour")]), true),
        (of(vec![policy("a", "4/minute, 40/hour"), policy("b", "5/minute, 30/hour").cost(2)]), true),
        (of(vec![policy("a", "4/minute"), policy("b", "3/minute").exempt(Exemption::path("/a").unwrap())]), true),
        (
            of(vec![
                policy("never", "1/minute").on(route("/never")),
                policy("default", "4/minute, 40/hour"),
                policy("a", "2/minute").on(route("/a/*")).key(key("ip+path")),
                policy("always", "9/hour").precedence(Precedence::Always),
                policy("b", "3/minute").on(route("/b")).precedence(Precedence::Always),
            ]),
            true,
        ),
        (of(vec![policy("default", "4/minute"), policy("A", "2/minute").on(route("/A"))]).ignore_path_case(true), true),
        (
            of(vec![policy("default", "4/minute"), policy("post", "2/minute").on(Route::any().method(Method::POST))]),
            true,
        ),
        // What is not straight about one path says nothing about the others.
        (of(vec![policy("default", "3/minute"), policy("a", "9/minute").on(route("/a")).concurrency(2)]), true),
        (of(vec![policy("default", "3/minute"), policy("a", "9/minute").on(route("/{any}")).concurrency(2)]), false),
    ]
}

fn request(step: u32) -> Request<()> {
    let bits = step.wrapping_mul(2_654_435_761);
    let bit = |of: u32| bits >> of & 1 == 1;
    let mut request = Request::builder().method(if bit(20) { Method::GET } else { Method::POST });
    request = request.uri(["/", "/a", "/b", "/a/../a", "//a?q"][(bits >> 12) as usize % 5]);
    if bit(21) || bit(22) {
        request = request.header("x-a", if bit(23) { "1" } else { "2" });
    }
    if bit(24) {
        request = request.header("x-plan", "gold");
    }
    if bit(25) && bit(26) {
        request = request.header("content-type", "application/grpc");
    }
    let mut request = request.body(()).unwrap();
    let peer: IpAddr =
        ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2"][(bits >> 27) as usize % 4].parse().unwrap();
    if !step.is_multiple_of(11) {
        request.extensions_mut().insert(PeerAddr(SocketAddr::new(peer, 1)));
    }
    request
}

type Seen = (StatusCode, HeaderMap, Vec<u8>);

fn seen<B: AsRef<[u8]>>(response: &Response<B>) -> Seen {
    (response.status(), response.headers().clone(), response.body().as_ref().to_vec())
}

/// By the path that decides about everything.
fn at_length(limiter: &RateLimiter<ManualClock>, request: &Request<()>) -> Seen {
    match limiter.check(request) {
        Decision::Admitted(mut admission) => {
            let mut response = Response::new("fine");
            admission.respond(StatusCode::OK, response.headers_mut());
            seen(&response)
        }
        Decision::Refused(refusal) => seen(&refusal.response()),
    }
}

#[test]
fn it_decides_counts_and_answers_as_the_other_path_does() {
    for (number, (config, is_straight)) in configs().into_iter().enumerate() {
        let make = || RateLimiter::with_clock(config.clone(), ManualClock::new(START)).unwrap();
        let (straight, other) = (make(), make());
        let (mut taken, mut refused) = (0, 0);
        for step in 0..600_u32 {
            let request = request(step);
            let now = START.saturating_add(Duration::from_millis(u64::from(step) * 1_700));
            for limiter in [&straight, &other] {
                limiter.clock().set(now);
            }
            let expected = at_length(&other, &request);
            let found = match straight.check_at_once(&request) {
                Some(Ok(fields)) => {
                    let mut response = Response::new("fine");
                    let headers = response.headers_mut();
                    if step.is_multiple_of(2) {
                        fields.write(headers);
                    } else {
                        fields.for_each(|name, value| {
                            headers.append(name, value.clone());
                        });
                    }
                    taken += 1;
                    seen(&response)
                }
                Some(Err(response)) => {
                    (taken, refused) = (taken + 1, refused + 1);
                    seen(&response)
                }
                None => at_length(&straight, &request),
            };
            assert_eq!(found, expected, "config {number}, step {step}: {request:?}");
        }
        assert_eq!(taken > 0, is_straight, "config {number}: {taken} on the straight path");
        assert!(refused > 0 || !is_straight || number == UNLIMITED, "config {number} refuses nothing");
        for (straight, other) in straight.policies(9).iter().zip(other.policies(9)) {
            assert_eq!(straight.counts, other.counts, "config {number}");
            let keys = |stats: &tollgate_http::stats::PolicyStats| {
                let mut keys: Vec<_> =
                    stats.refused.iter().map(|key| (key.key.to_string().len(), key.refused)).collect();
                keys.sort_unstable();
                keys
            };
            assert_eq!(keys(straight), keys(&other), "config {number}");
        }
    }
}

/// Among many policies for other paths, the one for a path holds on both paths: as it is written, and in other spellings.
#[test]
fn the_policy_for_a_path_is_found_among_many() {
    for ignores_case in [false, true] {
        let mut config = LimiterConfig::new().policy(policy("default", "unlimited")).ignore_path_case(ignores_case);
        for path in ["/Login/now", "/a", "/b/{any}", "/c/*", "/"] {
            config = config.policy(policy(path, "blocked").on(route(path)));
        }
        for number in 0..20 {
            let path = format!("/other{number}");
            config = config.policy(policy(&path, "1/hour").on(route(&path)));
        }
        let limiter = RateLimiter::new(config).unwrap();
        for (path, is_refused) in [
            ("/Login/now", true),
            ("/login/NOW", ignores_case),
            ("/login", false),
            ("/a", true),
            ("/A", ignores_case),
            ("/a/b", false),
            ("//a", true),
            ("/x/../a", true),
            ("/%61", true),
            ("/b/7", true),
            ("/b", false),
            ("/c/d/e", true),
            ("/c", true),
            ("/", true),
            ("/else", false),
        ] {
            let mut request = request(1);
            *request.uri_mut() = path.parse().unwrap();
            let at_once = limiter.check_at_once(&request).expect("straight");
            assert_eq!(at_once.is_err(), is_refused, "{path}");
            assert_eq!(!limiter.check(&request).is_admitted(), is_refused, "{path}");
        }
    }
}

/// The keys of the shortest path are those of the others.
#[test]
fn what_is_used_on_one_path_counts_on_the_other() {
    for exempt in [None, Some(Exemption::path("/free").unwrap())] {
        let default = policy("default", "3/hour");
        let default = exempt.into_iter().fold(default, Policy::exempt);
        let limiter = RateLimiter::new(LimiterConfig::new().policy(default)).unwrap();
        let request = request(1);
        let at_once = || limiter.check_at_once(&request).unwrap().is_ok();
        assert!(at_once() && limiter.check(&request).is_admitted() && at_once());
        assert!(!limiter.check(&request).is_admitted() && !at_once());
    }
}

/// Once a reload has returned, no thread decides by the old rules: not one that has them at hand, either.
#[test]
fn new_rules_hold_for_every_thread_once_a_reload_has_returned() {
    let limiter = RateLimiter::new(LimiterConfig::new().policy(policy("default", "unlimited"))).unwrap();
    let (ask, asked) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let other = limiter.clone();
    let thread = std::thread::spawn(move || {
        for () in asked {
            tell.send(other.check_at_once(&request(1)).map(|decided| decided.is_ok())).unwrap();
        }
    });
    for round in 0..100 {
        let is_open = round % 2 == 0;
        let rate = if is_open { "unlimited" } else { "blocked" };
        limiter.reload(LimiterConfig::new().policy(policy("default", rate))).unwrap();
        ask.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), Some(is_open), "round {round}");
        assert_eq!(limiter.check_at_once(&request(1)).map(|decided| decided.is_ok()), Some(is_open), "round {round}");
    }
    drop(ask);
    thread.join().unwrap();
}

/// A function of the application may ask the limiter itself, or another, while a request is decided.
#[test]
fn a_key_function_may_ask_again() {
    static INNER: OnceLock<RateLimiter> = OnceLock::new();
    let outer: Arc<OnceLock<RateLimiter>> = Arc::default();
    let itself = Arc::clone(&outer);
    let by = move |_: &tollgate_http::RequestInfo<'_>| {
        let inner = INNER.get().unwrap().check_at_once(&request(1)).is_some_and(|decided| decided.is_ok());
        // Policies are asked in order: this one's key is sought before anything is taken.
        let same = itself.get().unwrap().policies(0).len();
        Some((inner, same as u64))
    };
    INNER.set(RateLimiter::new(LimiterConfig::new().policy(policy("inner", "2/hour"))).unwrap()).unwrap();
    let config = LimiterConfig::new().policy(policy("outer", "1/hour").key_by(by));
    outer.set(RateLimiter::new(config).unwrap()).unwrap();
    let ask = || outer.get().unwrap().check_at_once(&request(1)).unwrap().is_ok();
    // Twice the inner one admits, so the first two share a key; then it refuses, which is another.
    assert_eq!([ask(), ask(), ask(), ask()], [true, false, true, false]);
}

/// Functions of the application may count, or use something up: each is asked once about one request, whatever comes of it.
#[test]
fn functions_are_asked_once() {
    let asked: Arc<[AtomicU64; 3]> = Arc::default();
    let ask = |which: usize| {
        let asked = Arc::clone(&asked);
        move || {
            asked[which].fetch_add(1, Ordering::Relaxed);
        }
    };
    let (exempts, keys, costs) = (ask(0), ask(1), ask(2));
    let functions = policy("functions", "2/hour")
        .exempt_when(move |request| {
            exempts();
            request.path() == "/free"
        })
        .key_by(move |request| {
            keys();
            (request.path() != "/keyless").then_some(1_u64)
        })
        .cost_by(move |_| {
            costs();
            1
        });
    let limiter = RateLimiter::new(LimiterConfig::new().policy(functions)).unwrap();
    for (path, is_admitted, calls) in [
        ("/", true, [1, 1, 1]),
        ("/keyless", true, [1, 1, 1]),
        ("/", true, [1, 1, 1]),
        ("/", false, [1, 1, 1]),
        ("/free", true, [1, 0, 0]),
    ] {
        let request = Request::builder().uri(path).body(()).unwrap();
        assert_eq!(limiter.check_at_once(&request).unwrap().is_ok(), is_admitted, "{path}");
        assert_eq!(asked.each_ref().map(|calls| calls.swap(0, Ordering::Relaxed)), calls, "{path}");
    }
}

/// More limiters than a thread keeps the rules of, and more threads than have counts of their own.
#[test]
fn many_limiters_and_many_threads_lose_no_count() {
    let limiters: Vec<_> = (0..9)
        .map(|_| RateLimiter::new(LimiterConfig::new().policy(policy("default", "1000000/hour"))).unwrap())
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                for step in 0..900 {
                    assert!(limiters[step % 9].check_at_once(&request(1)).unwrap().is_ok());
                }
            });
        }
    });
    for limiter in &limiters {
        assert_eq!(limiter.policies(0)[0].counts.allowed, 40 * 100);
    }
}
