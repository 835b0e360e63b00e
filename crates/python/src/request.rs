//! A request of WSGI or ASGI, as the rules of `tollgate-http` look at it.

use std::cell::OnceCell;
use std::net::IpAddr;

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use tollgate_http::request::{FieldLines, Fields, RequestView};

/// What the rules look at, of a request that may be of either interface.
#[derive(Debug)]
pub(crate) struct Request<'a, 'py> {
    given: &'a Bound<'py, PyDict>,
    method: String,
    path: String,
    query: Option<String>,
    peer: Option<IpAddr>,
    user: Option<String>,
    /// Of those that the rules look at, in the order in which they came.
    fields: Vec<(HeaderName, Vec<u8>)>,
    /// The type of the content, of rules that do not look at it: a refusal does, as one of gRPC has another form. Read when it is
    /// asked for.
    content_type: OnceCell<Vec<Vec<u8>>>,
}

/// Which parts of a request are read.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) target: bool,
    /// The fields, and what WSGI calls them.
    pub(crate) fields: Vec<(HeaderName, String)>,
}

impl Wanted {
    pub(crate) fn of(config: &tollgate_http::LimiterConfig) -> Self {
        let looks_at = config.looks_at();
        let mut names = looks_at.header_fields;
        // Asked for beside the target.
        if looks_at.target && !names.contains(&http::header::HOST) {
            names.push(http::header::HOST);
        }
        let wsgi = |name: &HeaderName| match name.as_str() {
            "content-type" => "CONTENT_TYPE".to_owned(),
            "content-length" => "CONTENT_LENGTH".to_owned(),
            name => format!("HTTP_{}", name.to_ascii_uppercase().replace('-', "_")),
        };
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        let fields = names.into_iter().map(|name| (name.clone(), wsgi(&name))).collect();
        Self { target: looks_at.target || looks_at.method, fields }
    }
}

impl<'a, 'py> Request<'a, 'py> {
    fn of(given: &'a Bound<'py, PyDict>) -> Self {
        let (method, path, fields) = (String::new(), String::new(), Vec::new());
        Self { given, method, path, query: None, peer: None, user: None, fields, content_type: OnceCell::new() }
    }

    /// Of an environ of WSGI, which has a method, or of a scope of ASGI.
    pub(crate) fn of_either(request: &'a Bound<'py, PyDict>, wanted: &Wanted) -> PyResult<Self> {
        if request.contains(pyo3::intern!(request.py(), "REQUEST_METHOD"))? {
            return Self::of_environ(request, wanted);
        }
        Self::of_scope(request, wanted)
    }

    /// Of the scope of ASGI.
    pub(crate) fn of_scope(scope: &'a Bound<'py, PyDict>, wanted: &Wanted) -> PyResult<Self> {
        let py = scope.py();
        let mut request = Self::of(scope);
        if let Some(client) = scope.get_item(pyo3::intern!(py, "client"))?.filter(|client| !client.is_none()) {
            // Of some test clients it is empty.
            request.peer = part(&client, 0).ok().and_then(|host| address(&host));
        }
        if wanted.target {
            // A WebSocket is opened by a GET.
            request.method = match scope.get_item(pyo3::intern!(py, "method"))? {
                Some(method) => method.extract()?,
                None => "GET".to_owned(),
            };
            // As the application routes by it: decoded once. What `raw_path` says besides, it does not see.
            if let Some(path) = scope.get_item(pyo3::intern!(py, "path"))? {
                request.path = encoded(octets_of(&path)?.iter().copied());
            }
            if let Some(query) = scope.get_item(pyo3::intern!(py, "query_string"))? {
                request.query = Some(String::from_utf8_lossy(&query.extract::<Vec<u8>>()?).into_owned());
            }
        }
        if wanted.fields.is_empty() {
            return Ok(request);
        }
        each_line(scope, |name, value| {
            let known = |(known, _): &&(HeaderName, String)| name.eq_ignore_ascii_case(known.as_str().as_bytes());
            if let Some((known, _)) = wanted.fields.iter().find(known) {
                request.fields.push((known.clone(), value.to_vec()));
            }
        })?;
        Ok(request)
    }

