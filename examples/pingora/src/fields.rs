//! What the client is told: `RateLimit` and `RateLimit-Policy` of draft-ietf-httpapi-ratelimit-headers, `Retry-After`.

use std::time::Duration;

use pingora::Result;
use pingora::http::ResponseHeader;
use tollgate::{Quota, Report};

/// Writes the three, `Retry-After` only where there is a time to wait for.
pub fn insert(answer: &mut ResponseHeader, quota: &Quota, report: &Report) -> Result<()> {
    let policy = format!(r#""default";q={};w={}"#, report.burst, seconds(quota.period()));
    answer.insert_header("RateLimit-Policy", policy)?;
    let until = report.retry_after.unwrap_or(report.reset_after);
    answer.insert_header("RateLimit", format!(r#""default";r={};t={}"#, report.remaining, seconds(until)))?;
    if let Some(wait) = report.retry_after {
        answer.insert_header("Retry-After", seconds(wait))?;
    }
    Ok(())
}

/// Whole seconds, rounded up and at least one: told less, every client would come back too early.
fn seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        for (nanos, expected) in [(1, 1), (1_000_000_000, 1), (1_000_000_001, 2)] {
            assert_eq!(seconds(Duration::from_nanos(nanos)), expected, "{nanos} ns");
        }
    }
}
