//! What can be wrong with the settings of an answer.

use core::fmt;

/// A setting of an answer that cannot be used, with the value that was given and the bound it broke.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerError {
    /// Not the status of an error.
    Status {
        /// The status that was given.
        given: u16,
    },
    /// Not a value a header can have.
    ContentType {
        /// The type that was given.
        given: String,
    },
    /// A placeholder that means nothing.
    Placeholder {
        /// What was between the braces.
        given: String,
        /// The names that are known.
        expected: &'static [&'static str],
    },
    /// A body that could be longer than [`RefusalBody::MAX`](crate::answer::RefusalBody::MAX).
    BodyTooLong {
        /// Its length once every placeholder is at its longest.
        longest: usize,
        /// The longest allowed.
        max: usize,
    },
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { given } => write!(f, "a refusal has a status of 400 to 599, and {given} was given"),
            Self::ContentType { given } => {
                write!(f, "`{}` cannot be the value of a content-type header", given.escape_debug())
            }
            Self::Placeholder { given, expected } => {
                write!(f, "unknown placeholder `{{{given}}}` in a body; expected one of")?;
                for (i, name) in expected.iter().enumerate() {
                    write!(f, "{} {{{name}}}", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
            Self::BodyTooLong { longest, max } => {
                write!(f, "the body of a refusal is at most {max} bytes, and this one can reach {longest}")
            }
        }
    }
}

impl core::error::Error for AnswerError {}
