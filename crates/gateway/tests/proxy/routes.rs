//! Groups of upstreams by host and path, and bounds on connections.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use tollgate_gateway::proxy::settings::{GroupCheck, RouteGroup, Settings};
use tollgate_gateway::values::place::Place;

use crate::tool::{Conn, Front, eventually, front_with, mirror, nowhere, settings, upstream};

/// An upstream that says its name.
fn named(name: &'static str) -> SocketAddr {
    upstream(move |conn| {
        while conn.head().is_some() {
            conn.answer(name);
        }
    })
}

fn route(name: &str, host: Option<&str>, path: Option<&str>, upstreams: &[SocketAddr]) -> RouteGroup {
    RouteGroup {
        name: name.to_owned(),
        places: vec![Place::new(host, path).unwrap()],
        upstreams: upstreams.iter().map(|addr| format!("http://{addr}").parse().unwrap()).collect(),
        check: GroupCheck::Common,
    }
}

#[track_caller]
fn asks(client: &mut Conn, host: &str, path: &str, expected: &str) {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert_eq!(client.response().body, expected, "{host}{path}");
}

fn one_thread(upstreams: &[SocketAddr]) -> Settings {
    let mut settings = settings(upstreams);
    settings.threads = NonZeroUsize::MIN;
    settings
}

#[test]
fn each_request_goes_to_the_group_that_is_for_it() {
    let mut settings = settings(&[named("default")]);
    settings.routes = vec![
        route("a", Some("a.example"), None, &[named("a")]),
        route("api", Some("a.example"), Some("/api/*"), &[named("api")]),
        route("static", None, Some("/static/*"), &[named("static")]),
    ];
    let front = Front::start(settings.clone());
    // One connection for all of them.
    let mut client = front.client();
    asks(&mut client, "a.example", "/", "a");
    asks(&mut client, "A.EXAMPLE:80", "/api/x?y", "api");
    asks(&mut client, "a.example", "/static/x", "a");
    asks(&mut client, "b.example", "/static/x", "static");
    asks(&mut client, "b.example", "/", "default");
    // The target names the host, whatever `Host` says.
    client.send("GET http://a.example/api HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert_eq!(client.response().body, "api");
    // Others may take it for the one or for the other.
    client.send("GET /static/..%2fapi HTTP/1.1\r\nHost: b.example\r\n\r\n");
    client.response().is_problem(400);

    let (mut strict, routes) = (settings.clone(), settings.routes.clone());
    strict.hosts_strict = true;
    front.replace(strict).unwrap();
    asks(&mut client, "a.example", "/", "a");
    client.send("GET /static/x HTTP/1.1\r\nHost: b.example\r\n\r\n");
    client.response().is_problem(421);
    assert_eq!(front.viewer().now().own.iter().find(|(status, _)| *status == 421).unwrap().1, 1);

    let mut no_default = Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)), Vec::new());
    no_default.routes = routes;
    front.replace(no_default).unwrap();
    asks(&mut client, "b.example", "/static/", "static");
    client.send("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
    client.response().is_problem(404);
    // Counts go on over all of that.
    let counted = front.viewer().now().routes;
    assert_eq!(counted, [("a".to_owned(), 3), ("api".to_owned(), 2), ("static".to_owned(), 2)]);
}

#[test]
fn a_group_fails_and_rests_by_itself() {
    let (down, other) = (nowhere(), nowhere());
    let mut settings = one_thread(&[down]);
    settings.health.failures = 1;
    settings.health.rest = Duration::from_secs(600);
    settings.routes = vec![
        route("half", None, Some("/half/*"), &[other, named("half")]),
        route("none", None, Some("/none/*"), &[down, other]),
    ];
    let front = Front::start(settings);
    let mut client = front.client();
    for _ in 0..4 {
        asks(&mut client, "a", "/half/x", "half");
    }
    // One server, one health: it rests for the second group as well, which has never asked it.
    client.get("/none/x");
    client.response().is_problem(502);
    client.get("/none/x");
    client.response().is_problem(503);
    // A lone one never rests, though it is one of several elsewhere.
    client.get("/");
    client.response().is_problem(502);
    let seen = front.viewer().now().upstreams;
    let [default, second, well] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((&default.routes[..], default.counts.requests), (&["none".to_owned()][..], 2));
    assert_eq!((&second.routes[..], second.counts.requests), (&["half".to_owned(), "none".to_owned()][..], 1));
    assert_eq!((&well.routes[..], well.counts.requests), (&["half".to_owned()][..], 4));
}

