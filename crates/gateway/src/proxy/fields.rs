//! Fields that the operator sets, adds and removes, and bodies of the operator's own for what the gateway answers.

use std::fmt;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// One change of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// In place of all lines of that name.
    Set(HeaderName, HeaderValue),
    /// Beside the lines that are there.
    Add(HeaderName, HeaderValue),
    Remove(HeaderName),
}

/// The changes of all requests, and of all answers, the gateway's own among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) request: Vec<Edit>,
    pub(crate) response: Vec<Edit>,
}

/// What a client reads in place of the gateway's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnBody {
    pub(crate) content_type: HeaderValue,
    pub(crate) text: Bytes,
}

/// Whether a field frames the message or names its host: HTTP would break, or a request would go elsewhere.
pub(crate) fn is_fixed(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE].contains(name)
}

/// Makes `edits`, in their order.
pub(crate) fn edit(headers: &mut HeaderMap, edits: &[Edit]) {
    for edit in edits {
        match edit {
            Edit::Set(name, value) => {
                headers.insert(name, value.clone());
            }
            Edit::Add(name, value) => {
                headers.append(name, value.clone());
            }
            Edit::Remove(name) => {
                headers.remove(name);
            }
        }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(name, value) => write!(f, "{name} is set to `{}`", String::from_utf8_lossy(value.as_bytes())),
            Self::Add(name, value) => write!(f, "{name} `{}` is added", String::from_utf8_lossy(value.as_bytes())),
            Self::Remove(name) => write!(f, "{name} is removed"),
        }
    }
}
