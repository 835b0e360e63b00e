//! What happens to servers and networks while four nodes hold leases of one hot key: each row judged by the record of all that was
//! admitted, beside the bound that `docs/fleet.md` states for it.

use std::time::{Duration, Instant};

use tollgate_redis::{Fleet, FleetBuilder, FleetLimit, OnOutage, Place};

use crate::harness::{SECRET, Server};
use crate::proxy::{Fault, Proxy};
use crate::record::{Load, Seen};
use crate::topologies::{Cluster, Watched, until};

const QUOTA: &str = "500/second burst 400";
const BURST: f64 = 400.0;
const RATE: f64 = 500.0;
/// At each of four nodes: together twice what the limit allows.
const OFFERED: u32 = 250;

/// So long that what is late because this machine is busy is no outage, where there is to be none.
const PATIENT: u64 = 1_000;

async fn nodes(deadline: u64, builders: impl IntoIterator<Item = FleetBuilder>) -> Vec<Fleet> {
    let mut fleets = Vec::new();
    for builder in builders {
        let fleet = builder.secret(SECRET).nodes(4).deadline(Duration::from_millis(deadline)).build().unwrap();
        assert!(fleet.ready(Duration::from_secs(10)).await, "no connection");
        fleets.push(fleet);
    }
    fleets
}

async fn four(deadline: u64, server: &Server) -> Vec<Fleet> {
    nodes(deadline, (0..4).map(|_| Fleet::builder(server.url()))).await
}

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// That nothing was admitted beyond the limit and `allowed`, and that leases took part in it.
fn judge(what: &str, seen: &mut Seen, allowed: f64) -> f64 {
    let beyond = seen.judge(BURST, RATE, allowed);
    println!(
        "{what}: {} admitted, {} of them by leases, {} refused, {} without a server; {beyond:.0} beyond, {allowed:.0} allowed; {:?}",
        seen.admitted.len(),
        seen.leased,
        seen.refused,
        seen.without_server,
        seen.outages
    );
    assert!(seen.leased > 20, "{what}: only {} by leases", seen.leased);
    beyond
}

