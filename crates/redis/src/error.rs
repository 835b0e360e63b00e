//! What can be wrong with what is given, and what can go wrong with a server.

use core::fmt;
use core::time::Duration;

use tollgate::error::ParseQuotaError;
use tollgate::{Algorithm, Quota};

/// A limit that a fleet cannot hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitError {
    /// The text is no rate.
    Text(ParseQuotaError),
    /// The name is empty, or longer than [`FleetLimit::MAX_NAME`](crate::FleetLimit::MAX_NAME) bytes.
    Name {
        /// How many bytes it has.
        length: usize,
    },
    /// The period of a window is no whole number of microseconds, the grain of a server's clock.
    PeriodNotMicros {
        /// The quota that was asked for.
        quota: Quota,
    },
    /// A token of the rate is a fraction of a microsecond that a script could not add exactly.
    RateTooFine {
        /// The quota that was asked for.
        quota: Quota,
    },
    /// An empty bucket, with the debt it may have, would take longer to fill than a script can count exactly.
    TooDeep {
        /// The quota that was asked for.
        quota: Quota,
        /// The longest.
        max: Duration,
    },
    /// The count is larger than this algorithm can hold for this period.
    CountTooLarge {
        /// The quota that was asked for.
        quota: Quota,
        /// The largest count.
        max: u64,
    },
    /// A window algorithm has no burst apart from its count.
    BurstInWindow {
        /// The quota that was asked for.
        quota: Quota,
    },
    /// When windows begin, and that refusals count, can be set for fixed windows only.
    NotAFixedWindow {
        /// The quota that was asked for.
        quota: Quota,
    },
    /// An algorithm that this crate does not know.
    UnknownAlgorithm(Algorithm),
    /// [`Share`](crate::OnOutage::Share) needs to know how many nodes there are:
    /// [`FleetBuilder::nodes`](crate::FleetBuilder::nodes).
    ShareWithoutNodes {
        /// The name of the limit.
        name: String,
    },
    /// What decides during an outage cannot hold the quota.
    Local(tollgate::error::LimitError),
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(error) => error.fmt(f),
            Self::Name { length } => {
                write!(
                    f,
                    "the name of a limit must have from 1 to {} bytes, and has {length}",
                    crate::FleetLimit::MAX_NAME
                )
            }
            Self::PeriodNotMicros { quota } => write!(
                f,
                "the period of `{quota}` is no whole number of microseconds, which a {} on Redis needs",
                quota.algorithm()
            ),
            Self::RateTooFine { quota } => {
                write!(f, "one token of `{quota}` is too fine a fraction of a microsecond for Redis to add exactly")
            }
            Self::TooDeep { quota, max } => {
                write!(
                    f,
                    "a bucket of `{quota}`, with its debt, takes longer than {max:?} to fill, the longest on Redis"
                )
            }
            Self::CountTooLarge { quota, max } => write!(
                f,
                "the count of `{quota:#}` is above {max}, the largest a {} on Redis can hold for that period",
                quota.algorithm()
            ),
            Self::BurstInWindow { quota } => write!(
                f,
                "`{quota:#}` sets a burst of {}, and a {} admits exactly its count of {} in a window",
                quota.burst(),
                quota.algorithm(),
                quota.count()
            ),
            Self::NotAFixedWindow { quota } => write!(
                f,
                "`{quota}` sets when windows begin, or that refusals count, which a {} cannot; a {} can",
                quota.algorithm(),
                Algorithm::FixedWindow
            ),
            Self::UnknownAlgorithm(algorithm) => write!(f, "the algorithm {algorithm} is not offered on Redis"),
            Self::ShareWithoutNodes { name } => {
                write!(f, "limit `{name}` is to be shared out during an outage, and the number of nodes was not given")
            }
            Self::Local(error) => write!(f, "during an outage: {error}"),
        }
    }
}

impl core::error::Error for LimitError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Text(error) => Some(error),
            Self::Local(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ParseQuotaError> for LimitError {
    fn from(error: ParseQuotaError) -> Self {
        Self::Text(error)
    }
}

impl From<tollgate::error::LimitError> for LimitError {
    fn from(error: tollgate::error::LimitError) -> Self {
        Self::Local(error)
    }
}

/// Settings of a fleet without a client that are out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallsError {
    /// The secret is shorter than [`FleetCalls::MIN_SECRET`](crate::calls::FleetCalls::MIN_SECRET) bytes.
    Secret {
        /// How many bytes it has.
        length: usize,
    },
    /// The number of nodes is zero.
    Nodes,
}

