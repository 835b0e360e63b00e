//! Any quota either makes a bucket that keeps its bounds, or is refused with an error that says why in one line.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tollgate::Bucket;
use tollgate::clock::{Instant, ManualClock};
use tollgate_fuzz::{DAY, Scaled, Shape};

#[derive(Debug, Arbitrary)]
struct Input {
    shape: Shape,
    start: Scaled,
}

fuzz_target!(|input: Input| {
    let Some(quota) = input.shape.quota() else { return };
    assert_eq!(quota.to_string().parse(), Ok(quota), "what is printed is read back");
    // Below the end of the clock by more than any refill takes.
    let start = input.start.0.min(u64::MAX - 20 * 365 * DAY);
    let bucket = match Bucket::with_clock(quota, ManualClock::new(Instant::from_nanos(start))) {
        Ok(bucket) => bucket,
        Err(error) => return assert!(!error.to_string().is_empty() && !error.to_string().contains('\n')),
    };
    let (numerator, denominator) = bucket.default_limit().effective_rate().as_fraction();
    // numerator / denominator <= count * 1e9 / period
    let asked = u128::from(quota.count()) * 1_000_000_000;
    let period = quota.period().as_nanos();
    if let (Some(held), Some(asked)) = (numerator.checked_mul(period), asked.checked_mul(denominator)) {
        assert!(held <= asked, "{quota} is held at {numerator} per {denominator} seconds");
    }

    let most = bucket.peek().burst();
    assert_eq!(bucket.handle().take_up_to(u64::MAX), most, "{quota}: what fits at once");
    assert!(!bucket.check().is_allowed(), "{quota}: more than fits at once");
    // Deeper, as far as it may go; and still it comes back.
    let charged = bucket.handle().charge(u64::MAX);
    assert!(charged < u64::MAX);
    let _ = bucket.handle().reserve(1, Duration::MAX);
    let deepest = bucket.peek();
    assert!(!deepest.is_allowed() && deepest.remaining() == 0 && deepest.never_fits() == (most == 0));
    bucket.clock().advance(deepest.reset_after());
    assert_eq!(bucket.peek().remaining(), most, "{quota}: full again after {:?}", deepest.reset_after());
});
