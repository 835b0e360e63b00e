//! Which policies hold for a request, and what they answer together.

use http::Method;
use http_body_util::BodyExt;
use tollgate_http::{Exemption, LimiterConfig, Precedence};

use crate::app::{App, With, at, from, get, header, policy};

#[tokio::test]
async fn a_limit_holds_for_each_client() {
    let app = App::of([policy("default", "2/minute")]);
    assert_eq!(app.statuses([get("/"), get("/a"), get("/b")]).await, [200, 200, 429]);
    assert_eq!(app.statuses([from("192.0.2.2", "/")]).await, [200]);
    app.wait(30);
    assert_eq!(app.statuses([get("/"), get("/")]).await, [200, 429]);
    assert_eq!(app.served(), 4, "what is refused does not reach the application");
}

#[tokio::test]
async fn retry_after_is_the_second_at_which_it_is_admitted() {
    let app = App::of([policy("default", "2 per 7 seconds")]);
    app.statuses([get("/"), get("/")]).await;
    let refused = app.send(get("/")).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "4"), "3.5 s, rounded up");
    app.wait(3);
    let refused = app.send(get("/")).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "1"));
    app.wait(1);
    assert_eq!(app.statuses([get("/")]).await, [200]);
}

#[tokio::test]
async fn clients_are_told_how_they_stand() {
    let app = App::of([policy("default", "10/minute")]);
    let ok = app.send(get("/")).await;
    assert_eq!(header(&ok, "ratelimit"), "\"default\";r=9;t=6");
    assert_eq!(header(&ok, "ratelimit-policy"), "\"default\";q=10;w=60");
    app.statuses((0..9).map(|_| get("/"))).await;
    let refused = app.send(get("/")).await;
    assert_eq!(header(&refused, "ratelimit"), "\"default\";r=0;t=6");
    assert_eq!(header(&refused, "content-type"), "application/problem+json");
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    assert!(body.len() < 300);
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&problem["status"], &problem["violated-policies"][0]), (&429.into(), &"default".into()));
}

#[tokio::test]
async fn several_limits_take_all_or_nothing() {
    let app = App::of([policy("default", "6 per hour, 3 per minute")]);
    assert_eq!(app.statuses((0..5).map(|_| get("/"))).await, [200, 200, 200, 429, 429]);
    app.wait(60);
    // The two refusals have taken nothing from the hour.
    assert_eq!(app.statuses((0..4).map(|_| get("/"))).await, [200, 200, 200, 429]);
    app.wait(60);
    let refused = app.send(get("/")).await;
    assert_eq!(
        (refused.status().as_u16(), header(&refused, "ratelimit-policy")),
        (429, "\"default/hour\";q=6;w=3600, \"default/minute\";q=3;w=60")
    );
    assert!(header(&refused, "ratelimit").starts_with("\"default/hour\";r=0;"));
}

#[tokio::test]
async fn several_policies_take_all_or_nothing() {
    let app = App::of([policy("everybody", "3/hour").key("all".parse().unwrap()), policy("each", "2/hour")]);
    assert_eq!(app.statuses([get("/"), get("/"), get("/")]).await, [200, 200, 429]);
    assert_eq!(app.statuses([from("192.0.2.2", "/"), from("192.0.2.3", "/")]).await, [200, 429], "one was left");
    let views = app.limiter.policies(9);
    let counts: Vec<_> = views.iter().map(|view| (view.counts.allowed, view.counts.refused)).collect();
    assert_eq!(counts, [(3, 1), (3, 1)]);
    assert_eq!(views[0].refused[0].key.to_string(), "all");
    assert_eq!(views[1].refused[0].key.to_string(), "192.0.2.0/24", "nobody's address in full");
    assert_eq!((views[1].refused[0].refused, views[1].refused[0].remaining), (1, Some(0)));
}

#[tokio::test]
async fn a_route_takes_the_place_of_the_defaults() {
    let app = App::of([
        policy("default", "2/hour"),
        policy("login", "1/hour").on(at("/login").method(Method::POST)),
        policy("search", "4/hour").on(at("/search/*")).precedence(Precedence::Always),
        policy("all", "5/hour").precedence(Precedence::Always),
    ]);
    let login = |path| get(path).method(Method::POST);
    assert_eq!(app.statuses([login("/login"), login("/login")]).await, [200, 429]);
    for spelling in ["/login/", "//login", "/%6cogin", "/x/../login", "/login?x=1"] {
        assert_eq!(app.statuses([login(spelling)]).await, [429], "{spelling}");
    }
    // The defaults are untouched by that, and hold beside a policy that always does.
    assert_eq!(app.statuses([get("/login"), get("/search/a"), get("/search/b")]).await, [200, 200, 429]);
    let names = |answer: &crate::app::Answer| header(answer, "ratelimit-policy").replace(";w=3600", "");
    assert_eq!(names(&app.send(from("192.0.2.9", "/search")).await), "\"default\";q=2, \"search\";q=4, \"all\";q=5");
    assert_eq!(names(&app.send(login("/login")).await), "\"login\";q=1");
}

