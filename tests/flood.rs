//! A flood of distinct keys, a hundred for each that the table has room for (P4, P8), half of them busy for a while so that
//! the table stays full. Under every policy: the memory stays what it is, those who are in debt stay in debt, all together
//! get no more than their slots have, and a check takes as long at the end as at the beginning.
//!
//! `cargo test` runs a short version; `ci/flood.sh` the long one.

#![allow(missing_docs, reason = "a test")]

mod common;

use std::time::Duration;

use common::report::{Progress, grouped};
use common::{Rng, SECOND, Windows, ns, setting};
use tollgate::clock::{Clock, ExactClock, ManualClock};
use tollgate::{Limiter, OnFull, Quota, Stats};

/// A token a millisecond, so a key that has taken `n` is busy for `n` milliseconds.
const RATE: u64 = 1_000;
const BURST: u64 = 10_000;
/// How long a flood takes by the clock of the limiter, whatever its size.
const LASTS: u64 = 100 * SECOND;
/// Debtors could go this long after a drained bucket could: twice as long as the flood takes.
const DEBT: u64 = 2 * LASTS / SECOND * RATE;
/// What the process may have grown by since a hundredth of the keys had come.
const GROWTH: u64 = 1 << 20;
/// Checks timed in a tenth of the flood, about.
const SAMPLES: u64 = 500_000;

#[derive(Debug, Clone, Copy)]
struct Flood {
    keys: u64,
    on_full: OnFull,
}

/// What was seen of one.
struct Seen {
    stats: Stats,
    /// Recorded in a slot.
    admitted: u64,
    refused: u64,
    /// What was taken, and the most that the slots can have had.
    tokens: u64,
    most: u64,
    debtors: u64,
    still_in_debt: u64,
    looks: u64,
    looks_refused: u64,
    /// Before there was a limiter, when a hundredth of the keys had come, and at the end.
    resident: [u64; 3],
    first: Times,
    last: Times,
    took: Duration,
}

/// Nanoseconds of single checks. All of the memory is written at once, or it would seem to grow.
struct Times(Vec<u32>, usize);

impl Times {
    fn new(samples: u64) -> Self {
        Self(vec![u32::MAX; usize::try_from(samples).expect("64 bits")], 0)
    }

    fn push(&mut self, took: Duration) {
        self.0[self.1] = took.as_nanos().try_into().unwrap_or(u32::MAX);
        self.1 += 1;
    }

    fn sort(&mut self) {
        self.0.truncate(self.1);
        self.0.sort_unstable();
    }

    /// What `parts` of 10,000 do not exceed.
    fn percentile(&self, parts: usize) -> u32 {
        self.0[(self.0.len() * parts / 10_000).min(self.0.len() - 1)]
    }

    /// How many took from 2^bits to 2^(bits + 1) nanoseconds.
    fn of_bits(&self, bits: u32) -> u64 {
        self.0.iter().filter(|&&nanos| nanos.max(1).ilog2() == bits).count() as u64
    }
}

/// Bytes that this process has in memory; none on a system that does not say so here.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|number| number.parse::<u64>().ok());
    1_024 * kilobytes.unwrap_or(0)
}

/// How long reading the clock takes: the median of many times nothing.
fn reading() -> u32 {
    let (clock, mut times) = (ExactClock::new(), Times::new(10_001));
    (0..10_001).for_each(|_| {
        let before = clock.now();
        times.push(clock.now().saturating_duration_since(before));
    });
    times.sort();
    times.percentile(5_000)
}

