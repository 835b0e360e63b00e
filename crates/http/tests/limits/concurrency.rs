//! Bounds on requests in flight.

use http_body_util::BodyExt;
use tollgate_http::Policy;

use crate::app::{App, from, get, header, policy};

#[tokio::test]
async fn a_request_is_in_flight_until_its_body_has_ended() {
    let app = App::of([Policy::without_rate("few").concurrency(2)]);
    let (first, second) = (app.send(get("/")).await, app.send(get("/")).await);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    let refused = app.send(get("/")).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "1"));
    let row = &app.limiter.policies(1)[0].refused[0];
    assert_eq!((row.remaining, row.retry_after), (None, None), "nobody knows when one of them ends");
    assert_eq!(header(&refused, "ratelimit-policy"), "\"few\";q=2;qu=\"concurrent-requests\"");
    assert_eq!(app.send(from("192.0.2.2", "/")).await.status(), 200);
    first.into_body().collect().await.unwrap();
    let third = app.send(get("/")).await;
    assert_eq!(third.status(), 200);
    drop(second);
    assert_eq!(app.statuses([get("/"), get("/")]).await, [200, 200], "these are dropped at once");
}

#[tokio::test]
async fn a_refusal_by_rate_leaves_no_place_taken() {
    let app = App::of([policy("few", "1/hour").concurrency(1)]);
    let first = app.send(get("/")).await;
    assert_eq!(first.status(), 200);
    drop(first);
    assert_eq!(app.statuses([get("/"), get("/")]).await, [429, 429]);
    app.wait(3_600);
    let held = app.send(get("/")).await;
    assert_eq!(held.status(), 200);
    app.wait(3_600);
    // Refused by the place: the rate is untouched.
    assert_eq!(app.send(get("/")).await.status(), 429);
    drop(held);
    assert_eq!(app.send(get("/")).await.status(), 200);
}

#[tokio::test]
async fn a_body_that_has_ended_is_over_even_if_it_is_kept() {
    let app = App::of([Policy::without_rate("few").concurrency(1)]);
    let mut body = app.send(get("/")).await.into_body();
    assert_eq!(app.statuses([get("/")]).await, [429]);
    while body.frame().await.is_some() {}
    assert_eq!(app.statuses([get("/")]).await, [200]);
    drop(body);
}

#[tokio::test]
async fn places_are_of_one_policy_and_those_of_a_shadow_too() {
    let shadow = Policy::without_rate("new").concurrency(1).shadow(true);
    let app = App::of([Policy::without_rate("one").concurrency(2), Policy::without_rate("two").concurrency(3), shadow]);
    let held = (app.send(get("/")).await, app.send(get("/")).await);
    assert_eq!(app.statuses([get("/")]).await, [429], "the first has two, whatever the others count");
    let counts = app.limiter.policies(0)[2].counts;
    assert_eq!((counts.allowed, counts.shadow_refused), (1, 1));
    drop(held);
    assert_eq!(app.statuses([get("/")]).await, [200]);
    assert_eq!(app.limiter.policies(0)[2].counts.allowed, 2);
}
