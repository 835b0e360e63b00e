//! The clocks of tests.

use std::time::Duration;

use pyo3::prelude::*;
use tollgate::clock::{Clock as _, Instant, ManualClock as Manual};

use crate::errors::value;

/// A clock that stands still until it is told otherwise, for tests.
#[pyclass(frozen, module = "tollgate_limiter")]
pub(crate) struct ManualClock(pub(crate) Manual);

#[pymethods]
impl ManualClock {
    /// A clock that shows `start` seconds since 1970.
    #[new]
    #[pyo3(signature = (start = 1_000_000_000.0))]
    fn new(start: f64) -> PyResult<Self> {
        let start = duration(start, "start")?;
        Ok(Self(Manual::new(Instant::default().saturating_add(start))))
    }

    /// Moves it forward.
    fn advance(&self, seconds: f64) -> PyResult<()> {
        self.0.advance(duration(seconds, "seconds")?);
        Ok(())
    }

    /// Sets it, also back.
    fn set(&self, seconds: f64) -> PyResult<()> {
        self.0.set(Instant::default().saturating_add(duration(seconds, "seconds")?));
        Ok(())
    }

    /// What it shows, in nanoseconds.
    fn now_ns(&self) -> u64 {
        self.0.now().as_nanos()
    }
}

/// Seconds as a duration, to the nearest nanosecond.
pub(crate) fn duration(seconds: f64, name: &str) -> PyResult<Duration> {
    let bound = || value(format!("{name} must be from 0 to 1.8e19 seconds, and {seconds} was given"));
    Duration::try_from_secs_f64(seconds).map_err(|_| bound())
}
