//! Rules that change while requests come.

use http::StatusCode;
use tollgate::{Algorithm, OnFull};
use tollgate_http::limiter::FixedSetting;
use tollgate_http::{Charge, Decision, LimiterConfig};

use crate::app::{App, get, policy};

#[tokio::test]
async fn state_is_kept_and_a_bad_change_changes_nothing() {
    let app = App::of([policy("default", "4/hour"), policy("other", "9/hour")]);
    assert_eq!(app.statuses([get("/"), get("/"), get("/")]).await, [200; 3]);
    let bad = LimiterConfig::new().policy(policy("default", "9/hour")).policy(policy("default", "9/hour"));
    assert!(app.limiter.reload(bad).is_err());
    assert_eq!(app.statuses([get("/"), get("/")]).await, [200, 429], "the old rules hold");
    let said = app.limiter.reload(LimiterConfig::new().policy(policy("default", "8/hour"))).unwrap();
    assert_eq!((said.fixed, said.restarted), (vec![], vec![]));
    let allowed = app.statuses((0..9).map(|_| get("/"))).await.iter().filter(|status| **status == 200).count();
    assert_eq!(allowed, 4, "what was used under the old rules is used under the new ones");
    assert_eq!(app.limiter.policies(0).len(), 1);
    assert_eq!(app.limiter.policies(0)[0].counts.allowed, 8, "counts go on");
    let fresh = policy("default", "1/hour").algorithm(Algorithm::FixedWindow);
    let said = app.limiter.reload(LimiterConfig::new().policy(fresh)).unwrap();
    assert_eq!(
        said.restarted.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["default: 1 per 1 hour as fixed-window"]
    );
    assert_eq!(app.statuses([get("/"), get("/")]).await, [200, 429], "another algorithm begins anew");
}

#[test]
fn what_cannot_change_is_said() {
    let app = App::of([policy("default", "4/hour")]);
    let settings = LimiterConfig::new().policy(policy("default", "4/hour")).capacity(9).on_full(OnFull::RefuseNew);
    assert_eq!(app.limiter.reload(settings).unwrap().fixed, [FixedSetting::Capacity, FixedSetting::OnFull]);
    assert_eq!(app.limiter.stats().capacity, LimiterConfig::DEFAULT_CAPACITY);
}

#[test]
fn a_request_under_way_ends_under_the_rules_that_admitted_it() {
    let refunded = || policy("refunded", "1/hour").charge(Charge::RefundOn("2xx".parse().unwrap()));
    let app = App::of([refunded(), policy("default", "9/hour")]);
    let request = get("/");
    let info = &request;
    let Decision::Admitted(mut admission) = app.limiter.check(info) else { panic!("the first is admitted") };
    assert!(!app.limiter.check(info).is_admitted());
    // What was the first is now the second, and the first has other limits.
    app.limiter.reload(LimiterConfig::new().policy(policy("default", "8/hour")).policy(refunded())).unwrap();
    assert_eq!(admission.limit_status().map(|standing| standing.policy), Some("refunded"));
    admission.settle(StatusCode::OK);
    assert!(app.limiter.check(info).is_admitted());
}

/// A policy that goes and comes back is the one that it was.
#[tokio::test]
async fn a_policy_that_comes_back_knows_what_was_used() {
    let app = App::of([policy("default", "4/hour")]);
    assert_eq!(app.statuses([get("/"), get("/"), get("/")]).await, [200; 3]);
    for quota in ["6/hour", "4/hour"] {
        app.limiter.reload(LimiterConfig::new().policy(policy("default", quota))).unwrap();
    }
    app.limiter.reload(LimiterConfig::new().policy(policy("other", "9/hour"))).unwrap();
    app.limiter.reload(LimiterConfig::new().policy(policy("default", "5/hour"))).unwrap();
    assert_eq!(app.statuses([get("/"), get("/"), get("/")]).await, [200, 200, 429]);
}
