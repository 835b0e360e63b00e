//! The limiter: what `tollgate_limiter.Limiter` is made of.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use http::{HeaderMap, HeaderValue};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};
use tollgate::shared::OnMismatch;
use tollgate::state::BucketState;
use tollgate::{Algorithm, KeyHash, OnFull, Quota, Report, SetItem, Verdict, parse_quotas};
use tollgate_http::answer::{Dialect, LimitStatus, QuotaUnit};

use crate::clock::{ManualClock, duration};
use crate::decision::Decision;
use crate::errors::{self, value};
use crate::request::{asgi_fields, wsgi_fields};
use crate::reservation::{Cell, Limits, Reservation};
use crate::switch::is_off;
use crate::table::{Clock, Settings, Table, with_limiter};

/// One limit or several, all of which a request must pass, over a table of buckets.
#[pyclass(frozen, subclass, module = "tollgate_limiter._engine")]
pub(crate) struct Core {
    limits: Arc<Limits>,
    texts: Arc<[Box<str>]>,
    /// What clients are told the limits are called.
    names: Box<[Box<str>]>,
    /// The field that lists the limits, in the dialect that was asked for first.
    policies: OnceLock<(Dialect, HeaderValue)>,
}

/// What a request costs: nothing while [all is off](crate::switch), which is always admitted and takes nothing.
pub(crate) struct Cost(pub(crate) u64);

impl Cost {
    #[inline]
    fn one() -> Self {
        Self(u64::from(!is_off()))
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Cost {
    type Error = PyErr;

    fn extract(given: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(cost) = given.extract() {
            return Ok(Self(if is_off() { 0 } else { cost }));
        }
        let text = given.repr()?;
        let text = format!("cost must be a whole number from 0 to 2**64 - 1, and {text} was given");
        Err(if given.is_instance_of::<pyo3::types::PyInt>() { value(text) } else { PyTypeError::new_err(text) })
    }
}

/// How many keys a table holds.
struct Capacity(usize);

impl<'a, 'py> FromPyObject<'a, 'py> for Capacity {
    type Error = PyErr;

    fn extract(given: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(capacity) = given.extract() {
            return Ok(Self(capacity));
        }
        let text = given.repr()?;
        let text = format!("the capacity must be a whole number of keys, from 1 to 68719476736, and {text} was given");
        Err(if given.is_instance_of::<pyo3::types::PyInt>() { value(text) } else { PyTypeError::new_err(text) })
    }
}

/// Reads rates: a text, or a list of texts.
fn quotas(given: &Bound<'_, PyAny>, algorithm: Option<&str>) -> PyResult<Vec<Quota>> {
    let py = given.py();
    let algorithm = algorithm.map(str::parse::<Algorithm>).transpose().map_err(|error| value(error.to_string()))?;
    let read = |text: &str| -> PyResult<Vec<Quota>> {
        if has_no_period(text) {
            let text = format!("`{text}` has a period of 0, and 1 is the least: \"10/minute\", or \"10/5 minutes\"");
            return Err(errors::limit_value(py, &text));
        }
        let quotas = parse_quotas(text).map_err(|error| errors::syntax(py, &error))?;
        // What the text says of itself wins.
        let says = text.to_ascii_lowercase().contains(Algorithm::TokenBucket.name());
        let algorithm = algorithm.filter(|_| !says);
        let with = |quota: Quota| match algorithm.filter(|_| quota.algorithm() == Algorithm::TokenBucket) {
            Some(algorithm) => quota.with_algorithm(algorithm),
            None => quota,
        };
        Ok(quotas.into_iter().map(with).collect())
    };
    if let Ok(text) = given.cast::<PyString>() {
        return read(text.to_str()?);
    }
    let mut all = Vec::new();
    for text in given.try_iter().map_err(|_| no_rates(given))? {
        let text = text?;
        all.extend(read(text.cast::<PyString>().map_err(|_| no_rates(&text))?.to_str()?)?);
    }
    Ok(all)
}

/// Whether a rate has a multiple of 0, as `10/0 minutes`: to `limits`, and so to the engine, that is 1, which nobody means who writes it.
fn has_no_period(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let multiples = text.split('/').skip(1).chain(text.split("per").skip(1));
    multiples.into_iter().any(|rest| {
        let rest = rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        end > 0 && rest.bytes().take(end).all(|digit| digit == b'0')
    })
}

fn no_rates(given: &Bound<'_, PyAny>) -> PyErr {
    let kind = given.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "limits are a rate such as \"100/minute\", or a list of rates, and `{kind}` was given"
    ))
}

