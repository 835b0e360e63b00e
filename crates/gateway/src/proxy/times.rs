//! How long requests and upstreams take: histograms, counted by each thread for itself.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The upper bounds of the classes, in microseconds; one more class is for what is longer.
const BOUNDS: [u32; 18] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000,
    5_000_000, 10_000_000, 20_000_000, 60_000_000,
];

/// The same in nanoseconds, which a request compares with.
const NANOS: [u64; BOUNDS.len()] = {
    let (mut nanos, mut i) = ([0; BOUNDS.len()], 0);
    while i < BOUNDS.len() {
        nanos[i] = BOUNDS[i] as u64 * 1_000; // of 32 bits, and a thousand times that fits
        i += 1;
    }
    nanos
};

/// One thread's histogram. All orderings are relaxed: these are numbers for people, and one thread writes.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    classes: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl Histogram {
    /// One more that took so long.
    pub(crate) fn record(&self, took: Duration) {
        // Six centuries fit.
        let nanos = took.as_secs().saturating_mul(1_000_000_000).saturating_add(took.subsec_nanos().into());
        let class = NANOS.partition_point(|bound| *bound < nanos);
        if let Some(count) = self.classes.get(class) {
            add(count, 1);
        }
        add(&self.nanos, nanos);
    }

    /// Adds what this thread has counted to `total`.
    pub(crate) fn add_to(&self, total: &mut Times) {
        for (sum, count) in total.classes.iter_mut().zip(&self.classes) {
            *sum = sum.saturating_add(count.load(Relaxed));
        }
        total.sum = total.sum.saturating_add(Duration::from_nanos(self.nanos.load(Relaxed)));
    }
}

/// A load and a store, as no other thread writes.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Relaxed).wrapping_add(more), Relaxed);
}

/// The histograms of all threads together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Times {
    /// How many there were in each class.
    classes: [u64; BOUNDS.len() + 1],
    /// What all of them took together.
    pub sum: Duration,
}

impl Times {
    /// The upper bound of each class, in seconds, as they are written in `/metrics`; the last has none.
    pub fn bounds() -> [f64; BOUNDS.len()] {
        BOUNDS.map(|bound| f64::from(bound) / 1e6)
    }

    /// How many took no longer than each bound, and then how many there were in all.
    pub fn at_most(&self) -> [u64; BOUNDS.len() + 1] {
        let mut sum = 0_u64;
        self.classes.map(|count| {
            sum = sum.saturating_add(count);
            sum
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_falls_into_its_class() {
        let (one, other) = (Histogram::default(), Histogram::default());
        for micros in [0, 100, 101, 1_000, 60_000_000] {
            one.record(Duration::from_micros(micros));
        }
        other.record(Duration::from_micros(60_000_001));
        let mut total = Times::default();
        one.add_to(&mut total);
        other.add_to(&mut total);
        let expected = [2, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 6];
        assert_eq!(total.at_most(), expected);
        assert_eq!(total.sum, Duration::from_micros(120_001_202));
        assert!(Times::bounds().is_sorted() && Times::bounds()[0] == 1e-4);
    }
}
