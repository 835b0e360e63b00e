//! Other spellings of a request, with which a client might try to get round a limit.

use http::{HeaderName, Method};
use tollgate_http::{Exemption, LimiterConfig, OnMissingKey, Precedence, Tiers};

use crate::app::{App, With, at, get, policy};

/// Sends each of `requests` to an application that admits one of them, the first.
async fn one_bucket(app: &App, requests: impl IntoIterator<Item = http::Request<()>>) {
    for (i, request) in requests.into_iter().enumerate() {
        let shown = format!("{request:?}");
        let status = app.send(request).await.status().as_u16();
        assert_eq!(status, if i == 0 { 200 } else { 429 }, "{shown}");
    }
}

#[tokio::test]
async fn spellings_of_a_path_that_some_server_reads_as_the_same() {
    let app = App::of([policy("login", "1/hour").on(at("/api/log-in@me"))]);
    // Flask and FastAPI decode all of a path, Tomcat leaves out what follows a `;`.
    let spellings = ["/api/log-in@me", "/api%2flog-in@me", "/api/log-in%40me", "/api/log-in@me;jsessionid=1"];
    one_bucket(&app, spellings.into_iter().chain(["/x/..;/api;a=b/log-in@me", "/api%5clog-in@me"]).map(get)).await;
    let app = App::of([policy("cafe", "1/hour").on(at("/café/{table}"))]);
    one_bucket(&app, ["/caf%C3%A9/1", "/caf%c3%a9/2", "/café/3"].map(get)).await;
    let app = App::of([policy("each", "1/hour").key("path".parse().unwrap())]);
    one_bucket(&app, ["/a/b:c", "/a%2Fb:c", "/a/b%3Ac", "/a/b%3ac/", "/a;x/b:c", "/a;y/b:c"].map(get)).await;
}

#[tokio::test]
async fn a_path_is_limited_however_the_server_reads_it() {
    // A router that decodes nothing finds one segment here, and `..` to be the name of one.
    let app = App::of([policy("project", "1/hour").on(at("/projects/{id}"))]);
    one_bucket(&app, ["/projects/tollgate", "/projects/group%2Ftollgate"].map(get)).await;
    let app = App::of([policy("api", "1/hour").on(at("/api/*"))]);
    one_bucket(&app, ["/api/a", "/api/../cheap"].map(get)).await;
    let routed = policy("static", "9/hour").on(at("/static/*"));
    let app = App::of([policy("default", "1/hour"), routed]);
    one_bucket(&app, ["/admin", "/static/../admin", "/admin/..%2fstatic", "/admin/../static"].map(get)).await;
}

/// Express, ASP.NET Core and IIS take them for one; an exemption, which opens, is for what is written alone.
#[tokio::test]
async fn the_case_of_letters_in_a_path_is_no_way_round() {
    let app = App::of([policy("login", "1/hour").on(at("/Login/{id}"))]);
    one_bucket(&app, ["/login/a", "/LOGIN/b", "/lo%47in/c", "/Login/d"].map(get)).await;
    let app = App::of([policy("each", "1/hour").key("path".parse().unwrap())]);
    one_bucket(&app, ["/items/a", "/Items/a", "/ITEMS/A"].map(get)).await;
    let app = App::of([policy("default", "1/hour").exempt("path:/health".parse::<Exemption>().unwrap())]);
    one_bucket(&app, ["/Health", "/HEALTH"].map(get)).await;
    assert_eq!(app.statuses([get("/health"), get("/health")]).await, [200; 2]);
    let exact = LimiterConfig::new().policy(policy("login", "1/hour").on(at("/login"))).ignore_path_case(false);
    let app = App::new(exact);
    assert_eq!(app.statuses([get("/login"), get("/login"), get("/Login"), get("/Login")]).await, [200, 429, 200, 200]);
}

#[tokio::test]
async fn what_is_exempt_is_so_however_the_server_reads_it() {
    let default = policy("default", "1/hour").exempt("path:/static/*".parse::<Exemption>().unwrap());
    let app = App::of([default]);
    let ways = ["/admin", "/static/../admin", "/admin/../static/a", "/static/..;/admin", "/static/..%2fadmin"];
    one_bucket(&app, ways.into_iter().chain(["/static\\..\\admin", "/static/%2e%2e%5cadmin"]).map(get)).await;
    assert_eq!(app.statuses([get("/static/a"), get("/static//b/"), get("/static/a%20b")]).await, [200; 3]);
}

#[tokio::test]
async fn head_is_limited_as_the_get_that_answers_it() {
    let route = at("/report").method(Method::GET);
    let app = App::of([policy("report", "1/hour").on(route)]);
    one_bucket(&app, [get("/report"), get("/report").method(Method::HEAD)]).await;
    assert_eq!(app.statuses([get("/report").method(Method::POST)]).await, [200]);
    let app = App::of([policy("each", "1/hour").key("method".parse().unwrap())]);
    one_bucket(&app, [get("/"), get("/").method(Method::HEAD)]).await;
}