fn on_full(text: &str) -> PyResult<OnFull> {
    Ok(match text {
        "evict" => OnFull::EvictNearestIdle,
        "refuse" => OnFull::RefuseNew,
        "admit" => OnFull::AdmitUntracked,
        other => {
            return Err(value(format!("on_full is \"evict\", \"refuse\" or \"admit\", and {other:?} was given")));
        }
    })
}

pub(crate) fn on_mismatch(text: &str) -> PyResult<OnMismatch> {
    Ok(match text {
        "refuse" => OnMismatch::Refuse,
        "adopt" => OnMismatch::Adopt,
        "replace" => OnMismatch::Replace,
        other => {
            let text = format!("on_mismatch is \"refuse\", \"adopt\" or \"replace\", and {other:?} was given");
            return Err(value(text));
        }
    })
}

pub(crate) fn clock(given: Option<&Bound<'_, PyAny>>) -> PyResult<Clock> {
    let Some(given) = given else { return Ok(Clock::System) };
    if let Ok(clock) = given.cast::<ManualClock>() {
        return Ok(Clock::Manual(clock.get().0.clone()));
    }
    match given.extract::<&str>() {
        Ok("system") => Ok(Clock::System),
        Ok("python") => Ok(Clock::Python),
        _ => Err(value(format!("clock is \"system\", \"python\" or a ManualClock, and {} was given", given.repr()?))),
    }
}

impl Core {
    fn of(py: Python<'_>, table: Arc<Table>, name: &str, quotas: Vec<Quota>) -> PyResult<Self> {
        let texts = quotas.iter().map(|quota| quota.to_string().into_boxed_str()).collect();
        let set = with_limiter!(table, limiter => limiter.prepare_set(name, quotas));
        let set = set.map_err(|error| errors::limit(py, &error))?;
        let nth =
            |index: usize| if index == 0 { name.into() } else { format!("{name}-{}", index + 1).into_boxed_str() };
        let names = (0..set.limits().len()).map(nth).collect();
        Ok(Self { limits: Arc::new(Limits { table, set }), texts, names, policies: OnceLock::new() })
    }

    fn policies_of<'a>(cores: impl Iterator<Item = &'a Self>, dialect: Dialect) -> HeaderValue {
        dialect.policies(cores.flat_map(|core| {
            let limits = core.names.iter().zip(core.limits.set.limits());
            limits.map(|(name, limit)| (&**name, limit.quota(), QuotaUnit::Requests))
        }))
    }

    /// The field that lists the limits; made once.
    fn policies(&self, dialect: Dialect) -> HeaderValue {
        let (kept, policies) =
            self.policies.get_or_init(|| (dialect, Self::policies_of(std::iter::once(self), dialect)));
        if *kept == dialect { policies.clone() } else { Self::policies_of(std::iter::once(self), dialect) }
    }

    pub(crate) fn table(&self) -> &Arc<Table> {
        &self.limits.table
    }

    pub(crate) fn held(&self) -> &Arc<Limits> {
        &self.limits
    }

    pub(crate) fn names(&self) -> &[Box<str>] {
        &self.names
    }

    pub(crate) fn texts(&self) -> &Arc<[Box<str>]> {
        &self.texts
    }

    /// The hash of the key, with the clock ready for a call.
    #[inline]
    fn begin(&self, key: &Bound<'_, PyAny>) -> PyResult<KeyHash> {
        self.limits.table.tick(key.py())?;
        self.limits.table.hash(key)
    }

    fn hashes(&self, keys: &Bound<'_, PyAny>) -> PyResult<Vec<KeyHash>> {
        if keys.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("keys are a list of keys, and one str was given"));
        }
        self.limits.table.tick(keys.py())?;
        keys.try_iter()?.map(|key| self.limits.table.hash(&key?)).collect()
    }
}

