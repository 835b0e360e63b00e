//! The access log: what is noted of a request while it is answered, and who writes it down.

pub(crate) mod entry;
pub(crate) mod writer;
