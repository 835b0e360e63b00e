//! Many threads on one limiter for as long as wanted: every load on every kind of clock, with 2, 8 and 64 threads, in
//! chunks of some millions of decisions. Each chunk has a limiter of its own; all its decisions are recorded, and judged
//! when the threads have met (`common/history.rs`).
//!
//! `cargo test` runs a short version; `ci/stress.sh` the long one, with compare-and-swaps that failed counted, and threads
//! stopped between two accesses of one call now and then. Threads that never met prove nothing, so a scenario without
//! contention fails.

#![allow(missing_docs, reason = "a test")]

mod common;

use std::fmt;
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::Duration;

use common::history::{
    Answer, Left, MICRO, MILLI, Seen, assert_exact, assert_left, assert_none_stuck, assert_p1, assert_p1_together,
    by_key, late, left_of, none, takeovers,
};
use common::race::{mingle, race_by_turns, race_through, tick};
use common::report::{Progress, grouped};
use common::{Replay, Rng, setting};
use tollgate::clock::{Clock, ExactClock, ManualClock};
use tollgate::{Limiter, OnFull, Quota, Stats};

/// Which keys come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    /// One.
    Hot,
    /// The `n`-th most frequent of many in proportion to `n^-0.99`.
    Zipf,
    /// A hundred, all alike.
    Uniform,
    /// Many, to a table far too small for them.
    Churn,
}

/// What the time does while the threads race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    Real,
    /// Another thread sets a shared clock.
    Manual,
    /// It stands still, and goes on when all have met.
    Rounds,
}

#[derive(Debug, Clone, Copy)]
struct Scenario {
    load: Load,
    on_full: OnFull,
    time: Time,
    threads: usize,
}

/// What came of a scenario, over all its chunks.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    decisions: u64,
    admitted: u64,
    refused: u64,
    takeovers: u64,
    cas_failures: u64,
    evictions: u64,
    no_room: u64,
    untracked: u64,
    /// Keys that were admitted, beyond the slots there are: so many slots have changed hands at least.
    handed_on: u64,
}

#[cfg(tollgate_count)]
fn cas_failures() -> Option<u64> {
    Some(tollgate::cas_failures())
}

#[cfg(not(tollgate_count))]
const fn cas_failures() -> Option<u64> {
    None
}

/// Stops threads where the processor seldom would: between two accesses of one call.
#[cfg(tollgate_count)]
use tollgate::yield_once_in;

#[cfg(not(tollgate_count))]
const fn yield_once_in(_: u64) {}

const KEYS: u64 = 1_000;
/// In a table that no slot of is used twice.
const LARGE: usize = 100_000;
/// Keys of churn, and the capacity of their table.
const MANY: u64 = 320;
const SMALL: usize = 16;
/// Decisions in a chunk, at most: 24 bytes each, three times that while they are judged.
const CHUNK: usize = 4_000_000;

/// Ranks from 0 to `KEYS - 1`, each as often as it should be drawn.
struct Zipf(Vec<u64>);

impl Zipf {
    fn new() -> Self {
        const DRAWS: u32 = 1 << 18;
        let weight = |rank: u32| f64::from(rank).powf(-0.99);
        let ranks = u32::try_from(KEYS).expect("few");
        let all: f64 = (1..=ranks).map(weight).sum();
        let (mut deck, mut drawn, mut sum) = (Vec::new(), 0, 0.0);
        for rank in 1..=ranks {
            sum += weight(rank);
            while f64::from(drawn) < sum / all * f64::from(DRAWS) {
                deck.push(u64::from(rank) - 1);
                drawn += 1;
            }
        }
        Self(deck)
    }

    fn draw(&self, rng: &mut Rng) -> u64 {
        rng.pick(&self.0)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {:?}, {} threads", self.name(), self.time, self.threads)
    }
}

impl Scenario {
    fn all() -> Vec<Self> {
        let loads = [
            (Load::Hot, OnFull::EvictNearestIdle),
            (Load::Zipf, OnFull::RefuseNew),
            (Load::Uniform, OnFull::AdmitUntracked),
            (Load::Churn, OnFull::RefuseNew),
            (Load::Churn, OnFull::EvictNearestIdle),
            (Load::Churn, OnFull::AdmitUntracked),
        ];
        let mut all = Vec::new();
        for (load, on_full) in loads {
            for time in [Time::Real, Time::Manual, Time::Rounds] {
                all.extend([2, 8, 64].map(|threads| Self { load, on_full, time, threads }));
            }
        }
        all
    }

