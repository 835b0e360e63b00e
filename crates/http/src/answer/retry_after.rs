//! When a refused client is told to come back.

use core::cell::Cell;
use core::fmt::Write as _;
use core::hash::BuildHasher;
use core::time::Duration;
use std::collections::hash_map::RandomState;
use std::time::UNIX_EPOCH;

use http::HeaderValue;
use httpdate::HttpDate;

use super::status::{LimitStatus, ceil_secs, epoch_secs};
use super::text_buffer::{self, TextBuffer};

/// How a `Retry-After` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "kebab-case"))]
pub enum RetryForm {
    /// Seconds from now; the default.
    #[default]
    Seconds,
    /// A date, for clients that know nothing else. It trusts the client's clock.
    #[cfg_attr(feature = "serde", serde(rename = "date"))]
    HttpDate,
}

/// How `Retry-After` is made: whole seconds, rounded up, at least 1, so that who waits that long has waited long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct RetryAfter {
    /// How it is written.
    pub form: RetryForm,
    /// Up to this much is added, at random, so that clients refused together do not come back together. None unless set.
    pub jitter: Duration,
}

/// One `Retry-After`.
pub(super) struct Retry {
    pub(super) value: HeaderValue,
    pub(super) seconds: u64,
}

impl RetryAfter {
    /// Written in this form, without jitter.
    #[must_use]
    pub const fn new(form: RetryForm) -> Self {
        Self { form, jitter: Duration::ZERO }
    }

    /// With up to this much added at random.
    #[must_use]
    pub const fn with_jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// The `Retry-After` for this client, unless it can never be admitted.
    pub(super) fn answer(&self, limit: &LimitStatus<'_>) -> Option<Retry> {
        let wait = limit.report.retry_after?;
        // Only ever later: one that came early would be refused again.
        let seconds = ceil_secs(wait.saturating_add(random_up_to(self.jitter))).max(1);
        let value = match self.form {
            RetryForm::Seconds => text_buffer::number(seconds),
            RetryForm::HttpDate => date(epoch_secs(limit.at.saturating_add(Duration::from_secs(seconds)))),
        };
        Some(Retry { value, seconds })
    }
}

/// The date `secs` seconds after 1970 began.
fn date(secs: u64) -> HeaderValue {
    // An instant holds 584 years, so this is before 2555, and `httpdate` goes up to 9999.
    let mut line = TextBuffer::new();
    let _ = write!(line, "{}", HttpDate::from(UNIX_EPOCH + Duration::from_secs(secs)));
    line.to_header()
}

/// A random duration, up to `most`.
fn random_up_to(most: Duration) -> Duration {
    if most.is_zero() {
        return Duration::ZERO;
    }
    let most = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
    // The high half of the product is evenly spread over 0..most.
    let scaled = (u128::from(random()) * u128::from(most)) >> 64;
    Duration::from_nanos(u64::try_from(scaled).unwrap_or(most))
}

/// The next number of this thread's SplitMix64 (Steele, Lea, Flood 2014): spread, not secret.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
    }
    let state = STATE.with(|state| {
        let next = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(next);
        next
    });
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
