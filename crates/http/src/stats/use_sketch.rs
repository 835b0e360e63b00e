//! The keys that use most: a bounded sketch for each thread, summed when it is read.
//!
//! Unbiased Space-Saving (Ting 2018) in sets of four: a key that has no place raises the lowest count of its set, and takes its place
//! with odds of one to that count. So counts are right on average, a key with a large share keeps its place, and a new one costs
//! little however many there are. With a request nothing is written that another thread writes.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crate::per_thread::PerThread;

/// Keys that one thread remembers: sets, and the places of each.
const SETS: usize = 32;
const PLACES: usize = 4;

/// Who uses most, by thread.
pub(crate) struct UseSketch<T>(PerThread<Mutex<Sketch<T>>>);

/// A key, and how often it was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used<T> {
    pub(crate) who: T,
    /// About how often it was counted.
    pub(crate) count: u64,
    /// As many of them may have been others.
    pub(crate) error: u64,
}

impl<T: Clone> UseSketch<T> {
    pub(crate) fn new() -> Self {
        Self(PerThread::new(|| Mutex::new(Sketch { sets: Vec::new(), random: 0x9E37_79B9_7F4A_7C15 })))
    }

    /// Counts a request of the key with this hash; `who` is called only if the key gets a place. Not counted while somebody reads, or
    /// among threads without a sketch of their own while another counts.
    #[inline]
    pub(crate) fn count(&self, hash: u64, who: impl FnOnce() -> T) {
        match self.0.mine().try_lock() {
            Ok(mut sketch) => sketch.count(hash, who),
            // A label that panicked: the counts are as they were.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().count(hash, who),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// The `n` keys that all threads together counted most, most first.
    pub(crate) fn list(&self, n: usize) -> Vec<Used<T>> {
        let mut all: Vec<(u64, Used<T>)> = Vec::new();
        for sketch in self.0.all() {
            // Room is made before the lock is taken.
            let mut here = Vec::with_capacity(SETS * PLACES);
            here.extend(lock(sketch).sets.iter().flatten().flatten().map(|place| (place.hash, place.used.clone())));
            all.append(&mut here);
        }
        all.sort_by_key(|(hash, _)| *hash);
        let mut rows: Vec<(u64, Used<T>)> = Vec::with_capacity(all.len());
        for (hash, used) in all {
            match rows.last_mut() {
                Some((last, row)) if *last == hash => {
                    row.count = row.count.saturating_add(used.count);
                    row.error = row.error.saturating_add(used.error);
                }
                _ => rows.push((hash, used)),
            }
        }
        rows.sort_by(|(_, a), (_, b)| b.count.cmp(&a.count).then(a.error.cmp(&b.error)));
        rows.truncate(n);
        rows.into_iter().map(|(_, used)| used).collect()
    }
}

fn lock<T>(sketch: &Mutex<Sketch<T>>) -> MutexGuard<'_, Sketch<T>> {
    sketch.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Place<T> {
    hash: u64,
    used: Used<T>,
}

struct Sketch<T> {
    /// None until the first request.
    sets: Vec<[Option<Place<T>>; PLACES]>,
    random: u64,
}

impl<T> Sketch<T> {
    fn count(&mut self, hash: u64, who: impl FnOnce() -> T) {
        if self.sets.is_empty() {
            self.sets.resize_with(SETS, || [const { None }; PLACES]);
        }
        // The upper bits, of which there are five, are below the number of sets.
        let at = usize::try_from(hash >> 59).unwrap_or(0);
        let Some(set) = self.sets.get_mut(at) else { return };
        let mut free = None;
        let mut lowest: Option<&mut Place<T>> = None;
        for place in set {
            match place {
                Some(place) if place.hash == hash => {
                    place.used.count = place.used.count.saturating_add(1);
                    return;
                }
                Some(place) => {
                    if lowest.as_ref().is_none_or(|lowest| place.used.count < lowest.used.count) {
                        lowest = Some(place);
                    }
                }
                place @ None => free = Some(place),
            }
        }
        if let Some(free) = free {
            *free = Some(Place { hash, used: Used { who: who(), count: 1, error: 0 } });
            return;
        }
        let Some(lowest) = lowest else { return };
        let count = lowest.used.count.saturating_add(1);
        // xorshift64* (Vigna 2016): it draws who is shown, and nothing else.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        if self.random.wrapping_mul(0x2545_F491_4F6C_DD1D).is_multiple_of(count) {
            *lowest = Place { hash, used: Used { who: who(), count, error: count - 1 } };
        } else {
            lowest.used.count = count;
            lowest.used.error = lowest.used.error.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spreads numbers over the sets.
    const fn hash(key: u64) -> u64 {
        key.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    #[test]
    fn few_keys_are_counted_exactly_over_all_threads() {
        let sketch = UseSketch::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|i| sketch.count(hash(i % 10), || i % 10)));
            }
        });
        let rows = sketch.list(100);
        // Each thread has a sketch of its own, unless more than sixteen have asked before: then a count may be lost.
        assert_eq!(rows.len(), 10);
        for Used { count, error, .. } in rows {
            assert!((1..=400).contains(&count) && error == 0, "{count} {error}");
        }
    }

    /// Three keys that use a tenth each among a flood of keys that come once.
    #[test]
    fn who_uses_most_is_found_in_a_flood() {
        let sketch = UseSketch::new();
        let mut labels = 0_u64;
        for i in 0..100_000_u64 {
            let key = match i % 10 {
                large @ 0..3 => large,
                _ => 1_000 + i,
            };
            sketch.count(hash(key), || {
                labels += 1;
                key
            });
        }
        let rows = sketch.list(3);
        let mut found: Vec<u64> = rows.iter().map(|row| row.who).collect();
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2]);
        for Used { count, error, .. } in rows {
            assert!((8_000..14_000).contains(&count) && error < 4_000, "{count} {error}");
        }
        assert!(labels < 10_000, "{labels} labels for 100,000 requests");
        let total: u64 = sketch.list(1_000).iter().map(|row| row.count).sum();
        assert_eq!(total, 100_000, "nothing is lost and nothing made up");
        assert!(sketch.list(1_000).len() <= SETS * PLACES);
    }

    #[test]
    fn while_it_is_read_nobody_waits() {
        let sketch = UseSketch::new();
        sketch.count(hash(1), || 1);
        let reading = sketch.0.all().map(lock).collect::<Vec<_>>();
        sketch.count(hash(1), || 1);
        drop(reading);
        assert_eq!(sketch.list(9), [Used { who: 1, count: 1, error: 0 }]);
    }
}
