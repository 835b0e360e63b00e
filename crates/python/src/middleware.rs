//! Applications of WSGI and ASGI behind the policies of `tollgate-http`.
//!
//! On the way of a request that is admitted no Python runs but the application's: the middleware is called, decides, and returns what
//! the application returns. `_middleware.py` has what a refusal, a queue or a bound on requests in flight needs.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use tollgate::clock::ManualClock;
use tollgate::shared::{Shared, TableClock};
use tollgate_http::answer::ResponseFields;
use tollgate_http::client::ClientAddress;
use tollgate_http::request::RequestView as _;
use tollgate_http::{Admission, ConfigError, Decision, LimiterConfig, RateLimiter};

use crate::decision::seconds;
use crate::errors;
use crate::limiter::{clock, on_mismatch};
use crate::request::{KeptField, Request, Wanted, asgi_field, asgi_fields, wsgi_field, wsgi_fields};
use crate::switch::is_off;
use crate::table::{Clock, now};

enum Limiter {
    System(RateLimiter<TableClock>),
    Given(RateLimiter<ManualClock>),
}

/// Policies over a table of buckets.
#[pyclass(frozen, module = "tollgate_limiter._engine")]
pub(crate) struct Policies(Arc<Rules>);

struct Rules {
    limiter: Limiter,
    wanted: Wanted,
    client: ClientAddress,
    python: Option<(Py<PyModule>, ManualClock)>,
    /// The field that lists the policies, which is the same on nearly all responses.
    listed: KeptField,
}

/// A request that may go, until its response has been sent.
enum Admitted {
    /// All is decided; these fields go on the response.
    Fields(ResponseFields),
    System(Admission<TableClock>),
    Given(Admission<ManualClock>),
    /// The response has begun, and nothing waits for its end.
    Done,
}

/// What a response is told.
enum Told {
    Nothing,
    Fields(ResponseFields),
    Headers(HeaderMap),
}

impl Admitted {
    /// The fields for a response of this status, which decides what it decides. Once.
    fn respond(&mut self, status: u16) -> Told {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers = HeaderMap::new();
        match self {
            Self::Fields(_) => {
                let Self::Fields(fields) = std::mem::replace(self, Self::Done) else { return Told::Nothing };
                return Told::Fields(fields);
            }
            Self::System(admission) => admission.respond(status, &mut headers),
            Self::Given(admission) => admission.respond(status, &mut headers),
            Self::Done => return Told::Nothing,
        }
        Told::Headers(headers)
    }
}

/// A request that may go, in the hands of the middleware: what its response is told to.
#[pyclass(frozen, module = "tollgate_limiter._engine")]
pub(crate) struct Guard {
    admitted: Mutex<Admitted>,
    /// Whether the response has begun, and with it the fields: what follows is passed on without a look.
    begun: AtomicBool,
    inner: Py<PyAny>,
    rules: Arc<Rules>,
}

impl Guard {
    fn new(admitted: Admitted, inner: &Bound<'_, PyAny>, rules: &Arc<Rules>) -> Self {
        let rules = Arc::clone(rules);
        Self { admitted: Mutex::new(admitted), begun: AtomicBool::new(false), inner: inner.clone().unbind(), rules }
    }

    /// Gives each field for a response of this status, to what makes an object of Python of it.
    fn respond(&self, status: u16, mut each: impl FnMut(&HeaderName, &HeaderValue) -> PyResult<()>) -> PyResult<()> {
        // Python's objects are made when the lock is open again, as to make one can run a finalizer, and so anything.
        let told = self.admitted.lock().unwrap_or_else(PoisonError::into_inner).respond(status);
        let mut done = Ok(());
        let each = |name: &HeaderName, value: &HeaderValue| {
            if done.is_ok() {
                done = each(name, value);
            }
        };
        match told {
            Told::Nothing => {}
            Told::Fields(fields) => fields.for_each(each),
            Told::Headers(headers) => {
                let mut each = each;
                headers.iter().for_each(|(name, value)| each(name, value));
            }
        }
        done
    }
}

#[pymethods]
impl Guard {
    /// Seconds for which the request waits before it goes.
    #[getter]
    fn wait(&self) -> f64 {
        match &*self.admitted.lock().unwrap_or_else(PoisonError::into_inner) {
            Admitted::System(admission) => seconds(admission.wait()),
            Admitted::Given(admission) => seconds(admission.wait()),
            Admitted::Fields(_) | Admitted::Done => 0.0,
        }
    }

