//! Several upstreams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tollgate_gateway::proxy::settings::Settings;

use crate::tool::{Conn, Front, eventually, mirror, nowhere, settings, upstream};

#[test]
fn equals_share_the_work() {
    let front = Front::start(settings(&[mirror(), mirror(), mirror()]));
    let mut client = front.client();
    for _ in 0..30 {
        client.get("/");
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(front.upstreams().iter().map(|counts| counts.requests).collect::<Vec<_>>(), [10, 10, 10]);
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
    let [down, up] = front.upstreams()[..] else { panic!() };
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
    // Its own from the start, and listened on later.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let down = socket.local_addr().unwrap().as_socket().unwrap();
    let mut settings = settings(&[down, mirror()]);
    settings.health.failures = 1;
    settings.health.rest = Duration::from_millis(50);
    let front = Front::start(settings);
    let mut client = front.client();
    client.get("/");
    assert_eq!(client.response().status, 200);
    socket.listen(16).unwrap();
    let listener = std::net::TcpListener::from(socket);
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            let mut conn = crate::tool::Conn::new(socket);
            while conn.head().is_some() {
                conn.answer("back");
            }
        }
    });
    eventually("it is back", || {
        client.get("/");
        client.response().body == "back"
    });
    assert!(!front.upstreams()[0].is_resting);
}