    /// The lines of the type of the content.
    fn content_type(&self) -> PyResult<Vec<Vec<u8>>> {
        let py = self.given.py();
        if self.given.contains(pyo3::intern!(py, "REQUEST_METHOD"))? {
            let given = self.given.get_item(pyo3::intern!(py, "CONTENT_TYPE"))?;
            return given.iter().map(latin1).collect();
        }
        let mut lines = Vec::new();
        each_line(self.given, |name, value| {
            if name.eq_ignore_ascii_case(CONTENT_TYPE.as_str().as_bytes()) {
                lines.push(value.to_vec());
            }
        })?;
        Ok(lines)
    }

    /// Of the environ of WSGI.
    pub(crate) fn of_environ(environ: &'a Bound<'py, PyDict>, wanted: &Wanted) -> PyResult<Self> {
        let py = environ.py();
        let mut request = Self::of(environ);
        if let Some(peer) = environ.get_item(pyo3::intern!(py, "REMOTE_ADDR"))? {
            request.peer = address(&peer);
        }
        if let Some(user) = environ.get_item(pyo3::intern!(py, "REMOTE_USER"))? {
            request.user = user.extract::<String>().ok().filter(|user| !user.is_empty());
        }
        if wanted.target {
            if let Some(method) = environ.get_item(pyo3::intern!(py, "REQUEST_METHOD"))? {
                request.method = method.extract()?;
            }
            let mut octets = Vec::new();
            for name in [pyo3::intern!(py, "SCRIPT_NAME"), pyo3::intern!(py, "PATH_INFO")] {
                if let Some(part) = environ.get_item(name)? {
                    octets.extend(latin1(&part)?);
                }
            }
            request.path = encoded(octets.into_iter());
            if let Some(query) = environ.get_item(pyo3::intern!(py, "QUERY_STRING"))? {
                request.query = Some(query.extract()?);
            }
        }
        for (name, key) in &wanted.fields {
            if let Some(value) = environ.get_item(key)? {
                request.fields.push((name.clone(), latin1(&value)?));
            }
        }
        Ok(request)
    }
}

/// Gives each header line of a scope of ASGI.
fn each_line(scope: &Bound<'_, PyDict>, mut each: impl FnMut(&[u8], &[u8])) -> PyResult<()> {
    let Some(headers) = scope.get_item(pyo3::intern!(scope.py(), "headers"))? else { return Ok(()) };
    for line in headers.try_iter()? {
        let line = line?;
        let (name, value) = (part(&line, 0)?, part(&line, 1)?);
        if let (Ok(name), Ok(value)) = (name.cast::<PyBytes>(), value.cast::<PyBytes>()) {
            each(name.as_bytes(), value.as_bytes());
        }
    }
    Ok(())
}

/// A part of a pair; of a tuple, as nearly all are, without asking how it is looked into.
fn part<'py>(pair: &Bound<'py, PyAny>, index: usize) -> PyResult<Bound<'py, PyAny>> {
    match pair.cast::<PyTuple>() {
        Ok(pair) => pair.get_item(index),
        Err(_) => pair.get_item(index),
    }
}

/// The octets of a text of WSGI, each of them a character.
fn latin1(text: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let text = text.cast::<PyString>()?;
    match text.to_str() {
        Ok(ascii) if ascii.is_ascii() => Ok(ascii.as_bytes().to_vec()),
        _ => text.call_method1("encode", ("latin-1", "replace"))?.extract(),
    }
}

/// The octets of a path of ASGI.
fn octets_of(path: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    let path = path.cast::<PyString>()?;
    match path.to_str() {
        Ok(text) => Ok(text.as_bytes().to_vec()),
        Err(_) => path.call_method1("encode", ("utf-8", "surrogatepass"))?.extract(),
    }
}

