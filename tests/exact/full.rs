//! What is told of a wait in a full table is true: admitted then, and not a nanosecond earlier (P2).

use std::time::Duration;

use super::common::Rng;
use super::{millis, secs};
use tollgate::clock::ManualClock;
use tollgate::{Algorithm, Decision, LimitSet, Limiter, OnFull, Quota};

/// The answer of the same request to the same table, asked at once and again after a wait.
fn asked(
    build: &impl Fn() -> Limiter<ManualClock>,
    ask: &dyn Fn(&Limiter<ManualClock>) -> Answer,
    wait: Duration,
) -> [Answer; 2] {
    let limiter = build();
    let first = ask(&limiter);
    limiter.clock().advance(wait);
    [first, ask(&limiter)]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Allowed,
    Retry(Duration),
    Never,
}

impl From<Decision<'_>> for Answer {
    fn from(decision: Decision<'_>) -> Self {
        match decision.retry_after() {
            _ if decision.is_allowed() => Self::Allowed,
            Some(wait) => Self::Retry(wait),
            None => Self::Never,
        }
    }
}

fn check_wait(
    build: impl Fn() -> Limiter<ManualClock>,
    ask: &dyn Fn(&Limiter<ManualClock>) -> Answer,
    what: &str,
) -> bool {
    let [Answer::Retry(wait), _] = asked(&build, ask, Duration::ZERO) else { return false };
    let [before, after] = [wait - Duration::from_nanos(1), wait].map(|wait| asked(&build, ask, wait)[1]);
    assert_ne!(before, Answer::Allowed, "{what}: told {wait:?}, admitted a nanosecond before");
    assert_eq!(after, Answer::Allowed, "{what}: told {wait:?}, refused then");
    true
}

/// Fills a small table with keys that are busy for different times.
fn crowded(seed: u64, policy: OnFull) -> impl Fn() -> Limiter<ManualClock> {
    crowded_after(seed, policy, |_| {})
}

/// The same, with something done before.
fn crowded_after(
    seed: u64,
    policy: OnFull,
    before: impl Fn(&Limiter<ManualClock>),
) -> impl Fn() -> Limiter<ManualClock> {
    move || {
        let mut rng = Rng(seed);
        let capacity = 1 + rng.below(12);
        let builder = Limiter::builder(Quota::per_minute(60)).capacity(usize::try_from(capacity).unwrap());
        let limiter =
            builder.on_full(policy).fixed_seed(seed).clock(ManualClock::new(super::common::ns(1))).build().unwrap();
        before(&limiter);
        for key in 0..200_u64 {
            limiter.clock().advance(millis(rng.below(3)));
            let _ = limiter.key(&key).take_up_to(1 + rng.below(60));
        }
        limiter
    }
}

#[test]
fn of_a_log() {
    let mut refused = 0;
    for seed in 0..50 {
        for policy in [OnFull::EvictNearestIdle, OnFull::RefuseNew] {
            for (count, cost) in [(1, 1), (5, 1), (5, 3), (8, 8)] {
                let ask = |limiter: &Limiter<ManualClock>| {
                    let log = Quota::per_minute(count).with_algorithm(Algorithm::SlidingLog);
                    let log = limiter.prepare("log", log).unwrap();
                    Answer::from(limiter.under(&log).check_n("key", cost))
                };
                let what = format!("seed {seed}, {policy:?}, {cost} of {count}");
                refused += u32::from(check_wait(crowded(seed, policy), &ask, &what));
            }
        }
    }
    assert!(refused > 50, "{refused}");
}