#[pymethods]
impl Core {
    #[new]
    #[pyo3(
        text_signature = "(limits, *, name='default', algorithm=None, capacity=65536, on_full='evict', path=None, on_mismatch='refuse', clock=None, like=None)"
    )]
    #[pyo3(signature = (limits, *, name = "default", algorithm = None, capacity = Capacity(65_536), on_full = "evict", path = None, on_mismatch = "refuse", clock = None, like = None))]
    #[allow(clippy::too_many_arguments, reason = "Python calls them by name")]
    fn new(
        py: Python<'_>,
        limits: &Bound<'_, PyAny>,
        name: &str,
        algorithm: Option<&str>,
        capacity: Capacity,
        on_full: &str,
        path: Option<PathBuf>,
        on_mismatch: &str,
        clock: Option<&Bound<'_, PyAny>>,
        like: Option<&Bound<'_, Self>>,
    ) -> PyResult<Self> {
        let quotas = quotas(limits, algorithm)?;
        if let Some(other) = like {
            return Self::of(py, Arc::clone(&other.get().limits.table), name, quotas);
        }
        let clock = self::clock(clock)?;
        if path.is_some() && !matches!(clock, Clock::System) {
            return Err(value(
                "a shared table goes by the clock of the system; give clock= or shared=, not both".to_owned(),
            ));
        }
        let (on_full, on_mismatch) = (self::on_full(on_full)?, self::on_mismatch(on_mismatch)?);
        let settings = Settings { quotas: quotas.clone(), capacity: capacity.0, on_full, path, on_mismatch, clock };
        Self::of(py, Arc::new(Table::new(py, settings)?), name, quotas)
    }

    /// Admits one request, or not.
    #[pyo3(signature = (key, cost = Cost::one()), text_signature = "($self, key, cost=1)")]
    fn allow(&self, key: &Bound<'_, PyAny>, cost: Cost) -> PyResult<bool> {
        let key = self.begin(key)?;
        let set = &self.limits.set;
        Ok(with_limiter!(self.limits.table, limiter => match set.limits() {
            // As most are.
            [limit] => limiter.under(limit).check_n(&key, cost.0).is_allowed(),
            _ => limiter.check_set_n(set, &key, cost.0).is_allowed(),
        }))
    }

    /// Admits one request, or not, and says all about it.
    #[pyo3(signature = (key, cost = Cost::one()), text_signature = "($self, key, cost=1)")]
    fn check(&self, key: &Bound<'_, PyAny>, cost: Cost) -> PyResult<Decision> {
        let key = self.begin(key)?;
        let set = &self.limits.set;
        Ok(with_limiter!(self.limits.table, limiter => match set.limits() {
            [limit] => Decision::new(limiter.under(limit).check_n(&key, cost.0).report(), 0, &self.texts),
            _ => Decision::of_set(&limiter.check_set_n(set, &key, cost.0), &self.texts),
        }))
    }

    /// `check` of several limiters of one table, each under a key and at a cost of its own: all admit, and are charged, or none
    /// is. The decision, whose limiter it is, and the header fields that tell it, in a dialect; with `octets` as ASGI has them.
    #[staticmethod]
    #[pyo3(signature = (items, dialect = "ietf", octets = false))]
    fn check_all<'py>(
        py: Python<'py>,
        items: Vec<(Bound<'py, Self>, Bound<'py, PyAny>, Cost)>,
        dialect: &str,
        octets: bool,
    ) -> PyResult<(Decision, usize, Bound<'py, PyList>)> {
        let dialect: Dialect =
            dialect.parse().map_err(|error: tollgate_http::error::UnknownName| value(error.to_string()))?;
        let Some((first, _, _)) = items.first() else {
            return Err(value("expected at least one limiter, and none was given".to_owned()));
        };
        let table = &first.get().limits.table;
        if items.iter().any(|(core, _, _)| !Arc::ptr_eq(&core.get().limits.table, table)) {
            return Err(value("limiters that are checked together must be of one table: see prepare".to_owned()));
        }
        table.tick(py)?;
        let mut parts = Vec::new();
        let mut places = Vec::new();
        for (at, (core, key, cost)) in items.iter().enumerate() {
            let key = table.hash(key)?;
            for (index, limit) in core.get().limits.set.limits().iter().enumerate() {
                parts.push(SetItem { limit, key, cost: cost.0 });
                places.push((at, index));
            }
        }
        with_limiter!(table, limiter => {
            let decided = limiter.check_items(&parts).map_err(|error| errors::limit(py, &error.into()))?;
            let (at, index) = places.get(decided.index()).copied().unwrap_or((0, 0));
            let core = items.get(at).map_or(first, |(core, _, _)| core).get();
            let decision = decided.decision();
            let name = core.names.get(index).map_or("", |name| name);
            let policies = match &*items {
                [(core, _, _)] => core.get().policies(dialect),
                _ => Self::policies_of(items.iter().map(|(core, _, _)| core.get()), dialect),
            };
            let mut headers = HeaderMap::new();
            dialect.write(&mut headers, &LimitStatus::of(name, &decision), &policies);
            let report = Report { remaining: decided.remaining(), ..decision.report() };
            let fields = if octets { asgi_fields(py, &headers)? } else { wsgi_fields(py, &headers)? };
            Ok((Decision::new(report, index, &core.texts), at, fields))
        })
    }

    /// What `check` would answer; takes nothing.
    #[pyo3(signature = (key, cost = Cost::one()), text_signature = "($self, key, cost=1)")]
    fn peek(&self, key: &Bound<'_, PyAny>, cost: Cost) -> PyResult<Decision> {
        let key = self.begin(key)?;
        let reports: Vec<Report> = with_limiter!(self.limits.table, limiter => {
            let now = limiter.now();
            let limits = self.limits.set.limits().iter();
            limits.map(|limit| limiter.under(limit).at(now).key(&key).peek_n(cost.0).report()).collect()
        });
        // As a set decides: the one that refuses longest, or else the one with least left.
        let rank = |report: &Report| match report.verdict {
            Verdict::Allowed => (0, None, u64::MAX - report.remaining),
            Verdict::Refused => (1, report.retry_after, 0),
            Verdict::NeverFits => (2, None, 0),
        };
        let mut worst = 0;
        for (index, report) in reports.iter().enumerate() {
            if rank(report) > rank(&reports[worst]) {
                worst = index;
            }
        }
        let remaining = reports.iter().map(|report| report.remaining).min().unwrap_or(0);
        Ok(Decision::new(Report { remaining, ..reports[worst] }, worst, &self.texts))
    }

    /// Gives back what was taken.
    #[pyo3(signature = (key, cost = Cost::one()), text_signature = "($self, key, cost=1)")]
    fn refund(&self, key: &Bound<'_, PyAny>, cost: Cost) -> PyResult<()> {
        let key = self.begin(key)?;
        with_limiter!(self.limits.table, limiter => {
            self.limits.set.limits().iter().for_each(|limit| limiter.under(limit).key(&key).refund(cost.0));
        });
        Ok(())
    }

    /// Takes a cost whether it is there or not, and says how much was recorded, of the limit that recorded least.
    #[pyo3(signature = (key, cost = Cost::one()), text_signature = "($self, key, cost=1)")]
    fn charge(&self, key: &Bound<'_, PyAny>, cost: Cost) -> PyResult<u64> {
        let key = self.begin(key)?;
        Ok(with_limiter!(self.limits.table, limiter => {
            let limits = self.limits.set.limits().iter();
            limits.map(|limit| limiter.under(limit).key(&key).charge(cost.0)).min().unwrap_or(0)
        }))
    }

    /// Forgets what the key has used.
    fn reset(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let key = self.begin(key)?;
        with_limiter!(self.limits.table, limiter => {
            self.limits.set.limits().iter().for_each(|limit| limiter.under(limit).key(&key).reset());
        });
        Ok(())
    }

    /// `check` of many keys, each by itself.
    #[pyo3(signature = (keys, cost = Cost::one()), text_signature = "($self, keys, cost=1)")]
    fn check_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>, cost: Cost) -> PyResult<Vec<Decision>> {
        let keys = self.hashes(keys)?;
        let set = &self.limits.set;
        Ok(py.detach(|| {
            with_limiter!(self.limits.table, limiter => {
                keys.iter().map(|key| Decision::of_set(&limiter.check_set_n(set, key, cost.0), &self.texts)).collect()
            })
        }))
    }

    /// `allow` of many keys, each by itself.
    #[pyo3(signature = (keys, cost = Cost::one()), text_signature = "($self, keys, cost=1)")]
    fn allow_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>, cost: Cost) -> PyResult<Vec<bool>> {
        let keys = self.hashes(keys)?;
        let set = &self.limits.set;
        Ok(py.detach(|| {
            with_limiter!(self.limits.table, limiter => {
                keys.iter().map(|key| limiter.check_set_n(set, key, cost.0).is_allowed()).collect()
            })
        }))
    }

    /// Takes a cost now for a request that may go within `max_wait` seconds; the decision if it would have to wait longer.
    fn reserve<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        cost: Cost,
        max_wait: f64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let key = self.begin(key)?;
        let max_wait = duration(max_wait, "max_wait")?;
        let mut refusal = None;
        let cell = Cell::new(Arc::clone(&self.limits), |limits| {
            with_limiter!(limits.table, limiter => match limiter.reserve_set(&limits.set, &key, cost.0, max_wait) {
                Ok(reservation) => Some(reservation),
                Err(decision) => {
                    refusal = Some(Decision::of_set(&decision, &self.texts));
                    None
                }
            })
        });
        Ok(match refusal {
            Some(decision) => Bound::new(py, decision)?.into_any(),
            None => Bound::new(py, Reservation::new(cell))?.into_any(),
        })
    }

    /// What the bucket of the key holds under each limit, as it is kept.
    fn state<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        let key = self.begin(key)?;
        let states = PyList::empty(py);
        for limit in self.limits.set.limits() {
            let state = with_limiter!(self.limits.table, limiter => limiter.under(limit).key(&key).state());
            let held = PyDict::new(py);
            match state {
                Some(BucketState::Bucket { balance }) => {
                    held.set_item("kind", "bucket")?;
                    held.set_item("balance", balance.as_fraction())?;
                }
                Some(BucketState::Window { count, previous_count, end }) => {
                    held.set_item("kind", "window")?;
                    held.set_item("count", count)?;
                    held.set_item("previous_count", previous_count)?;
                    held.set_item("end_ns", end.map(|end| end.as_nanos()))?;
                }
                Some(BucketState::Log { count, oldest }) => {
                    held.set_item("kind", "log")?;
                    held.set_item("count", count)?;
                    held.set_item("oldest_ns", oldest.map(|oldest| oldest.as_nanos()))?;
                }
                _ => held.set_item("kind", "unlimited")?,
            }
            states.append(held)?;
        }
        Ok(states)
    }

    /// What the clock shows, in nanoseconds since 1970.
    fn now_ns(&self, py: Python<'_>) -> PyResult<u64> {
        self.limits.table.tick(py)?;
        Ok(with_limiter!(self.limits.table, limiter => limiter.now().as_nanos()))
    }

    /// The limits, as text.
    #[getter]
    fn limits(&self) -> Vec<String> {
        self.texts.iter().map(ToString::to_string).collect()
    }

    /// Whether the table holds each limit exactly.
    #[getter]
    fn exact(&self) -> Vec<bool> {
        self.limits.set.limits().iter().map(|limit| limit.effective_rate().is_exact()).collect()
    }

    /// How the table is doing.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = with_limiter!(self.limits.table, limiter => limiter.stats());
        let answer = PyDict::new(py);
        answer.set_item("capacity", stats.capacity)?;
        answer.set_item("bytes", stats.bytes)?;
        answer.set_item("busy", stats.busy)?;
        answer.set_item("evictions", stats.evictions)?;
        answer.set_item("refused_full", stats.refused_full)?;
        answer.set_item("untracked", stats.untracked)?;
        answer.set_item("clock_steps", stats.clock_steps)?;
        Ok(answer)
    }

    /// Whether the file of a shared table was removed or replaced, so that others do not share this one any more.
    fn is_detached(&self) -> bool {
        with_limiter!(self.limits.table, limiter => limiter.shared().is_some_and(|shared| shared.is_detached()))
    }
}
