//! Cases that were computed by hand, with the server's clock set by the test: figures, what is stored, and until when.

use std::time::Duration;

use tollgate::Verdict;
use tollgate_redis::{Fleet, FleetDecision, FleetLimit};

use crate::harness::{Server, T0};

async fn stored(server: &Server) -> Vec<(String, i64)> {
    let mut all = Vec::new();
    for key in server.keys().await {
        let text: String = redis::from_redis_value(server.run(&["GET", &key]).await).unwrap();
        all.push((text, server.number(&["PEXPIRETIME", &key]).await));
    }
    all
}

async fn take(fleet: &Fleet, limit: &FleetLimit, n: u64) -> FleetDecision {
    let mut last = None;
    for i in 0..n {
        let decision = fleet.under(limit).check("ada").await;
        assert!(decision.is_allowed() || i + 1 == n, "{i} of {n}: {decision:?}");
        last = Some(decision);
    }
    last.unwrap()
}

fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

#[tokio::test]
async fn thirds_of_a_microsecond() {
    let server = Server::start();
    let fleet = server.fleet_with_clock().await;
    let limit = fleet.limit("a", "300/second").unwrap();
    let last = take(&fleet, &limit, 300).await;
    assert!(last.is_allowed() && last.remaining() == 0);
    let refused = take(&fleet, &limit, 1).await;
    assert_eq!((refused.verdict(), refused.remaining()), (Verdict::Refused, 0));
    assert_eq!((refused.retry_after(), refused.reset_after()), (Some(us(3_334)), us(1_000_000)));
    assert_eq!(refused.at_micros(), Some(T0));
    assert_eq!(stored(&server).await, [("4100000001000000 300/300".to_owned(), 4_100_000_001_000)]);
    server.set_clock(T0 + 3_333).await;
    assert!(take(&fleet, &limit, 1).await.is_refused());
    server.set_clock(T0 + 3_334).await;
    assert!(take(&fleet, &limit, 1).await.is_allowed());
    assert_eq!(stored(&server).await, [("4100000001003333:1 300/300".to_owned(), 4_100_000_001_004)]);
    server.set_clock(T0 + 1_000_000).await;
    assert_eq!(fleet.under(&limit).key("ada").peek_n(0).await.remaining(), 299);
    server.set_clock(T0 + 1_003_334).await;
    assert_eq!(fleet.under(&limit).key("ada").peek_n(0).await.remaining(), 300);
    // The key names neither client nor secret, and is in braces for a cluster.
    let key = &server.keys().await[0];
    assert!(key.starts_with("tg1:{") && key.ends_with("}:a:b1000000000") && !key.contains("ada"), "{key}");
}

#[tokio::test]
async fn sevenths() {
    let server = Server::start();
    let fleet = server.fleet_with_clock().await;
    let limit = fleet.limit("a", "7/minute").unwrap();
    let resets = [8_571_429, 17_142_858, 25_714_286, 34_285_715, 42_857_143, 51_428_572, 60_000_000];
    for (remaining, reset) in (0..7).rev().zip(resets) {
        let decision = take(&fleet, &limit, 1).await;
        assert_eq!((decision.remaining(), decision.reset_after()), (remaining, us(reset)));
    }
    assert_eq!(take(&fleet, &limit, 1).await.retry_after(), Some(us(8_571_429)));
    server.set_clock(T0 + 8_571_428).await;
    assert!(take(&fleet, &limit, 1).await.is_refused());
    server.set_clock(T0 + 8_571_429).await;
    assert!(take(&fleet, &limit, 1).await.is_allowed());
}

#[tokio::test]
async fn two_limits_at_once() {
    let server = Server::start();
    let fleet = server.fleet_with_clock().await;
    let limits = [fleet.limit("a", "10/second").unwrap(), fleet.limit("b", "15/minute").unwrap()];
    for _ in 0..10 {
        assert!(fleet.check_set(&limits, "ada").await.is_allowed());
    }
    assert_eq!(fleet.check_set(&limits, "ada").await.index(), 0);
    server.set_clock(T0 + 1_000_000).await;
    for _ in 0..5 {
        assert!(fleet.check_set(&limits, "ada").await.is_allowed());
    }
    let refused = fleet.check_set(&limits, "ada").await;
    assert!(refused.is_refused() && refused.index() == 1);
    let [a, b] = refused.decisions() else { panic!("two") };
    assert_eq!((a.remaining(), a.reset_after(), a.is_allowed()), (5, us(500_000), true));
    assert_eq!((b.remaining(), b.retry_after(), b.reset_after()), (0, Some(us(3_000_000)), us(59_000_000)));
    let texts: Vec<String> = stored(&server).await.into_iter().map(|(text, _)| text).collect();
    assert_eq!(texts, ["4100000001500000 10/10", "4100000060000000 15/15"]);
    // The same key twice in one request is charged twice.
    let twice = fleet.check_items(vec![fleet.item(&limits[0], "eve", 6), fleet.item(&limits[0], "eve", 5)]).await;
    assert!(twice.is_refused());
    let twice = fleet.check_items(vec![fleet.item(&limits[0], "eve", 6), fleet.item(&limits[0], "eve", 4)]).await;
    assert!(twice.is_allowed() && twice.decisions().len() == 2);
    assert_eq!(fleet.under(&limits[0]).key("eve").peek_n(0).await.remaining(), 0);
    assert!(fleet.check_set(&[], "ada").await.is_refused());
}

