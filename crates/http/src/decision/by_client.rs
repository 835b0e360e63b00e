//! Limits for each client address, whatever else the request is: what most policies without a route are.

use http::HeaderValue;
use tollgate::LimitSet;

use crate::per_thread::PerThread;

/// Limits for each client address, of one policy or several.
pub(crate) struct ByClient {
    pub(crate) set: LimitSet,
    pub(crate) cost: u64,
    /// The policies.
    pub(crate) policies: Vec<usize>,
    /// Of each limit of the set its policy, and its index there.
    pub(crate) of: Vec<(usize, usize)>,
    /// What `RateLimit-Policy` says of them. By thread, as with [`Tier`](super::compile::Tier).
    pub(crate) items: PerThread<HeaderValue>,
}
