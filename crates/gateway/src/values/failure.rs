//! Why the program stopped, and the exit code that says so to scripts.
//!
//! The codes are those of `sysexits.h` where one fits, because shells and service managers know them.

use std::fmt;
use std::io;
use std::path::Path;

/// The reason for stopping, with one line for the reader.
#[derive(Debug)]
pub enum Failure {
    /// The policy cannot be used.
    Usage(String),
    /// The input is there and is no log, or is damaged.
    Data(String),
    /// An input file is missing or may not be read.
    NoInput(String),
    /// An output file cannot be written.
    CannotCreate(String),
    /// Reading or writing broke down on the way.
    Io(String),
    /// Something else does not answer, and may later.
    NotNow(String),
    /// A configuration file is wrong; a line for each mistake.
    Config(String),
    /// Anything else.
    Other(String),
    /// Somebody would be refused, and that was the question: the report says the rest.
    Refused,
    /// Somebody ended the work, and has what there was.
    Interrupted,
    /// The reader of our output has closed it, as `head` does: not an error, so nothing is printed.
    ClosedPipe,
}

impl Failure {
    pub fn code(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Other(_) => 1,
            // The code that the argument parser uses, too.
            Self::Usage(_) => 2,
            Self::Refused => 3,
            // As of a program that the signal has ended.
            Self::Interrupted => 130,
            Self::Data(_) => 65,
            Self::NoInput(_) => 66,
            Self::CannotCreate(_) => 73,
            Self::Io(_) => 74,
            Self::NotNow(_) => 75,
            Self::Config(_) => 78,
        }
    }

    pub fn cannot_write(path: &Path, error: &io::Error) -> Self {
        Self::CannotCreate(format!("cannot write {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text)
            | Self::Data(text)
            | Self::NoInput(text)
            | Self::CannotCreate(text)
            | Self::Io(text)
            | Self::NotNow(text)
            | Self::Config(text)
            | Self::Other(text) => f.write_str(text),
            Self::Refused => f.write_str("somebody would be refused"),
            Self::Interrupted => f.write_str("the work was ended before its time"),
            Self::ClosedPipe => f.write_str("the reader of the output has closed it"),
        }
    }
}
