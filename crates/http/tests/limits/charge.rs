//! Charges that the response decides.

use http::{HeaderMap, HeaderValue, StatusCode};
use tollgate::Algorithm;
use tollgate_http::{Charge, Decision, Unanswered};

use crate::app::{App, With, get, header, policy};

#[tokio::test]
async fn only_failures_are_charged() {
    let app = App::of([policy("login", "2/hour").charge(Charge::OnlyOn("401, 403".parse().unwrap()))]);
    let fail = || get("/").header("want", "401");
    assert_eq!(
        app.statuses([get("/"), get("/"), fail(), get("/"), fail(), get("/"), fail()]).await,
        [200, 200, 401, 200, 401, 429, 429]
    );
    app.wait(1_800);
    assert_eq!(app.statuses([get("/"), fail(), get("/")]).await, [200, 401, 429]);
}

#[tokio::test]
async fn successes_are_refunded() {
    let app = App::of([policy("login", "2/hour, 3/day").charge(Charge::RefundOn("2xx".parse().unwrap()))]);
    let fail = || get("/").header("want", "500");
    assert_eq!(
        app.statuses([get("/"), get("/"), get("/"), fail(), fail(), get("/")]).await,
        [200, 200, 200, 500, 500, 429]
    );
    app.wait(3_600);
    assert_eq!(app.statuses([fail(), fail()]).await, [500, 429], "the day has one left");
}

#[tokio::test]
async fn each_policy_decides_by_itself_and_a_shadow_too() {
    let refund = |name, statuses: &str| policy(name, "2/hour").charge(Charge::RefundOn(statuses.parse().unwrap()));
    let shadow = policy("new", "1/hour").charge(Charge::OnlyOn("500".parse().unwrap())).shadow(true);
    let app = App::of([refund("a", "2xx, 404"), refund("b", "404, 200"), shadow]);
    let want = |status| get("/").header("want", status);
    assert_eq!(
        app.statuses([get("/"), get("/"), want("404"), want("201"), want("201"), get("/")]).await,
        [200, 200, 404, 201, 201, 429]
    );
    app.wait(3_600);
    assert_eq!(app.statuses([want("500"), want("500")]).await, [500, 500]);
    assert_eq!(app.limiter.policies(0)[2].counts.shadow_refused, 1);
}

#[tokio::test]
async fn clients_are_told_how_they_stand_after_the_charge() {
    let app = App::of([policy("login", "2/hour").charge(Charge::OnlyOn("401".parse().unwrap()))]);
    let told = async |want| header(&app.send(get("/").header("want", want)).await, "ratelimit").to_owned();
    assert_eq!(told("200").await, "\"login\";r=2;t=0");
    assert_eq!(told("401").await, "\"login\";r=1;t=1800");
    assert_eq!(told("401").await, "\"login\";r=0;t=1800");
    let app = App::of([policy("login", "2/hour").charge(Charge::RefundOn("2xx".parse().unwrap()))]);
    let told = async |want| header(&app.send(get("/").header("want", want)).await, "ratelimit").to_owned();
    assert_eq!(told("200").await, "\"login\";r=2;t=0");
    assert_eq!(told("500").await, "\"login\";r=1;t=1800");
}

/// What is given back is of the window in which it was taken, and no more than has not come back by itself.
#[tokio::test]
async fn a_refund_of_a_window_that_is_over_adds_nothing_to_the_next() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::SlidingLog, Algorithm::TokenBucket] {
        let limited = policy("limited", "100/minute").algorithm(algorithm);
        let app = App::of([limited.charge(Charge::RefundOn("2xx".parse().unwrap()))]);
        let request = get("/");
        let info = &request;
        let admit = || match app.limiter.check(info) {
            Decision::Admitted(admission) => Some(admission),
            Decision::Refused(_) => None,
        };
        app.wait(30);
        let mut under_way: Vec<_> = (0..100).filter_map(|_| admit()).collect();
        assert_eq!((under_way.len(), admit().is_some()), (100, false), "{algorithm}");
        app.wait(120);
        let mut next: Vec<_> = (0..100).filter_map(|_| admit()).collect();
        assert_eq!(next.len(), 100, "{algorithm}");
        under_way.iter_mut().for_each(|admission| admission.settle(StatusCode::OK));
        assert!(admit().is_none(), "{algorithm}: the new window sells more than it has");
        next[0].settle(StatusCode::OK);
        assert!(admit().is_some() && admit().is_none(), "{algorithm}: its own comes back");
    }
}

