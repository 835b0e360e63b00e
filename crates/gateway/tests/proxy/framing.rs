//! Requests whose end two servers could see in different places: none of them reaches the upstream as a second one.

use std::sync::{Arc, Mutex};

use crate::tool::{Front, SHORT, front, upstream};

/// A gateway, and every byte that its upstream got.
fn recorded() -> (Front, Arc<Mutex<String>>) {
    let seen = Arc::new(Mutex::new(String::new()));
    let record = Arc::clone(&seen);
    let front = front(upstream(move |conn| {
        while let Some(head) = conn.head() {
            record.lock().unwrap().push_str(&head);
            if head.to_lowercase().contains("chunked") {
                while let Ok(byte) = conn.bytes(1) {
                    record.lock().unwrap().push(char::from(byte[0]));
                    if record.lock().unwrap().ends_with("\r\n0\r\n\r\n") {
                        break;
                    }
                }
            } else if let Some(length) = crate::tool::field(&head, "content-length") {
                let body = conn.bytes(length.parse().unwrap()).unwrap_or_default();
                record.lock().unwrap().push_str(&String::from_utf8_lossy(&body));
            }
            conn.answer("ok");
        }
    }));
    (front, seen)
}

#[test]
fn what_is_malformed_is_400_and_goes_nowhere() {
    let body = "\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for request in [
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 5{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 4{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nContent-Length: 3{body}"),
        format!("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\n Content-Length: 4{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nX: a\rContent-Length: 4{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nX: \0{body}"),
        format!("POST / HTTP/1.1\r\nContent-Length: 4{body}"),
        format!("POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 4{body}"),
        format!("POST / HTTP/1.1\r\nHost: a b\r\nContent-Length: 4{body}"),
        format!("POST /a b HTTP/1.1\r\nHost: a\r\nContent-Length: 4{body}"),
        format!("GET / HTTP/3.0\r\nHost: a{body}"),
        format!("GE[T / HTTP/1.1\r\nHost: a{body}"),
        format!("hello{body}"),
    ] {
        let (front, seen) = recorded();
        let mut client = front.client();
        client.send(&request);
        let answer = client.response();
        assert_eq!(answer.status, 400, "{request:?}: {answer:?}");
        assert_eq!(*seen.lock().unwrap(), "", "{request:?}");
        // A refusal of our own keeps what follows apart; anything else closes.
        let requests = front.upstreams().iter().map(|upstream| upstream.requests).sum::<u64>();
        assert!(requests <= 1, "{request:?}");
    }
}

/// hyper obeys RFC 9112, 6.3: the coding wins, the length is not passed on, and the connection ends afterwards.
#[test]
fn a_length_beside_a_coding_is_forgotten_and_ends_the_connection() {
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\nContent-Length: 4",
    ] {
        let (front, seen) = recorded();
        let mut client = front.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n2\r\nok\r\n0\r\n\r\n"));
        client.send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.response();
        assert!(matches!(answer.status, 200 | 400), "{fields}: {answer:?}");
        assert!(client.is_closed(), "{fields}");
        let seen = seen.lock().unwrap().to_lowercase();
        assert!(!seen.contains("content-length: 4") && !seen.contains("smuggled"), "{fields}: {seen}");
        // Its body was collected, and what goes on has the length that it turned out to have.
        assert!(matches!(answer.status, 400) || seen.contains("content-length: 2\r\n\r\nok"), "{fields}: {seen}");
    }
}

#[test]
fn a_chunk_that_is_none_is_not_passed_on() {
    for chunks in
        ["x\r\nok\r\n", "-1\r\nok\r\n", "2;\nok\r\n", "2\r\nokay\r\n", "fffffffffffffffff\r\nok\r\n", " 2\r\nok\r\n"]
    {
        let (front, seen) = recorded();
        let mut client = front.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"));
        client.send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.response();
        assert_eq!(answer.status, 400, "{chunks:?}: {answer:?}");
        assert!(client.is_closed(), "{chunks:?}");
        let seen = seen.lock().unwrap();
        assert!(!seen.contains("smuggled") && !seen.ends_with("0\r\n\r\n"), "{chunks:?}: {seen}");
    }
}

#[test]
fn what_follows_a_body_is_a_request_of_its_own() {
    let (front, seen) = recorded();
    let mut client = front.client();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nGET /2 HTGET /3 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.response().status, 200);
    assert_eq!(client.response().status, 200);
    assert!(client.is_quiet(SHORT));
    let seen = seen.lock().unwrap();
    assert!(seen.contains("\r\n\r\nGET /2 HTGET /3 HTTP/1.1\r\n"), "{seen}");
}

#[test]
fn a_request_in_a_coding_that_is_not_known_goes_nowhere() {
    let (front, seen) = recorded();
    for coding in ["gzip, chunked", "chunked, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
        let mut client = front.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n1\r\na\r\n0\r\n\r\n"));
        let status = client.response().status;
        assert!([400, 501].contains(&status), "{coding}: {status}");
    }
    assert_eq!(*seen.lock().unwrap(), "");
}

#[test]
fn an_answer_in_a_coding_that_is_not_known_is_502() {
    let front = front(upstream(|conn| {
        conn.head();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n");
    }));
    let mut client = front.client();
    client.get("/");
    client.response().is_problem(502);
}