/// How long until a server decides again: within two seconds of `since`, and by as much longer as this machine is late with a timer.
async fn is_back(fleet: &Fleet, since: Instant) -> Duration {
    let limit = fleet.limit("is it there", "1/second").unwrap();
    let mut late = Duration::ZERO;
    while fleet.key(&limit, "eve").peek().await.place() != &Place::Server {
        assert!(since.elapsed() < Duration::from_secs(2) + late, "not back after {:?}", since.elapsed());
        let slept = Instant::now();
        pass(5).await;
        late += slept.elapsed().saturating_sub(Duration::from_millis(6));
    }
    since.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_that_fail_all_nodes() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let fleets = nodes(50, (0..4).map(|_| Fleet::builder(proxy.url()))).await;
    for fault in [Fault::BlackHole, Fault::Swallow, Fault::Delay(80), Fault::Reset, Fault::Half(7)] {
        let load = Load::start(&fleets, &format!("{fault:?}"), QUOTA, OnOutage::Closed, OFFERED);
        pass(400).await;
        proxy.set(fault);
        pass(500).await;
        proxy.set(Fault::Pass);
        let since = Instant::now();
        for fleet in &fleets {
            is_back(fleet, since).await;
        }
        pass(300).await;
        let mut seen = load.stop().await;
        assert!(seen.without_server > 50, "{fault:?}: {} without a server", seen.without_server);
        judge(&format!("{fault:?}"), &mut seen, 0.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_that_is_cut_off() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let urls = [proxy.url(), server.url(), server.url(), server.url()];
    let fleets = nodes(50, urls.into_iter().map(Fleet::builder)).await;
    for (choice, part) in [(OnOutage::Closed, 0.0), (OnOutage::Share, 0.25), (OnOutage::Local, 1.0)] {
        let before: Vec<u64> = fleets.iter().map(|fleet| fleet.stats().outages).collect();
        let load = Load::start(&fleets, choice.name(), QUOTA, choice, 2 * OFFERED);
        pass(400).await;
        let since = Instant::now();
        proxy.set(Fault::BlackHole);
        pass(700).await;
        proxy.set(Fault::Pass);
        is_back(&fleets[0], Instant::now()).await;
        pass(200).await;
        let mut seen = load.stop().await;
        assert!(seen.without_server > 50, "{choice}: {} without a server", seen.without_server);
        // A busy machine cuts others off as well: each by itself decides for as long as all of this lasted, at most.
        let cut_off = fleets.iter().zip(before).filter(|(fleet, before)| fleet.stats().outages > *before).count();
        let lasted = since.elapsed().as_secs_f64();
        let beyond = judge(choice.name(), &mut seen, cut_off as f64 * part * (BURST + RATE * lasted));
        assert!(part < 1.0 || beyond > 0.0, "{choice}: nothing was admitted without the server");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_stopped_or_flushed_of_scripts() {
    let server = Server::start();
    let fleets = four(50, &server).await;
    let load = Load::start(&fleets, "stopped", QUOTA, OnOutage::Closed, OFFERED);
    pass(400).await;
    server.signal("-STOP");
    pass(600).await;
    server.signal("-CONT");
    let since = Instant::now();
    for fleet in &fleets {
        is_back(fleet, since).await;
    }
    pass(300).await;
    let mut seen = load.stop().await;
    assert!(seen.without_server > 50, "{} without a server", seen.without_server);
    judge("stopped", &mut seen, 0.0);

    let fleets = four(PATIENT, &server).await;
    let load = Load::start(&fleets, "flushed", QUOTA, OnOutage::Closed, OFFERED);
    for _ in 0..40 {
        server.run(&["SCRIPT", "FLUSH"]).await;
        pass(20).await;
    }
    judge("scripts flushed", &mut load.stop().await, 0.0);
    assert!(fleets.iter().map(|fleet| fleet.stats().repeats).sum::<u64>() > 0, "nothing was flushed in time");
}

/// Each eviction of the key, and each loss of all there is, is one burst more, and no more than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_is_lost() {
    let server = Server::with(&["--maxmemory-policy", "allkeys-random"]);
    let fleets = four(PATIENT, &server).await;
    let evicted = async || {
        let stats: String = redis::from_redis_value(server.run(&["INFO", "stats"]).await).unwrap();
        let line = stats.lines().find_map(|line| line.strip_prefix("evicted_keys:")).unwrap();
        line.parse::<f64>().unwrap()
    };
    let load = Load::start(&fleets, "evicted", QUOTA, OnOutage::Closed, OFFERED);
    pass(1_000).await;
    // The key is the only one: it goes, and until there is room again nothing is written.
    server.run(&["CONFIG", "SET", "maxmemory", "1"]).await;
    pass(50).await;
    server.run(&["CONFIG", "SET", "maxmemory", "0"]).await;
    pass(700).await;
    let mut seen = load.stop().await;
    let times = evicted().await;
    assert!(times >= 1.0, "nothing was evicted");
    judge("evicted", &mut seen, times * BURST);
    for fleet in &fleets {
        let stats = fleet.stats();
        assert!(stats.closed == 0 || stats.misses > 0, "the breaker is not for a server without memory: {stats:?}");
    }

    let load = Load::start(&fleets, "emptied", QUOTA, OnOutage::Closed, OFFERED);
    pass(1_000).await;
    server.run(&["FLUSHALL"]).await;
    pass(700).await;
    judge("emptied", &mut load.stop().await, BURST);
}

/// Two nodes go on with the old primary, two with the new one, until the old one is a replica: each side has the limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_split_brain() {
    let (old, new) = (Server::with(&["--repl-diskless-sync-delay", "0"]), Server::start());
    new.run(&["REPLICAOF", "127.0.0.1", &old.port.to_string()]).await;
    let urls = [old.url(), old.url(), new.url(), new.url()];
    let fleets = nodes(PATIENT, urls.into_iter().map(Fleet::builder)).await;
    let load = |side: &[Fleet]| Load::start(side, "split", QUOTA, OnOutage::Closed, 2 * OFFERED);
    let (first, second) = (load(&fleets[..2]), load(&fleets[2..]));
    until("replication", async || !new.keys().await.is_empty()).await;
    pass(300).await;
    let since = Instant::now();
    new.run(&["REPLICAOF", "NO", "ONE"]).await;
    pass(1_000).await;
    old.run(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]).await;
    // What was under way when it ended.
    pass(100).await;
    let lasted = since.elapsed().as_secs_f64();
    pass(300).await;
    let (mut first, mut second) = (first.stop().await, second.stop().await);
    judge("the old side", &mut first, 0.0);
    judge("the new side", &mut second, 0.0);
    assert!(first.without_server > 50 && second.without_server > 50, "a replica decides nothing");
    for side in [&first, &second] {
        assert!(side.admitted.iter().any(|&(begun, _)| begun > since), "both sides sold one limit");
    }
    first.add(second);
    judge("split brain", &mut first, BURST + RATE * lasted);
}

/// The sentinels promote the replica: back within two seconds of their word, and at most one burst more, of what was not replicated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_sentinels() {
    let mut watched = Watched::start().await;
    let fleets = nodes(50, (0..4).map(|_| watched.builder())).await;
    let load = Load::start(&fleets, "watched", QUOTA, OnOutage::Closed, OFFERED);
    pass(600).await;
    watched.primary.kill();
    let new = watched.replica.port.to_string();
    until("the sentinels' word", async || {
        let mut all = true;
        for sentinel in &watched.sentinels {
            let word = sentinel.run(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]).await;
            all &= redis::from_redis_value::<Vec<String>>(word).unwrap().get(1) == Some(&new);
        }
        all
    })
    .await;
    let mut longest = Duration::ZERO;
    let since = Instant::now();
    for fleet in &fleets {
        longest = longest.max(is_back(fleet, since).await);
    }
    println!("served again {longest:?} after the sentinels had said so");
    pass(500).await;
    let mut seen = load.stop().await;
    assert!(seen.without_server > 50, "{} without a server", seen.without_server);
    judge("failover", &mut seen, BURST);
}

