//! Memory of a sparse table given back, for all of its processes.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use tollgate::shared::Shared;

use crate::process::{Child, Directory, builder};

/// After a flood that has gone by; what is in use stays, in every process, and every page works again.
#[test]
fn a_sparse_table_gives_back_what_a_flood_has_left() {
    const KEYS: u64 = 60_000;
    let directory = Directory::new("release");
    let path = directory.table();
    let build = || builder("10/second", 400_000).shared(Shared::at(&path).sparse()).build().unwrap();
    let blocks = || std::fs::metadata(&path).unwrap().blocks() * 512;
    let here = build();
    let (long, before) = (here.prepare("long", "10/day").unwrap(), blocks());
    for key in 0..100 {
        assert_eq!(here.under(&long).key(&key).take_up_to(4), 4);
    }
    let few = blocks();
    Child::new(|| {
        let there = build();
        assert!((0..KEYS).all(|key| there.check(&("flood", key)).is_allowed()));
        assert_eq!(there.release_idle(), 0, "all of it is in use");
    })
    .ends_well();
    let flooded = blocks();
    assert!(flooded > few + 1_000_000 && few > before, "{before}, {few}, {flooded}");
    std::thread::sleep(Duration::from_millis(1_200));
    // While another process looks at what stays, and inserts beside.
    let other = Child::new(|| {
        let there = build();
        let long = there.prepare("long", "10/day").unwrap();
        let new = there.prepare("new", "3/day").unwrap();
        for round in 0..40_u64 {
            assert!((0..100).all(|key| there.under(&long).peek(&key).remaining() == 6), "round {round}");
            assert!((0..50).all(|key| there.under(&new).key(&(round, key)).take_up_to(9) == 3));
            assert!((0..50).all(|key| there.under(&new).check(&(round, key)).is_refused()));
        }
    });
    let released = here.release_idle();
    other.ends_well();
    assert!(released > 1_000_000, "{released}");
    assert!(blocks() + 1_000_000 < flooded, "{} of {flooded}", blocks());
    for key in 0..100 {
        assert_eq!(here.under(&long).key(&key).take_up_to(9), 6);
    }
    assert!((0..KEYS).all(|key| here.check(&("flood", key)).is_allowed()));
    let found = Shared::at(&path).inspect().unwrap().info();
    assert!(found.is_sparse && found.between_owners == 0, "{found:?}");
}

#[test]
fn what_is_reserved_stays() {
    let directory = Directory::new("reserved-stays");
    let limiter = builder("10/second", 400_000).shared(Shared::at(directory.table())).build().unwrap();
    assert!(limiter.check("key").is_allowed());
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!(limiter.release_idle(), 0);
}

/// To look at all slots, or at some, takes no memory that no key has needed: whoever is alone, `stats`, a snapshot, a sweep.
#[test]
fn nobody_who_looks_commits_what_is_sparse() {
    let directory = Directory::new("looks");
    let path = directory.table();
    let blocks = || std::fs::metadata(&path).unwrap().blocks() * 512;
    let build = || builder("10/hour", 1_000_000).shared(Shared::at(&path).sparse()).build().unwrap();
    let made = build();
    assert!((0..100).all(|key| made.key(&key).take_up_to(4) == 4));
    let few = blocks();
    assert!(few < 2 << 20);
    let busy = made.stats().busy;
    assert!(busy > 10 && busy < 1_000, "{busy}");
    assert_eq!(made.snapshot(std::io::sink()).unwrap().buckets, 100);
    assert_eq!(made.release_idle(), 0);
    drop(made);
    let alone = build();
    assert!((0..100).all(|key| alone.key(&key).take_up_to(9) == 6));
    assert_eq!(Shared::at(&path).inspect().unwrap().info().busy, 100);
    assert!(blocks() < few + (64 << 10), "{} of {few}", blocks());
}
