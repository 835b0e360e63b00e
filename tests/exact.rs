//! Exact answers on a clock set by hand: what a user tries first, what other limiters' suites ask, and what must not
//! happen at the ends of every range.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use common::{DAY, SECOND, YEAR, bucket, limiter, ns};
use tollgate::{
    Algorithm, Bucket, BuildError, Clock, Inheritance, Instant, Limit, LimitSet, LimitSetError, Limiter, ManualClock,
    OnFull, Quota, QuotaError, Share, Verdict,
};

const ALL: u64 = u64::MAX;
const MILLI: u64 = 1_000_000;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn quota(count: u64, seconds: u64) -> Quota {
    Quota::new(count, secs(seconds)).expect("a valid period")
}

fn one_by_one<C: Clock>(bucket: &Bucket<C>) -> u64 {
    (0..).take_while(|_| bucket.check().is_allowed()).count().try_into().expect("a count")
}

/// What a full bucket gives when it is emptied at each of these instants.
fn emptied_at(quota: Quota, instants: &[u64]) -> Vec<u64> {
    let bucket = bucket(quota, 0);
    instants.iter().map(|&t| bucket.at(ns(t)).take_up_to(ALL)).collect()
}

// ---- Nothing is rounded ----

#[test]
fn a_drained_bucket_is_full_again_after_its_period() {
    let cases = [
        Quota::per_second(300),
        quota(7, 30),
        Quota::per_second(11),
        Quota::per_second(1_000_000_000),
        Quota::per_minute(7),
        Quota::per_second(3),
        quota(13, 17),
    ];
    for quota in cases {
        let period = quota.period();
        let instants: Vec<u64> = (0..6).map(|i| common::nanos(period * i)).collect();
        assert_eq!(emptied_at(quota, &instants), vec![quota.count(); 6], "{quota}");
        let before: Vec<u64> = (0..6).map(|i| common::nanos(period * i).saturating_sub(u64::from(i % 2))).collect();
        assert_eq!(emptied_at(quota, &before)[1], quota.count() - 1, "{quota}: a nanosecond early");
        assert!(bucket(quota, 0).default_limit().effective_rate().is_exact(), "{quota}");
    }
    assert_eq!(emptied_at(Quota::per_day(1), &[0, DAY - 1, DAY, 2 * DAY - 1, 2 * DAY]), [1, 0, 1, 0, 1]);
}

#[test]
fn three_hundred_one_by_one() {
    let bucket = bucket(Quota::per_second(300), 0);
    for second in 0..3 {
        bucket.clock().set(Instant::from_secs(second));
        assert_eq!(one_by_one(&bucket), 300);
    }
}

#[test]
fn every_token_comes_at_the_first_nanosecond_that_is_not_too_early() {
    for n in [3, 7, 11, 300] {
        let bucket = bucket(Quota::per_second(n), 0);
        assert_eq!(bucket.take_up_to(ALL), n);
        for k in 1..=3 * n {
            let due = (k * SECOND).div_ceil(n);
            assert!(!bucket.at(ns(due - 1)).check().is_allowed(), "{n}/s, token {k}");
            assert!(bucket.at(ns(due)).check().is_allowed(), "{n}/s, token {k}");
        }
    }
}

#[test]
fn a_long_idle_bucket_holds_its_burst_and_not_one_more() {
    for idle in [1, 59, 86_400, 365 * 86_400, 9 * 365 * 86_400] {
        let bucket = bucket(Quota::per_second(10).with_burst(10), 5);
        assert_eq!(bucket.take_up_to(ALL), 10);
        bucket.clock().advance(secs(idle));
        assert_eq!(one_by_one(&bucket), 10, "{idle} s");
    }
}

#[test]
fn two_hundred_a_day_and_fifty_an_hour() {
    let (day, hour) = (Quota::per_day(200), Quota::per_hour(50));
    let limiter = Limiter::builder(day).expect(hour).capacity(16).build_with_clock(ManualClock::default()).unwrap();
    let limits = [limiter.limit("day", day).unwrap(), limiter.limit("hour", hour).unwrap()];
    let set = LimitSet::new(limits).unwrap();
    let all = || (0..).take_while(|_| limiter.check_set(&set, "client").is_allowed()).count();
    assert_eq!(all(), 50, "an hour's worth");
    assert_eq!(limiter.with(&limits[0]).peek("client").remaining(), 150, "the refused one was not charged");
    let mut hours = Vec::new();
    for hour in 1..6 {
        limiter.clock().set(Instant::from_secs(hour * 3_600));
        hours.push(all());
    }
    // 8 1/3 tokens an hour come back to the day: 200 + 5 * 8 1/3 = 241 2/3 in all.
    assert_eq!(hours, [50, 50, 50, 33, 8]);
    let refused = limiter.check_set(&set, "client");
    assert_eq!((refused.index(), refused.is_allowed()), (0, false));
    assert_eq!(refused.decision().retry_after(), Some(secs(144)), "a third of a token at 432 s each");
}

// ---- Zeros, and what never fits ----

