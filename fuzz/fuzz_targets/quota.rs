//! Any quota either makes a bucket that admits its burst and never exceeds its rate, or is refused with an error.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tollgate::{Algorithm, Bucket, Instant, ManualClock, Quota};

#[derive(Debug, Arbitrary)]
struct Input {
    count: u64,
    nanos: u64,
    burst: Option<u64>,
    debt: Option<u64>,
    algorithm: u8,
    start: u64,
}

fuzz_target!(|input: Input| {
    let Ok(mut quota) = Quota::new(input.count, Duration::from_nanos(input.nanos)) else { return };
    quota = quota.with_algorithm(Algorithm::ALL[usize::from(input.algorithm) % Algorithm::ALL.len()]);
    if let Some(burst) = input.burst {
        quota = quota.with_burst(burst);
    }
    if let Some(debt) = input.debt {
        quota = quota.with_max_debt(Duration::from_nanos(debt));
    }
    match Bucket::with_clock(quota, ManualClock::new(Instant::from_nanos(input.start))) {
        Ok(bucket) => {
            let (numerator, denominator) = bucket.default_limit().effective_rate().as_fraction();
            // numerator / denominator <= count * 1e9 / nanos
            let asked = u128::from(quota.count()) * 1_000_000_000;
            if let (Some(held), Some(asked)) =
                (numerator.checked_mul(u128::from(input.nanos)), asked.checked_mul(denominator))
            {
                assert!(held <= asked, "{quota}");
            }
            let most = bucket.peek().limit();
            assert_eq!(bucket.take_up_to(u64::MAX), most, "{quota}");
            assert!(!bucket.check().is_allowed());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
