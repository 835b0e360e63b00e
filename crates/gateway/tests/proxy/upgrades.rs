//! Connections that become something else than HTTP.

use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tollgate_http::Policy;

use crate::tool::{Front, PATIENCE, SHORT, eventually, front, front_with, mirror, upstream};

const ASK: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

#[tokio::test]
async fn a_websocket_works_both_ways() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(socket).await.unwrap();
        // The server speaks first, and later answers.
        socket.send(Message::text("hello")).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                socket.send(message).await.unwrap();
            }
        }
    });
    let front = front(addr);
    let both = async {
        let (mut socket, response) =
            tokio_tungstenite::connect_async(format!("ws://{}/chat", front.addr())).await.unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
        for size in [1, 1_000, 1_000_000] {
            let message = Message::text("x".repeat(size));
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    };
    timeout(PATIENCE, both).await.unwrap();
    eventually("nothing in flight", || front.upstreams().iter().all(|upstream| upstream.in_flight == 0));
}

/// An upstream that agrees to a WebSocket and then repeats four bytes in capitals: the gateway only copies.
fn shouter() -> std::net::SocketAddr {
    upstream(|conn| {
        let head = conn.head().unwrap().to_lowercase();
        assert!(head.contains("upgrade: websocket\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        while let Ok(bytes) = conn.bytes(4) {
            conn.send(bytes.to_ascii_uppercase());
        }
    })
}

#[test]
fn bytes_sent_along_with_the_request_are_not_lost() {
    let front = front(shouter());
    let mut client = front.client();
    client.send(format!("{ASK}earl"));
    let answer = client.head().unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 101 ") && answer.contains("upgrade: websocket\r\n"), "{answer}");
    assert_eq!(client.bytes(4).unwrap(), b"EARL");
    client.send("late");
    assert_eq!(client.bytes(4).unwrap(), b"LATE");
    client.finish_sending();
    assert!(client.is_closed());
}

#[test]
fn a_websocket_is_a_connection_while_it_lasts() {
    let front = front_with(shouter(), |settings| settings.limits.client_connections = NonZeroUsize::new(2));
    let open = || {
        let mut client = front.client();
        client.send(ASK);
        client.head().map(|_| client)
    };
    let (first, second) = (open().unwrap(), open().unwrap());
    assert_eq!(front.viewer().now().connections, 2);
    assert!(front.client().is_closed());
    drop(first);
    eventually("one has gone", || front.viewer().now().connections == 1);
    let mut third = open().unwrap();
    third.send("more");
    assert_eq!(third.bytes(4).unwrap(), b"MORE");
    drop((second, third));
    eventually("all have gone", || front.viewer().now().connections == 0);
}

#[test]
fn an_upgraded_connection_on_which_nothing_moves_is_given_up() {
    let front = front_with(shouter(), |settings| {
        settings.timeouts.upgraded = SHORT;
        // Those of HTTP no longer count.
        settings.timeouts.idle = Duration::from_millis(50);
    });
    let mut client = front.client();
    client.send(ASK);
    client.head().unwrap();
    for _ in 0..5 {
        std::thread::sleep(SHORT / 3);
        client.send("ping");
        assert_eq!(client.bytes(4).unwrap(), b"PING");
    }
    assert!(client.is_closed());
}

#[test]
fn an_upgrade_that_is_declined_is_an_answer_like_any_other() {
    let front = front(mirror());
    let mut client = front.client();
    for _ in 0..2 {
        client.send(ASK);
        assert_eq!(client.response().status, 200);
    }
}

/// What one field says, and what the upstream is asked then.
#[test]
fn nothing_but_a_websocket_is_asked_of_the_upstream() {
    let front = front(mirror());
    for (asked, seen) in [
        ("Connection: Upgrade\r\nUpgrade: websocket", true),
        ("Connection: upgrade, keep-alive\r\nUPGRADE: WebSocket", true),
        ("Connection: Upgrade\r\nUpgrade: h2c, websocket", true),
        ("Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket", true),
        ("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk", false),
        ("Connection: Upgrade\r\nUpgrade: h2c", false),
        ("Connection: Upgrade\r\nUpgrade: H2c\r\nUpgrade: TLS/1.0", false),
        ("Connection: Upgrade\r\nUpgrade: websocket/13", false),
        ("Connection: close\r\nUpgrade: websocket", false),
    ] {
        let mut client = front.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{asked}\r\n\r\n"));
        let head = client.response().body.to_lowercase();
        assert_eq!(head.contains("\r\nupgrade: websocket\r\n"), seen, "{asked}: {head}");
        assert_eq!(head.contains("\r\nconnection: upgrade\r\n"), seen, "{asked}: {head}");
        for gone in ["h2c", "http2-settings", "tls", "websocket/13"] {
            assert!(!head.contains(gone), "{asked}: {head}");
        }
    }
    let mut client = front.client();
    client.send(ASK.replacen("GET", "POST", 1).replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"));
    let head = client.response().body.to_lowercase();
    assert!(!head.contains("upgrade"), "{head}");
}

#[test]
fn an_upstream_that_changes_to_what_nobody_asked_for_is_502() {
    const PLAIN: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const H2C: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    for (asked, agreed) in [
        (PLAIN, "Upgrade: websocket\r\n"),
        (H2C, "Upgrade: h2c\r\n"),
        (H2C, "Upgrade: websocket\r\n"),
        (ASK, "Upgrade: h2c\r\n"),
        (ASK, "Upgrade: websocket, h2c\r\n"),
        (ASK, "Upgrade: websocket\r\nUpgrade: h2c\r\n"),
        (ASK, ""),
    ] {
        let front = front(upstream(move |conn| {
            conn.head();
            conn.send(format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{agreed}\r\nPRI"));
            conn.is_closed();
        }));
        let mut client = front.client();
        client.send(asked);
        client.response().is_problem(502);
    }
}

#[test]
fn stopping_cuts_an_upgraded_connection_at_the_deadline() {
    let front = front_with(shouter(), |settings| settings.timeouts.shutdown = SHORT);
    let mut client = front.client();
    client.send(ASK);
    client.head().unwrap();
    front.stop();
    client.send("last");
    assert_eq!(client.bytes(4).unwrap(), b"LAST");
    assert!(client.is_closed());
    front.join();
}

#[test]
fn a_websocket_is_in_flight_while_it_lasts() {
    let policy = Policy::new("two", "1000/second").unwrap().concurrency(2);
    let front = Front::limited(shouter(), policy);
    let ask = || {
        let mut client = front.client();
        client.send(ASK);
        let is_open = client.head().unwrap().starts_with("HTTP/1.1 101 ");
        (client, is_open)
    };
    let (first, second) = (ask(), ask());
    assert!(first.1 && second.1);
    assert!(!ask().1);
    drop(first);
    eventually("a place is free", || ask().1);
}
