//! Upstreams that are gone, slow or broken, and clients that are.

use std::net::SocketAddr;
use std::sync::mpsc;

use crate::tool::{Front, SHORT, eventually, front, front_unbuffered, front_with, mirror, nowhere, settings, upstream};

fn failures(front: &Front) -> u64 {
    front.upstreams().iter().map(|upstream| upstream.failures).sum()
}

#[test]
fn an_upstream_that_is_down_is_502() {
    let front = front(nowhere());
    let mut client = front.client();
    for _ in 0..5 {
        client.get("/");
        client.response().is_problem(502);
    }
    assert_eq!(failures(&front), 5);
}

#[test]
fn without_upstreams_it_is_503() {
    let front = Front::start(settings(&[]));
    let mut client = front.client();
    client.get("/");
    client.response().is_problem(503);
}

#[test]
fn an_upstream_that_does_not_answer_is_504() {
    let front = front_with(
        upstream(|conn| {
            conn.head();
            conn.is_closed();
        }),
        |settings| settings.timeouts.response_head = SHORT,
    );
    let mut client = front.client();
    client.get("/");
    client.response().is_problem(504);
    // The client's connection is as good as before.
    client.get("/");
    client.response().is_problem(504);
    assert_eq!(failures(&front), 2);
}

#[test]
fn a_slow_upload_does_not_use_up_the_upstreams_time() {
    let front = front_with(
        upstream(|conn| {
            conn.head();
            while !conn.chunk().is_empty() {}
            conn.answer("ok");
        }),
        |settings| {
            settings.timeouts.response_head = SHORT;
            settings.limits.buffer_request = 0;
        },
    );
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..4 {
        client.send("1\r\nx\r\n");
        std::thread::sleep(SHORT / 2);
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.response().body, "ok");
}

#[test]
fn an_upstream_that_closes_without_a_word_is_502() {
    let front = front(upstream(|conn| {
        conn.head();
    }));
    let mut client = front.client();
    client.get("/");
    client.response().is_problem(502);
    assert_eq!(failures(&front), 1);
}

#[test]
fn an_upstream_that_does_not_speak_http_is_502() {
    for nonsense in [
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ] {
        let front = front(upstream(move |conn| {
            conn.head();
            conn.send(nonsense);
        }));
        let mut client = front.client();
        client.get("/");
        client.response().is_problem(502);
    }
}

#[test]
fn an_answer_that_stops_halfway_is_not_passed_off_as_whole() {
    let front = front_with(
        upstream(|conn| {
            conn.head();
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
            conn.is_closed();
        }),
        |settings| settings.timeouts.response_body = SHORT,
    );
    let mut client = front.client();
    client.get("/");
    client.head().unwrap();
    assert_eq!(client.bytes(4).unwrap(), b"half");
    assert!(client.is_closed());
    assert_eq!(failures(&front), 1);
}

#[test]
fn a_connection_that_the_upstream_closed_meanwhile_is_replaced() {
    let front = front(upstream(|conn| {
        conn.head();
        conn.answer("ok");
    }));
    let mut client = front.client();
    for _ in 0..20 {
        client.get("/");
        assert_eq!(client.response().body, "ok");
    }
    assert_eq!(failures(&front), 0);
}

/// The upstream closes a connection that was kept when the next request has been written to it already.
#[test]
fn a_connection_that_the_upstream_closes_meanwhile_costs_no_request_that_may_be_repeated() {
    let (tell, told) = mpsc::channel();
    let front = front_with(
        upstream(move |conn| {
            conn.head();
            conn.answer("ok");
            if let Some(head) = conn.head() {
                tell.send(head).unwrap();
            }
        }),
        |settings| settings.threads = std::num::NonZeroUsize::MIN,
    );
    let mut client = front.client();
    for _ in 0..6 {
        client.get("/");
        assert_eq!(client.response().body, "ok");
    }
    assert_eq!(failures(&front), 0, "that is no failure of the upstream");
    assert_eq!(told.try_iter().count(), 5, "each but the first met a connection that was about to be closed");
    client.get("/");
    assert_eq!(client.response().body, "ok");
    assert!(told.recv().unwrap().starts_with("GET"));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\npay");
    client.response().is_problem(502);
    assert!(told.recv().unwrap().starts_with("POST"));
    client.get("/");
    assert_eq!(client.response().body, "ok");
    assert!(told.try_recv().is_err(), "paid twice");
}

/// An upstream that does not answer, and tells when it is asked and when whoever asked has gone.
fn silent() -> (SocketAddr, mpsc::Receiver<&'static str>) {
    let (tell, told) = mpsc::channel();
    let addr = upstream(move |conn| {
        conn.head();
        tell.send("asked").unwrap();
        if conn.is_closed() {
            tell.send("gone").unwrap();
        }
    });
    (addr, told)
}

#[test]
fn when_the_client_has_gone_the_upstream_is_told() {
    let (upstream, told) = silent();
    let front = front(upstream);
    let mut client = front.client();
    client.get("/");
    assert_eq!(told.recv().unwrap(), "asked");
    drop(client);
    assert_eq!(told.recv().unwrap(), "gone");
    eventually("nothing in flight", || front.upstreams().iter().all(|upstream| upstream.in_flight == 0));
}

#[test]
fn when_the_client_has_gone_in_the_middle_of_its_body_the_upstream_is_told() {
    let (tell, told) = mpsc::channel();
    let front = front_unbuffered(upstream(move |conn| {
        conn.head();
        tell.send(conn.chunk()).unwrap();
        if conn.is_closed() {
            tell.send("gone".to_owned()).unwrap();
        }
    }));
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    assert_eq!(told.recv().unwrap(), "first");
    drop(client);
    assert_eq!(told.recv().unwrap(), "gone");
    assert_eq!(failures(&front), 0);
}

#[test]
fn a_client_that_closes_its_half_has_gone() {
    let (upstream, told) = silent();
    let front = front(upstream);
    let mut client = front.client();
    client.get("/");
    assert_eq!(told.recv().unwrap(), "asked");
    client.finish_sending();
    assert!(client.is_closed());
    assert_eq!(told.recv().unwrap(), "gone");
}

#[test]
fn the_gateways_answers_say_nothing_internal() {
    let upstream = nowhere();
    let front = front(upstream);
    let mut client = front.client();
    client.get("/");
    let answer = client.response();
    let text = format!("{}{}", answer.head, answer.body);
    assert!(!text.contains("127.0.0.1") && !text.contains(&upstream.port().to_string()), "{text}");
    assert!(answer.body.len() < 300);
}

#[test]
fn connect_and_trace_and_methods_in_small_letters_end_here() {
    let front = front(mirror());
    for request in [
        "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        // A limit for POST would not hold for these, where an application takes them for it.
        "post / HTTP/1.1\r\nHost: a\r\n\r\n",
        "Post / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let mut client = front.client();
        client.send(request);
        client.response().is_problem(501);
    }
    assert_eq!(front.upstreams()[0].requests, 0);
}
