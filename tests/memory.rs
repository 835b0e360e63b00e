//! What a table takes of the machine's memory (P8): what its keys touch and no more, page by page; or all of it when it is
//! built. The memory is that of the process, so this is one test in a file of its own.

#![allow(missing_docs, reason = "a test")]
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs::read_to_string;

use common::Rng;
use common::report::grouped;
use tollgate::clock::{Clock, ExactClock, ManualClock};
use tollgate::{Limiter, Quota};

const MIB: usize = 1 << 20;

fn limiter(capacity: usize, commit: bool) -> Limiter<ManualClock> {
    let builder = Limiter::builder(Quota::per_day(1)).capacity(capacity).fixed_seed(1).commit_at_build(commit);
    builder.clock(ManualClock::default()).build().unwrap()
}

/// The number of kB in a line of /proc/self/smaps, in bytes.
fn bytes(line: &str, name: &str) -> Option<usize> {
    let number = line.strip_prefix(name)?.trim().strip_suffix(" kB")?;
    Some(1_024 * number.parse::<usize>().expect("a number"))
}

/// Bytes that this process has in memory, counted page by page.
fn resident() -> usize {
    let text = read_to_string("/proc/self/smaps_rollup").expect("Linux");
    text.lines().find_map(|line| bytes(line, "Rss:")).expect("a line on the resident set")
}

/// Whether the system makes no huge pages of the mapping of which most is in memory: not when it is touched, nor later.
fn largest_is_of_small_pages() -> bool {
    let text = read_to_string("/proc/self/smaps").expect("Linux");
    let (mut most, mut size, mut small) = (0, 0, false);
    for line in text.lines() {
        size = bytes(line, "Rss:").unwrap_or(size);
        if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| size > most) {
            (most, small) = (size, flags.split_whitespace().any(|flag| flag == "nh"));
        }
    }
    small
}

#[test]
fn a_table_takes_what_its_keys_touch() {
    if std::env::var_os("ASAN_OPTIONS").or(std::env::var_os("TSAN_OPTIONS")).is_some() {
        return; // a sanitizer keeps books of every page
    }
    drop(limiter(1, false));
    let clock = ExactClock::new();
    for capacity in [500_000, 1_000_000, 10_000_000, 16_000_000] {
        let before = resident();
        let limiter = limiter(capacity, false);
        let mut rng = Rng(capacity as u64);
        // Looking commits nothing, at keys that are not there, nor all over the table.
        for _ in 0..10_000 {
            assert!(limiter.peek(&rng.next()).is_allowed());
        }
        assert_eq!(limiter.stats().busy, 0);
        let looked = resident() - before;
        assert!(looked < MIB, "{capacity} keys: {looked} bytes for nobody");
        let mut worst = 0;
        for _ in 0..1_000 {
            let key = rng.next();
            let before = clock.now();
            let (first, again) = (limiter.check(&key), limiter.check(&key));
            worst = worst.max(clock.now().saturating_duration_since(before).as_nanos());
            assert!(first.is_allowed() && again.is_refused());
        }
        // A page of 4 KiB for each key, so no check waited for 2 MiB.
        let touched = resident() - before;
        assert!(touched <= 1_000 * 4_096 + MIB, "{capacity} keys: {touched} bytes for 1,000");
        assert!(largest_is_of_small_pages(), "whatever the system does of itself");
        let (capacity, touched) = (grouped(capacity as u64), grouped(touched as u64));
        println!("table for {capacity}: {touched} bytes for 1,000 keys, at most {worst} ns for two checks of one");
    }
    for (capacity, commit) in [(300_000, false), (300_000, true), (2_000_000, true)] {
        let before = resident();
        let limiter = limiter(capacity, commit);
        let (built, reserved) = (resident(), limiter.stats().bytes);
        let took = built - before;
        assert!(took.abs_diff(reserved) < MIB, "{capacity} keys: {took} bytes for a table of {reserved}");
        let mut rng = Rng(capacity as u64);
        for _ in 0..10_000 {
            assert!(limiter.check(&rng.next()).is_allowed());
        }
        assert!(resident() - built < MIB, "{capacity} keys: more than was committed");
        assert!(largest_is_of_small_pages(), "no huge pages are made later");
    }
}