    fn name(&self) -> &'static str {
        match (self.load, self.on_full) {
            (Load::Hot, _) => "hot key",
            (Load::Zipf, _) => "Zipf 0.99",
            (Load::Uniform, _) => "uniform",
            (Load::Churn, OnFull::RefuseNew) => "churn, refuse",
            (Load::Churn, OnFull::EvictNearestIdle) => "churn, evict",
            (Load::Churn, _) => "churn, untracked",
        }
    }

    /// Slow enough for some to be refused, fast enough for many to be admitted; a nanosecond is a whole number of units.
    fn quota(&self) -> Quota {
        match (self.load, self.time) {
            (Load::Hot, Time::Rounds) => Quota::per_second(100_000).with_burst(10_000),
            (Load::Hot, _) => Quota::per_second(4_000_000).with_burst(200),
            (Load::Zipf, Time::Rounds) => Quota::per_second(1_000).with_burst(20),
            (Load::Zipf, _) => Quota::per_second(3_000).with_burst(8),
            (Load::Uniform, Time::Rounds) => Quota::per_second(10_000).with_burst(200),
            (Load::Uniform, _) => Quota::per_second(30_000).with_burst(80),
            (Load::Churn, Time::Rounds) => Quota::per_second(100).with_burst(4),
            (Load::Churn, _) => Quota::per_second(20_000).with_burst(4),
        }
    }

    /// How many keys there are.
    const fn keys(&self) -> u64 {
        match self.load {
            Load::Hot => 1,
            Load::Zipf => KEYS,
            Load::Uniform => KEYS / 10,
            Load::Churn => MANY,
        }
    }

    /// Its part of all decisions. Where all must meet again after a few hundred, each takes ten times as long.
    const fn weight(&self) -> u64 {
        if matches!((self.load, self.time), (Load::Churn, Time::Rounds)) { 1 } else { 10 }
    }

    const fn evicts(&self) -> bool {
        matches!((self.load, self.on_full), (Load::Churn, OnFull::EvictNearestIdle))
    }

    /// Under eviction in rounds each thread has keys of its own, so that no slot is given up and all that is owed can be
    /// found under some key.
    const fn has_own_keys(&self) -> bool {
        self.evicts() && matches!(self.time, Time::Rounds)
    }

    fn key(&self, zipf: &Zipf, thread: usize, rng: &mut Rng) -> u64 {
        match self.load {
            Load::Hot => 0,
            Load::Zipf => zipf.draw(rng),
            Load::Uniform => rng.below(self.keys()),
            Load::Churn if self.has_own_keys() => {
                let threads = self.threads as u64;
                rng.below(MANY / threads) * threads + thread as u64
            }
            // Some more often than others.
            Load::Churn if rng.once_in(2) => rng.magnitude(MANY) - 1,
            Load::Churn => rng.below(MANY),
        }
    }

    fn limiter<C: Clock>(&self, clock: C, seed: u64) -> Limiter<C> {
        let capacity = if self.load == Load::Churn { SMALL } else { LARGE };
        let builder = Limiter::builder(self.quota()).capacity(capacity).on_full(self.on_full).fixed_seed(seed);
        builder.clock(clock).build().expect("a valid quota")
    }

    /// One chunk: a fresh limiter, about so many decisions, and the verdict.
    fn run(&self, zipf: &Zipf, decisions: usize, seed: u64) -> Tally {
        let before = cas_failures();
        yield_once_in(match (self.load, self.time) {
            // Often where slots change hands; but not where P1 must allow for late threads, or it would say nothing.
            (Load::Churn, Time::Rounds) => 60,
            (Load::Churn, _) => 0,
            _ => 500,
        });
        let mut tally = match self.time {
            Time::Real => {
                let limiter = self.limiter(ExactClock::new(), seed);
                self.race(&limiter, zipf, decisions, seed, |_, _| thread::sleep(Duration::from_millis(1)))
            }
            Time::Manual => {
                let limiter = self.limiter(ManualClock::default(), seed);
                let drive = |clock: &ManualClock, rng: &mut Rng| tick(clock, rng, 200 * MICRO);
                let tally = self.race(&limiter, zipf, decisions, seed, drive);
                assert_none_stuck(&limiter);
                tally
            }
            Time::Rounds => self.race_by_turns(zipf, decisions, seed),
        };
        tally.cas_failures = cas_failures().unwrap_or(0) - before.unwrap_or(0);
        tally
    }

    /// Time goes on while the threads race.
    fn race<C: Clock>(
        &self,
        limiter: &Limiter<C>,
        zipf: &Zipf,
        decisions: usize,
        seed: u64,
        drive: impl Fn(&C, &mut Rng) + Sync,
    ) -> Tally {
        let quota = self.quota();
        let pick = |rng: &mut Rng| (self.key(zipf, 0, rng), 1 + rng.below(3));
        let each = decisions.div_ceil(self.threads);
        let mut seen = race_through(limiter, self.threads, each, seed, pick, drive);
        let stats = limiter.stats();
        if self.load == Load::Churn {
            if !self.evicts() {
                assert_p1(&mut seen, &quota, late);
            }
            assert_p1_together(&seen, &quota, slots(&stats));
        } else {
            assert_p1(&mut seen, &quota, none);
            assert_left(&mut seen, &left_of(limiter, self.keys()), quota);
        }
        self.tally(&mut seen, &stats)
    }

    /// Time stands still while the threads race; when all have met, and one has seen what is left, they look and are refused
    /// in every way there is, and all must be as before (P5). Then the time goes on.
    fn race_by_turns(&self, zipf: &Zipf, decisions: usize, seed: u64) -> Tally {
        let (quota, keys) = (self.quota(), self.keys());
        let limiter = self.limiter(ManualClock::default(), seed);
        let per_round = (decisions / 4).clamp(1, if self.load == Load::Churn { 600 } else { 16_000 });
        let races = decisions.div_ceil(per_round + per_round / 4);
        // What was left of each key when all last met; and all that was left whenever they did.
        let (balances, history) = (RwLock::new((Vec::new(), limiter.stats())), Mutex::new(Vec::new()));
        let (work, storm) = (per_round.div_ceil(self.threads), per_round.div_ceil(4 * self.threads));
        let race = |thread, rng: &mut Rng| {
            let mut check = || {
                mingle(rng);
                Seen::check(&limiter, thread, self.key(zipf, thread, rng), 1 + rng.below(3))
            };
            (0..work).map(|_| check()).collect()
        };
        let storm = |thread, rng: &mut Rng| {
            let (balances, _) = &*balances.read().expect("no look panics");
            let refused = || {
                mingle(rng);
                let Left { key, remaining, .. } = balances[usize::try_from(rng.below(keys)).expect("few keys")];
                let cost = if rng.once_in(4) { quota.burst() + 1 } else { remaining + 1 };
                assert_eq!(limiter.key(&key).peek_n(0).remaining(), remaining, "a look while all are refused");
                let seen = Seen::check(&limiter, thread, key, cost);
                assert_eq!(seen.answer, Answer::Refused, "key {key} has {remaining}, and not {cost}");
                seen
            };
            std::iter::repeat_with(refused).take(storm).collect()
        };
        let between = |turn: usize, rng: &mut Rng| {
            let left = left_of(&limiter, keys);
            if turn.is_multiple_of(2) {
                history.lock().expect("no look panics").extend_from_slice(&left);
                *balances.write().expect("no storm panics") = (left, limiter.stats());
                return;
            }
            let (before, stats) = &*balances.read().expect("no storm panics");
            let same = before.iter().zip(&left).all(|(a, b)| a.remaining == b.remaining);
            assert!(same, "refusals and looks wrote something");
            assert_eq!(*stats, limiter.stats(), "refusals and looks counted for something");
            // Under eviction until all are full.
            let least = if self.has_own_keys() { 50 * MILLI } else { 0 };
            limiter.clock().advance(Duration::from_nanos(least + rng.below(30 * MILLI)));
        };
        let turn = |turn: usize, thread, rng: &mut Rng| {
            if turn.is_multiple_of(2) { race(thread, rng) } else { storm(thread, rng) }
        };
        let mut seen = race_by_turns(self.threads, 2 * races, seed, turn, between);
        let (mut left, stats) = (history.into_inner().expect("no look panics"), limiter.stats());
        if self.has_own_keys() {
            assert_conserved(&seen, &left, &quota);
            assert_p1_together(&seen, &quota, slots(&stats));
        } else {
            let unexplained = assert_exact(&mut seen, &mut left, quota);
            assert!(unexplained <= stats.refused_full, "{unexplained} refused for nothing: {stats:?}");
            assert_p1(&mut seen, &quota, none);
        }
        assert_none_stuck(&limiter);
        self.tally(&mut seen, &stats)
    }

    /// Counts, and holds the counters of the limiter against the record.
    fn tally(&self, seen: &mut [Seen], stats: &Stats) -> Tally {
        let takeovers = takeovers(seen) as u64;
        let admitted = |calls: &&[Seen]| calls.iter().any(Seen::is_allowed);
        let handed_on = (by_key(seen).filter(admitted).count() as u64).saturating_sub(slots(stats));
        let count = |answer| seen.iter().filter(|one| one.answer == answer).count() as u64;
        let untracked = count(Answer::Untracked);
        assert_eq!(untracked, stats.untracked, "untracked: {stats:?}");
        let (evicts, refuses) = match (self.load, self.on_full) {
            (Load::Churn, OnFull::EvictNearestIdle) => (true, true),
            (Load::Churn, OnFull::RefuseNew) => (false, true),
            _ => (false, false),
        };
        assert!(evicts || stats.evictions == 0, "nobody may be evicted: {stats:?}");
        assert!(refuses || stats.refused_full == 0, "nobody may be refused for room: {stats:?}");
        assert!(self.load == Load::Churn || untracked == 0, "there is room for all: {stats:?}");
        Tally {
            decisions: seen.len() as u64,
            admitted: count(Answer::Allowed),
            refused: count(Answer::Refused),
            takeovers,
            evictions: stats.evictions,
            no_room: stats.refused_full,
            untracked,
            handed_on,
            cas_failures: 0,
        }
    }

    /// What a scenario must have met to have shown anything; the first thing it has not.
    fn missed(&self, tally: &Tally) -> Option<&'static str> {
        let needs = [
            (tally.admitted > 0, "nobody was admitted"),
            (tally.refused + tally.untracked > 0, "everybody was admitted"),
            (tally.takeovers > 0 || self.has_own_keys(), "no key moved between threads"),
            // Of the others it is asked for all clocks and threads together: keys are many, and the moment is short.
            (
                tally.cas_failures > 0 || cas_failures().is_none() || self.load != Load::Hot,
                "no compare-and-swap failed",
            ),
            (tally.evictions > 0 || !self.evicts(), "nobody was evicted"),
            (tally.handed_on > 0 || self.load != Load::Churn, "no slot changed hands"),
            (
                tally.evictions + tally.no_room + tally.untracked > 0 || self.load != Load::Churn,
                "the table was not full",
            ),
        ];
        needs.into_iter().find(|(met, _)| !met).map(|(_, missed)| missed)
    }
}

