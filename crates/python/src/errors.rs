//! What is wrong, as exceptions of `tollgate_limiter._errors`. They are defined in Python, since the stable interface of Python 3.10
//! cannot make subclasses of exceptions.

use pyo3::call::PyCallArgs;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tollgate::error::{BuildError, LimitError, ParseQuotaError};

fn raised<'py>(py: Python<'py>, class: &str, arguments: impl PyCallArgs<'py>) -> PyErr {
    let module = py.import("tollgate_limiter._errors");
    let error = module.and_then(|module| module.getattr(class)).and_then(|class| class.call1(arguments));
    error.map_or_else(|error| error, PyErr::from_value)
}

pub(crate) fn syntax(py: Python<'_>, error: &ParseQuotaError) -> PyErr {
    let text = error.to_string();
    raised(py, "LimitSyntaxError", (text, error.position(), error.expected(), error.found()))
}

pub(crate) fn limit(py: Python<'_>, error: &LimitError) -> PyErr {
    match error {
        LimitError::Text(error) => syntax(py, error),
        error => raised(py, "LimitValueError", (error.to_string(),)),
    }
}

/// A limit that cannot be held, for whatever reason.
pub(crate) fn limit_value(py: Python<'_>, text: &str) -> PyErr {
    raised(py, "LimitValueError", (text.to_owned(),))
}

pub(crate) fn build(py: Python<'_>, error: &BuildError) -> PyErr {
    match error {
        BuildError::Text(error) => syntax(py, error),
        BuildError::Shared { .. } => raised(py, "SharedTableError", (error.to_string(),)),
        error => raised(py, "LimitValueError", (error.to_string(),)),
    }
}

pub(crate) fn value(text: String) -> PyErr {
    PyValueError::new_err(text)
}
