//! What a bucket holds, as it is kept: for whoever stores, shows or compares it. Decisions have their own figures.

use crate::algorithm::Fraction;
use crate::arith::gcd;
use crate::clock::Instant;

/// What the bucket of a key holds at an instant, in the terms of its algorithm; from [`crate::Handle::state`](crate::Handle::state).
///
/// A key that is nowhere has a full bucket: nothing is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BucketState {
    /// Of a token bucket, a leaky bucket or a queue.
    Bucket {
        /// The tokens that are there, as an exact fraction: at most the burst, and less than zero past empty. Of a queue: its
        /// burst, less the requests that have not left yet.
        balance: Tokens,
    },
    /// Of a fixed window or the sliding window counter.
    Window {
        /// What the window of this instant has counted, in cost. Above the limit only where
        /// [refusals count](crate::Quota::with_refused_counted), up to the bound at which that stops.
        count: u64,
        /// What the window before has counted, if it weighs: under the sliding window counter only.
        previous_count: Option<u64>,
        /// When the window ends: the first nanosecond of the next. `None` where windows begin with their
        /// [first request](crate::WindowStart::FirstHit), and that has yet to come.
        end: Option<Instant>,
    },
    /// Of a sliding log.
    Log {
        /// How many requests of the last period are remembered, in cost.
        count: u64,
        /// When the oldest of them was admitted, if there is one.
        oldest: Option<Instant>,
    },
    /// Of [no limit](crate::Quota::unlimited): nothing is kept.
    Unlimited,
}

/// A number of tokens, exactly; may be less than zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    numerator: i128,
    denominator: i128,
}

impl Tokens {
    pub(crate) fn new(Fraction { numerator, denominator }: Fraction) -> Self {
        // The denominator is positive and below 2^58, so the divisor is at least 1, and fits.
        let divisor = i128::try_from(gcd(numerator.unsigned_abs(), denominator.unsigned_abs())).unwrap_or(1);
        Self { numerator: numerator / divisor, denominator: denominator / divisor }
    }

    /// Whole tokens, rounded down: of one and a half past empty, -2.
    #[must_use]
    pub fn floor(&self) -> i64 {
        // The numerator is a difference of two stamps, below 2^61.
        i64::try_from(self.numerator.div_euclid(self.denominator)).unwrap_or(i64::MIN)
    }

    /// The fraction in lowest terms: numerator, and denominator, which is at least 1.
    #[must_use]
    pub const fn as_fraction(&self) -> (i128, i128) {
        (self.numerator, self.denominator)
    }

    /// Rounded to a float.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure to show; the fraction is there for exact use")]
    pub fn to_f64(&self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}
