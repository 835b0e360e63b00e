//! A race in rounds: in each, every runner has one short slice, in an order that is shuffled anew.
//!
//! Two slices of one round stand next to each other in time, so what disturbs a shared machine disturbs both alike:
//! ratios are taken within a round, and their median over all rounds is what is told.
#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "nanoseconds of slices; few runners")]

use std::time::Instant;

use super::quantile::{median, quantile};

/// The only place where the benchmarks ask what time it is.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "measures; decides nothing")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn nanos(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub fn secs(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// What came of some calls.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    pub nanos: u64,
    pub calls: u64,
    pub admitted: u64,
    /// How many must have been admitted.
    pub due: u64,
}

impl Slice {
    /// Panics unless what was measured is what was meant to be.
    pub fn check(self, who: &str) -> Self {
        let Self { calls, admitted, due, .. } = self;
        assert_eq!(admitted, due, "{who}: {admitted} of {calls} calls were admitted, {due} should have been");
        assert!(calls > 0 && self.nanos > 0, "{who}: nothing was measured");
        self
    }

    pub fn per_call(self) -> f64 {
        self.nanos as f64 / self.calls as f64
    }
}

struct Runner<'a> {
    name: &'static str,
    /// Runs so many calls. A virtual call for each slice, none within.
    run: Box<dyn FnMut(u64) -> Slice + 'a>,
    calls: u64,
}

/// How long a race is.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    pub rounds: usize,
    /// Of one slice.
    pub nanos: u64,
}

impl Length {
    pub const USUAL: Self = Self { rounds: 25, nanos: 12_000_000 };
    pub const LONG: Self = Self { rounds: 41, nanos: 20_000_000 };
    /// Shows that everything runs; its figures mean nothing.
    pub const SMOKE: Self = Self { rounds: 2, nanos: 200_000 };

    /// Slices so many times as long.
    pub const fn slices(self, times: u64) -> Self {
        Self { nanos: self.nanos * times, ..self }
    }
}

/// Runners that are measured beside each other.
pub struct Race<'a> {
    length: Length,
    runners: Vec<Runner<'a>>,
}

impl<'a> Race<'a> {
    /// Calls come in multiples of this.
    pub const BATCH: u64 = 32;

    pub const fn new(length: Length) -> Self {
        Self { length, runners: Vec::new() }
    }

    /// `run` makes so many calls and tells how long they took.
    pub fn add(&mut self, name: &'static str, run: impl FnMut(u64) -> Slice + 'a) {
        assert!(self.runners.iter().all(|runner| runner.name != name), "{name} runs twice");
        self.runners.push(Runner { name, run: Box::new(run), calls: 0 });
    }

    pub fn run(mut self) -> Times {
        for runner in &mut self.runners {
            runner.calibrate(self.length.nanos);
        }
        let mut order: Vec<usize> = (0..self.runners.len()).collect();
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); order.len()];
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        for _ in 0..self.length.rounds {
            // Fisher and Yates, with xorshift: an order of its own for each round.
            for last in (1..order.len()).rev() {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                order.swap(last, (state % (last as u64 + 1)) as usize);
            }
            for &index in &order {
                times[index].push(self.runners[index].slice());
            }
        }
        Times { runners: self.runners.iter().map(|runner| runner.name).zip(times).collect() }
    }
}

impl Runner<'_> {
    /// Finds how many calls last as long as a slice. The first calls touch memory that nobody has touched yet, so what
    /// they suggest is tried, and corrected.
    fn calibrate(&mut self, nanos: u64) {
        let mut calls = 8 * Race::BATCH;
        let mut corrections = 0;
        while corrections < 3 && calls < 1 << 32 {
            let slice = (self.run)(calls).check(self.name);
            if slice.nanos < nanos / 8 {
                calls *= 2;
            } else {
                let fitting = u128::from(calls) * u128::from(nanos) / u128::from(slice.nanos);
                calls = (fitting as u64 / Race::BATCH).max(8) * Race::BATCH;
                corrections += 1;
            }
        }
        self.calls = calls;
    }

    /// Nanoseconds a call. The slice of another runner has just used the caches, so an eighth is run first, untimed.
    fn slice(&mut self) -> f64 {
        (self.run)((self.calls / (8 * Race::BATCH)).max(1) * Race::BATCH).check(self.name);
        let slice = (self.run)(self.calls).check(self.name);
        assert_eq!(slice.calls, self.calls, "{}: counts other calls than it makes", self.name);
        slice.per_call()
    }
}

/// Nanoseconds a call, for every runner and round.
#[derive(Debug)]
pub struct Times {
    runners: Vec<(&'static str, Vec<f64>)>,
}

/// A median and the quartiles on both sides of it.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        Self { median: median(values), low: quantile(values, 0.25), high: quantile(values, 0.75) }
    }
}

impl Times {
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.runners.iter().map(|(name, _)| *name)
    }

    fn rounds(&self, name: &str) -> &[f64] {
        let found = self.runners.iter().find(|(runner, _)| *runner == name);
        &found.unwrap_or_else(|| panic!("{name} did not run")).1
    }

    /// Nanoseconds a call.
    pub fn of(&self, name: &str) -> Spread {
        Spread::of(self.rounds(name))
    }

    /// How many times as long the peer takes, round by round.
    pub fn ratio(&self, ours: &str, peer: &str) -> Spread {
        let both = self.rounds(ours).iter().zip(self.rounds(peer));
        Spread::of(&both.map(|(ours, peer)| peer / ours).collect::<Vec<_>>())
    }
}
