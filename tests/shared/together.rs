//! Processes that decide at the same time, and configurations that take turns.

use std::time::Duration;

use tollgate::clock::{Clock as _, ManualClock};
use tollgate::shared::Shared;

use crate::process::{Child, Directory, builder, shared};

/// Old and new configuration in turn: what both have is one limit, what differs is admitted the sum at most.
#[test]
fn configurations_in_turn_admit_no_more_than_is_stated() {
    let directory = Directory::new("turns");
    let clock = ManualClock::new(tollgate::clock::Instant::from_secs(1_800_000_000));
    let build = |quota: &str| {
        let shared = Shared::at(directory.table());
        builder(quota, 1_000).shared(shared).trust_clock(clock.clone()).build().unwrap()
    };
    let [old, new] = [build("100/second burst 1000"), build("10/second burst 10")];
    let (same_old, same_new) = (old.prepare("login", "5/second").unwrap(), new.prepare("login", "5/second").unwrap());
    let (mut differs, mut same) = (0, 0);
    let start = clock.now();
    for turn in 0..10_000 {
        let (limiter, limit) = if turn % 2 == 0 { (&old, &same_old) } else { (&new, &same_new) };
        differs += u64::from(limiter.check("key").is_allowed());
        same += u64::from(limiter.under(limit).check("key").is_allowed());
        let seconds = clock.now().saturating_duration_since(start).as_secs();
        assert!(differs <= 1_010 + 110 * (seconds + 1), "turn {turn}: {differs}");
        assert!(same <= 5 + 5 * (seconds + 1), "turn {turn}: {same}");
        if turn % 100 == 99 {
            clock.advance(Duration::from_millis(100));
        }
    }
    // Nor less: 5,000 requests each in ten seconds.
    assert!(differs >= 1_010 + 10 * 100 && same >= 5 + 5 * 9, "{differs}, {same}");
    // At one instant: exactly both bursts.
    let key = "another";
    let taken: u64 = (0..100).map(|_| old.key(key).take_up_to(100) + new.key(key).take_up_to(100)).sum();
    assert_eq!(taken, 1_010);
}

/// A limit that knows only itself takes nothing of another's for what a clock has left: the reach is the table's.
#[test]
fn long_quotas_of_others_are_not_taken_back() {
    let directory = Directory::new("reach");
    let clock = ManualClock::new(tollgate::clock::Instant::from_secs(1_800_000_000));
    let build = |quota: &str| {
        let shared = Shared::at(directory.table());
        builder(quota, 16).shared(shared).trust_clock(clock.clone()).build().unwrap()
    };
    let long = build("100/day");
    for key in 0..20 {
        assert_eq!(long.key(&key).take_up_to(100), 100);
    }
    let short = build("10/second");
    // His own clock steps back, so that he would take back what no limit that he knows of can have left.
    for _ in 0..50 {
        clock.set(clock.now().saturating_sub(Duration::from_secs(2)));
        assert!(!short.check("stranger").is_allowed());
    }
    clock.advance(Duration::from_secs(100));
    let back: u64 = (0..20).map(|key| long.key(&key).take_up_to(100)).sum();
    assert_eq!(back, 0);
}

/// What one process has promised another does not give away: a refund while somebody waits gives nothing back.
#[test]
fn what_one_has_promised_others_do_not_give_away() {
    let directory = Directory::new("promised");
    let path = directory.table();
    let here = shared("1/minute burst 2", 100, &path);
    assert_eq!(here.key("key").take_up_to(2), 2);
    let reserved = here.key("key").reserve(1, Duration::from_secs(600)).unwrap();
    Child::new(|| {
        let there = shared("1/minute burst 2", 100, &path);
        there.key("key").refund(2);
        assert!(there.check("key").is_refused(), "the next token is promised");
    })
    .ends_well();
    drop(reserved);
}

/// Four processes on one key, as fast as they can: what they record is merged, and no window of it has too much.
/// `TOLLGATE_TOGETHER_SECONDS` for longer.
#[test]
fn four_processes_on_one_key_admit_one_limit() {
    const PROCESSES: usize = 4;
    let seconds = std::env::var("TOLLGATE_TOGETHER_SECONDS").map_or(2, |text| text.parse().expect("seconds"));
    let directory = Directory::new("one-key");
    let path = directory.table();
    // 2,000 a second, burst 400.
    let (rate, burst) = (2_000_u64, 400_u64);
    let limiter = shared("2000/second burst 400", 1_000, &path);
    let record = |process: usize| path.with_extension(process.to_string());
    let start = limiter.now();
    let children: Vec<_> = (0..PROCESSES)
        .map(|process| {
            let (path, record) = (&path, record(process));
            Child::new(move || {
                let limiter = shared("2000/second burst 400", 1_000, path);
                let mut admitted = Vec::new();
                loop {
                    let now = limiter.now();
                    if now.saturating_duration_since(start) > Duration::from_secs(seconds) {
                        break;
                    }
                    if limiter.at(now).check("key").is_allowed() {
                        admitted.extend_from_slice(&now.as_nanos().to_le_bytes());
                    }
                }
                std::fs::write(record, admitted).unwrap();
            })
        })
        .collect();
    children.into_iter().for_each(Child::ends_well);
    let mut admitted: Vec<u64> = (0..PROCESSES)
        .flat_map(|process| {
            let bytes = std::fs::read(record(process)).unwrap();
            bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect::<Vec<_>>()
        })
        .collect();
    admitted.sort_unstable();
    // Of every window [a, b]: count <= burst + rate * (b - a + 1 ns). With d(i) = i - rate * t(i), the largest d behind a
    // smallest one.
    let scaled = |count: usize, nanos: u64| {
        count as i128 * 1_000_000_000 - i128::from(rate) * i128::from(nanos - start.as_nanos())
    };
    let (mut least, mut most) = (i128::MAX, i128::MIN);
    for (index, &nanos) in admitted.iter().enumerate() {
        least = least.min(scaled(index, nanos));
        most = most.max(scaled(index + 1, nanos) - least);
    }
    assert!(most <= i128::from(burst) * 1_000_000_000 + i128::from(rate), "a window has {most} billionths");
    // All but four of what time gives: from when the first of them came.
    let (first, last, count) = (admitted[0], admitted[admitted.len() - 1], admitted.len() as u64);
    let all = burst + rate * (last - first) / 1_000_000_000;
    assert!(count <= all + 1 && count + 4 >= all, "{count} of {all}");
    println!("{count} of {all} admitted in {seconds} s");
    assert!(last - start.as_nanos() > (seconds * 1_000 - 100) * 1_000_000, "until the end");
}
