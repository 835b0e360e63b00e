//! Several limits, and several keys, in one call.

use std::time::Duration;

use super::common::limiter;
use tollgate::{
    Algorithm, Instant, LimitSet, LimitSetError, Limiter, ManualClock, Quota, ReserveAllError, Share, Verdict,
};

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

/// A request that waits for two queues goes when both let it, and both count it then.
#[test]
fn a_request_that_waits_for_several_is_charged_as_of_the_instant_at_which_it_goes() {
    for order in [[0, 1], [1, 0]] {
        let queue = |count| Quota::per_second(count).with_burst(20).with_algorithm(Algorithm::LeakyQueue);
        let limiter = limiter(queue(1));
        let limits =
            ["slow", "fast"].iter().zip([1, 25]).map(|(name, count)| limiter.limit(name, queue(count)).unwrap());
        let limits: Vec<_> = limits.collect();
        let key = limiter.hash("client");
        let shares = order.map(|i| Share { limit: &limits[i], key, cost: 1 });
        // The fast one alone is 40 ms behind by now: with both, nobody goes less than a second after another.
        let mut last = None;
        for _ in 0..5 {
            let made = limiter.reserve_all(&shares, Duration::from_secs(60));
            let Ok(made) = made else { break };
            if let Some(last) = last {
                assert!(made.go_at() >= last + Duration::from_secs(1), "{order:?}");
            }
            last = Some(made.go_at());
        }
        assert!(last > Some(Instant::default()), "{order:?}: no more than one went");
    }
}

#[test]
fn what_was_reserved_of_several_comes_back_to_each() {
    let limiter = limiter(Quota::per_second(1).with_burst(4));
    let queue = Quota::per_second(1).with_burst(9).with_algorithm(Algorithm::LeakyQueue);
    let queue = limiter.limit("queue", queue).unwrap();
    let window = limiter.limit("window", Quota::per_hour(5).with_algorithm(Algorithm::FixedWindow)).unwrap();
    let log = limiter.limit("log", Quota::per_hour(5).with_algorithm(Algorithm::SlidingLog)).unwrap();
    let key = limiter.hash("client");
    let shares = [limiter.default_limit(), &queue, &window, &log].map(|limit| Share { limit, key, cost: 1 });
    let reserve = || limiter.reserve_all(&shares, Duration::from_secs(60)).unwrap();
    let left = || shares.map(|share| limiter.with(share.limit).peek(&key).remaining());
    assert!(reserve().wait().is_zero());
    let before = (left(), limiter.with(&queue).peek("client").retry_after());
    let made = reserve();
    assert_eq!(made.wait(), Duration::from_secs(1));
    assert_eq!(limiter.peek("client").remaining(), 2, "charged as of a second from now, when one has come back");
    made.cancel();
    assert_eq!((left(), limiter.with(&queue).peek("client").retry_after()), before);
}

#[test]
fn a_window_promises_nothing_beyond_its_end() {
    let limiter = limiter(Quota::per_second(1).with_burst(9).with_algorithm(Algorithm::LeakyQueue));
    let window = limiter.limit("window", Quota::per_second(2).with_algorithm(Algorithm::FixedWindow)).unwrap();
    let shares = [limiter.default_limit(), &window].map(|limit| Share { limit, key: limiter.hash("client"), cost: 1 });
    limiter.clock().set(super::common::ns(500_000_000));
    assert!(limiter.reserve_all(&shares, Duration::from_secs(60)).unwrap().wait().is_zero());
    let refused = limiter.reserve_all(&shares, Duration::from_secs(60)).unwrap_err();
    let ReserveAllError::Refused(refused) = refused else { panic!("{refused}") };
    limiter.clock().advance(refused.decision().retry_after().unwrap());
    assert!(limiter.reserve_all(&shares, Duration::from_secs(60)).unwrap().wait().is_zero());
}

#[test]
fn what_is_another_limiters_is_refused_and_counted() {
    let [ours, theirs] = [(); 2].map(|()| limiter(Quota::per_minute(5)));
    let (limit, hash) = (*theirs.default_limit(), theirs.hash("key"));
    let set = LimitSet::new([limit]).unwrap();
    let view = ours.with(&limit);
    assert!(view.check("key").is_refused() && view.check("key").never_fits());
    assert!(ours.check(&hash).is_refused() && ours.peek(&hash).is_refused());
    assert_eq!((view.take_up_to("key", 3), view.charge("key", 3)), (0, 0));
    assert!(view.reserve("key", 1, Duration::from_secs(9)).is_err());
    assert!(!ours.check_set(&set, "key").is_allowed());
    let share = |limit, key| Share { limit, key, cost: 1 };
    assert!(!ours.check_all(&[share(ours.default_limit(), hash)]).unwrap().is_allowed());
    assert!(ours.reserve_all(&[share(&limit, ours.hash("key"))], Duration::ZERO).is_err());
    let mut lease = view.lease("key", 4);
    assert!(lease.check().is_refused() && lease.held() == 0);
    drop(lease);
    ours.check_many(&[hash, ours.hash("key")], |i, decision| assert_eq!(decision.is_allowed(), i == 1));
    view.refund("key", 1);
    view.reset("key");
    ours.convert("key", &limit, tollgate::Inheritance::AsIs);
    assert_eq!((ours.stats().foreign, theirs.stats().foreign), (15, 0));
    assert!(theirs.with(&limit).check(&hash).is_allowed());
}
