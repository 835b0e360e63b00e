//! Many at once: exact counts under threads, with rules that change meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http_body_util::BodyExt;
use tollgate_http::{Charge, LimiterConfig, Policy, Precedence};

use crate::app::{App, With, at, get, policy};

const TASKS: u64 = 64;

/// Has so many tasks send requests of `make`, each so many; counts those that are admitted.
async fn crowd(app: &App, each: u64, make: fn(u64) -> http::Request<()>) -> u64 {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let app = app.clone();
            tokio::spawn(async move {
                let mut admitted = 0;
                for _ in 0..each {
                    admitted += u64::from(app.send(make(task)).await.status() != 429);
                    tokio::task::yield_now().await;
                }
                admitted
            })
        })
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await.unwrap();
    }
    admitted
}

fn from_one_of_eight(task: u64) -> http::Request<()> {
    get("/a").header("x-api-key", &(task % 8).to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn several_policies_admit_exactly_what_all_of_them_allow() {
    let policies = || {
        [
            policy("everybody", "300/hour").key("all".parse().unwrap()).precedence(Precedence::Always),
            policy("each", "50 per hour, 60 per day").key("header:x-api-key".parse().unwrap()),
            policy("path", "310/hour").key("path".parse().unwrap()).precedence(Precedence::Always),
        ]
    };
    let settings = move || policies().into_iter().fold(LimiterConfig::new(), LimiterConfig::policy);
    let app = App::new(settings());
    let is_over = Arc::new(AtomicBool::new(false));
    let reloads = std::thread::spawn({
        let (limiter, is_over) = (app.limiter.clone(), Arc::clone(&is_over));
        move || {
            // In another order each time: what an index meant under the old rules, it does not mean under the new ones.
            let mut reversed = LimiterConfig::new();
            for policy in settings().policies().iter().rev() {
                reversed = reversed.policy(policy.clone());
            }
            let mut count = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                limiter.reload(if count.is_multiple_of(2) { reversed.clone() } else { settings() }).unwrap();
                count += 1;
            }
            count
        }
    });
    let admitted = crowd(&app, 25, from_one_of_eight).await;
    is_over.store(true, Ordering::Relaxed);
    assert!(reloads.join().unwrap() > 1);
    assert_eq!(admitted, 300);
    assert_eq!(app.served(), 300);
    let counts: Vec<_> = app.limiter.policies(0).into_iter().map(|view| (view.counts.allowed, view.name)).collect();
    assert!(counts.iter().all(|(allowed, _)| *allowed == 300), "{counts:?}");
    let refused: u64 = app.limiter.policies(0).iter().map(|view| view.counts.refused).sum();
    assert_eq!(refused, TASKS * 25 - 300, "each refusal has one policy");
    // What a policy refused has taken nothing from the others: "each" has 400 in all, of which 300 are gone.
    let rest =
        LimiterConfig::new().policy(policy("each", "50 per hour, 60 per day").key("header:x-api-key".parse().unwrap()));
    app.limiter.reload(rest).unwrap();
    assert_eq!(crowd(&app, 25, from_one_of_eight).await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn what_is_refunded_can_be_used_again_and_no_more() {
    let app = App::of([policy("login", "100/hour").charge(Charge::RefundOn("2xx".parse().unwrap()))]);
    crowd(&app, 25, |_| get("/")).await;
    assert_eq!(crowd(&app, 10, |_| get("/").header("want", "500")).await, 100, "all came back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn no_place_is_lost_and_none_is_taken_twice() {
    let policies = || [Policy::without_rate("few").concurrency(5), policy("rate", "400/hour").on(at("/*"))];
    let app = App::of(policies().map(|policy| policy.precedence(Precedence::Always)));
    let inside = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (app, inside) = (app.clone(), Arc::clone(&inside));
            tokio::spawn(async move {
                for i in 0..50 {
                    let answer = app.send(get("/")).await;
                    if answer.status() == 429 {
                        continue;
                    }
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 5);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    // Every way for a response to end.
                    if (task + i) % 2 == 0 { drop(answer) } else { drop(answer.into_body().collect().await) }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    app.wait(3_600);
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(app.send(get("/")).await);
    }
    let statuses: Vec<_> = held.iter().map(|answer| answer.status().as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429], "nobody else is inside");
}
