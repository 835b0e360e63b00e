//! Tokens in advance, on real servers: what is stored, and four nodes under one hot key.

use std::time::{Duration, Instant};

use tollgate::Quota;
use tollgate_redis::{Fleet, FleetLimit, OnOutage, Place};

use crate::harness::{SECRET, Server, T0, ready};
use crate::record::Load;

/// What the keys hold.
async fn stored(server: &Server) -> Vec<String> {
    let mut texts = Vec::new();
    for key in server.keys().await {
        texts.push(redis::from_redis_value::<String>(server.run(&["GET", &key]).await).unwrap());
    }
    texts
}

async fn place(fleet: &Fleet, limit: &FleetLimit) -> (bool, Place) {
    let decision = fleet.under(limit).check("ada").await;
    (decision.is_allowed(), decision.place().clone())
}

#[tokio::test]
async fn what_is_stored() {
    let server = Server::start();
    let fleet = server.fleet_with_clock().await;
    // A token takes long, so that none lapses while this runs; the server's time stands still.
    let limit = fleet.limit("a", "10/minute burst 100").unwrap().leased();
    let token = 6_000_000;
    let at = |tokens: u64| vec![format!("{} 10/100", T0 + tokens * token)];
    assert_eq!(place(&fleet, &limit).await, (true, Place::Server));
    assert_eq!(stored(&server).await, at(1));
    // The second makes it hot: its own, and one in advance.
    assert_eq!(place(&fleet, &limit).await, (true, Place::Server));
    assert_eq!(stored(&server).await, at(3));
    assert_eq!(place(&fleet, &limit).await, (true, Place::Lease));
    // What is fetched for later, now that none are left, is there by then.
    tokio::time::sleep(Duration::from_millis(50)).await;
    fleet.key(&limit, "ada").reset().await.unwrap();
    assert_eq!(stored(&server).await, Vec::<String>::new());

    // A bucket of another quota is converted on the way.
    let old = fleet.limit("b", "10/minute burst 100").unwrap();
    assert_eq!(fleet.key(&old, "ada").take_up_to(20).await, 20);
    let new = fleet.limit("b", "20/minute burst 50").unwrap().leased();
    assert!(place(&fleet, &new).await.0 && place(&fleet, &new).await.0);
    assert_eq!(stored(&server).await, [format!("{} 20/50", T0 + 23 * token / 2)]);
    fleet.key(&new, "ada").reset().await.unwrap();
}

#[tokio::test]
async fn all_of_a_bucket_and_no_more() {
    let server = Server::start();
    let fleet = ready(Fleet::builder(server.url())).await;
    let limit = fleet.limit("a", "100/hour").unwrap().leased();
    // A sixteenth of the burst in advance at most, and at most half of what is there: so nothing is lost on the way.
    let mut admitted = 0;
    while place(&fleet, &limit).await.0 {
        admitted += 1;
    }
    assert_eq!(admitted, 100);
    assert!(fleet.stats().leases < 60 && fleet.stats().leased > 30, "{:?}", fleet.stats());
    // Refused from memory; what comes back on this node is seen at once.
    assert_eq!(place(&fleet, &limit).await, (false, Place::Known));
    fleet.key(&limit, "ada").refund(2).await.unwrap();
    assert!(place(&fleet, &limit).await.0);
}

#[tokio::test]
async fn windows() {
    let server = Server::start();
    let fleet = server.fleet_with_clock().await;
    let fixed = fleet.limit("w", "160/minute as fixed-window").unwrap().leased();
    // 20 s into a minute of the server, which ends in 40 s.
    let end = T0 + 40_000_000;
    for count in [1, 3] {
        assert_eq!(place(&fleet, &fixed).await, (true, Place::Server));
        assert_eq!(stored(&server).await, [(end + count).to_string()]);
    }
    assert_eq!(place(&fleet, &fixed).await, (true, Place::Lease));
    let fleet = ready(Fleet::builder(server.url())).await;
    let of_the_clock: Quota = "160/day as fixed-window".parse().unwrap();
    for quota in [of_the_clock, of_the_clock.with_window_start(tollgate::WindowStart::FirstHit)] {
        let limit = fleet.limit("whole", quota).unwrap().leased();
        let mut admitted = 0;
        while place(&fleet, &limit).await.0 {
            admitted += 1;
        }
        assert_eq!(admitted, 160, "{quota}");
        assert!(fleet.stats().leased > 60, "{:?}", fleet.stats());
    }
    // What counts refusals, and what cannot be taken ahead, stays exact.
    for quota in ["9/minute as sliding-window", "9/minute as sliding-log", "9/minute as leaky-queue", "4/minute"] {
        assert!(!fleet.limit("x", quota).unwrap().leased().is_leased(), "{quota}");
    }
}

