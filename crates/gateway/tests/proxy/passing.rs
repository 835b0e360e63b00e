//! What goes through: requests, answers, bodies, in both versions of HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::Instant;

use crate::tool::{Conn, SHORT, eventually, front, front_unbuffered, front_with, mirror, upstream};

#[test]
fn connections_are_kept_on_both_sides() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let front = front(upstream(move |conn| {
        counted.fetch_add(1, Ordering::SeqCst);
        while conn.head().is_some() {
            conn.answer("ok");
        }
    }));
    let mut client = front.client();
    for _ in 0..5 {
        client.get("/");
        assert_eq!(client.response().body, "ok");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let front = front(mirror());
    let mut client = front.client();
    let request = |path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(["/1", "/2", "/3"].map(request).concat());
    for path in ["/1", "/2", "/3"] {
        assert!(client.response().body.starts_with(&format!("GET {path} HTTP/1.1")));
    }
}

#[test]
fn an_answer_is_passed_on_while_it_arrives() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let front = front(upstream(move |conn| {
        conn.head();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        wait.lock().unwrap().recv().unwrap();
        conn.send("6\r\nsecond\r\n0\r\n\r\n");
    }));
    let mut client = front.client();
    client.get("/");
    assert!(client.head().unwrap().to_lowercase().contains("transfer-encoding: chunked"));
    assert_eq!(client.chunk(), "first");
    // The second piece is not even written yet.
    go.send(()).unwrap();
    assert_eq!(client.chunk(), "second");
    assert_eq!(client.chunk(), "");
}

#[test]
fn a_request_body_is_passed_on_while_it_arrives() {
    let (tell, seen) = mpsc::channel();
    let front = front_unbuffered(upstream(move |conn| {
        conn.head();
        tell.send(conn.chunk()).unwrap();
        tell.send(conn.chunk()).unwrap();
        assert_eq!(conn.chunk(), "");
        conn.answer("done");
    }));
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    assert_eq!(seen.recv().unwrap(), "first");
    client.send("6\r\nsecond\r\n0\r\n\r\n");
    assert_eq!(seen.recv().unwrap(), "second");
    assert_eq!(client.response().body, "done");
}

#[test]
fn a_body_of_megabytes_arrives_as_it_was() {
    let front = front(upstream(|conn| {
        let head = conn.head().unwrap();
        let length = crate::tool::field(&head, "content-length").unwrap().parse().unwrap();
        let body = conn.bytes(length).unwrap();
        conn.answer(std::str::from_utf8(&body).unwrap());
    }));
    let body: String = (0..400_000).map(|n| format!("{n:7},")).collect();
    let mut client = front.client();
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    client.send(request);
    assert!(client.response().body == body);
}

#[test]
fn an_upload_that_goes_on_after_its_answer_holds_up_nobody() {
    let (tell, told) = mpsc::channel();
    let front = front_with(
        upstream(move |conn| {
            while conn.head().is_some_and(|head| head.starts_with("GET")) {
                conn.answer("ok");
            }
            conn.chunk();
            conn.answer("enough");
            tell.send(conn.chunk()).unwrap();
        }),
        |settings| {
            settings.threads = std::num::NonZeroUsize::MIN;
            settings.limits.buffer_request = 0;
        },
    );
    let mut uploading = front.client();
    uploading.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
    assert_eq!(uploading.response().body, "enough");
    let mut client = front.client();
    for _ in 0..3 {
        client.get("/");
        assert_eq!(client.response().body, "ok");
    }
    // And is not cut short by them.
    uploading.send("4\r\nrest\r\n0\r\n\r\n");
    assert_eq!(told.recv().unwrap(), "rest");
}

#[test]
fn trailers_pass() {
    let front = front(upstream(|conn| {
        let head = conn.head().unwrap().to_lowercase();
        assert!(head.contains("te: trailers") && head.contains("connection: te"), "{head}");
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n");
        conn.send("2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n");
    }));
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    client.head().unwrap();
    assert_eq!(client.chunk(), "ok");
    assert_eq!(client.chunk(), "");
    assert_eq!(client.line(), "x-sum: 7\r\n");
}

#[test]
fn a_head_request_keeps_the_length_and_has_no_body() {
    let front = front(upstream(|conn| {
        while conn.head().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        }
    }));
    let mut client = front.client();
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.head().unwrap().to_lowercase().contains("content-length: 1000"));
    }
}

