//! Other settings take their place while the gateway runs.

use crate::tool::{front, mirror, nowhere, settings, upstream};

#[test]
fn the_next_request_follows_the_new_settings_on_the_same_connection() {
    let (old, new) = (
        mirror(),
        upstream(|conn| {
            while conn.head().is_some() {
                conn.answer("new")
            }
        }),
    );
    let front = front(old);
    let mut client = front.client();
    client.get("/");
    assert!(client.response().body.starts_with("GET /"));
    assert_eq!(front.upstreams()[0].requests, 1);
    front.replace(settings(&[new])).unwrap();
    client.get("/");
    assert_eq!(client.response().body, "new");
    assert_eq!(front.upstreams()[0].requests, 1);
}

#[test]
fn an_upstream_that_stays_keeps_its_counts() {
    let kept = mirror();
    let front = front(kept);
    let mut client = front.client();
    client.get("/");
    client.response();
    front.replace(settings(&[nowhere(), kept])).unwrap();
    let counts: Vec<u64> = front.upstreams().iter().map(|upstream| upstream.requests).collect();
    assert_eq!(counts, [0, 1]);
}

#[test]
fn settings_that_cannot_be_used_change_nothing() {
    let front = front(mirror());
    let mut broken = settings(&[nowhere()]);
    broken.upstream_ca = Some("no/such/file.pem".into());
    let error = front.replace(broken).unwrap_err().to_string();
    assert!(error.starts_with("no/such/file.pem: "), "{error}");
    let mut client = front.client();
    client.get("/");
    assert_eq!(client.response().status, 200);
}
