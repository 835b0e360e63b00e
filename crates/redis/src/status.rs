//! What one server of a fleet has failed in, for whoever writes a log of errors.

use std::sync::Arc;

/// One server as this node sees it; the counts only grow, since the fleet was built.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServerStatus {
    /// Its address, or the name of the primary and where its sentinels are; without user and password.
    pub name: String,
    /// Whether there is a connection; else the breaker is open.
    pub is_connected: bool,
    /// Trials to connect that failed; it is tried about twice a second.
    pub failed_connects: u64,
    /// Why the last of them failed.
    pub connect_error: Option<Arc<String>>,
    /// Connections that broke, or did not answer three times in a row.
    pub closed: u64,
    /// Calls that were not answered within the deadline.
    pub misses: u64,
    /// Calls that were answered with an error, but for those that name another server of the cluster.
    pub errors: u64,
    /// The last of these errors.
    pub error: Option<Arc<String>>,
    /// Calls that were not sent, because [as many](crate::Fleet::MAX_IN_FLIGHT) waited for an answer as may.
    pub busy: u64,
}