    /// Once that is over: seconds for which it waits further, 0 if it goes.
    fn turn(&self) -> f64 {
        let turn = match &mut *self.admitted.lock().unwrap_or_else(PoisonError::into_inner) {
            Admitted::System(admission) => admission.turn(),
            Admitted::Given(admission) => admission.turn(),
            Admitted::Fields(_) | Admitted::Done => Ok(()),
        };
        turn.map_or_else(seconds, |()| 0.0)
    }

    /// For the collector: a response that failed may hold the traceback that holds it. See `AsgiCore` for why nothing is cleared.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.inner)
    }

    /// The header fields for a response of this status, which decides what it decides. Once.
    fn fields<'py>(&self, py: Python<'py>, status: u16) -> PyResult<Bound<'py, PyList>> {
        let fields = PyList::empty(py);
        self.respond(status, |name, value| fields.append(wsgi_field(py, name, value)?))?;
        Ok(fields)
    }

    /// The response has been sent, or there will be none: its places are free.
    fn end(&self) {
        *self.admitted.lock().unwrap_or_else(PoisonError::into_inner) = Admitted::Done;
    }

    /// The request did not go.
    fn withdraw(&self) {
        let mut admitted = self.admitted.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *admitted, Admitted::Done) {
            Admitted::System(admission) => admission.withdraw(),
            Admitted::Given(admission) => admission.withdraw(),
            Admitted::Fields(_) | Admitted::Done => {}
        }
    }

    /// `send` of ASGI, with one argument; `start_response` of WSGI, with two or three.
    #[pyo3(signature = (message, headers = None, *rest))]
    fn __call__<'py>(
        &self,
        py: Python<'py>,
        message: &Bound<'py, PyAny>,
        headers: Option<&Bound<'py, PyAny>>,
        rest: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let inner = self.inner.bind(py);
        if let Some(headers) = headers {
            // "429 Too Many Requests".
            let status = message.cast::<PyString>()?.to_str()?.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
            let all = copied(headers)?;
            self.respond(status, |name, value| all.append(wsgi_field(py, name, value)?))?;
            return match rest.is_empty() {
                true => inner.call1((message, all)),
                false => inner.call1((message, all, rest.get_item(0)?)),
            };
        }
        // Relaxed: who has seen that it has begun skips a look, and finds nothing in it otherwise.
        if self.begun.load(Ordering::Relaxed) {
            return inner.call1((message,));
        }
        let kind = message.get_item(pyo3::intern!(py, "type"))?;
        let kind = kind.cast::<PyString>()?.to_str()?;
        match kind {
            "http.response.start" => {
                let status = message.get_item(pyo3::intern!(py, "status"))?.extract().unwrap_or(0);
                inner.call1((self.with_fields(py, message, status)?,))
            }
            "websocket.accept" => inner.call1((self.with_fields(py, message, 101)?,)),
            _ => inner.call1((message,)),
        }
    }
}

impl Guard {
    /// The message with more header fields. A copy, and a copy of its list: a response that is used again owns both.
    fn with_fields<'py>(
        &self,
        py: Python<'py>,
        message: &Bound<'py, PyAny>,
        status: u16,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut headers = None;
        self.respond(status, |name, value| {
            let pair = match name.as_str() {
                "ratelimit-policy" => self.rules.listed.asgi(py, name, value)?,
                _ => asgi_field(py, name, value)?,
            };
            let headers = match &headers {
                Some(headers) => headers,
                None => headers.insert(match message.get_item(pyo3::intern!(py, "headers")) {
                    Ok(given) => copied(&given)?,
                    Err(error) if error.is_instance_of::<PyKeyError>(py) => PyList::empty(py),
                    Err(error) => return Err(error),
                }),
            };
            headers.append(pair)
        })?;
        self.begun.store(true, Ordering::Relaxed);
        let Some(headers) = headers else { return Ok(message.clone()) };
        let copy = message.cast::<PyDict>()?.copy()?;
        copy.set_item(pyo3::intern!(py, "headers"), headers)?;
        Ok(copy.into_any())
    }
}

/// A list of the same.
fn copied<'py>(given: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    if let Ok(list) = given.cast::<PyList>() {
        return Ok(list.get_slice(0, list.len()));
    }
    PyList::new(given.py(), given.try_iter()?.collect::<PyResult<Vec<_>>>()?)
}

/// What was decided about a request.
enum Decided {
    Admitted(Admitted),
    Refused(Response<Bytes>),
}

