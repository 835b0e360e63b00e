//! What is wrong with a file, and where.

use std::fmt;
use std::path::Path;

use crate::output::printable;

/// A place in a file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u64,
    pub(crate) column: u64,
}

impl Place {
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) place: Place,
    /// The key, such as `policies[1].limits`; empty for the file as a whole.
    pub(crate) path: String,
    pub(crate) what: String,
}

impl Problem {
    /// The mistake in one line, as compilers write theirs: `tollgate.yaml:14:13: policies[1].limits: ...`.
    pub(crate) fn in_file(&self, file: &Path) -> String {
        format!("{}:{self}", file.display())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line for each mistake, whatever the file holds.
        let (path, what) = (printable(&self.path), printable(&self.what));
        let separator = if path.is_empty() { "" } else { ": " };
        write!(f, "{}:{}: {path}{separator}{what}", self.place.line, self.place.column)
    }
}
