//! No limit, and nothing but a limit: what both answer on every path, and that nothing else is taken for either.

use std::time::Duration;

use super::common::{bucket, limiter, ns};
use super::{ALL, secs};
use tollgate::clock::{Instant, ManualClock};
use tollgate::{Algorithm, Bucket, Decision, Inheritance, LimitSet, Limiter, OnFull, Quota, SetItem, Verdict};

const COSTS: [u64; 5] = [0, 1, 2, ALL - 1, ALL];

fn is_open(decision: Decision<'_>) -> bool {
    decision.is_allowed()
        && !decision.is_refused()
        && (decision.burst(), decision.remaining()) == (ALL, ALL)
        && (decision.retry_after(), decision.reset_after()) == (None, Duration::ZERO)
}

#[test]
fn every_call_is_admitted_without_a_limit() {
    let (limiter, lone) = (limiter(Quota::unlimited()), bucket(Quota::unlimited(), 0));
    // At both ends of the clock as well.
    for now in [0, 1, 1 << 62, ALL] {
        let (view, lone) = (limiter.at(ns(now)), lone.at(ns(now)));
        for cost in COSTS {
            assert!(is_open(view.check_n("key", cost)) && is_open(lone.check_n(cost)), "{cost} at {now}");
            assert!(is_open(view.key("key").peek_n(cost)) && is_open(lone.peek_n(cost)), "{cost} at {now}");
            assert_eq!([view.key("key").take_up_to(cost), lone.take_up_to(cost)], [cost; 2]);
            assert_eq!([view.key("key").charge(cost), lone.charge(cost)], [cost; 2]);
            for wait in [Duration::ZERO, Duration::MAX] {
                for place in [view.key("key").reserve(cost, wait).unwrap(), lone.reserve(cost, wait).unwrap()] {
                    assert_eq!((place.wait(), place.cost(), place.go_at()), (Duration::ZERO, cost, ns(now)));
                    place.cancel_at(ns(now));
                }
            }
            view.key("key").refund(cost);
            view.key("key").refund_of(cost, ns(now));
            lone.refund(cost);
            let mut lease = view.key("key").lease(64);
            assert!(is_open(lease.check_n_at(cost, ns(now))));
            assert_eq!(lease.held(), 0, "there is nothing to hold");
            assert!(is_open(lone.lease(64).check_n_at(cost, ns(now))));
        }
        view.key("key").reset();
        lone.reset();
    }
    limiter.check_keys(&["a", "b", "c"], |_, decision| assert!(is_open(decision)));
    let rate = limiter.default_limit().effective_rate();
    assert!(rate.is_exact() && rate.as_fraction() == (u128::from(ALL), 1));
    assert_eq!(limiter.stats().busy, 0);
}

#[test]
fn without_a_limit_no_slot_is_taken_and_none_is_needed() {
    for on_full in [OnFull::EvictNearestIdle, OnFull::RefuseNew, OnFull::AdmitUntracked] {
        let builder = Limiter::builder(Quota::per_day(1)).capacity(1).on_full(on_full).clock(ManualClock::default());
        let limiter = builder.build().unwrap();
        let (open, count) =
            (limiter.prepare("open", "unlimited").unwrap(), |key: u32| limiter.check(&key).is_allowed());
        // Until there is no room for another.
        for key in 0..1_000_u32 {
            let _ = count(key);
        }
        let before = limiter.stats();
        assert_eq!(before.evictions, 0, "{on_full:?}");
        for key in 0..10_000_u32 {
            let view = limiter.under(&open);
            assert!(is_open(view.check(&key)) && is_open(view.peek(&key)));
            assert_eq!((view.key(&key).take_up_to(7), view.key(&key).charge(7)), (7, 7));
            assert!(view.key(&key).reserve(7, secs(1)).is_ok() && is_open(view.key(&key).lease(8).check()));
            limiter.under(&open).key(&key).reset();
        }
        assert_eq!(limiter.stats(), before, "{on_full:?}: nothing written, nobody displaced, nothing counted");
    }
}

