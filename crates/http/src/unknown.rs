//! A name in a configuration that means nothing.

use core::fmt;

/// A name that is none of those known where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownName {
    /// What was to be named, such as a dialect.
    pub what: &'static str,
    /// The name that was given.
    pub given: String,
    /// The names that are known.
    pub known: &'static [&'static str],
}

impl UnknownName {
    pub(crate) fn new(what: &'static str, given: &str, known: &'static [&'static str]) -> Self {
        Self { what, given: given.to_owned(), known }
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no {}; expected one of {}", self.given.escape_debug(), self.what, self.known.join(", "))
    }
}

impl core::error::Error for UnknownName {}
