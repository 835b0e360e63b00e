//! Limits that are chosen at request time.

use std::sync::Arc;

use http::{HeaderName, Request};
use tollgate::clock::ManualClock;
use tollgate_http::{LimiterConfig, Policy, RateLimiter, TierMap, Tiers};

use crate::app::{App, With, get, header, policy};

#[tokio::test]
async fn a_tier_has_limits_and_buckets_of_its_own() {
    let tiers = Tiers::by_header(HeaderName::from_static("x-plan")).tier("premium", "3/hour").unwrap();
    let app = App::of([policy("api", "1/hour").tiers(tiers.tier("none", "0/hour").unwrap())]);
    let premium = || get("/").header("x-plan", "premium");
    assert_eq!(app.statuses([get("/"), get("/")]).await, [200, 429]);
    assert_eq!(app.statuses([premium(), premium(), premium(), premium()]).await, [200, 200, 200, 429]);
    assert_eq!(header(&app.send(premium()).await, "ratelimit-policy"), "\"api/premium\";q=3;w=3600");
    let unknown = || get("/").header("x-plan", "gold");
    assert_eq!(app.statuses([unknown()]).await, [429], "a tier that nobody knows is none");
    assert_eq!(app.statuses([get("/").header("x-plan", "none")]).await, [429]);
}

#[tokio::test]
async fn a_tier_by_a_function() {
    let tiers = Tiers::by(|request| request.path().strip_prefix("/t/").map(str::to_owned));
    let app = App::of([policy("api", "1/hour").tiers(tiers.tier("two", "2/hour").unwrap())]);
    assert_eq!(
        app.statuses([get("/t/two"), get("/t/two"), get("/t/two"), get("/"), get("/t/one")]).await,
        [200, 200, 429, 200, 429]
    );
}

/// The table says whose plan it is; who is not in it has the policy's own limit. Another table carries over what was used.
#[test]
fn a_table_of_keys_says_the_tier_and_can_be_replaced() {
    let config = |rows: &[(&str, &str)]| {
        let mut map = TierMap::builder("header:x-api-key".parse().unwrap(), &["free", "gold"]).unwrap();
        for (key, tier) in rows {
            map.add(key, tier).unwrap();
        }
        let tiers =
            Tiers::by_map(Arc::new(map.build())).tier("free", "2/hour").unwrap().tier("gold", "3/hour").unwrap();
        let policy = Policy::new("api", "1/hour").unwrap().key("header:x-api-key".parse().unwrap()).tiers(tiers);
        LimiterConfig::new().policy(policy)
    };
    let limiter = RateLimiter::with_clock(config(&[("a", "free"), ("b", "gold")]), ManualClock::default()).unwrap();
    let passed = |key: &str| {
        let request = Request::builder().header("x-api-key", key).body(()).unwrap();
        (0..9).take_while(|_| limiter.check(&request).is_admitted()).count()
    };
    assert_eq!([passed("a"), passed("b"), passed("c")], [2, 3, 1]);
    let standing = |key: &str| limiter.standings(key, None).unwrap().found;
    assert_eq!(standing("b").len(), 1, "the table says which tier it is");
    assert_eq!((standing("b")[0].tier.as_deref(), standing("c")[0].tier.as_deref()), (Some("gold"), None));
    limiter.reload(config(&[("a", "gold"), ("b", "gold")])).unwrap();
    assert_eq!([passed("a"), passed("b"), passed("c")], [3, 0, 0], "a new tier has buckets of its own");
}

#[test]
fn a_table_of_other_tiers_is_refused() {
    let map = TierMap::builder("header:x".parse().unwrap(), &["free", "gold"]).unwrap().build();
    let tiers = Tiers::by_map(Arc::new(map)).tier("gold", "2/hour").unwrap();
    let config = LimiterConfig::new().policy(Policy::new("api", "1/hour").unwrap().tiers(tiers));
    let error = RateLimiter::with_clock(config, ManualClock::default()).unwrap_err().to_string();
    assert!(error.contains("other tiers than its table"), "{error}");
}

/// Among many keys, no other is taken for one of them.
#[test]
fn strangers_are_in_no_tier() {
    let mut map = TierMap::builder("header:x-api-key".parse().unwrap(), &["gold"]).unwrap();
    for number in 0..1_000 {
        map.add(&format!("key-{number}"), "gold").unwrap();
    }
    let tiers = Tiers::by_map(Arc::new(map.build())).tier("gold", "1/hour").unwrap();
    // Who is in no tier is refused.
    let policy = Policy::new("api", "0/hour").unwrap().key("header:x-api-key".parse().unwrap()).tiers(tiers);
    let limiter = RateLimiter::with_clock(LimiterConfig::new().policy(policy), ManualClock::default()).unwrap();
    let passed = (0..3_000).filter(|number| {
        let request = Request::builder().header("x-api-key", format!("key-{number}")).body(()).unwrap();
        limiter.check(&request).is_admitted()
    });
    assert!(passed.eq(0..1_000));
}
