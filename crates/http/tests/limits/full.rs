//! A table that is full, under each of the three policies for that.

use tollgate::OnFull;
use tollgate_http::LimiterConfig;

use crate::app::{App, from, get, policy};

/// What 20,000 clients get who come once each, in a table for one hundred.
async fn flood(on_full: OnFull) -> (App, usize) {
    let app = App::new(LimiterConfig::new().policy(policy("default", "3/hour")).capacity(100).on_full(on_full));
    assert_eq!(app.statuses((0..4).map(|_| get("/"))).await, [200, 200, 200, 429]);
    let mut admitted = 0;
    for i in 0..20_000_u32 {
        let [.., a, b] = i.to_be_bytes();
        admitted += usize::from(app.send(from(&format!("10.0.{a}.{b}"), "/")).await.status() == 200);
    }
    (app, admitted)
}

#[tokio::test]
async fn by_default_newcomers_inherit_what_others_owe() {
    let (app, admitted) = flood(OnFull::EvictNearestIdle).await;
    let stats = app.limiter.stats();
    assert!(admitted < 1_000, "no more than the slots hold: {admitted}");
    assert!(stats.evictions > 0 && stats.refused_full > 0 && stats.untracked == 0, "{stats:?}");
    assert_eq!(app.statuses([get("/")]).await, [429], "a flood frees nobody");
}

#[tokio::test]
async fn newcomers_are_refused() {
    let (app, admitted) = flood(OnFull::RefuseNew).await;
    let stats = app.limiter.stats();
    assert_eq!((20_000 - admitted as u64, stats.evictions, stats.untracked), (stats.refused_full, 0, 0));
    assert!(admitted < 1_000, "{admitted}");
    assert_eq!(app.statuses([get("/")]).await, [429]);
    app.wait(3_600);
    assert_eq!(app.statuses([get("/"), from("10.9.9.9", "/")]).await, [200, 200], "there is room again");
}

#[tokio::test]
async fn newcomers_pass() {
    let (app, admitted) = flood(OnFull::AdmitUntracked).await;
    let stats = app.limiter.stats();
    assert_eq!((admitted, stats.evictions, stats.refused_full), (20_000, 0, 0));
    assert!(stats.untracked > 19_000, "{stats:?}");
    assert_eq!(app.statuses([get("/")]).await, [429], "who was known is limited still");
}
