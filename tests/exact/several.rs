//! Several limits, and several keys, in one call.

use std::time::Duration;

use super::common::limiter;
use tollgate::clock::{Instant, ManualClock};
use tollgate::error::LimitSetError;
use tollgate::{Algorithm, LimitSet, Limiter, Quota, SetItem, Verdict};

#[test]
fn a_set_needs_limits_of_different_names() {
    let limiter = limiter(Quota::per_minute(1));
    let limit = |name: &str| limiter.prepare(name, Quota::per_minute(5)).unwrap();
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
    let user = limiter.prepare("user", Quota::per_minute(3)).unwrap();
    let share = |user_key: &str, cost| {
        [
            SetItem { limit: limiter.default_limit(), key: limiter.hash("all"), cost: 1 },
            SetItem { limit: &user, key: limiter.hash(user_key), cost },
        ]
    };
    assert_eq!(limiter.check_items(&[]).unwrap_err(), LimitSetError::Empty);
    let many = [SetItem { limit: limiter.default_limit(), key: limiter.hash("anna"), cost: 1 }; LimitSet::MAX + 1];
    assert_eq!(limiter.check_items(&many).unwrap_err(), LimitSetError::TooMany { count: 33 });
    assert!(limiter.check_items(&share("anna", 3)).unwrap().is_allowed());
    let refused = limiter.check_items(&share("anna", 1)).unwrap();
    assert_eq!((refused.is_allowed(), refused.index()), (false, 1));
    assert!(limiter.check_items(&share("berta", 4)).unwrap().decision().never_fits());
    assert_eq!(limiter.peek("all").remaining(), 9);
    let tightest = limiter.check_items(&share("berta", 1)).unwrap();
    assert_eq!((tightest.index(), tightest.decision().remaining()), (1, 2));
}

#[test]
fn a_set_tells_the_first_of_equals() {
    let limiter = limiter(Quota::per_minute(2));
    let limits = ["a", "b", "c"].map(|name| limiter.prepare(name, Quota::per_minute(2)).unwrap());
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
    let share = SetItem { limit: limiter.default_limit(), key: limiter.hash("key"), cost: 6 };
    assert!(!limiter.check_items(&[share, share]).unwrap().is_allowed());
    assert_eq!(limiter.peek("key").remaining(), 10);
}

#[test]
fn many_checks_are_single_checks() {
    for algorithm in Algorithm::ALL {
        let [many, single] = [(); 2].map(|()| {
            let builder = Limiter::builder(Quota::per_minute(3).with_algorithm(algorithm)).fixed_seed(4);
            builder.clock(ManualClock::new(Instant::from_secs(100))).build().unwrap()
        });
        let keys: Vec<u32> = (0..1_000).map(|i| i * i % 257).collect();
        let mut seen = 0;
        many.check_keys(&keys, |i, decision| {
            assert_eq!(i, seen);
            assert_eq!(decision.report(), single.check(&keys[i]).report(), "{algorithm}");
            seen += 1;
        });
        assert_eq!(seen, keys.len());
    }
    limiter(Quota::per_minute(1)).check_keys(&[0_u8; 0], |_, _| panic!("no keys, no decisions"));
}

#[test]
fn what_is_another_limiters_is_refused_and_counted() {
    let [ours, theirs] = [(); 2].map(|()| limiter(Quota::per_minute(5)));
    let (limit, hash) = (*theirs.default_limit(), theirs.hash("key"));
    let set = LimitSet::new([limit]).unwrap();
    let view = ours.under(&limit);
    assert!(view.check("key").is_refused() && view.check("key").never_fits());
    assert!(ours.check(&hash).is_refused() && ours.peek(&hash).is_refused());
    assert_eq!((view.key("key").take_up_to(3), view.key("key").charge(3)), (0, 0));
    assert!(view.key("key").reserve(1, Duration::from_secs(9)).is_err());
    assert!(!ours.check_set(&set, "key").is_allowed());
    let share = |limit, key| SetItem { limit, key, cost: 1 };
    assert!(!ours.check_items(&[share(ours.default_limit(), hash)]).unwrap().is_allowed());
    let mut lease = view.key("key").lease(4);
    assert!(lease.check().is_refused() && lease.held() == 0);
    drop(lease);
    ours.check_keys(&[hash, ours.hash("key")], |i, decision| assert_eq!(decision.is_allowed(), i == 1));
    view.key("key").refund(1);
    view.key("key").reset();
    ours.convert("key", &limit, tollgate::Inheritance::AsIs);
    assert_eq!((ours.stats().foreign, theirs.stats().foreign), (14, 0));
    assert!(theirs.under(&limit).check(&hash).is_allowed());
}

/// Three shares of one bucket, of which the last does not fit: what the others took comes back, in whatever order.
#[test]
fn shares_of_one_bucket_come_back_all() {
    let limiter = limiter(Quota::per_minute(10));
    let share = SetItem { limit: limiter.default_limit(), key: limiter.hash("key"), cost: 4 };
    assert!(!limiter.check_items(&[share; 3]).unwrap().is_allowed());
    assert_eq!(limiter.peek("key").remaining(), 10);
}
