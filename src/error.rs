//! What can be wrong with what a caller gives: every error names the value, and the bound that it broke.

use core::fmt;

#[cfg(not(tollgate_model))]
pub use crate::clock::ClockError;
pub use crate::quota::{QuotaError, UnknownAlgorithm};
pub use crate::rate::ParseQuotaError;
pub use crate::set::{LimitSetError, ReserveError};
#[cfg(all(target_os = "linux", target_pointer_width = "64", not(tollgate_model)))]
pub use crate::shared::error::SharedError;
#[cfg(not(tollgate_model))]
pub use crate::snapshot::RestoreError;
#[cfg(feature = "async")]
pub use crate::wait::WaitError;

/// A limit, or a set of limits, that cannot be made of what was given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitError {
    /// The text is not the rate, or the list of rates, that was asked for.
    Text(ParseQuotaError),
    /// A quota is out of bounds.
    Quota(QuotaError),
    /// The limits cannot be decided together.
    Set(LimitSetError),
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(error) => error.fmt(f),
            Self::Quota(error) => error.fmt(f),
            Self::Set(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for LimitError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Text(error) => Some(error),
            Self::Quota(error) => Some(error),
            Self::Set(error) => Some(error),
        }
    }
}

impl From<ParseQuotaError> for LimitError {
    fn from(error: ParseQuotaError) -> Self {
        Self::Text(error)
    }
}

impl From<QuotaError> for LimitError {
    fn from(error: QuotaError) -> Self {
        Self::Quota(error)
    }
}

impl From<LimitSetError> for LimitError {
    fn from(error: LimitSetError) -> Self {
        Self::Set(error)
    }
}

/// A limiter that cannot be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A text given for a quota is no rate.
    Text(ParseQuotaError),
    /// The quota given at construction cannot be used.
    Quota(QuotaError),
    /// The capacity is outside what a table can hold.
    Capacity {
        /// The capacity that was asked for, in keys.
        capacity: usize,
        /// The largest capacity, in keys.
        max: usize,
    },
    /// The operating system did not reserve the memory for the table.
    Memory {
        /// How many bytes were asked for.
        bytes: usize,
        /// What the operating system answered.
        source: std::io::Error,
    },
    /// The operating system gave no random bytes for the seed of the hash, without which a client could choose keys that share
    /// slots. [`LimiterBuilder::fixed_seed`](crate::LimiterBuilder::fixed_seed) does without, where nobody would.
    Entropy(std::io::Error),
    /// A table for several processes was neither made nor attached.
    #[cfg(all(target_os = "linux", target_pointer_width = "64", not(tollgate_model)))]
    Shared {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        source: SharedError,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(error) => error.fmt(f),
            Self::Quota(error) => error.fmt(f),
            Self::Capacity { capacity, max } => {
                write!(f, "the capacity must be from 1 to {max} keys, and {capacity} was given")
            }
            Self::Memory { bytes, source } => write!(f, "reserving {bytes} bytes for the table failed: {source}"),
            Self::Entropy(source) => {
                write!(f, "drawing the seed of the hash from the operating system failed: {source}")
            }
            #[cfg(all(target_os = "linux", target_pointer_width = "64", not(tollgate_model)))]
            Self::Shared { path, source } => write!(f, "the shared table {}: {source}", path.display()),
        }
    }
}

impl core::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Text(error) => Some(error),
            Self::Quota(error) => Some(error),
            Self::Memory { source, .. } | Self::Entropy(source) => Some(source),
            #[cfg(all(target_os = "linux", target_pointer_width = "64", not(tollgate_model)))]
            Self::Shared { source, .. } => Some(source),
            Self::Capacity { .. } => None,
        }
    }
}

impl From<ParseQuotaError> for BuildError {
    fn from(error: ParseQuotaError) -> Self {
        Self::Text(error)
    }
}

impl From<QuotaError> for BuildError {
    fn from(error: QuotaError) -> Self {
        Self::Quota(error)
    }
}
