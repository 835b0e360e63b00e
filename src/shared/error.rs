//! What can be wrong with a shared table: every error says what was found, and what was expected.

use core::fmt;
use core::time::Duration;
use std::io;

use crate::on_full::OnFull;

/// Why a table that several processes share was neither made nor attached; with the path in
/// [`BuildError::Shared`](crate::error::BuildError::Shared).
#[derive(Debug)]
#[non_exhaustive]
pub enum SharedError {
    /// There is no such file, and none was to be made.
    NotFound,
    /// There is one already, and it was to be made.
    Exists,
    /// The operating system did not let this process at it.
    Permission(io::Error),
    /// The file is another user's, who would own the limits.
    Owner {
        /// Whose it is.
        found: u32,
        /// Whose it must be.
        expected: u32,
    },
    /// Others may open the file than were to.
    Mode {
        /// The permission bits that it has.
        found: u32,
        /// Those that it may have.
        allowed: u32,
    },
    /// It is no regular file: a link, a directory, a device or a pipe.
    NotRegular,
    /// The file has other names as well, under which somebody may replace it unseen.
    Links {
        /// How many names it has.
        found: u64,
    },
    /// The file system does not keep a mapping the same for all, or lets whoever writes to it wait for a disk.
    FileSystem {
        /// The number by which the kernel knows it.
        found: u64,
        /// Whether [`allow_disk`](crate::shared::Shared::allow_disk) would take it.
        is_disk: bool,
    },
    /// There is no room for the table in its file system, or in the memory.
    NoSpace {
        /// How many bytes were asked for.
        bytes: u64,
    },
    /// The file is no table of this library's.
    Foreign,
    /// The table was made on a machine of the other byte order.
    ByteOrder,
    /// The table is another version's.
    Version {
        /// Its version.
        found: u64,
        /// The one that this program knows.
        known: u64,
    },
    /// The table was made by a program that lays it out otherwise.
    Layout {
        /// The fingerprint of its layout.
        found: u64,
        /// The one of this program's.
        known: u64,
    },
    /// The file is not as long as its table.
    Length {
        /// How many bytes it has.
        found: u64,
        /// How many it should have.
        expected: u64,
    },
    /// A value in the table's header is none that any program has written.
    Damaged {
        /// Which one.
        what: &'static str,
    },
    /// The table was given up for another.
    Retired,
    /// The table is of another capacity.
    Capacity {
        /// Its capacity, in keys.
        found: u64,
        /// The one that was asked for.
        asked: u64,
    },
    /// The table does something else when it is full.
    OnFull {
        /// What it does.
        found: OnFull,
        /// What was asked for.
        asked: OnFull,
    },
    /// The table's keys are hashed by another function.
    Hash,
    /// The table goes by another clock: the operating system's, or one of its callers'.
    Clock {
        /// Whether it goes by the operating system's.
        is_of_system: bool,
    },
    /// This process's clock is behind what the table has seen.
    ClockBehind {
        /// By how much.
        by: Duration,
    },
    /// This process is in another time namespace than the one that made the table.
    TimeNamespace {
        /// The table's.
        found: u64,
        /// This process's.
        expected: u64,
    },
    /// The machine was started anew since the table was last used, and another process is using it.
    OtherBoot,
    /// The table is near the end of the ten years that its time base holds.
    TooOld {
        /// How old it is.
        age: Duration,
    },
    /// The table was to be replaced, but others have it mapped.
    InUse,
    /// Somebody has kept the table locked for too long.
    Busy {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The file was replaced each time that it had been opened.
    Unsteady,
    /// The operating system gave no random bytes for the seeds of the hash.
    Entropy(io::Error),
    /// The operating system refused something else.
    Io {
        /// What.
        operation: &'static str,
        /// Its answer.
        source: io::Error,
    },
}

impl SharedError {
    pub(super) fn io(operation: &'static str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission(source),
            _ => Self::Io { operation, source },
        }
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("there is no such file"),
            Self::Exists => f.write_str("the file is there already"),
            Self::Permission(source) => write!(f, "it may not be opened: {source}"),
            Self::Owner { found, expected } => write!(f, "the file is user {found}'s, and must be user {expected}'s"),
            Self::Mode { found, allowed } => {
                write!(f, "the file's permissions are {found:04o}, and may be {allowed:04o} at most")
            }
            Self::NotRegular => f.write_str("it is not a regular file"),
            Self::Links { found } => write!(f, "the file has {found} names, and must have one"),
            Self::FileSystem { found, is_disk: true } => write!(
                f,
                "its file system ({found:#x}) is on a disk, for which a check may have to wait; use a tmpfs such as /run, or allow a disk"
            ),
            Self::FileSystem { found, is_disk: false } => write!(
                f,
                "its file system ({found:#x}) cannot keep a table that processes share; use a tmpfs such as /run"
            ),
            Self::NoSpace { bytes } => write!(f, "there is no room for its {bytes} bytes"),
            Self::Foreign => f.write_str("the file is not a table of tollgate"),
            Self::ByteOrder => f.write_str("the table is from a machine of the other byte order"),
            Self::Version { found, known } => {
                write!(f, "the table has version {found}, and this program knows version {known}")
            }
            Self::Layout { found, known } => {
                write!(f, "the table's layout is {found:#018x}, and this program's is {known:#018x}")
            }
            Self::Length { found, expected } => {
                write!(f, "the file has {found} bytes, and its table takes {expected}")
            }
            Self::Damaged { what } => write!(f, "the table's header is damaged: {what}"),
            Self::Retired => f.write_str("the table was given up for another"),
            Self::Capacity { found, asked } => {
                write!(f, "the table's capacity is {found} keys, and {asked} were asked for")
            }
            Self::OnFull { found, asked } => {
                write!(f, "of a full table it does {found:?}, and {asked:?} was asked for")
            }
            Self::Hash => f.write_str("the table's keys are hashed by another function"),
            Self::Clock { is_of_system: true } => f.write_str("the table goes by the operating system's clock"),
            Self::Clock { is_of_system: false } => f.write_str("the table goes by a clock of its callers'"),
            Self::ClockBehind { by } => write!(f, "the clock is {by:?} behind what the table has seen"),
            Self::TimeNamespace { found, expected } => {
                write!(f, "the table is of time namespace {found}, and this process is in {expected}")
            }
            Self::OtherBoot => {
                f.write_str("the table is from before the machine was started, and another process is using it")
            }
            Self::TooOld { age } => {
                write!(f, "the table is {} days old, and lasts nine years", age.as_secs() / 86_400)
            }
            Self::InUse => f.write_str("the table cannot be replaced while others use it"),
            Self::Busy { waited } => write!(f, "the table has been locked for {waited:?}"),
            Self::Unsteady => f.write_str("the file was replaced each time it had been opened"),
            Self::Entropy(source) => {
                write!(f, "drawing the seeds of the hash from the operating system failed: {source}")
            }
            Self::Io { operation, source } => write!(f, "{operation} failed: {source}"),
        }
    }
}

impl core::error::Error for SharedError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Permission(source) | Self::Entropy(source) | Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
