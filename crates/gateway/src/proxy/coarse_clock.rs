//! Time that fits an atomic: whole milliseconds since the gateway first asked.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the start, and never zero, so that zero can stand for "not at all".
pub(crate) fn now() -> u64 {
    millis(START.elapsed()).saturating_add(1)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The instant of the runtime's timer at which [`now`] is `moment`.
pub(crate) fn instant(moment: u64) -> Instant {
    let since = Duration::from_millis(moment);
    // A century is as good as never; only an absurd setting gets there.
    START.checked_add(since).unwrap_or_else(|| *START + Duration::from_secs(3_000_000_000))
}
