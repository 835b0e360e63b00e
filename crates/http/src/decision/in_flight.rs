//! Requests in flight, by key: what a bound on concurrency counts.
//!
//! A map under short locks, in shards, and not a bucket of the engine: a count that goes up and down by the same steps
//! comes back to words that it had before, which is what a compare-and-swap cannot tell from no change at all
//! (`DESIGN.md` 5), and a place lost that way would never come back. It holds no more than there are requests in flight.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// The hash of a key is hashed well enough already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type Shard = Mutex<HashMap<u64, u64, BuildHasherDefault<AsIs>>>;

/// How many are in flight, for each key.
#[derive(Debug)]
pub(crate) struct InFlight {
    shards: [Shard; 64],
}

impl Default for InFlight {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Shard::default()) }
    }
}

impl InFlight {
    /// One more of the key with this hash, unless `most` are in flight.
    pub(crate) fn enter(self: &Arc<Self>, key: u64, most: u64) -> Option<Permit> {
        let mut shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        let count = shard.entry(key).or_default();
        // Only who is inside has an entry, so one that was just made is below any bound but zero, which is not a valid bound.
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Permit { owner: Arc::clone(self), key, number: *count })
    }

    /// How many of that key there are.
    pub(crate) fn count(&self, key: u64) -> u64 {
        let shard = self.shard(key).lock().unwrap_or_else(PoisonError::into_inner);
        shard.get(&key).copied().unwrap_or(0)
    }

    fn shard(&self, key: u64) -> &Shard {
        let [.., byte] = key.to_be_bytes();
        &self.shards[usize::from(byte % 64)] // there are 64
    }
}

/// One request in flight, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    owner: Arc<InFlight>,
    key: u64,
    number: u64,
}

impl Permit {
    /// How many of its key were in flight when it came, itself among them.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut shard = self.owner.shard(self.key).lock().unwrap_or_else(PoisonError::into_inner);
        match shard.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                shard.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound_and_nothing_left_behind() {
        let in_flight = Arc::new(InFlight::default());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for i in 0..20_000_u64 {
                        let key = i % 3;
                        let permit = in_flight.enter(key, 3);
                        assert!(in_flight.count(key) <= 3);
                        drop(permit);
                    }
                });
            }
        });
        let mut held: Vec<_> = (0..5).filter_map(|_| in_flight.enter(7, 3)).collect();
        assert_eq!(held.len(), 3);
        for left in [2, 1, 0] {
            drop(held.pop());
            assert_eq!(in_flight.count(7), left);
        }
        assert!(in_flight.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
