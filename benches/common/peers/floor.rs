//! What a check cannot be cheaper than: hash, processor's counter, load and compare-and-swap, on an array of as many
//! words as there are keys. It limits nothing.
#![expect(clippy::cast_possible_truncation, reason = "the index is masked")]

use std::hash::Hash;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use crossbeam_utils::CachePadded;

use crate::common::contender::{Contender, Peer};
use crate::common::terms::Terms;

/// The floor under a check at exact time.
pub struct Array {
    words: Box<[AtomicU64]>,
    hasher: RandomState,
    counter: quanta::Clock,
}

impl Array {
    #[inline]
    fn replace<K: Hash>(&self, key: &K, now: impl FnOnce() -> u64) -> bool {
        let word = &self.words[self.hasher.hash_one(key) as usize & (self.words.len() - 1)];
        let (now, seen) = (now(), word.load(Ordering::Acquire));
        word.compare_exchange(seen, black_box(now), Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

impl Peer for Array {
    const NAME: &'static str = "floor";
    const NOTE: &'static str = "hash, counter, load, compare-and-swap on an array of as many words; limits nothing";

    fn new(keys: u64, _: Terms) -> Self {
        // Ones: pages of zeros would all be one page until they are written.
        let words = (0..keys.next_power_of_two()).map(|_| AtomicU64::new(1)).collect();
        Self { words, hasher: RandomState::new(), counter: quanta::Clock::new() }
    }
}

impl<K: Hash> Contender<K> for Array {
    #[inline]
    fn check(&self, key: &K) -> bool {
        self.replace(key, || self.counter.raw())
    }
}

/// The floor under a check at cached time or at the caller's `now`: no counter is read.
pub struct ArrayWithoutTime(Array);

impl Peer for ArrayWithoutTime {
    const NAME: &'static str = "floor without time";
    const NOTE: &'static str = "hash, load, compare-and-swap on an array of as many words; limits nothing";

    fn new(keys: u64, terms: Terms) -> Self {
        Self(Array::new(keys, terms))
    }
}

impl<K: Hash> Contender<K> for ArrayWithoutTime {
    #[inline]
    fn check(&self, key: &K) -> bool {
        self.0.replace(key, || 7)
    }
}

/// The floor under one hot key: a compare-and-swap loop on one word, alone on its cache line.
pub struct CasLoop(CachePadded<AtomicU64>);

impl Peer for CasLoop {
    const NAME: &'static str = "bare CAS loop";
    const NOTE: &'static str = "one word, incremented by compare-and-swap until it succeeds; no key, no time, no limit";

    fn new(_: u64, _: Terms) -> Self {
        Self(CachePadded::new(AtomicU64::new(0)))
    }
}

impl<K> Contender<K> for CasLoop {
    #[inline]
    fn check(&self, _: &K) -> bool {
        let mut seen = self.0.load(Ordering::Acquire);
        while let Err(other) = self.0.compare_exchange(seen, seen + 1, Ordering::Release, Ordering::Acquire) {
            seen = other;
        }
        true
    }
}
