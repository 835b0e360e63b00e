//! The answer to a check, free of its limiter.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use tollgate::{Report, SetDecision, Verdict};

use crate::errors::value;

/// The answer to a check: true if the request may go.
#[pyclass(frozen, module = "tollgate_limiter")]
pub(crate) struct Decision {
    report: Report,
    index: usize,
    limits: Arc<[Box<str>]>,
    /// Why no server decided, where one should have.
    outage: Option<Box<str>>,
}

impl Decision {
    pub(crate) fn of_set(decision: &SetDecision<'_>, limits: &Arc<[Box<str>]>) -> Self {
        let report = Report { remaining: decision.remaining(), ..decision.decision().report() };
        Self::new(report, decision.index(), limits)
    }

    pub(crate) fn new(report: Report, index: usize, limits: &Arc<[Box<str>]>) -> Self {
        Self { report, index, limits: Arc::clone(limits), outage: None }
    }

    pub(crate) fn with_outage(self, outage: Option<String>) -> Self {
        Self { outage: outage.map(String::into_boxed_str), ..self }
    }
}

/// What a decision is pickled as.
/// Spans in nanoseconds.
type State = (u8, u64, u64, Option<u128>, u128, usize, Vec<String>, Option<String>);

#[pymethods]
impl Decision {
    /// Whether the request may go.
    #[getter]
    fn allowed(&self) -> bool {
        self.report.verdict == Verdict::Allowed
    }

    /// Whether the request can never go, as it costs more than fits at once.
    #[getter]
    fn never(&self) -> bool {
        self.report.verdict == Verdict::NeverFits
    }

    /// The most that fits at once under the limit that decided.
    #[getter]
    fn limit(&self) -> u64 {
        self.report.burst
    }

    /// The largest cost that would still be admitted now, by all limits.
    #[getter]
    fn remaining(&self) -> u64 {
        self.report.remaining
    }

    /// Seconds until the same call is admitted, if nobody else comes, never too few: 0.0 if it was, None if it never will be.
    #[getter]
    fn retry_after(&self) -> Option<f64> {
        (!self.never()).then(|| self.report.retry_after.map_or(0.0, seconds))
    }

    /// Seconds until everything is available again, if nobody else comes.
    #[getter]
    fn reset_after(&self) -> f64 {
        seconds(self.report.reset_after)
    }

    /// Which limit decided, from 0: of those that refused, the one that refuses longest; else the one with least left.
    #[getter]
    fn index(&self) -> usize {
        self.index
    }

    /// The limit that decided, as text.
    #[getter]
    fn policy(&self) -> &str {
        self.limits.get(self.index).map_or("", |text| text)
    }

    /// Why no server decided, of a limiter with `store=`: then `on_outage` has. None if all is well.
    #[getter]
    fn outage(&self) -> Option<&str> {
        self.outage.as_deref()
    }

    /// As its figures, free of the limiter.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, State)> {
        let Self { report, index, limits, outage } = slf.get();
        let verdict = match report.verdict {
            Verdict::Allowed => 0,
            Verdict::Refused => 1,
            Verdict::NeverFits => 2,
        };
        let state = (
            verdict,
            report.burst,
            report.remaining,
            report.retry_after.map(|wait| wait.as_nanos()),
            report.reset_after.as_nanos(),
            *index,
            limits.iter().map(ToString::to_string).collect(),
            outage.as_ref().map(ToString::to_string),
        );
        Ok((slf.get_type().getattr("_restored")?, state))
    }

    /// What `__reduce__` has written.
    #[staticmethod]
    #[allow(clippy::too_many_arguments, reason = "pickle calls it")]
    fn _restored(
        verdict: u8,
        burst: u64,
        remaining: u64,
        retry_after: Option<u128>,
        reset_after: u128,
        index: usize,
        limits: Vec<String>,
        outage: Option<String>,
    ) -> PyResult<Self> {
        let verdict = match verdict {
            0 => Verdict::Allowed,
            1 => Verdict::Refused,
            2 => Verdict::NeverFits,
            other => return Err(value(format!("a verdict is 0, 1 or 2, and {other} was given"))),
        };
        let (retry_after, reset_after) = (retry_after.map(span).transpose()?, span(reset_after)?);
        let report = Report { verdict, burst, remaining, retry_after, reset_after };
        let limits = limits.into_iter().map(String::into_boxed_str).collect();
        Ok(Self { report, index, limits, outage: outage.map(String::into_boxed_str) })
    }

    fn __bool__(&self) -> bool {
        self.allowed()
    }

    fn __repr__(&self) -> String {
        let word = match self.report.verdict {
            Verdict::Allowed => "allowed",
            Verdict::Refused => "refused",
            Verdict::NeverFits => "never",
        };
        let retry = self.report.retry_after.map_or_else(String::new, |wait| format!(", retry_after={}", seconds(wait)));
        let outage = self.outage.as_ref().map_or_else(String::new, |outage| format!(", outage=\"{outage}\""));
        format!(
            "<Decision {word} by \"{}\": limit={}, remaining={}{retry}, reset_after={}{outage}>",
            self.policy(),
            self.limit(),
            self.remaining(),
            self.reset_after()
        )
    }
}

fn span(nanos: u128) -> PyResult<Duration> {
    let bound = |_| value(format!("a span is at most 2**64 - 1 ns, and {nanos} was given"));
    u64::try_from(nanos).map(Duration::from_nanos).map_err(bound)
}

/// The least float that is not below, so that who sleeps for it has slept long enough.
pub(crate) fn seconds(duration: Duration) -> f64 {
    let near = duration.as_secs_f64();
    match Duration::try_from_secs_f64(near) {
        Ok(back) if back < duration => near.next_up(),
        _ => near,
    }
}