#[test]
fn a_closed_limit_admits_nothing_but_a_cost_of_zero() {
    for closed in Algorithm::ALL.map(|algorithm| Quota::per_second(0).with_algorithm(algorithm)) {
        let bucket = bucket(closed, 7);
        let decision = bucket.check();
        assert_eq!(decision.verdict(), Verdict::NeverFits, "{}", closed.algorithm());
        assert_eq!((decision.limit(), decision.remaining(), decision.retry_after()), (0, 0, None));
        assert_eq!(decision.reset_after(), Duration::ZERO);
        assert!(bucket.check_n(0).is_allowed());
        assert_eq!((bucket.take_up_to(ALL), bucket.charge(ALL)), (0, 0));
        assert!(bucket.reserve(1, secs(100)).unwrap_err().never_fits());
        bucket.refund(ALL);
        bucket.reset();
        assert!(bucket.at(ns(ALL)).check().never_fits());
    }
    for algorithm in [Algorithm::TokenBucket, Algorithm::LeakyBucket] {
        assert!(bucket(Quota::per_second(5).with_burst(0).with_algorithm(algorithm), 0).check().never_fits());
    }
}

#[test]
fn a_queue_without_room_lets_through_what_may_go_at_once() {
    let bucket = bucket(Quota::per_second(2).with_burst(0).with_algorithm(Algorithm::LeakyQueue), 0);
    assert!(bucket.check().is_allowed());
    assert!(bucket.reserve(1, secs(9)).unwrap_err().is_refused());
    assert!(!bucket.at(ns(SECOND / 2 - 1)).check().is_allowed());
    assert!(bucket.at(ns(SECOND / 2)).check().is_allowed());
}

#[test]
fn a_cost_of_zero_takes_nothing_and_is_admitted_when_nothing_is_left() {
    for algorithm in Algorithm::ALL {
        let limiter = limiter(Quota::per_second(3).with_algorithm(algorithm));
        assert!(limiter.check_n("key", 0).is_allowed());
        assert_eq!(limiter.stats().busy, 0, "{algorithm}: nothing written");
        assert_eq!(limiter.take_up_to("key", ALL), 3);
        assert!(limiter.check_n("key", 0).is_allowed());
        assert!(!limiter.check("key").is_allowed());
        assert_eq!(limiter.reserve("key", 0, Duration::ZERO).unwrap().wait(), Duration::ZERO);
    }
}

#[test]
fn a_cost_whose_product_would_wrap_never_fits() {
    let bucket = bucket(Quota::per_day(1), 0);
    for cost in [2, 213_503, 213_504, 213_505, 213_506, 1 << 32, 1 << 63, ALL - 1, ALL] {
        assert!(bucket.check_n(cost).never_fits(), "{cost}");
        assert!(bucket.reserve(cost, Duration::MAX).unwrap_err().never_fits(), "{cost}");
    }
    assert!(bucket.check_n(1).is_allowed(), "none of them took anything");
}

#[test]
fn the_ends_of_the_clock_do_not_panic() {
    let starts = [0, 1, SECOND, YEAR, 1_700_000_123 * SECOND + 456, ALL / 2, ALL - 1, ALL];
    let ends = [0, 1, 59 * SECOND + 7, YEAR + 1, 1_600_000_077 * SECOND, ALL - YEAR, ALL - 1, ALL];
    for algorithm in Algorithm::ALL {
        for (count, period) in [(7, 60), (3, 7), (10, 1), (1, 30 * 86_400)] {
            for start in starts {
                let bucket = bucket(quota(count, period).with_algorithm(algorithm), start);
                for now in ends {
                    let view = bucket.at(ns(now));
                    let report = view.check().report();
                    assert!(report.remaining <= count, "{algorithm} from {start} at {now}");
                    let _ = (view.check_n(count).report(), view.peek_n(ALL).report());
                    let taken = (view.take_up_to(ALL), view.charge(ALL));
                    assert!(taken.0 <= count, "{algorithm} from {start} at {now}: {taken:?}");
                    if let Ok(mut reservation) = view.reserve(1, Duration::MAX) {
                        assert!(reservation.go_at() >= ns(now));
                        reservation.cancel();
                    }
                    view.refund(ALL);
                    assert!(view.peek().is_allowed());
                    let _ = view.charge(2);
                    view.reset();
                    assert!(view.check_n(count).is_allowed(), "{algorithm} from {start} at {now}");
                }
            }
        }
    }
}

// ---- Construction ----

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
    assert_eq!(Quota::new(1, long), Err(QuotaError::PeriodTooLong { period: long, max: Quota::MAX_PERIOD }));

    let error = |quota: Quota| Bucket::with_clock(quota, ManualClock::default()).expect_err("out of bounds");
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
        assert_eq!(most.take_up_to(ALL), max_count, "{algorithm}");
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

// ---- Quotas that change ----

#[test]
fn a_changed_quota_keeps_the_time_until_full() {
    let limiter = limiter(Quota::per_second(10));
    let (slow, fast) = (*limiter.default_limit(), limiter.limit(Limit::DEFAULT_NAME, Quota::per_second(100)).unwrap());
    assert_eq!(limiter.take_up_to("key", 5), 5);
    // Half a second from full is half a second from full: 50 of 100 left.
    assert_eq!(limiter.with(&fast).peek("key").remaining(), 50);
    assert_eq!(limiter.with(&fast).peek("key").reset_after(), millis(500));
    assert_eq!(limiter.with(&fast).take_up_to("key", ALL), 50);
    assert_eq!(limiter.with(&slow).peek("key").remaining(), 0);
    limiter.clock().advance(secs(1));
    assert_eq!(limiter.with(&slow).peek("key").remaining(), 10);
}

