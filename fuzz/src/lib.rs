//! What several targets draw from their input: numbers of every size, and quotas.

use std::fmt;
use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use tollgate::{Algorithm, Quota, WindowStart};

pub const SECOND: u64 = 1_000_000_000;
pub const DAY: u64 = 86_400 * SECOND;

/// A number in which every order of magnitude is as likely as the next, where raw bytes would make all of them huge.
#[derive(Clone, Copy)]
pub struct Scaled(pub u64);

impl fmt::Debug for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'a> Arbitrary<'a> for Scaled {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let bits = u32::from(input.arbitrary::<u8>()?) % (u64::BITS + 1);
        Ok(Self(input.arbitrary::<u64>()?.checked_shr(u64::BITS - bits).unwrap_or(0)))
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        (9, Some(9))
    }
}

#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Period {
    Nanos(Scaled),
    Seconds(u8),
    Minute,
    Day,
    Month,
}

/// What a quota is made of.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub struct Shape {
    pub algorithm: u8,
    pub count: Scaled,
    pub period: Period,
    pub burst: Option<Scaled>,
    pub debt: Option<Scaled>,
}

impl Shape {
    /// The quota, if its period is valid.
    pub fn quota(&self) -> Option<Quota> {
        let period = match self.period {
            Period::Nanos(nanos) => nanos.0,
            Period::Seconds(seconds) => u64::from(seconds) * SECOND,
            Period::Minute => 60 * SECOND,
            Period::Day => DAY,
            Period::Month => 30 * DAY,
        };
        let algorithm = Algorithm::ALL[usize::from(self.algorithm) % Algorithm::ALL.len()];
        let mut quota = Quota::new(self.count.0, Duration::from_nanos(period)).ok()?.with_algorithm(algorithm);
        if let Some(burst) = self.burst {
            quota = quota.with_burst(burst.0);
        }
        if let Some(debt) = self.debt {
            quota = quota.with_max_debt(Duration::from_nanos(debt.0));
        }
        // By what is left of the byte that says the algorithm.
        let rest = usize::from(self.algorithm) / Algorithm::ALL.len();
        if rest % 3 == 1 {
            quota = quota.with_window_start(WindowStart::FirstHit);
        }
        Some(quota.with_refused_counted(rest % 5 == 2))
    }
}
