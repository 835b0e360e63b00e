//! Who was refused most: a summary of fixed size, whatever keys arrive.
//!
//! Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams,
//! 2005). Of `n` refusals counted by `m` entries: every key refused more than `n / m` times has an entry; a count is
//! never too low, and too high by at most what its entry says, which is at most `n / m`. A flood of new keys takes over
//! the entries with the lowest counts, one by one, and never one above that bound.
//!
//! The entries are searched from end to end. At 128 of them that is 1 KiB read in order, cheaper than the two linked
//! lists and the hash map of the paper, and the same for every key.

use core::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use tollgate::clock::Instant;

/// The keys refused most, of all threads.
///
/// A refusal never waits for it: if another thread is at it, the refusal is not counted here, but that it was missed is.
pub struct TopRefused<T> {
    summary: Mutex<Summary<T>>,
    missed: AtomicU64,
}

/// One key refused often.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopRow<T> {
    /// The key.
    pub who: T,
    /// How often it was refused, or somewhat less often.
    pub refused: u64,
    /// By how much `refused` may be too high.
    pub error: u64,
    /// The first refusal since the key has had an entry.
    pub first: Instant,
    /// The latest refusal.
    pub last: Instant,
}

impl<T: Clone> TopRefused<T> {
    /// The number of keys remembered.
    pub const CAPACITY: usize = 128;

    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self { summary: Mutex::new(Summary::new()), missed: AtomicU64::new(0) }
    }

    /// Counts a refusal of the key with this hash; `who` is called only if the key has no entry yet.
    pub fn record(&self, hash: u64, who: impl FnOnce() -> T, at: Instant) {
        let mut summary = match self.summary.try_lock() {
            Ok(summary) => summary,
            // A label that panicked: the entries are as they were, see `Summary::record`.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                // Relaxed, with the load in `missed`: a count, and nothing is published through it.
                self.missed.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        summary.record(hash, who, at);
    }

    /// The `n` keys refused most, most refused first.
    #[must_use]
    pub fn list(&self, n: usize) -> Vec<TopRow<T>> {
        // Room made before the lock is taken, because refusals are missed while it is held.
        let mut rows = Vec::with_capacity(Self::CAPACITY);
        rows.extend(self.lock().entries.iter().cloned());
        rows.sort_by(|a: &TopRow<T>, b: &TopRow<T>| b.refused.cmp(&a.refused).then(a.error.cmp(&b.error)));
        rows.truncate(n);
        rows
    }

    /// The refusals counted.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.lock().counted
    }

    /// The refusals that were not, because another thread was counting at that moment.
    #[must_use]
    pub fn missed(&self) -> u64 {
        // Relaxed, with `record`: see there.
        self.missed.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Summary<T>> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Default for TopRefused<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Clone> fmt::Debug for TopRefused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopRefused").field("missed", &self.missed()).finish_non_exhaustive()
    }
}

/// The entries. Hashes lie apart from the rest, so that a search reads nothing else.
struct Summary<T> {
    hashes: Vec<u64>,
    entries: Vec<TopRow<T>>,
    counted: u64,
}

impl<T: Clone> Summary<T> {
    fn new() -> Self {
        let most = TopRefused::<T>::CAPACITY;
        Self { hashes: Vec::with_capacity(most), entries: Vec::with_capacity(most), counted: 0 }
    }

    fn record(&mut self, hash: u64, who: impl FnOnce() -> T, at: Instant) {
        self.counted = self.counted.saturating_add(1);
        let place = self.hashes.iter().position(|&known| known == hash);
        if let Some(row) = place.and_then(|place| self.entries.get_mut(place)) {
            row.refused = row.refused.saturating_add(1);
            row.last = row.last.max(at);
        } else if self.entries.len() < TopRefused::<T>::CAPACITY {
            // The label first: if making it panics, the two lists still match.
            let who = who();
            self.hashes.push(hash);
            self.entries.push(TopRow { who, refused: 1, error: 0, first: at, last: at });
        } else {
            self.take_over_lowest(hash, who(), at);
        }
    }

    /// The newcomer may have been here before, as often as the one it takes over from at most.
    fn take_over_lowest(&mut self, hash: u64, who: T, at: Instant) {
        let lowest = self.hashes.iter_mut().zip(&mut self.entries).min_by_key(|(_, row)| row.refused);
        if let Some((known, row)) = lowest {
            *known = hash;
            *row = TopRow { who, refused: row.refused.saturating_add(1), error: row.refused, first: at, last: at };
        }
    }
}