/// Two upstreams, the first of which answers its health check as it is told.
#[test]
fn one_that_is_not_well_is_left_alone_until_it_is() {
    let (status, asked) = (Arc::new(AtomicU16::new(503)), Arc::new(AtomicU16::new(0)));
    let (said, heard) = (Arc::clone(&status), Arc::clone(&asked));
    let first = upstream(move |conn| {
        while let Some(head) = conn.head() {
            let status = if head.starts_with("GET /well HTTP/1.1\r\n") {
                heard.fetch_add(1, SeqCst);
                said.load(SeqCst)
            } else {
                200
            };
            conn.send(format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let mut settings = settings(&[first, mirror()]);
    settings.health.path = Some("/well".parse().unwrap());
    settings.health.every = Duration::from_millis(20);
    settings.health.rest = Duration::from_secs(600);
    let front = Front::start(settings);
    eventually("it is left alone", || front.upstreams()[0].is_resting);
    assert!(asked.load(SeqCst) >= 3, "the third is the one that counts");
    let before = front.upstreams()[0].requests;
    let mut client = front.client();
    for _ in 0..10 {
        client.get("/");
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(front.upstreams()[0].requests, before, "it answers all else, and is not asked");
    status.store(200, SeqCst);
    eventually("it is back", || !front.upstreams()[0].is_resting);
    for _ in 0..4 {
        client.get("/");
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(front.upstreams()[0].requests, before + 2);
}

/// How many connections an upstream sees for three requests that are some way apart.
fn connections(head: &'static str, apart: Duration, adjust: impl FnOnce(&mut Settings)) -> u16 {
    let count = Arc::new(AtomicU16::new(0));
    let counted = Arc::clone(&count);
    let upstream = upstream(move |conn| {
        counted.fetch_add(1, SeqCst);
        while conn.head().is_some() {
            conn.send(format!("HTTP/1.1 200 OK\r\n{head}Content-Length: 0\r\n\r\n"));
        }
    });
    let mut settings = settings(&[upstream]);
    settings.threads = std::num::NonZeroUsize::MIN;
    adjust(&mut settings);
    let front = Front::start(settings);
    let mut client = front.client();
    for _ in 0..3 {
        client.get("/");
        assert_eq!(client.response().status, 200);
        std::thread::sleep(apart);
    }
    count.load(SeqCst)
}

#[test]
fn connections_are_kept_for_as_long_as_the_upstream_says_and_no_longer() {
    let apart = Duration::from_millis(40);
    let plain = |_: &mut Settings| {};
    assert_eq!(connections("", apart, plain), 1);
    assert_eq!(connections("Keep-Alive: timeout=5, max=100\r\n", apart, plain), 1);
    assert_eq!(connections("Keep-Alive: max=100, timeout=1\r\n", apart, plain), 3, "a second is not enough to be sure");
    assert_eq!(connections("Keep-Alive: timeout=x\r\n", apart, plain), 1);
    assert_eq!(connections("", apart, |settings| settings.timeouts.pooled = Duration::from_millis(10)), 3);
    assert_eq!(connections("", apart, |settings| settings.timeouts.upstream_age = Duration::ZERO), 3);
    let defaults = Settings::new(front_addr(), Vec::new()).timeouts;
    assert!(defaults.pooled < Duration::from_secs(4), "common servers close after 4 or 5 s");
}

fn front_addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// An upstream that reads a request and hangs up.
fn broken() -> SocketAddr {
    upstream(|conn| {
        conn.head();
    })
}

fn total(front: &Front) -> u64 {
    front.upstreams().iter().map(|counts| counts.requests).sum()
}

#[test]
fn a_request_that_was_sent_is_sent_once_more_at_the_most_and_only_if_that_does_no_harm() {
    const BODY: &str = "Content-Length: 2\r\n\r\nok";
    for (request, sent) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 2),
        ("DELETE /1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 2),
        ("PUT /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(), 2),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(), 1),
        ("PATCH /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".to_owned(), 1),
        ("BREW /1 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 1),
        (format!("PUT /1 HTTP/1.1\r\nHost: a\r\n{BODY}"), 1),
        (format!("GET /1 HTTP/1.1\r\nHost: a\r\n{BODY}"), 1),
    ] {
        let front = Front::start(settings(&[broken(), broken(), broken()]));
        let mut client = front.client();
        client.send(&request);
        client.response().is_problem(502);
        assert_eq!(total(&front), sent, "{request}");
        assert_eq!(front.upstreams().iter().map(|counts| counts.failures).sum::<u64>(), sent, "{request}");
    }
}

#[test]
fn of_an_answer_that_has_begun_there_is_no_second() {
    for beginning in ["HTTP", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 103 Early Hints\r\n\r\n", "SSH-2.0-x\r\n"] {
        let half = || {
            upstream(move |conn| {
                conn.head();
                conn.send(beginning);
            })
        };
        let front = Front::start(settings(&[half(), half()]));
        let mut client = front.client();
        client.get("/");
        client.response().is_problem(502);
        assert_eq!(total(&front), 1, "{beginning}");
    }
}

/// It is done with each request at once, and has the fewest in flight.
#[test]
fn one_that_hangs_up_gets_no_more_than_a_few() {
    let well = || {
        upstream(|conn| {
            while conn.head().is_some() {
                std::thread::sleep(Duration::from_millis(20));
                conn.answer("well");
            }
        })
    };
    let reads_nothing = || upstream(|_| {});
    for ill in [broken, reads_nothing] {
        let mut settings = settings(&[ill(), well()]);
        settings.health.rest = Duration::from_secs(600);
        let front = Front::start(settings);
        let addr = front.addr();
        let ask = |request: &'static str| {
            let clients: Vec<_> = (0..6)
                .map(|_| {
                    std::thread::spawn(move || {
                        let mut client = Conn::to(addr);
                        let ask = |_| {
                            client.send(request);
                            client.response().status
                        };
                        (0..10).map(ask).filter(|status| *status != 200).count()
                    })
                })
                .collect();
            clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
        };
        assert_eq!(ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), 0, "asked elsewhere");
        let [ill, well] = front.upstreams()[..] else { panic!() };
        // Three in a row, and what was under way at the same time.
        assert!((3..=9).contains(&ill.failures) && ill.is_resting, "{ill:?}");
        assert!(!well.is_resting && well.failures == 0, "{well:?}");
        assert_eq!(ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"), 0, "left alone by now");
    }
}

#[test]
fn where_none_answers_all_are_asked_on() {
    let mut settings = settings(&[broken(), broken()]);
    settings.health.failures = 1;
    let front = Front::start(settings);
    let mut client = front.client();
    for _ in 0..10 {
        client.get("/");
        client.response().is_problem(502);
    }
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
    eventually("one hangs", || front.upstreams()[0].in_flight == 1);
    for _ in 0..10 {
        let mut client = front.client();
        client.get("/");
        assert_eq!(client.response().status, 200);
    }
    assert_eq!(front.upstreams()[0].requests, 1);
}
