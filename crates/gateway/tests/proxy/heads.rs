//! What the upstream and the client see of each other's heads.

use crate::tool::{front, front_with, mirror, upstream};

/// What becomes of one request field on the way to the upstream.
#[test]
fn request_fields_row_by_row() {
    let rows: &[(&str, &str, Option<&str>)] = &[
        ("Accept: text/plain", "accept", Some("text/plain")),
        ("Keep-Alive: timeout=5", "keep-alive", None),
        ("Proxy-Connection: keep-alive", "proxy-connection", None),
        ("Proxy-Authorization: Basic eA==", "proxy-authorization", None),
        ("TE: gzip", "te", None),
        ("TE: trailers, gzip", "te", Some("trailers")),
        ("Connection: close", "connection", None),
        ("Connection: X-Private\r\nX-Private: 1", "x-private", None),
        ("Connection: keep-alive, x-private\r\nX-PRIVATE: 1", "x-private", None),
        ("Connection: X-Forwarded-For", "x-forwarded-for", Some("127.0.0.1")),
        ("Connection: Host", "host", Some("api.example")),
        ("Upgrade: websocket", "upgrade", None),
        ("Trailer: X-Sum", "trailer", Some("X-Sum")),
        ("Authorization: Bearer x", "authorization", Some("Bearer x")),
        ("X-Forwarded-For: 10.9.9.9", "x-forwarded-for", Some("127.0.0.1")),
        ("X-Forwarded-Proto: https", "x-forwarded-proto", Some("http")),
        ("X-Forwarded-Host: other.example", "x-forwarded-host", Some("api.example")),
        ("Forwarded: for=10.9.9.9", "forwarded", None),
        ("X_Forwarded_For: 10.9.9.9", "x_forwarded_for", None),
        ("x-forwarded_proto: https", "x-forwarded_proto", None),
        ("X_Real_IP: 10.9.9.9", "x_real_ip", None),
        ("Api_Key: 1", "api_key", None),
        ("X.Forwarded.For: 10.9.9.9", "x.forwarded.for", None),
        ("Via: 1.1 before", "via", Some("1.1 before")),
        ("Accept: */*", "via", Some("1.1 tollgate")),
    ];
    let front = front(mirror());
    for (sent, name, seen) in rows {
        let mut client = front.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: api.example\r\n{sent}\r\n\r\n"));
        let answer = client.response();
        assert_eq!(crate::tool::field(&answer.body, name), *seen, "{sent}: {}", answer.body);
    }
}

#[test]
fn underscores_pass_where_they_are_wanted_and_cannot_be_mistaken() {
    let front = front_with(mirror(), |settings| settings.forwarding.underscores = true);
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nApi_Key: 1\r\nX_Forwarded_For: 10.9.9.9\r\nTransfer_Encoding: x\r\n\r\n");
    let head = client.response().body.to_lowercase();
    assert!(head.contains("api_key: 1\r\n"), "{head}");
    assert!(!head.contains("x_forwarded_for") && !head.contains("transfer_encoding"), "{head}");
}

#[test]
fn response_fields_of_the_other_hop_are_removed() {
    let front = front(upstream(|conn| {
        while conn.head().is_some() {
            conn.send(
                "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n\
                 Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nServer: them\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
                 Content-Length: 2\r\n\r\nok",
            );
        }
    }));
    let mut client = front.client();
    client.get("/");
    let answer = client.response();
    for gone in ["connection", "x-hop", "keep-alive", "proxy-connection"] {
        assert_eq!(answer.field(gone), None, "{}", answer.head);
    }
    assert!(answer.head.contains("set-cookie: a=1\r\nset-cookie: b=2\r\n"), "{}", answer.head);
    assert_eq!(answer.field("server"), Some("them"));
    assert_eq!(answer.field("date"), Some("thu, 01 jan 2026 00:00:00 gmt"));
}

#[test]
fn a_trusted_peer_is_appended() {
    let front = front_with(mirror(), |settings| settings.forwarding.trusted = vec!["127.0.0.0/8".parse().unwrap()]);
    let mut client = front.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\r\n");
    let head = client.response().body.to_lowercase();
    assert!(head.contains("x-forwarded-for: 192.0.2.1, 127.0.0.1\r\n"), "{head}");
    assert!(head.contains("x-forwarded-proto: https\r\n"), "{head}");
}

#[test]
fn the_upstream_can_have_its_own_host() {
    let upstream = mirror();
    let front = front_with(upstream, |settings| settings.forwarding.keep_host = false);
    let mut client = front.client();
    client.get("/");
    let head = client.response().body.to_lowercase();
    assert!(head.contains(&format!("host: {upstream}\r\n")), "{head}");
    assert!(head.contains("x-forwarded-host: api.example\r\n"), "{head}");
}

#[test]
fn an_absolute_target_names_the_host() {
    let front = front(mirror());
    let mut client = front.client();
    client.send("GET http://right.example/a?b HTTP/1.1\r\nHost: wrong.example\r\n\r\n");
    let head = client.response().body;
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    assert_eq!(crate::tool::field(&head, "host"), Some("right.example"));
}

#[test]
fn without_a_host_the_upstream_gets_its_own() {
    let upstream = mirror();
    let front = front(upstream);
    let mut client = front.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let head = client.response().body;
    assert_eq!(crate::tool::field(&head, "host"), Some(upstream.to_string().as_str()));
}
