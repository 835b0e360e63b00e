//! Limits that are counted on a server of Redis: what to send, and what the answers mean, by `tollgate-redis`. The call itself is the
//! user's client's.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyString, PyTuple};
use tollgate::Report;
use tollgate::clock::Instant;
use tollgate_http::answer::{Dialect, LimitStatus, QuotaUnit};
use tollgate_redis::calls::{Answer, Command, FleetCalls, FleetChange, FleetCheck};
use tollgate_redis::error::{LimitError, Outage};
use tollgate_redis::{FleetLimit, FleetSetDecision, OnOutage};

use crate::decision::Decision;
use crate::errors::{self, value};
use crate::key;
use crate::limiter::{Core, Cost};
use crate::request::wsgi_fields;
use crate::reservation::Limits;
use crate::table::with_limiter;

/// The limits of a limiter, as a fleet holds them; the limiter's own table decides during an outage.
#[pyclass(frozen, module = "tollgate_limiter._engine")]
pub(crate) struct Fleet(Arc<Shared>);

struct Shared {
    calls: FleetCalls,
    limits: Vec<FleetLimit>,
    texts: Arc<[Box<str>]>,
    /// What clients are told the limits are called.
    names: Box<[Box<str>]>,
    local: Arc<Limits>,
}

/// What is asked of a server, until it has been answered.
#[pyclass(frozen, module = "tollgate_limiter._engine")]
pub(crate) struct Question {
    fleet: Arc<Shared>,
    /// Of each limit that is asked about: its fleet, the place of that among those that were given, and its place there.
    whose: Vec<(Arc<Shared>, usize, usize)>,
    /// Taken when it is over.
    asked: Mutex<Option<Asked>>,
    /// What it came to.
    decided: Mutex<Option<FleetSetDecision>>,
}

enum Asked {
    Check(FleetCheck),
    Changes(Vec<FleetChange>),
}

fn limit_error(py: Python<'_>, error: LimitError) -> PyErr {
    match error {
        LimitError::Text(error) => errors::syntax(py, &error),
        LimitError::Local(error) => errors::limit(py, &error),
        error => errors::limit_value(py, &error.to_string()),
    }
}

#[pymethods]
impl Fleet {
    #[new]
    fn new(
        core: &Bound<'_, Core>,
        name: &str,
        secret: &Bound<'_, PyAny>,
        on_outage: &str,
        nodes: Option<u64>,
    ) -> PyResult<Self> {
        let py = core.py();
        let secret = match secret.cast::<PyString>() {
            Ok(text) => text.to_str()?.as_bytes().to_vec(),
            Err(_) => secret.cast::<PyBytes>()?.as_bytes().to_vec(),
        };
        let on_outage: OnOutage = on_outage.parse().map_err(|error| value(format!("on_outage: {error}")))?;
        let calls = FleetCalls::new(secret, nodes).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let local = Arc::clone(core.get().held());
        let quotas = local.set.limits().iter().map(|limit| *limit.quota());
        let mut limits: Vec<FleetLimit> = Vec::new();
        for quota in quotas {
            let mut called = name.to_owned();
            let mut number = 1_u32;
            // Of one period and algorithm, the second is called `name-2`: else they were one bucket, and each request counted twice.
            let limit = loop {
                let limit = with_limiter!(local.table, limiter => calls.limit(limiter, &called, quota, on_outage));
                let limit = limit.map_err(|error| limit_error(py, error))?;
                if !limits.iter().any(|other| other.shares_keys_with(&limit)) {
                    break limit;
                }
                number = number.saturating_add(1);
                called = format!("{name}-{number}");
            };
            limits.push(limit);
        }
        let texts = Arc::clone(core.get().texts());
        let names = core.get().names().into();
        Ok(Self(Arc::new(Shared { calls, limits, texts, names, local })))
    }

    /// Takes the cost of every limit, or of none; with `peek`, asks what that would answer.
    fn check(&self, key: &Bound<'_, PyAny>, cost: Cost, peek: bool) -> PyResult<Question> {
        let items = self.items(key, cost.0)?;
        let calls = &self.0.calls;
        Ok(self.question(Asked::Check(if peek { calls.peek(items) } else { calls.check(items) })))
    }

