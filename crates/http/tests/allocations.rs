//! What an answer allocates: its values, its map and its body, and nothing on the way.

#![allow(unsafe_code, reason = "an allocator that counts")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;

use common::Client;
use http::HeaderMap;
use tollgate::Quota;
use tollgate::clock::{Clock as _, ExactClock, Instant};
use tollgate_http::answer::{Dialect, RefusalBody, ResetForm, Template};
use tollgate_http::stats::{Labeller, TopRefused};
use tollgate_http::{Answer, LimiterConfig, PeerAddr, Policy, RateLimiter, TierMap, Tiers};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending counts no more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: hands everything to the system's allocator; the count is the thread's own and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often `work` allocates, once everything shared has been set up.
fn allocations<T>(mut work: impl FnMut() -> T) -> u64 {
    drop(work());
    let before = ALLOCATIONS.get();
    let done = work();
    let after = ALLOCATIONS.get();
    drop(done);
    after - before
}

const EPOCH: Dialect = Dialect::XRateLimit { reset: ResetForm::Epoch };

#[test]
fn fields_allocate_their_values() {
    let client = Client::new("per minute", Quota::per_minute(10));
    let limit = client.asks(1);
    for (dialect, values) in
        [(Dialect::Ietf, 1), (EPOCH, 3), (Dialect::Draft03, 3), (Dialect::Draft06, 3), (Dialect::Draft07, 1)]
    {
        let policies = dialect.policies([("per minute", &client.quota, client.unit)]);
        let mut headers = HeaderMap::with_capacity(16);
        let counted = allocations(|| {
            headers.clear();
            dialect.write(&mut headers, &limit, &policies);
        });
        assert_eq!(counted, values, "{dialect}");
    }
}

#[test]
fn refusals_allocate_a_map_of_two_the_values_and_the_body() {
    let client = Client::new("per minute", Quota::per_minute(10));
    let limit = client.is_refused();
    let custom = RefusalBody::Custom(Template::new("text/plain", "{name}: {quota}, {retry_after}").unwrap());
    // Beside two for the map and one for `RateLimit`: `Retry-After`, and the body where it is not static.
    for (body, counted) in [
        (RefusalBody::ProblemJson, 5),
        (RefusalBody::Json, 5),
        (RefusalBody::Detail, 4),
        (custom, 5),
        (RefusalBody::Empty, 4),
    ] {
        let answer = Answer::new().with_body(body.clone());
        let policies = answer.dialect().policies([("per minute", &client.quota, client.unit)]);
        assert_eq!(allocations(|| answer.refuse(&limit, &policies, false)), counted, "{body}");
    }
}

/// The decision nothing; its fields the text of one, in a map that has room.
#[test]
fn an_admitted_request_allocates_one_text() {
    let limiter = RateLimiter::new(LimiterConfig::new().policy(Policy::new("api", "1000000/hour").unwrap())).unwrap();
    let mut request = http::Request::new(());
    request.extensions_mut().insert(PeerAddr(SocketAddr::from(([192, 0, 2, 7], 40_000))));
    let fields = || limiter.check_at_once(&request).expect("the straight path").expect("admitted");
    assert_eq!(allocations(fields), 0);
    let mut headers = HeaderMap::with_capacity(16);
    let counted = allocations(|| {
        headers.clear();
        fields().write(&mut headers);
    });
    assert_eq!(counted, 1);
    assert_eq!(headers.len(), 2);
}

#[test]
fn the_top_allocates_nothing() {
    let (top, labeller) = (TopRefused::new(), Labeller::new());
    let part = "header:x-api-key".into();
    let mut key = 0_u64;
    let counted = allocations(|| {
        for _ in 0..1_000 {
            key += 1;
            top.record(key, || labeller.key(&part, &key.to_le_bytes()), Instant::default());
            top.record(7, || labeller.key(&part, b"7"), Instant::default());
        }
    });
    assert_eq!(counted, 0);
}

/// Who is in a table, and who is not; keys longer than fit on the stack as well.
#[test]
fn a_table_of_keys_is_asked_without_allocation() {
    let mut map = TierMap::builder("header:x-api-key".parse().unwrap(), &["free"]).unwrap();
    let long = "l".repeat(500);
    for number in 0..1_000 {
        map.add(&format!("key-{number}"), "free").unwrap();
    }
    map.add(&long, "free").unwrap();
    let tiers = Tiers::by_map(Arc::new(map.build())).tier("free", "1000000/s").unwrap();
    let policy = Policy::new("api", "1000000/s").unwrap().tiers(tiers);
    let answer = Answer::new().with_headers_on_success(false);
    let config = LimiterConfig::new().answer(answer).policy(policy.key("header:x-api-key".parse().unwrap()));
    let limiter = RateLimiter::new(config).unwrap();
    for key in ["key-7", "nobody", long.as_str()] {
        let request = http::Request::builder().header("x-api-key", key).body(()).unwrap();
        let counted = allocations(|| assert!(limiter.check_at_once(&request).unwrap().is_ok()));
        assert_eq!(counted, 0, "{key}");
    }
}

/// Nanoseconds a call, the best of ten rounds.
fn nanos(mut work: impl FnMut()) -> u64 {
    const CALLS: u64 = 20_000;
    let clock = ExactClock::new();
    let round = |work: &mut dyn FnMut()| {
        let start = clock.now();
        (0..CALLS).for_each(|_| work());
        clock.now().as_nanos() - start.as_nanos()
    };
    (0..10).map(|_| round(&mut work)).min().unwrap_or(0) / CALLS
}

#[test]
#[ignore = "prints times: cargo test --release -p tollgate-http --test allocations times -- --ignored --nocapture"]
fn times() {
    let client = Client::new("per minute", Quota::per_minute(10));
    let limit = client.is_refused();
    for body in
        [RefusalBody::ProblemJson, RefusalBody::Json, RefusalBody::Detail, RefusalBody::Text, RefusalBody::Empty]
    {
        let answer = Answer::new().with_body(body.clone());
        let policies = answer.dialect().policies([("per minute", &client.quota, client.unit)]);
        println!(
            "refuse, {body}: {} ns",
            nanos(|| drop(std::hint::black_box(answer.refuse(&limit, &policies, false))))
        );
    }
    for dialect in Dialect::ALL {
        let policies = dialect.policies([("per minute", &client.quota, client.unit)]);
        let mut headers = HeaderMap::with_capacity(16);
        let nanos = nanos(|| {
            headers.clear();
            dialect.write(&mut headers, &limit, &policies);
        });
        println!("write, {dialect}: {nanos} ns");
    }
    let (top, labeller) = (TopRefused::new(), Labeller::new());
    let part = "header:x-api-key".into();
    let mut key = 0_u64;
    let mut record = |keys: u64| {
        nanos(|| {
            key += 1;
            top.record(key % keys, || labeller.key(&part, &key.to_le_bytes()), Instant::default());
        })
    };
    println!("top, one key: {} ns", record(1));
    println!("top, 128 keys: {} ns", record(128));
    println!("top, every key new: {} ns", record(u64::MAX));
}
