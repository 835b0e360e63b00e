//! What is counted for operators beside totals: who uses most, and refusals by path.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tollgate::clock::ManualClock;
use tollgate_http::answer::Dialect;
use tollgate_http::service::ToldStanding;
use tollgate_http::{Answer, LimiterConfig, PeerAddr, Policy, RateLimitLayer, RateLimiter, Route};
use tower::{Layer as _, ServiceExt as _};

fn limiter(watches: bool, policies: impl IntoIterator<Item = Policy>) -> RateLimiter<ManualClock> {
    let config = LimiterConfig::new().watch_use(watches).show_keys(true);
    RateLimiter::with_clock(policies.into_iter().fold(config, LimiterConfig::policy), ManualClock::default()).unwrap()
}

/// So many requests of a client, each by the way that the layer takes.
fn send(limiter: &RateLimiter<ManualClock>, client: &str, path: &str, times: usize) {
    let peer = PeerAddr(format!("{client}:1").parse().unwrap());
    let request = Request::builder().uri(path).extension(peer).body(()).unwrap();
    for _ in 0..times {
        if limiter.check_at_once(&request).is_none() {
            drop(limiter.check(&request));
        }
    }
}

/// The keys of a policy with their requests.
fn used(limiter: &RateLimiter<ManualClock>, policy: usize) -> Vec<(String, u64)> {
    let stats = limiter.policies(9).swap_remove(policy);
    stats.used.iter().map(|row| (row.key.to_string(), row.requests)).collect()
}

/// By client alone, by a straight policy of paths, and by one that asks for more: three ways through the limiter.
#[test]
fn who_uses_most_is_listed_though_nobody_is_refused() {
    let by_client = || Policy::new("by-client", "100/hour").unwrap();
    let pathed = Policy::new("pathed", "100/hour").unwrap().on(Route::any().path("/a").unwrap());
    let with_places = Policy::new("places", "100/hour").unwrap().concurrency(9);
    for policy in [by_client(), pathed, with_places] {
        let limiter = limiter(true, [policy]);
        send(&limiter, "192.0.2.1", "/a", 3);
        send(&limiter, "192.0.2.2", "/a", 7);
        let expected = [("192.0.2.2".to_owned(), 7), ("192.0.2.1".to_owned(), 3)];
        assert_eq!(used(&limiter, 0), expected);
        let row = &limiter.policies(1)[0].used[0];
        assert_eq!((row.remaining, row.error, limiter.policies(1)[0].used.len()), (Some(93), 0, 1));
        assert_eq!(limiter.policies(9)[0].refused.len(), 0);
    }
    let limiter = limiter(false, [by_client()]);
    send(&limiter, "192.0.2.1", "/a", 3);
    assert!(used(&limiter, 0).is_empty(), "not unless it is asked for");
}

#[test]
fn what_was_refused_is_not_used() {
    let limiter = limiter(true, [Policy::new("few", "2/hour").unwrap()]);
    send(&limiter, "192.0.2.1", "/", 9);
    assert_eq!(used(&limiter, 0), [("192.0.2.1".to_owned(), 2)]);
}

#[test]
fn refusals_are_counted_by_the_path_that_the_policy_names() {
    let route = Route::any().path("/reports/*").unwrap().path("/export").unwrap();
    let policies =
        || [Policy::new("default", "2/hour").unwrap(), Policy::new("some", "1/hour").unwrap().on(route.clone())];
    let limiter = limiter(false, policies());
    send(&limiter, "192.0.2.1", "/", 5);
    send(&limiter, "192.0.2.1", "/reports/x", 4);
    send(&limiter, "192.0.2.1", "/EXPORT", 2);
    let by_path = |limiter: &RateLimiter<_>| {
        let policies = limiter.policies(0);
        policies
            .into_iter()
            .flat_map(|policy| policy.refused_by_path)
            .map(|(path, count)| format!("{path} {count}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(by_path(&limiter), ["* 3", "/reports/* 3", "/export 2"]);
    let config = policies().into_iter().fold(LimiterConfig::new(), LimiterConfig::policy);
    limiter.reload(config).unwrap();
    assert_eq!(by_path(&limiter), ["* 3", "/reports/* 3", "/export 2"], "a reload keeps them");
}

/// Responses tell how the client stands, if that is asked for, whatever header fields do.
#[tokio::test]
async fn a_service_is_told_how_a_client_stands() {
    for tells in [true, false] {
        let answer = Answer::new().with_dialect(Dialect::None);
        let config = LimiterConfig::new().answer(answer).tell_standing(tells);
        let layer = RateLimitLayer::with(config.policy(Policy::new("few", "2/hour").unwrap())).unwrap();
        let hello =
            tower::service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::new()))) });
        let service = layer.layer(hello);
        let mut told = Vec::new();
        for _ in 0..3 {
            let request = Request::builder().extension(PeerAddr("192.0.2.1:1".parse().unwrap())).body(()).unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            let standing = response.extensions().get::<ToldStanding>().cloned();
            assert!(!response.headers().contains_key("ratelimit"));
            told.push((response.status().as_u16(), standing.map(|told| (told.policy, told.limit, told.remaining))));
        }
        let few = |left| tells.then(|| ("few".to_owned(), "few".to_owned(), Some(left)));
        assert_eq!(told, [(200, few(1)), (200, few(0)), (429, few(0))]);
    }
}

/// What one client has used is neither lost nor mixed up with what others use who come once each.
#[test]
fn a_flood_of_clients_does_not_hide_who_uses_most() {
    let limiter = limiter(true, [Policy::new("all", "1000/hour").unwrap()]);
    send(&limiter, "192.0.2.1", "/", 500);
    for number in 0..5_000_u32 {
        send(&limiter, &format!("10.1.{}.{}", number / 250, number % 250), "/", 1);
    }
    assert_eq!(used(&limiter, 0)[0], ("192.0.2.1".to_owned(), 500));
}
