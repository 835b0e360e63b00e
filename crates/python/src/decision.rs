//! The answer to a check, free of its limiter.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use tollgate::{Report, SetDecision, Verdict};

use crate::errors::value;

/// A decision taken apart: verdict, burst, remaining and index; the waits in seconds and nanoseconds; the limits.
type Parts = ((u8, u64, u64, usize), Option<(u64, u32)>, (u64, u32), Vec<String>);

/// The answer to a check: true if the request may go.
#[pyclass(frozen, module = "tollgate_limiter")]
pub(crate) struct Decision {
    report: Report,
    index: usize,
    limits: Arc<[Box<str>]>,
}

impl Decision {
    pub(crate) fn of_set(decision: &SetDecision<'_>, limits: &Arc<[Box<str>]>) -> Self {
        let report = Report { remaining: decision.remaining(), ..decision.decision().report() };
        Self::new(report, decision.index(), limits)
    }

    pub(crate) fn new(report: Report, index: usize, limits: &Arc<[Box<str>]>) -> Self {
        Self { report, index, limits: Arc::clone(limits) }
    }
}

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

    /// As a pickle, in which exceptions that have it go from one process to another.
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Parts)> {
        let parts = |duration: Duration| (duration.as_secs(), duration.subsec_nanos());
        let verdict = match self.report.verdict {
            Verdict::Allowed => 0,
            Verdict::Refused => 1,
            Verdict::NeverFits => 2,
        };
        let limits = self.limits.iter().map(ToString::to_string).collect();
        let numbers = (verdict, self.report.burst, self.report.remaining, self.index);
        let made = py.get_type::<Self>().getattr("_restored")?;
        Ok((made, (numbers, self.report.retry_after.map(parts), parts(self.report.reset_after), limits)))
    }

    /// What `__reduce__` has taken apart.
    #[staticmethod]
    fn _restored(
        numbers: (u8, u64, u64, usize),
        retry_after: Option<(u64, u32)>,
        reset_after: (u64, u32),
        limits: Vec<String>,
    ) -> PyResult<Self> {
        let (verdict, burst, remaining, index) = numbers;
        let verdict = match verdict {
            0 => Verdict::Allowed,
            1 => Verdict::Refused,
            2 => Verdict::NeverFits,
            other => return Err(value(format!("a verdict is 0, 1 or 2, and {other} was given"))),
        };
        let duration = |(secs, nanos): (u64, u32)| {
            let nanos = Duration::from_nanos(nanos.into());
            Duration::from_secs(secs).checked_add(nanos).unwrap_or(Duration::MAX)
        };
        let (retry_after, reset_after) = (retry_after.map(duration), duration(reset_after));
        let limits = limits.into_iter().map(String::into_boxed_str).collect();
        Ok(Self { report: Report { verdict, burst, remaining, retry_after, reset_after }, index, limits })
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
        format!(
            "<Decision {word} by \"{}\": limit={}, remaining={}{retry}, reset_after={}>",
            self.policy(),
            self.limit(),
            self.remaining(),
            self.reset_after()
        )
    }
}

/// The least float that is not below, so that who sleeps for it has slept long enough.
pub(crate) fn seconds(duration: Duration) -> f64 {
    let near = duration.as_secs_f64();
    match Duration::try_from_secs_f64(near) {
        Ok(back) if back < duration => near.next_up(),
        _ => near,
    }
}
