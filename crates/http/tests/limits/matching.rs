//! What a limiter says of a request without deciding about it.

use http::Request;
use tollgate_http::limiter::AsyncKeys;
use tollgate_http::{KeySpec, OnMissingKey, Policy, Tiers};

use crate::app::{App, With, at, from, get, policy};

/// A policy, whether it exempts, the tier, the parts of the key, and the cost.
type Told = (usize, bool, Option<String>, Option<Vec<String>>, u64);

fn told(app: &App, request: &Request<()>) -> Vec<Told> {
    let found = app.limiter.matching(request, &AsyncKeys::default());
    found.into_iter().map(|found| (found.policy, found.is_exempt, found.tier, found.key, found.cost)).collect()
}

#[tokio::test]
async fn policies_keys_tiers_and_costs_are_told_and_nothing_is_taken() {
    let key = |text: &str| text.parse::<KeySpec>().unwrap();
    let tiers = Tiers::by_header(http::HeaderName::from_static("x-plan")).tier("premium", "9/hour").unwrap();
    let app = App::of([
        policy("default", "1/hour").cost(3).tiers(tiers),
        policy("keyed", "1/hour").key(key("header:x-api-key+path")).on_missing_key(OnMissingKey::Skip),
        policy("login", "1/hour").on(at("/login")).key(key("cookie:sid | host")),
        policy("office", "1/hour").exempt("10.0.0.0/8".parse().unwrap()),
    ]);
    let some = |parts: &[&str]| Some(parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
    let premium = from("2001:db8::7", "/a/").header("x-plan", "premium").header("x-api-key", "k");
    assert_eq!(
        told(&app, &premium),
        [
            (0, false, Some("premium".to_owned()), some(&["2001:db8::/64"]), 3),
            (1, false, None, some(&["header:x-api-key:k", "/a"]), 1),
            (3, false, None, some(&["2001:db8::/64"]), 1),
        ]
    );
    assert_eq!(told(&app, &get("/login").header("cookie", "sid=7")), [(2, false, None, some(&["cookie:sid:7"]), 1)]);
    assert_eq!(told(&app, &get("/login")), [(2, false, None, None, 1)], "no cookie and no host");
    assert!(told(&app, &from("10.1.2.3", "/"))[1].1, "exempt");
    assert!(app.limiter.policies(0).iter().all(|view| view.counts == Default::default()), "nothing is counted");
    let settings = app.limiter.config();
    let fields: Vec<String> = settings.header_fields().iter().map(ToString::to_string).collect();
    assert_eq!(fields, ["cookie", "host", "x-api-key", "x-plan"]);
    let limits = |policy: &Policy, tier| policy.limits(tier).iter().map(ToString::to_string).collect::<Vec<_>>();
    let default = &settings.policies()[0];
    assert_eq!(limits(default, Some("premium")), ["9 per 1 hour"]);
    assert_eq!(limits(default, Some("gold")), limits(default, None));
}

#[test]
fn an_admission_names_the_shadow_policies_that_would_have_refused() {
    let app = App::of([policy("default", "3/hour"), policy("new", "1/hour").shadow(true)]);
    let names = || match app.limiter.check(&get("/")) {
        tollgate_http::Decision::Admitted(admission) => admission.shadow_refusals().map(str::to_owned).collect(),
        tollgate_http::Decision::Refused(_) => vec!["refused".to_owned()],
    };
    assert_eq!([names(), names(), names()], [vec![], vec!["new".to_owned()], vec!["new".to_owned()]]);
}
