//! What the benchmarks share: keys, contenders, a paired race, threads on a barrier, and quantiles.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs, reason = "each target uses a part of this")]

pub mod contender;
pub mod keys;
pub mod paired;
pub mod peers;
pub mod quantile;
pub mod terms;
pub mod threads;

pub use contender::{Contender, Peer, checks, checks_mixed, fill};
pub use keys::{Fresh, Keys, One, Text, Uniform, Zipf};
pub use paired::{Race, Slice, Stopwatch, Times};
pub use terms::Terms;
