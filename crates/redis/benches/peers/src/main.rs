//! What others do on Redis, beside this crate, in one process and on one server: exact checks a second, what a decision about a hot key
//! costs, and how many requests four nodes admit in the first second.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tollgate::{Limiter, Quota};
use tollgate_redis::Fleet;
use trypema::hybrid::{HybridRateLimiterProvider, SyncInterval};
use trypema::redis::{RedisKey, RedisRateLimiterProvider};
use trypema::{RateLimit, RateLimitDecision, RateLimiterBuilder, WindowSize};

/// A token bucket as tutorials have it: two fields of a hash, in floating point, by the client's clock, kept for an hour.
const TUTORIAL: &str = "
local key, rate, size, now = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local state = redis.call('HMGET', key, 'level', 'seen')
local level, seen = tonumber(state[1]) or size, tonumber(state[2]) or now
level = math.min(size, level + math.max(0, now - seen) * rate)
local allowed = 0
if level >= 1 then level, allowed = level - 1, 1 end
redis.call('HSET', key, 'level', level, 'seen', now)
redis.call('EXPIRE', key, 3600)
return allowed
";

const ROUNDS: u32 = 3;
const CALLS: u64 = 8_000;

/// Calls a second, so many tasks at a time.
async fn rate<F: Future<Output = bool> + Send>(width: u64, call: impl Fn(u64) -> F + Clone + Send + 'static) -> f64
where
    F: 'static,
{
    let begun = Instant::now();
    let tasks: Vec<_> = (0..width)
        .map(|task| {
            let call = call.clone();
            tokio::spawn(async move {
                for _ in 0..CALLS / width {
                    assert!(call(task).await, "all of them fit");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    CALLS as f64 / begun.elapsed().as_secs_f64()
}

async fn manager(address: &str) -> redis::aio::ConnectionManager {
    redis::Client::open(address).unwrap().get_connection_manager().await.unwrap()
}

fn seconds() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let address = std::env::var("TOLLGATE_REDIS_ADDRESS").expect("ci/bench_redis.sh names the server");
    let fleet =
        Fleet::builder(&*address).secret("a secret of the bench").deadline(Duration::from_secs(1)).build().unwrap();
    assert!(fleet.ready(Duration::from_secs(5)).await);
    let limit = fleet.limit("bench", "1000000/second").unwrap();
    let script = redis::Script::new(TUTORIAL);
    let plain = redis::Client::open(&*address).unwrap().get_multiplexed_async_connection().await.unwrap();
    let exact = RedisRateLimiterProvider::builder(manager(&address).await)
        .window_size(WindowSize::seconds_or_panic(1))
        .build()
        .unwrap();
    let most = RateLimit::per_second_or_panic(1_000_000.0);

    // In turns, so that what else the machine does falls on all.
    for width in [1, 32] {
        let mut best = [0.0_f64; 3];
        for _ in 0..ROUNDS {
            let (fleet, limit) = (fleet.clone(), limit.clone());
            let ours = move |task: u64| {
                let (fleet, limit) = (fleet.clone(), limit.clone());
                async move { fleet.under(&limit).check(&task).await.is_allowed() }
            };
            let (script, plain) = (script.clone(), plain.clone());
            let tutorial = move |task: u64| {
                let (script, mut plain) = (script.clone(), plain.clone());
                async move {
                    let mut call = script.key(format!("bench:tutorial:{task}"));
                    call.arg(1_000_000).arg(1_000_000).arg(seconds()).invoke_async::<i64>(&mut plain).await.unwrap()
                        == 1
                }
            };
            let exact = exact.clone();
            let peer = move |task: u64| {
                let exact = exact.clone();
                async move {
                    let key = RedisKey::try_from(format!("bench-{task}")).unwrap();
                    matches!(exact.absolute().inc(&key, &most, 1).await, Ok(RateLimitDecision::Allowed))
                }
            };
            best = [
                best[0].max(rate(width, ours).await),
                best[1].max(rate(width, tutorial).await),
                best[2].max(rate(width, peer).await),
            ];
        }
        let [ours, tutorial, peer] = best;
        println!("exact checks a second, {width} at a time, best of {ROUNDS}: tollgate-redis {ours:.0}");
        println!("  a tutorial's script through redis-rs {tutorial:.0}: {:.2} of ours", tutorial / ours);
        println!("  trypema's Redis provider {peer:.0}: {:.2} of ours", peer / ours);
    }

    // A hot key, of which this process holds something.
    let hybrid = |manager| {
        HybridRateLimiterProvider::builder(manager)
            .window_size(WindowSize::seconds_or_panic(1))
            .sync_interval(SyncInterval::milliseconds_or_panic(10))
            .build()
            .unwrap()
    };
    let provider = hybrid(manager(&address).await);
    let key = RedisKey::try_from("hot".to_owned()).unwrap();
    let hot = RateLimit::per_second_or_panic(10_000_000.0);
    let leased = fleet.limit("leased", "10000000/second burst 10000000").unwrap().leased();
    let local = Limiter::builder(Quota::per_second(1_000_000)).build().unwrap();
    let mut best = [f64::INFINITY; 3];
    for _ in 0..ROUNDS {
        let calls = 100_000_u32;
        let each = |begun: Instant| begun.elapsed().as_nanos() as f64 / f64::from(calls);
        let begun = Instant::now();
        for _ in 0..calls {
            black_box(local.check("ada").is_allowed());
        }
        best[0] = best[0].min(each(begun));
        let begun = Instant::now();
        for _ in 0..calls {
            black_box(fleet.under(&leased).check("ada").await.is_allowed());
        }
        best[1] = best[1].min(each(begun));
        let begun = Instant::now();
        for _ in 0..calls {
            black_box(provider.absolute().inc(&key, &hot, 1).await.is_ok());
        }
        best[2] = best[2].min(each(begun));
    }
    let [local, leased, peer] = best;
    println!(
        "a decision about a hot key: a local check {local:.0} ns, leased {leased:.0} ns ({:.1}), trypema hybrid {peer:.0} ns ({:.1})",
        leased / local,
        peer / local
    );

    // Four nodes that are all asked for one key from the first instant on: what they admit in the first 200 ms of a limit of 200 in 10 s.
    let mut nodes = Vec::new();
    let begun = Instant::now();
    let lasts = Duration::from_millis(200);
    for _ in 0..4 {
        let provider = HybridRateLimiterProvider::builder(manager(&address).await)
            .window_size(WindowSize::seconds_or_panic(10))
            .sync_interval(SyncInterval::milliseconds_or_panic(10))
            .build()
            .unwrap();
        let own = Fleet::builder(&*address).secret("a secret of the bench").nodes(4).build().unwrap();
        assert!(own.ready(Duration::from_secs(5)).await);
        nodes.push((provider, own));
    }
    println!("four nodes connected in {:?}", begun.elapsed());
    let tasks: Vec<_> = nodes
        .iter()
        .cloned()
        .map(|(provider, _)| {
            tokio::spawn(async move {
                let (key, rate) =
                    (RedisKey::try_from("shared".to_owned()).unwrap(), RateLimit::per_second_or_panic(20.0));
                let (begun, mut admitted) = (Instant::now(), 0_u64);
                while begun.elapsed() < lasts {
                    admitted += u64::from(matches!(
                        provider.absolute().inc(&key, &rate, 1).await,
                        Ok(RateLimitDecision::Allowed)
                    ));
                    tokio::task::yield_now().await;
                }
                admitted
            })
        })
        .collect();
    let mut peer = 0;
    for task in tasks {
        peer += task.await.unwrap();
    }
    let tasks: Vec<_> = nodes
        .iter()
        .cloned()
        .map(|(_, fleet)| {
            tokio::spawn(async move {
                let limit = fleet.limit("shared", "200 per 10 seconds").unwrap().leased();
                let (begun, mut admitted) = (Instant::now(), 0_u64);
                while begun.elapsed() < lasts {
                    admitted += u64::from(fleet.under(&limit).check("ada").await.is_allowed());
                    tokio::task::yield_now().await;
                }
                admitted
            })
        })
        .collect();
    let mut ours = 0;
    for task in tasks {
        ours += task.await.unwrap();
    }
    println!(
        "four nodes, 200 in 10 s, admitted in the first 0.2 s: leases {ours} (of 204), trypema hybrid {peer} (of 200)"
    );
}
