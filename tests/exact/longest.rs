//! The longest period of each algorithm: what every limiter holds, and where one of a certain unit of time ends.

use std::time::Duration;

use super::common::{bucket, limiter, nanos};
use super::{ALL, secs};
use tollgate::clock::ManualClock;
use tollgate::error::{LimitError, QuotaError};
use tollgate::{Algorithm, Limiter, Quota};

const NS: Duration = Duration::from_nanos(1);

fn of(count: u64, period: Duration, algorithm: Algorithm) -> Quota {
    Quota::new(count, period).unwrap().with_algorithm(algorithm)
}

/// Limiters whose units are as fine and as coarse as they get, and that of most.
fn limiters() -> [Limiter<ManualClock>; 3] {
    // As many units a second as fit; just too many for twice as many to fit; and a multiple of a thousand million.
    [2_490_171_478, 1_245_085_741, 1].map(|count| {
        Limiter::builder(Quota::per_second(count)).capacity(4_096).clock(ManualClock::default()).build().unwrap()
    })
}

fn refused(limiter: &Limiter<ManualClock>, quota: Quota) -> QuotaError {
    match limiter.prepare("name", quota) {
        Err(LimitError::Quota(error)) => error,
        other => panic!("{quota}: {other:?}"),
    }
}

#[test]
fn every_limiter_holds_what_an_algorithm_promises() {
    let [finest, coarsest, usual] = limiters();
    let units = |limiter: &Limiter<ManualClock>| limiter.default_limit().units_per_second();
    assert_eq!((units(&finest), units(&coarsest), units(&usual)), (2_490_171_478, 1_245_085_741, 2_000_000_000));
    for algorithm in Algorithm::ALL {
        for limiter in [&finest, &coarsest, &usual] {
            // Counts that divide nothing among them.
            for count in [1, 2, 3, 7, 600, 1_000, 1_024] {
                let longest = of(count, algorithm.max_period(), algorithm);
                let limit = limiter.prepare("name", longest).unwrap();
                assert_eq!(limiter.under(&limit).key(&count).take_up_to(ALL), count, "{longest}");
                assert!(!limiter.under(&limit).check(&count).is_allowed(), "{longest}");
                limiter.under(&limit).key(&count).reset();
            }
        }
        // Not a day more, of the finest.
        let more = of(1, algorithm.max_period() + secs(86_400), algorithm);
        assert!(matches!(refused(&finest, more), QuotaError::PeriodTooLong { .. }), "{more}");
    }
}

#[test]
fn each_limiter_says_its_bound_to_the_nanosecond() {
    for limiter in limiters() {
        let ahead = (1_u128 << 58) - 1;
        let units = u128::from(limiter.default_limit().units_per_second());
        for algorithm in Algorithm::ALL {
            let share = match algorithm {
                Algorithm::SlidingWindow => 3,
                Algorithm::LeakyQueue | Algorithm::FixedWindow | Algorithm::SlidingLog => 2,
                _ => 1,
            };
            let asked = of(1, Quota::MAX_PERIOD, algorithm);
            let QuotaError::PeriodTooLong { algorithm: Some(named), period, max } = refused(&limiter, asked) else {
                panic!("{asked}")
            };
            assert_eq!((named, period), (algorithm, Quota::MAX_PERIOD));
            // No unit more than the share of what a stamp may be ahead, and no nanosecond less.
            assert_eq!(u128::from(nanos(max)), ahead / share * 1_000_000_000 / units, "{algorithm}");
            assert!(max >= algorithm.max_period());
            assert!(limiter.prepare("name", of(1, max, algorithm)).is_ok(), "{algorithm}: {max:?}");
            let long = max + NS;
            let error = refused(&limiter, of(1, long, algorithm));
            assert_eq!(error, QuotaError::PeriodTooLong { algorithm: Some(algorithm), period: long, max });
            let days = algorithm.max_period().as_secs() / 86_400;
            let said = error.to_string();
            assert!(
                said.contains(&format!("the period of a {algorithm} of this count must be at most {max:?} (")),
                "{said}"
            );
            assert!(
                said.contains(&format!("and {long:?} (")) && said.ends_with(&format!("holds {days} days")),
                "{said}"
            );
        }
    }
}

