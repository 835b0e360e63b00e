//! What is left of one stretch, in one word: the instant at which it ends, and how many tokens.
//!
//! `end` in nanoseconds of this node's clock, rounded down to 2^12 of them, and in the twelve bits below `4095 - left`. The tokens
//! are the last of the stretch: `[end - left * T, end]`. Tokens whose time has come and gone unused have lapsed, so what is left at
//! `now` is `min(left, (end - now) / T)`. An end and a count in two words would let a thread spend the tokens of the one before the
//! end of the other, and two stretches under one end would sell what lies between them, which others own.

use crate::sync::{AtomicU64, Ordering};

const COUNT: u64 = 4_095;

/// As many tokens as one word holds.
pub(crate) const MOST: u64 = COUNT;

/// The time that one token takes to come back, in nanoseconds, as a fraction; nothing for tokens that are all good until the end,
/// those of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenTime {
    pub(crate) num: u64,
    pub(crate) den: u64,
}

impl TokenTime {
    /// How many of `left` tokens, the last before an end that is `ahead` nanoseconds away, have not lapsed.
    #[inline]
    fn alive(self, left: u64, ahead: u64) -> u64 {
        // A word that is spent, as one of two mostly is, takes no products.
        if left == 0 || ahead == 0 {
            return 0;
        }
        let wide = u128::from;
        let room = wide(ahead) * wide(self.den);
        if wide(left) * wide(self.num) <= room {
            return left;
        }
        self.in_part(left, room)
    }

    /// Of a stretch that has lapsed in part, or wholly: apart, so that the division is in nobody's way.
    #[cold]
    fn in_part(self, left: u64, room: u128) -> u64 {
        // Above the room means above 0. Less than `left`, so within its bits.
        u64::try_from(room / u128::from(self.num)).unwrap_or(left).min(left)
    }
}

/// What is left once tokens were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) left: u64,
    /// When the last of them ends.
    pub(crate) end: u64,
    /// Whether they are all of one stretch.
    pub(crate) is_last: bool,
}

/// What is left of a stretch.
#[derive(Debug)]
pub(crate) struct Word(AtomicU64);

impl Word {
    /// Of no stretch.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(COUNT))
    }

    const fn parts(word: u64) -> (u64, u64) {
        (word & !COUNT, COUNT - (word & COUNT))
    }

    /// Takes `cost` tokens at `now`, all of them or none, from whichever of two stretches ends first and has them, so that less lapses.
    #[inline]
    pub(crate) fn take_of(words: &[Self; 2], now: u64, cost: u64, token: TokenTime) -> Option<Taken> {
        let [first, second] = words;
        // Relaxed: as `take`. Whichever order is seen, both are tried. Above the count stands the end.
        let in_order = first.0.load(Ordering::Relaxed) <= second.0.load(Ordering::Relaxed);
        let (first, second) = if in_order { (first, second) } else { (second, first) };
        if let Some((left, end)) = first.take(now, cost, token) {
            let (other, other_end) = second.left(now, token);
            return Some(Taken { left: left + other, end: end.max(other_end), is_last: other == 0 });
        }
        let (left, end) = second.take(now, cost, token)?;
        let (other, _) = first.left(now, token);
        Some(Taken { left: left + other, end, is_last: other == 0 })
    }

    /// Takes `cost` tokens at `now`, all of them or none. How many are left then, and when they end.
    #[inline]
    pub(crate) fn take(&self, now: u64, cost: u64, token: TokenTime) -> Option<(u64, u64)> {
        // Relaxed, all accesses: the word is all there is to know, nothing is published by it, and the order of changes of one word
        // is the same for all. `loom-tests/tests/fleet_lease.rs`.
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let (end, left) = Self::parts(seen);
            let left = token.alive(left, end.saturating_sub(now)).checked_sub(cost)?;
            // Each use raises the word, and a stretch that was spent or has lapsed makes room for a later one: nobody is held up
            // by more than the others' tokens.
            match self.0.compare_exchange(seen, end | (COUNT - left), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some((left, end)),
                Err(other) => seen = other,
            }
        }
    }

    /// How many tokens are left at `now`, and when they end.
    #[inline]
    pub(crate) fn left(&self, now: u64, token: TokenTime) -> (u64, u64) {
        // Relaxed: as `take`.
        let (end, left) = Self::parts(self.0.load(Ordering::Relaxed));
        (token.alive(left, end.saturating_sub(now)), end)
    }

    /// Puts a stretch that ends at `end` in the place of one of which nothing is left at `now`; whether there was such a place. Only
    /// for one thread at a time.
    pub(crate) fn put(&self, now: u64, end: u64, left: u64, token: TokenTime) -> bool {
        // Relaxed: as `take`.
        let seen = self.0.load(Ordering::Relaxed);
        let (old_end, old_left) = Self::parts(seen);
        if token.alive(old_left, old_end.saturating_sub(now)) > 0 || left > COUNT {
            return false;
        }
        let new = (end & !COUNT) | (COUNT - left);
        // Once: who has changed it meanwhile had an earlier `now`, and took a token of what has lapsed here. What is not put lapses.
        self.0.compare_exchange(seen, new, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Lets all of it lapse.
    pub(crate) fn clear(&self) {
        // Relaxed: as `take`.
        self.0.store(COUNT, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(tollgate_model)))]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const TOKEN: TokenTime = TokenTime { num: MS, den: 1 };

    #[test]
    fn tokens_lapse_from_the_front() {
        let word = Word::new();
        assert_eq!(word.take(0, 1, TOKEN), None);
        // Ten tokens that end at 20 ms: the first may begin at 10.
        assert!(word.put(0, 20 * MS, 10, TOKEN));
        assert_eq!(word.left(0, TOKEN).0, 10);
        assert_eq!(word.take(9 * MS, 3, TOKEN).unwrap().0, 7);
        // Rounded down by less than 4.1 us, so one has lapsed a little early.
        assert_eq!(word.left(16 * MS, TOKEN).0, 3);
        assert_eq!(word.take(16 * MS, 4, TOKEN), None);
        assert_eq!(word.take(16 * MS, 3, TOKEN).unwrap().0, 0);
        assert!(!Word::new().put(0, 20 * MS, 4_096, TOKEN));
    }

    #[test]
    fn a_stretch_takes_the_place_of_none_that_is_alive() {
        let word = Word::new();
        assert!(word.put(0, 20 * MS, 10, TOKEN));
        assert!(!word.put(15 * MS, 90 * MS, 10, TOKEN));
        assert!(word.put(20 * MS, 90 * MS, 10, TOKEN));
        assert_eq!(word.left(20 * MS, TOKEN).0, 10);
    }

    #[test]
    fn of_a_window_all_are_good_until_it_ends() {
        let (word, token) = (Word::new(), TokenTime { num: 0, den: 1 });
        assert!(word.put(0, MS, 10, token));
        let end = word.left(0, token).1;
        assert_eq!(word.left(end - 1, token), (10, end));
        assert_eq!(word.left(end, token).0, 0);
    }
}
