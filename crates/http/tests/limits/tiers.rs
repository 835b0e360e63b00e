//! Limits that are chosen at request time.

use http::HeaderName;
use tollgate_http::Tiers;

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
