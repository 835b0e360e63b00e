//! Text wherever a quota is asked for, and sets of limits in one line.

use super::common::limiter;
use super::secs;
use tollgate::clock::ManualClock;
use tollgate::error::{BuildError, LimitError, LimitSetError, QuotaError};
use tollgate::quota::{IntoQuota, IntoQuotas};
use tollgate::{Algorithm, Bucket, LimitSet, Limiter, Quota};

#[test]
fn text_stands_wherever_a_quota_is_asked_for() {
    let clock = ManualClock::default();
    let limiter =
        Limiter::builder("100/minute").also_exact_for("7/s, 11/s").capacity(64).clock(&clock).build().unwrap();
    assert_eq!(*limiter.default_limit().quota(), Quota::per_minute(100));
    let seven = limiter.prepare("seven", "7/s as sliding-window").unwrap();
    assert_eq!(*seven.quota(), Quota::per_second(7).with_algorithm(Algorithm::SlidingWindow));
    assert!(limiter.prepare("eleven", "11/s").unwrap().effective_rate().is_exact());
    let eight = limiter.change_quota(&seven, "8/s as sliding-window").unwrap();
    assert!(eight.carries_over() && eight.quota().count() == 8);
    assert_eq!(Bucket::with_clock("10/s", &clock).unwrap().handle().take_up_to(99), 10);
    assert_eq!(Bucket::new(String::from("10/s burst 3")).unwrap().handle().take_up_to(99), 3);

    assert_eq!(Quota::try_from("5/m"), Ok(Quota::per_minute(5)));
    assert_eq!(Quota::try_from(String::from("5/m")), Ok(Quota::per_minute(5)));
    assert_eq!(Quota::try_from("5/m, 1/s"), "5/m, 1/s".parse());
    let (five, text) = (Quota::per_minute(5), String::from("5/m"));
    let singles = [five.into_quota(), (&five).into_quota(), "5/m".into_quota(), (&text).into_quota()];
    assert!(singles.iter().all(|quota| *quota == Ok(five)));
    let lists = [
        five.into_quotas(),
        (&five).into_quotas(),
        vec![five].into_quotas(),
        (&vec![five]).into_quotas(),
        [five][..].into_quotas(),
        [five].into_quotas(),
        (&[five]).into_quotas(),
        "5/m".into_quotas(),
        (&text).into_quotas(),
        text.clone().into_quotas(),
    ];
    assert!(lists.iter().all(|quotas| *quotas == Ok(vec![five])));
}

#[test]
fn what_is_wrong_with_a_text_is_said_with_its_place() {
    let place = |error: LimitError| match error {
        LimitError::Text(error) => error.position(),
        other => panic!("{other}"),
    };
    let limiter = limiter(Quota::per_second(1));
    assert_eq!(place(limiter.prepare("name", "5/fortnight").unwrap_err()), 2);
    assert_eq!(place(limiter.prepare("name", "5/s, 7/m").unwrap_err()), 3, "one limit is one rate");
    assert_eq!(place(limiter.change_quota(limiter.default_limit(), "").unwrap_err()), 0);
    assert_eq!(place(limiter.prepare_set("name", "5/s, x").unwrap_err()), 5);
    assert_eq!(place(Bucket::new("5 s").unwrap_err()), 2);
    let error = limiter.prepare("name", "5000/s as sliding-log").unwrap_err();
    assert!(matches!(error, LimitError::Quota(QuotaError::CountTooLarge { max_count: 1_024, .. })), "{error}");

    // A builder keeps the first mistake for the end: that of its own quota, then that of another.
    let place = |error: BuildError| match error {
        BuildError::Text(error) => error.position(),
        other => panic!("{other}"),
    };
    let build = |quota: &str, [one, two]: [&str; 2]| {
        Limiter::builder(quota).also_exact_for(one).also_exact_for(two).capacity(64).build()
    };
    assert!(build("5/s", ["1/s, 2/s", "3/s"]).is_ok());
    assert_eq!(place(build("5/x", ["1 s", "x"]).unwrap_err()), 2);
    assert_eq!(place(build("5/s", ["10 s", "x"]).unwrap_err()), 3);
    assert_eq!(place(build("5/s", ["10/s", "x"]).unwrap_err()), 0);
    let error = build("5/fortnight", ["1/s", "1/s"]).unwrap_err();
    let source = std::error::Error::source(&error).expect("the error of the text");
    assert_eq!(
        (source.to_string(), error.to_string()),
        (error.to_string(), "5/fortnight".parse::<Quota>().unwrap_err().to_string())
    );
}

#[test]
fn a_set_of_one_text_decides_all_or_nothing() {
    let rates = "200 per day, 5 per hour, 7/11s as fixed-window";
    let limiter = Limiter::builder("1000/s").also_exact_for(rates).capacity(64).clock(ManualClock::default());
    let limiter = limiter.build().unwrap();
    let set = limiter.prepare_set("api", rates).unwrap();
    let quotas: Vec<Quota> = set.limits().iter().map(|limit| *limit.quota()).collect();
    assert_eq!(Ok(quotas), rates.into_quotas());
    assert!(set.limits().iter().all(|limit| limit.effective_rate().is_exact()));
    assert_eq!((0..9).filter(|_| limiter.check_set(&set, "key").is_allowed()).count(), 5);
    let left = |index: usize| limiter.under(&set.limits()[index]).peek("key").remaining();
    assert_eq!([left(0), left(1), left(2)], [195, 0, 2]);

    // Each is the limit of the set's name and its quota, and of no other name.
    let [same, other] = ["api", "other"].map(|name| limiter.prepare(name, "200/day").unwrap());
    assert_eq!(limiter.under(&same).peek("key").remaining(), 195);
    assert_eq!(limiter.under(&other).peek("key").remaining(), 200);
    let same = limiter.prepare_set("api", "5/h, 200/d").unwrap();
    assert!(!limiter.check_set(&same, "key").is_allowed());
}

#[test]
fn what_makes_no_set_is_said() {
    let limiter = limiter(Quota::per_second(1));
    let wrong = |quotas: &str| match limiter.prepare_set("set", quotas).unwrap_err() {
        LimitError::Set(error) => error,
        other => panic!("{other}"),
    };
    let twice = wrong("10/minute, 5/s, 10 per 60 seconds");
    assert_eq!(twice, LimitSetError::SameName { first: 0, second: 2 });
    assert!(twice.to_string().contains("limits 0 and 2 of the set have the same name and the same quota"));
    assert_eq!(wrong("1/s as sliding-log, 2/s as sliding-log"), LimitSetError::SameName { first: 0, second: 1 });
    let many: Vec<Quota> = (0..=LimitSet::MAX as u64).map(Quota::per_second).collect();
    assert_eq!(limiter.prepare_set("set", &many).unwrap_err(), LimitError::Set(LimitSetError::TooMany { count: 33 }));
    assert_eq!(limiter.prepare_set("set", &many[1..]).unwrap().limits().len(), LimitSet::MAX);
    assert_eq!(limiter.prepare_set("set", []).unwrap_err(), LimitError::Set(LimitSetError::Empty));
    let error = limiter.prepare_set("set", [Quota::per_second(1), Quota::per_second(u64::MAX)]).unwrap_err();
    assert!(matches!(error, LimitError::Quota(QuotaError::RateTooHigh { .. })), "{error}");
    assert_eq!(limiter.check_set(&limiter.prepare_set("set", "2/s burst 1, 9/m").unwrap(), "key").index(), 0);
    limiter.clock().advance(secs(1));
}
