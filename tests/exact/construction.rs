//! What can be made, and errors that name the value and the bound.

use std::time::Duration;

use super::common::bucket;
use super::{ALL, secs};
use tollgate::clock::ManualClock;
use tollgate::error::{BuildError, LimitError, QuotaError};
use tollgate::{Algorithm, Bucket, Limiter, Quota};

#[test]
fn algorithms_are_known_by_name() {
    let names = ["token-bucket", "leaky-bucket", "leaky-queue", "fixed-window", "sliding-window", "sliding-log"];
    for (algorithm, name) in Algorithm::ALL.into_iter().zip(names) {
        assert_eq!((algorithm.name(), name.parse()), (name, Ok(algorithm)));
        assert_eq!(format!("{algorithm:>15}|"), format!("{name:>15}|"));
    }
    let unknown = "token bucket".parse::<Algorithm>().unwrap_err();
    assert_eq!(unknown.given, "token bucket");
    assert_eq!(unknown.to_string(), format!("unknown algorithm `token bucket`; expected one of {}", names.join(", ")));
}

#[test]
fn errors_name_the_value_and_the_bound() {
    let second = secs(1);
    assert_eq!(Quota::new(1, Duration::ZERO), Err(QuotaError::ZeroPeriod));
    assert!(Quota::new(1, Quota::MAX_PERIOD).is_ok());
    let long = Quota::MAX_PERIOD + Duration::from_nanos(1);
    assert_eq!(
        Quota::new(1, long),
        Err(QuotaError::PeriodTooLong { algorithm: None, period: long, max: Quota::MAX_PERIOD })
    );

    let error = |quota: Quota| match Bucket::with_clock(quota, ManualClock::default()) {
        Err(LimitError::Quota(error)) => error,
        other => panic!("not out of bounds: {other:?}"),
    };
    let QuotaError::RateTooHigh { max_per_second, .. } = error(Quota::per_second(ALL)) else { panic!() };
    assert!(bucket(Quota::per_second(1_000_000_000), 0).check().is_allowed());
    assert!(max_per_second >= 1_000_000_000);

    let slow = Quota::per_day(1).with_burst(1 << 32);
    let QuotaError::BurstTooLarge { max_burst, .. } = error(slow) else { panic!() };
    assert!(Bucket::with_clock(slow.with_burst(max_burst), ManualClock::default()).is_ok());
    assert_eq!(
        error(slow.with_burst(max_burst + 1)),
        QuotaError::BurstTooLarge { quota: slow.with_burst(max_burst + 1), max_burst }
    );

    let window = Quota::per_second(5).with_burst(6).with_algorithm(Algorithm::FixedWindow);
    assert_eq!(error(window), QuotaError::BurstInWindow { quota: window });
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::SlidingLog] {
        let many = Quota::new(ALL, second).unwrap().with_algorithm(algorithm);
        let QuotaError::CountTooLarge { max_count, quota } = error(many) else { panic!("{algorithm}") };
        assert_eq!(quota, many);
        let most = bucket(Quota::per_second(max_count).with_algorithm(algorithm), 0);
        assert_eq!(most.handle().take_up_to(ALL), max_count, "{algorithm}");
        assert!(!most.check().is_allowed());
        assert!(
            Bucket::with_clock(Quota::per_second(max_count + 1).with_algorithm(algorithm), ManualClock::default())
                .is_err()
        );
    }
    let debt = Quota::per_second(5).with_max_debt(Duration::MAX);
    let QuotaError::DebtTooLong { max_debt, .. } = error(debt) else { panic!() };
    assert!(Bucket::with_clock(debt.with_max_debt(max_debt), ManualClock::default()).is_ok());

    for capacity in [0, usize::MAX] {
        let error = Limiter::builder(Quota::per_second(1)).capacity(capacity).build().expect_err("out of bounds");
        let BuildError::Capacity { max, .. } = error else { panic!("{error}") };
        assert_eq!(error.to_string(), format!("the capacity must be from 1 to {max} keys, and {capacity} was given"));
    }
    let messages = [error(slow).to_string(), error(window).to_string(), error(debt).to_string()];
    for (message, part) in messages.iter().zip([max_burst.to_string(), "burst of 6".into(), format!("{max_debt:?}")]) {
        assert!(message.contains(&part), "{message}");
    }
}
