//! Settings from text, and figures as numbers.

use http::{Request, StatusCode};
use serde_json::{Value, json};
use tollgate::clock::{Instant, ManualClock};
use tollgate_http::{Decision, Exemption, KeySpec, LimiterConfig, PeerAddr, Policy, RateLimiter, Statuses};

fn config(value: Value) -> Result<LimiterConfig, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn request(path: &str) -> Request<()> {
    Request::builder().uri(path).extension(PeerAddr("192.0.2.7:1".parse().unwrap())).body(()).unwrap()
}

#[test]
fn a_table_that_processes_share_is_a_path() {
    let read = |shared: &str| config(json!({"limiter": {"shared": shared}, "policies": []}));
    let read_path = read("/run/app/table").unwrap();
    assert_eq!(read_path.shared_path(), Some(std::path::Path::new("/run/app/table")));
    for bad in ["", "table", "../table"] {
        let error = read(bad).unwrap_err();
        assert!(error.contains(&format!("`{bad}`")) && error.contains("begin with `/`"), "{error}");
    }
    assert!(config(json!({"policies": []})).unwrap().shared_path().is_none());
    let read = |shared: Value| config(json!({"limiter": {"shared": shared}, "policies": []}));
    let long =
        json!({"path": "/run/app/table", "mode": "0660", "owner": 7, "on_mismatch": "adopt", "allow_disk": true});
    assert_eq!(read(long).unwrap().shared_path(), Some(std::path::Path::new("/run/app/table")));
    for (bad, expected) in [
        (json!({"path": "/a", "mode": "0700"}), "0700"),
        (json!({"path": "/a", "mode": "rw"}), "`rw` is not the mode of a file"),
        (json!({"path": "/a", "mode": "+660"}), "`+660` is not the mode of a file"),
        (json!({"mode": "0660"}), "a path, or an object with `path`"),
        (json!({"path": "/a", "on_mismatch": "ignore"}), "a path, or an object with `path`"),
        (json!({"path": "/a", "size": 1}), "a path, or an object with `path`"),
    ] {
        let error = read(bad).unwrap_err();
        assert!(error.contains(expected), "{expected} in {error}");
    }
}

#[test]
fn a_configuration_is_what_its_text_says() {
    let read = config(json!({
        "client": {"from": "x-forwarded-for", "trusted": ["10.0.0.0/8", "192.0.2.7"], "ipv6_prefix": 56},
        "limiter": {"capacity": 1000, "on_full": "refuse", "show_keys": true},
        "answer": {"status": 503, "body": "json", "headers": "x-ratelimit", "retry_after": "seconds"},
        "policies": [
            {"name": "everybody", "limits": "3 per day, 2 per hour", "exempt": "path:/health"},
            {"name": "api", "limits": ["10/minute", "20/hour as leaky-queue"], "burst": 5, "algorithm": "leaky-bucket",
             "match": {"path": ["/api/*", "/v2/{id}"], "method": "GET", "host": "*.example.com"},
             "key": "header:x-api-key | ip", "missing_key": "skip", "always": true, "concurrency": 4, "cost": 2,
             "tiers": {"by": "header:x-plan", "limits": {"premium": "1000/minute"}}, "shadow": true},
            {"name": "login", "limits": "5/minute", "charge": {"only_on": "401, 403", "unanswered": "free"}},
        ],
    }))
    .unwrap();
    let by_hand = |policy: &Policy, tier| policy.limits(tier).iter().map(ToString::to_string).collect::<Vec<_>>();
    let policies = read.policies();
    assert_eq!(policies.iter().map(Policy::name).collect::<Vec<_>>(), ["everybody", "api", "login"]);
    assert_eq!(
        by_hand(&policies[1], None),
        ["10 per 1 minute burst 5 as leaky-bucket", "20 per 1 hour burst 5 as leaky-queue"]
    );
    assert_eq!(by_hand(&policies[1], Some("premium")), ["1000 per 1 minute burst 5 as leaky-bucket"]);
    let fields: Vec<String> = read.header_fields().iter().map(ToString::to_string).collect();
    assert_eq!(fields, ["host", "x-api-key", "x-forwarded-for", "x-plan"]);
    let clock = ManualClock::new(Instant::from_secs(86_400));
    let limiter = RateLimiter::with_clock(read, clock).unwrap();
    assert_eq!(limiter.stats().capacity, 1000);
    assert!(limiter.check(&request("/")).is_admitted() && limiter.check(&request("/")).is_admitted());
    let Decision::Refused(refusal) = limiter.check(&request("/")) else { panic!("two an hour") };
    assert_eq!(refusal.response().status(), StatusCode::SERVICE_UNAVAILABLE);
    let figures = serde_json::to_value(limiter.policies(1)).unwrap();
    assert_eq!((&figures[0]["allowed"], &figures[0]["refused"]), (&json!(2), &json!(1)));
    assert_eq!(
        figures[0]["keys"],
        json!([{"key": "192.0.2.7", "refused": 1, "error": 0, "first_seconds": 86400.0, "last_seconds": 86400.0,
            "remaining": 0, "retry_after_seconds": 1800.0}])
    );
}