#[tokio::test]
async fn windows() {
    let server = Server::start();
    let fleet = server.fleet_with_clock().await;
    let limit = fleet.limit("a", "100/minute as fixed-window").unwrap();
    let refused = take(&fleet, &limit, 101).await;
    assert_eq!(refused.retry_after(), Some(us(40_000_000)));
    assert_eq!(stored(&server).await, [("4100000040000100".to_owned(), 4_100_000_040_000)]);
    server.set_clock(T0 + 39_999_999).await;
    assert!(take(&fleet, &limit, 1).await.is_refused());
    server.set_clock(T0 + 40_000_000).await;
    assert!(take(&fleet, &limit, 101).await.is_refused());
    // Two seconds back: the window that was is full, and the one after begins anew.
    server.set_clock(T0 + 38_000_000).await;
    assert_eq!(take(&fleet, &limit, 1).await.retry_after(), Some(us(2_000_000)));
    server.set_clock(T0 + 40_000_000).await;
    assert!(take(&fleet, &limit, 1).await.is_allowed());
}

#[tokio::test]
async fn a_clock_that_steps_back_locks_nobody() {
    let server = Server::start();
    let fleet = server.fleet_with_clock().await;
    for quota in ["10/second", "10/second as leaky-queue", "10/second as sliding-window", "10/second as sliding-log"] {
        let limit = fleet.limit("a", quota).unwrap();
        server.set_clock(T0).await;
        let _ = take(&fleet, &limit, if quota.ends_with("queue") { 1 } else { 10 }).await;
        // By as much as is borne: as if the clock had not moved.
        server.set_clock(T0 - 500_000).await;
        assert!(take(&fleet, &limit, 1).await.is_refused(), "{quota}");
        // By an hour: refused for two periods at most.
        server.set_clock(T0 - 3_600_000_000).await;
        let wait = take(&fleet, &limit, 1).await.retry_after().unwrap();
        assert!(wait <= Duration::from_secs(2), "{quota}: {wait:?}");
        server.set_clock(T0 - 3_600_000_000 + 2_000_001).await;
        assert!(take(&fleet, &limit, 1).await.is_allowed(), "{quota}");
    }
}

#[tokio::test]
async fn reservations_and_debts() {
    let server = Server::start();
    let fleet = server.fleet_with_clock().await;
    let limit = fleet.limit("a", "10/second as leaky-queue").unwrap();
    let line = fleet.under(&limit).key("ada");
    for i in 0..=10 {
        let place = line.reserve(1, Duration::from_secs(9)).await.unwrap();
        assert_eq!(place.wait(), us(100_000 * i));
    }
    let refused = line.reserve(1, Duration::from_secs(9)).await.unwrap_err();
    assert_eq!(refused.retry_after(), Some(us(1_100_000)));
    // Those who wait keep their instants.
    line.refund(3).await.unwrap();
    assert_eq!(line.peek().await.retry_after(), Some(us(1_100_000)));

    let limit = fleet.limit("b", "10/second").unwrap();
    let bucket = fleet.under(&limit).key("ada");
    assert_eq!(bucket.take_up_to(7).await, 7);
    assert_eq!(bucket.take_up_to(7).await, 3);
    assert_eq!(bucket.take_up_to(7).await, 0);
    let first = bucket.reserve(2, Duration::from_secs(1)).await.unwrap();
    assert_eq!(first.wait(), us(200_000));
    let second = bucket.reserve(1, Duration::from_secs(1)).await.unwrap();
    assert_eq!(second.wait(), us(300_000));
    assert_eq!(first.cancel().await, Ok(false), "somebody stands behind it");
    assert_eq!(second.cancel().await, Ok(true));
    let again = bucket.reserve(1, Duration::from_secs(1)).await.unwrap();
    assert_eq!(again.wait(), us(300_000));
    assert!(bucket.reserve(9, us(1_199_999)).await.is_err());
    assert!(bucket.reserve(9, us(1_200_000)).await.is_ok());
    bucket.reset().await.unwrap();
    assert_eq!(bucket.peek_n(0).await.remaining(), 10);
    assert_eq!(bucket.charge(25).await, Ok(25));
    assert_eq!(bucket.peek().await.retry_after(), Some(us(1_600_000)));
    bucket.refund(20).await.unwrap();
    assert_eq!(bucket.peek_n(0).await.remaining(), 5);
    bucket.refund(20).await.unwrap();
    assert_eq!(bucket.peek_n(0).await.remaining(), 10);
    // A charge stops where the debt does: an hour.
    assert_eq!(bucket.charge(u64::MAX).await, Ok(36_010));
}

