//! Keys: what Python has, as the bytes that `tollgate::key` defines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyInt, PyList, PyString, PyTuple};
use tollgate::Key;
use tollgate::key::KeyWriter;

use crate::errors::value;

/// A key of any kind that Python has, but a text, which is [borrowed](text) where it can be.
pub(crate) enum AnyKey {
    Text(String),
    Octets(Vec<u8>),
    Natural(u128),
    Integer(i128),
    Truth(bool),
    Address(IpAddr),
    Tuple(Vec<AnyKey>),
    List(Vec<AnyKey>),
    Nothing,
}

impl Key for AnyKey {
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        match self {
            Self::Text(text) => text.write_to(out),
            Self::Octets(octets) => octets.write_to(out),
            Self::Natural(number) => number.write_to(out),
            Self::Integer(number) => number.write_to(out),
            Self::Truth(truth) => truth.write_to(out),
            Self::Address(address) => address.write_to(out),
            Self::Tuple(parts) => write_tuple(parts, out),
            Self::List(elements) => out.list(elements.iter()),
            Self::Nothing => None::<u8>.write_to(out),
        }
    }
}

/// The most parts that a tuple may have, as in the engine.
const MAX_PARTS: usize = 12;

/// How deep tuples and lists may lie in each other.
const MAX_DEPTH: usize = 16;

fn write_tuple<W: KeyWriter>(parts: &[AnyKey], out: &mut W) {
    match parts {
        [] => ().write_to(out),
        [a] => (a,).write_to(out),
        [a, b] => (a, b).write_to(out),
        [a, b, c] => (a, b, c).write_to(out),
        [a, b, c, d] => (a, b, c, d).write_to(out),
        [a, b, c, d, e] => (a, b, c, d, e).write_to(out),
        [a, b, c, d, e, f] => (a, b, c, d, e, f).write_to(out),
        [a, b, c, d, e, f, g] => (a, b, c, d, e, f, g).write_to(out),
        [a, b, c, d, e, f, g, h] => (a, b, c, d, e, f, g, h).write_to(out),
        [a, b, c, d, e, f, g, h, i] => (a, b, c, d, e, f, g, h, i).write_to(out),
        [a, b, c, d, e, f, g, h, i, j] => (a, b, c, d, e, f, g, h, i, j).write_to(out),
        [a, b, c, d, e, f, g, h, i, j, k] => (a, b, c, d, e, f, g, h, i, j, k).write_to(out),
        [a, b, c, d, e, f, g, h, i, j, k, l] => (a, b, c, d, e, f, g, h, i, j, k, l).write_to(out),
        // More are refused where they are read.
        more => out.list(more.iter()),
    }
}

/// The text, where it is one that has an UTF-8 form.
#[inline]
pub(crate) fn text<'a>(key: &'a Bound<'_, PyAny>) -> Option<&'a str> {
    key.cast::<PyString>().ok()?.to_str().ok()
}

/// Reads a key of another kind.
pub(crate) fn other(key: &Bound<'_, PyAny>, depth: usize) -> PyResult<AnyKey> {
    if depth > MAX_DEPTH {
        return Err(value(format!("a key may have tuples and lists {MAX_DEPTH} deep, and this one has more")));
    }
    if let Ok(text) = key.cast::<PyString>() {
        return Ok(match text.to_str() {
            Ok(text) => AnyKey::Text(text.to_owned()),
            // Half of a surrogate pair, as JSON can carry: a key that no text with a UTF-8 form is.
            Err(_) => {
                let octets: Vec<u8> = key.call_method1("encode", ("utf-8", "surrogatepass"))?.extract()?;
                AnyKey::Tuple(vec![AnyKey::Text("surrogatepass".to_owned()), AnyKey::Octets(octets)])
            }
        });
    }
    if let Ok(octets) = key.cast::<PyBytes>() {
        return Ok(AnyKey::Octets(octets.as_bytes().to_vec()));
    }
    if let Ok(truth) = key.cast::<PyBool>() {
        return Ok(AnyKey::Truth(truth.is_true()));
    }
    if key.is_instance_of::<PyInt>() {
        if let Ok(number) = key.extract::<u128>() {
            return Ok(AnyKey::Natural(number));
        }
        let bound = |_| PyOverflowError::new_err("an int that is a key must be from -2**127 to 2**128 - 1");
        return key.extract::<i128>().map(AnyKey::Integer).map_err(bound);
    }
    if let Ok(parts) = key.cast::<PyTuple>() {
        if parts.len() > MAX_PARTS {
            let text = format!("a tuple that is a key may have {MAX_PARTS} parts, and {} were given", parts.len());
            return Err(value(text));
        }
        return parts.iter().map(|part| other(&part, depth + 1)).collect::<PyResult<_>>().map(AnyKey::Tuple);
    }
    if let Ok(elements) = key.cast::<PyList>() {
        return elements.iter().map(|key| other(&key, depth + 1)).collect::<PyResult<_>>().map(AnyKey::List);
    }
    if key.is_none() {
        return Ok(AnyKey::Nothing);
    }
    address(key)?.map(AnyKey::Address).ok_or_else(|| {
        let kind = key.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
        PyTypeError::new_err(format!(
            "a key is a str, bytes, an int, a bool, an address of ipaddress, None, or a tuple or list of those, and `{kind}` was given"
        ))
    })
}

/// An `ipaddress.IPv4Address` or `IPv6Address`.
fn address(key: &Bound<'_, PyAny>) -> PyResult<Option<IpAddr>> {
    static CLASSES: PyOnceLock<[Py<PyAny>; 2]> = PyOnceLock::new();
    let py = key.py();
    let [v4, v6] = CLASSES.get_or_try_init(py, || -> PyResult<_> {
        let module = py.import("ipaddress")?;
        Ok([module.getattr("IPv4Address")?.unbind(), module.getattr("IPv6Address")?.unbind()])
    })?;
    if key.is_instance(v4.bind(py))? {
        let octets: [u8; 4] = key.getattr("packed")?.extract()?;
        return Ok(Some(Ipv4Addr::from(octets).into()));
    }
    if key.is_instance(v6.bind(py))? {
        let octets: [u8; 16] = key.getattr("packed")?.extract()?;
        return Ok(Some(Ipv6Addr::from(octets).into()));
    }
    Ok(None)
}

/// The bytes that a key is, the same on every machine and in every language.
#[pyfunction]
pub(crate) fn key_bytes<'py>(py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &tollgate::key::encode(&other(key, 0)?)))
}