/// All limits or none: what one gives from its lease and another refuses lapses, and nothing is admitted twice.
#[tokio::test]
async fn sets() {
    let server = Server::start();
    let fleet = ready(Fleet::builder(server.url())).await;
    let hot = fleet.limit("hot", "100/hour").unwrap().leased();
    let exact = fleet.limit("exact", "40/hour").unwrap();
    let both = [hot.clone(), exact.clone()];
    let mut admitted = 0;
    for _ in 0..60 {
        admitted += u64::from(fleet.check_set(&both, "ada").await.is_allowed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(admitted, 40);
    assert!(fleet.stats().leased > 20, "{:?}", fleet.stats());
    while place(&fleet, &hot).await.0 {
        admitted += 1;
    }
    assert!((60..=100).contains(&admitted), "{admitted}");
}

/// Four nodes with connections of their own, one hot key: below the limit nothing is refused and few commands are sent, above it all
/// that the limit allows is admitted, and never more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_nodes_under_one_hot_key() {
    let server = Server::start();
    let lasts = Duration::from_secs(3);
    for (rate, burst, offered, goal) in
        [(1_000, 512, 800, 0.05), (1_000, 512, 980, 0.05), (1_000, 512, 1_600, 0.7), (10_000, 16_384, 8_800, 0.01)]
    {
        let mut fleets = Vec::new();
        for _ in 0..4 {
            let builder = Fleet::builder(server.url()).secret(SECRET).nodes(4).deadline(Duration::from_millis(500));
            let fleet = builder.build().unwrap();
            assert!(fleet.ready(Duration::from_secs(5)).await);
            fleets.push(fleet);
        }
        let begun = Instant::now();
        let quota = format!("{rate}/second burst {burst}");
        let load = Load::start(&fleets, &format!("of {offered}"), &quota, OnOutage::Closed, offered / 4);
        tokio::time::sleep(lasts).await;
        let mut seen = load.stop().await;
        let took = begun.elapsed().as_secs_f64();
        let refused = seen.refused;
        let stats: Vec<_> = fleets.iter().map(Fleet::stats).collect();
        let calls: u64 = stats.iter().map(|stats| stats.calls).sum();
        let outages: u64 = stats.iter().map(|stats| stats.outages).sum();
        let admitted = seen.admitted.len() as u64;
        let commands = calls as f64 / admitted as f64;
        let all = (admitted + refused) as f64;
        println!(
            "{rate}/s burst {burst}, offered {:.0}/s: {admitted} admitted, {refused} refused, {commands:.4} commands a request \
             admitted, {outages} outages; {:?}",
            all / took,
            stats[0]
        );
        seen.judge(f64::from(burst), f64::from(rate), 0.0);
        assert_eq!(outages, 0);
        // The goal itself is judged in virtual time (`src/lease/simulation.rs`): where others use the machine as well, requests come
        // late, in heaps, and more lapses; and of fewer requests than there should be, fewer share a lease.
        if all >= 0.9 * f64::from(offered) * took {
            let most = f64::min(5.0 * goal, 0.9);
            assert!(
                commands <= most,
                "{commands} commands a request admitted, of at most {most}, and the goal is {goal}"
            );
        }
        if offered > rate {
            let most = f64::from(burst) + f64::from(rate) * took;
            // As above: 0.98 in virtual time; here requests that come late, in heaps, find a bucket that has been full for a while.
            assert!(admitted as f64 >= 0.8 * most.min(all), "{admitted} of {most}");
        } else {
            assert!(refused as f64 <= 0.02 * all, "{refused} of {all} refused");
        }
    }
}

/// A server that dies under leases: what is held is spent, then the limit is closed; with it again, all is as before, and in all no more
/// was admitted than one full bucket, as the server has forgotten it, and the node has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies() {
    let mut server = Server::start();
    let fleet = Fleet::builder(server.url()).secret(SECRET).nodes(1).build().unwrap();
    assert!(fleet.ready(Duration::from_secs(5)).await);
    let limit = fleet.limit_with("a", "400/hour", OnOutage::Closed).unwrap().leased();
    let mut admitted = 0;
    for _ in 0..100 {
        admitted += u64::from(fleet.under(&limit).check("ada").await.is_allowed());
    }
    assert_eq!(admitted, 100);
    while place(&fleet, &limit).await.1 != Place::Lease {
        admitted += 1;
        assert!(admitted < 200);
    }
    admitted += 1;
    server.kill();
    let mut held = 0;
    while place(&fleet, &limit).await == (true, Place::Lease) {
        held += 1;
    }
    let (is_allowed, last) = place(&fleet, &limit).await;
    assert!(!is_allowed && matches!(last, Place::Outage(OnOutage::Closed, _)), "{last:?}");
    // A quarter of the burst, and what was on its way.
    assert!(held <= 200, "{held}");
    server.restart();
    let since = Instant::now();
    while fleet.key(&limit, "ada").peek_n(0).await.place() != &Place::Server {
        assert!(since.elapsed() < Duration::from_secs(2), "not back within two seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut after = 0;
    while place(&fleet, &limit).await.0 {
        after += 1;
    }
    // A token comes back in 9 s; what an answer that was lost had granted, at most as much as a node holds, lapses.
    let back = 1 + since.elapsed().as_secs() / 9;
    assert!((300..=400 + back).contains(&(admitted + held + after)), "{admitted} and {held} before, {after} after");
}
