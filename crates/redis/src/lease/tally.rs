//! How many decisions were made here, counted by each thread for itself: a number that all threads add to would cost more than the
//! rest of a decision.

use crate::sync::{AtomicU64, Ordering};

/// So many threads count for themselves at a time. All others share one line, and add to it in one step each.
#[cfg(not(tollgate_model))]
pub(crate) const THREADS: usize = 64;
#[cfg(tollgate_model)]
pub(crate) const THREADS: usize = 2;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Allowed = 0,
    Refused = 1,
}

/// The counts of one thread, alone in their cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Line([AtomicU64; 2]);

/// Counts of all threads.
#[derive(Debug)]
pub(crate) struct Tally(Box<[Line]>);

impl Tally {
    pub(crate) fn new() -> Self {
        Self((0..=THREADS).map(|_| Line([AtomicU64::new(0), AtomicU64::new(0)])).collect())
    }

    /// One more. Only the thread that [took](Places::take) a place says that it is there.
    #[inline]
    pub(crate) fn add(&self, place: Option<usize>, kind: Kind) {
        match place.and_then(|place| self.0.get(place)) {
            Some(Line(counts)) => {
                let count = &counts[kind as usize];
                // Relaxed, both: nobody else writes it, and who had the place before has given it back with a release that `take`
                // has acquired. 2^64 are never reached. `loom-tests/tests/fleet_lease.rs`.
                count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            }
            None => {
                // Relaxed: a number by itself, to be shown. `loom-tests/tests/fleet_lease.rs`.
                self.0[THREADS].0[kind as usize].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// All of a kind.
    pub(crate) fn sum(&self, kind: Kind) -> u64 {
        // Relaxed: as `add`. Each number by itself only rises.
        self.0.iter().fold(0, |sum: u64, line| sum.wrapping_add(line.0[kind as usize].load(Ordering::Relaxed)))
    }
}

/// Which places are taken, a bit each.
#[derive(Debug)]
pub(crate) struct Places(AtomicU64);

impl Places {
    /// For a static, which a model has none of.
    #[cfg(not(tollgate_model))]
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[cfg(tollgate_model)]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Takes a place that is free, if there is one.
    pub(crate) fn take(&self) -> Option<usize> {
        // Relaxed, here and if the exchange fails: a guess at what the next one finds. `loom-tests/tests/fleet_lease.rs`.
        let mut taken = self.0.load(Ordering::Relaxed);
        loop {
            let place = usize::try_from(taken.trailing_ones()).ok().filter(|&place| place < THREADS)?;
            let bit = 1 << place;
            // Acquire, with `give_back`: whoever takes a place finds the counts as they were left. `loom-tests/tests/fleet_lease.rs`.
            match self.0.compare_exchange(taken, taken | bit, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(place),
                Err(now) => taken = now,
            }
        }
    }

    /// Gives back a place that [`take`](Self::take) said.
    pub(crate) fn give_back(&self, place: usize) {
        // Release, with `take`: as there. Its bit is set, so nothing is borrowed of the others. `loom-tests/tests/fleet_lease.rs`.
        self.0.fetch_sub(1 << place, Ordering::Release);
    }
}

#[cfg(all(test, not(tollgate_model)))]
mod tests {
    use super::*;

    #[test]
    fn all_threads_together_are_the_sum() {
        let (tally, places) = (Tally::new(), Places::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let place = places.take();
                    (0..1_000).for_each(|_| tally.add(place, Kind::Allowed));
                    tally.add(None, Kind::Refused);
                    places.give_back(place.unwrap());
                });
            }
        });
        assert_eq!((tally.sum(Kind::Allowed), tally.sum(Kind::Refused)), (8_000, 8));
        // All are free again, and beyond them there is none.
        assert_eq!((0..THREADS).map(|_| places.take().unwrap()).max(), Some(THREADS - 1));
        assert_eq!(places.take(), None);
        tally.add(places.take(), Kind::Allowed);
        assert_eq!(tally.sum(Kind::Allowed), 8_001);
    }
}