#[tokio::test]
async fn a_rolling_deploy_neither_mints_nor_locks() {
    let server = Server::start();
    let fleet = server.fleet_with_clock().await;
    let old = fleet.limit("a", "100/minute").unwrap();
    let new = fleet.limit("a", "10/minute").unwrap();
    assert_eq!(fleet.under(&old).key("ada").take_up_to(50).await, 50);
    // Half used is all that the new burst holds; a token later one more fits.
    let refused = fleet.under(&new).check("ada").await;
    assert_eq!(refused.retry_after(), Some(us(6_000_000)));
    // The old nodes have lost nothing and won nothing.
    let kept = fleet.under(&old).key("ada").peek_n(0).await.remaining();
    assert_eq!(kept, 50);
    // By turns, however often, for the old burst in all.
    let mut admitted = 50;
    for _ in 0..200 {
        let _ = fleet.under(&new).peek("ada").await;
        admitted += u64::from(fleet.under(&old).check("ada").await.is_allowed());
        admitted += u64::from(fleet.under(&new).check("ada").await.is_allowed());
    }
    assert_eq!(admitted, 100);
    server.set_clock(T0 + 6_000_000).await;
    assert!(fleet.under(&new).check("ada").await.is_allowed());
}

#[tokio::test]
async fn windows_from_the_first_request_and_refusals_that_count() {
    let server = Server::start();
    let fleet = server.fleet_with_clock().await;
    let quota: tollgate::Quota = "3/minute as fixed-window".parse().unwrap();
    let first = quota.with_window_start(tollgate::WindowStart::FirstHit);
    let limit = fleet.limit("a", first).unwrap();
    assert_eq!(take(&fleet, &limit, 4).await.retry_after(), Some(us(60_000_000)));
    server.set_clock(T0 + 59_999_999).await;
    assert!(take(&fleet, &limit, 1).await.is_refused());
    server.set_clock(T0 + 60_000_000).await;
    assert!(take(&fleet, &limit, 3).await.is_allowed());
    server.set_clock(T0).await;
    let limit = fleet.limit("b", quota.with_refused_counted(true)).unwrap();
    assert!(fleet.under(&limit).check_n("ada", 2).await.is_allowed());
    assert!(fleet.under(&limit).check_n("ada", 2).await.is_refused());
    // What would have fitted does not any more.
    assert!(fleet.under(&limit).check("ada").await.is_refused());
}

