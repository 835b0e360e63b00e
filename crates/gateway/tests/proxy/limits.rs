//! How much of anything is accepted.

use std::sync::mpsc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tollgate_http::{Charge, Policy};

use crate::tool::{Front, eventually, front, front_with, mirror, upstream};

#[test]
fn a_head_of_too_many_bytes_is_431() {
    let front = front_with(mirror(), |settings| settings.limits.head_bytes = 8 << 10);
    let mut client = front.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(7 << 10)));
    assert_eq!(client.response().status, 200);
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(9 << 10)));
    assert_eq!(client.response().status, 431);
    assert!(client.is_closed());
}

#[test]
fn a_head_without_end_is_431() {
    let front = front(mirror());
    let mut client = front.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(200_000)));
    assert_eq!(client.response().status, 431);
}

#[test]
fn too_many_fields_are_431() {
    let front = front(mirror());
    let fields = |count: usize| (1..count).map(|n| format!("X{n}: 1\r\n")).collect::<String>();
    let mut client = front.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(90)));
    assert_eq!(client.response().status, 200);
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(101)));
    assert_eq!(client.response().status, 431);

    let front = front_with(mirror(), |settings| settings.limits.head_fields = 5);
    let mut client = front.client();
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(5)));
    assert_eq!(client.response().status, 200);
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", fields(6)));
    assert_eq!(client.response().status, 431);
}

#[test]
fn a_body_that_says_it_is_too_large_is_413_at_once() {
    let front = front_with(mirror(), |settings| settings.limits.body_bytes = Some(1_000));
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
    client.response().is_problem(413);
    assert_eq!(front.upstreams()[0].requests, 0);
}

#[test]
fn a_refused_body_does_not_hide_the_refusal() {
    let front = front_with(mirror(), |settings| settings.limits.body_bytes = Some(1_000));
    let mut client = front.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n{}", "x".repeat(500_000)));
    client.response().is_problem(413);
    // It was read to its end, so the connection goes on.
    client.get("/");
    assert_eq!(client.response().status, 200);
}

#[test]
fn a_body_that_turns_out_too_large_is_413_and_never_whole() {
    let (tell, told) = mpsc::channel();
    let front = front_with(
        upstream(move |conn| {
            conn.head();
            let mut length = 0;
            while let Ok(byte) = conn.bytes(1) {
                length += byte.len();
            }
            tell.send(length).unwrap();
        }),
        |settings| {
            settings.limits.body_bytes = Some(1_000);
            settings.limits.buffer_request = 0;
        },
    );
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..11 {
        client.send(format!("64\r\n{}\r\n", "x".repeat(100)));
    }
    client.response().is_problem(413);
    let length = told.recv().unwrap();
    assert!(length < 1_100, "{length}");
    assert_eq!(front.upstreams()[0].failures, 0);
}

#[test]
fn a_body_of_just_the_limit_passes() {
    let front = front_with(
        upstream(|conn| {
            conn.head();
            conn.bytes(1_000).unwrap();
            conn.answer("ok");
        }),
        |settings| settings.limits.body_bytes = Some(1_000),
    );
    let mut client = front.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1_000)));
    assert_eq!(client.response().body, "ok");
}

#[test]
fn one_connection_too_many_is_closed_and_the_next_finds_the_place() {
    let front = front_with(mirror(), |settings| settings.limits.connections = 3);
    let mut clients: Vec<_> = (0..3).map(|_| front.client()).collect();
    for client in &mut clients {
        client.get("/");
        assert_eq!(client.response().status, 200);
    }
    assert!(front.client().is_closed());
    assert_eq!(front.viewer().now().turned_away, 1);
    clients.pop();
    eventually("a place is free", || front.viewer().now().connections == 2);
    let mut client = front.client();
    client.get("/");
    assert_eq!(client.response().status, 200);
}

#[tokio::test]
async fn too_many_fields_are_431_of_http2_too() {
    let front = front(mirror());
    let socket = tokio::net::TcpStream::connect(front.addr()).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    for (fields, status) in [(100, 200), (101, 431)] {
        let mut request = Request::get("http://a/");
        for n in 0..fields {
            request = request.header(format!("x-{n}"), "1");
        }
        let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
    }
    assert_eq!(front.upstreams()[0].requests, 1);
}

/// As clients do that look for an answer once all is sent.
#[test]
fn an_upload_that_a_limit_refuses_sees_its_answer() {
    let front = Front::limited(mirror(), Policy::new("one", "1/hour").unwrap());
    let mut client = front.client();
    client.get("/");
    assert_eq!(client.response().status, 200);
    for _ in 0..3 {
        let mut socket = std::net::TcpStream::connect(front.addr()).unwrap();
        let request =
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 12000000\r\n\r\n{}", "x".repeat(12_000_000));
        // All of it is taken, however early the answer came: more than the buffers of sockets hold.
        std::io::Write::write_all(&mut socket, request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut socket, &mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 429");
    }
    // One that waits to be asked for its body is not asked.
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.response().status, 429);
}

#[test]
fn the_answer_of_the_upstream_says_what_it_costs() {
    let upstream = upstream(|conn| {
        while let Some(head) = conn.head() {
            let cost = if head.starts_with("GET /free ") { "0" } else { "40" };
            conn.send(format!("HTTP/1.1 200 OK\r\nX-Cost: {cost}\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let policy = Policy::new("tokens", "100/day").unwrap().cost(10).charge(Charge::ByField("x-cost".parse().unwrap()));
    let front = Front::limited(upstream, policy);
    let mut client = front.client();
    let mut ask = |path| {
        client.get(path);
        client.response()
    };
    for _ in 0..20 {
        assert_eq!(ask("/free").status, 200);
    }
    let first = ask("/");
    assert_eq!(first.field("x-cost"), Some("40"));
    assert!(first.field("ratelimit").unwrap().starts_with("\"tokens\";r=60;"), "{first:?}");
    assert_eq!(ask("/").status, 200);
    // Twenty are left, which is enough for the cost and not for the answer.
    assert_eq!(ask("/").status, 200);
    assert_eq!(ask("/free").status, 429);
}
