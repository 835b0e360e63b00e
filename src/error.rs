//! What can be wrong with a setting. Every variant names the value that was given and the bound it broke.

use core::fmt;
use core::time::Duration;

use crate::quota::{Algorithm, Quota};

/// A quota that cannot be used, with the value that was given and the bound it broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuotaError {
    /// The period is zero, so the rate would be infinite.
    ZeroPeriod,
    /// The period is longer than [`Quota::MAX_PERIOD`], or than a limiter can hold as a window.
    PeriodTooLong {
        /// The period that was asked for.
        period: Duration,
        /// The longest period.
        max: Duration,
    },
    /// The rate is finer than the limiter's clock unit can tell apart.
    RateTooHigh {
        /// The quota that was asked for.
        quota: Quota,
        /// The highest rate this limiter can hold, in tokens per second.
        max_per_second: u64,
    },
    /// An empty bucket would take longer to fill than the word can express.
    BurstTooLarge {
        /// The quota that was asked for.
        quota: Quota,
        /// The largest burst this limiter can hold at that rate.
        max_burst: u64,
    },
    /// A window algorithm has no burst apart from its count.
    BurstInWindow {
        /// The quota that was asked for.
        quota: Quota,
    },
    /// The count is larger than this algorithm can hold for this period.
    CountTooLarge {
        /// The quota that was asked for.
        quota: Quota,
        /// The largest count this limiter can hold for that algorithm and period.
        max_count: u64,
    },
    /// The debt that [`Quota::with_max_debt`] allows does not fit beside the burst.
    DebtTooLong {
        /// The quota that was asked for.
        quota: Quota,
        /// The longest debt this limiter can hold beside that burst.
        max_debt: Duration,
    },
}

impl fmt::Display for QuotaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroPeriod => f.write_str("the period of a quota must be at least 1 ns, and 0 was given"),
            Self::PeriodTooLong { period, max } => {
                write!(f, "the period of a quota must be at most {max:?} here, and {period:?} was given")
            }
            Self::RateTooHigh { quota, max_per_second } => {
                write!(
                    f,
                    "the rate of `{quota}` is above {max_per_second} per second, the highest this limiter can hold"
                )
            }
            Self::BurstTooLarge { quota, max_burst } => {
                write!(f, "the burst of `{quota}` is above {max_burst}, the largest this limiter can hold at that rate")
            }
            Self::BurstInWindow { quota } => write!(
                f,
                "`{quota}` sets a burst of {}, and a {} admits exactly its count of {} in a window",
                quota.burst(),
                quota.algorithm(),
                quota.count()
            ),
            Self::CountTooLarge { quota, max_count } => write!(
                f,
                "the count of `{quota}` is above {max_count}, the largest a {} can hold for that period",
                quota.algorithm()
            ),
            Self::DebtTooLong { quota, max_debt } => {
                write!(
                    f,
                    "the debt allowed to `{quota}` is above {max_debt:?}, the longest this limiter can hold beside its burst"
                )
            }
        }
    }
}

impl core::error::Error for QuotaError {}

/// A limiter that cannot be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The quota given at construction cannot be used.
    Quota(QuotaError),
    /// The capacity is outside what a table can hold.
    Capacity {
        /// The capacity that was asked for, in keys.
        capacity: usize,
        /// The largest capacity, in keys.
        max: usize,
    },
    /// The operating system did not reserve the memory for the table.
    Memory {
        /// How many bytes were asked for.
        bytes: usize,
        /// What the operating system answered.
        source: std::io::Error,
    },
    /// The operating system gave no random bytes for the seed of the hash, without which a client could choose keys that share
    /// slots. [`Builder::fixed_seed`](crate::Builder::fixed_seed) does without, where nobody would.
    Entropy(std::io::Error),
    /// The operating system did not start the thread of a cached clock.
    ClockThread(std::io::Error),
    /// The period of a cached clock is outside its bounds.
    ClockPeriod {
        /// The period that was asked for.
        period: Duration,
        /// The shortest period.
        min: Duration,
        /// The longest period.
        max: Duration,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quota(error) => error.fmt(f),
            Self::Capacity { capacity, max } => {
                write!(f, "the capacity must be from 1 to {max} keys, and {capacity} was given")
            }
            Self::Memory { bytes, source } => write!(f, "reserving {bytes} bytes for the table failed: {source}"),
            Self::Entropy(source) => {
                write!(f, "drawing the seed of the hash from the operating system failed: {source}")
            }
            Self::ClockThread(source) => write!(f, "starting the thread of a cached clock failed: {source}"),
            Self::ClockPeriod { period, min, max } => {
                write!(f, "the period of a cached clock must be from {min:?} to {max:?}, and {period:?} was given")
            }
        }
    }
}

impl core::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Quota(error) => Some(error),
            Self::Memory { source, .. } | Self::Entropy(source) | Self::ClockThread(source) => Some(source),
            Self::Capacity { .. } | Self::ClockPeriod { .. } => None,
        }
    }
}

impl From<QuotaError> for BuildError {
    fn from(error: QuotaError) -> Self {
        Self::Quota(error)
    }
}

/// The name of an algorithm that is none of [`Algorithm::ALL`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownAlgorithm {
    /// The name that was given.
    pub given: String,
}

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown algorithm `{}`; expected one of", self.given)?;
        for (i, algorithm) in Algorithm::ALL.iter().enumerate() {
            write!(f, "{} {algorithm}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownAlgorithm {}