/// What the response says takes the place of the cost; what it does not say leaves the cost.
#[tokio::test]
async fn a_field_of_the_response_says_what_a_request_costs() {
    let by_field = || Charge::ByField("x-cost".parse().unwrap());
    for (said, remaining) in [
        (&["7"][..], 93),
        (&["0"], 100),
        (&["1"], 99),
        (&["10"], 90),
        (&["100"], 0),
        (&["1000000"], 0),
        (&["99999999999999999999999"], 0),
        (&[], 90),
        (&["many"], 90),
        (&["-5"], 90),
        (&["7", "7"], 90),
    ] {
        let limiter = App::of([policy("tokens", "100/day").cost(10).charge(by_field())]).limiter;
        let Decision::Admitted(mut admission) = limiter.check(&get("/")) else { panic!() };
        let mut fields = HeaderMap::new();
        for line in said {
            fields.append("x-cost", HeaderValue::from_static(line));
        }
        admission.respond(StatusCode::OK, &mut fields);
        let told = fields["ratelimit"].to_str().unwrap();
        assert!(told.starts_with(&format!("\"tokens\";r={remaining};")), "{said:?}: {told}");
        // It is for the client as well, unless somebody takes it away.
        assert_eq!(fields.get_all("x-cost").iter().count(), said.len());
        drop(admission);
        assert_eq!(limiter.check(&get("/")).is_admitted(), remaining >= 10, "{said:?}");
    }
}

#[tokio::test]
async fn without_a_response_or_its_fields_the_cost_stands_unless_that_is_free() {
    for (unanswered, settles, left) in [
        (Unanswered::Charged, false, 90),
        (Unanswered::Free, false, 100),
        (Unanswered::Charged, true, 90),
        (Unanswered::Free, true, 90),
    ] {
        let tokens = policy("tokens", "100/day").cost(10).charge(Charge::ByField("x-cost".parse().unwrap()));
        let limiter = App::of([tokens.unanswered(unanswered)]).limiter;
        let Decision::Admitted(mut admission) = limiter.check(&get("/")) else { panic!() };
        if settles {
            admission.settle(StatusCode::OK);
        }
        drop(admission);
        let Decision::Admitted(next) = limiter.check(&get("/")) else { panic!() };
        assert_eq!(next.limit_status().unwrap().report.remaining, left - 10, "{unanswered:?} {settles}");
    }
}

/// A request that costs more than is left takes it all, or as much of a debt as the limit allows.
#[tokio::test]
async fn a_large_count_goes_into_debt_as_far_as_that_is_allowed() {
    let cost = |app: &App, count: &'static str| match app.limiter.check(&get("/")) {
        Decision::Refused(_) => false,
        Decision::Admitted(mut admission) => {
            let mut fields = HeaderMap::new();
            fields.insert("x-cost", HeaderValue::from_static(count));
            admission.respond(StatusCode::OK, &mut fields);
            true
        }
    };
    for (limit, minutes) in [("60/hour debt 0 seconds", 1), ("60/hour", 61), ("60/hour debt 2 hours", 121)] {
        let app = App::of([policy("tokens", limit).charge(Charge::ByField("x-cost".parse().unwrap()))]);
        assert!(cost(&app, "1000"));
        app.wait(minutes * 60 - 1);
        assert!(!cost(&app, "0"), "{limit}");
        app.wait(1);
        assert!(cost(&app, "0"), "{limit}");
    }
}