fn decided<C: tollgate::clock::Clock>(
    limiter: &RateLimiter<C>,
    request: &Request<'_, '_>,
    admitted: impl FnOnce(Admission<C>) -> Admitted,
) -> Decided {
    match limiter.check_at_once(request) {
        Some(Ok(fields)) => return Decided::Admitted(Admitted::Fields(fields)),
        Some(Err(response)) => return Decided::Refused(response),
        None => {}
    }
    match limiter.check(request) {
        Decision::Admitted(admission) => Decided::Admitted(admitted(admission)),
        Decision::Refused(refusal) => Decided::Refused(refusal.response()),
    }
}

impl Rules {
    fn check(&self, py: Python<'_>, request: &Request<'_, '_>) -> PyResult<Decided> {
        if is_off() {
            return Ok(Decided::Admitted(Admitted::Done));
        }
        if let Some((time, clock)) = &self.python {
            clock.set(now(time.bind(py))?);
        }
        Ok(match &self.limiter {
            Limiter::System(limiter) => decided(limiter, request, Admitted::System),
            Limiter::Given(limiter) => decided(limiter, request, Admitted::Given),
        })
    }
}

/// A configuration that cannot be used.
fn config_error(py: Python<'_>, error: &ConfigError) -> PyErr {
    match error {
        ConfigError::Build(error) => errors::build(py, error),
        error => PyValueError::new_err(error.to_string()),
    }
}

#[pymethods]
impl Policies {
    /// Of a configuration as JSON, under the keys of the gateway's file.
    #[new]
    #[pyo3(signature = (config, path = None, on_mismatch = "refuse", clock = None))]
    fn new(
        py: Python<'_>,
        config: &str,
        path: Option<PathBuf>,
        on_mismatch: &str,
        clock: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let config: LimiterConfig =
            serde_json::from_str(config).map_err(|error| PyValueError::new_err(said(&error)))?;
        let wanted = Wanted::of(&config);
        let client = config.client_address().clone();
        let mut python = None;
        let limiter = match self::clock(clock)? {
            Clock::System => {
                let shared = path.map_or_else(Shared::before_fork, Shared::at);
                let shared = shared.on_mismatch(self::on_mismatch(on_mismatch)?);
                py.detach(|| RateLimiter::shared(config, shared)).map(Limiter::System)
            }
            _ if path.is_some() => {
                let text = "a shared table goes by the clock of the system; give clock= or shared=, not both";
                return Err(PyValueError::new_err(text));
            }
            Clock::Manual(clock) => RateLimiter::with_clock(config, clock).map(Limiter::Given),
            Clock::Python => {
                let time = PyModule::import(py, "time")?;
                let clock = ManualClock::new(now(&time)?);
                python = Some((time.unbind(), clock.clone()));
                RateLimiter::with_clock(config, clock).map(Limiter::Given)
            }
        };
        let limiter = limiter.map_err(|error| config_error(py, &error))?;
        Ok(Self(Arc::new(Rules { limiter, wanted, client, python, listed: KeptField::new() })))
    }

    /// Decides about a request, an environ of WSGI or a scope of ASGI: a `Guard` if it may go; else status, header fields and body
    /// of the refusal.
    fn decide<'py>(&self, py: Python<'py>, request: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        let request = Request::of_either(request, &self.0.wanted)?;
        match self.0.check(py, &request)? {
            Decided::Refused(response) => {
                let body = PyBytes::new(py, response.body());
                let fields = wsgi_fields(py, response.headers())?;
                Ok((response.status().as_u16(), fields, body).into_pyobject(py)?.into_any())
            }
            Decided::Admitted(admitted) => {
                Ok(Bound::new(py, Guard::new(admitted, py.None().bind(py), &self.0))?.into_any())
            }
        }
    }

    /// The address of the client of a request, an environ of WSGI or a scope of ASGI; None if its peer has none.
    fn client(&self, request: &Bound<'_, PyDict>) -> PyResult<Option<String>> {
        let request = Request::of_either(request, &self.0.wanted)?;
        Ok(request.peer().map(|peer| self.0.client.client_ip(peer, &request).to_string()))
    }

    /// How each policy is doing in this process: its name, and how many requests it allowed, refused and would have refused.
    fn stats(&self) -> Vec<(String, u64, u64, u64)> {
        let policies = match &self.0.limiter {
            Limiter::System(limiter) => limiter.policies(0),
            Limiter::Given(limiter) => limiter.policies(0),
        };
        let row = |policy: tollgate_http::stats::PolicyStats| {
            (policy.name.clone(), policy.counts.allowed, policy.counts.refused, policy.counts.shadow_refused)
        };
        policies.into_iter().map(row).collect()
    }
}