#[tokio::test]
async fn exempt_requests_take_nothing() {
    let default = policy("default", "1/hour")
        .exempt("path:/health".parse::<Exemption>().unwrap())
        .exempt("10.0.0.0/8".parse().unwrap())
        .exempt_when(|request| request.header(&http::HeaderName::from_static("x-probe")).is_some());
    let app = App::of([default]);
    assert_eq!(
        app.statuses([get("/health"), get("/health"), from("10.1.2.3", "/"), from("10.1.2.3", "/")]).await,
        [200; 4]
    );
    assert_eq!(app.statuses([get("/").header("x-probe", "1"), get("/"), get("/")]).await, [200, 200, 429]);
    assert_eq!(app.limiter.policies(0)[0].counts.exempt, 5);
}

#[tokio::test]
async fn costs_differ() {
    let app =
        App::of([policy("default", "10/hour").cost_by(|request| if request.path() == "/export" { 8 } else { 1 })]);
    assert_eq!(
        app.statuses([get("/export"), get("/export"), get("/"), get("/"), get("/")]).await,
        [200, 429, 200, 200, 429]
    );
    let app = App::of([policy("default", "10/hour").cost(11)]);
    let never = app.send(get("/")).await;
    assert_eq!((never.status().as_u16(), header(&never, "retry-after")), (429, ""), "it can never be admitted");
}

#[tokio::test]
async fn a_shadow_refuses_nobody_and_tells_who() {
    let app = App::of([policy("default", "3/hour"), policy("new", "1/hour").shadow(true)]);
    assert_eq!(app.statuses((0..4).map(|_| get("/"))).await, [200, 200, 200, 429]);
    let views = app.limiter.policies(9);
    assert_eq!((views[0].counts.allowed, views[0].counts.refused), (3, 1));
    assert_eq!((views[1].counts.allowed, views[1].counts.shadow_refused, views[1].counts.refused), (1, 2, 0));
    assert_eq!(views[1].refused[0].refused, 2);
    let answer = app.send(from("192.0.2.8", "/")).await;
    assert_eq!(header(&answer, "ratelimit-policy"), "\"default\";q=3;w=3600", "clients are not told of it");
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let refuse = |settings: LimiterConfig| tollgate_http::RateLimiter::new(settings).unwrap_err().to_string();
    assert!(tollgate_http::RateLimitLayer::new("5 per fortnight").is_err());
    let two = LimiterConfig::new().policy(policy("a", "1/s")).policy(policy("a", "2/s"));
    assert_eq!(refuse(two), "two policies are named `a`");
    assert!(refuse(LimiterConfig::new().policy(policy("a\"b", "1/s"))).contains("a\"b"));
    assert!(refuse(LimiterConfig::new().policy(policy("a", "1/s").concurrency(0))).contains("0 requests in flight"));
    assert!(refuse(LimiterConfig::new().policy(tollgate_http::Policy::without_rate("a"))).contains("limits nothing"));
    assert!(refuse(LimiterConfig::new().policy(policy("a", "1/s")).capacity(0)).contains('0'));
    let many = (0..33).fold(LimiterConfig::new(), |all, i| all.policy(policy(&format!("p{i}"), "1/s").on(at("/a/*"))));
    assert!(refuse(many).contains("could be subject to 33 limits; at most 32"));
    // Of many that do not meet each other, a request meets one, besides those that hold everywhere.
    let apart = |i| policy(&format!("p{i}"), "1/s").on(at(&format!("/{i}")));
    let everywhere =
        LimiterConfig::new().policy(policy("default", "1/s, 9/m")).policy(policy("open", "1/s").on(at("/*")));
    assert!(tollgate_http::RateLimiter::new((0..99).map(apart).fold(everywhere, LimiterConfig::policy)).is_ok());
}

#[tokio::test]
async fn the_limit_with_least_left_is_told() {
    let few = tollgate_http::Policy::without_rate("few").concurrency(3);
    let failures = policy("failures", "2/hour").charge(tollgate_http::Charge::OnlyOn("500".parse().unwrap()));
    let told = |answer: crate::app::Answer| header(&answer, "ratelimit").split(';').take(2).collect::<String>();
    for policies in [[few.clone(), failures.clone()], [failures, few]] {
        let app = App::of(policies);
        assert_eq!(told(app.send(get("/")).await), "\"failures\"r=2", "one of the two is left in either case");
        let held = app.send(get("/")).await;
        assert_eq!(told(app.send(get("/")).await), "\"few\"r=1");
        drop(held);
    }
}

#[tokio::test]
async fn two_limits_over_one_period_have_names_of_their_own() {
    let app = App::of([policy("default", "5 per hour, 9 per hour")]);
    assert_eq!(
        header(&app.send(get("/")).await, "ratelimit-policy"),
        "\"default/hour\";q=5;w=3600, \"default/hour-2\";q=9;w=3600"
    );
}
