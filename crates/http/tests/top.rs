//! The bounds of Space-Saving, against exact counts.

use std::collections::HashMap;
use std::sync::Barrier;

use tollgate::clock::Instant;
use tollgate_http::stats::{Label, Labeller, TopRefused};

const CAPACITY: u64 = 128;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(bound)) >> 64).unwrap()
    }

    /// Rank `k` with odds in proportion to `1 / (k + 1)`.
    fn zipf(&mut self, cumulative: &[u64]) -> u64 {
        let at = self.below(*cumulative.last().unwrap());
        u64::try_from(cumulative.partition_point(|&below| below <= at)).unwrap()
    }
}

fn zipf_table(keys: u64) -> Vec<u64> {
    (1..=keys)
        .scan(0, |sum, rank| {
            *sum += 1_000_000_000 / rank;
            Some(*sum)
        })
        .collect()
}

/// The key as a label that holds all of it, so that rows can be matched with counts.
fn label(key: u64) -> Label {
    let key = u32::try_from(key).unwrap();
    Labeller::new().address(std::net::Ipv4Addr::from_bits(key).into(), true)
}

struct Stream {
    top: TopRefused<Label>,
    exact: HashMap<u64, u64>,
    len: u64,
}

impl Stream {
    fn new() -> Self {
        Self { top: TopRefused::new(), exact: HashMap::new(), len: 0 }
    }

    fn add(&mut self, key: u64) {
        self.len += 1;
        *self.exact.entry(key).or_default() += 1;
        self.top.record(key, || label(key), Instant::from_secs(self.len));
    }

    fn assert_bounds(&self) {
        let rows = self.top.list(usize::MAX);
        assert_eq!((self.top.counted(), self.top.missed()), (self.len, 0));
        assert!(rows.len() <= TopRefused::<Label>::CAPACITY);
        assert!(rows.is_sorted_by(|a, b| a.refused >= b.refused));
        let bound = self.len / CAPACITY;
        let shown: HashMap<String, _> = rows.iter().map(|row| (row.who.to_string(), row)).collect();
        assert_eq!(shown.len(), rows.len(), "a key has two entries");
        for (&key, &times) in &self.exact {
            match shown.get(&label(key).to_string()) {
                Some(row) => {
                    assert!(row.refused >= times, "{row:?} is below {times}");
                    assert!(row.refused - row.error <= times, "{row:?} promises more than {times}");
                    assert!(row.error <= bound, "{row:?} is off by more than {bound}");
                }
                None => assert!(times <= bound, "a key refused {times} times has no entry; the bound is {bound}"),
            }
        }
        // What is in the entries is the whole stream, no more and no less.
        assert_eq!(rows.iter().map(|row| row.refused).sum::<u64>(), self.len);
    }
}

#[test]
fn a_zipf_stream_keeps_the_bounds() {
    let cumulative = zipf_table(20_000);
    for seed in 0..3 {
        let mut random = Random(seed);
        let mut stream = Stream::new();
        for _ in 0..50_000 {
            stream.add(random.zipf(&cumulative));
        }
        stream.assert_bounds();
        let first = stream.top.list(3);
        let ranks: Vec<_> = first.iter().map(|row| row.who.to_string()).collect();
        assert_eq!(ranks, ["0.0.0.0", "0.0.0.1", "0.0.0.2"]);
    }
}

#[test]
fn a_flood_of_new_keys_does_not_flush_the_heavy_ones() {
    let mut stream = Stream::new();
    // Ten keys refused 1,000 times each, in the thick of 90,000 keys that come once: the bound is 781.
    for turn in 0..1_000 {
        (0..10).for_each(|key| stream.add(key));
        (0..90).for_each(|key| stream.add(1_000 + turn * 90 + key));
    }
    stream.assert_bounds();
    let heavy: Vec<_> = (0..10).map(|key| label(key).to_string()).collect();
    let mut shown: Vec<_> = stream.top.list(10).iter().map(|row| row.who.to_string()).collect();
    shown.sort();
    assert_eq!(shown, heavy);
}

#[test]
fn few_keys_are_counted_exactly_and_labelled_once() {
    let top = TopRefused::new();
    let mut labels = 0;
    for round in 0..10_u64 {
        for key in 0..CAPACITY {
            top.record(
                key,
                || {
                    labels += 1;
                    label(key)
                },
                Instant::from_secs(100 + round),
            );
        }
    }
    assert_eq!(labels, CAPACITY);
    for row in top.list(usize::MAX) {
        assert_eq!((row.refused, row.error), (10, 0));
        assert_eq!((row.first, row.last), (Instant::from_secs(100), Instant::from_secs(109)));
    }
    assert_eq!(top.list(5).len(), 5);
}

#[test]
fn a_refusal_that_meets_another_is_missed_and_counted_so() {
    let top = TopRefused::new();
    top.record(
        1,
        || {
            top.record(2, || label(2), Instant::from_secs(2));
            label(1)
        },
        Instant::from_secs(1),
    );
    assert_eq!((top.counted(), top.missed()), (1, 1));

    let (threads, each) = (4, 5_000);
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                start.wait();
                (0..each).for_each(|key| top.record(key % 200, || label(key), Instant::from_secs(3)));
            });
        }
    });
    assert_eq!(top.counted() + top.missed(), 2 + threads * each);
}

#[test]
fn a_label_that_panics_leaves_the_rest_as_it_was() {
    let top = TopRefused::new();
    top.record(1, || label(1), Instant::from_secs(1));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        top.record(2, || panic!("on purpose"), Instant::from_secs(2));
    }));
    assert!(panicked.is_err());
    top.record(1, || label(1), Instant::from_secs(3));
    let rows = top.list(9);
    assert_eq!((rows.len(), rows[0].refused), (1, 2));
}
