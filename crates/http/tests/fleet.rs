//! Policies on a fleet whose server is not there; with servers they are tested by `crates/gateway/tests/redis` (`ci/redis.sh`).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tollgate_http::fleet::{Fleet, OnOutage};
use tollgate_http::limiter::AsyncKeys;
use tollgate_http::{Charge, Decision, LimiterConfig, PeerAddr, Policy, Precedence, RateLimiter, Route};
use tower::{Layer, ServiceExt, service_fn};

/// Port 1 of this machine: nobody listens there.
fn fleet() -> Fleet {
    Fleet::builder("redis://127.0.0.1:1/").secret("a secret of the tests").nodes(4).build().unwrap()
}

fn request(path: &str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().uri(path).body(Full::default()).unwrap();
    request.extensions_mut().insert(PeerAddr(SocketAddr::from(([192, 0, 2, 7], 40_000))));
    request
}

fn policy(path: &str, limits: &str) -> Policy {
    Policy::new(path, limits).unwrap().on(Route::any().path(&format!("/{path}")).unwrap())
}

/// One policy for each choice, and one of this process.
fn limiter() -> RateLimiter {
    let choices = OnOutage::ALL.map(|choice| policy(choice.name(), "8/day").on_fleet(choice));
    let config = LimiterConfig::new().fleet(fleet()).policy(Policy::new("here", "100/day").unwrap());
    RateLimiter::new(choices.into_iter().fold(config, LimiterConfig::policy)).unwrap()
}

async fn answers(limiter: &RateLimiter, path: &str, count: usize) -> Vec<Response<()>> {
    let service = service_fn(|_: Request<Full<Bytes>>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
    });
    let service = limiter.layer().layer(service);
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(service.clone().oneshot(request(path)).await.unwrap().map(drop));
    }
    answers
}

fn count(answers: &[Response<()>], status: StatusCode) -> usize {
    answers.iter().filter(|answer| answer.status() == status).count()
}

#[tokio::test]
async fn without_a_server_each_policy_does_as_it_says() {
    let limiter = limiter();
    for (path, admitted, otherwise) in [
        ("/closed", 0, StatusCode::SERVICE_UNAVAILABLE),
        ("/open", 12, StatusCode::TOO_MANY_REQUESTS),
        ("/share", 2, StatusCode::TOO_MANY_REQUESTS),
        ("/local", 8, StatusCode::TOO_MANY_REQUESTS),
    ] {
        let answers = answers(&limiter, path, 12).await;
        assert_eq!(count(&answers, StatusCode::OK), admitted, "{path}");
        assert_eq!(count(&answers, otherwise), 12 - admitted, "{path}");
        let fields = |answer: &Response<()>| answer.headers().contains_key("ratelimit");
        // Where nothing was counted there are no figures.
        let has_figures = path != "/closed" && path != "/open";
        assert!(answers.iter().all(|answer| fields(answer) == has_figures), "{path}");
        if path == "/closed" {
            assert!(answers.iter().all(|answer| answer.headers()["retry-after"] == "1"), "{path}");
        }
    }
    let stats = limiter.policies(8);
    let closed = stats.iter().find(|policy| policy.name == "closed").unwrap();
    assert_eq!((closed.counts.refused, closed.fleet.unwrap().places.outage), (12, 12));
    assert!(closed.refused.is_empty(), "an outage is no key's fault");
}

#[tokio::test]
async fn a_closed_policy_tells_grpc_that_it_is_unavailable() {
    let limiter = limiter();
    let mut request = request("/closed");
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    let Decision::Refused(refusal) = limiter.check_async(&request, &AsyncKeys::default()).await else {
        panic!("admitted without a server");
    };
    assert!(refusal.is_outage() && refusal.limit_status().is_none());
    let response = refusal.response();
    assert_eq!((response.status(), &response.headers()["grpc-status"]), (StatusCode::OK, &"14".parse().unwrap()));
}