/// A slot that moves to and fro under leases: the key takes its state along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves() {
    let cluster = Cluster::start().await;
    let fleets = nodes(PATIENT, (0..4).map(|_| cluster.builder())).await;
    let load = Load::start(&fleets, "moves", QUOTA, OnOutage::Closed, OFFERED);
    until("the key", async || cluster.home(":moves:").await.is_some()).await;
    pass(400).await;
    let (mut from, key) = cluster.home(":moves:").await.unwrap();
    let slot = cluster.nodes[from].number(&["CLUSTER", "KEYSLOT", &key]).await.to_string();
    for _ in 0..3 {
        let to = (from + 1) % 3;
        let (from_id, to_id) = (cluster.id(from).await, cluster.id(to).await);
        cluster.nodes[to].run(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
        cluster.nodes[from].run(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
        pass(100).await;
        let port = cluster.nodes[to].port.to_string();
        cluster.nodes[from].run(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]).await;
        pass(100).await;
        for node in [to, from] {
            cluster.nodes[node].run(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await;
        }
        pass(100).await;
        from = to;
    }
    pass(200).await;
    let mut seen = load.stop().await;
    judge("a slot that moves", &mut seen, 0.0);
    let all = seen.admitted.len() as u64 + seen.refused;
    assert!(seen.without_server * 10 < all, "{} of {all} without a server", seen.without_server);
}

/// Half of the nodes have another quota: no turn of theirs sells anything, beyond what is held of the old one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_that_is_changed_node_by_node() {
    let server = Server::start();
    let fleets = four(PATIENT, &server).await;
    for (name, slower, burst, rate) in
        [("faster", "250/second burst 200", 400.0, 500.0), ("wider", "500/second burst 100", 400.0, 500.0)]
    {
        let limits: Vec<FleetLimit> = [QUOTA, slower, QUOTA, slower]
            .into_iter()
            .zip(&fleets)
            .map(|(quota, fleet)| fleet.limit(name, quota).unwrap().leased())
            .collect();
        let load = Load::of(&fleets, limits, OFFERED);
        pass(1_500).await;
        let mut seen = load.stop().await;
        // A quarter of the smaller burst by each of two nodes, of four.
        let held = 200.0 / 16.0 * 2.0;
        let beyond = seen.judge(burst, rate, held);
        println!("{name}: {} admitted, {} by leases, {beyond:.0} beyond", seen.admitted.len(), seen.leased);
        assert!(seen.leased > 10, "only {} by leases", seen.leased);
    }
}

