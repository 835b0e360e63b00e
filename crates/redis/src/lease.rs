//! Tokens in advance, for keys that are asked for often.
//!
//! A stamp is time that is sold. What a node takes in advance is a stretch of it, at the end of what was sold; each use cuts its piece
//! off, from the later of the stretch's beginning and the server's time at the latest that it can be. So pieces do not overlap, whoever
//! uses them; none begins before its use, none ends later than the bucket's depth after it: no more is admitted than by the
//! bucket alone, for any number of nodes, and whatever becomes of them. What is not used in its time lapses.

#[cfg(feature = "client")]
pub(crate) mod anchor;
#[cfg(feature = "client")]
pub(crate) mod hot;
#[cfg(feature = "client")]
pub(crate) mod near;
pub(crate) mod plan;
#[cfg(feature = "client")]
pub(crate) mod table;
#[cfg(feature = "client")]
pub(crate) mod tally;
pub(crate) mod word;

#[cfg(all(test, feature = "client"))]
pub(crate) mod simulation;