/// A path that was decoded, in a form that is decoded to the same.
fn encoded(octets: impl Iterator<Item = u8>) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut path = String::new();
    for octet in octets {
        if octet.is_ascii_graphic() && !b"%?#\\".contains(&octet) {
            path.push(char::from(octet));
        } else {
            path.push('%');
            path.push(char::from(DIGITS[usize::from(octet >> 4)]));
            path.push(char::from(DIGITS[usize::from(octet & 15)]));
        }
    }
    path
}

/// The address in a text; nothing if there is none, as of a socket of Unix.
fn address(text: &Bound<'_, PyAny>) -> Option<IpAddr> {
    let text = text.cast::<PyString>().ok()?.to_str().ok()?;
    // As nearly all are; or with a zone, which is of this machine and no part of who the client is.
    text.parse().ok().or_else(|| text.split('%').next()?.parse().ok())
}

impl Fields for Request<'_, '_> {
    fn field<'f>(&'f self, name: &HeaderName, lines: &mut FieldLines<'f>) {
        if name == CONTENT_TYPE && self.fields.iter().all(|(known, _)| known != name) {
            // What cannot be read is no type that is known.
            let read = || self.content_type().unwrap_or_default();
            self.content_type.get_or_init(read).iter().for_each(|value| lines.push(value));
        }
        self.fields.iter().filter(|(known, _)| known == name).for_each(|(_, value)| lines.push(value));
    }
}

impl RequestView for Request<'_, '_> {
    fn method(&self) -> &str {
        &self.method
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

/// A field of ASGI that was made before, for as long as its value is the same.
pub(crate) struct KeptField(PyOnceLock<(HeaderValue, Py<PyTuple>)>);

impl KeptField {
    pub(crate) const fn new() -> Self {
        Self(PyOnceLock::new())
    }

    /// The pair; made anew if the value is another one than at first.
    pub(crate) fn asgi<'py>(
        &self,
        py: Python<'py>,
        name: &HeaderName,
        value: &HeaderValue,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let made = || asgi_field(py, name, value).map(|pair| (value.clone(), pair.unbind()));
        let (kept, pair) = self.0.get_or_try_init(py, made)?;
        if kept == value { Ok(pair.bind(py).clone()) } else { asgi_field(py, name, value) }
    }
}

/// A header field as ASGI has it: a pair of bytes.
pub(crate) fn asgi_field<'py>(
    py: Python<'py>,
    name: &HeaderName,
    value: &HeaderValue,
) -> PyResult<Bound<'py, PyTuple>> {
    static LIMIT: PyOnceLock<Py<PyBytes>> = PyOnceLock::new();
    let made = || PyBytes::new(py, name.as_str().as_bytes());
    // That which nearly all responses have is made once.
    let name = match name.as_str() {
        "ratelimit" => LIMIT.get_or_init(py, || made().unbind()).bind(py).clone(),
        _ => made(),
    };
    PyTuple::new(py, [name, PyBytes::new(py, value.as_bytes())])
}

/// Header fields as ASGI has them.
pub(crate) fn asgi_fields<'py>(py: Python<'py>, headers: &http::HeaderMap) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, headers.iter().map(|(name, value)| asgi_field(py, name, value)).collect::<PyResult<Vec<_>>>()?)
}

/// A header field as WSGI has it: a pair of texts, in which each octet is a character.
pub(crate) fn wsgi_field<'py>(
    py: Python<'py>,
    name: &HeaderName,
    value: &HeaderValue,
) -> PyResult<Bound<'py, PyTuple>> {
    let value = match value.to_str() {
        Ok(ascii) => PyString::new(py, ascii),
        Err(_) => PyString::new(py, &value.as_bytes().iter().copied().map(char::from).collect::<String>()),
    };
    PyTuple::new(py, [PyString::new(py, name.as_str()), value])
}

/// Header fields as WSGI has them.
pub(crate) fn wsgi_fields<'py>(py: Python<'py>, headers: &http::HeaderMap) -> PyResult<Bound<'py, PyList>> {
    PyList::new(py, headers.iter().map(|(name, value)| wsgi_field(py, name, value)).collect::<PyResult<Vec<_>>>()?)
}