impl Flood {
    fn run(&self, progress: &mut Progress, done: u64) -> Seen {
        let (began, mut rng) = (progress.elapsed(), Rng(setting("TOLLGATE_SEED", 1)));
        let (tenth, every) = (self.keys / 10, (self.keys / 10).div_ceil(SAMPLES));
        let mut times = [Times::new(tenth / every + 2), Times::new(tenth / every + 2)];
        let clock = ExactClock::new();
        let mut memory = [resident(), 0, 0];

        let (quota, capacity) = (Quota::per_second(RATE).with_burst(BURST), self.keys / 100);
        let builder = Limiter::builder(quota).capacity(usize::try_from(capacity).expect("64 bits"));
        let limiter = builder.on_full(self.on_full).clock(ManualClock::default()).build().expect("a valid quota");
        // At most; the counters are a few bytes of it.
        let slots = limiter.stats().bytes as u64 / 16;
        let together = Quota::per_second(RATE * slots).with_burst(BURST * slots);
        let (mut windows, mut tokens) = (Windows::new(&together, 1), 0);

        let debtors: Vec<u64> = (0..(capacity / 100).clamp(1, 1_000)).map(|_| rng.next()).collect();
        for key in &debtors {
            assert!(limiter.check_n(key, BURST).is_allowed());
            windows.admit((0, BURST));
            tokens += BURST;
            assert_eq!(limiter.key(key).charge(DEBT), DEBT);
        }
        let (mut admitted, mut refused, mut looks, mut looks_refused) = (0, 0, 0, 0);
        for i in 0..self.keys {
            let now = u64::try_from(u128::from(LASTS) * u128::from(i) / u128::from(self.keys)).expect("below LASTS");
            let (key, cost) = (rng.next(), if rng.once_in(2) { 1 } else { 1 + rng.below(BURST) });
            let view = limiter.at(ns(now));
            let timed = i % every == 0 && (i < tenth || i >= self.keys - tenth);
            let before = if timed { clock.now() } else { ns(0) };
            let decision = view.check_n(&key, cost);
            if timed {
                times[usize::from(i >= tenth)].push(clock.now().saturating_duration_since(before));
            }
            if decision.is_refused() {
                refused += 1;
            } else if decision.remaining() < BURST {
                admitted += 1;
                tokens += cost;
                windows.admit((now, cost));
            }
            if i % (self.keys / 1_000) == 0 {
                looks += debtors.len() as u64;
                looks_refused += debtors.iter().filter(|key| view.check(*key).is_refused()).count() as u64;
                progress.show(done + i, format_args!("{:?}", self.on_full));
            }
            if i == capacity {
                memory[1] = resident();
            }
        }
        memory[2] = resident();
        limiter.clock().set(ns(LASTS));
        assert_eq!(windows.verdict(), Ok(()), "more than {slots} slots have");
        // To the nanosecond what they would owe if nobody else had come.
        let owed = Some(Duration::from_nanos(DEBT * SECOND / RATE + SECOND / RATE - LASTS));
        let still_in_debt = debtors.iter().filter(|key| limiter.check(*key).retry_after() == owed).count() as u64;
        let [mut first, mut last] = times;
        first.sort();
        last.sort();
        Seen {
            stats: limiter.stats(),
            admitted,
            refused,
            tokens,
            most: together.burst() + LASTS / SECOND * together.count(),
            debtors: debtors.len() as u64,
            still_in_debt,
            looks,
            looks_refused,
            resident: memory,
            first,
            last,
            took: progress.elapsed() - began,
        }
    }

    /// `slower` is how many times as long as at the beginning the median check may take at the end.
    fn judge(&self, seen: &Seen, slower: u32) {
        let Seen { stats, admitted, refused, .. } = seen;
        let [_, before, after] = seen.resident;
        // The address sanitizer keeps what has been freed.
        let sanitized = std::env::var_os("ASAN_OPTIONS").is_some();
        assert!(
            sanitized || after.saturating_sub(before) <= GROWTH,
            "resident memory grew from {before} to {after} bytes"
        );
        assert!(seen.tokens <= seen.most, "{} tokens of {}", seen.tokens, seen.most);
        // Half of the keys are as good as idle, so slots are free for moments.
        assert!(stats.busy * 16 * 10 >= stats.bytes as u64 * 9, "the table must be full: {stats:?}");
        let untracked = self.keys - admitted - refused;
        assert_eq!((*refused, untracked), (stats.refused_full, stats.untracked), "{stats:?}");
        let met = [stats.evictions, stats.refused_full, stats.untracked].map(|count| count > 0);
        match self.on_full {
            OnFull::EvictNearestIdle => assert_eq!(met, [true, true, false], "{stats:?}"),
            OnFull::RefuseNew => assert_eq!(met, [false, true, false], "{stats:?}"),
            _ => assert_eq!(met, [false, false, true], "{stats:?}"),
        }
        // Under eviction too: whoever can still be admitted is nearer to idle than a debtor.
        assert_eq!(seen.still_in_debt, seen.debtors, "in debt at the end, to the nanosecond");
        assert_eq!(seen.looks_refused, seen.looks, "refused at every look");
        let [first, last] = [&seen.first, &seen.last].map(|times| times.percentile(5_000));
        assert!(
            last <= slower * first,
            "the median check took {first} ns in the first tenth and {last} ns in the last"
        );
    }

