//! What refused clients are told, and that it is true.

mod common;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use common::{Client, NOON};
use http::{HeaderMap, Response, StatusCode};
use tollgate::Quota;
use tollgate::clock::Instant;
use tollgate_http::Answer;
use tollgate_http::answer::{
    AnswerError, Dialect, LimitStatus, QuotaUnit, RefusalBody, RetryAfter, RetryForm, Template,
};

fn refused(answer: &Answer, limit: &LimitStatus<'_>) -> Response<Bytes> {
    let policies = answer.dialect().policies([(limit.name, limit.quota, limit.unit)]);
    answer.refuse(limit, &policies, false)
}

fn body(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn five() -> Client {
    Client::new("five", Quota::per_minute(5))
}

fn template(content_type: &str, text: &str) -> RefusalBody {
    RefusalBody::Custom(Template::new(content_type, text).unwrap())
}

/// Every kind of body, the custom one as long as it may be.
fn bodies() -> Vec<RefusalBody> {
    let places = r#"{"a":"{policy}","b":"{name}","c":{retry_after}}"#;
    let room = RefusalBody::MAX - (places.len() - "{policy}{name}{retry_after}".len() + 96 + 96 + 15);
    let longest = format!("{places}{}", " ".repeat(room));
    assert!(Template::new("application/vnd.ours+JSON", &format!("{longest} ")).is_err(), "not the longest");
    let mut bodies: Vec<_> =
        ["problem-json", "json", "detail", "text", "empty"].map(|name| name.parse().unwrap()).into();
    bodies.push(template("application/vnd.ours+JSON", &longest));
    bodies
}

#[test]
fn the_default_answer() {
    let client = Client::new(r#"f"i\v"e"#, Quota::per_minute(5));
    let response = refused(&Answer::new(), &client.is_refused());
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let headers: Vec<_> = response.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
    assert_eq!(
        headers,
        [
            ("retry-after", "12"),
            ("cache-control", "no-store"),
            ("ratelimit-policy", r#""f\"i\\v\"e";q=5;w=60"#),
            ("ratelimit", r#""f\"i\\v\"e";r=0;t=12"#),
            ("content-type", "application/problem+json"),
        ]
    );
    let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(
        problem,
        serde_json::json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Request cannot be satisfied as assigned quota has been exceeded",
            "status": 429,
            "violated-policies": [r#"f"i\v"e"#],
        })
    );
}

#[test]
fn other_bodies() {
    let client = five();
    let limit = client.is_refused();
    let text = |body_kind| body(&refused(&Answer::new().with_body(body_kind), &limit)).to_owned();
    assert_eq!(text(RefusalBody::Json), r#"{"error":"Rate limit exceeded: 5 per 1 minute"}"#);
    assert_eq!(text(RefusalBody::Detail), r#"{"detail":"Too Many Requests"}"#);
    assert_eq!(text(RefusalBody::Text), "Rate limit exceeded: 5 per 1 minute. Try again in 12 s.\n");
    assert_eq!(text(RefusalBody::Empty), "");
    assert_eq!(
        text(template("text/plain", "{policy}/{name}: {quota}, {remaining} of {limit}, {retry_after} s, {x-y} {}{")),
        "api/five: 5 per 1 minute, 0 of 5, 12 s, {x-y} {}{"
    );
    let empty = refused(&Answer::new().with_body(RefusalBody::Empty), &limit);
    assert!(!empty.headers().contains_key("content-type"));
}

#[test]
fn what_can_never_fit_is_told_so() {
    let client = five();
    let limit = client.asks(6);
    for body_kind in bodies() {
        let answer = Answer::new().with_body(body_kind.clone());
        let response = refused(&answer, &limit);
        assert!(!response.headers().contains_key("retry-after"), "{body_kind}");
        assert_eq!(response.headers()["ratelimit"], "\"five\";r=5", "no `t`, which would invite a next try");
        match body_kind {
            RefusalBody::Empty => {}
            RefusalBody::Custom(_) => assert!(body(&response).contains("\"c\":null"), "{}", body(&response)),
            _ => assert!(body(&response).contains("can never be admitted"), "{}", body(&response)),
        }
        if body_kind.to_string().contains("json") {
            serde_json::from_slice::<serde_json::Value>(response.body()).unwrap();
        }
    }
    let problem: serde_json::Value = serde_json::from_slice(refused(&Answer::new(), &limit).body()).unwrap();
    assert_eq!((problem.get("type"), &problem["title"]), (None, &"Too Many Requests".into()));
}

#[test]
fn a_limit_on_requests_in_flight_has_no_period() {
    let mut client = five();
    client.unit = QuotaUnit::ConcurrentRequests;
    let response = refused(&Answer::new().with_body(RefusalBody::Json), &client.is_refused());
    assert_eq!(body(&response), r#"{"error":"Rate limit exceeded: 5 at a time"}"#);
}

#[test]
fn the_longest_bodies_are_short_and_whole() {
    // Bytes that need escapes, bytes that need three, more than are shown; the widest figures.
    let names = ["\"".repeat(1_000), "\\".repeat(48), "é".repeat(1_000), "\"\u{0}".repeat(500)];
    let wide = Quota::new(u64::MAX, Duration::from_nanos(300_000_000_000_000_001)).unwrap().with_burst(u64::MAX - 1);
    for name in names {
        let client = Client::new(&name, Quota::per_day(5));
        for mut limit in [client.is_refused(), client.asks(6)] {
            limit.policy = &name;
            limit.quota = &wide;
            // 511 has no phrase; 431 has the longest.
            for (body_kind, status) in bodies().into_iter().flat_map(|body| [(body.clone(), 431), (body, 511)]) {
                let answer = Answer::new().with_body(body_kind.clone()).with_status(status).unwrap();
                let response = refused(&answer, &limit);
                assert!(response.body().len() <= RefusalBody::MAX, "{body_kind}: {}", response.body().len());
                if !matches!(body_kind, RefusalBody::Text | RefusalBody::Empty) {
                    serde_json::from_slice::<serde_json::Value>(response.body())
                        .unwrap_or_else(|error| panic!("{body_kind}: {error}: {}", body(&response)));
                }
                let grpc = answer.refuse(&limit, &answer.dialect().policies([]), true);
                assert!(grpc.headers()["grpc-message"].len() <= RefusalBody::MAX);
            }
        }
    }
}

#[test]
fn grpc_has_trailers_only() {
    let client = five();
    let answer = Answer::new();
    let response = answer.refuse(&client.is_refused(), &answer.dialect().policies([]), true);
    assert_eq!((response.status(), response.body().len()), (StatusCode::OK, 0));
    assert_eq!(response.headers()["content-type"], "application/grpc");
    assert_eq!(response.headers()["grpc-status"], "8");
    assert_eq!(response.headers()["grpc-message"], "Rate limit exceeded: 5 per 1 minute. Try again in 12 s.");
    assert_eq!(response.headers()["retry-after"], "12");
}

/// The seconds of a `Retry-After`.
fn seconds(response: &Response<Bytes>) -> u64 {
    response.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

#[test]
fn who_waits_as_told_is_admitted_and_nobody_waits_a_second_too_long() {
    for (count, millis) in [(1_000, 1_000), (3, 1_000), (7, 1_000), (5, 60_000), (1, 1_500), (11, 86_400_000)] {
        let client = Client::new("n", Quota::new(count, Duration::from_millis(millis)).unwrap());
        let limit = client.is_refused();
        let exact = limit.report.retry_after.unwrap();
        let told = Duration::from_secs(seconds(&refused(&Answer::new(), &limit)));
        assert!(told >= Duration::from_secs(1) && told < exact + Duration::from_secs(1), "{told:?} for {exact:?}");
        client.wait(told);
        assert!(client.asks(1).report.retry_after.is_none(), "{count} per {millis} ms");
    }
}

#[test]
fn the_extremes_of_a_wait() {
    let client = five();
    let mut limit = client.is_refused();
    for (wait, told) in [(Duration::ZERO, 1), (Duration::from_nanos(1), 1), (Duration::MAX, 999_999_999_999_999)] {
        limit.report.retry_after = Some(wait);
        assert_eq!(seconds(&refused(&Answer::new(), &limit)), told);
    }
}

#[test]
fn a_date_is_never_too_early() {
    let answer = Answer::new().with_retry_after(RetryAfter::new(RetryForm::HttpDate));
    let client = five();
    let response = refused(&answer, &client.is_refused());
    // 12 s after half past a second, rounded up.
    assert_eq!(response.headers()["retry-after"], "Tue, 14 Nov 2023 22:13:33 GMT");
    let date = httpdate::parse_http_date(response.headers()["retry-after"].to_str().unwrap()).unwrap();
    let since_1970 = date.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(since_1970 >= Duration::from_nanos(NOON.as_nanos()) + Duration::from_secs(12));

    // The latest instant there is, and the longest jitter.
    let mut limit = client.is_refused();
    limit.at = Instant::from_nanos(u64::MAX);
    let answer = answer.with_retry_after(RetryAfter::new(RetryForm::HttpDate).with_jitter(Duration::MAX));
    assert_eq!(refused(&answer, &limit).headers()["retry-after"], "Sun, 21 Jul 2554 23:34:34 GMT");
}

#[test]
fn jitter_only_adds_and_spreads() {
    let client = five();
    let limit = client.is_refused();
    let answer =
        Answer::new().with_retry_after(RetryAfter::new(RetryForm::Seconds).with_jitter(Duration::from_secs(10)));
    let mut seen = [0_u32; 11];
    for _ in 0..1_000 {
        let response = refused(&answer, &limit);
        let extra = seconds(&response).checked_sub(12).expect("never earlier");
        seen[usize::try_from(extra).unwrap()] += 1;
        assert_eq!(response.headers()["ratelimit"], "\"five\";r=0;t=12");
    }
    // Ten seconds, each with odds of a tenth: fewer than 40 of 1,000 is six standard deviations away.
    assert!(seen[1..].iter().all(|&times| times > 40), "{seen:?}");
}

#[test]
fn admitted_requests_are_told_unless_switched_off() {
    let client = five();
    let limit = client.asks(1);
    let policies = Dialect::Ietf.policies([]);
    for on in [true, false] {
        let mut headers = HeaderMap::new();
        Answer::new().with_headers_on_success(on).inform(&mut headers, &limit, &policies);
        assert_eq!(headers.contains_key("ratelimit"), on);
    }
}

#[test]
fn wrong_settings_are_named() {
    for status in [0, 99, 200, 399, 600, 1_000] {
        assert_eq!(Answer::new().with_status(status).unwrap_err(), AnswerError::Status { given: status });
    }
    for status in [400, 429, 503, 599] {
        assert_eq!(Answer::new().with_status(status).unwrap().status(), status);
    }
    let error = |content_type, text: &str| Template::new(content_type, text).unwrap_err().to_string();
    assert_eq!(
        error("text/plain", "{retry}"),
        "unknown placeholder `{retry}` in a body; expected one of \
         {policy}, {name}, {quota}, {limit}, {remaining}, {retry_after}"
    );
    assert_eq!(error("text\n", ""), "`text\\n` cannot be the value of a content-type header");
    assert_eq!(
        error("text/html", &"x".repeat(300)),
        "the body of a refusal is at most 299 bytes, and this one can reach 300"
    );
    assert_eq!(
        "xml".parse::<RefusalBody>().unwrap_err().to_string(),
        "`xml` is not a valid body of a refusal; expected one of problem-json, json, detail, text, empty"
    );
}