#[test]
fn each_group_has_a_health_check_of_its_own_or_none() {
    // Answers one path well, and all else not.
    let well_at = |path: &'static str| {
        upstream(move |conn| {
            while let Some(head) = conn.head() {
                let status = if head.starts_with(&format!("GET {path} ")) { 200 } else { 404 };
                conn.send(format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n"));
            }
        })
    };
    let mut settings = settings(&[well_at("/common"), well_at("/other")]);
    settings.health.path = Some("/common".parse().unwrap());
    settings.health.every = Duration::from_millis(20);
    settings.health.failures = 1;
    settings.routes = vec![
        route("own", None, Some("/own"), &[well_at("/other"), well_at("/common")]),
        route("none", None, Some("/none"), &[well_at("/x"), well_at("/x")]),
    ];
    settings.routes[0].check = GroupCheck::Of("/other".parse().unwrap());
    settings.routes[1].check = GroupCheck::Nothing;
    let front = Front::start(settings.clone());
    let resting = || front.upstreams().iter().map(|one| one.is_resting).collect::<Vec<_>>();
    eventually("those that are not well rest", || resting() == [false, true, false, true, false, false]);
    // What is not checked any more is not left alone for what was found before.
    settings.health.path = None;
    settings.routes[0].check = GroupCheck::Nothing;
    front.replace(settings).unwrap();
    assert_eq!(resting(), [false; 6]);
}

#[test]
fn the_equals_of_each_group_take_turns() {
    let mut settings = one_thread(&[mirror(), mirror()]);
    settings.routes = vec![route("r", None, Some("/r"), &[mirror(), mirror()])];
    let front = Front::start(settings);
    let mut client = front.client();
    for _ in 0..10 {
        for path in ["/", "/r"] {
            client.get(path);
            assert_eq!(client.response().status, 200);
        }
    }
    assert_eq!(front.upstreams().iter().map(|counts| counts.requests).collect::<Vec<_>>(), [5; 4]);
}

/// Says that it was asked, and answers once the request's connection sends a word more.
fn slow() -> SocketAddr {
    upstream(|conn| {
        while conn.head().is_some() {
            let _ = conn.bytes(2);
            conn.answer("slow");
        }
    })
}

const HELD: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 2\r\n\r\n";

#[test]
fn an_upstream_has_no_more_connections_in_use_than_it_may() {
    let mut settings = settings(&[slow(), slow()]);
    settings.limits.upstream_connections = NonZeroU64::new(2);
    let front = Front::start(settings);
    let mut held: Vec<Conn> = (1..=4)
        .map(|count| {
            let mut client = front.client();
            client.send(HELD);
            eventually("it is in flight", || front.upstreams().iter().map(|one| one.in_flight).sum::<u64>() == count);
            client
        })
        .collect();
    assert!(front.upstreams().iter().all(|one| one.in_flight == 2), "{:?}", front.upstreams());
    let mut fifth = front.client();
    fifth.get("/");
    fifth.response().is_problem(503);
    let counts = front.upstreams();
    assert!(counts.iter().all(|one| one.requests == 2 && one.failures == 0 && !one.is_resting), "{counts:?}");
    held[0].send("ok");
    assert_eq!(held[0].response().body, "slow");
    fifth.send(HELD);
    fifth.send("ok");
    assert_eq!(fifth.response().body, "slow");
}

#[test]
fn a_client_has_no_more_connections_than_it_may() {
    let front = front_with(mirror(), |settings| settings.limits.client_connections = NonZeroUsize::new(2));
    let is_served = |client: &mut Conn| {
        client.get("/");
        client.response().status == 200
    };
    let mut first = front.client();
    // Also one that has not said anything.
    let second = front.client();
    assert!(is_served(&mut first));
    eventually("both are counted", || front.viewer().now().connections == 2);
    assert!(front.client().is_closed());
    assert_eq!(front.viewer().now().crowding, 1);
    assert!(is_served(&mut first));
    drop(second);
    eventually("it has gone", || front.viewer().now().connections == 1);
    assert!(is_served(&mut front.client()));
}

#[test]
fn a_trusted_proxy_is_no_client_and_its_clients_are() {
    let trusted = || vec!["127.0.0.0/8".parse().unwrap()];
    let front = front_with(mirror(), |settings| {
        settings.limits.client_connections = NonZeroUsize::new(1);
        settings.forwarding.trusted = trusted();
    });
    let mut many: Vec<Conn> = (0..5).map(|_| front.client()).collect();
    for client in &mut many {
        client.get("/");
        assert_eq!(client.response().status, 200);
    }

    let front = front_with(mirror(), |settings| {
        settings.limits.client_connections = NonZeroUsize::new(1);
        settings.listeners[0].proxy_protocol = Some(trusted());
    });
    let from = |client: &str| {
        let mut conn = front.client();
        conn.send(format!("PROXY TCP4 {client} 127.0.0.1 5000 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        conn
    };
    let mut first = from("192.0.2.1");
    assert_eq!(first.response().status, 200);
    assert!(from("192.0.2.1").is_closed());
    assert_eq!(from("192.0.2.2").response().status, 200);
}
