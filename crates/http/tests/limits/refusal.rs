//! A refusal that the application words itself.

use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use tollgate_http::{Answer, LimiterConfig, OnMissingKey};

use crate::app::{App, With, get, header, policy};

#[tokio::test]
async fn a_function_makes_the_response_of_that_which_the_settings_make() {
    let answer = Answer::new().with_response(|refusal, mut response| {
        let limit = refusal.limit.map_or("none", |limit| limit.name);
        *response.body_mut() = format!("{} {limit}", refusal.policy).into();
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response.headers_mut().insert("x-own", HeaderValue::from_static("yes"));
        response
    });
    let keyed = policy("keyed", "1/hour").key("header:x".parse().unwrap()).on_missing_key(OnMissingKey::Refuse);
    let app = App::new(LimiterConfig::new().policy(keyed).answer(answer));
    assert_eq!(app.statuses([get("/").header("x", "k")]).await, [200]);
    let refused = app.send(get("/").header("x", "k")).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((header(&refused, "x-own"), header(&refused, "retry-after")), ("yes", "3600"));
    assert_eq!(refused.into_body().collect().await.unwrap().to_bytes(), "keyed keyed");
}

#[tokio::test]
async fn a_refusal_without_a_limit_is_not_cached_and_is_one_of_grpc() {
    let keyed = tollgate_http::Policy::without_rate("keyed").concurrency(1);
    let tiers = tollgate_http::Tiers::by(|_| Some("empty".to_owned())).tier("empty", Vec::new()).unwrap();
    let keyed = keyed.tiers(tiers).key("header:x".parse().unwrap()).on_missing_key(OnMissingKey::Refuse);
    let app = App::of([keyed]);
    let refused = app.send(get("/")).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&refused, "cache-control"), "no-store");
    let refused = app.send(get("/").header("content-type", "application/grpc")).await;
    assert_eq!((refused.status(), header(&refused, "grpc-status")), (StatusCode::OK, "8"));
}