#[test]
fn a_client_of_http_1_0_is_answered_in_its_terms() {
    let front = front(upstream(|conn| {
        let head = conn.head().unwrap();
        assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("via: 1.0 tollgate"), "{head}");
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    }));
    let mut client = front.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let head = client.head().unwrap().to_lowercase();
    assert!(!head.contains("chunked"), "{head}");
    assert_eq!(client.bytes(2).unwrap(), b"ok");
    assert!(client.is_closed());
}

#[test]
fn an_expectation_is_met_once_somebody_takes_the_body() {
    let front = front(upstream(|conn| {
        let head = conn.head().unwrap();
        assert_eq!(crate::tool::field(&head, "expect"), Some("100-continue"));
        // As servers do that know nothing of it.
        conn.bytes(4).unwrap();
        conn.answer("got it");
    }));
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert_eq!(client.response().body, "got it");
}

#[test]
fn whether_a_body_is_wanted_is_for_the_upstream_to_say() {
    let (tell, told) = mpsc::channel();
    let front = front(upstream(move |conn| {
        conn.head();
        conn.send("HTTP/1.1 100 Continue\r\n\r\n");
        let at = Instant::now();
        conn.bytes(4).unwrap();
        tell.send(at.elapsed()).unwrap();
        conn.answer("got it");
    }));
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head().unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert_eq!(client.response().body, "got it");
    assert!(told.recv().unwrap() < Duration::from_millis(900), "its word, and not the time without one");
}

#[test]
fn a_body_that_the_upstream_does_not_want_is_not_asked_for() {
    let (tell, told) = mpsc::channel();
    let front = front(upstream(move |conn| {
        conn.head();
        conn.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
        tell.send(conn.is_closed()).unwrap();
    }));
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status, answer.body.as_str()), (401, "no"), "and no 100 before it");
    assert!(told.recv().unwrap(), "the connection cannot be used again, and nothing of the body came");
}

#[test]
fn a_small_body_is_there_before_an_upstream_is_asked() {
    let (tell, told) = mpsc::channel();
    let front = front(upstream(move |conn| {
        while let Some(head) = conn.head() {
            let head = head.to_lowercase();
            let length = crate::tool::field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
            let body = if head.contains("chunked") { conn.chunk().into_bytes() } else { conn.bytes(length).unwrap() };
            tell.send(String::from_utf8(body).unwrap()).unwrap();
            conn.answer("ok");
        }
    }));
    let nobody_is_asked = || {
        std::thread::sleep(SHORT / 3);
        front.upstreams()[0].requests == 0
    };
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nfir");
    assert!(nobody_is_asked());
    client.send("stl");
    assert_eq!((client.response().body.as_str(), told.recv().unwrap().as_str()), ("ok", "firstl"));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    std::thread::sleep(SHORT / 3);
    assert_eq!(front.upstreams()[0].requests, 1);
    client.send("1\r\nc\r\n0\r\n\r\n");
    assert_eq!(
        (client.response().body.as_str(), told.recv().unwrap().as_str()),
        ("ok", "abc"),
        "its length is known now"
    );
    // A long one goes on before its end.
    let large = "x".repeat(70_000);
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70001\r\n\r\n{large}"));
    eventually("the upstream is asked", || front.upstreams()[0].requests == 3);
    client.send("y");
    assert_eq!(client.response().body, "ok");
    assert_eq!(told.recv().unwrap(), format!("{large}y"));
}

#[test]
fn a_small_body_that_stops_bothers_no_upstream() {
    let front = front_with(mirror(), |settings| settings.timeouts.request_body = SHORT);
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nfir");
    client.response().is_problem(408);
    assert_eq!(front.upstreams()[0].requests, 0);
}

