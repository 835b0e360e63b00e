//! Arithmetic that loses no bits, for the modules that know neither clocks nor quotas.

use core::time::Duration;

pub(crate) const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A value that the caller has proved to fit; the proof stands beside the call.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "proved by every caller, and checked in debug builds")]
pub(crate) const fn narrow(value: u128) -> u64 {
    debug_assert!(value <= u64::MAX as u128);
    value as u64
}

/// A duration in nanoseconds, or the largest `u64` (584 years) if it is longer.
pub(crate) const fn saturating_nanos(duration: Duration) -> u64 {
    let nanos = duration.as_nanos();
    if nanos > u64::MAX as u128 { u64::MAX } else { narrow(nanos) }
}

pub(crate) const fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