    /// `check` of several fleets over one table, each under a key and at a cost of its own: all admit, and are charged, or none is.
    #[staticmethod]
    fn check_all(items: Vec<(Bound<'_, Self>, Bound<'_, PyAny>, Cost)>) -> PyResult<Question> {
        let Some((first, _, _)) = items.first() else {
            return Err(value("expected at least one limiter, and none was given".to_owned()));
        };
        let first = &first.get().0;
        let mut whose = Vec::new();
        let mut parts = Vec::new();
        for (at, (fleet, key, cost)) in items.iter().enumerate() {
            let fleet = fleet.get();
            if !Arc::ptr_eq(&fleet.0.local.table, &first.local.table) {
                return Err(value("limiters that are checked together must be of one table: see prepare".to_owned()));
            }
            parts.extend(fleet.items(key, cost.0)?);
            whose.extend((0..fleet.0.limits.len()).map(|index| (Arc::clone(&fleet.0), at, index)));
        }
        let asked = Mutex::new(Some(Asked::Check(first.calls.check(parts))));
        Ok(Question { fleet: Arc::clone(first), whose, asked, decided: Mutex::new(None) })
    }

    /// Gives back, charges or resets, one limit after the other: `how` is "refund", "charge" or "reset".
    fn change(&self, key: &Bound<'_, PyAny>, cost: Cost, how: &str) -> PyResult<Question> {
        let calls = &self.0.calls;
        let change = |item| match how {
            "refund" => Ok(calls.refund(item)),
            "charge" => Ok(calls.charge(item)),
            "reset" => Ok(calls.reset(item)),
            other => Err(value(format!("how is \"refund\", \"charge\" or \"reset\", and {other:?} was given"))),
        };
        let changes = self.items(key, cost.0)?.into_iter().map(change).collect::<PyResult<_>>()?;
        Ok(self.question(Asked::Changes(changes)))
    }
}

impl Fleet {
    fn question(&self, asked: Asked) -> Question {
        let whose = (0..self.0.limits.len()).map(|index| (Arc::clone(&self.0), 0, index)).collect();
        Question { fleet: Arc::clone(&self.0), whose, asked: Mutex::new(Some(asked)), decided: Mutex::new(None) }
    }

    fn items(&self, key: &Bound<'_, PyAny>, cost: u64) -> PyResult<Vec<tollgate_redis::FleetItem>> {
        let (calls, limits) = (&self.0.calls, self.0.limits.iter());
        if let Some(text) = key::text(key) {
            return Ok(limits.map(|limit| calls.item(limit, text, cost)).collect());
        }
        let key = key::other(key, 0)?;
        Ok(limits.map(|limit| calls.item(limit, &key, cost)).collect())
    }
}

impl Asked {
    fn command<'a>(&self, calls: &'a FleetCalls) -> Option<Command<'a>> {
        match self {
            Self::Check(check) => check.command(calls),
            Self::Changes(changes) => changes.iter().find_map(|change| change.command(calls)),
        }
    }

    fn read(&mut self, calls: &FleetCalls, answer: &Answer) -> Result<(), Outage> {
        match self {
            Self::Check(check) => check.read(answer),
            Self::Changes(changes) => {
                let open = changes.iter_mut().find(|change| change.command(calls).is_some());
                open.map_or(Ok(()), |change| change.read(answer))
            }
        }
    }
}

impl Question {
    fn decision(&self, set: FleetSetDecision) -> Decision {
        let decision = set.decision();
        let report = Report { remaining: set.remaining(), ..decision.report() };
        let (fleet, index) = self.whose.get(set.index()).map_or((&self.fleet, 0), |(fleet, _, index)| (fleet, *index));
        let outage = decision.outage().map(ToString::to_string);
        *self.decided.lock().unwrap_or_else(PoisonError::into_inner) = Some(set);
        Decision::new(report, index, &fleet.texts).with_outage(outage)
    }
}