#[test]
fn in_a_set_no_limit_is_never_the_tightest() {
    let limiter = limiter(Quota::per_minute(3));
    for rates in ["unlimited, 3/m", "3/m, unlimited", "unlimited, 3/m as sliding-log", "unlimited, 3/m as fixed-window"]
    {
        let set = limiter.prepare_set(rates, rates).unwrap();
        let tight = set.limits().iter().position(|limit| !limit.quota().is_unlimited()).unwrap();
        for left in [2, 1, 0] {
            let answer = limiter.check_set(&set, "key");
            assert!(answer.is_allowed());
            assert_eq!((answer.index(), answer.decision().remaining()), (tight, left), "{rates}");
        }
        let refused = limiter.check_set(&set, "key");
        assert_eq!((refused.is_allowed(), refused.index()), (false, tight), "{rates}");
        assert!(limiter.check_set_n(&set, "key", ALL).decision().never_fits(), "{rates}");
    }
    let open = ["a", "b"].map(|name| limiter.prepare(name, "unlimited").unwrap());
    let set = LimitSet::new(open).unwrap();
    let answer = limiter.check_set_n(&set, "key", ALL);
    assert!(answer.is_allowed() && answer.index() == 0 && is_open(answer.decision()));
    let items = open.each_ref().map(|limit| SetItem { limit, key: limiter.hash("key"), cost: ALL });
    assert!(is_open(limiter.check_items(&items).unwrap().decision()));
}

#[test]
fn a_set_in_a_full_table_waits_for_its_limits_alone() {
    let builder = Limiter::builder("1/minute").capacity(1).on_full(OnFull::RefuseNew).clock(ManualClock::default());
    let limiter = builder.build().unwrap();
    let set = limiter.prepare_set("set", "unlimited, 1/minute, 1/hour").unwrap();
    for key in 0..1_000_u32 {
        let _ = limiter.check(&key);
    }
    let refused = limiter.check_set(&set, &5_000);
    assert!(!refused.is_allowed() && refused.index() != 0);
    let wait = refused.decision().retry_after().unwrap();
    assert!(
        !limiter
            .at(Instant::default().saturating_add(wait - Duration::from_nanos(1)))
            .check_set(&set, &5_000)
            .is_allowed()
    );
    assert!(limiter.at(Instant::default().saturating_add(wait)).check_set(&set, &5_000).is_allowed());
}

#[test]
fn nothing_is_carried_over_from_or_to_no_limit() {
    // One of a second, too: the period that no limit has for whoever asks for one.
    let hours = Algorithm::ALL.map(|algorithm| Quota::per_hour(10).with_algorithm(algorithm));
    for quota in [Quota::per_second(10)].into_iter().chain(hours) {
        let algorithm = quota.algorithm();
        let limiter = limiter(quota);
        assert_eq!(limiter.key("key").take_up_to(10), 10);
        let open = limiter.change_quota(limiter.default_limit(), Quota::unlimited()).unwrap();
        assert!(!open.carries_over() && is_open(limiter.under(&open).check_n("key", ALL)), "{algorithm}");
        let again = limiter.change_quota(&open, quota).unwrap();
        assert!(!again.carries_over(), "{algorithm}");
        assert_eq!(limiter.under(&again).key("key").take_up_to(ALL), 10, "{algorithm}");

        let [free, paid] = ["free", "paid"].map(|name| limiter.prepare(name, quota).unwrap());
        for how in [Inheritance::AsIs, Inheritance::Proportional, Inheritance::Additive, Inheritance::Reset] {
            assert!(limiter.under(&free).check("key").is_allowed());
            limiter.under(&free).convert("key", &open, how);
            assert!(is_open(limiter.under(&open).check_n("key", ALL)), "{how:?}");
            assert_eq!(limiter.under(&paid).key("key").take_up_to(4), 4);
            let left = || limiter.under(&paid).peek("key").remaining();
            let expected = if how == Inheritance::Reset { 10 } else { left() };
            limiter.under(&open).convert("key", &paid, how);
            assert_eq!(left(), expected, "{algorithm}, {how:?}");
            limiter.under(&free).key("key").reset();
            limiter.under(&paid).key("key").reset();
        }
    }
}

