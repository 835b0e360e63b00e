//! The engine against an exact model of every algorithm, over random calls biased to the edges.
//!
//! A million steps in `cargo test`, as many as you like with `ci/oracle.sh`. `TOLLGATE_STEPS` says how many calls there
//! are in all; `TOLLGATE_SEED` is the seed of the first scenario of each suite, and all others follow from it, so it
//! repeats a run and, with one step, a single scenario. With `TOLLGATE_DIGEST` set, each suite says what it called, with a
//! digest of every call and every answer, the same in debug and release builds.

#[path = "../common/mod.rs"]
mod common;
mod draw;
mod journal;
mod long;
mod mixed;
mod one;
mod range;
mod several;
mod subject;
mod track;

use std::env;

use common::{Rng, setting};
use journal::{Journal, Tally};
use tollgate::Algorithm;

/// Scenarios of one kind.
#[derive(Debug)]
struct Suite {
    name: &'static str,
    /// Of a hundred steps.
    share: u64,
    scenario: fn(&mut Rng, &mut Journal),
}

const SUITES: [Suite; 8] = [
    suite("token_bucket", 24, |rng, journal| one::calls(rng, journal, Algorithm::TokenBucket)),
    suite("leaky_bucket", 8, |rng, journal| one::calls(rng, journal, Algorithm::LeakyBucket)),
    suite("leaky_queue", 14, |rng, journal| one::calls(rng, journal, Algorithm::LeakyQueue)),
    suite("fixed_window", 14, |rng, journal| one::calls(rng, journal, Algorithm::FixedWindow)),
    suite("sliding_window", 14, |rng, journal| one::calls(rng, journal, Algorithm::SlidingWindow)),
    suite("sliding_log", 8, |rng, journal| one::calls(rng, journal, Algorithm::SlidingLog)),
    suite("mixed", 10, mixed::calls),
    suite("several", 8, several::calls),
];

const fn suite(name: &'static str, share: u64, scenario: fn(&mut Rng, &mut Journal)) -> Suite {
    Suite { name, share, scenario }
}

const STEPS: u64 = 1_000_000;

/// A part of a suite that can be run by itself.
const CHUNK: u64 = 10_000;

impl Suite {
    fn steps(&self) -> u64 {
        setting("TOLLGATE_STEPS", STEPS).div_ceil(100) * self.share
    }

    fn chunks(&self) -> u64 {
        self.steps().div_ceil(CHUNK)
    }

    /// One after another; the seed of the first scenario of the first is `TOLLGATE_SEED` itself.
    fn chunk(&self, index: u64) -> Tally {
        let first = setting("TOLLGATE_SEED", 0x70_11_6A_7E);
        let mut seeds = self.name.bytes().fold(Rng(first ^ index), |mut rng, byte| Rng(rng.next() ^ u64::from(byte)));
        let mut seed = if index == 0 { first } else { seeds.next() };
        let mut journal = Journal::new(self.name);
        let steps = CHUNK.min(self.steps() - index * CHUNK);
        loop {
            journal.begin(seed);
            (self.scenario)(&mut Rng(seed), &mut journal);
            if journal.tally.steps() >= steps {
                return journal.tally.clone();
            }
            seed = seeds.next();
        }
    }
}

fn run(name: &str) {
    let suite = SUITES.iter().find(|suite| suite.name == name).expect("a suite of that name");
    let mut tally = Tally::default();
    (0..suite.chunks()).for_each(|index| tally.add(&suite.chunk(index)));
    if env::var_os("TOLLGATE_DIGEST").is_some() {
        tally.print(name);
    }
}

#[test]
fn token_bucket() {
    run("token_bucket");
}

#[test]
fn leaky_bucket() {
    run("leaky_bucket");
}

#[test]
fn leaky_queue() {
    run("leaky_queue");
}

#[test]
fn fixed_window() {
    run("fixed_window");
}

#[test]
fn sliding_window() {
    run("sliding_window");
}

#[test]
fn sliding_log() {
    run("sliding_log");
}

#[test]
fn mixed() {
    run("mixed");
}

#[test]
fn several() {
    run("several");
}