/// What a request with trailers says of its sender is not merged into the head behind the gateway's back.
#[test]
fn trailers_of_requests_pass_without_claims() {
    for buffer in [0, 64 << 10] {
        let (tell, told) = mpsc::channel();
        let front = front_with(
            upstream(move |conn| {
                conn.head();
                assert_eq!(conn.chunk(), "ok");
                assert_eq!(conn.chunk(), "");
                let mut lines = Vec::new();
                while lines.last().is_none_or(|last| last != "\r\n") {
                    lines.push(conn.line());
                }
                tell.send(lines.concat()).unwrap();
                conn.answer("");
            }),
            |settings| settings.limits.buffer_request = buffer,
        );
        let mut client = front.client();
        let names = "x-sum, x-forwarded-for, x_forwarded_for, forwarded, host, authorization";
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: {names}\r\n\r\n2\r\nok\r\n0\r\n"
        ));
        client
            .send("x-sum: 7\r\nx-forwarded-for: 10.0.0.1\r\nx_forwarded_for: 10.0.0.1\r\nforwarded: for=10.0.0.1\r\n");
        client.send("host: b\r\nauthorization: Basic eA==\r\n\r\n");
        assert_eq!(client.response().status, 200);
        assert_eq!(told.recv().unwrap(), "x-sum: 7\r\n\r\n", "{buffer}");
    }
}

#[test]
fn options_goes_one_step_on_and_for_all_of_a_server() {
    let front = front(mirror());
    let mut client = front.client();
    client.send("OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 2\r\n\r\n");
    let seen = client.response().body.to_lowercase();
    assert!(seen.starts_with("options * http/1.1\r\n") && seen.contains("max-forwards: 1\r\n"), "{seen}");
    client.send("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
    let here = client.response();
    assert_eq!((here.status, here.field("allow").is_some()), (204, true));
    client.send("GET / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
    assert_eq!(client.response().status, 200, "of others it says nothing");
    assert_eq!(front.upstreams()[0].requests, 2);
    client.send("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: -1\r\n\r\n");
    client.response().is_problem(400);
}

#[test]
fn an_expectation_is_not_met_when_the_body_is_refused() {
    let front = front_with(mirror(), |settings| settings.limits.body_bytes = Some(3));
    let mut client = front.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    client.response().is_problem(413);
}

#[test]
fn an_upstream_of_http_1_0_ends_its_answer_by_closing() {
    let front = front(upstream(|conn| {
        conn.head();
        conn.send("HTTP/1.0 200 OK\r\n\r\nall of it");
    }));
    let mut client = front.client();
    for _ in 0..2 {
        client.get("/");
        assert_eq!(client.response().body, "all of it");
    }
}

#[tokio::test]
async fn http2_with_prior_knowledge() {
    let front = front(mirror());
    let socket = tokio::net::TcpStream::connect(front.addr()).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let asked = (0..50).map(|n| {
        let mut sender = sender.clone();
        tokio::spawn(async move {
            let request = Request::get(format!("http://api.example/{n}")).body(Empty::<Bytes>::new()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.version(), Version::HTTP_2);
            let head = response.into_body().collect().await.unwrap().to_bytes();
            let head = String::from_utf8(head.to_vec()).unwrap().to_lowercase();
            assert!(head.starts_with(&format!("get /{n} http/1.1\r\n")), "{head}");
            assert!(head.contains("host: api.example\r\n"), "{head}");
            assert!(head.contains("via: 2.0 tollgate\r\n"), "{head}");
        })
    });
    for asked in asked.collect::<Vec<_>>() {
        asked.await.unwrap();
    }
}

/// As browsers do, so that a field which does not change is not sent again.
#[tokio::test]
async fn cookies_that_http2_sends_apart_arrive_together() {
    let front = front(mirror());
    let socket = tokio::net::TcpStream::connect(front.addr()).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://api.example/").header("cookie", "session=s3").header("cookie", "csrf=c7");
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    let head = response.into_body().collect().await.unwrap().to_bytes();
    let head = String::from_utf8(head.to_vec()).unwrap().to_lowercase();
    assert!(head.contains("\r\ncookie: session=s3; csrf=c7\r\n"), "{head}");
    assert_eq!(head.matches("cookie:").count(), 1, "{head}");
}

#[test]
fn sixty_four_clients_at_once() {
    let front = front(mirror());
    let addr = front.addr();
    let clients: Vec<_> = (0..64)
        .map(|n| {
            thread::spawn(move || {
                let mut client = Conn::to(addr);
                for i in 0..20 {
                    client.get(&format!("/{n}/{i}"));
                    assert!(client.response().body.starts_with(&format!("GET /{n}/{i} HTTP/1.1\r\n")));
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    let counts = front.upstreams()[0];
    assert_eq!((counts.requests, counts.failures), (64 * 20, 0));
}
