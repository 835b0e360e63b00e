//! What makes two requests ask one bucket: the limit, and the key.

use std::net::{IpAddr, Ipv4Addr};

use super::ALL;
use super::common::limiter;
use tollgate::clock::ManualClock;
use tollgate::{Algorithm, Limit, Limiter, Quota};

#[test]
fn a_bucket_belongs_to_a_limit_and_a_key() {
    let limiter = limiter(Quota::per_minute(2));
    let other = limiter.prepare("other", Quota::per_minute(2)).unwrap();
    let window = limiter.prepare("window", Quota::per_minute(2).with_algorithm(Algorithm::FixedWindow)).unwrap();
    let same = limiter.prepare(Limit::DEFAULT_NAME, Quota::per_minute(2)).unwrap();
    assert_eq!(limiter.key("key").take_up_to(ALL), 2);
    assert_eq!(limiter.key("another key").take_up_to(ALL), 2);
    assert_eq!(limiter.under(&other).key("key").take_up_to(ALL), 2);
    assert_eq!(limiter.under(&window).key("key").take_up_to(ALL), 2);
    assert_eq!(limiter.under(&same).key("key").take_up_to(ALL), 0, "the default limit by its name");
    limiter.key("key").reset();
    assert_eq!(limiter.under(&other).peek("key").remaining(), 0, "reset under one limit, not under the other");
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
        let limiter = builder.clock(ManualClock::default()).build().unwrap();
        let admitted: Vec<bool> = (0..2_000).map(|key| limiter.check(&key).is_allowed()).collect();
        (admitted, limiter.stats())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}
