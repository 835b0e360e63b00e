//! A time that one thread of a process keeps, and the places for such times.

use crate::sync::{Atomic, Ordering};

/// A time, as a number that is zero in a forked child: nobody keeps it there until somebody takes it over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<'a>(pub(crate) &'a Atomic<u64>);

impl Kept<'_> {
    /// The time, if it is kept here.
    #[inline]
    pub(crate) fn nanos(self) -> Option<u64> {
        // Relaxed, with the exchange in `take_over` and the maximum in `set`: the value is all there is, nothing is published
        // through it. A reader that still sees an older value has an older `now`, which is within the stated error; one that
        // still sees none asks the operating system. Model: clock.
        let nanos = self.0.load(Ordering::Relaxed);
        (nanos != 0).then_some(nanos)
    }

    pub(crate) fn set(self, nanos: u64) {
        // Relaxed, with `nanos`: as there. Max: never back. Model: clock.
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }

    /// Begins to keep the time here, unless a thread of this process does.
    pub(crate) fn take_over(self, nanos: u64) -> bool {
        // Relaxed, both, with `nanos`: as there. At least 1, as zero is nobody's. Model: clock.
        self.0.compare_exchange(0, nanos.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Leaves the time to nobody, before its place is given back.
    pub(crate) fn leave(self) {
        // Relaxed, with `nanos` of who takes the place next: the release of the place carries it. Model: clock.
        self.0.swap(0, Ordering::Relaxed);
    }
}

/// Which of 64 places are taken, a bit each.
#[derive(Debug)]
pub(crate) struct Taken(pub(crate) Atomic<u64>);

impl Taken {
    /// Takes a place that is free, if there is one.
    pub(crate) fn take(&self) -> Option<u32> {
        // Relaxed, here and if the exchange fails: only a guess at what the next one will find. Model: clock.
        let mut taken = self.0.load(Ordering::Relaxed);
        loop {
            let place = taken.trailing_ones();
            let bit = 1_u64.checked_shl(place)?;
            // Acquire, with `give_back`: who takes a place finds it as it was left. Model: clock.
            match self.0.compare_exchange(taken, taken | bit, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some(place),
                Err(now) => taken = now,
            }
        }
    }

    /// Gives back a place that `take` said.
    pub(crate) fn give_back(&self, place: u32) {
        // Release, with `take`: as there. Its bit is set, so that nothing is borrowed of the others. Model: clock.
        self.0.fetch_sub(1 << place, Ordering::Release);
    }
}
