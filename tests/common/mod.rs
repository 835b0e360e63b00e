//! What several test files share: random numbers, the promise P1 over recorded histories, the exact model; and for those
//! with many threads, how they race and how what they saw is judged.

#![allow(dead_code, reason = "each test file is a crate of its own and uses its part of this")]

pub(crate) mod history;
pub(crate) mod model;
pub(crate) mod race;
pub(crate) mod report;

use std::cell::RefCell;
use std::env;
use std::str::FromStr;
use std::time::Duration;

use tollgate::clock::{Instant, ManualClock};
use tollgate::{Algorithm, Bucket, Limiter, Quota, WindowStart};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const DAY: u64 = 86_400 * SECOND;
pub(crate) const YEAR: u64 = 365 * DAY;

pub(crate) const fn ns(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// A whole number from the environment, or `default`.
pub(crate) fn setting<T: FromStr>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, and is {text:?}")),
        Err(_) => default,
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("within the range of a clock")
}

/// A bucket on a manual clock that shows `start`.
pub(crate) fn bucket(quota: Quota, start: u64) -> Bucket<ManualClock> {
    Bucket::with_clock(quota, ManualClock::new(ns(start))).expect("a valid quota")
}

/// A small limiter on a manual clock that shows zero.
pub(crate) fn limiter(quota: Quota) -> Limiter<ManualClock> {
    Limiter::builder(quota).capacity(64).clock(ManualClock::default()).build().expect("a valid quota")
}

/// Random numbers: SplitMix64, so any seed will do; or what the input of a fuzzer says.
#[derive(Debug, Clone)]
pub(crate) struct Rng(pub(crate) u64);

thread_local! {
    static INPUT: RefCell<Option<std::vec::IntoIter<u8>>> = const { RefCell::new(None) };
}

/// One step of SplitMix64.
pub(crate) const fn mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Rng {
    /// All numbers of this thread are drawn from an input from here on, and zero when it is used up.
    pub(crate) fn from_input(input: &[u8]) -> Self {
        let input: Vec<u8> = input.into();
        INPUT.set(Some(input.into_iter()));
        Self(0)
    }

    /// Whether there was an input, and it has been used up.
    pub(crate) fn is_used_up(&self) -> bool {
        INPUT.with_borrow(|input| input.as_ref().is_some_and(|rest| rest.len() == 0))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.draw(u64::BITS)
    }

    /// A number of which so many of the highest bits count: an input is not spent on the others.
    fn draw(&mut self, bits: u32) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        INPUT.with_borrow_mut(|input| match input {
            Some(rest) => (0..bits.div_ceil(8))
                .fold(0, |word, place| word | u64::from(rest.next().unwrap_or(0)) << (56 - 8 * place)),
            None => mix(self.0),
        })
    }

    /// From 0 to `n - 1`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        let bits = u64::BITS - n.leading_zeros();
        u64::try_from((u128::from(self.draw(bits)) * u128::from(n)) >> 64).expect("below n")
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// An index into `length` things.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).expect("a length"))).expect("below the length")
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }

    /// From 1 to `max`, every order of magnitude as likely as the next.
    pub(crate) fn magnitude(&mut self, max: u64) -> u64 {
        let bits = self.below(u64::from(64 - max.leading_zeros()) + 1);
        (self.next() >> (63 - bits.min(63)) >> 1).clamp(1, max)
    }
}

/// Cost admitted at an instant, in nanoseconds.
pub(crate) type Admitted = (u64, u64);

/// P1 over all windows: in any of them no more than `burst + rate * (length + slack)`. One pass over a history in the order
/// of time, in whole numbers of `1/period` of a token: the worst window that ends here begins where
/// `count * t - period * cost before t` was greatest.
#[derive(Debug)]
pub(crate) struct Windows {
    count: i128,
    period: i128,
    allowed: i128,
    cost: i128,
    best: i128,
    worst: i128,
}

impl Windows {
    pub(crate) fn new(quota: &Quota, slack: u64) -> Self {
        let (count, period) = (i128::from(quota.count()), i128::from(nanos(quota.period())));
        let allowed = i128::from(quota.burst()) * period + count * i128::from(slack);
        Self { count, period, allowed, cost: 0, best: i128::MIN, worst: i128::MIN }
    }

    pub(crate) fn admit(&mut self, (at, cost): Admitted) {
        let time = self.count * i128::from(at);
        self.best = self.best.max(time - self.period * self.cost);
        self.cost += i128::from(cost);
        self.worst = self.worst.max(self.best + self.period * self.cost - time);
    }

    /// `Err` says by how many `1/period` of a token the worst window exceeds that.
    pub(crate) fn verdict(&self) -> Result<(), i128> {
        if self.worst <= self.allowed { Ok(()) } else { Err(self.worst - self.allowed) }
    }
}

/// P1 over all windows of a history in whatever order.
pub(crate) fn within_rate(history: &mut [Admitted], quota: &Quota, slack: u64) -> Result<(), i128> {
    history.sort_unstable();
    let mut windows = Windows::new(quota, slack);
    history.iter().for_each(|one| windows.admit(*one));
    windows.verdict()
}

/// No span of `length` nanoseconds (shorter than that, in a history of whole ones) admitted more than `most`.
pub(crate) fn within_span(history: &[Admitted], length: u64, most: u64) -> Result<(), u64> {
    let (mut first, mut sum) = (0, 0);
    for &(at, cost) in history {
        sum += cost;
        while at - history[first].0 >= length {
            sum -= history[first].1;
            first += 1;
        }
        if sum > most {
            return Err(sum);
        }
    }
    Ok(())
}

/// What the algorithm of a quota promises of any history of checks in the order of time.
pub(crate) fn keeps_its_promise(history: &mut [Admitted], quota: &Quota) {
    let period = nanos(quota.period());
    match quota.algorithm() {
        // A span of one period lies in two windows at most.
        Algorithm::FixedWindow if quota.window_start() == WindowStart::FirstHit => {
            assert_eq!(within_span(history, period, 2 * quota.count()), Ok(()), "{quota}: two windows in one period");
        }
        Algorithm::FixedWindow => {
            for window in history.chunk_by(|a, b| a.0 / period == b.0 / period) {
                assert!(window.iter().map(|(_, cost)| cost).sum::<u64>() <= quota.count(), "{quota}: {window:?}");
            }
        }
        Algorithm::SlidingWindow => {
            let most = (2 * quota.count()).saturating_sub(1);
            assert_eq!(within_span(history, period, most), Ok(()), "{quota}: twice the count in one period");
        }
        Algorithm::SlidingLog => assert_eq!(within_span(history, period, quota.count()), Ok(()), "{quota}"),
        _ => assert_eq!(within_rate(history, quota, 1), Ok(()), "{quota}: P1"),
    }
}

/// Says on failure how to see the same again, and what the last calls were.
#[derive(Debug)]
pub(crate) struct Replay {
    what: String,
    calls: RefCell<Vec<(&'static str, u64, u64)>>,
}

impl Replay {
    pub(crate) fn new(what: String) -> Self {
        Self { what, calls: RefCell::default() }
    }

    /// A call at an instant, with its cost.
    pub(crate) fn note(&self, call: &'static str, at: u64, cost: u64) {
        self.calls.borrow_mut().push((call, at, cost));
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in {}", self.what);
            for (call, at, cost) in self.calls.borrow().iter().rev().take(12).rev() {
                eprintln!("    {at} ns: {call} {cost}");
            }
        }
    }
}