    fn report(&self, seen: &Seen) {
        let Seen { stats, first, last, .. } = seen;
        let [start, before, after] = seen.resident.map(|bytes| bytes / 1_024).map(grouped);
        println!("\n{:?}: {} keys in {:.1} s", self.on_full, grouped(self.keys), seen.took.as_secs_f64());
        println!(
            "  resident memory, kB   {start} at the start, {before} after 1 %, {after} at the end (bound: 1,024 more)"
        );
        println!(
            "  answers               {} admitted, {} refused for room, {} untracked; {} evictions",
            grouped(seen.admitted),
            grouped(stats.refused_full),
            grouped(stats.untracked),
            grouped(stats.evictions),
        );
        let percent = stats.busy * 100 / (stats.bytes as u64 / 16);
        println!(
            "  slots                 {percent} % busy at the end, for {} keys of capacity",
            grouped(self.keys / 100)
        );
        println!("  tokens taken          {} of at most {}", grouped(seen.tokens), grouped(seen.most));
        let [debtors, still, looks, refused] =
            [seen.debtors, seen.still_in_debt, seen.looks, seen.looks_refused].map(grouped);
        println!(
            "  debtors               {still} of {debtors} owe what they owed; refused at {refused} of {looks} looks"
        );
        println!("  one check, ns        first tenth   last tenth");
        for (name, parts) in
            [("p50", 5_000), ("p90", 9_000), ("p99", 9_900), ("p99.9", 9_990), ("p99.99", 9_999), ("max", 10_000)]
        {
            let [first, last] = [first, last].map(|times| grouped(times.percentile(parts).into()));
            println!("    {name:<16} {first:>12} {last:>12}");
        }
        let bits: Vec<u32> = (0..32).filter(|&bits| first.of_bits(bits) + last.of_bits(bits) > 0).collect();
        for bits in bits {
            let [first, last] = [first, last].map(|times| grouped(times.of_bits(bits)));
            let range = format!("{} to {}", 1_u64 << bits, 1_u64 << (bits + 1));
            println!("    {range:<23} {first:>5} {last:>12}");
        }
    }
}

const POLICIES: [OnFull; 3] = [OnFull::EvictNearestIdle, OnFull::RefuseNew, OnFull::AdmitUntracked];

/// The three policies one after the other: the memory is that of the process.
#[test]
fn short() {
    let (keys, mut progress) = (300_000, Progress::new(1, "keys", true));
    for on_full in POLICIES {
        let flood = Flood { keys, on_full };
        // On a machine busy with other tests a time means little.
        flood.judge(&flood.run(&mut progress, 0), 10);
    }
}

#[test]
#[ignore = "takes minutes: run by `ci/flood.sh [KEYS]`"]
fn long() {
    let keys = setting("TOLLGATE_KEYS", 100_000_000);
    let mut progress = Progress::new(3 * keys, "keys", false);
    println!("A time is that of one check and of one reading of the clock, which takes {} ns here.", reading());
    for (done, on_full) in (0..).step_by(usize::try_from(keys).expect("64 bits")).zip(POLICIES) {
        let flood = Flood { keys, on_full };
        let seen = flood.run(&mut progress, done);
        flood.report(&seen);
        flood.judge(&seen, 2);
    }
}
