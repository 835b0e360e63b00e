//! Leaky queues: requests are delayed before they are refused.

use std::time::Duration;

use tollgate::Algorithm;

use crate::app::{App, get, policy};

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
