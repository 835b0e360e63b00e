//! Stopping without losing what is in flight.

use std::net::TcpStream;
use std::sync::{Mutex, mpsc};

use tokio::time::Instant;

use crate::tool::{PATIENCE, SHORT, eventually, front, front_with, mirror, upstream};

#[test]
fn what_is_in_flight_is_finished() {
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let front = front(upstream(move |conn| {
        conn.head();
        tell.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        conn.answer("finished");
    }));
    let mut idle = front.client();
    let mut client = front.client();
    client.get("/");
    told.recv().unwrap();
    front.stop();
    assert!(idle.is_closed());
    let addr = front.addr();
    eventually("nobody is let in", || TcpStream::connect(addr).is_err());
    go.send(()).unwrap();
    let answer = client.response();
    assert_eq!(answer.body, "finished");
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(client.is_closed());
    front.join();
}

#[test]
fn the_deadline_cuts_off_what_does_not_finish() {
    let front = front_with(
        upstream(|conn| {
            conn.head();
            conn.is_closed();
        }),
        |settings| settings.timeouts.shutdown = SHORT,
    );
    let mut client = front.client();
    client.get("/");
    let start = Instant::now();
    eventually("asked", || front.upstreams().iter().any(|upstream| upstream.in_flight == 1));
    front.stop();
    assert!(client.is_closed());
    front.join();
    assert!(start.elapsed() >= SHORT && start.elapsed() < PATIENCE);
}

#[test]
fn used_and_idle_connections_are_closed_at_once() {
    let front = front(mirror());
    let mut clients: Vec<_> = (0..20).map(|_| front.client()).collect();
    for client in &mut clients {
        client.get("/");
        client.response();
    }
    let start = Instant::now();
    front.stop();
    front.join();
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    for mut client in clients {
        assert!(client.is_closed());
    }
}

#[test]
fn aborting_waits_for_nothing() {
    let front = front(upstream(|conn| {
        conn.head();
        conn.is_closed();
    }));
    let mut client = front.client();
    client.get("/");
    eventually("asked", || front.upstreams().iter().any(|upstream| upstream.in_flight == 1));
    front.stop();
    front.abort();
    assert!(client.is_closed());
    front.join();
}
