//! Windows from the first hit whose end is told to the nanosecond, and whose hits are counted under no limit: what `limits` asks of a
//! storage.
//!
//! The engine writes end and count of such a window into one word, and so rounds the end up. Here a window is two buckets: one that
//! says until when it lasts (one token for a period, which is exact), and one that counts, under the key together with that end.
//! So the next window begins at none, whoever comes first, and nobody has to empty anything.
//!
//! Each kind has a table of its own: a key that comes to a full table takes over the word of another, and the word of an end, read as
//! a count, would be a large one.

use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use tollgate::clock::{Clock, Instant};
use tollgate::error::LimitError;
use tollgate::state::BucketState;
use tollgate::{Algorithm, KeyHash, Limit, Limiter, Quota, Verdict, WindowStart};

use crate::errors::{self, value};
use crate::key::{self, AnyKey};
use crate::limiter::{Core, Cost};
use crate::table::{Table, with_limiter};

/// The most that a window counts: the first of these that the engine holds for its period.
const MOST: [u64; 5] = [15_000_000, 2_000_000, 1_000_000, 100_000, 10_000];

/// Windows of one length.
#[pyclass(frozen, module = "tollgate_limiter._engine")]
pub(crate) struct HitWindows {
    table: Arc<Table>,
    counting: Arc<Table>,
    period: Duration,
    begun: Limit,
    counts: Limit,
}

/// The limit that counts.
fn counts<C: Clock>(limiter: &Limiter<C>, name: &str, period: Duration) -> Result<Limit, LimitError> {
    let counting = |most: u64| {
        let quota = Quota::new(most, period)?.with_algorithm(Algorithm::FixedWindow);
        limiter.prepare(name, quota.with_window_start(WindowStart::FirstHit).with_refused_counted(true))
    };
    let [largest, smaller @ ..] = MOST;
    smaller.into_iter().fold(counting(largest), |found, most| found.or_else(|_| counting(most)))
}

impl HitWindows {
    /// The key in a window that ends at an instant.
    fn counted(&self, key: &Bound<'_, PyAny>, end: Instant) -> PyResult<KeyHash> {
        if let Some(text) = key::text(key) {
            return Ok(with_limiter!(self.counting, limiter => limiter.hash(&(text, end.as_nanos()))));
        }
        let key = AnyKey::Tuple(vec![key::other(key, 0)?, AnyKey::Natural(end.as_nanos().into())]);
        Ok(with_limiter!(self.counting, limiter => limiter.hash(&key)))
    }

    /// What time it is, the end of the window that lasts, and what it has counted.
    fn window(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<(Instant, Instant, u64)>> {
        self.table.tick(key.py())?;
        let begun = self.table.hash(key)?;
        let (now, report) = with_limiter!(self.table, limiter => {
            let now = limiter.now();
            (now, limiter.under(&self.begun).at(now).key(&begun).peek().report())
        });
        if report.verdict == Verdict::Allowed {
            return Ok(None);
        }
        let end = now.saturating_add(report.reset_after);
        let counted = self.counted(key, end)?;
        let state = with_limiter!(self.counting, limiter => limiter.under(&self.counts).at(now).key(&counted).state());
        let count = match state {
            Some(BucketState::Window { count, .. }) => count,
            _ => 0,
        };
        Ok(Some((now, end, count)))
    }
}

#[pymethods]
impl HitWindows {
    /// Of so many milliseconds, over the tables of two limiters, by the clock of the first.
    #[new]
    fn new(
        py: Python<'_>,
        ends: &Bound<'_, Core>,
        counts: &Bound<'_, Core>,
        name: &str,
        milliseconds: u64,
    ) -> PyResult<Self> {
        let (table, counting) = (Arc::clone(ends.get().table()), Arc::clone(counts.get().table()));
        let period = Duration::from_millis(milliseconds);
        let counts = with_limiter!(counting, limiter => self::counts(limiter, name, period));
        let counts = counts.map_err(|error| errors::limit(py, &error))?;
        let begun = Quota::new(1, period).map_err(|error| errors::limit(py, &error.into()))?;
        let begun = with_limiter!(table, limiter => limiter.prepare(name, begun));
        let begun = begun.map_err(|error| errors::limit(py, &error))?;
        if !begun.effective_rate().is_exact() {
            return Err(value(format!("a window of {milliseconds} ms is not a whole number of the table's units")));
        }
        Ok(Self { table, counting, period, begun, counts })
    }

    /// Counts, and says how many hits the window has; `None` if it has more than `most`.
    #[pyo3(signature = (key, cost = Cost(1)), text_signature = "($self, key, cost=1)")]
    fn hit(&self, key: &Bound<'_, PyAny>, cost: Cost) -> PyResult<Option<u64>> {
        self.table.tick(key.py())?;
        let begun = self.table.hash(key)?;
        let (now, report) = with_limiter!(self.table, limiter => {
            let now = limiter.now();
            (now, limiter.under(&self.begun).at(now).key(&begun).check().report())
        });
        let end = now.saturating_add(report.reset_after);
        // Who read the clock before it began counts as if at its beginning, so that the count does not end before the window.
        let now = now.max(end.saturating_sub(self.period));
        let counted = self.counted(key, end)?;
        let report = with_limiter!(self.counting, limiter => {
            limiter.under(&self.counts).at(now).key(&counted).check_n(cost.0).report()
        });
        Ok((report.verdict == Verdict::Allowed).then(|| report.burst - report.remaining))
    }

    /// How many hits the window of the key has, and when it ends, in nanoseconds since 1970; `None` if there is none.
    fn state(&self, key: &Bound<'_, PyAny>) -> PyResult<Option<(u64, u64)>> {
        Ok(self.window(key)?.map(|(_, end, count)| (count, end.as_nanos())))
    }

    /// Forgets the window of the key.
    fn reset(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let Some((now, end, _)) = self.window(key)? else { return Ok(()) };
        let (begun, counted) = (self.table.hash(key)?, self.counted(key, end)?);
        with_limiter!(self.counting, limiter => limiter.under(&self.counts).at(now).key(&counted).reset());
        with_limiter!(self.table, limiter => limiter.under(&self.begun).at(now).key(&begun).reset());
        Ok(())
    }

    /// The most that a window counts.
    #[getter]
    fn most(&self) -> u64 {
        self.counts.quota().count()
    }
}
