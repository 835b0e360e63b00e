//! A list of calls on a token bucket, against the same bucket in plain integers: tokens in parts of a nanosecond's worth.
#![no_main]

use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tollgate::{Bucket, Instant, ManualClock, Quota};

#[derive(Debug, Arbitrary)]
enum Call {
    Advance(u32),
    Check(u8),
    TakeUpTo(u8),
    Refund(u8),
    Peek(u8),
}

#[derive(Debug, Arbitrary)]
struct Input {
    /// Per second; divides a second into whole nanoseconds, so that the model needs no fractions.
    rate: u8,
    burst: u8,
    calls: Vec<Call>,
}

fuzz_target!(|input: Input| {
    const RATES: [u64; 8] = [1, 2, 5, 10, 100, 1_000, 1_000_000, 1_000_000_000];
    let rate = RATES[usize::from(input.rate) % RATES.len()];
    let burst = u64::from(input.burst);
    let clock = ManualClock::default();
    let bucket = Bucket::with_clock(Quota::per_second(rate).with_burst(burst), clock.clone()).unwrap();
    // One token is `token` nanoseconds' worth; the bucket holds `held` nanoseconds' worth.
    let token = 1_000_000_000 / rate;
    let full = burst * token;
    let (mut now, mut held) = (0_u64, full);
    for call in input.calls {
        match call {
            Call::Advance(nanos) => {
                now += u64::from(nanos);
                held = (held + u64::from(nanos)).min(full);
                clock.set(Instant::from_nanos(now));
            }
            Call::Check(cost) => {
                let cost = u64::from(cost);
                let fits = cost == 0 || (cost <= burst && cost * token <= held);
                let decision = bucket.check_n(cost);
                assert_eq!(decision.is_allowed(), fits);
                assert_eq!(decision.never_fits(), cost > burst);
                if fits {
                    held -= cost * token;
                } else if let Some(wait) = decision.retry_after() {
                    assert_eq!(wait, Duration::from_nanos(cost * token - held));
                }
                assert_eq!(decision.remaining(), held / token);
                assert_eq!(decision.reset_after(), Duration::from_nanos(full - held));
            }
            Call::TakeUpTo(most) => {
                let taken = u64::from(most).min(held / token);
                assert_eq!(bucket.take_up_to(u64::from(most)), taken);
                held -= taken * token;
            }
            Call::Refund(cost) => {
                bucket.refund(u64::from(cost));
                held = (held + u64::from(cost) * token).min(full);
            }
            Call::Peek(cost) => {
                let cost = u64::from(cost);
                assert_eq!(bucket.at(Instant::from_nanos(now)).peek_n(cost).is_allowed(), cost * token <= held);
            }
        }
    }
});