/// All that can be asked of a leased key, at once, by all nodes: reservations that are cancelled, sets that are refused, what takes
/// up to so many. Nothing of it is sold twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked() {
    let server = Server::start();
    let fleets = four(PATIENT, &server).await;
    let load = Load::start(&fleets, "asked", QUOTA, OnOutage::Closed, OFFERED / 2);
    let others: Vec<_> = fleets
        .iter()
        .cloned()
        .enumerate()
        .map(|(index, fleet)| {
            tokio::spawn(async move {
                let limit = fleet.limit("asked", QUOTA).unwrap().leased();
                let full = fleet.limit(&format!("full {index}"), "1/day").unwrap();
                let handle = fleet.key(&limit, "ada");
                let (mut seen, mut dice) = (Seen::default(), fastrand::Rng::with_seed(index as u64));
                let (mut cancelled, mut sets) = (0, 0);
                let until = Instant::now() + Duration::from_millis(1_800);
                while Instant::now() < until {
                    let begun = Instant::now();
                    let mut take = |tokens: u64| (0..tokens).for_each(|_| seen.admitted.push((begun, Instant::now())));
                    match dice.u8(0..5) {
                        0 => take(handle.take_up_to(dice.u64(1..20)).await),
                        1 => take(u64::from(handle.check_n(7).await.is_allowed()) * 7),
                        2 => {
                            let both = vec![fleet.item(&limit, "ada", 1), fleet.item(&full, "ada", 1)];
                            let is_allowed = fleet.check_items(both).await.is_allowed();
                            sets += u64::from(!is_allowed);
                            take(u64::from(is_allowed));
                        }
                        3 => match handle.reserve(3, Duration::ZERO).await {
                            Ok(reserved) if dice.bool() => match reserved.cancel().await {
                                Ok(true) => cancelled += 1,
                                _ => take(3),
                            },
                            Ok(_) => take(3),
                            Err(_) => {}
                        },
                        // Taken whether it is there or not, so not in the record: the others make up for it.
                        _ => {
                            let _ = handle.charge(1).await;
                        }
                    }
                    pass(dice.u64(0..12)).await;
                }
                (seen, cancelled, sets)
            })
        })
        .collect();
    let (mut seen, mut cancelled, mut sets) = (Seen::default(), 0, 0);
    for other in others {
        let (part, some, many) = other.await.unwrap();
        seen.add(part);
        (cancelled, sets) = (cancelled + some, sets + many);
    }
    seen.add(load.stop().await);
    assert!(sets > 20, "{cancelled} cancelled, {sets} sets");
    judge(&format!("{cancelled} cancelled, {sets} sets refused"), &mut seen, 0.0);
}

/// At the end of a window what is held of it is gone: none admits more than its count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_at_their_ends() {
    let server = Server::start();
    let fleets = four(PATIENT, &server).await;
    let load = Load::start(&fleets, "windows", "150/second as fixed-window", OnOutage::Closed, 150);
    pass(3_200).await;
    let seen = load.stop().await;
    let (now, of_the_clock) = (Instant::now(), std::time::SystemTime::now());
    let micros = |at: Instant| {
        let since = (of_the_clock - (now - at)).duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::try_from(since.as_micros()).unwrap()
    };
    let mut windows = std::collections::BTreeMap::new();
    for &(begun, ended) in &seen.admitted {
        // Those of which it is certain, whichever of the two clocks is a little ahead.
        let [first, last] = [micros(begun) - 1_000, micros(ended) + 1_000].map(|at| at / 1_000_000);
        if first == last {
            *windows.entry(first).or_insert(0) += 1;
        }
    }
    println!("windows of 150: {windows:?}, {} by leases", seen.leased);
    assert!(windows.values().all(|&count| count <= 150), "{windows:?}");
    assert!(windows.values().any(|&count| count > 75) && seen.leased > 20, "{windows:?}, {} by leases", seen.leased);
}