/// At most; the counters are a few bytes of it.
fn slots(stats: &Stats) -> u64 {
    stats.bytes as u64 / 16
}

/// Eviction in rounds that begin with all buckets full (P3): whoever was displaced, what was admitted is owed by somebody.
/// Each newcomer inherits a unit more than there was, less than a token in all: that may cost a key the token it is part of.
fn assert_conserved(seen: &[Seen], left: &[Left], quota: &Quota) {
    let mut rounds = std::collections::HashMap::new();
    for look in left {
        let (owed, busy, _) = rounds.entry(look.at).or_insert((0, 0, 0));
        *owed += quota.burst() - look.remaining;
        *busy += u64::from(look.remaining < quota.burst());
    }
    for one in seen {
        rounds.get_mut(&one.at).expect("every round ends with a look").2 += one.taken();
    }
    for (at, (owed, busy, taken)) in rounds {
        assert!(taken <= owed, "at {at} ns {taken} were admitted and {owed} are owed: a debit was lost");
        assert!(owed <= taken + busy, "at {at} ns {taken} were admitted and {owed} are owed by {busy} keys");
    }
}

/// All scenarios, at least so many decisions together; the table of what they met.
fn soak(total: u64, quiet: bool) {
    let seed: u64 = setting("TOLLGATE_SEED", 1);
    let (scenarios, zipf) = (Scenario::all(), Zipf::new());
    let weights: u64 = scenarios.iter().map(Scenario::weight).sum();
    let mut progress = Progress::new(total, "decisions", quiet);
    let (mut rows, mut missed, mut all) = (Vec::new(), Vec::new(), Tally::default());
    for scenario in scenarios {
        let share = (total.div_ceil(weights) * scenario.weight()).max(20_000);
        let (mut tally, start, mut chunks) = (Tally::default(), progress.elapsed().as_secs_f64(), 0);
        // On a busy machine few threads may go one after the other: tries again, within reason, until they have met.
        while tally.decisions < share || scenario.missed(&tally).is_some() && chunks < 20 {
            let seed = seed.wrapping_add(chunks << 32);
            let _replay = Replay::new(format!("{scenario}, TOLLGATE_SEED={seed}"));
            let rest = share.checked_sub(tally.decisions).filter(|&rest| rest > 0).unwrap_or(share);
            tally.add(&scenario.run(&zipf, usize::try_from(rest).map_or(CHUNK, |rest| rest.min(CHUNK)), seed));
            chunks += 1;
            progress.show(all.decisions + tally.decisions, scenario);
        }
        if let Some(what) = scenario.missed(&tally) {
            missed.push(format!("{scenario}: {what}"));
        }
        all.add(&tally);
        rows.push((scenario, tally, progress.elapsed().as_secs_f64() - start));
    }
    for alike in rows.chunk_by(|(a, ..), (b, ..)| a.name() == b.name()) {
        if cas_failures().is_some() && alike.iter().all(|(_, tally, _)| tally.cas_failures == 0) {
            missed.push(format!("{}: no compare-and-swap failed", alike[0].0.name()));
        }
    }
    if !quiet {
        report(&rows, &all, progress.elapsed().as_secs_f64());
    }
    assert!(missed.is_empty(), "TOLLGATE_SEED={seed}: no contention in\n  {}", missed.join("\n  "));
    assert!(all.decisions >= total);
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.decisions += other.decisions;
        self.admitted += other.admitted;
        self.refused += other.refused;
        self.takeovers += other.takeovers;
        self.cas_failures += other.cas_failures;
        self.evictions += other.evictions;
        self.no_room += other.no_room;
        self.untracked += other.untracked;
        self.handed_on += other.handed_on;
    }
}

