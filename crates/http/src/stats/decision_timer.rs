//! How long decisions take: a sample of them.

use tollgate::clock::Instant;

/// The histogram `tollgate_decision_seconds`, of one decision in 64; without the feature `metrics` nothing is measured.
pub(crate) struct DecisionTimer {
    #[cfg(feature = "metrics")]
    histogram: metrics::Histogram,
}

impl DecisionTimer {
    #[cfg(feature = "metrics")]
    pub(crate) fn new() -> Self {
        metrics::describe_histogram!(
            "tollgate_decision_seconds",
            metrics::Unit::Seconds,
            "Time of a decision, sampled"
        );
        Self { histogram: metrics::histogram!("tollgate_decision_seconds") }
    }

    #[cfg(not(feature = "metrics"))]
    pub(crate) const fn new() -> Self {
        Self {}
    }

    /// The beginning of a decision, if it is one that is measured, each 64th of this thread: reading the clock once more costs as much
    /// as a check.
    #[cfg(feature = "metrics")]
    pub(crate) fn begin(&self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        thread_local! {
            static COUNT: std::cell::Cell<u8> = const { std::cell::Cell::new(0) };
        }
        // Counted on this thread, so that threads do not share a line; a thread that is ending measures nothing.
        let is_due = COUNT.try_with(|count| count.replace(count.get().wrapping_add(1)).is_multiple_of(64));
        is_due.unwrap_or(false).then(now)
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn end(&self, begun: Option<Instant>, now: impl FnOnce() -> Instant) {
        if let Some(begun) = begun {
            self.histogram.record(now().saturating_duration_since(begun).as_secs_f64());
        }
    }

    #[cfg(not(feature = "metrics"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) fn begin(&self, _: impl FnOnce() -> Instant) -> Option<Instant> {
        None
    }

    #[cfg(not(feature = "metrics"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    pub(crate) fn end(&self, _: Option<Instant>, _: impl FnOnce() -> Instant) {}
}
