//! The log through the very limiter that the gateway would use.
//!
//! [`fields`] keeps of each request what the rules look at, [`matches`] finds out who each request is to each policy,
//! [`run`] puts them to the limiter, [`counter`] counts what becomes of each key meanwhile, [`keys`] says whose the counts are, and
//! [`difference`] compares two runs.

pub(super) mod counter;
pub(super) mod difference;
pub(super) mod fields;
pub(super) mod keys;
pub(super) mod matches;
pub(super) mod run;
