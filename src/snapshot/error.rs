//! Why a snapshot cannot be taken over.

use core::fmt;

use crate::clock::Instant;
use crate::error::BuildError;

/// A limiter that cannot be restored: each names what was found, and what it should have been.
#[derive(Debug)]
#[non_exhaustive]
pub enum RestoreError {
    /// The settings of the limiter are wrong, or its memory cannot be reserved.
    Build(BuildError),
    /// Reading broke down.
    Io(std::io::Error),
    /// It does not begin as a snapshot does.
    NotASnapshot {
        /// Its first bytes.
        found: [u8; 8],
    },
    /// It is of a version that this one does not know.
    Version {
        /// Its version.
        found: u32,
        /// The version that is known: [`SnapshotInfo::VERSION`](super::SnapshotInfo::VERSION).
        known: u32,
    },
    /// It ends before its end.
    Truncated {
        /// How many bytes there are.
        bytes: u64,
    },
    /// There is more after its end.
    Trailing {
        /// How long it should be.
        bytes: u64,
    },
    /// What was read is not what was written.
    Checksum {
        /// Up to which byte.
        bytes: u64,
        /// The CRC-32 that is written there.
        found: u64,
        /// The one of what was read.
        computed: u64,
    },
    /// A number of the header is out of bounds.
    Field {
        /// Which.
        name: &'static str,
        /// The number.
        found: u64,
        /// The least it may be.
        min: u64,
        /// The most it may be.
        max: u64,
    },
    /// A record is no bucket.
    Record {
        /// Which, from 0.
        index: u64,
        /// Its balance.
        found: u64,
    },
    /// It has more or fewer records than it says.
    Count {
        /// How many were read.
        found: u64,
        /// How many it says.
        expected: u64,
    },
    /// This program hashes keys or limits otherwise than the one that made it, so that no key would be found again: it was built
    /// for other instructions of the processor, by another compiler, or with another version of the hash function.
    Hash,
    /// It is of a table of the other kind: of one that processes share, for a private limiter, or the other way round. Their keys are
    /// hashed by different functions.
    Kind {
        /// Whether it is of a shared table.
        is_of_shared: bool,
    },
    /// The clock shows a time that the limiter could not tell from others for long enough: it has another zero, or the first
    /// of the limiters that were restored from one another is too old.
    Clock {
        /// What it shows.
        now: Instant,
        /// The earliest from which it can go on.
        earliest: Instant,
        /// The latest.
        latest: Instant,
    },
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(error) => error.fmt(f),
            Self::Io(error) => write!(f, "reading the snapshot failed: {error}"),
            Self::NotASnapshot { found } => {
                write!(f, "this is no snapshot: it begins with \"{}\", not with \"TOLLSNAP\"", found.escape_ascii())
            }
            Self::Version { found, known } => {
                write!(f, "the snapshot is of version {found}, and this program reads version {known} only")
            }
            Self::Truncated { bytes } => write!(f, "the snapshot is not whole: it ends after {bytes} bytes"),
            Self::Trailing { bytes } => write!(f, "there is more behind the end of the snapshot, at byte {bytes}"),
            Self::Checksum { bytes, found, computed } => write!(
                f,
                "the snapshot is damaged: the checksum of its first {bytes} bytes is {computed:#x}, not {found:#x}"
            ),
            Self::Field { name, found, min, max } => {
                write!(f, "the snapshot's {name} must be from {min} to {max}, and is {found}")
            }
            Self::Record { index, found } => {
                write!(f, "record {index} of the snapshot is no bucket: {found:#x} has bits that no balance has")
            }
            Self::Count { found, expected } => {
                write!(f, "the snapshot says that it has {expected} records, and has {found}")
            }
            Self::Hash => f.write_str(
                "this program hashes keys otherwise than the one that made the snapshot, so that none would be found again",
            ),
            Self::Kind { is_of_shared: true } => {
                f.write_str("the snapshot is of a table that processes share, and is restored into such a one only")
            }
            Self::Kind { is_of_shared: false } => {
                f.write_str("the snapshot is of a private table, and is restored into such a one only")
            }
            Self::Clock { now, earliest, latest } => write!(
                f,
                "the clock must show from {} to {} ns to go on from this snapshot, and shows {}",
                earliest.as_nanos(),
                latest.as_nanos(),
                now.as_nanos()
            ),
        }
    }
}

impl core::error::Error for RestoreError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Build(error) => Some(error),
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<BuildError> for RestoreError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}
