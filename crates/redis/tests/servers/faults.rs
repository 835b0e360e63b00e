//! What networks and servers do, under load: no decision takes longer than a bare timer of the deadline, nothing is admitted
//! beyond what is stated, and service is back within two seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tollgate_redis::error::Outage;
use tollgate_redis::{Fleet, FleetLimit, OnOutage, Place};

use crate::harness::{SECRET, Server};
use crate::proxy::{Fault, Proxy};

const DEADLINE: Duration = Duration::from_millis(20);

async fn fleet(address: String, nodes: u64) -> Fleet {
    let fleet = Fleet::builder(address).secret(SECRET).nodes(nodes).deadline(DEADLINE).build().unwrap();
    assert!(fleet.ready(Duration::from_secs(5)).await);
    fleet
}

/// What a load saw.
#[derive(Default)]
struct Seen {
    admitted: u64,
    refused: u64,
    without_server: u64,
    took: Vec<Duration>,
    /// How long sleeps of the deadline took that were begun beside.
    slept: Vec<Duration>,
}

/// Requests by so many tasks, each a pause after the last, until told to stop.
struct Load {
    is_over: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<Seen>>,
}

impl Load {
    fn start(fleet: &Fleet, limit: &FleetLimit, tasks: u64, pause: Duration) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let one = |_| {
            let (fleet, limit, is_over) = (fleet.clone(), limit.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut seen = Seen::default();
                while !is_over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let decision = fleet.under(&limit).check("ada").await;
                    seen.took.push(begun.elapsed());
                    match decision.is_allowed() {
                        true => seen.admitted += 1,
                        false => seen.refused += 1,
                    }
                    seen.without_server += u64::from(decision.outage().is_some());
                    let begun = Instant::now();
                    if seen.took.len() % 4 == 0 {
                        tokio::time::sleep(DEADLINE).await;
                        seen.slept.push(begun.elapsed());
                    } else {
                        tokio::time::sleep(pause).await;
                    }
                }
                seen
            })
        };
        Self { tasks: (0..tasks).map(one).collect(), is_over }
    }

    async fn stop(self) -> Seen {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for task in self.tasks {
            let seen = task.await.unwrap();
            all.admitted += seen.admitted;
            all.refused += seen.refused;
            all.without_server += seen.without_server;
            all.took.extend(seen.took);
            all.slept.extend(seen.slept);
        }
        all.took.sort_unstable();
        all.slept.sort_unstable();
        all
    }
}

impl Seen {
    /// That decisions take no longer than a bare timer of the deadline, and a millisecond, at 99.9 in 100.
    fn is_in_time(&self, what: &str) {
        let at = |all: &[Duration]| all[(all.len() * 999 / 1_000).min(all.len() - 1)];
        let (took, slept) = (at(&self.took), at(&self.slept));
        println!("{what}: {} decisions, p99.9 {took:?}; {} timers, p99.9 {slept:?}", self.took.len(), self.slept.len());
        assert!(took <= slept.max(DEADLINE) + Duration::from_millis(1), "{what}: {took:?}, and a timer {slept:?}");
    }
}

