//! What is wrong with a file, and where.

use std::fmt;
use std::path::Path;

use crate::values::output::printable;

/// A place in a file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// The key, such as `policies[1].limits`; empty for the file as a whole.
    pub path: String,
    pub what: String,
}

impl Problem {
    /// The mistake in one line, as compilers write theirs: `tollgate.yaml:14:13: policies[1].limits: ...`.
    pub fn in_file(&self, file: &Path) -> String {
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
