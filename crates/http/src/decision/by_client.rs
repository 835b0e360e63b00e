//! Limits for each client address, whatever else the request is: what most policies without a route are.

use tollgate::LimitSet;

use crate::answer::field_texts::SharedTexts;

/// Limits for each client address, of one policy or several.
pub(crate) struct ByClient {
    pub(crate) set: LimitSet,
    pub(crate) cost: u64,
    /// The policies.
    pub(crate) policies: Vec<usize>,
    /// Of each limit of the set its policy, and its index there.
    pub(crate) of: Vec<(usize, usize)>,
    /// What is said if it is this limit of the set that decides.
    pub(crate) texts: Vec<SharedTexts>,
}
