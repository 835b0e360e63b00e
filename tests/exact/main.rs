//! Exact answers on a clock set by hand: what a user tries first, what other limiters' suites ask, and what must not
//! happen at the ends of every range.

#[path = "../common/mod.rs"]
mod common;

mod change;
mod construction;
mod figures;
mod full;
mod give_back;
mod identity;
mod longest;
mod others;
mod rounding;
mod several;
mod step;
mod text;
mod together;
mod unlimited;
mod window;
mod zero;

use std::time::Duration;

use tollgate::Quota;

const ALL: u64 = u64::MAX;
const MILLI: u64 = 1_000_000;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn quota(count: u64, seconds: u64) -> Quota {
    Quota::new(count, secs(seconds)).expect("a valid period")
}
