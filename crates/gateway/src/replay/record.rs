//! What is kept of a request once its line has been read: 16 bytes.

use super::intern::KeyId;

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// Nanoseconds since 1970.
    pub time: u64,
    /// Nothing for an exempt request.
    pub key: Option<KeyId>,
    pub outcome: Outcome,
}

const _: () = assert!(size_of::<Record>() == 16);

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Passed; also the state before the replay.
    Allowed,
    /// Passed, but later than it came.
    Delayed,
    /// Refused by the limit with that number.
    Refused(u16),
    /// Never limited.
    Exempt,
}
