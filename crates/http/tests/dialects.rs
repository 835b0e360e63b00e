//! The fields of every dialect, to the letter; and those of the current draft read back by a parser of RFC 9651.

mod common;

use std::time::Duration;

use common::{Client, NOON};
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use sfv::{BareItem, FieldType as _, Item, ListEntry, Parser};
use tollgate::{Quota, Verdict};
use tollgate_http::answer::{Dialect, LimitStatus, QuotaUnit, ResetForm};

fn written(dialect: Dialect, limit: &LimitStatus<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let policies = dialect.policies([(limit.name, limit.quota, limit.unit)]);
    dialect.write(&mut headers, limit, &policies);
    headers
}

#[track_caller]
fn assert_headers(dialect: Dialect, limit: &LimitStatus<'_>, expected: &[(&str, &str)]) {
    let headers = written(dialect, limit);
    let found: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(found, expected, "{dialect}");
}

#[test]
fn after_a_request_that_passed() {
    // 1 of 10 is gone, which takes 6 s to come back; it is half past a second.
    let client = Client::new("per \"minute\"", Quota::per_minute(10));
    let limit = client.asks(1);
    let assert = |dialect, expected: &[(&str, &str)]| assert_headers(dialect, &limit, expected);
    assert(
        Dialect::Ietf,
        &[("ratelimit-policy", r#""per \"minute\"";q=10;w=60"#), ("ratelimit", r#""per \"minute\"";r=9;t=6"#)],
    );
    let x = |limit, reset| [("x-ratelimit-limit", limit), ("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", reset)];
    assert(Dialect::XRateLimit { reset: ResetForm::Epoch }, &x("10", "1700000007"));
    assert(Dialect::XRateLimit { reset: ResetForm::Seconds }, &x("10", "6"));
    assert(Dialect::Draft03, &x(r#"10, 10;w=60;name="per \"minute\"""#, "6"));
    assert(
        Dialect::Draft06,
        &[
            ("ratelimit-limit", "10"),
            ("ratelimit-remaining", "9"),
            ("ratelimit-reset", "6"),
            ("ratelimit-policy", "10;w=60"),
        ],
    );
    assert(Dialect::Draft07, &[("ratelimit", "limit=10, remaining=9, reset=6"), ("ratelimit-policy", "10;w=60")]);
    assert(Dialect::None, &[]);
}

#[test]
fn after_a_refusal_the_time_is_that_of_the_next_try() {
    let client = Client::new("m", Quota::per_minute(10));
    client.is_refused();
    client.wait(Duration::from_millis(700));
    // The next try is in 5.3 s, at .2 + 5.3 s past the second; all is back in 59.3 s.
    let limit = client.is_refused();
    let value = |dialect: Dialect, field: &str| written(dialect, &limit)[field].clone();
    assert_eq!(value(Dialect::Ietf, "ratelimit"), "\"m\";r=0;t=6");
    assert_eq!(value(Dialect::Draft06, "ratelimit-reset"), "6");
    assert_eq!(value(Dialect::XRateLimit { reset: ResetForm::Epoch }, "x-ratelimit-reset"), "1700000007");
    assert!(limit.at > NOON);
}

#[test]
fn policies_say_what_whole_seconds_can() {
    let item = |quota: &Quota, unit| Dialect::Ietf.policy_item("n", quota, unit);
    let half = Quota::new(5, Duration::from_millis(500)).unwrap();
    assert_eq!(item(&half, QuotaUnit::Requests), "\"n\";q=5");
    let odd = Quota::new(5, Duration::from_millis(1_500)).unwrap();
    assert_eq!(item(&odd, QuotaUnit::Requests), "\"n\";q=5");
    assert_eq!(item(&Quota::per_second(5), QuotaUnit::Requests), "\"n\";q=5;w=1");
    assert_eq!(item(&Quota::per_second(5), QuotaUnit::ConcurrentRequests), "\"n\";q=5;qu=\"concurrent-requests\"");
    assert_eq!(item(&Quota::per_second(5).with_burst(9), QuotaUnit::Requests), "\"n\";q=5;w=1;tollgate-burst=9");
    assert_eq!(item(&Quota::per_second(u64::MAX), QuotaUnit::Requests), "\"n\";q=999999999999999;w=1");
    assert_eq!(
        Dialect::Draft06.policy_item("n", &Quota::per_second(5).with_burst(9), QuotaUnit::Requests),
        "5;w=1;burst=9"
    );
    assert_eq!(Dialect::Draft03.policy_item("n", &half, QuotaUnit::Requests), "5;name=\"n\"");
}

#[test]
fn several_policies_are_one_list() {
    let (burst, daily) = (Quota::per_minute(100), Quota::per_day(1_000));
    let limits = [("burst", &burst, QuotaUnit::Requests), ("daily", &daily, QuotaUnit::Requests)];
    assert_eq!(Dialect::Ietf.policies(limits), r#""burst";q=100;w=60, "daily";q=1000;w=86400"#);
    assert_eq!(Dialect::Draft07.policies(limits), "100;w=60, 1000;w=86400");
    assert_eq!(Dialect::XRateLimit { reset: ResetForm::Epoch }.policies(limits), "");
}

#[test]
fn the_fields_of_an_upstream_stay_where_lists_allow_it() {
    let client = Client::new("ours", Quota::per_minute(10));
    let limit = client.asks(1);
    let mut headers = HeaderMap::new();
    headers.insert("ratelimit", HeaderValue::from_static("\"theirs\";r=1"));
    headers.insert("x-ratelimit-remaining", HeaderValue::from_static("1"));
    let policies = Dialect::Ietf.policies([]);
    Dialect::Ietf.write(&mut headers, &limit, &policies);
    assert_eq!(headers.get_all("ratelimit").iter().collect::<Vec<_>>(), ["\"theirs\";r=1", "\"ours\";r=9;t=6"]);
    Dialect::XRateLimit { reset: ResetForm::Seconds }.write(&mut headers, &limit, &policies);
    assert_eq!(headers.get_all("x-ratelimit-remaining").iter().collect::<Vec<_>>(), ["9"]);
}

#[test]
fn nobody_knows_when_a_request_in_flight_ends() {
    let mut client = Client::new("n", Quota::per_minute(1));
    client.unit = QuotaUnit::ConcurrentRequests;
    assert_eq!(written(Dialect::Ietf, &client.asks(1))["ratelimit"], "\"n\";r=0");
    assert_eq!(written(Dialect::Ietf, &client.is_refused())["ratelimit"], "\"n\";r=0;t=60");
}

#[test]
fn a_full_map_stays_as_it_is() {
    let client = Client::new("n", Quota::per_minute(1));
    let mut headers = HeaderMap::new();
    // A map holds fewer than 32,768 names.
    for name in 0..32_768 {
        let name = http::HeaderName::try_from(format!("x{name}")).unwrap();
        if headers.try_insert(name, HeaderValue::from_static("")).is_err() {
            break;
        }
    }
    let full = headers.len();
    assert!(full < 32_768);
    for dialect in Dialect::ALL {
        dialect.write(&mut headers, &client.asks(1), &HeaderValue::from_static("n"));
    }
    assert_eq!(headers.len(), full);
}

#[test]
fn names_are_read_back_and_wrong_ones_list_the_right_ones() {
    for dialect in Dialect::ALL {
        assert_eq!(dialect.to_string().parse(), Ok(dialect));
    }
    let error = "draft-3".parse::<Dialect>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "`draft-3` is not a valid dialect of rate-limit headers; expected one of \
         ietf, x-ratelimit, x-ratelimit-seconds, draft-03, draft-06, draft-07, none"
    );
    let names: Vec<_> = Dialect::ALL.iter().map(|dialect| dialect.name()).collect();
    assert_eq!(error.known, names);
}

/// A List of RFC 9651 whose items are Strings: each with its parameters.
fn strings_of(value: &HeaderValue) -> Vec<(String, Vec<(String, BareItem)>)> {
    let list: sfv::List = Parser::new(value.as_bytes()).parse().unwrap_or_else(|error| panic!("{value:?}: {error}"));
    let item = |entry: &ListEntry| match entry {
        ListEntry::Item(Item { bare_item, params }) => {
            let params = params.iter().map(|(key, value)| (key.as_str().to_owned(), value.clone()));
            (bare_item.as_string().expect("a String").as_str().to_owned(), params.collect())
        }
        ListEntry::InnerList(_) => panic!("{value:?} has an inner list"),
    };
    assert!(list.serialize().is_some(), "an empty list");
    list.iter().map(item).collect()
}

/// An integer among the parameters.
fn integer(params: &[(String, BareItem)], key: &str) -> Option<i64> {
    let (_, value) = params.iter().find(|(name, _)| name == key)?;
    Some(value.as_integer().expect("an Integer").into())
}

proptest! {
    #[test]
    fn the_current_drafts_fields_parse_and_say_the_same(
        name in ".{0,80}",
        other in "[\"\\\\ -~]{1,48}",
        count in 1_u64..1_000,
        period_ms in prop_oneof![1_u64..100_000, (1_u64..100_000).prop_map(|secs| secs * 1_000)],
        burst in 1_u64..2_000,
        costs in prop::collection::vec(0_u64..50, 1..20),
    ) {
        let quota = Quota::new(count, Duration::from_millis(period_ms)).unwrap().with_burst(burst);
        let client = Client::new(&name, quota);
        let policies = Dialect::Ietf.policies([
            (name.as_str(), &quota, QuotaUnit::Requests),
            (other.as_str(), &quota, QuotaUnit::ConcurrentRequests),
        ]);
        let listed = strings_of(&policies);
        prop_assert_eq!(listed.len(), 2);
        prop_assert_eq!(&listed[1].0, &other);
        for ((_, params), has_window) in listed.iter().zip([true, false]) {
            prop_assert_eq!(integer(params, "q"), Some(count.try_into().unwrap()));
            let window = (has_window && period_ms.is_multiple_of(1_000)).then(|| i64::try_from(period_ms / 1_000).unwrap());
            prop_assert_eq!(integer(params, "w"), window);
        }
        for cost in costs {
            let limit = client.asks(cost);
            let mut headers = HeaderMap::new();
            Dialect::Ietf.write(&mut headers, &limit, &policies);
            let found = strings_of(&headers["ratelimit"]);
            prop_assert_eq!(found.len(), 1);
            let (found_name, params) = &found[0];
            // The two fields name the limit alike, also when it is cut short.
            prop_assert_eq!(found_name, &listed[0].0);
            prop_assert!(found_name.len() <= 48);
            prop_assert_eq!(integer(params, "r"), Some(limit.report.remaining.try_into().unwrap()));
            if limit.report.verdict == Verdict::NeverFits {
                prop_assert_eq!(integer(params, "t"), None);
                continue;
            }
            let exact = limit.report.retry_after.unwrap_or(limit.report.reset_after);
            let t = Duration::from_secs(integer(params, "t").unwrap().try_into().unwrap());
            prop_assert!(t >= exact && t < exact + Duration::from_secs(1), "{t:?} for {exact:?}");
        }
    }
}