#[tokio::test]
async fn reservations_under_several_limits() {
    let server = Server::start();
    let fleet = server.fleet_with_clock().await;
    let texts = async || stored(&server).await.into_iter().map(|(text, _)| text).collect::<Vec<_>>();
    let limits = [fleet.limit("a", "10/second burst 5").unwrap(), fleet.limit("b", "2/second burst 2").unwrap()];
    let reserve = async |wait| fleet.reserve_set(&limits, "ada", 1, wait).await;
    for _ in 0..2 {
        assert_eq!(reserve(Duration::ZERO).await.unwrap().wait(), Duration::ZERO);
    }
    let two = texts().await;
    assert_eq!(two, [format!("{} 10/5", T0 + 200_000), format!("{} 2/2", T0 + 1_000_000)]);
    // `b` lets the next go half a second later, and `a` counts it as of then.
    assert_eq!(reserve(us(499_999)).await.unwrap_err().index(), 1);
    assert_eq!(texts().await, two, "nothing was taken");
    let third = reserve(us(500_000)).await.unwrap();
    assert_eq!(third.wait(), us(500_000));
    assert_eq!(texts().await, [format!("{}p 10/5", T0 + 600_000), format!("{}p 2/2", T0 + 1_500_000)]);
    let refused = reserve(us(999_999)).await.unwrap_err();
    assert_eq!((refused.index(), refused.retry_after()), (1, Some(us(1_000_000))));
    assert_eq!(third.cancel().await, Ok(true));
    assert_eq!(texts().await, two);

    // A window counts it if it goes before the end, and a log only what goes at once.
    let window = fleet.limit("w", "9/minute as fixed-window").unwrap();
    let log = fleet.limit("z", "9/minute as sliding-log").unwrap();
    let with = async |limit: &FleetLimit| {
        let both = [limits[1].clone(), limit.clone()];
        fleet.reserve_set(&both, "ada", 1, Duration::from_secs(9)).await
    };
    server.set_clock(T0 + 39_000_000).await;
    for wait in [0, 0, 500_000] {
        assert_eq!(with(&window).await.unwrap().wait(), us(wait));
    }
    // The next would go at the very end.
    let refused = with(&window).await.unwrap_err();
    assert_eq!((refused.index(), refused.retry_after()), (1, Some(us(1_000_000))));
    let left = fleet.under(&window).peek("ada").await.remaining();
    assert_eq!(left, 6);
    assert_eq!(with(&log).await.unwrap_err().index(), 1);
    server.set_clock(T0 + 41_000_000).await;
    assert_eq!(with(&log).await.unwrap().wait(), Duration::ZERO);
    assert_eq!(with(&window).await.unwrap().wait(), us(0));
    // One that is closed, or is asked for too much, refuses for all; one without a limit does not.
    let (closed, open) = (fleet.limit("c", "blocked").unwrap(), fleet.limit("o", "unlimited").unwrap());
    assert!(with(&closed).await.unwrap_err().decisions()[1].never_fits());
    assert_eq!(with(&open).await.unwrap().wait(), us(500_000));
    assert!(fleet.reserve_set(&limits, "eve", 3, Duration::from_secs(9)).await.unwrap_err().decision().never_fits());
    assert!(fleet.reserve_set(&[], "eve", 1, Duration::from_secs(9)).await.is_err());
}

/// Whatever is reserved, checked and cancelled, at whatever instants: what goes is within each limit in every span.
#[tokio::test]
async fn what_was_reserved_goes_within_every_limit() {
    let server = Server::start();
    let fleet = server.fleet_with_clock().await;
    let quotas = ["10/second burst 5", "7/2s burst 3", "3/second as leaky-queue", "12/2s as fixed-window"];
    // Burst, and microseconds a token.
    let spans = [(5, 100_000), (3, 285_715), (1, 333_334)];
    let limits: Vec<FleetLimit> =
        (0..).zip(quotas).map(|(i, quota)| fleet.limit(&format!("l{i}"), quota).unwrap()).collect();
    let (mut gone, mut now, mut dice) = (vec![Vec::new(); limits.len()], T0, fastrand::Rng::with_seed(9));
    let (mut waited, mut cancelled) = (0, 0);
    for _ in 0..400 {
        let wait = us(dice.u64(0..1_500_000));
        if let Ok(reservation) = fleet.reserve_set(&limits, "ada", 1, wait).await {
            assert!(reservation.wait() <= wait);
            waited += u64::from(reservation.wait() > Duration::ZERO);
            let go = now + u64::try_from(reservation.wait().as_micros()).unwrap();
            // What is cancelled is the last, so that it comes back to all.
            if dice.u8(0..4) == 0 {
                assert_eq!(reservation.cancel().await, Ok(true));
                cancelled += 1;
            } else {
                gone.iter_mut().for_each(|gone| gone.push(go));
            }
        }
        // And some that are of one limit only, and go at once.
        let one = dice.usize(0..limits.len());
        if fleet.under(&limits[one]).check("ada").await.is_allowed() {
            gone[one].push(now);
        }
        now += dice.u64(0..300_000);
        server.set_clock(now).await;
    }
    let all: usize = gone.iter().map(Vec::len).sum();
    assert!(waited > 20 && cancelled > 20 && all > 400, "{waited}, {cancelled}, {all}");
    gone.iter_mut().for_each(|gone| gone.sort_unstable());
    for ((burst, token), gone) in spans.into_iter().zip(&gone) {
        for first in 0..gone.len() {
            for (count, &at) in (1..).zip(&gone[first..]) {
                // A microsecond for each figure that is rounded.
                let most = burst + (at - gone[first] + 2) / token;
                assert!(count <= most, "{count} in {} us from {first}, {burst}", at - gone[first]);
            }
        }
    }
    let mut windows = std::collections::HashMap::new();
    for at in &gone[3] {
        *windows.entry(at / 2_000_000).or_insert(0) += 1;
    }
    assert!(windows.values().all(|&count| count <= 12), "{windows:?}");
}
