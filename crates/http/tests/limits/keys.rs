//! Who shares a bucket.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::USER_AGENT;
use http::{HeaderName, HeaderValue, StatusCode};
use tollgate_http::client::{AddressSource, ClientAddress, TrustedProxies};
use tollgate_http::{
    Answer, AuthenticatedUser, Exemption, KeyPart, KeySpec, LimiterConfig, OnMissingKey, RateLimiter, Route, Statuses,
};

use crate::app::{App, With, at, from, get, header, policy};

#[tokio::test]
async fn the_first_part_that_is_there() {
    let app = App::of([policy("default", "1/hour").key("header:x-api-key | user | ip".parse().unwrap())]);
    let mut known = get("/");
    known.extensions_mut().insert(AuthenticatedUser("ada".into()));
    assert_eq!(app.statuses([get("/"), get("/")]).await, [200, 429]);
    assert_eq!(app.statuses([known.clone(), known]).await, [200, 429]);
    assert_eq!(
        app.statuses([get("/").header("x-api-key", "k1"), get("/").header("x-api-key", "k2")]).await,
        [200, 200]
    );
    assert_eq!(app.statuses([from("192.0.2.2", "/").header("x-api-key", "k1")]).await, [429], "wherever it comes from");
    let shown = app.limiter.policies(9)[0].refused.iter().map(|key| key.key.to_string()).collect::<String>();
    assert!(!shown.contains("k1") && !shown.contains("ada") && shown.contains("header:x-api-key#"), "{shown}");
}

#[tokio::test]
async fn keys_of_a_function() {
    let app = App::of([policy("default", "1/hour").key_by(|request| Some(request.path().len().to_string()))]);
    assert_eq!(app.statuses([get("/a"), get("/b"), get("/aa")]).await, [200, 429, 200]);
    let slow = policy("default", "1/hour").key_by_async(|request| {
        let token = request.header(&HeaderName::from_static("token")).map(str::to_owned);
        async move {
            tokio::task::yield_now().await;
            token
        }
    });
    let app = App::of([slow]);
    let with = |token| get("/").header("token", token);
    assert_eq!(app.statuses([with("a"), with("a"), with("b"), get("/"), get("/")]).await, [200, 429, 200, 200, 429]);
}

#[tokio::test]
async fn a_request_without_a_key() {
    let by_header = |what| policy("default", "1/hour").key("header:x-api-key".parse().unwrap()).on_missing_key(what);
    let app = App::of([by_header(OnMissingKey::Share)]);
    assert_eq!(app.statuses([get("/"), from("192.0.2.2", "/")]).await, [200, 429]);
    let app = App::of([by_header(OnMissingKey::Skip)]);
    assert_eq!(app.statuses([get("/"), get("/")]).await, [200, 200]);
    let app = App::of([by_header(OnMissingKey::Refuse)]);
    assert_eq!(app.statuses([get("/"), get("/").header("x-api-key", "k")]).await, [429, 200]);
    // No word of it reads as "now".
    let refused = app.send(get("/")).await;
    assert_eq!((header(&refused, "retry-after"), header(&refused, "ratelimit")), ("", "\"default\";r=0"));
    let seconds = Answer::new().with_dialect("x-ratelimit-seconds".parse().unwrap());
    let app = App::new(LimiterConfig::new().policy(by_header(OnMissingKey::Refuse)).answer(seconds));
    assert_eq!(header(&app.send(get("/")).await, "x-ratelimit-reset"), "1");
    // Without a peer there is no address.
    let app = App::of([policy("default", "1/hour")]);
    let nowhere = || http::Request::new(());
    assert_eq!(app.statuses([nowhere(), nowhere(), get("/")]).await, [200, 429, 200]);
}

#[tokio::test]
async fn what_proxies_say_is_believed_only_of_trusted_ones() {
    let forged = |client: &str, said: &str| from(client, "/").header("x-forwarded-for", said);
    let app = App::of([policy("default", "1/hour")]);
    assert_eq!(app.statuses([forged("192.0.2.1", "1.1.1.1"), forged("192.0.2.1", "2.2.2.2")]).await, [200, 429]);
    let trusted = TrustedProxies::networks(["10.0.0.0/8".parse().unwrap()]).unwrap();
    let client = ClientAddress::new(AddressSource::XForwardedFor, trusted).unwrap();
    let app = App::new(LimiterConfig::new().policy(policy("default", "1/hour")).client(client));
    let proxied = |said| forged("10.0.0.1", said);
    assert_eq!(
        app.statuses([proxied("1.1.1.1"), proxied("2.2.2.2"), proxied("9.9.9.9, 1.1.1.1")]).await,
        [200, 200, 429]
    );
    assert_eq!(app.statuses([forged("192.0.2.1", "3.3.3.3"), forged("192.0.2.1", "4.4.4.4")]).await, [200, 429]);
}

#[tokio::test]
async fn addresses_of_one_network_are_one_client() {
    let app = App::of([policy("default", "1/hour")]);
    assert_eq!(app.statuses([from("2001:db8::1", "/"), from("2001:db8::2:3:4:5", "/")]).await, [200, 429], "one /64");
    assert_eq!(app.statuses([from("2001:db8:0:1::1", "/"), from("::ffff:192.0.2.1", "/")]).await, [200, 200]);
    assert_eq!(app.statuses([from("192.0.2.1", "/"), from("::ffff:192.0.2.2", "/")]).await, [429, 200]);
}

