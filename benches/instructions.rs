//! One row of the table of instructions a check: so many calls of one kind, with a fixed seed and a fixed time, in one
//! function that `ci/instructions.sh` has callgrind count.
//!
//! `instructions ROW CALLS`; `instructions --rows` lists them; without arguments, each runs a little.
#![expect(clippy::cast_possible_truncation, reason = "a few thousand calls")]

use std::env;
use std::hint::black_box;

use tollgate::clock::{CachedClock, Clock, Instant, ManualClock};
use tollgate::{Algorithm, Key, LimitSet, Limiter, Quota};

/// A thousand keys, so that all stay in the first caches: instructions are counted, not misses.
const KEYS: u64 = 1_024;
const BATCH: usize = 32;
const START: Instant = Instant::from_secs(1_800_000_000);

/// What callgrind counts; nothing else is collected. Returns how many were admitted.
#[inline(never)]
fn measured(calls: u64, mut call: impl FnMut(u64) -> u64) -> u64 {
    (0..calls).fold(0, |admitted, index| admitted + call(black_box(index)))
}

fn limiter<C: Clock>(quota: Quota, clock: C) -> Limiter<C> {
    let builder = Limiter::builder(quota).also_exact_for(generous()).capacity(KEYS as usize).fixed_seed(7);
    builder.clock(clock).build().expect("a limiter")
}

fn manual(quota: Quota) -> Limiter<ManualClock> {
    limiter(quota, ManualClock::new(START))
}

/// Keys that are busy, and never exhausted.
const fn generous() -> Quota {
    Quota::per_second(1_000_000).with_burst(4_000_000_000)
}

fn fill<C: Clock, K: Key>(limiter: &Limiter<C>, keys: &[K]) {
    keys.iter().for_each(|key| assert!(limiter.check(key).is_allowed()));
}

fn key_of<K>(keys: &[K], index: u64) -> &K {
    &keys[(index % KEYS) as usize]
}

fn text(length: usize) -> Vec<String> {
    (0..KEYS).map(|number| format!("{number:0length$}")).collect()
}

fn allowed<K: Key>(calls: u64, quota: Quota, keys: &[K]) -> u64 {
    let limiter = manual(quota);
    fill(&limiter, keys);
    measured(calls, |index| u64::from(limiter.at(START).check(key_of(keys, index)).is_allowed()))
}

fn on_its_clock<C: Clock>(calls: u64, clock: C, keys: &[u64]) -> u64 {
    let limiter = limiter(generous(), clock);
    // Busy for long, so that it does not matter how fast the time passes.
    keys.iter().for_each(|key| assert!(limiter.check_n(key, 1_000_000_000).is_allowed()));
    measured(calls, |index| u64::from(limiter.check(key_of(keys, index)).is_allowed()))
}

fn refused(calls: u64, keys: &[u64]) -> u64 {
    let limiter = manual(Quota::per_day(1));
    fill(&limiter, keys);
    measured(calls, |index| u64::from(limiter.at(START).check(key_of(keys, index)).is_refused()))
}

/// Every key new, in the slot of one that has been idle for long.
fn new_key(calls: u64) -> u64 {
    let limiter = manual(Quota::per_second(1_000_000_000));
    (0..2 * KEYS).for_each(|key| assert!(limiter.check(&key).is_allowed()));
    measured(calls, |index| {
        let now = Instant::from_nanos(START.as_nanos() + 1_000 * (index + 1));
        u64::from(limiter.at(now).check(&(4 * KEYS + index)).is_allowed())
    })
}

/// Per key, so a call is a thirty-second of a batch.
fn check_keys(calls: u64, keys: &[u64]) -> u64 {
    let limiter = manual(generous());
    fill(&limiter, keys);
    measured(calls / BATCH as u64, |index| {
        let from = index as usize * BATCH % keys.len();
        let mut admitted = 0;
        limiter.at(START).check_keys(&keys[from..from + BATCH], |_, decision| {
            admitted += u64::from(decision.is_allowed());
        });
        admitted
    })
}

/// Ten requests remembered. The clock goes on, so that a request finds a cell that is full again.
fn log(calls: u64, keys: &[u64]) -> u64 {
    let quota = Quota::per_second(10).with_algorithm(Algorithm::SlidingLog);
    let builder = Limiter::builder(quota).capacity(16 * KEYS as usize).fixed_seed(7);
    let limiter = builder.clock(ManualClock::new(START)).build().expect("a limiter");
    fill(&limiter, keys);
    measured(calls, |index| {
        let now = Instant::from_nanos(START.as_nanos() + 200_000 * index);
        u64::from(limiter.at(now).check(key_of(keys, index)).is_allowed())
    })
}

