//! What happens when there is no room for a new key.

/// What happens to a new key when every slot it may use is busy. All are counted; see [`Stats`](crate::Stats).
///
/// It takes more busy keys than the table has capacity for to get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnFull {
    /// The busy key nearest to full is forgotten, and the new one **inherits its debt**; if the request does not fit on
    /// top of that, it is refused and nobody is forgotten.
    ///
    /// A flood of keys gets no more through a slot than one key would: `slots * (burst + rate * t)` in all.
    #[default]
    EvictNearestIdle,
    /// The new key is refused until one of its slots is idle. Keys in the table keep all their promises.
    RefuseNew,
    /// The new key is admitted, unlimited and unrecorded, until one of its slots is idle.
    AdmitUntracked,
}