/// As HTTP/2 has it; browsers send them apart.
#[tokio::test]
async fn cookies_in_several_fields_are_one_list() {
    let apart = |crumbs: &[&str]| crumbs.iter().fold(get("/"), |request, crumb| request.header("cookie", crumb));
    for key in ["cookie:sid", "header:cookie"] {
        let app = App::of([policy("default", "1/hour").key(key.parse().unwrap())]);
        let ada = [&["sid=ada", "theme=dark"][..], &["sid=ada; theme=dark"], &["sid=ada", "theme=dark"]];
        assert_eq!(app.statuses(ada.map(apart)).await, [200, 429, 429], "{key}");
        let others = [&["sid=bob", "theme=dark"][..], &["sid=eve", "theme=dark"]];
        assert_eq!(app.statuses(others.map(apart)).await, [200, 200], "{key}: each has a bucket of their own");
    }
}

#[tokio::test]
async fn the_same_value_elsewhere_is_another_key() {
    let app = App::of([policy("default", "1/hour").key("header:x-a | header:x-b".parse().unwrap())]);
    let requests = ["x-a", "x-b", "x-a"].map(|name| get("/").header(name, "k"));
    assert_eq!(app.statuses(requests).await, [200, 200, 429]);
}

#[tokio::test]
async fn async_keys_are_asked_of_policies_that_hold_alone() {
    let asked = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&asked);
    let slow = policy("slow", "1/hour").on(at("/slow")).key_by_async(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { None::<String> }
    });
    let app = App::of([slow, policy("default", "9/hour")]);
    assert_eq!(app.statuses([get("/"), get("/slow"), get("/slow")]).await, [200, 200, 429]);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

/// What an earlier layer found out.
#[derive(Clone, Copy)]
struct Tenant(u64);

#[tokio::test]
async fn a_function_returns_any_key_and_a_second_one_its_label() {
    let tenants = || policy("default", "1/hour").key_by(|request| request.extension::<Tenant>().map(|tenant| tenant.0));
    let of = |tenant| {
        let mut request = get("/");
        request.extensions_mut().insert(Tenant(tenant));
        request
    };
    let shown =
        |app: &App| app.limiter.policies(9)[0].refused.iter().map(|key| key.key.to_string()).collect::<Vec<_>>();
    let app = App::of([tenants()]);
    assert_eq!(app.statuses([of(7), of(8), of(7), get("/"), get("/")]).await, [200, 200, 429, 200, 429]);
    assert!(shown(&app).iter().any(|label| label.starts_with("key#")), "{:?}", shown(&app));
    let app = App::of([tenants().label_by(|request| Some(format!("tenant {}", request.extension::<Tenant>()?.0)))]);
    assert_eq!(app.statuses([of(7), of(7)]).await, [200, 429]);
    assert_eq!(shown(&app), ["tenant 7"]);
    let app = App::new(LimiterConfig::new().policy(tenants()).show_keys(true));
    assert_eq!(app.statuses([of(7), of(7)]).await, [200, 429]);
    assert_eq!(shown(&app), ["key:7"]);
}

#[tokio::test]
async fn a_key_may_borrow_from_the_request() {
    let agents = policy("default", "1/hour").key_into(|request, slot| {
        if let Some(agent) = request.header(&http::header::USER_AGENT) {
            slot.set(&(request.client(), agent));
        }
    });
    let app = App::of([agents]);
    let with = |agent| get("/").header("user-agent", agent);
    assert_eq!(app.statuses([with("a"), with("b"), with("a"), get("/"), get("/")]).await, [200, 200, 429, 200, 429]);
}

#[test]
fn keys_exemptions_and_statuses_are_made_of_types_as_of_text() {
    let key = KeySpec::of([KeyPart::Header(HeaderName::from_static("x-api-key"))]).or([KeyPart::Client, KeyPart::Path]);
    assert_eq!(key, "header:x-api-key | ip+path".parse().unwrap());
    let net: ipnet::IpNet = "10.0.0.7/8".parse().unwrap();
    let agent = |value| HeaderValue::from_static(value);
    for (made, text) in [
        (Exemption::net(net), "10.0.0.0/8"),
        (Exemption::path("/static/*").unwrap(), "path:/static/*"),
        (Exemption::method(&http::Method::OPTIONS), "method:OPTIONS"),
        (Exemption::header(USER_AGENT, &agent("probe")), "header:user-agent:probe"),
        (Exemption::header_prefix(USER_AGENT, &agent("probe")), "header:user-agent:probe*"),
    ] {
        assert_eq!(made, text.parse().unwrap());
    }
    let statuses = Statuses::of([StatusCode::CONFLICT]).or(Statuses::successes()).or(Statuses::client_errors());
    assert_eq!(statuses, "409, 2xx, 4xx".parse().unwrap());
}

#[test]
fn what_no_request_can_have_is_refused_when_the_limiter_is_made() {
    let refuse = |policy| RateLimiter::new(LimiterConfig::new().policy(policy)).unwrap_err().to_string();
    let cookie = KeySpec::of([KeyPart::Cookie("a;b".to_owned())]);
    assert!(refuse(policy("a", "1/s").key(cookie)).starts_with("`cookie:a;b` is not a valid key part"));
    for host in ["a.example:80", "", "*.", "http://a.example", "*", "bücher.example"] {
        let error = refuse(policy("a", "1/s").on(Route::any().host(host)));
        assert!(error.ends_with("expected a name without a port, such as api.example.com or *.example.com"), "{error}");
    }
    for host in ["a.example", "*.example", "[2001:db8::1]", "localhost.", "192.0.2.1"] {
        assert!(RateLimiter::new(LimiterConfig::new().policy(policy("a", "1/s").on(Route::any().host(host)))).is_ok());
    }
}
