//! Nothing is rounded: every token at the first nanosecond that is not too early, and not one more.

use super::common::{DAY, SECOND, bucket, nanos, ns};
use super::{ALL, quota, secs};
use tollgate::clock::{Clock, Instant, ManualClock};
use tollgate::{Bucket, LimitSet, Limiter, Quota};

fn one_by_one<C: Clock>(bucket: &Bucket<C>) -> u64 {
    (0..).take_while(|_| bucket.check().is_allowed()).count().try_into().expect("a count")
}

/// What a full bucket gives when it is emptied at each of these instants.
fn emptied_at(quota: Quota, instants: &[u64]) -> Vec<u64> {
    let bucket = bucket(quota, 0);
    instants.iter().map(|&t| bucket.at(ns(t)).take_up_to(ALL)).collect()
}

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
        let instants: Vec<u64> = (0..6).map(|i| nanos(period * i)).collect();
        assert_eq!(emptied_at(quota, &instants), vec![quota.count(); 6], "{quota}");
        let before: Vec<u64> = (0..6).map(|i| nanos(period * i).saturating_sub(u64::from(i % 2))).collect();
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
        assert_eq!(bucket.handle().take_up_to(ALL), n);
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
        assert_eq!(bucket.handle().take_up_to(ALL), 10);
        bucket.clock().advance(secs(idle));
        assert_eq!(one_by_one(&bucket), 10, "{idle} s");
    }
}

#[test]
fn two_hundred_a_day_and_fifty_an_hour() {
    let (day, hour) = (Quota::per_day(200), Quota::per_hour(50));
    let limiter =
        Limiter::builder(day).also_exact_for(hour).capacity(16).clock(ManualClock::default()).build().unwrap();
    let limits = [limiter.prepare("day", day).unwrap(), limiter.prepare("hour", hour).unwrap()];
    let set = LimitSet::new(limits).unwrap();
    let all = || (0..).take_while(|_| limiter.check_set(&set, "client").is_allowed()).count();
    assert_eq!(all(), 50, "an hour's worth");
    assert_eq!(limiter.under(&limits[0]).peek("client").remaining(), 150, "the refused one was not charged");
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