/// Without the place in the JSON, which nobody has written.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").and_then(|at| text.get(..at)).unwrap_or(&text).to_owned()
}

/// An application of ASGI behind policies.
#[pyclass(frozen, subclass, module = "tollgate_limiter._engine")]
pub(crate) struct AsgiCore {
    app: Py<PyAny>,
    rules: Arc<Rules>,
    /// Called with what is refused, and with what has to wait.
    refuse: Py<PyAny>,
    later: Py<PyAny>,
    end: Py<PyAny>,
}

#[pymethods]
impl AsgiCore {
    #[new]
    fn new(
        app: Py<PyAny>,
        policies: &Bound<'_, Policies>,
        refuse: Py<PyAny>,
        later: Py<PyAny>,
        end: Py<PyAny>,
    ) -> Self {
        Self { app, rules: Arc::clone(&policies.get().0), refuse, later, end }
    }

    /// For the collector: an application that holds its own middleware goes when nobody else holds it. There is no `__clear__`, as
    /// with tuples: what is here never changes, so each cycle has a member that was changed later, and that one is cleared.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        [&self.app, &self.refuse, &self.later, &self.end].into_iter().try_for_each(|held| visit.call(held))
    }

    fn __call__<'py>(
        &self,
        py: Python<'py>,
        scope: &Bound<'py, PyDict>,
        receive: &Bound<'py, PyAny>,
        send: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let app = self.app.bind(py);
        let kind = scope.get_item(pyo3::intern!(py, "type"))?;
        let kind = kind.as_ref().and_then(|kind| kind.extract::<&str>().ok());
        if !matches!(kind, Some("http" | "websocket")) {
            return app.call1((scope, receive, send));
        }
        let request = Request::of_scope(scope, &self.rules.wanted)?;
        match self.rules.check(py, &request)? {
            Decided::Refused(response) => {
                let body = PyBytes::new(py, response.body());
                let headers = asgi_fields(py, response.headers())?;
                self.refuse.bind(py).call1((scope, receive, send, response.status().as_u16(), headers, body))
            }
            Decided::Admitted(admitted) => {
                let is_done = matches!(admitted, Admitted::Fields(_) | Admitted::Done);
                let guard = Bound::new(py, Guard::new(admitted, send, &self.rules))?;
                if is_done {
                    return app.call1((scope, receive, guard));
                }
                let waits = guard.get().wait() > 0.0;
                let then = if waits { &self.later } else { &self.end };
                then.bind(py).call1((app, scope, receive, guard))
            }
        }
    }
}

/// An application of WSGI behind policies.
#[pyclass(frozen, subclass, module = "tollgate_limiter._engine")]
pub(crate) struct WsgiCore {
    app: Py<PyAny>,
    rules: Arc<Rules>,
    later: Py<PyAny>,
}

#[pymethods]
impl WsgiCore {
    #[new]
    fn new(app: Py<PyAny>, policies: &Bound<'_, Policies>, later: Py<PyAny>) -> Self {
        Self { app, rules: Arc::clone(&policies.get().0), later }
    }

    /// See `AsgiCore`.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.app)?;
        visit.call(&self.later)
    }

    fn __call__<'py>(
        &self,
        py: Python<'py>,
        environ: &Bound<'py, PyDict>,
        start_response: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let app = self.app.bind(py);
        let request = Request::of_environ(environ, &self.rules.wanted)?;
        match self.rules.check(py, &request)? {
            Decided::Refused(response) => {
                let status = response.status();
                let line = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or("Refused"));
                let body = PyBytes::new(py, response.body());
                let headers = wsgi_fields(py, response.headers())?;
                headers.append(("content-length", response.body().len().to_string()))?;
                start_response.call1((line, headers))?;
                Ok(PyList::new(py, [body])?.into_any())
            }
            Decided::Admitted(admitted) => {
                let is_done = matches!(admitted, Admitted::Fields(_) | Admitted::Done);
                let guard = Bound::new(py, Guard::new(admitted, start_response, &self.rules))?;
                if is_done {
                    return app.call1((environ, guard));
                }
                self.later.bind(py).call1((app, environ, guard))
            }
        }
    }
}