#[test]
fn mistakes_are_named() {
    let policy = |more: Value| {
        let mut policy = json!({"name": "p", "limits": "1/s"});
        policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config(json!({"policies": [policy]})).err()
    };
    assert_eq!(policy(json!({})), None);
    for (more, said) in [
        (json!({"limit": 1}), "unknown field `limit`"),
        (json!({"limits": "1/fortnight"}), "policy `p`: at column 3"),
        (json!({"limits": 7}), "expected a text or a list of texts"),
        (json!({"limits": []}), "policy `p` limits nothing"),
        (json!({"name": "a\"b"}), "is not a valid policy name"),
        (json!({"key": "nose"}), "`nose` is not a valid key part"),
        (json!({"missing_key": "no"}), "unknown variant `no`"),
        (json!({"match": {"path": "login"}}), "policy `p`: `login` is not a valid path pattern"),
        (json!({"match": {"host": "a:80"}}), "`a:80` is not a valid host"),
        (json!({"match": {"route": "/"}}), "unknown field `route`"),
        (json!({"exempt": ["10.0.0.0/8", "nobody"]}), "`nobody` is not a valid exemption"),
        (json!({"charge": {"only_on": "4x"}}), "`4x` is not a valid status"),
        (json!({"charge": {"only_on": "401", "refund_on": "2xx"}}), "one of `only_on`, `refund_on` and `field`"),
        (json!({"charge": {"field": "x cost"}}), "`x cost` is not a valid name of a field"),
        (json!({"tiers": {"by": "x-plan", "limits": {}}}), "`x-plan` is not a valid source of tiers"),
        (json!({"concurrency": 0}), "allows 0 requests in flight"),
    ] {
        let error = policy(more.clone()).unwrap_or_default();
        assert!(error.contains(said), "{more}: {error}");
    }
    for (whole, said) in [
        (json!({}), "missing field `policies`"),
        (json!({"policies": [], "answer": {"status": 200}}), "400 to 599, and 200 was given"),
        (json!({"policies": [], "answer": {"body": "xml"}}), "`xml` is not a valid body"),
        (json!({"policies": [], "client": {"from": "forwarded"}}), "never read without trusted proxies"),
        (json!({"policies": [], "client": {"hops": 1, "trusted": []}}), "either `trusted` or `hops`"),
        (json!({"policies": [], "client": {"ipv4_prefix": 33}}), "and 33 was given"),
        (
            json!({"policies": [{"name": "a", "limits": "1/s"}, {"name": "a", "limits": "1/s"}]}),
            "two policies are named `a`",
        ),
    ] {
        let error = config(whole.clone()).err().unwrap_or_default();
        assert!(error.contains(said), "{whole}: {error}");
    }
}

#[test]
fn text_comes_back() {
    macro_rules! comes_back {
        ($($type:ty: $text:literal),*) => {$(
            let read: $type = serde_json::from_value(json!($text)).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), json!($text));
            assert!(serde_json::from_value::<$type>(json!("?!")).is_err() && serde_json::from_value::<$type>(json!(7)).is_err());
        )*};
    }
    comes_back!(
        KeySpec: "header:x-api-key | user+path | ip", Exemption: "header:user-agent:Ping*", Statuses: "401, 5xx",
        tollgate_http::KeyPart: "cookie:sid", tollgate_http::answer::Dialect: "draft-03",
        tollgate_http::client::AddressSource: "header:cf-connecting-ip",
        tollgate_http::client::TrustedProxies: "10.0.0.0/8, 192.0.2.7/32"
    );
}
