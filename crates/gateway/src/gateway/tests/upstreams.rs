//! Several upstreams.

use std::time::Duration;

use super::tool::{Front, eventually, mirror, nowhere, settings, upstream};
use crate::gateway::upstream::Counts;

fn counts(front: &Front) -> Vec<Counts> {
    front.live.now().upstreams.iter().map(|upstream| upstream.counts()).collect()
}

#[test]
fn equals_share_the_work() {
    let front = Front::start(settings(&[mirror(), mirror(), mirror()]));
    let mut client = front.client();
    for _ in 0..30 {
        client.get("/");
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(counts(&front).iter().map(|counts| counts.requests).collect::<Vec<_>>(), [10, 10, 10]);
}

#[test]
fn one_that_is_down_costs_no_request() {
    let mut settings = settings(&[nowhere(), mirror()]);
    settings.health.rest = Duration::from_secs(600);
    let front = Front::start(settings);
    let mut client = front.client();
    for _ in 0..30 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.response().status, 200);
    }
    let [down, up] = counts(&front)[..] else { panic!() };
    // Three trials, then it rests.
    assert_eq!((down.requests, down.failures, down.is_resting), (3, 3, true));
    assert_eq!((up.requests, up.failures), (30, 0));
}

#[test]
fn when_all_rest_it_is_503() {
    let mut settings = settings(&[nowhere(), nowhere()]);
    settings.health.failures = 1;
    settings.health.rest = Duration::from_secs(600);
    let front = Front::start(settings);
    let mut client = front.client();
    client.get("/");
    client.response().is_problem(502);
    client.get("/");
    client.response().is_problem(503);
}

#[test]
fn one_that_is_back_is_used_again() {
    let down = nowhere();
    let mut settings = settings(&[down, mirror()]);
    settings.health.failures = 1;
    settings.health.rest = Duration::from_millis(50);
    let front = Front::start(settings);
    let mut client = front.client();
    client.get("/");
    assert_eq!(client.response().status, 200);
    let listener = std::net::TcpListener::bind(down).unwrap();
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            let mut conn = super::tool::Conn::new(socket);
            while conn.head().is_some() {
                conn.answer("back");
            }
        }
    });
    eventually("it is back", || {
        client.get("/");
        client.response().body == "back"
    });
    assert!(!counts(&front)[0].is_resting);
}

#[test]
fn a_request_that_was_sent_is_not_sent_again() {
    let broken = || {
        upstream(|conn| {
            conn.head();
        })
    };
    let front = Front::start(settings(&[broken(), broken()]));
    let mut client = front.client();
    client.get("/");
    client.response().is_problem(502);
    assert_eq!(counts(&front).iter().map(|counts| counts.requests).sum::<u64>(), 1);
}

#[test]
fn the_busy_one_is_spared() {
    let slow = upstream(|conn| {
        conn.head();
        conn.is_closed();
    });
    let front = Front::start(settings(&[slow, mirror()]));
    let mut waiting = front.client();
    // Whichever thread it meets: sooner or later one request hangs on the slow one.
    waiting.get("/");
    if !waiting.is_quiet(Duration::from_millis(200)) {
        waiting.response();
        waiting.get("/");
    }
    eventually("one hangs", || counts(&front)[0].in_flight == 1);
    for _ in 0..10 {
        let mut client = front.client();
        client.get("/");
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(counts(&front)[0].requests, 1);
}
