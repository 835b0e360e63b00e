//! What a sliding window counts.

use std::time::Duration;

use super::common::{bucket, limiter, ns};
use super::{ALL, MILLI, millis, secs};
use tollgate::clock::{Instant, ManualClock};
use tollgate::error::{LimitError, QuotaError};
use tollgate::state::BucketState;
use tollgate::{Algorithm, Bucket, Inheritance, LimitSet, Limiter, OnFull, Quota, SetItem, WindowStart};

#[test]
fn a_refund_in_the_next_sliding_window_counts() {
    let bucket = bucket(Quota::per_minute(10).with_algorithm(Algorithm::SlidingWindow), 0);
    assert_eq!(bucket.handle().take_up_to(ALL), 10);
    let next = bucket.at(Instant::from_secs(60));
    assert_eq!(next.peek().remaining(), 0);
    next.refund(4);
    assert_eq!(next.peek().remaining(), 4);
}

#[test]
fn a_sliding_window_withholds_nothing_beside_a_quota_of_thirds() {
    let sliding = Quota::new(2, Duration::from_nanos(2_000_002)).unwrap().with_algorithm(Algorithm::SlidingWindow);
    let builder = Limiter::builder(Quota::per_second(300)).also_exact_for(sliding);
    let limiter = builder.clock(ManualClock::default()).build().unwrap();
    let limit = limiter.prepare("sliding", sliding).unwrap();
    assert!(limit.effective_rate().is_exact());
    assert_eq!(limiter.under(&limit).key("key").take_up_to(ALL), 2);
    // Half of the next window: 2 * 1/2 + 1 <= 2.
    assert!(limiter.under(&limit).at(ns(3_000_003)).check("key").is_allowed());
}

#[test]
fn a_cancelled_request_takes_nothing_from_the_window_before() {
    let bucket = bucket(Quota::per_minute(10).with_algorithm(Algorithm::SlidingWindow), 0);
    assert_eq!(bucket.handle().take_up_to(ALL), 10);
    let next = bucket.at(Instant::from_secs(90));
    let reservation = next.reserve(5, secs(0)).unwrap();
    next.refund(5);
    assert_eq!(next.peek().remaining(), 5);
    reservation.cancel();
    assert_eq!(next.peek().remaining(), 5, "it has been given back already");
}

#[test]
fn the_longest_sliding_window_counts_at_the_end_of_the_range() {
    let windows = |period| Quota::new(40_000, period).unwrap().with_algorithm(Algorithm::SlidingWindow);
    let clock = || ManualClock::new(ns(ALL));
    let longest = match Bucket::with_clock(windows(Quota::MAX_PERIOD), clock()).map(drop) {
        Err(LimitError::Quota(QuotaError::PeriodTooLong { max, .. })) => max,
        other => panic!("ten years fit: {other:?}"),
    };
    let bucket = Bucket::with_clock(windows(longest), clock()).unwrap();
    assert_eq!(bucket.at(ns(ALL).saturating_sub(longest)).take_up_to(30_000), 30_000);
    // The window before still counts in part, and the clock stands still.
    let left = bucket.peek().remaining();
    assert!((10_000..40_000).contains(&left));
    assert_eq!((bucket.handle().take_up_to(1), bucket.peek().remaining()), (1, left - 1));
    assert_eq!((bucket.handle().take_up_to(ALL), bucket.handle().take_up_to(ALL)), (left - 1, 0));
}

fn first_hit(quota: Quota) -> Quota {
    quota.with_algorithm(Algorithm::FixedWindow).with_window_start(WindowStart::FirstHit)
}

fn counting(quota: Quota) -> Quota {
    quota.with_algorithm(Algorithm::FixedWindow).with_refused_counted(true)
}

fn window(count: u64, end: Option<u64>) -> BucketState {
    bucket_state(count, None, end)
}