impl fmt::Display for CallsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret { length } => {
                let least = crate::calls::FleetCalls::MIN_SECRET;
                write!(f, "the secret of a fleet must have at least {least} bytes, and {length} were given")
            }
            Self::Nodes => f.write_str("a fleet has at least 1 node, and 0 was given"),
        }
    }
}

impl core::error::Error for CallsError {}

/// A fleet that cannot be built.
#[cfg(feature = "client")]
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// The address of a server cannot be read.
    Address(redis::RedisError),
    /// No address was given.
    NoAddress,
    /// The secret is shorter than [`FleetBuilder::MIN_SECRET`](crate::FleetBuilder::MIN_SECRET) bytes.
    Secret {
        /// How many bytes it has.
        length: usize,
    },
    /// The deadline is outside what is offered.
    Deadline {
        /// The deadline that was asked for.
        deadline: Duration,
    },
    /// The number of nodes is zero.
    Nodes,
    /// Refusals are to be answered from memory for longer than is offered.
    Refusals {
        /// How long was asked for.
        within: Duration,
    },
    /// There is no tokio runtime to run the connections on.
    NoRuntime,
    /// What decides during an outage cannot be built.
    Local(tollgate::error::BuildError),
}

#[cfg(feature = "client")]
impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => write!(f, "the address of a Redis server cannot be read: {error}"),
            Self::NoAddress => f.write_str("at least one address of a Redis server is needed, and none was given"),
            Self::Secret { length } => CallsError::Secret { length: *length }.fmt(f),
            Self::Deadline { deadline } => write!(
                f,
                "the deadline must be from {:?} to {:?}, and {deadline:?} was given",
                crate::FleetBuilder::MIN_DEADLINE,
                crate::FleetBuilder::MAX_DEADLINE
            ),
            Self::Nodes => CallsError::Nodes.fmt(f),
            Self::Refusals { within } => write!(
                f,
                "refusals may be answered from memory for {:?} at most, and {within:?} was given",
                crate::FleetBuilder::MAX_REFUSALS
            ),
            Self::NoRuntime => f.write_str("a fleet must be built within a tokio runtime, and there is none"),
            Self::Local(error) => write!(f, "what decides during an outage: {error}"),
        }
    }
}

#[cfg(feature = "client")]
impl core::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Address(error) => Some(error),
            Self::Local(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a server did not decide. None of these is ever taken for a yes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// No answer within the deadline. The server may have charged the request, and may do so yet; it is never asked again.
    Deadline,
    /// There is no connection, or it broke before the answer came. As for [`Deadline`](Self::Deadline).
    Disconnected,
    /// More requests wait for this server than [`Fleet::MAX_IN_FLIGHT`](crate::Fleet::MAX_IN_FLIGHT): this one was not sent.
    Busy,
    /// The server refused to run the script: it is full, read-only, loading, or not allowed to. The text begins with its code.
    Refused(String),
    /// The answer is none that the script gives.
    Unreadable,
    /// Other quotas wrote the bucket again and again between reading it and converting it.
    Contended,
    /// The keys are on several servers of a cluster, where such a call is not offered.
    SeveralServers,
    /// Whoever wanted the decision does not wait for servers, so none was asked.
    NotAsked,
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadline => f.write_str("the server did not answer within the deadline"),
            Self::Disconnected => f.write_str("there is no connection to the server"),
            Self::Busy => f.write_str("too many requests wait for the server"),
            Self::Refused(answer) => write!(f, "the server refused: {answer}"),
            Self::Unreadable => f.write_str("the answer of the server cannot be read"),
            Self::Contended => f.write_str("limits of different quotas wrote the key again and again"),
            Self::SeveralServers => f.write_str("the keys are on several servers of a cluster"),
            Self::NotAsked => f.write_str("no server was asked, as the caller does not wait"),
        }
    }
}

impl core::error::Error for Outage {}
