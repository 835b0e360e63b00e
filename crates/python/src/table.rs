//! A table of buckets, by one of the clocks that there are.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyModule;
use tollgate::clock::{Instant, ManualClock};
use tollgate::shared::{OnMismatch, Shared, TableClock};
use tollgate::{KeyHash, Limiter, OnFull, Quota, parse_quotas};

use crate::errors;
use crate::key;

/// What decorators and callables may ask for later, beside the limits that are there when a table is made: counts that divide one of
/// these are held exactly.
const LATER: &str = "2520/second, 1000/second, 11/second, 13/second, 10000/second";

/// A table, and the limiter over it.
pub(crate) enum Engine {
    /// On a mapping that forks share, or all who know its path, by the clock of the operating system that all of them read.
    System(Limiter<TableClock>),
    /// In this process alone, by a clock of tests.
    Given(Limiter<ManualClock>),
}

/// Does the same with either limiter.
macro_rules! with_limiter {
    ($table:expr, $limiter:ident => $body:expr) => {
        match &$table.engine {
            $crate::table::Engine::System($limiter) => $body,
            $crate::table::Engine::Given($limiter) => $body,
        }
    };
}
pub(crate) use with_limiter;

pub(crate) struct Table {
    pub(crate) engine: Engine,
    /// The module `time`, whose clock is read before each call, and where to put that.
    python: Option<(Py<PyModule>, ManualClock)>,
}

/// Which clock to go by.
pub(crate) enum Clock {
    System,
    Manual(ManualClock),
    Python,
}

pub(crate) struct Settings {
    pub(crate) quotas: Vec<Quota>,
    pub(crate) capacity: usize,
    pub(crate) on_full: OnFull,
    pub(crate) path: Option<PathBuf>,
    pub(crate) on_mismatch: OnMismatch,
    pub(crate) clock: Clock,
}

impl Table {
    pub(crate) fn new(py: Python<'_>, settings: Settings) -> PyResult<Self> {
        let Settings { quotas, capacity, on_full, path, on_mismatch, clock } = settings;
        // One at least; the default limit of the limiter is asked for by nobody.
        let first = quotas.first().copied().unwrap_or(Quota::per_second(1));
        let later = parse_quotas(LATER).map_err(|error| errors::syntax(py, &error))?;
        let builder =
            Limiter::builder(first).also_exact_for(quotas).also_exact_for(later).capacity(capacity).on_full(on_full);
        let mut python = None;
        let engine = match clock {
            Clock::System => {
                let shared = path.map_or_else(Shared::before_fork, Shared::at).on_mismatch(on_mismatch);
                // Another process may be at it, for ten seconds at most.
                py.detach(|| builder.shared(shared).build()).map(Engine::System)
            }
            Clock::Manual(clock) => builder.clock(clock).build().map(Engine::Given),
            Clock::Python => {
                let time = PyModule::import(py, "time")?;
                let clock = ManualClock::new(now(&time)?);
                python = Some((time.unbind(), clock.clone()));
                builder.clock(clock).build().map(Engine::Given)
            }
        };
        Ok(Self { engine: engine.map_err(|error| errors::build(py, &error))?, python })
    }

    /// Reads the clock of Python, where the table goes by that. Before each call that asks for the time.
    #[inline]
    pub(crate) fn tick(&self, py: Python<'_>) -> PyResult<()> {
        if let Some((time, clock)) = &self.python {
            clock.set(now(time.bind(py))?);
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn hash(&self, key: &Bound<'_, PyAny>) -> PyResult<KeyHash> {
        if let Some(text) = key::text(key) {
            return Ok(with_limiter!(self, limiter => limiter.hash(text)));
        }
        let key = key::other(key, 0)?;
        Ok(with_limiter!(self, limiter => limiter.hash(&key)))
    }
}

/// What `time.time_ns` shows, which libraries that stop the time replace.
pub(crate) fn now(time: &Bound<'_, PyModule>) -> PyResult<Instant> {
    let shown = time.getattr("time_ns")?.call0()?;
    let nanos = match shown.extract() {
        Ok(nanos) => nanos,
        // Of a library that answers a float.
        Err(_) => shown.call_method0("__int__")?.extract()?,
    };
    Ok(Instant::from_nanos(nanos))
}
