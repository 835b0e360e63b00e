//! The word of a fleet's lease (`crates/redis/src/lease/word.rs`), the very file, on loom's atomics: threads that take from a
//! stretch while the next is put into its place.
#![cfg(tollgate_model)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

#[path = "../../crates/redis/src/lease/word.rs"]
#[allow(dead_code, unreachable_pub)]
mod word;

#[path = "../../crates/redis/src/lease/tally.rs"]
#[allow(dead_code, unreachable_pub)]
mod tally;

use tally::{Kind, Places, Tally};
use word::{TokenTime, Word};

const MS: u64 = 1 << 20;
/// A token a millisecond, of 2^20 ns, so that ends are not rounded.
const TOKEN: TokenTime = TokenTime { num: MS, den: 1 };

/// Runs all schedules; what came of them.
fn outcomes<T: Ord + Send + 'static>(body: impl Fn() -> T + Send + Sync + 'static) -> BTreeSet<T> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let into = Arc::clone(&seen);
    loom::model(move || {
        let outcome = body();
        into.lock().unwrap().insert(outcome);
    });
    std::mem::take(&mut *seen.lock().unwrap())
}

fn taken(word: &Word, now: u64, cost: u64) -> u64 {
    if word.take(now, cost, TOKEN).is_some() { cost } else { 0 }
}

/// Three tokens, and three threads that want two, one and one: whatever is taken was there, and a thread is refused only if
/// the others have left too little.
#[test]
fn nothing_is_taken_twice() {
    let seen = outcomes(|| {
        let word = loom::sync::Arc::new(Word::new());
        assert!(word.put(0, 10 * MS, 3, TOKEN));
        let others = [2, 1].map(|cost| {
            let word = loom::sync::Arc::clone(&word);
            loom::thread::spawn(move || taken(&word, MS, cost))
        });
        let mine = taken(&word, MS, 1);
        let [two, one] = others.map(|other| other.join().unwrap());
        let left = word.left(MS, TOKEN).0;
        assert_eq!(mine + two + one + left, 3);
        (two, one, mine)
    });
    assert_eq!(seen, BTreeSet::from([(2, 1, 0), (2, 0, 1), (0, 1, 1)]));
}

/// The next stretch comes into the place of one that has lapsed for who puts it, while a thread with an earlier clock takes from that:
/// it has a token of the old one or of the new one, and never one of the old one under the new end.
#[test]
fn what_has_lapsed_makes_room() {
    let seen = outcomes(|| {
        let word = loom::sync::Arc::new(Word::new());
        assert!(word.put(0, 4 * MS, 2, TOKEN));
        let other = {
            let word = loom::sync::Arc::clone(&word);
            // Two of the old stretch, or of the new.
            loom::thread::spawn(move || word.take(2 * MS, 2, TOKEN))
        };
        let putter = {
            let word = loom::sync::Arc::clone(&word);
            loom::thread::spawn(move || word.put(4 * MS, 20 * MS, 5, TOKEN))
        };
        let taken = other.join().unwrap();
        let is_put = putter.join().unwrap();
        let (left, end) = word.left(4 * MS, TOKEN);
        (is_put, taken.map(|(left, end)| (left, end / MS)), left, end / MS)
    });
    assert_eq!(
        seen,
        BTreeSet::from([
            // Of the old one before it made room; at the very moment, and then the new one lapses; of the new one.
            (true, Some((0, 4)), 5, 20),
            (false, Some((0, 4)), 0, 4),
            (true, Some((3, 20)), 3, 20),
        ])
    );
}

/// Two threads that count one each, the second in a place of its own, in the first one's after that has gone, or in none: no count is
/// lost, and whoever has joined both sees both.
#[test]
fn no_count_is_lost_when_a_place_changes_hands() {
    let seen = outcomes(|| {
        let both = loom::sync::Arc::new((Tally::new(), Places::new()));
        let count = |(tally, places): &(Tally, Places)| {
            let place = places.take();
            tally.add(place, Kind::Allowed);
            place.inspect(|&place| places.give_back(place))
        };
        let other = {
            let both = loom::sync::Arc::clone(&both);
            loom::thread::spawn(move || count(&both))
        };
        let mine = count(&both);
        let other = other.join().unwrap();
        assert_eq!(both.0.sum(Kind::Allowed), 2);
        (mine, other)
    });
    assert_eq!(seen, BTreeSet::from([(Some(0), Some(0)), (Some(0), Some(1)), (Some(1), Some(0))]));
}
