//! Clients that are slow, silent or many.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::Instant;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::tool::{Conn, Front, PATIENCE, SHORT, eventually, front, front_with, mirror, upstream};

/// How long a test waits to see that nothing happens.
const MOMENT: Duration = Duration::from_millis(100);

#[test]
fn a_head_that_trickles_in_is_given_up() {
    let front = front_with(mirror(), |settings| settings.timeouts.head = SHORT);
    let mut client = front.client();
    let start = Instant::now();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n");
    // A byte now and then does not help.
    while client.is_quiet(SHORT / 10) {
        client.send("x");
        assert!(start.elapsed() < PATIENCE);
    }
    assert!(client.is_closed());
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn a_second_head_that_trickles_in_is_given_up() {
    let front = front_with(mirror(), |settings| settings.timeouts.head = SHORT);
    let mut client = front.client();
    client.get("/");
    assert_eq!(client.response().status, 200);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n");
    assert!(client.is_closed());
}

#[test]
fn a_connection_without_requests_is_given_up() {
    let front = front_with(mirror(), |settings| settings.timeouts.idle = SHORT);
    let mut fresh = front.client();
    let mut used = front.client();
    used.get("/");
    assert_eq!(used.response().status, 200);
    let start = Instant::now();
    assert!(used.is_closed());
    assert!(start.elapsed() + MOMENT >= SHORT);
    assert!(fresh.is_closed());
    // And not only after the patience for a head.
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    eventually("nobody is present", || front.viewer().now().connections == 0);
}

#[test]
fn waiting_for_an_answer_is_not_idling() {
    let front = front_with(
        upstream(|conn| {
            conn.head();
            std::thread::sleep(SHORT * 2);
            conn.answer("late");
        }),
        |settings| (settings.timeouts.idle, settings.timeouts.head) = (SHORT, SHORT),
    );
    let mut client = front.client();
    client.get("/");
    assert_eq!(client.response().body, "late");
}

#[test]
fn a_request_body_that_stops_is_408() {
    let front = front_with(
        upstream(|conn| {
            conn.head();
            conn.is_closed();
        }),
        |settings| settings.timeouts.request_body = SHORT,
    );
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    client.response().is_problem(408);
    assert!(client.is_closed());
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let front = front_with(
        upstream(|conn| {
            conn.head();
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
            let piece = vec![b'x'; 1 << 16];
            for _ in 0..1_500 {
                conn.send(&piece);
            }
        }),
        |settings| settings.timeouts.send = SHORT,
    );
    let mut client = front.client();
    client.get("/");
    client.head().unwrap();
    // Never reads on.
    eventually("nobody is present", || front.viewer().now().connections == 0);
}

fn in_flight(front: &Front) -> u64 {
    front.upstreams().iter().map(|upstream| upstream.in_flight).sum()
}

/// One stream's window stays shut, from the beginning or after a while; the rest of its connection is as good as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_window_stays_shut_holds_nothing() {
    for window in [0, 10_000] {
        let front = front_with(
            upstream(|conn| {
                while let Some(head) = conn.head() {
                    if !head.starts_with("GET /large ") {
                        conn.answer("");
                        continue;
                    }
                    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n");
                    for _ in 0..1_500 {
                        conn.send(vec![b'x'; 1 << 16]);
                    }
                }
            }),
            |settings| settings.timeouts.send = SHORT,
        );
        let socket = tokio::net::TcpStream::connect(front.addr()).await.unwrap();
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window).initial_connection_window_size(1 << 20);
        let (mut sender, connection) = builder.handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        let ask = |path: &str| Request::get(format!("http://a{path}")).body(Empty::<Bytes>::new()).unwrap();
        let unread = sender.send_request(ask("/large")).await.unwrap();
        assert_eq!(in_flight(&front), 1);
        let start = Instant::now();
        eventually("the upstream is let go", || in_flight(&front) == 0);
        assert!(start.elapsed() + MOMENT >= SHORT, "{window}: {:?}", start.elapsed());
        let other = sender.send_request(ask("/small")).await.unwrap();
        assert_eq!(other.status(), 200, "{window}");
        // What was read of it in the end is not taken for the whole.
        let read = tokio::time::timeout(MOMENT, unread.into_body().collect()).await;
        assert!(!matches!(read, Ok(Ok(_))), "{window}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_read_slowly_or_waits_for_the_upstream_goes_on() {
    let front = front_with(
        upstream(|conn| {
            conn.head();
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n");
            std::thread::sleep(SHORT * 2);
            conn.send(vec![b'x'; 40_000]);
            conn.is_closed();
        }),
        |settings| settings.timeouts.send = SHORT,
    );
    let socket = tokio::net::TcpStream::connect(front.addr()).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(10_000);
    let (mut sender, connection) = builder.handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://a/").body(Empty::<Bytes>::new()).unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
        tokio::time::sleep(SHORT / 2).await;
    }
    assert_eq!(length, 40_000);
}

/// A window that is opened by a byte a moment, at an upstream that sends small pieces: each of them is taken in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_window_trickles_holds_nothing() {
    let front = front_with(
        upstream(|conn| {
            conn.head();
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for _ in 0..100_000 {
                conn.send("2\r\nxx\r\n");
            }
        }),
        |settings| settings.timeouts.send = SHORT,
    );
    let socket = tokio::net::TcpStream::connect(front.addr()).await.unwrap();
    let mut client = h2::client::Builder::new();
    client.initial_window_size(1).initial_connection_window_size(1 << 20);
    let (mut sender, connection) = client.handshake::<_, Bytes>(socket).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://a/").body(()).unwrap();
    let mut body = sender.send_request(request, true).unwrap().0.await.unwrap().into_body();
    assert_eq!(in_flight(&front), 1);
    let trickle = async {
        loop {
            // An error is the end.
            let Some(Ok(piece)) = body.data().await else { break };
            let _ = body.flow_control().release_capacity(piece.len());
            tokio::time::sleep(SHORT / 30).await;
        }
    };
    let start = Instant::now();
    let let_go = async {
        while in_flight(&front) > 0 {
            assert!(start.elapsed() < PATIENCE, "the upstream is not let go");
            tokio::time::sleep(SHORT / 30).await;
        }
    };
    tokio::select! {
        () = trickle => {}
        () = let_go => {}
    }
    assert!(start.elapsed() + MOMENT >= SHORT, "{:?}", start.elapsed());
    eventually("the upstream is let go", || in_flight(&front) == 0);
}

#[test]
fn two_thousand_idle_connections_are_no_burden() {
    idle(2_000);
}

#[test]
#[ignore = "needs 20,000 file descriptors: cargo test -p tollgate-gateway --test proxy ten_thousand -- --ignored"]
fn ten_thousand_idle_connections_are_no_burden() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    idle(9_500);
}

/// Opens `count` connections, half of which have had a request answered, and then asks on the first and on a new one.
fn idle(count: usize) {
    let front = front(mirror());
    let start = Instant::now();
    let mut clients: Vec<Conn> = (0..count).map(|_| front.client()).collect();
    for client in clients.iter_mut().step_by(2) {
        client.get("/");
        assert_eq!(client.response().status, 200);
    }
    eventually("all are present", || front.viewer().now().connections == count);
    clients.push(front.client());
    for client in clients.iter_mut().rev().step_by(count / 10) {
        let asked = Instant::now();
        client.get("/");
        assert_eq!(client.response().status, 200);
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    drop(clients);
    eventually("all have left", || front.viewer().now().connections == 0);
}