/// Requests that no policy on the fleet is for do not wait, and neither does `check`, which decides as in an outage.
#[tokio::test]
async fn only_what_has_to_be_asked_is_asked() {
    let limiter = limiter();
    assert!(limiter.check_or_ask(&request("/elsewhere"), &AsyncKeys::default()).is_ok());
    assert!(limiter.check_at_once(&request("/elsewhere")).is_some(), "the shortest path");
    assert!(limiter.check_or_ask(&request("/closed"), &AsyncKeys::default()).is_err());
    assert!(!limiter.check(&request("/closed")).is_admitted());
    assert!(limiter.check(&request("/open")).is_admitted());
}

#[tokio::test]
async fn what_this_process_gave_comes_back_when_the_fleet_refuses() {
    let here = Policy::new("here", "3/day").unwrap().precedence(Precedence::Always);
    let config =
        LimiterConfig::new().fleet(fleet()).policy(here).policy(policy("closed", "8/day").on_fleet(OnOutage::Closed));
    let limiter = RateLimiter::new(config).unwrap();
    assert_eq!(count(&answers(&limiter, "/closed", 9).await, StatusCode::SERVICE_UNAVAILABLE), 9);
    assert_eq!(count(&answers(&limiter, "/other", 9).await, StatusCode::OK), 3);
}

#[tokio::test]
async fn a_shadow_on_the_fleet_refuses_nobody() {
    let config = LimiterConfig::new().fleet(fleet());
    let limiter =
        RateLimiter::new(config.policy(policy("share", "4/day").on_fleet(OnOutage::Share).shadow(true))).unwrap();
    assert_eq!(count(&answers(&limiter, "/share", 5).await, StatusCode::OK), 5);
    let counts = limiter.policies(0)[0].counts;
    assert_eq!((counts.allowed, counts.shadow_refused), (1, 4));
}

#[tokio::test]
async fn what_cannot_be_on_a_fleet_is_said() {
    let base = || policy("p", "8/day").on_fleet(OnOutage::Closed);
    let queue = Policy::new("p", "8/day as leaky-queue").unwrap().on_fleet(OnOutage::Closed);
    let log = Policy::new("p", "8/day as sliding-log").unwrap().on_fleet(OnOutage::Closed);
    for (policy, said) in [
        (base().concurrency(3), "requests in flight are counted in each process by itself"),
        (queue, "requests do not wait in a queue there"),
        (base().leased().charge(Charge::OnlyOn("401".parse().unwrap())), "leases take tokens before requests come"),
        (log.leased(), "none of its limits can be leased"),
        (
            Policy::new("p", "3/ns as fixed-window").unwrap().on_fleet(OnOutage::Closed),
            "policy `p` cannot be held on Redis",
        ),
    ] {
        let error = LimiterConfig::new().fleet(fleet()).policy(policy).validate().unwrap_err().to_string();
        assert!(error.contains(said), "`{said}` is not in: {error}");
    }
    let error = RateLimiter::new(LimiterConfig::new().policy(base())).unwrap_err().to_string();
    assert!(error.contains("no servers are configured"), "{error}");
    // For trying it: counted here.
    let limiter = RateLimiter::new(LimiterConfig::new().policy(base()).private()).unwrap();
    assert_eq!(count(&answers(&limiter, "/p", 9).await, StatusCode::OK), 8);
}

/// A server that takes connections and says nothing: the request waits for no longer than the deadline, and not for the rest.
#[tokio::test]
async fn a_server_that_says_nothing_costs_the_deadline_at_most() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", silent.local_addr().unwrap());
    let fleet = Fleet::builder(url).secret("a secret of the tests").build().unwrap();
    let config = LimiterConfig::new().fleet(fleet).policy(policy("closed", "8/day").on_fleet(OnOutage::Closed));
    let limiter = RateLimiter::new(config).unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(10), answers(&limiter, "/closed", 20)).await;
    assert_eq!(count(&answered.expect("no more than 20 deadlines"), StatusCode::SERVICE_UNAVAILABLE), 20);
}
