//! Figures beside their peers in one run; `ci/bench_redis.sh` starts the server. Ratios are what counts: the machine is shared.

#![allow(clippy::disallowed_methods, reason = "measures time")]

use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tollgate::{Limiter, Quota};
use tollgate_redis::{Fleet, FleetLimit, OnOutage, Place};

/// What `ci/bench_redis.sh` counts the instructions of.
#[inline(never)]
fn measured_local(limiter: &Limiter, calls: u64) {
    for _ in 0..calls {
        assert!(limiter.check(std::hint::black_box("ada")).is_allowed());
    }
}

/// Of a key whose tokens are here: each decision is there at once.
#[inline(never)]
fn measured_leased(fleet: &Fleet, limit: &FleetLimit, calls: u64) {
    for _ in 0..calls {
        let decision = fleet.under(limit).check(std::hint::black_box("ada")).now_or_never();
        assert!(decision.is_some_and(|decision| decision.is_allowed()));
    }
}

/// The same, for a caller that does not wait.
#[inline(never)]
fn measured_here(fleet: &Fleet, limit: &FleetLimit, calls: u64) {
    for _ in 0..calls {
        let decision = fleet.under(limit).check_here(std::hint::black_box("ada"));
        assert!(decision.is_some_and(|decision| decision.is_allowed()));
    }
}

/// With a breaker that is open, under a limit that is then this node's own.
#[inline(never)]
fn measured_open(fleet: &Fleet, limit: &FleetLimit, calls: u64) {
    for _ in 0..calls {
        let decision = fleet.under(limit).check(std::hint::black_box("ada")).now_or_never();
        assert!(decision.is_some_and(|decision| decision.outage().is_some()));
    }
}

