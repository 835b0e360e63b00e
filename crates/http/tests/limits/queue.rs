//! Leaky queues: requests are delayed before they are refused.

use std::time::Duration;

use http::Request;
use tokio::time::Instant;
use tollgate::Algorithm;
use tollgate_http::{Policy, Precedence};

use crate::app::{App, at, from, get, policy};

#[tokio::test(start_paused = true)]
async fn a_queue_delays() {
    let slow = policy("slow", "1/second").algorithm(Algorithm::LeakyQueue).burst(2);
    let app = App::of([slow, policy("all", "4/hour")]);
    let began = tokio::time::Instant::now();
    let (a, b, c, d) = tokio::join!(app.send(get("/")), app.send(get("/")), app.send(get("/")), app.send(get("/")));
    assert_eq!([a, b, c, d].map(|answer| answer.status().as_u16()), [200, 200, 200, 429]);
    assert_eq!(began.elapsed().as_secs(), 2, "one at once, two a second apart");
    app.clock.advance(Duration::from_secs(60));
    // The one that found the queue full took nothing from the hour.
    assert_eq!(app.statuses([get("/"), get("/")]).await, [200, 429]);
}

#[tokio::test(start_paused = true)]
async fn of_two_queues_the_longer_counts_and_a_full_one_takes_no_turn_in_the_other() {
    let queue = |name, rate: &str, burst| policy(name, rate).algorithm(Algorithm::LeakyQueue).burst(burst);
    let app = App::of([queue("long", "1 per 10 seconds", 4), queue("short", "1/second", 2)]);
    let began = tokio::time::Instant::now();
    let (a, b, c, d, e) = tokio::join!(
        app.send(get("/")),
        app.send(get("/")),
        app.send(get("/")),
        app.send(get("/")),
        app.send(get("/"))
    );
    assert_eq!([a, b, c, d, e].map(|answer| answer.status().as_u16()), [200, 200, 200, 429, 429]);
    assert_eq!(began.elapsed().as_secs(), 20);
    app.clock.advance(Duration::from_secs(20));
    // Two turns of "long" are still to be had at once: the refused have given theirs back.
    let again = tokio::time::Instant::now();
    assert_eq!(app.statuses([get("/")]).await, [200]);
    assert_eq!(again.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn who_has_been_asked_for_a_key_waits_too() {
    let slow = policy("slow", "1/second").algorithm(Algorithm::LeakyQueue).burst(2);
    let app = App::of([slow.key_by_async(|_| async { Some("key".to_owned()) })]);
    let began = tokio::time::Instant::now();
    let (a, b) = tokio::join!(app.send(get("/")), app.send(get("/")));
    assert_eq!([a, b].map(|answer| answer.status().as_u16()), [200, 200]);
    assert_eq!(began.elapsed().as_secs(), 1);
}

/// The milliseconds at which requests that come at once are answered, in that order; `None` for one that is refused.
async fn instants(app: &App, requests: impl IntoIterator<Item = Request<()>>) -> Vec<Option<u128>> {
    let began = Instant::now();
    let tasks: Vec<_> = requests
        .into_iter()
        .map(|request| {
            let app = app.clone();
            tokio::spawn(async move {
                let is_admitted = app.send(request).await.status() == 200;
                is_admitted.then(|| began.elapsed().as_millis())
            })
        })
        .collect();
    let mut instants = Vec::new();
    for task in tasks {
        instants.push(task.await.unwrap());
    }
    instants
}

fn queue(name: &str, rate: &str, burst: u64) -> Policy {
    policy(name, rate).algorithm(Algorithm::LeakyQueue).burst(burst).precedence(Precedence::Always)
}

/// Those that go, in order, are as far apart as `pace`.
#[track_caller]
fn assert_paced(instants: impl IntoIterator<Item = Option<u128>>, pace: u128) {
    let mut sorted: Vec<u128> = instants.into_iter().flatten().collect();
    sorted.sort_unstable();
    assert!(sorted.windows(2).all(|pair| pair[1] - pair[0] >= pace), "{pace}: {sorted:?}");
}

/// Many clients fill the line that all share. One client's requests get theirs at the end of it, when their own line has
/// long promised them other instants.
#[tokio::test(start_paused = true)]
async fn of_two_queues_both_are_kept_at_the_instant_at_which_a_request_goes() {
    let slow = || queue("slow", "1/second", 50).on(at("/slow"));
    let all = || queue("all", "25/second", 500).key("all".parse().unwrap());
    for policies in [[slow(), all()], [all(), slow()]] {
        let app = App::of(policies);
        let others = (0..125).map(|client| from(&format!("198.51.100.{client}"), "/"));
        let client = (0..5).map(|_| get("/slow"));
        let instants = instants(&app, others.chain(client)).await;
        assert!(instants.iter().all(Option::is_some), "{instants:?}");
        assert_paced(instants.iter().copied(), 40);
        assert_paced(instants[125..].iter().copied(), 1_000);
        // And no slower than that.
        assert_eq!(instants.iter().flatten().max(), Some(&9_000), "{instants:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_queues_of_one_client_the_slower_counts() {
    for policies in [
        [queue("slow", "1/second", 50), queue("fast", "25/second", 50)],
        [queue("fast", "25/second", 50), queue("slow", "1/second", 50)],
    ] {
        let app = App::of(policies);
        let instants = instants(&app, (0..5).map(|_| get("/"))).await;
        assert_eq!(instants, [0, 1_000, 2_000, 3_000, 4_000].map(Some));
    }
}

/// Each client has a line of its own, and all meet at a gate that lets one pass at a time.
#[tokio::test(start_paused = true)]
async fn many_clients_with_two_queues_each_keep_both() {
    let app = App::of([queue("each", "2/second", 9), queue("all", "10/second", 99).key("all".parse().unwrap())]);
    let clients = (0..8).flat_map(|_| (1..=5).map(|client| from(&format!("192.0.2.{client}"), "/")));
    let instants = instants(&app, clients).await;
    assert!(instants.iter().all(Option::is_some), "{instants:?}");
    assert_paced(instants.iter().copied(), 100);
    for client in 0..5 {
        assert_paced(instants.iter().skip(client).step_by(5).copied(), 500);
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_a_line_leaves_no_more_room_than_there_was() {
    let app = App::of([queue("slow", "1/second", 50), queue("all", "25/second", 50).key("all".parse().unwrap())]);
    let leaving: Vec<_> = (0..3)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { app.send(get("/")).await.status() })
        })
        .collect();
    tokio::task::yield_now().await;
    leaving[1].abort();
    leaving[2].abort();
    let instants = instants(&app, (0..3).map(|_| get("/"))).await;
    assert_paced(instants.iter().copied().chain([Some(0)]), 1_000);
}

/// A cost is so many turns.
#[tokio::test(start_paused = true)]
async fn what_costs_more_keeps_the_others_waiting_longer() {
    let slow = queue("slow", "1/second", 50).on(at("/slow")).cost(3);
    let app = App::of([slow, queue("all", "25/second", 500).key("all".parse().unwrap())]);
    let others = (0..250).map(|client| from(&format!("198.51.100.{client}"), "/"));
    let instants = instants(&app, others.chain((0..3).map(|_| get("/slow")))).await;
    assert_eq!(instants[250..], [10_000, 13_000, 16_000].map(Some));
}

/// Nothing is taken in the line that all share for instants that one client's own line has put far off.
#[tokio::test(start_paused = true)]
async fn one_client_with_a_long_line_of_its_own_holds_up_nobody_else() {
    let app = App::of([queue("each", "1/second", 50), queue("all", "25/second", 500).key("all".parse().unwrap())]);
    let instants = instants(&app, (0..60).map(|_| get("/")).chain([from("192.0.2.2", "/")])).await;
    assert_eq!(instants[..60].iter().flatten().count(), 51);
    assert_eq!(instants[50], Some(50_000));
    assert!(instants[60].is_some_and(|at| at <= 2_100), "{:?}", instants[60]);
}