fn report(rows: &[(Scenario, Tally, f64)], all: &Tally, seconds: f64) {
    let head = ["decisions", "admitted", "refused", "takeovers", "CAS retries", "evictions", "no room", "untracked"];
    println!(
        "\n{:<17}{:<8}{:>7} {} {:>8}",
        "scenario",
        "clock",
        "threads",
        head.map(|name| format!("{name:>13}")).concat(),
        "seconds"
    );
    let line = |name: &str, clock: &str, threads: &str, tally: &Tally, seconds: f64| {
        let cas = cas_failures().map_or("not counted".into(), |_| grouped(tally.cas_failures));
        let Tally { decisions, admitted, refused, takeovers, evictions, no_room, untracked, .. } = *tally;
        let [decisions, admitted, refused, takeovers] = [decisions, admitted, refused, takeovers].map(grouped);
        let [evictions, no_room, untracked] = [evictions, no_room, untracked].map(grouped);
        let figures = [decisions, admitted, refused, takeovers, cas, evictions, no_room, untracked];
        println!("{name:<17}{clock:<8}{threads:>7} {} {seconds:>8.1}", figures.map(|it| format!("{it:>13}")).concat());
    };
    for (scenario, tally, seconds) in rows {
        let clock = format!("{:?}", scenario.time).to_lowercase();
        line(scenario.name(), &clock, &scenario.threads.to_string(), tally, *seconds);
    }
    line("total", "", "", all, seconds);
}

#[test]
fn short() {
    soak(1_000_000, true);
}

#[test]
#[ignore = "takes minutes: run by `ci/stress.sh [DECISIONS]`"]
fn long() {
    soak(setting("TOLLGATE_DECISIONS", 100_000_000), false);
}