#[test]
fn a_bucket_too_far_from_full_for_a_smaller_quota_becomes_empty_and_not_full() {
    let large = quota(3_600, 3_600);
    let limiter =
        Limiter::builder(large).expect(Quota::per_second(10)).build_with_clock(ManualClock::default()).unwrap();
    let small = limiter.limit(Limit::DEFAULT_NAME, Quota::per_second(10)).unwrap();
    assert_eq!(limiter.take_up_to("key", ALL), 3_600);
    // An hour from full; a second is all that the small quota can ever need.
    let refused = limiter.with(&small).check("key");
    assert_eq!((refused.remaining(), refused.retry_after()), (0, Some(millis(100))));
    limiter.clock().advance(millis(99));
    assert!(!limiter.with(&small).check("key").is_allowed());
    limiter.clock().advance(millis(1));
    assert!(limiter.with(&small).check("key").is_allowed());
    assert!(!limiter.with(&small).check("key").is_allowed());
}

/// The examples of bucket4j's documentation of `TokensInheritanceStrategy`.
#[test]
fn bucket4j_inheritance() {
    let converted = |old: u64, held: u64, new: u64, how: Inheritance| {
        let limiter = limiter(Quota::per_day(old));
        let to = limiter.limit(Limit::DEFAULT_NAME, Quota::per_day(new)).unwrap();
        assert_eq!(limiter.take_up_to("key", old - held), old - held);
        limiter.convert("key", &to, how);
        limiter.with(&to).peek("key").remaining()
    };
    // Proportionally: 40 of 100 become 80 of 200, and 20 of 50.
    assert_eq!(converted(100, 40, 200, Inheritance::Proportional), 80);
    assert_eq!(converted(100, 40, 50, Inheritance::Proportional), 20);
    // As is: copied, and cut to the new capacity.
    assert_eq!(converted(500, 500, 200, Inheritance::AsIs), 200);
    assert_eq!(converted(500, 100, 200, Inheritance::AsIs), 100);
    assert_eq!(converted(100, 40, 500, Inheritance::AsIs), 40);
    // Additive: 3 of 5 with a new capacity of 7 become 5, and full stays full.
    assert_eq!(converted(5, 3, 7, Inheritance::Additive), 5);
    assert_eq!(converted(5, 5, 7, Inheritance::Additive), 7);
    assert_eq!(converted(7, 5, 5, Inheritance::Additive), 3);
    assert_eq!(converted(7, 1, 5, Inheritance::Additive), 0);
    // Reset: full.
    assert_eq!(converted(100, 0, 200, Inheritance::Reset), 200);
}

#[test]
fn bucket4j_additive_may_leave_debt() {
    let builder = Limiter::builder(Quota::per_second(7)).expect(Quota::per_second(5));
    let limiter = builder.build_with_clock(ManualClock::default()).unwrap();
    let to = limiter.limit(Limit::DEFAULT_NAME, Quota::per_second(5)).unwrap();
    assert_eq!(limiter.take_up_to("key", 6), 6);
    limiter.convert("key", &to, Inheritance::Additive);
    // 1 - 2 = -1 token: the first comes when two have come back.
    assert_eq!(limiter.with(&to).check("key").retry_after(), Some(millis(400)));
}

// ---- Identity ----

#[test]
fn a_bucket_belongs_to_a_limit_and_a_key() {
    let limiter = limiter(Quota::per_minute(2));
    let other = limiter.limit("other", Quota::per_minute(2)).unwrap();
    let window = limiter.limit("window", Quota::per_minute(2).with_algorithm(Algorithm::FixedWindow)).unwrap();
    let same = limiter.limit(Limit::DEFAULT_NAME, Quota::per_minute(2)).unwrap();
    assert_eq!(limiter.take_up_to("key", ALL), 2);
    assert_eq!(limiter.take_up_to("another key", ALL), 2);
    assert_eq!(limiter.with(&other).take_up_to("key", ALL), 2);
    assert_eq!(limiter.with(&window).take_up_to("key", ALL), 2);
    assert_eq!(limiter.with(&same).take_up_to("key", ALL), 0, "the default limit by its name");
    limiter.reset("key");
    assert_eq!(limiter.with(&other).peek("key").remaining(), 0, "reset under one limit, not under the other");
}

#[test]
fn keys_are_anything_that_hashes() {
    let limiter = limiter(Quota::per_minute(1));
    let address: IpAddr = Ipv4Addr::LOCALHOST.into();
    assert!(limiter.check("text").is_allowed());
    assert!(!limiter.check(&String::from("text")).is_allowed(), "a String hashes as its text");
    assert!(limiter.check(&address).is_allowed() && !limiter.check(&address).is_allowed());
    assert!(limiter.check(&("text", 1_u8)).is_allowed() && limiter.check(&("text", 2_u8)).is_allowed());
    assert!(limiter.check(&[1_u8, 2][..]).is_allowed() && !limiter.check(&vec![1_u8, 2]).is_allowed());
    let hash = limiter.hash("hashed before");
    assert!(limiter.check(&hash).is_allowed() && !limiter.check("hashed before").is_allowed());
}