/// Several token buckets for each key, all of which admit.
fn check_set(calls: u64, keys: &[u64], limits: usize) -> u64 {
    let limiter = Limiter::builder(generous()).capacity(2 * limits * KEYS as usize).fixed_seed(7);
    let limiter = limiter.clock(ManualClock::new(START)).build().expect("a limiter");
    let names = (0..limits).map(|number| limiter.prepare(&number.to_string(), generous()).expect("a limit"));
    let set = LimitSet::new(names).expect("a set");
    keys.iter().for_each(|key| assert!(limiter.check_set(&set, key).is_allowed()));
    measured(calls, |index| u64::from(limiter.at(START).check_set(&set, key_of(keys, index)).is_allowed()))
}

/// Room enough that no key is far from home: a shared table draws its seed, and what a search costs would be a matter of luck.
const ROOMY: usize = 64 * KEYS as usize;

/// A private table in the unit of time that a shared one has. At the caller's `now` and of hashes, so that neither clocks nor hash
/// functions are counted, here and in the next.
fn private(calls: u64, keys: &[u64]) -> u64 {
    // What the other is exact for.
    let builder = Limiter::builder(generous()).also_exact_for("7/second, 9/second, 64/second, 15625/second");
    let clock = ManualClock::new(START);
    let limiter = builder.capacity(ROOMY).fixed_seed(7).clock(clock).build().expect("a limiter");
    hashed(calls, &limiter, keys, START)
}

/// A table that other processes may have as well.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn shared(calls: u64, keys: &[u64]) -> u64 {
    let builder = Limiter::builder(generous()).capacity(ROOMY).shared(tollgate::shared::Shared::before_fork());
    let limiter = builder.build().expect("a limiter");
    hashed(calls, &limiter, keys, limiter.now())
}

fn hashed<C: Clock>(calls: u64, limiter: &Limiter<C>, keys: &[u64], now: Instant) -> u64 {
    assert!(!limiter.default_limit().units_per_second().is_multiple_of(1_000_000_000));
    let hashes: Vec<_> = keys.iter().map(|key| limiter.hash(key)).collect();
    // Busy for long.
    hashes.iter().for_each(|key| assert!(limiter.at(now).check_n(key, 1_000_000_000).is_allowed()));
    measured(calls, |index| u64::from(limiter.at(now).check(key_of(&hashes, index)).is_allowed()))
}

type Row = (&'static str, fn(u64, &[u64]) -> u64);

const ROWS: &[Row] = &[
    // Subtracted from all others; from `check_keys`, once for a batch.
    ("the loop alone", |calls, keys| measured(calls, |index| u64::from(*black_box(key_of(keys, index)) < KEYS))),
    ("allowed, caller's now", |calls, keys| allowed(calls, generous(), keys)),
    // Not the exact clock: valgrind's processor does not vouch for its counter, so the operating system would be asked.
    ("allowed, cached clock", |calls, keys| {
        // Set once a second: otherwise it is a matter of luck how often the thread that sets it is counted as well.
        on_its_clock(calls, CachedClock::with_period(CachedClock::MAX_PERIOD).expect("a clock"), keys)
    }),
    ("refused", refused),
    ("new key", |calls, _| new_key(calls)),
    ("check_keys, a key", check_keys),
    ("text of 16 bytes", |calls, _| allowed(calls, generous(), &text(16))),
    ("text of 64 bytes", |calls, _| allowed(calls, generous(), &text(64))),
    ("hashed, private table", private),
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    ("hashed, shared table", shared),
    ("one hot key", |calls, _| allowed(calls, generous(), &[7_u64; KEYS as usize])),
    ("sliding log of 10", log),
    ("fixed window", |calls, keys| {
        allowed(calls, Quota::per_hour(1_000_000_000).with_algorithm(Algorithm::FixedWindow), keys)
    }),
    ("sliding window", |calls, keys| {
        allowed(calls, Quota::per_hour(1_000_000).with_algorithm(Algorithm::SlidingWindow), keys)
    }),
    ("check_set of 1", |calls, keys| check_set(calls, keys, 1)),
    ("check_set of 2", |calls, keys| check_set(calls, keys, 2)),
    ("check_set of 8", |calls, keys| check_set(calls, keys, 8)),
];

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench" && arg != "--test").collect();
    let keys: Vec<u64> = (0..KEYS).collect();
    let run = |(name, row): &Row, calls| {
        let admitted = row(calls, &keys);
        assert_eq!(admitted, calls, "{name}: {admitted} of {calls} calls answered as they should");
    };
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--rows"] => ROWS.iter().for_each(|(name, _)| println!("{name}")),
        [name, calls] => {
            let row = ROWS.iter().find(|(row, _)| *row == name).expect("one of --rows");
            run(row, calls.parse().expect("a number of calls"));
        }
        _ => ROWS.iter().for_each(|row| run(row, 3_200)),
    }
}
