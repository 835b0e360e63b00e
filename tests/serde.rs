//! The feature `serde`: what is written, that it is read back, and that nothing else is.
#![cfg(feature = "serde")]

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, from_value, json, to_value};
use tollgate::clock::ManualClock;
use tollgate::{Algorithm, Bucket, Limiter, OnFull, Quota, Report, Verdict};

#[derive(Debug, Deserialize)]
struct Config {
    limit: Quota,
    algorithm: Algorithm,
    on_full: OnFull,
}

fn why<T: for<'de> Deserialize<'de> + std::fmt::Debug>(value: Value) -> String {
    from_value::<T>(value).expect_err("not to be read").to_string()
}

#[test]
fn a_quota_is_its_rate_string() {
    let quotas = [
        Quota::per_minute(100),
        Quota::per_second(5).with_burst(9).with_max_debt(Duration::from_millis(1_500)),
        Quota::per_hour(7).with_algorithm(Algorithm::SlidingLog),
        Quota::unlimited(),
        Quota::blocked(),
    ];
    for quota in quotas {
        let value = to_value(quota).unwrap();
        assert_eq!(value, json!(quota.to_string()));
        assert_eq!(from_value::<Quota>(value).unwrap(), quota);
    }
    assert_eq!(from_value::<Quota>(json!("5/M")).unwrap(), Quota::per_minute(5));
}

#[test]
fn nothing_else_is_a_quota() {
    let expected = "expected a rate string such as `100 per minute`";
    for value in [json!(100), json!(1.5), json!(true), json!(null), json!([]), json!({"count": 1}), json!("")] {
        let why = why::<Quota>(value.clone());
        assert!(why.contains(expected), "{value}: {why}");
    }
    let why = why::<Quota>(json!("5/fortnight"));
    assert!(why.starts_with("at column 3 of `5/fortnight`: expected a unit") && why.contains(expected), "{why}");
}

#[test]
fn names_are_names() {
    for algorithm in Algorithm::ALL {
        assert_eq!(to_value(algorithm).unwrap(), json!(algorithm.name()));
        assert_eq!(from_value::<Algorithm>(json!(algorithm.name())).unwrap(), algorithm);
    }
    let policies = [
        (OnFull::EvictNearestIdle, "evict-nearest-idle"),
        (OnFull::RefuseNew, "refuse-new"),
        (OnFull::AdmitUntracked, "admit-untracked"),
    ];
    for (policy, name) in policies {
        assert_eq!(to_value(policy).unwrap(), json!(name));
        assert_eq!(from_value::<OnFull>(json!(name)).unwrap(), policy);
    }
    assert!(why::<Algorithm>(json!("bucket")).contains("unknown algorithm `bucket`; expected one of token-bucket"));
    assert!(why::<OnFull>(json!("RefuseNew")).contains("expected `evict-nearest-idle`, `refuse-new` or"));
    assert!(why::<OnFull>(json!(1)).contains("expected `evict-nearest-idle`, `refuse-new` or"));
    let verdicts = [(Verdict::Allowed, "allowed"), (Verdict::Refused, "refused"), (Verdict::NeverFits, "never-fits")];
    assert!(verdicts.into_iter().all(|(verdict, name)| to_value(verdict).unwrap() == json!(name)));
}

#[test]
fn a_configuration_is_read_at_once() {
    let text = r#"{"limit": "10/s as leaky-queue", "algorithm": "sliding-log", "on_full": "refuse-new"}"#;
    let config: Config = serde_json::from_str(text).unwrap();
    assert_eq!(config.limit, Quota::per_second(10).with_algorithm(Algorithm::LeakyQueue));
    assert_eq!((config.algorithm, config.on_full), (Algorithm::SlidingLog, OnFull::RefuseNew));
    // Also where strings with escapes are read into memory of their own.
    assert_eq!(serde_json::from_str::<Quota>(r#""10\u002fs""#).unwrap(), Quota::per_second(10));
}

#[test]
fn figures_are_numbers_and_spans_are_seconds() {
    let bucket = Bucket::with_clock("2/s", ManualClock::default()).unwrap();
    assert_eq!(bucket.handle().take_up_to(2), 2);
    let refused = bucket.check().report();
    let expected = json!({
        "verdict": "refused", "burst": 2, "remaining": 0, "retry_after_seconds": 0.5, "reset_after_seconds": 1.0
    });
    assert_eq!(to_value(refused).unwrap(), expected);
    let allowed = Report { verdict: Verdict::Allowed, retry_after: None, remaining: u64::MAX, ..refused };
    let value = to_value(allowed).unwrap();
    assert_eq!((&value["retry_after_seconds"], &value["remaining"]), (&Value::Null, &json!(u64::MAX)));

    let limiter = Limiter::builder("2/s").capacity(100).clock(ManualClock::default()).build().unwrap();
    let stats = to_value(limiter.stats()).unwrap();
    let zeros = ["busy", "evictions", "refused_full", "untracked", "clock_steps", "foreign"];
    assert!(zeros.iter().all(|name| stats[name] == json!(0)), "{stats}");
    assert_eq!((&stats["capacity"], stats.as_object().unwrap().len()), (&json!(100), 9));
    assert_eq!(stats["is_detached"], false);
    assert!(stats["bytes"].as_u64().unwrap() > 0);
}