#[tokio::test]
async fn every_host_that_a_request_names() {
    let route = || at("/*").host("shop.example");
    let app = App::of([policy("shop", "1/hour").on(route())]);
    let host = |host: &str| get("/").header("host", host);
    one_bucket(&app, [host("shop.example"), host("SHOP.example.:80"), host("shop.example.")]).await;
    let absolute = |uri: &str| get(uri).header("host", "shop.example");
    one_bucket(&App::of([policy("shop", "1/hour").on(route())]), [host("shop.example"), absolute("http://a.example/")])
        .await;
    assert_eq!(app.statuses([host("a.example").header("host", "shop.example"), host("a.example")]).await, [429, 200]);
    // A route that takes the place of the default does so for requests that are its own alone.
    let app = App::of([policy("default", "1/hour"), policy("shop", "9/hour").on(route())]);
    one_bucket(&app, [host("a.example"), get("http://shop.example/").header("host", "a.example")]).await;
    // As a key, several are one client that says several things.
    let app = App::of([policy("hosts", "1/hour").key("host".parse().unwrap())]);
    let several = |other: &str| host("a.example").header("host", other);
    assert_eq!(app.statuses([host("a.example"), several("1.example"), several("2.example")]).await, [200, 200, 429]);
}

#[tokio::test]
async fn a_key_that_is_sent_twice_is_no_fresh_key() {
    let keyed = |key: &str| policy("keys", "1/hour").key(key.parse().unwrap()).on_missing_key(OnMissingKey::Skip);
    let app = App::of([keyed("header:x-api-key")]);
    let sent = |first: &str, then: &str| get("/").header("x-api-key", first).header("x-api-key", then);
    one_bucket(&app, [sent("real", "1"), sent("real", "2"), sent("3", "real")]).await;
    assert_eq!(app.statuses([get("/").header("x-api-key", "real")]).await, [200]);
    let app = App::of([keyed("cookie:sid")]);
    let cookie = |line: &str| get("/").header("cookie", line);
    one_bucket(&app, ["sid=1; sid=real", "sid=2; sid=real", "sid=real;sid=3"].map(cookie)).await;
    assert_eq!(app.statuses([cookie("sid=real")]).await, [200]);
}

#[tokio::test]
async fn spellings_of_a_key() {
    let keyed = |key: &str| App::of([policy("keys", "1/hour").key(key.parse().unwrap())]);
    let cookie = |line: &str| get("/").header("cookie", line);
    // As Django and Starlette read cookies, and as Express does.
    let spellings = ["sid=a7", "sid =a7", "sid=\"a7\"", "sid= a7 ", "sid=%617", "sid=\"%61%37\""];
    one_bucket(&keyed("cookie:sid"), spellings.map(cookie)).await;
    one_bucket(&keyed("cookie:sid"), ["sid=\"\\0617\"", "sid=\"a\\067\""].map(cookie)).await;
    let token = |line: &str| get("/").header("authorization", line);
    let spellings = ["Bearer t0k", "bearer t0k", "BEARER   t0k", "bEaRer\tt0k"];
    one_bucket(&keyed("header:authorization"), spellings.map(token)).await;
    let app = keyed("header:authorization");
    assert_eq!(app.statuses(["Bearer t0k", "Bearer T0k", "Basic t0k", "t0k"].map(token)).await, [200; 4]);
}

#[tokio::test]
async fn a_tier_that_is_sent_twice_is_none() {
    let tiers = Tiers::by_header(HeaderName::from_static("x-plan")).tier("premium", "9/hour").unwrap();
    let app = App::of([policy("api", "1/hour").tiers(tiers)]);
    let both = || get("/").header("x-plan", "premium").header("x-plan", "free");
    one_bucket(&app, [get("/"), both(), both()]).await;
}

#[tokio::test]
async fn a_path_read_two_ways_can_meet_too_many_limits_and_is_refused_then() {
    let here = |i| policy(&format!("a{i}"), "9/hour").on(at("/a/*")).precedence(Precedence::Always);
    let there = |i| policy(&format!("b{i}"), "9/hour").on(at("/b/*")).precedence(Precedence::Always);
    let app = App::of((0..20).map(here).chain((0..20).map(there)));
    assert_eq!(app.statuses([get("/a/1"), get("/b/1"), get("/a/../b/1"), get("/a/1")]).await, [200, 200, 429, 200]);
}

#[test]
fn an_exempt_network_of_mapped_addresses_is_one_of_ipv4() {
    let exemption: Exemption = "::ffff:10.0.0.0/104".parse().unwrap();
    let request = crate::app::from("10.1.2.3", "/");
    assert!(exemption.covers(&tollgate_http::RequestInfo::new(&request)));
}