/// A log of which some is used already: the rest needs slots by the time the first of them comes back.
#[test]
fn of_a_log_in_use() {
    let mut refused = 0;
    for seed in 0..100 {
        let quota = Quota::per_minute(5).with_algorithm(Algorithm::SlidingLog);
        let build = || {
            let crowd = crowded_after(seed, OnFull::RefuseNew, |limiter| {
                let log = limiter.prepare("log", quota).unwrap();
                assert_eq!(limiter.under(&log).key("key").take_up_to(2), 2);
                // It comes back while most of the table is still busy.
                limiter.clock().advance(secs(50));
            });
            crowd()
        };
        let ask = |limiter: &Limiter<ManualClock>| {
            let log = limiter.prepare("log", quota).unwrap();
            Answer::from(limiter.under(&log).check_n("key", 4))
        };
        refused += u32::from(check_wait(build, &ask, &format!("seed {seed}")));
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn of_a_set() {
    let mut refused = 0;
    for seed in 0..50 {
        for policy in [OnFull::EvictNearestIdle, OnFull::RefuseNew] {
            for (quotas, cost) in [
                ([Quota::per_minute(5), Quota::per_second(3)], 1),
                ([Quota::per_minute(5), Quota::per_second(3)], 3),
                ([Quota::per_minute(4), Quota::per_hour(3).with_algorithm(Algorithm::SlidingLog)], 2),
                ([Quota::per_minute(4).with_algorithm(Algorithm::FixedWindow), Quota::per_minute(9)], 2),
            ] {
                let ask = |limiter: &Limiter<ManualClock>| {
                    let limits =
                        ["a", "b"].into_iter().zip(quotas).map(|(name, quota)| limiter.prepare(name, quota).unwrap());
                    let set = LimitSet::new(limits).unwrap();
                    Answer::from(limiter.check_set_n(&set, "key", cost).decision())
                };
                let what = format!("seed {seed}, {policy:?}, {cost} of {quotas:?}");
                refused += u32::from(check_wait(crowded(seed, policy), &ask, &what));
            }
        }
    }
    assert!(refused > 50, "{refused}");
}

/// A look says what a request would be told.
#[test]
fn of_a_look() {
    let mut refused = 0;
    for seed in 0..100 {
        for policy in [OnFull::EvictNearestIdle, OnFull::RefuseNew, OnFull::AdmitUntracked] {
            let limiter = crowded(seed, policy)();
            for cost in [1, 30] {
                let looked = limiter.key("key").peek_n(cost).report();
                let asked = limiter.check_n("key", cost);
                let told = (looked.verdict, looked.retry_after);
                assert_eq!(told, (asked.verdict(), asked.retry_after()), "seed {seed}, {policy:?}");
                refused += u32::from(asked.is_refused());
            }
        }
    }
    assert!(refused > 50, "{refused}");
}

/// A log that is larger than the table never fits, and says so.
#[test]
fn of_a_request_that_is_larger_than_the_table() {
    let limiter = Limiter::builder(Quota::per_minute(1)).capacity(1).clock(ManualClock::default()).build().unwrap();
    let log = limiter.prepare("log", Quota::per_minute(1_000).with_algorithm(Algorithm::SlidingLog)).unwrap();
    limiter.clock().advance(secs(1));
    let refused = limiter.under(&log).check_n("key", 900);
    assert!(refused.is_refused() && refused.never_fits() && refused.retry_after().is_none());
}

/// In a full table a look and a check answer the same, by what was used before the quota changed, or not.
#[test]
fn a_look_answers_as_a_check_does() {
    for policy in [OnFull::RefuseNew, OnFull::EvictNearestIdle, OnFull::AdmitUntracked] {
        for algorithm in Algorithm::ALL {
            for (is_changed, used) in [(false, 0), (true, 0), (true, 2)] {
                let quota = |count| Quota::per_hour(count).with_algorithm(algorithm);
                let builder = Limiter::builder(quota(10)).capacity(1).on_full(policy).fixed_seed(3);
                let limiter = builder.clock(ManualClock::default()).build().unwrap();
                let _ = limiter.key("key").take_up_to(used);
                let mut limit = *limiter.default_limit();
                if is_changed {
                    limit = limiter.change_quota(&limit, quota(20)).unwrap();
                }
                let cost = if algorithm == Algorithm::LeakyQueue { 1 } else { 10 };
                for other in 0..300 {
                    let _ = limiter.check_n(&("other", other), cost);
                }
                let view = limiter.under(&limit);
                let (look, check) = (view.peek("key"), view.check("key"));
                let what = format!("{policy:?}, {algorithm}, {is_changed}, {used}");
                assert_eq!(
                    (look.is_allowed(), look.retry_after()),
                    (check.is_allowed(), check.retry_after()),
                    "{what}"
                );
            }
        }
    }
}

/// A wait for what is carried over is also one for a slot.
#[test]
fn of_what_is_carried_over() {
    for policy in [OnFull::RefuseNew, OnFull::EvictNearestIdle] {
        for algorithm in [Algorithm::TokenBucket, Algorithm::FixedWindow, Algorithm::SlidingWindow] {
            for used in 1..=5 {
                let quota = |count| Quota::per_minute(count).with_algorithm(algorithm);
                let builder = Limiter::builder(quota(5)).capacity(1).on_full(policy).fixed_seed(3);
                let limiter = builder.clock(ManualClock::default()).build().unwrap();
                assert_eq!(limiter.key("key").take_up_to(used), used);
                for other in 0..300 {
                    let _ = limiter.check_n(&("other", other), 5);
                }
                let limit = limiter.change_quota(limiter.default_limit(), quota(6)).unwrap();
                let Some(wait) = limiter.under(&limit).check_n("key", 6).retry_after() else { continue };
                let now = limiter.now();
                let fits = |wait| limiter.under(&limit).at(now + wait).key("key").peek_n(6).is_allowed();
                let what = format!("{policy:?}, {algorithm}, {used}: {wait:?}");
                assert!(fits(wait) && !fits(wait - Duration::from_nanos(1)), "{what}");
            }
        }
    }
}
