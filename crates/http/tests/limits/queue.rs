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
