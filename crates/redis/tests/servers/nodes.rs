//! What nodes tell the servers: that they are there, and what a server before had said.

use std::time::{Duration, Instant};

use tollgate_redis::{Fleet, OnOutage};

use crate::harness::{SECRET, Server, T0, ready};

/// Waits for what comes about by itself, on a machine that may be busy.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !is_so().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn nodes_that_are_there_share_a_limit_and_one_that_was_told_nothing_refuses() {
    let mut server = Server::start();
    let mut fleets = Vec::new();
    for _ in 0..4 {
        fleets.push(ready(Fleet::builder(server.url()).count_nodes()).await);
    }
    for fleet in &fleets {
        until("all four are counted", async || fleet.stats().nodes == 4).await;
    }
    let keys = server.keys().await;
    assert!(keys.len() == 1 && keys[0].ends_with("}:nodes"), "{keys:?}");
    assert_eq!(server.number(&["ZCARD", &keys[0]]).await, 4);
    let left = server.number(&["PTTL", &keys[0]]).await;
    assert!((1..=30_000).contains(&left), "{left}");
    // One that says nothing for half a minute is taken away by who comes next.
    server.run(&["ZADD", &keys[0], "1000000", "gone", "9000000000000000", "of another time"]).await;
    until("others are not", async || server.number(&["ZCARD", &keys[0]]).await == 4).await;
    // A fleet with another secret is another one.
    let other = Fleet::builder(server.url()).secret("a secret of other nodes").count_nodes().build().unwrap();
    until("it is alone", async || other.stats().nodes == 1).await;

    let limits: Vec<_> =
        fleets.iter().map(|fleet| fleet.limit_with("api", "80/day", OnOutage::Share).unwrap()).collect();
    server.kill();
    let mut admitted = Vec::new();
    for (fleet, limit) in fleets.iter().zip(&limits) {
        until("it is seen", async || fleet.stats().connected == 0).await;
        assert_eq!(fleet.stats().nodes, 4, "what was told holds on");
        let mut here = 0;
        for _ in 0..40 {
            here += u32::from(fleet.under(limit).check("ada").await.is_allowed());
        }
        admitted.push(here);
    }
    assert_eq!(admitted, [20; 4]);

    // Nobody has told this one: it refuses, unless it was given a number.
    for (nodes, expected) in [(None, 0), (Some(8), 10)] {
        let mut builder = Fleet::builder(server.url()).secret(SECRET).count_nodes();
        if let Some(nodes) = nodes {
            builder = builder.nodes(nodes);
        }
        let alone = builder.build().unwrap();
        let limit = alone.limit_with("api", "80/day", OnOutage::Share).unwrap();
        let mut here = 0;
        for _ in 0..40 {
            here += u32::from(alone.under(&limit).check("ada").await.is_allowed());
        }
        assert_eq!(here, expected);
    }
}

/// A server that comes back without what it had known is told it by who had asked for a key that is hot, once; a connection that breaks is
/// no reason to undo what others have given back since: only what they took counts.
#[tokio::test]
async fn what_a_server_has_lost_is_told_it() {
    let quotas = ["100/day", "100/day as fixed-window", "100/day as fixed-window first-hit"];
    for (round, quota) in (0_u64..).zip(quotas) {
        let server = Server::start();
        let fleet = server.fleet_with_clock().await;
        let Ok(limit) = fleet.limit("api", quota).map(|limit| limit.leased()) else { panic!("{quota}") };
        assert!(limit.is_leased());
        let mut admitted = 0;
        for _ in 0..60 {
            admitted += u32::from(fleet.under(&limit).check("ada").await.is_allowed());
        }
        assert_eq!(admitted, 60);
        let connects = fleet.stats().connects;
        server.run(&["FLUSHALL"]).await;
        server.set_clock(T0 + round).await;
        server.run(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        until("it is connected again", async || {
            // Whoever asks finds out.
            admitted_or_not(&fleet).await;
            fleet.stats().connects > connects && fleet.stats().connected == 1
        })
        .await;
        for _ in 0..100 {
            admitted += u32::from(fleet.under(&limit).check("ada").await.is_allowed());
        }
        assert!((80..=100).contains(&admitted), "{quota}: {admitted}");
    }
}

async fn admitted_or_not(fleet: &Fleet) {
    let other = fleet.limit("other", "1/day").unwrap();
    let _ = fleet.under(&other).peek("ada").await;
}