/// How long until a server decides again.
async fn is_back(fleet: &Fleet, limit: &FleetLimit) {
    let since = Instant::now();
    while fleet.under(limit).peek("ada").await.place() != &Place::Server {
        assert!(since.elapsed() < Duration::from_secs(2), "not back within two seconds");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("back after {:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let fleet = fleet(proxy.url(), 4).await;
    let limit = fleet.limit("a", "100/second").unwrap();
    for fault in [Fault::BlackHole, Fault::Swallow, Fault::Delay(50), Fault::Reset, Fault::Half(7)] {
        let begun = Instant::now();
        let before = fleet.stats();
        let load = Load::start(&fleet, &limit, 32, Duration::from_millis(2));
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.set(fault);
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let (during, open) = (fleet.stats(), proxy.open());
        proxy.set(Fault::Pass);
        is_back(&fleet, &limit).await;
        let seen = load.stop().await;
        seen.is_in_time(&format!("{fault:?}"));
        // Closed by default: what no server decides is refused, and what it was asked twice is not sold twice.
        let most = 100.0 + 100.0 * begun.elapsed().as_secs_f64();
        assert!(seen.admitted as f64 <= most, "{fault:?}: {} of {most}", seen.admitted);
        assert!(seen.without_server > 100, "{fault:?}: {} without a server", seen.without_server);
        // Few wait for the deadline before the socket is closed, and few sockets are open at a time.
        let misses = during.misses - before.misses;
        assert!(misses <= 64 * 4, "{fault:?}: {misses} misses");
        assert!(open <= 3, "{fault:?}: {open} connections");
        // A machine that is busy may miss the deadline.
        while fleet.key(&limit, "ada").reset().await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{fault:?}: not reset");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_is_not_asked_for_again() {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let fleet = fleet(proxy.url(), 1).await;
    let limit = fleet.limit("a", "1000/hour").unwrap();
    for (round, fault) in [Fault::Swallow, Fault::Half(3), Fault::Delay(60)].into_iter().enumerate() {
        is_back(&fleet, &limit).await;
        proxy.set(fault);
        let decision = fleet.under(&limit).check("ada").await;
        assert!(decision.is_refused());
        assert!(matches!(decision.outage(), Some(Outage::Deadline | Outage::Disconnected)), "{decision:?}");
        proxy.set(Fault::Pass);
        is_back(&fleet, &limit).await;
        // It was charged, once.
        let left = fleet.under(&limit).key("ada").peek_n(0).await.remaining();
        assert_eq!(left, 999 - round as u64, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers() {
    let mut server = Server::start();
    let fleet = fleet(server.url(), 4).await;
    let limit = fleet.limit("a", "100/second").unwrap();

    let load = Load::start(&fleet, &limit, 32, Duration::from_millis(2));
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.signal("-STOP");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    server.signal("-CONT");
    is_back(&fleet, &limit).await;
    let seen = load.stop().await;
    seen.is_in_time("stopped");
    assert!(seen.admitted <= 100 + 100 * 4 && seen.without_server > 100);

    let load = Load::start(&fleet, &limit, 32, Duration::from_millis(2));
    server.kill();
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    server.restart();
    is_back(&fleet, &limit).await;
    let seen = load.stop().await;
    seen.is_in_time("killed");
    // Its state was lost: one more burst.
    assert!(seen.admitted <= 2 * 100 + 100 * 4 && seen.without_server > 100);

    // A server that is full says so, and nothing is written: neither of two limits.
    let two = [limit.clone(), fleet.limit("b", "100/second").unwrap()];
    server.run(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let decision = fleet.check_set(&two, "grace").await;
    assert!(
        matches!(decision.decision().outage(), Some(Outage::Refused(text)) if text.contains("OOM")),
        "{decision:?}"
    );
    assert!(decision.is_refused() && fleet.stats().connected == 1, "the breaker is not for this");
    server.run(&["CONFIG", "SET", "maxmemory", "0"]).await;
    for limit in &two {
        assert_eq!(fleet.under(limit).key("grace").peek_n(0).await.remaining(), 100);
    }

    // A replica that was a primary.
    let other = Server::start();
    server.run(&["REPLICAOF", "127.0.0.1", &other.port.to_string()]).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(fleet.under(&limit).check("eve").await.is_refused());
    server.run(&["REPLICAOF", "NO", "ONE"]).await;
    is_back(&fleet, &limit).await;
    assert!(fleet.under(&limit).check("eve").await.is_allowed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_flushed() {
    let server = Server::start();
    let fleet = Fleet::builder(server.url()).secret(SECRET).deadline(Duration::from_secs(1)).build().unwrap();
    assert!(fleet.ready(Duration::from_secs(5)).await);
    let limit = fleet.limit("a", "100000/day").unwrap();
    let (admitted, late) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let (fleet, limit) = (fleet.clone(), limit.clone());
            let (admitted, late) = (Arc::clone(&admitted), Arc::clone(&late));
            tokio::spawn(async move {
                for _ in 0..5 {
                    let decision = fleet.under(&limit).check("ada").await;
                    match decision.outage() {
                        None => assert!(decision.is_allowed()),
                        // A machine that is so busy: it may have been charged.
                        Some(Outage::Deadline | Outage::Disconnected) => {
                            late.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                        Some(outage) => panic!("{outage}"),
                    }
                    admitted.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for _ in 0..10 {
        server.run(&["SCRIPT", "FLUSH"]).await;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert!(fleet.stats().repeats > 0, "nothing was flushed in time");
    // Each was charged once; a refill of a token takes 0.9 s.
    assert!(fleet.ready(Duration::from_secs(30)).await);
    let left = fleet.under(&limit).key("ada").peek_n(0).await.remaining();
    let (admitted, late) = (admitted.load(Ordering::Relaxed), late.load(Ordering::Relaxed));
    assert!(admitted + late == 5_000 && admitted > 0, "{admitted} admitted, {late} late");
    let charged = 100_000 - left;
    assert!(
        (admitted.saturating_sub(30)..=admitted + late).contains(&charged),
        "{charged} charged, {admitted} admitted, {late} late"
    );
}

/// Four nodes, each of which offers more than the whole limit, for two seconds without a server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_admitted_without_a_server() {
    let mut server = Server::start();
    let mut fleets = Vec::new();
    for _ in 0..4 {
        fleets.push(fleet(server.url(), 4).await);
    }
    server.kill();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for choice in OnOutage::ALL {
        let begun = Instant::now();
        let loads: Vec<_> = fleets
            .iter()
            .map(|fleet| {
                let limit = fleet.limit_with(choice.name(), "100/second", choice).unwrap();
                Load::start(fleet, &limit, 8, Duration::from_millis(5))
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (mut admitted, mut offered, mut most_of_one) = (0, 0, 0);
        for load in loads {
            let seen = load.stop().await;
            assert_eq!(seen.without_server, seen.admitted + seen.refused);
            admitted += seen.admitted;
            offered += seen.admitted + seen.refused;
            most_of_one = most_of_one.max(seen.admitted);
        }
        let limit = 100.0 + 100.0 * begun.elapsed().as_secs_f64();
        println!("{choice}: {admitted} of {offered}, the limit {limit}, at most {most_of_one} by one node");
        assert!(offered as f64 > 4.0 * limit, "{offered} offered are too few to show anything");
        match choice {
            OnOutage::Closed => assert_eq!(admitted, 0),
            OnOutage::Open => assert_eq!(admitted, offered),
            OnOutage::Share => {
                assert!(admitted as f64 <= limit, "{admitted} of {limit}");
                assert!(admitted as f64 > 0.8 * limit, "{admitted} of {limit}");
                assert!(most_of_one as f64 <= limit / 4.0 + 1.0);
            }
            OnOutage::Local => {
                assert!(admitted as f64 <= 4.0 * limit && admitted as f64 > 2.0 * limit, "{admitted} of {limit}");
                assert!(most_of_one as f64 <= limit);
            }
        }
    }
    assert!(fleets[0].limit_with("x", "1/second", OnOutage::Share).is_ok());
    let unknown = Fleet::builder(server.url()).secret(SECRET).build().unwrap();
    assert!(unknown.limit_with("x", "1/second", OnOutage::Share).is_err());
}

/// All or nothing holds without a server as well, and what is given back is what was taken.
#[tokio::test]
async fn sets_without_a_server() {
    let mut server = Server::start();
    let fleet = fleet(server.url(), 1).await;
    server.kill();
    let local = |name, quota| fleet.limit_with(name, quota, OnOutage::Local).unwrap();
    let (one, none, other) = (local("one", "5/hour"), local("none", "1/hour"), local("other", "5/hour"));
    let peek = async |limit| fleet.key(limit, "ada").peek_n(0).await.remaining();
    assert!(fleet.under(&none).check("ada").await.is_allowed());
    assert!(fleet.under(&other).check("ada").await.is_allowed());
    for _ in 0..9 {
        let all = [one.clone(), none.clone(), other.clone()];
        assert!(fleet.check_set(&all, "ada").await.is_refused());
        assert_eq!((peek(&one).await, peek(&none).await, peek(&other).await), (5, 0, 4));
    }
    // Nor is anything reserved.
    let wait = Duration::from_secs(9);
    assert!(fleet.reserve_set(&[one.clone(), none.clone()], "ada", 1, wait).await.is_err());
    assert_eq!((peek(&one).await, peek(&none).await), (5, 0));
    let slow = local("slow", "1/second");
    for longest in [0, 1] {
        let both = [slow.clone(), fleet.limit_with("open", "1/hour", OnOutage::Open).unwrap()];
        let reservation = fleet.reserve_set(&both, "ada", 1, wait).await.unwrap();
        assert!(
            reservation.wait() <= Duration::from_secs(longest)
                && reservation.wait() >= Duration::from_millis(longest * 500)
        );
    }
    let closed = [slow, fleet.limit("closed", "5/hour").unwrap()];
    let refused = fleet.reserve_set(&closed, "ada", 1, wait).await.unwrap_err();
    assert!(refused.is_refused() && refused.decision().outage().is_some());
    // One that is closed refuses for all.
    let all = [one.clone(), fleet.limit("closed", "5/hour").unwrap()];
    assert!(fleet.check_set(&all, "ada").await.is_refused());
    assert_eq!(peek(&one).await, 5);
    let debug = format!("{fleet:?} {:?}", Fleet::builder("redis://u:word@127.0.0.1/").secret(SECRET));
    assert!(!debug.contains("word") && !debug.contains("secret of"), "{debug}");
}

/// Writes that a failover loses, made to order: a replica that is cut off, the primary killed, the replica promoted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_costs_what_it_lost_once() {
    let mut primary = Server::with(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start();
    let address = ["127.0.0.1", &primary.port.to_string()].map(str::to_owned);
    replica.run(&["REPLICAOF", &address[0], &address[1]]).await;
    let proxy = Proxy::to(primary.port).await;
    let first = fleet(proxy.url(), 1).await;
    let limit = first.limit("a", "100/day").unwrap();
    assert_eq!(first.under(&limit).key("ada").take_up_to(60).await, 60);
    let since = Instant::now();
    while replica.keys().await.is_empty() {
        assert!(since.elapsed() < Duration::from_secs(10), "nothing was replicated");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // At a dead port it keeps what it has.
    replica.run(&["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(first.under(&limit).key("ada").take_up_to(60).await, 40);
    primary.kill();
    replica.run(&["REPLICAOF", "NO", "ONE"]).await;
    let second = fleet(replica.url(), 1).await;
    assert_eq!(second.under(&limit).key("ada").take_up_to(60).await, 40, "the debits that were lost, and no more");
    assert_eq!(second.under(&limit).key("ada").take_up_to(60).await, 0);
}

/// Servers that are none, or that say what no script does: refused within the deadline, and nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_talk_nonsense() {
    let answers: [&'static [u8]; 14] = [
        b"+OK\r\n",
        b":1\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"$-1\r\n",
        b"*3\r\n:1\r\n:9223372036854775807\r\n*8\r\n:1\r\n:9223372036854775807\r\n:0\r\n$0\r\n\r\n:0\r\n:0\r\n$0\r\n\r\n$0\r\n\r\n",
        b"*4\r\n:1\r\n:1796000000000000\r\n*8\r\n:1\r\n:-5\r\n:0\r\n$0\r\n\r\n:0\r\n:0\r\n$0\r\n\r\n$0\r\n\r\n:9999\r\n",
        b"*3\r\n:2\r\n:5\r\n*1\r\n*2\r\n:0\r\n$5\r\nhello\r\n",
        b"-MOVED 99999999 nowhere:99999999\r\n",
        b"-ASK\r\n",
        b"-\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$999999999999\r\n",
        b"*99999999\r\n",
    ];
    for answer in answers {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://127.0.0.1:{}/", listener.local_addr().unwrap().port());
        let server = tokio::spawn(async move {
            while let Ok((link, _)) = listener.accept().await {
                tokio::spawn(nonsense(link, answer));
            }
        });
        let fleet = Fleet::builder(url).secret(SECRET).deadline(Duration::from_millis(100)).build().unwrap();
        let what = String::from_utf8_lossy(answer);
        assert!(fleet.ready(Duration::from_secs(10)).await, "{what}");
        let limit = fleet.limit("a", "100/second").unwrap();
        let window = fleet.limit("w", "100/minute as fixed-window").unwrap();
        for limit in [&limit, &limit.leased(), &window, &window.leased()] {
            for _ in 0..3 {
                let decision = fleet.under(limit).check("ada").await;
                assert!(decision.is_refused() && decision.outage().is_some(), "{what}: {decision:?}");
            }
            let handle = fleet.key(limit, "ada");
            assert_eq!(handle.take_up_to(5).await, 0, "{what}");
            assert!(handle.charge(5).await.is_err() && handle.reserve(1, Duration::ZERO).await.is_err(), "{what}");
            assert!(handle.refund(5).await.is_err() && handle.reset().await.is_err(), "{what}");
            assert!(fleet.reserve_set(core::slice::from_ref(limit), "ada", 1, Duration::ZERO).await.is_err(), "{what}");
        }
        server.abort();
    }
}

/// Shakes hands as a server does, and answers each script alike.
async fn nonsense(link: tokio::net::TcpStream, answer: &[u8]) {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    let mut link = BufReader::new(link);
    let mut line = String::new();
    loop {
        let mut words = Vec::new();
        line.clear();
        if link.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        for _ in 0..line[1..].trim().parse::<usize>().unwrap() {
            line.clear();
            let _ = link.read_line(&mut line).await;
            let Ok(length) = line.get(1..).unwrap_or_default().trim().parse::<usize>() else { return };
            let mut word = vec![0; length + 2];
            if link.read_exact(&mut word).await.is_err() {
                return;
            }
            words.push(word);
        }
        let said: &[u8] = if words[0].starts_with(b"EVAL") { answer } else { b"+OK\r\n" };
        if link.write_all(said).await.is_err() {
            return;
        }
    }
}