/// One of them, so many times.
async fn count(fleet: &Fleet, what: &str, calls: u64) {
    if what == "local" {
        let limiter = Limiter::builder("1000000000/day".parse::<Quota>().unwrap()).build().unwrap();
        assert!(limiter.check("ada").is_allowed());
        let begun = Instant::now();
        measured_local(&limiter, calls);
        println!("{what}: {} ns a check", begun.elapsed().as_nanos() / u128::from(calls));
        return;
    }
    if let Some(choice) = what.strip_prefix("open_").and_then(|choice| choice.parse::<OnOutage>().ok()) {
        let open = Fleet::builder("redis://127.0.0.1:1/").secret("a secret of the bench").build().unwrap();
        let limit = open.limit_with("open", "1000000000/day", choice).unwrap();
        assert!(open.under(&limit).check("ada").await.outage().is_some());
        return measured_open(&open, &limit, calls);
    }
    let limit = fleet.limit("counted", "10/second burst 9999999").unwrap().leased();
    // So many that none is fetched meanwhile: as this node holds, not as a server says.
    loop {
        let decision = fleet.under(&limit).check("ada").await;
        assert!(decision.is_allowed());
        if *decision.place() == Place::Lease && decision.remaining() > calls {
            break;
        }
        tokio::task::yield_now().await;
    }
    let before = fleet.stats().leased;
    if what == "here" {
        measured_here(fleet, &limit, calls)
    } else {
        measured_leased(fleet, &limit, calls)
    }
    assert_eq!(fleet.stats().leased - before, calls);
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Ok(address) = std::env::var("TOLLGATE_REDIS_ADDRESS") else {
        // Built and run by whoever builds all benches.
        eprintln!("no server: ci/bench_redis.sh starts one, and names it in TOLLGATE_REDIS_ADDRESS");
        return;
    };
    let fleet =
        Fleet::builder(&*address).secret("a secret of the bench").deadline(Duration::from_secs(1)).build().unwrap();
    assert!(fleet.ready(Duration::from_secs(30)).await);
    if let (Some(what), Ok(calls)) = (std::env::var_os("TOLLGATE_COUNT"), std::env::var("TOLLGATE_CALLS")) {
        return count(&fleet, &what.to_string_lossy(), calls.parse().unwrap()).await;
    }
    let limit = fleet.limit("bench", "1000000/second").unwrap();

    for width in [1_u64, 32] {
        let begun = Instant::now();
        let calls = 40_000 / width;
        let tasks: Vec<_> = (0..width)
            .map(|task| {
                let (fleet, limit) = (fleet.clone(), limit.clone());
                tokio::spawn(async move {
                    for _ in 0..calls {
                        assert!(fleet.under(&limit).check(&task).await.is_allowed());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let rate = f64::from(u32::try_from(calls * width).unwrap()) / begun.elapsed().as_secs_f64();
        println!("exact checks, {width} at a time: {rate:.0}/s");
    }

    // Latency at 10,000/s, beside PING through a connection of the same client.
    let mut info = redis::IntoConnectionInfo::into_connection_info(&*address).unwrap();
    info = info.set_tcp_settings(redis::io::tcp::TcpSettings::default().set_nodelay(true));
    let ping = redis::Client::open(info).unwrap().get_multiplexed_async_connection().await.unwrap();
    let mut times = [Vec::new(), Vec::new()];
    // Every 100 us, by a loop that lets others go: a timer has a grain of a millisecond, and ten at once would wait for one another.
    for round in 0..20 {
        let (is_ping, begun) = (round % 2 == 0, Instant::now());
        let mut tasks = Vec::new();
        for key in 0..1_000_u64 {
            while begun.elapsed() < Duration::from_micros(100 * key) {
                tokio::task::yield_now().await;
            }
            let (fleet, limit, mut ping) = (fleet.clone(), limit.clone(), ping.clone());
            tasks.push(tokio::spawn(async move {
                let begun = Instant::now();
                if is_ping {
                    redis::cmd("PING").query_async::<String>(&mut ping).await.unwrap();
                } else {
                    assert!(fleet.under(&limit).check(&key).await.is_allowed());
                }
                begun.elapsed()
            }));
        }
        for task in tasks {
            times[usize::from(!is_ping)].push(task.await.unwrap());
        }
    }
    for (what, times) in ["PING", "exact check"].into_iter().zip(&mut times) {
        times.sort_unstable();
        let at = |part: usize| times[times.len() * part / 1_000];
        println!("{what} at 10,000/s: p50 {:?}, p99 {:?}", at(500), at(990));
    }

    // A breaker that is open, beside a local check.
    let local = Limiter::builder(Quota::per_second(1_000_000)).build().unwrap();
    let open = Fleet::builder("redis://127.0.0.1:1/").secret("a secret of the bench").build().unwrap();
    let closed = open.limit("bench", "1000000/second").unwrap();
    let own = open.limit_with("own", "1000000/second", OnOutage::Local).unwrap();
    let calls = 200_000_u32;
    let begun = Instant::now();
    for _ in 0..calls {
        std::hint::black_box(local.check("ada").is_allowed());
    }
    let checked = begun.elapsed() / calls;
    println!("a local check: {checked:?}");
    // A hot key that is leased: what is fetched is in it, at so many checks a fetch.
    let leased = fleet.limit("leased", "10000000/second burst 10000000").unwrap().leased();
    let before = fleet.stats();
    let begun = Instant::now();
    for _ in 0..calls {
        std::hint::black_box(fleet.under(&leased).check("ada").await.is_allowed());
    }
    let took = begun.elapsed() / calls;
    let fetched = fleet.stats().calls - before.calls;
    let of_local = took.as_secs_f64() / checked.as_secs_f64();
    println!("leased: {took:?}, {of_local:.1} local checks; {fetched} round trips for {calls}");
    for (what, limit) in [("closed", &closed), ("local", &own)] {
        let begun = Instant::now();
        for _ in 0..calls {
            std::hint::black_box(open.under(limit).check("ada").await.is_allowed());
        }
        let took = begun.elapsed() / calls;
        println!("breaker open, {what}: {took:?}, {:.1} local checks", took.as_secs_f64() / checked.as_secs_f64());
    }
}
