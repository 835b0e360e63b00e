//! Time that fits an atomic: whole milliseconds since the gateway first asked, as of the kernel's last tick.
//!
//! A request asks some ten times. The tick is up to ten milliseconds old, but read without the processor's counter, which
//! costs more than all else that is done with the time here.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

/// How far the kernel's tick may lag behind its clock, with the reading at the start: at most a tick of 10 ms each.
const LAG: Duration = Duration::from_millis(20);

static START: LazyLock<(Instant, Duration)> = LazyLock::new(|| (Instant::now(), tick()));

/// Milliseconds since the start, and never zero, so that zero can stand for "not at all".
pub(crate) fn now() -> u64 {
    // The start is read first: it must not be later.
    let start = START.1;
    millis(tick().saturating_sub(start)).saturating_add(1)
}

#[cfg(target_os = "linux")]
fn tick() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
    // Neither is ever negative: time since the machine was started.
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
fn tick() -> Duration {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    FIRST.elapsed()
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An instant of the runtime's timer by which [`now`] has reached `moment`.
pub(crate) fn instant(moment: u64) -> Instant {
    let since = Duration::from_millis(moment).saturating_add(LAG);
    // A century is as good as never; only an absurd setting gets there.
    START.0.checked_add(since).unwrap_or_else(|| START.0 + Duration::from_secs(3_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_come_when_its_timer_rings() {
        for wait in [1, 7, 30] {
            let moment = now() + wait;
            std::thread::sleep(instant(moment).saturating_duration_since(Instant::now()));
            assert!(now() >= moment, "{} < {moment}", now());
        }
    }
}