fn bucket_state(count: u64, previous_count: Option<u64>, end: Option<u64>) -> BucketState {
    // As the engine makes it: a window whose figures are these.
    let quota = if previous_count.is_some() { Algorithm::SlidingWindow } else { Algorithm::FixedWindow };
    match bucket(Quota::per_second(1).with_algorithm(quota), 0).handle().state().unwrap() {
        BucketState::Window { .. } => BucketState::Window { count, previous_count, end: end.map(ns) },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_window_begins_with_its_first_request() {
    let bucket = bucket(first_hit(Quota::per_second(2)), 0);
    assert_eq!(bucket.handle().state().unwrap(), window(0, None));
    // Two units a nanosecond from 31,622,401 s before zero: 1.3 s are 63,244,804,600,000,000 units, and the next multiple of
    // 2^20 is 63,244,804,600,889,344, which is 444,672 ns later.
    let end = 1_300_444_672;
    let first = bucket.at(ns(300 * MILLI)).check();
    assert_eq!((first.remaining(), first.reset_after()), (1, Duration::from_nanos(end - 300 * MILLI)));
    assert_eq!(bucket.at(ns(300 * MILLI)).state().unwrap(), window(1, Some(end)));
    // Whoever comes later does not move it, and a second of the clock is no boundary.
    assert!(bucket.at(ns(1_200 * MILLI)).check().is_allowed());
    let refused = bucket.at(ns(1_200 * MILLI)).check();
    assert_eq!(refused.retry_after(), Some(Duration::from_nanos(end - 1_200 * MILLI)));
    assert_eq!(bucket.at(ns(end - 1)).state().unwrap(), window(2, Some(end)));
    assert!(!bucket.at(ns(end - 1)).check().is_allowed());
    // The next one begins when somebody comes, and not before: 2 s is a multiple of 2^20 less 372,736 units.
    assert_eq!(bucket.at(ns(end)).state().unwrap(), window(0, None));
    assert_eq!(bucket.at(ns(2_000 * MILLI)).take_up_to(ALL), 2);
    assert_eq!(bucket.at(ns(2_000 * MILLI)).state().unwrap(), window(2, Some(3_000_186_368)));
}

#[test]
fn a_window_that_is_emptied_begins_anew() {
    let bucket = bucket(first_hit(Quota::per_second(5)), 0);
    assert_eq!(bucket.handle().take_up_to(3), 3);
    bucket.at(ns(500 * MILLI)).refund(3);
    assert_eq!(bucket.at(ns(500 * MILLI)).state().unwrap(), window(0, None));
    assert_eq!(bucket.at(ns(600 * MILLI)).take_up_to(ALL), 5);
    assert!(!bucket.at(ns(1_599 * MILLI)).check().is_allowed());
    assert!(bucket.at(ns(1_601 * MILLI)).check().is_allowed());
}

#[test]
fn an_end_is_late_by_less_than_a_thousandth_and_never_early() {
    let periods = [1, 1_000, 50_000, MILLI, 40 * MILLI, 1_000 * MILLI, 60_000 * MILLI, 86_400_000 * MILLI];
    for period in periods.into_iter().filter(|&period| period > 1_000).map(Duration::from_nanos) {
        for start in [0, 1, 12_345_678_901, 1_700_000_000_000_000_001] {
            let bucket = bucket(first_hit(Quota::new(1, period).unwrap()), start);
            assert!(bucket.check().is_allowed());
            let late = bucket.check().retry_after().unwrap() - period;
            let most = (period / 1_000).max(Duration::from_micros(1)).min(millis(900));
            assert!(late <= most, "{late:?} after {period:?}");
        }
    }
}

#[test]
fn the_largest_count_of_a_window_is_named() {
    for (quota, least) in [
        (first_hit(Quota::per_second(u64::MAX)), 524_286),
        (first_hit(Quota::per_hour(u64::MAX)), 536_870_910),
        (counting(Quota::per_second(u64::MAX)), 200_000_000),
    ] {
        let most = match Bucket::with_clock(quota, ManualClock::default()).map(drop) {
            Err(LimitError::Quota(QuotaError::CountTooLarge { max_count, .. })) => max_count,
            other => panic!("{quota:?}: {other:?}"),
        };
        assert!(most >= least, "{most} of {quota:?}");
        let largest = |count| {
            let largest = Quota::new(count, quota.period()).unwrap().with_algorithm(Algorithm::FixedWindow);
            largest.with_window_start(quota.window_start()).with_refused_counted(quota.counts_refused())
        };
        assert!(Bucket::with_clock(largest(most + 1), ManualClock::default()).is_err());
        let bucket = bucket(largest(most), 0);
        assert_eq!((bucket.handle().take_up_to(ALL), bucket.handle().take_up_to(1)), (most, 0));
        // What is refused counts one more, and then nothing: the end stays.
        let end = bucket.check().reset_after();
        for cost in [1, ALL, ALL] {
            assert_eq!(bucket.check_n(cost).reset_after(), end);
        }
        let BucketState::Window { count, .. } = bucket.handle().state().unwrap() else { panic!("a window") };
        assert_eq!(count, most + u64::from(quota.counts_refused()));
    }
}

#[test]
fn only_fixed_windows_begin_otherwise_and_count_refusals() {
    for algorithm in Algorithm::ALL.into_iter().filter(|&algorithm| algorithm != Algorithm::FixedWindow) {
        let plain = Quota::per_second(5).with_algorithm(algorithm);
        for quota in [plain.with_window_start(WindowStart::FirstHit), plain.with_refused_counted(true)] {
            let error = Bucket::with_clock(quota, ManualClock::default()).map(drop);
            assert_eq!(error, Err(LimitError::Quota(QuotaError::NotAFixedWindow { quota })));
            assert_ne!(quota, plain);
        }
        assert!(Bucket::with_clock(plain.with_window_start(WindowStart::Clock), ManualClock::default()).is_ok());
    }
}

#[test]
fn refused_requests_count() {
    for quota in [counting(Quota::per_minute(4)), counting(first_hit(Quota::per_minute(4)))] {
        let bucket = bucket(quota, 0);
        let count = || match bucket.handle().state().unwrap() {
            BucketState::Window { count, .. } => count,
            other => panic!("{other:?}"),
        };
        assert_eq!(bucket.handle().take_up_to(2), 2);
        let end = bucket.peek().reset_after();
        let refused = bucket.check_n(3);
        assert!(!refused.is_allowed());
        assert_eq!((refused.remaining(), refused.retry_after()), (0, Some(end)));
        assert_eq!((count(), refused.reset_after()), (5, end));
        assert!(!bucket.check().is_allowed(), "it would have fitted, but for what was refused");
        assert_eq!(count(), 6);
        // A look, a reservation and what takes as much as fits count nothing.
        assert!(!bucket.peek().is_allowed() && bucket.handle().reserve(1, secs(0)).is_err());
        assert_eq!((bucket.handle().take_up_to(5), bucket.handle().charge(5), count()), (0, 0, 6));
        // What comes back comes back from all that was counted.
        bucket.handle().refund(2);
        assert_eq!((bucket.peek().remaining(), count()), (0, 4));
        bucket.handle().refund(1);
        assert_eq!(bucket.peek().remaining(), 1);
        // One that can never fit counts as well, also as the first.
        assert!(bucket.check_n(5).never_fits());
        assert_eq!((bucket.peek().remaining(), count()), (0, 8));
        bucket.handle().reset();
        assert!(bucket.check_n(9).never_fits() && !bucket.check().is_allowed());
        assert_eq!(count(), 10);
        let next = bucket.at(ns(0).saturating_add(end));
        assert_eq!(next.take_up_to(ALL), 4);
    }
}

#[test]
fn a_lease_counts_what_it_is_refused() {
    let bucket = bucket(counting(Quota::per_minute(4)), 0);
    let mut lease = bucket.handle().lease(1);
    assert!(!lease.check_n(5).is_allowed());
    assert_eq!((bucket.peek().remaining(), lease.check().is_allowed()), (0, false));
    assert_eq!(bucket.handle().state().unwrap(), window(6, Some(60 * 1_000 * MILLI)));
}

#[test]
fn a_set_counts_a_refusal_where_it_is_refused() {
    let limiter = limiter(Quota::per_minute(9));
    let of = |name, count| limiter.prepare(name, counting(Quota::per_minute(count))).unwrap();
    let limits = [of("wide", 5), of("narrow", 2), of("least", 1)];
    let set = LimitSet::new(limits).unwrap();
    let counts = || {
        limits.each_ref().map(|limit| match limiter.under(limit).key("key").state() {
            Some(BucketState::Window { count, .. }) => count,
            other => panic!("{other:?}"),
        })
    };
    assert!(limiter.check_set(&set, "key").is_allowed());
    assert!(!limiter.check_set(&set, "key").is_allowed());
    assert_eq!(counts(), [1, 1, 2], "the others would have admitted it");
    assert!(!limiter.check_set_n(&set, "key", 2).is_allowed());
    assert_eq!(counts(), [1, 3, 4]);
    // Shares of one bucket that fit each by itself count nothing; one that does not, does, and then so does the next.
    let share = |limit, cost| SetItem { limit, key: limiter.hash("key"), cost };
    assert!(!limiter.check_items(&[share(&limits[0], 3), share(&limits[0], 3)]).unwrap().is_allowed());
    assert_eq!(counts(), [1, 3, 4]);
    assert!(!limiter.check_items(&[share(&limits[0], 5), share(&limits[0], 1)]).unwrap().is_allowed());
    assert_eq!(counts(), [7, 3, 4]);
}

#[test]
fn nobody_is_displaced_for_a_refusal() {
    for on_full in [OnFull::EvictNearestIdle, OnFull::RefuseNew, OnFull::AdmitUntracked] {
        let quota = counting(Quota::per_hour(3));
        let builder = Limiter::builder(quota).capacity(1).on_full(on_full).clock(ManualClock::new(ns(1)));
        let limiter = builder.build().unwrap();
        let busy = (0..100_u64).filter(|key| limiter.check(key).is_allowed()).count();
        assert!(busy > 0);
        let before = limiter.stats();
        for key in 1_000..1_100_u64 {
            assert!(limiter.check_n(&key, 4).never_fits());
        }
        assert_eq!(limiter.stats().evictions, before.evictions);
    }
}

#[test]
fn a_changed_quota_keeps_the_window_that_has_begun() {
    for counted in [false, true] {
        let quota = |count| first_hit(Quota::per_second(count)).with_refused_counted(counted);
        let limiter = limiter(quota(3));
        let (old, begun) = (limiter.default_limit(), limiter.at(ns(0)));
        assert_eq!(begun.key("key").take_up_to(ALL), 3);
        assert!(!begun.check("key").is_allowed() && !begun.check("key").is_allowed());
        let end = begun.peek("key").reset_after();
        limiter.clock().set(ns(400 * MILLI));
        let new = limiter.change_quota(old, quota(10)).unwrap();
        assert!(new.carries_over());
        let left = if counted { 5 } else { 7 };
        assert_eq!(limiter.under(&new).key("key").take_up_to(ALL), left);
        assert_eq!(limiter.under(&new).peek("key").reset_after(), end - millis(400));
        assert!(!limiter.check("key").is_allowed(), "the old bucket is closed");
        let Some(BucketState::Window { count, .. }) = limiter.key("key").state() else { panic!("a window") };
        assert_eq!(count, if counted { 5 } else { 3 }, "as it was when it was closed");
        limiter.clock().set(ns(0).saturating_add(end));
        assert_eq!(limiter.under(&new).key("key").take_up_to(ALL), 10);
    }
    // What begins otherwise begins anew.
    let limiter = limiter(first_hit(Quota::per_second(3)));
    let clock = Quota::per_second(3).with_algorithm(Algorithm::FixedWindow);
    assert!(!limiter.change_quota(limiter.default_limit(), clock).unwrap().carries_over());
}

#[test]
fn a_conversion_fills_the_window_that_has_begun() {
    let limiter = limiter(Quota::per_hour(10));
    let to = limiter.prepare("to", first_hit(Quota::per_second(10))).unwrap();
    assert!(limiter.under(&to).check("key").is_allowed());
    let end = limiter.under(&to).peek("key").reset_after();
    assert_eq!(limiter.key("key").take_up_to(4), 4);
    limiter.clock().set(ns(500 * MILLI));
    limiter.convert("key", &to, Inheritance::AsIs);
    let told = limiter.under(&to).peek("key");
    assert_eq!((told.remaining(), told.reset_after()), (6, end - millis(500)));
}

#[test]
fn a_refund_of_another_window_changes_nothing() {
    let limiter = limiter(first_hit(Quota::per_second(5)));
    assert_eq!(limiter.at(ns(0)).key("key").take_up_to(2), 2);
    let next = limiter.at(ns(1_500 * MILLI));
    assert_eq!(next.key("key").take_up_to(3), 3);
    next.key("key").refund_of(2, ns(0));
    assert_eq!(next.peek("key").remaining(), 2, "of the window before");
    limiter.at(ns(1_700 * MILLI)).key("key").refund_of(1, ns(1_600 * MILLI));
    assert_eq!(next.peek("key").remaining(), 3);
    next.key("key").refund_of(1, ns(1_500 * MILLI));
    assert_eq!(next.peek("key").remaining(), 4, "of the request that began it");
}

#[test]
fn what_a_bucket_holds_is_told_as_it_is_kept() {
    let tokens = bucket(Quota::per_second(10).with_max_debt(secs(2)), 0);
    let balance = |now| match tokens.at(ns(now)).state().unwrap() {
        BucketState::Bucket { balance } => balance,
        other => panic!("{other:?}"),
    };
    assert_eq!((balance(0).floor(), balance(0).as_fraction()), (10, (10, 1)));
    assert_eq!(tokens.handle().charge(15), 15);
    assert_eq!((balance(0).floor(), balance(50 * MILLI).floor()), (-5, -5));
    assert_eq!((balance(50 * MILLI).as_fraction(), balance(50 * MILLI).to_f64()), ((-9, 2), -4.5));

    let log = bucket(Quota::per_minute(5).with_algorithm(Algorithm::SlidingLog), 0);
    for (at, expected) in [(1, (1, Some(1))), (2, (2, Some(1))), (61, (2, Some(2))), (62, (2, Some(61)))] {
        let log = log.at(Instant::from_secs(at));
        assert!(log.check().is_allowed());
        let BucketState::Log { count, oldest } = log.state().unwrap() else { panic!("a log") };
        assert_eq!((count, oldest), (expected.0, expected.1.map(Instant::from_secs)));
    }
    let BucketState::Log { count, oldest } = log.at(Instant::from_secs(200)).state().unwrap() else { panic!("a log") };
    assert_eq!((count, oldest), (0, None));

    let sliding = bucket(Quota::per_minute(10).with_algorithm(Algorithm::SlidingWindow), 0);
    assert_eq!(sliding.handle().take_up_to(7), 7);
    let minute = 60_000 * MILLI;
    assert_eq!(sliding.handle().state().unwrap(), bucket_state(7, Some(0), Some(minute)));
    assert_eq!(sliding.at(ns(minute)).state().unwrap(), bucket_state(0, Some(7), Some(2 * minute)));

    let limiter = limiter(Quota::per_second(1));
    let foreign = self::limiter(Quota::per_second(1));
    assert_eq!(limiter.under(foreign.default_limit()).key("key").state(), None);
}