/// Two tokens in a period may each take half of it.
#[test]
fn the_bound_of_a_bucket_is_that_of_one_token() {
    let [finest, ..] = limiters();
    let quota = of(2, Quota::MAX_PERIOD, Algorithm::TokenBucket).with_burst(1);
    let QuotaError::PeriodTooLong { max, .. } = refused(&finest, quota) else { panic!() };
    assert!(max > Algorithm::TokenBucket.max_period() * 2);
    assert!(finest.prepare("name", of(2, max, Algorithm::TokenBucket).with_burst(1)).is_ok());
    let both = of(2, max, Algorithm::TokenBucket);
    assert_eq!(refused(&finest, both), QuotaError::BurstTooLarge { quota: both, max_burst: 1 });
    // Of many tokens each is short.
    assert!(finest.prepare("name", of(1_000, Quota::MAX_PERIOD, Algorithm::TokenBucket).with_burst(300)).is_ok());

    // A queue without places has no line, so a token twice as long.
    let queue = |period, burst| of(1, period, Algorithm::LeakyQueue).with_burst(burst);
    let bound = |burst| match refused(&finest, queue(Quota::MAX_PERIOD, burst)) {
        QuotaError::PeriodTooLong { max, .. } => max,
        other => panic!("{other}"),
    };
    assert!(bound(1) == bound(9) && bound(0) - 2 * bound(1) <= 2 * NS, "{:?} and {:?}", bound(0), bound(1));
    assert!(finest.prepare("name", queue(bound(0), 0)).is_ok() && finest.prepare("name", queue(bound(1), 1)).is_ok());
    assert!(matches!(refused(&finest, queue(bound(1), 2)), QuotaError::BurstTooLarge { max_burst: 1, .. }));
}

#[test]
fn a_longest_bucket_fills_again_after_its_period() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::LeakyQueue, Algorithm::FixedWindow, Algorithm::SlidingLog] {
        let period = algorithm.max_period();
        let bucket = bucket(of(1, period, algorithm), 0);
        assert!(bucket.check().is_allowed());
        let wait = bucket.check().retry_after().unwrap();
        assert_eq!(wait, period, "{algorithm}");
        bucket.clock().advance(wait - NS);
        assert!(!bucket.check().is_allowed());
        bucket.clock().advance(NS);
        assert!(bucket.check().is_allowed(), "{algorithm}");
    }
}

/// The counts that the documentation of `Algorithm` names.
#[test]
fn the_documented_counts_are_held_by_every_limiter() {
    let held = [
        (Algorithm::TokenBucket, 1_000_000_000, 1),
        (Algorithm::FixedWindow, 1_000_000_000, 1),
        (Algorithm::FixedWindow, 60_000_000_000, 60),
        (Algorithm::SlidingWindow, 32_767, 1),
        (Algorithm::SlidingWindow, 262_143, 60),
        (Algorithm::SlidingLog, 1_024, 1),
    ];
    for limiter in limiters() {
        for (algorithm, count, seconds) in held {
            assert!(limiter.prepare("name", of(count, secs(seconds), algorithm)).is_ok(), "{count} as {algorithm}");
        }
    }
    let [_, coarsest, _] = limiters();
    for (algorithm, count, seconds) in held.into_iter().skip(3) {
        let more = of(count + 1, secs(seconds), algorithm);
        assert!(
            matches!(refused(&coarsest, more), QuotaError::CountTooLarge { max_count, .. } if max_count == count),
            "{more}"
        );
    }
}

/// What the error names as the largest burst is one, of a queue as well, which needs room for its line.
#[test]
fn the_largest_burst_that_is_named_fits() {
    let limiter = limiter(Quota::per_second(1));
    for algorithm in [Algorithm::TokenBucket, Algorithm::LeakyBucket, Algorithm::LeakyQueue] {
        for count in [7, 31, 1_024] {
            let quota = Quota::new(count, Quota::MAX_PERIOD).unwrap().with_algorithm(algorithm);
            let Err(LimitError::Quota(QuotaError::BurstTooLarge { max_burst, .. })) = limiter.prepare("limit", quota)
            else {
                panic!("{algorithm}, {count}: ten years fit");
            };
            let largest = quota.with_burst(max_burst).with_max_debt(Duration::ZERO);
            assert!(limiter.prepare("limit", largest).is_ok(), "{algorithm}, {count}: {max_burst}");
            assert!(limiter.prepare("limit", largest.with_burst(max_burst + 1)).is_err(), "{algorithm}, {count}");
        }
    }
}