#[pymethods]
impl Question {
    /// The command to send now, as arguments; with `whole`, the one with the script itself. None once all is answered.
    #[pyo3(signature = (whole = false))]
    fn command<'py>(&self, py: Python<'py>, whole: bool) -> PyResult<Option<Bound<'py, PyList>>> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(command) = asked.as_ref().and_then(|asked| asked.command(&self.fleet.calls)) else {
            return Ok(None);
        };
        let list = PyList::empty(py);
        list.append(if whole { "EVAL" } else { "EVALSHA" })?;
        list.append(if whole { command.script } else { command.digest })?;
        list.append(command.keys.len())?;
        for text in command.keys.iter().chain(&command.args) {
            list.append(PyBytes::new(py, text.as_bytes()))?;
        }
        Ok(Some(list))
    }

    /// Reads the answer to the command. What is wrong with it, if it is none.
    fn read(&self, reply: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let answer = answer(reply, 0)?;
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(asked) = asked.as_mut() else { return Ok(None) };
        Ok(asked.read(&self.fleet.calls, &answer).err().map(|outage| outage.to_string()))
    }

    /// What was answered: of a check the decision; of a change how much was taken of the limit that took least.
    fn done<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        match asked {
            Some(Asked::Check(check)) => Ok(Bound::new(py, self.decision(check.decision()))?.into_any()),
            Some(Asked::Changes(changes)) => {
                let taken = changes.iter().map(|change| change.done().unwrap_or(0)).min().unwrap_or(0);
                Ok(PyInt::new(py, taken).into_any())
            }
            None => Err(PyValueError::new_err("this question is over")),
        }
    }

    /// Once it is decided: whose limit decided, of the fleets that were given, and the header fields that tell it in a dialect.
    fn told<'py>(&self, py: Python<'py>, dialect: &str) -> PyResult<(usize, Bound<'py, PyList>)> {
        let dialect: Dialect =
            dialect.parse().map_err(|error: tollgate_http::error::UnknownName| value(error.to_string()))?;
        let decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        let place = decided.as_ref().and_then(|set| Some((set.decision(), self.whose.get(set.index())?)));
        let Some((decision, (fleet, at, index))) = place else {
            return Err(value("this question is not decided".to_owned()));
        };
        let local = || with_limiter!(self.fleet.local.table, limiter => limiter.now());
        let now = decision.at_micros().map_or_else(local, |us| Instant::from_nanos(us.saturating_mul(1_000)));
        let all = self.whose.iter().filter_map(|(fleet, _, index)| {
            Some((&**fleet.names.get(*index)?, fleet.limits.get(*index)?.quota(), QuotaUnit::Requests))
        });
        let mut headers = HeaderMap::new();
        if let (Some(name), Some(limit)) = (fleet.names.get(*index), fleet.limits.get(*index)) {
            let status = LimitStatus::of_report(name, limit.quota(), now, decision.report());
            dialect.write(&mut headers, &status, &dialect.policies(all));
        }
        let at = *at;
        // Python's objects are made when the lock is open again, as to make one can run a finalizer, and so anything.
        drop(decided);
        Ok((at, wsgi_fields(py, &headers)?))
    }

    /// What is decided if no server answered: of a check the decision, of a change nothing, for it may or may not have been made.
    /// `kind` is "deadline", "disconnected", "unreadable", "busy" or "refused", and `text` what the server said.
    fn outage<'py>(&self, py: Python<'py>, kind: &str, text: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let outage = match kind {
            "deadline" => Outage::Deadline,
            "disconnected" => Outage::Disconnected,
            "unreadable" => Outage::Unreadable,
            "busy" => Outage::Busy,
            _ => Outage::Refused(text.to_owned()),
        };
        let local = &self.fleet.local;
        local.table.tick(py)?;
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).take();
        match asked {
            Some(Asked::Check(check)) => {
                let set = with_limiter!(local.table, limiter => check.outage(limiter, &outage));
                Ok(Some(Bound::new(py, self.decision(set))?.into_any()))
            }
            Some(Asked::Changes(changes)) => {
                let open = changes.iter().filter(|change| change.done().is_none());
                with_limiter!(local.table, limiter => open.for_each(|change| change.outage(limiter)));
                Ok(None)
            }
            None => Err(PyValueError::new_err("this question is over")),
        }
    }
}

/// How deep an answer of a script lies, and more than that.
const MAX_DEPTH: usize = 8;

/// What a client made of a server's answer.
fn answer(reply: &Bound<'_, PyAny>, depth: usize) -> PyResult<Answer> {
    if let Ok(octets) = reply.cast::<PyBytes>() {
        return Ok(Answer::Text(octets.as_bytes().to_vec()));
    }
    if let Ok(text) = reply.cast::<PyString>() {
        return Ok(text.to_str().map_or(Answer::Other, |text| Answer::Text(text.as_bytes().to_vec())));
    }
    if reply.is_exact_instance_of::<PyInt>() {
        return Ok(reply.extract().map_or(Answer::Other, Answer::Number));
    }
    if depth < MAX_DEPTH && (reply.is_instance_of::<PyList>() || reply.is_instance_of::<PyTuple>()) {
        let parts = reply.try_iter()?.map(|part| answer(&part?, depth + 1));
        return parts.collect::<PyResult<_>>().map(Answer::List);
    }
    Ok(Answer::Other)
}
