//! One file for each contender: built, filled and asked as its own documentation advises.

pub mod floor;
pub mod gcra;
pub mod governor;
pub mod leaky_bucket;
pub mod mutexed_map;
pub mod ours;
pub mod pingora_limits;
pub mod ratelimit;
pub mod throttlecrab;
pub mod trypema;

pub use floor::{Array, ArrayWithoutTime, CasLoop};
pub use gcra::Gcra;
pub use governor::{Governor, GovernorCached, GovernorDirect};
pub use leaky_bucket::LeakyBucket;
pub use mutexed_map::MutexedMap;
pub use ours::{AtNow, Cached, Exact, Lone, batches};
pub use pingora_limits::PingoraLimits;
pub use ratelimit::Ratelimit;
pub use throttlecrab::Throttlecrab;
pub use trypema::Trypema;