#[test]
fn a_fixed_seed_gives_the_same_evictions_in_every_run() {
    let run = |seed| {
        let builder = Limiter::builder(Quota::per_day(1)).capacity(100).fixed_seed(seed);
        let limiter = builder.build_with_clock(ManualClock::default()).unwrap();
        let admitted: Vec<bool> = (0..2_000).map(|key| limiter.check(&key).is_allowed()).collect();
        (admitted, limiter.stats())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

// ---- Several limits, several keys ----

#[test]
fn a_set_needs_limits_of_different_names() {
    let limiter = limiter(Quota::per_minute(1));
    let limit = |name: &str| limiter.limit(name, Quota::per_minute(5)).unwrap();
    assert_eq!(LimitSet::new([]).unwrap_err(), LimitSetError::Empty);
    let error = LimitSet::new([limit("a"), limit("b"), limit("a")]).unwrap_err();
    assert_eq!(error, LimitSetError::SameName { first: 0, second: 2 });
    assert_eq!(LimitSet::new([limit("a"), limit("b")]).unwrap().limits().len(), 2);
    let too_many = LimitSet::new((0..=LimitSet::MAX).map(|name| limit(&name.to_string()))).unwrap_err();
    assert_eq!(too_many, LimitSetError::TooMany { count: LimitSet::MAX + 1 });
    for (error, part) in
        [(LimitSetError::Empty, "none was given"), (error, "limits 0 and 2"), (too_many, "and 33 were given")]
    {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn shares_are_all_or_nothing() {
    let limiter = limiter(Quota::per_minute(10));
    let user = limiter.limit("user", Quota::per_minute(3)).unwrap();
    let share = |user_key: &str, cost| {
        [
            Share { limit: limiter.default_limit(), key: limiter.hash("all"), cost: 1 },
            Share { limit: &user, key: limiter.hash(user_key), cost },
        ]
    };
    assert_eq!(limiter.check_all(&[]).unwrap_err(), LimitSetError::Empty);
    let many = [Share { limit: limiter.default_limit(), key: limiter.hash("anna"), cost: 1 }; LimitSet::MAX + 1];
    assert_eq!(limiter.check_all(&many).unwrap_err(), LimitSetError::TooMany { count: 33 });
    assert!(limiter.check_all(&share("anna", 3)).unwrap().is_allowed());
    let refused = limiter.check_all(&share("anna", 1)).unwrap();
    assert_eq!((refused.is_allowed(), refused.index()), (false, 1));
    assert!(limiter.check_all(&share("berta", 4)).unwrap().decision().never_fits());
    assert_eq!(limiter.peek("all").remaining(), 9);
    let tightest = limiter.check_all(&share("berta", 1)).unwrap();
    assert_eq!((tightest.index(), tightest.decision().remaining()), (1, 2));
}

#[test]
fn a_set_tells_the_first_of_equals() {
    let limiter = limiter(Quota::per_minute(2));
    let limits = ["a", "b", "c"].map(|name| limiter.limit(name, Quota::per_minute(2)).unwrap());
    let set = LimitSet::new(limits).unwrap();
    let told = [1, 1, 1, 3].map(|cost| limiter.check_set_n(&set, "key", cost));
    let verdicts = [Verdict::Allowed, Verdict::Allowed, Verdict::Refused, Verdict::NeverFits];
    assert_eq!(told.map(|set| set.decision().verdict()), verdicts);
    assert_eq!(told.map(|set| set.index()), [0; 4]);
}

/// The same limit and key twice in one call: the second part finds what the first has left, and what was taken comes
/// back.
#[test]
fn shares_of_one_bucket_add_up() {
    let limiter = limiter(Quota::per_minute(10));
    let share = Share { limit: limiter.default_limit(), key: limiter.hash("key"), cost: 6 };
    assert!(!limiter.check_all(&[share, share]).unwrap().is_allowed());
    assert_eq!(limiter.peek("key").remaining(), 10);
}

#[test]
fn many_checks_are_single_checks() {
    for algorithm in Algorithm::ALL {
        let [many, single] = [(); 2].map(|()| {
            let builder = Limiter::builder(Quota::per_minute(3).with_algorithm(algorithm)).fixed_seed(4);
            builder.build_with_clock(ManualClock::new(Instant::from_secs(100))).unwrap()
        });
        let keys: Vec<u32> = (0..1_000).map(|i| i * i % 257).collect();
        let mut seen = 0;
        many.check_many(&keys, |i, decision| {
            assert_eq!(i, seen);
            assert_eq!(decision.report(), single.check(&keys[i]).report(), "{algorithm}");
            seen += 1;
        });
        assert_eq!(seen, keys.len());
    }
    limiter(Quota::per_minute(1)).check_many(&[0_u8; 0], |_, _| panic!("no keys, no decisions"));
}

// ---- Figures, debt, waiting ----

#[test]
fn figures_of_a_decision() {
    let bucket = bucket(Quota::per_second(10).with_burst(20), 0);
    let figures = |d: tollgate::Decision<'_>| (d.limit(), d.remaining(), d.retry_after(), d.reset_after());
    assert_eq!(figures(bucket.peek()), (20, 20, None, Duration::ZERO));
    assert_eq!(figures(bucket.check_n(5)), (20, 15, None, millis(500)));
    assert_eq!(figures(bucket.check_n(16)), (20, 15, Some(millis(100)), millis(500)));
    assert_eq!(figures(bucket.check_n(21)), (20, 15, None, millis(500)));
    bucket.clock().advance(millis(450));
    assert_eq!(figures(bucket.peek_n(20)), (20, 19, Some(millis(50)), millis(50)));
    assert_eq!(bucket.peek().at(), ns(450 * MILLI));
    assert_eq!(bucket.peek().limit_used().quota().burst(), 20);
    assert_eq!(format!("{:?}", bucket.peek()), format!("Decision({:?})", bucket.peek().report()));
}

#[test]
fn windows_begin_at_multiples_of_the_period() {
    let fixed = bucket(Quota::per_minute(10).with_algorithm(Algorithm::FixedWindow), 0);
    let base = 1_700_000_100 * SECOND; // not a whole minute: 40 s into one
    for start in [0, base] {
        let bucket = bucket(*fixed.default_limit().quota(), start);
        let minute = start / (60 * SECOND) * 60 * SECOND;
        assert_eq!(bucket.at(ns(minute + 59 * SECOND)).take_up_to(ALL), 10);
        assert_eq!(bucket.at(ns(minute + 59 * SECOND)).check().retry_after(), Some(secs(1)));
        assert!(!bucket.at(ns(minute + 60 * SECOND - 1)).check().is_allowed());
        assert_eq!(bucket.at(ns(minute + 60 * SECOND)).take_up_to(ALL), 10);
    }
}

#[test]
fn a_queue_spaces_its_requests() {
    let bucket = bucket(Quota::per_second(10).with_burst(3).with_algorithm(Algorithm::LeakyQueue), 0);
    let wait = |max| bucket.reserve(1, max).map(|r| r.wait()).ok();
    assert!(bucket.check().is_allowed());
    assert_eq!([0, 1, 2].map(|_| wait(secs(9))), [Some(millis(100)), Some(millis(200)), Some(millis(300))]);
    assert_eq!(wait(secs(9)), None, "three wait");
    assert!(!bucket.check().is_allowed());
    bucket.clock().advance(millis(100));
    assert_eq!(wait(millis(299)), None, "longer than the caller would wait");
    assert_eq!(wait(millis(300)), Some(millis(300)));
}

#[test]
fn a_charge_goes_as_far_as_debt_is_allowed() {
    let bucket = bucket(Quota::per_second(10).with_max_debt(secs(2)), 0);
    assert_eq!(bucket.charge(5), 5);
    assert_eq!(bucket.charge(ALL), 25, "5 are left, and two seconds of debt");
    assert_eq!(bucket.charge(1), 0);
    assert_eq!(bucket.check().retry_after(), Some(millis(2_100)));
    bucket.clock().advance(millis(2_100));
    assert!(bucket.check().is_allowed() && !bucket.check().is_allowed());
}

#[test]
fn cancelling_twice_counts_once() {
    let limiter = limiter(Quota::per_second(2).with_burst(2));
    let mut first = limiter.reserve("key", 2, Duration::ZERO).unwrap();
    assert!(first.cancel() && !first.cancel() && !first.cancel_at(ns(SECOND)));
    assert_eq!(limiter.peek("key").remaining(), 2);
    assert_eq!(limiter.take_up_to("key", 1), 1);
    assert_eq!(limiter.peek("key").remaining(), 1);
}

// ---- From the suites of other limiters ----

/// `run(t, NewLimiter(10, burst), ...)` of Go's `x/time/rate`: (tenths of a second, cost, admitted).
fn go_allow(burst: u64, cases: &[(u64, u64, bool)]) {
    let bucket = bucket(Quota::per_second(10).with_burst(burst), 1_000 * SECOND);
    for (i, &(tenths, cost, admitted)) in cases.iter().enumerate() {
        let now = ns(1_000 * SECOND + tenths * SECOND / 10);
        assert_eq!(bucket.at(now).check_n(cost).is_allowed(), admitted, "step {i} of {cases:?}");
    }
}

#[test]
fn go_allow_cases() {
    let (yes, no) = (true, false);
    go_allow(1, &[(0, 1, yes), (0, 1, no), (0, 1, no), (1, 1, yes), (1, 1, no), (2, 2, no), (2, 1, yes), (2, 1, no)]);
    go_allow(3, &[(0, 2, yes), (0, 2, no), (0, 1, yes), (0, 1, no), (1, 4, no), (2, 1, yes), (3, 1, yes), (4, 1, yes)]);
    go_allow(
        3,
        &[(0, 3, yes), (2, 1, yes), (3, 1, yes), (4, 1, yes), (4, 1, yes), (4, 1, no), (9, 3, yes), (9, 0, yes)],
    );
    go_allow(3, &[(0, 1, yes), (0, 1, yes), (0, 1, yes), (0, 1, no), (30, 3, yes), (30, 1, no)]);
}

/// Tenths of a second at which a reservation may go, as `runReserve` of `x/time/rate` does.
fn go_reserve<'a>(bucket: &'a Bucket<ManualClock>, tenths: u64, cost: u64) -> (u64, tollgate::Reservation<'a>) {
    let reservation = bucket.at(ns(tenths * SECOND / 10)).reserve(cost, secs(1_000)).expect("a reservation");
    assert_eq!(reservation.go_at().as_nanos() % (SECOND / 10), 0);
    (reservation.go_at().as_nanos() / (SECOND / 10), reservation)
}

#[test]
fn go_reserve_cases() {
    let new = |burst| bucket(Quota::per_second(10).with_burst(burst), 0);
    let simple = new(2);
    assert_eq!([(0, 2), (0, 2), (3, 2)].map(|(t, n)| go_reserve(&simple, t, n).0), [0, 2, 4]);

    let mix = new(2);
    assert!(mix.reserve(3, secs(9)).unwrap_err().never_fits());
    assert_eq!(go_reserve(&mix, 0, 2).0, 0);
    assert!(!mix.at(ns(SECOND / 10)).check_n(2).is_allowed());
    assert_eq!(go_reserve(&mix, 1, 2).0, 2);
    assert!(!mix.at(ns(SECOND / 10)).check_n(1).is_allowed());
    assert!(mix.at(ns(3 * SECOND / 10)).check_n(1).is_allowed());

    let last = new(2);
    assert_eq!(go_reserve(&last, 0, 2).0, 0);
    let (at, mut second) = go_reserve(&last, 0, 2);
    assert_eq!(at, 2);
    second.cancel_at(ns(SECOND / 10));
    assert_eq!(go_reserve(&last, 1, 2).0, 2);

    let one_back = new(2);
    let _ = go_reserve(&one_back, 0, 2);
    let (_, mut second) = go_reserve(&one_back, 0, 2);
    assert_eq!(go_reserve(&one_back, 0, 1).0, 3);
    second.cancel_at(ns(2 * SECOND / 10));
    assert_eq!(go_reserve(&one_back, 2, 2).0, 4, "one token back: the other is stood upon");

    let multi = new(4);
    let _ = go_reserve(&multi, 0, 4);
    let (_, mut a) = go_reserve(&multi, 0, 3);
    let _ = go_reserve(&multi, 0, 1);
    let (_, mut c) = go_reserve(&multi, 0, 1);
    c.cancel_at(ns(SECOND / 10));
    a.cancel_at(ns(SECOND / 10));
    assert_eq!(go_reserve(&multi, 1, 3).0, 5);

    let max = new(2);
    assert_eq!(max.reserve(2, millis(100)).unwrap().wait(), Duration::ZERO);
    assert_eq!(max.reserve(1, millis(100)).unwrap().wait(), millis(100));
    assert!(max.reserve(1, millis(100)).unwrap_err().is_refused());
}

/// folly `TokenBucketTest`: going back in time has no effect on the count, consume-or-drain, borrowing.
#[test]
fn folly_cases() {
    let bucket = bucket(Quota::per_second(1_000).with_burst(10), 0);
    let at = |tenth_of_ms: u64| bucket.at(ns(100 * MILLI + tenth_of_ms * 100_000));
    let count = (0..).take_while(|_| at(0).check().is_allowed()).count();
    assert_eq!(count, 10);
    assert!(!bucket.at(ns(99_999_990)).check().is_allowed());
    assert_eq!(at(0).peek().remaining(), 0);
    assert_eq!(at(100).peek().remaining(), 10);
    assert_eq!(at(100).take_up_to(7), 7);
    assert_eq!(at(100).take_up_to(7), 3, "drains what is there");
    assert_eq!(at(100).reserve(5, secs(1)).unwrap().wait(), millis(5), "borrows");
    assert_eq!(at(100).reserve(1, secs(1)).unwrap().wait(), millis(6));
}

/// governor's `correct_wait_time` and `allows_after_interval`.
#[test]
fn governor_cases() {
    let bucket = bucket(Quota::per_second(5), 0);
    for _ in 0..20 {
        match bucket.check().retry_after() {
            None => bucket.clock().advance(millis(20)),
            Some(wait) => {
                bucket.clock().advance(wait - Duration::from_nanos(1));
                assert!(!bucket.check().is_allowed());
                bucket.clock().advance(Duration::from_nanos(1));
                assert!(bucket.check().is_allowed());
            }
        }
    }
    let bucket = self::bucket(Quota::per_second(1), 0);
    let admitted = |ms: u64| bucket.at(ns(ms * MILLI)).check().is_allowed();
    assert_eq!([0, 1, 999, 1_000, 1_001, 1_999, 2_000].map(admitted), [true, false, false, true, false, false, true]);
}

/// The Python package `limits`: fixed, moving (sliding log) and sliding window.
#[test]
fn limits_cases() {
    let ten = |algorithm| bucket(Quota::per_minute(10).with_algorithm(algorithm), 0);
    let take = |bucket: &Bucket<ManualClock>, second: u64, n: u64| {
        let view = bucket.at(Instant::from_secs(second));
        (0..n).filter(|_| view.check().is_allowed()).count()
    };
    let fixed = ten(Algorithm::FixedWindow);
    assert_eq!([(0, 10), (59, 1), (60, 11)].map(|(t, n)| take(&fixed, t, n)), [10, 0, 10]);

    let moving = ten(Algorithm::SlidingLog);
    assert_eq!(
        [(0, 5), (30, 6), (59, 1), (60, 6), (89, 1), (90, 6)].map(|(t, n)| take(&moving, t, n)),
        [5, 5, 0, 5, 0, 5]
    );
    assert_eq!(moving.at(Instant::from_secs(90)).check().retry_after(), Some(secs(30)));
    assert_eq!(moving.at(Instant::from_secs(90)).check_n(6).retry_after(), Some(secs(60)));

    let sliding = ten(Algorithm::SlidingWindow);
    assert_eq!(take(&sliding, 0, 11), 10);
    // What 10 weigh after 0, 6, 30, 33 and 60 seconds of the next window: 10, 9, 5, 4.5 (so 5) and nothing.
    let left = [60, 66, 90, 93, 120].map(|t| sliding.at(Instant::from_secs(t)).peek().remaining());
    assert_eq!(left, [0, 1, 5, 5, 10]);
    assert_eq!(sliding.at(Instant::from_secs(60)).check().retry_after(), Some(secs(6)));
}

// ---- A clock that goes back ----

#[test]
fn a_step_back_does_not_forgive_debt() {
    let bucket = bucket(Quota::per_second(1).with_burst(10).with_max_debt(secs(100)), 1_000 * SECOND);
    assert_eq!(bucket.charge(ALL), 110);
    bucket.clock().set(Instant::from_secs(990));
    let retry = bucket.check().retry_after();
    assert!(retry >= Some(secs(101)), "P7: before the step it was 101 s, after it {retry:?}");
}

#[test]
fn a_refund_after_a_step_back_does_not_make_a_debt() {
    let bucket = bucket(Quota::per_second(1).with_burst(2), 5_000 * SECOND);
    assert_eq!(bucket.take_up_to(ALL), 2);
    bucket.clock().set(Instant::from_secs(4_000));
    bucket.refund(1);
    let _ = bucket.check().is_allowed();
    bucket.clock().set(Instant::from_secs(4_003));
    assert!(bucket.check_n(2).is_allowed(), "P7: nothing was reserved or charged, and a refill takes two seconds");
}

#[test]
fn a_refund_in_the_next_sliding_window_counts() {
    let bucket = bucket(Quota::per_minute(10).with_algorithm(Algorithm::SlidingWindow), 0);
    assert_eq!(bucket.take_up_to(ALL), 10);
    let next = bucket.at(Instant::from_secs(60));
    assert_eq!(next.peek().remaining(), 0);
    next.refund(4);
    assert_eq!(next.peek().remaining(), 4);
}

#[test]
fn a_sliding_window_withholds_nothing_beside_a_quota_of_thirds() {
    let sliding = Quota::new(2, Duration::from_nanos(2_000_002)).unwrap().with_algorithm(Algorithm::SlidingWindow);
    let builder = Limiter::builder(Quota::per_second(300)).expect(sliding);
    let limiter = builder.build_with_clock(ManualClock::default()).unwrap();
    let limit = limiter.limit("sliding", sliding).unwrap();
    assert!(limit.effective_rate().is_exact());
    assert_eq!(limiter.with(&limit).take_up_to("key", ALL), 2);
    // Half of the next window: 2 * 1/2 + 1 <= 2.
    assert!(limiter.with(&limit).at(ns(3_000_003)).check("key").is_allowed());
}

#[test]
fn a_late_caller_finds_whole_counts_beside_a_quota_of_thirds() {
    let sliding = Quota::per_second(10).with_algorithm(Algorithm::SlidingWindow);
    let builder = Limiter::builder(sliding).expect(Quota::per_second(3));
    let limiter = builder.build_with_clock(ManualClock::default()).unwrap();
    assert!(!limiter.default_limit().units_per_second().is_multiple_of(SECOND));
    assert_eq!(limiter.at(ns(SECOND)).take_up_to("key", 4), 4);
    assert_eq!(limiter.at(ns(2 * SECOND + 1)).take_up_to("key", 1), 1);
    assert_eq!(limiter.at(ns(2 * SECOND - 1)).peek("key").remaining(), 5);
}

#[test]
fn a_cancelled_request_takes_nothing_from_the_window_before() {
    let bucket = bucket(Quota::per_minute(10).with_algorithm(Algorithm::SlidingWindow), 0);
    assert_eq!(bucket.take_up_to(ALL), 10);
    let next = bucket.at(Instant::from_secs(90));
    let mut reservation = next.reserve(5, secs(0)).unwrap();
    next.refund(5);
    assert_eq!(next.peek().remaining(), 5);
    reservation.cancel();
    assert_eq!(next.peek().remaining(), 5, "it has been given back already");
}

#[test]
fn a_window_emptied_at_its_start_is_full_in_the_one_before() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let bucket = bucket(Quota::per_second(10).with_algorithm(algorithm), 5 * SECOND);
        bucket.clock().set(Instant::from_secs(10));
        assert_eq!(bucket.take_up_to(3), 3);
        bucket.reset();
        assert_eq!(bucket.at(ns(9 * SECOND + 5)).peek().remaining(), 10);
        assert_eq!(bucket.at(ns(8 * SECOND + 5)).peek().remaining(), 10);
    }
}

#[test]
fn a_charge_to_just_empty_is_no_debt() {
    let bucket = bucket(Quota::per_second(10), 100 * SECOND);
    assert_eq!(bucket.charge(10), 10);
    bucket.clock().set(Instant::from_secs(50));
    assert_eq!(bucket.check().retry_after(), Some(millis(100)), "P7: empty as of now, and not in debt");
}

#[test]
fn a_closed_limit_carries_no_debt_over() {
    let limiter = limiter(Quota::per_second(10));
    assert_eq!(limiter.take_up_to("key", ALL), 10);
    let closed = limiter.limit(Limit::DEFAULT_NAME, Quota::per_second(0)).unwrap();
    limiter.with(&closed).convert("key", limiter.default_limit(), Inheritance::AsIs);
    let empty = limiter.peek("key");
    assert_eq!((empty.remaining(), empty.reset_after()), (0, secs(1)));
}

#[test]
fn a_log_says_when_at_the_end_of_the_range() {
    let bucket = bucket(Quota::per_second(1).with_algorithm(Algorithm::SlidingLog), 0);
    let end = bucket.at(ns(ALL));
    assert!(end.check().is_allowed());
    assert_eq!(end.check().retry_after(), Some(secs(1)), "not at once: that would make a client spin");
}

#[test]
fn the_longest_sliding_window_counts_at_the_end_of_the_range() {
    let windows = |period| Quota::new(40_000, period).unwrap().with_algorithm(Algorithm::SlidingWindow);
    let clock = || ManualClock::new(ns(ALL));
    let longest = match Bucket::with_clock(windows(Quota::MAX_PERIOD), clock()).map(drop) {
        Err(QuotaError::PeriodTooLong { max, .. }) => max,
        other => panic!("ten years fit: {other:?}"),
    };
    let bucket = Bucket::with_clock(windows(longest), clock()).unwrap();
    assert_eq!(bucket.at(ns(ALL).saturating_sub(longest)).take_up_to(30_000), 30_000);
    // The window before still counts in part, and the clock stands still.
    let left = bucket.peek().remaining();
    assert!((10_000..40_000).contains(&left));
    assert_eq!((bucket.take_up_to(1), bucket.peek().remaining()), (1, left - 1));
    assert_eq!((bucket.take_up_to(ALL), bucket.take_up_to(ALL)), (left - 1, 0));
}

#[test]
fn a_sliding_log_is_mended_by_any_call_after_a_step_back() {
    for call in [0, 1] {
        let bucket = bucket(Quota::per_second(2).with_algorithm(Algorithm::SlidingLog), 5_000 * SECOND);
        assert_eq!(bucket.take_up_to(ALL), 2);
        bucket.clock().set(Instant::from_secs(1_000));
        if call == 0 {
            assert!(!bucket.check().is_allowed());
        } else {
            assert_eq!(bucket.take_up_to(1), 0);
        }
        bucket.clock().set(Instant::from_secs(1_002));
        assert_eq!(bucket.take_up_to(ALL), 2, "call {call}");
    }
}

/// Slots that were used before the step look busy to the clock after it; new keys must not pay for that.
#[test]
fn a_step_back_does_not_lock_new_keys_out_of_a_used_table() {
    for policy in [OnFull::EvictNearestIdle, OnFull::RefuseNew] {
        let builder = Limiter::builder(Quota::per_second(1)).capacity(100).on_full(policy).fixed_seed(1);
        let limiter = builder.build_with_clock(ManualClock::new(Instant::from_secs(100_000))).unwrap();
        for key in 0..10_000 {
            assert!(limiter.check(&key).is_allowed());
            limiter.clock().advance(millis(100));
        }
        limiter.clock().set(Instant::from_secs(90_000));
        for key in 0..100 {
            let _ = limiter.check(&("new", key)).is_allowed();
        }
        limiter.clock().set(Instant::from_secs(90_003));
        let admitted = (0..100).filter(|key| limiter.check(&("new", *key)).is_allowed()).count();
        assert_eq!(admitted, 100, "P7 under {policy:?}: every bucket was full before the step");
    }
}

/// What no call under the newcomer's own limit can have left, calls under another can.
#[test]
fn a_newcomer_under_a_quicker_limit_leaves_the_windows_of_others_alone() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let hourly = Quota::per_hour(10).with_algorithm(algorithm);
        let builder = Limiter::builder(hourly).capacity(100).on_full(OnFull::RefuseNew).fixed_seed(1);
        let limiter = builder.max_clock_skew(secs(0)).build_with_clock(ManualClock::default()).unwrap();
        let drained: Vec<u64> = (0..2_000).filter(|key| limiter.take_up_to(key, 10) == 10).collect();
        let quick = limiter.limit("quick", Quota::per_second(1)).unwrap();
        let refused = (0..1_000).filter(|key| limiter.with(&quick).check(&("new", *key)).is_refused()).count();
        assert!(refused > 0, "the table is full");
        assert!(drained.iter().all(|key| limiter.peek(key).remaining() == 0), "{algorithm}");
    }
}
