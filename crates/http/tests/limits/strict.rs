//! What must hold even for settings that few have.

use http::HeaderName;
use tollgate_http::{LimiterConfig, OnMissingKey, Policy, Tiers};

use crate::app::{App, With, get, policy};

#[tokio::test]
async fn a_shadow_refuses_nobody_for_want_of_a_key() {
    let shadow = policy("new", "1/hour").key("user".parse().unwrap()).on_missing_key(OnMissingKey::Refuse).shadow(true);
    let app = App::of([shadow, policy("default", "2/hour")]);
    assert_eq!(app.statuses([get("/"), get("/"), get("/")]).await, [200, 200, 429]);
    let counts = app.limiter.policies(1)[0].counts;
    assert_eq!((counts.allowed, counts.refused, counts.shadow_refused), (0, 0, 2));
}

#[tokio::test]
async fn a_refusal_has_the_status_of_one_whatever_refuses() {
    let tiers = || Tiers::by_header(HeaderName::from_static("x-plan")).tier("free", "1/hour").unwrap();
    let keyless = || Policy::without_rate("api").key("user".parse().unwrap()).on_missing_key(OnMissingKey::Refuse);
    assert_eq!(App::of([keyless().tiers(tiers())]).statuses([get("/")]).await, [429], "of no tier");
    assert_eq!(App::of([keyless().concurrency(9)]).statuses([get("/")]).await, [429]);
}

#[tokio::test]
async fn limits_of_different_policies_share_nothing_whatever_their_names() {
    let tiers = || Tiers::by_header(HeaderName::from_static("x-plan"));
    let api = policy("api", "9/hour").tiers(tiers().tier("premium", "2/hour").unwrap());
    let app = App::of([api, policy("api/premium", "2/hour")]);
    let premium = || get("/").header("x-plan", "premium");
    assert_eq!(app.statuses([premium(), premium(), premium()]).await, [200, 200, 429]);
    let api = policy("api", "1 per hour, 9 per day").tiers(tiers().tier("hour", "1/hour").unwrap());
    let app = App::of([api]);
    assert_eq!(app.statuses([get("/"), get("/").header("x-plan", "hour"), get("/")]).await, [200, 200, 429]);
}

#[tokio::test]
async fn two_limits_over_one_period_count_each_by_itself() {
    let app = App::of([policy("default", "4 per hour, 5 per hour")]);
    assert_eq!(app.statuses((0..5).map(|_| get("/"))).await, [200, 200, 200, 200, 429]);
}

#[tokio::test]
async fn a_limit_that_gets_company_keeps_what_is_used_up() {
    let app = App::of([policy("default", "1/hour")]);
    assert_eq!(app.statuses([get("/")]).await, [200]);
    app.limiter.reload(LimiterConfig::new().policy(policy("default", "1 per hour, 9 per day"))).unwrap();
    assert_eq!(app.statuses([get("/")]).await, [429], "a second limit");
    app.limiter.reload(LimiterConfig::new().policy(policy("default", "1/hour").concurrency(9))).unwrap();
    assert_eq!(app.statuses([get("/")]).await, [429], "a bound on concurrency");
}