#[test]
fn another_limiters_unlimited_is_refused_as_any_other_limit_of_it() {
    let [one, two] = [limiter(Quota::unlimited()), limiter(Quota::unlimited())];
    let answer = one.under(two.default_limit()).check("key");
    assert!(answer.never_fits() && answer.remaining() == 0);
    assert_eq!(one.under(two.default_limit()).key("key").take_up_to(9), 0);
    assert_eq!(one.under(two.default_limit()).key("key").charge(9), 0);
    assert!(!one.under(two.default_limit()).key("key").lease(9).check().is_allowed());
    assert!(!one.check_set(&LimitSet::new([*two.default_limit()]).unwrap(), "key").is_allowed());
    assert_eq!(one.stats().foreign, 5);
}

#[test]
fn blocked_admits_nothing_that_costs_anything() {
    let limiter = limiter(Quota::blocked());
    let decision = limiter.check("key");
    assert_eq!((decision.verdict(), decision.burst(), decision.remaining()), (Verdict::NeverFits, 0, 0));
    assert!(limiter.check_n("key", 0).is_allowed() && limiter.check_n("key", ALL).never_fits());
    assert_eq!((limiter.key("key").take_up_to(ALL), limiter.key("key").charge(ALL)), (0, 0));
    assert!(limiter.key("key").reserve(1, Duration::MAX).unwrap_err().never_fits());
    assert!(limiter.key("key").lease(9).check().never_fits());
    let set = limiter.prepare_set("set", "unlimited, blocked, 9/s").unwrap();
    let answer = limiter.check_set(&set, "key");
    assert_eq!((answer.decision().verdict(), answer.index()), (Verdict::NeverFits, 1));
    assert_eq!(limiter.stats().busy, 0);
    let opened = limiter.change_quota(limiter.default_limit(), "7/s").unwrap();
    assert_eq!(limiter.under(&opened).key("key").take_up_to(ALL), 7);
}

#[test]
fn both_stay_what_they_are_and_nothing_else_is_either() {
    for quota in [Quota::unlimited(), Quota::blocked()] {
        let set = quota.with_burst(5).with_algorithm(Algorithm::SlidingLog).with_max_debt(secs(9));
        assert_eq!(set, quota);
    }
    let largest = Quota::per_second(ALL);
    assert!(!largest.is_unlimited() && largest != Quota::unlimited() && !Quota::per_second(0).is_blocked());
    assert!(Bucket::with_clock(largest, ManualClock::default()).is_err());
    assert!(Quota::unlimited().is_unlimited() && Quota::blocked().is_blocked());
}

/// What is announced beside them stays exact.
#[test]
fn neither_changes_the_unit_of_time() {
    for quota in [Quota::unlimited(), Quota::blocked()] {
        let limiter = Limiter::builder(quota).also_exact_for("300/s").capacity(64).build().unwrap();
        let plain = Limiter::builder("300/s").capacity(64).build().unwrap();
        assert_eq!(limiter.default_limit().units_per_second(), plain.default_limit().units_per_second());
    }
}

#[test]
fn its_state_is_none_of_a_bucket() {
    use tollgate::state::BucketState;

    let limiter = limiter(Quota::unlimited());
    assert_eq!(limiter.key("key").state(), Some(BucketState::Unlimited));
    assert_eq!(bucket(Quota::unlimited(), 0).handle().state(), Some(BucketState::Unlimited));
}
