//! The atomics of the words that many threads change: the door at which `loom-tests` puts its own in their place.

pub(crate) use core::sync::atomic::{AtomicU64, Ordering};
