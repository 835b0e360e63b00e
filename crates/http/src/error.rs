//! What can be wrong with a configuration. Requests never fail: they are admitted or refused.

use std::fmt;
use std::path::PathBuf;

use tollgate::LimitSet;
use tollgate::error::{BuildError, LimitError, ParseQuotaError};

/// The longest name of a policy or a tier, in bytes: it stands in header fields and metrics.
pub(crate) const MAX_NAME: usize = 64;

/// A policy, or a part of one, that cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// An invalid rate string.
    Rate(ParseQuotaError),
    /// A quota that the limiter cannot hold.
    Quota {
        /// The policy.
        policy: String,
        /// What is wrong.
        error: LimitError,
    },
    /// An invalid path pattern.
    Path {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A part of a key that does not exist.
    Key {
        /// The part, as given.
        part: String,
    },
    /// An invalid exemption.
    Exemption {
        /// As given.
        exemption: String,
    },
    /// A status that no response has, or an empty list of them.
    Status {
        /// As given.
        status: String,
    },
    /// A host of a route that no request can have.
    Host {
        /// As given.
        host: String,
    },
    /// A policy without a name, or with one that cannot stand in a header field.
    Name {
        /// As given.
        name: String,
    },
    /// Two policies have the same name.
    SameName {
        /// The name.
        name: String,
    },
    /// A policy limits nothing.
    Empty {
        /// The policy.
        policy: String,
    },
    /// A bound of zero requests in flight would refuse everything.
    ZeroConcurrency {
        /// The policy.
        policy: String,
    },
    /// One request could be subject to more limits than can be decided together.
    TooManyLimits {
        /// The policy whose requests may be.
        policy: String,
        /// How many.
        count: usize,
    },
    /// A map of keys to tiers by something that tells nobody apart.
    TierKey {
        /// The part, as given.
        part: String,
    },
    /// The tiers of a policy are not those of its map of keys, in the same order.
    TierNames {
        /// The policy.
        policy: String,
    },
    /// The limiter cannot be built. Of a shared table it names the path, what was found there and what was expected:
    /// [`BuildError::Shared`].
    Build(BuildError),
    /// The limits cannot be in a shared table.
    NotShared {
        /// The table that was asked for.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// The permissions of a shared table's file are none that it can have.
    SharedMode {
        /// The table that was asked for.
        path: PathBuf,
        /// The permissions.
        mode: u32,
    },
    /// A policy that is to be on a fleet cannot be.
    #[cfg(feature = "redis")]
    NotOnFleet {
        /// The policy.
        policy: String,
        /// Why not.
        why: String,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(error) => write!(f, "{error}"),
            Self::Quota { policy, error } => write!(f, "policy `{policy}`: {error}"),
            Self::Path { pattern, why } => write!(f, "`{pattern}` is not a valid path pattern: {why}"),
            Self::Key { part } => write!(
                f,
                "`{part}` is not a valid key part; expected ip, user, path, method, host, header:NAME, cookie:NAME or all"
            ),
            Self::Exemption { exemption } => write!(
                f,
                "`{exemption}` is not a valid exemption; expected an address, a network such as 10.0.0.0/8, path:/static/*, \
                 method:NAME or header:NAME:VALUE"
            ),
            Self::Status { status } => {
                write!(
                    f,
                    "`{status}` is not a valid status; expected 100 to 599, a class such as 5xx, or a list of them"
                )
            }
            Self::Host { host } => write!(
                f,
                "`{host}` is not a valid host; expected a name without a port, such as api.example.com or *.example.com"
            ),
            Self::Name { name } => write!(
                f,
                "`{name}` is not a valid policy name; expected 1 to {} visible ASCII characters without `\"` and `\\`",
                MAX_NAME
            ),
            Self::SameName { name } => write!(f, "two policies are named `{name}`"),
            Self::Empty { policy } => {
                write!(f, "policy `{policy}` limits nothing: it has neither a rate nor a bound on concurrency")
            }
            Self::ZeroConcurrency { policy } => {
                write!(
                    f,
                    "policy `{policy}` allows 0 requests in flight, which would refuse every one; expected 1 or more"
                )
            }
            Self::TooManyLimits { policy, count } => write!(
                f,
                "a request of policy `{policy}` could be subject to {count} limits; at most {} can be decided together",
                LimitSet::MAX
            ),
            Self::TierKey { part } => {
                write!(f, "`{part}` tells no customers apart; expected ip, user, host, header:NAME or cookie:NAME")
            }
            Self::TierNames { policy } => {
                write!(f, "policy `{policy}` has other tiers than its table of keys, or in another order")
            }
            Self::Build(error) => write!(f, "{error}"),
            #[cfg(feature = "redis")]
            Self::NotOnFleet { policy, why } => write!(f, "policy `{policy}` cannot be held on Redis: {why}"),
            Self::SharedMode { path, mode } => write!(
                f,
                "the shared table `{}` cannot have the mode {mode:04o}; expected one from 0600 to 0666 by which its owner reads \
                 and writes and nobody executes, such as 0660",
                path.display().to_string().escape_debug()
            ),
            Self::NotShared { path, why } => {
                write!(f, "the shared table `{}` cannot be used: {why}", path.display().to_string().escape_debug())
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Rate(error) => Some(error),
            Self::Quota { error, .. } => Some(error),
            Self::Build(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ParseQuotaError> for ConfigError {
    fn from(error: ParseQuotaError) -> Self {
        Self::Rate(error)
    }
}

impl From<BuildError> for ConfigError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

/// A name that is not one of those known where it stands.
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
        write!(
            f,
            "`{}` is not a valid {}; expected one of {}",
            self.given.escape_debug(),
            self.what,
            self.known.join(", ")
        )
    }
}

impl std::error::Error for UnknownName {}
