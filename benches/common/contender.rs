//! Who is measured, and the loops that measure. All generic: no virtual call is timed, nor an answer left unread.

use super::keys::Keys;
use super::paired::{Slice, Stopwatch};
use super::terms::{EXHAUSTED, Terms};

/// Answers whether one request of a key may go.
pub trait Contender<K>: Sync {
    fn check(&self, key: &K) -> bool;
}

/// A limiter that can be built for a race.
pub trait Peer: Sized {
    const NAME: &'static str;

    /// How it is used, and what it does less than a keyed, exact, thread-safe limiter with bounded memory.
    const NOTE: &'static str;

    /// For so many keys, with the quota of these terms.
    fn new(keys: u64, terms: Terms) -> Self;
}

/// A peer that can be brought to the state in which a race begins.
pub trait Fill<K>: Contender<K> {
    /// One request that costs so much.
    fn check_n(&self, key: &K, cost: u32) -> bool;
}

/// Every key known, and charged as the terms say.
pub fn fill<K, C: Fill<K>>(contender: &C, keys: &mut impl Keys<K>, count: u64, terms: Terms) {
    for number in 0..count {
        let key = keys.number(number);
        assert!(contender.check_n(key, terms.first(number)), "key {number} of {count} found no room before the race");
    }
}

/// Built, and filled.
pub fn ready<K, P: Peer + Fill<K>>(keys: &mut impl Keys<K>, count: u64, terms: Terms) -> P {
    let peer = P::new(count, terms);
    fill(&peer, keys, count, terms);
    peer
}

/// So many checks, timed together; every answer is counted.
#[inline(never)]
pub fn checks<K, C: Contender<K>>(contender: &C, keys: &mut impl Keys<K>, calls: u64, terms: Terms) -> Slice {
    let watch = Stopwatch::start();
    let admitted = count(contender, keys, calls);
    Slice { nanos: watch.nanos(), calls, admitted, due: terms.due(calls) }
}

/// So many checks; how many were admitted.
#[inline]
pub fn count<K, C: Contender<K>>(contender: &C, keys: &mut impl Keys<K>, calls: u64) -> u64 {
    (0..calls).fold(0, |admitted, _| admitted + u64::from(contender.check(keys.draw())))
}

/// So many checks under [`Terms::Mixed`].
#[inline(never)]
pub fn checks_mixed<C: Contender<u64>>(contender: &C, keys: &mut impl Keys<u64>, calls: u64) -> Slice {
    let watch = Stopwatch::start();
    let (mut admitted, mut due) = (0, 0);
    for _ in 0..calls {
        let key = keys.draw();
        due += u64::from(!key.is_multiple_of(EXHAUSTED));
        admitted += u64::from(contender.check(key));
    }
    Slice { nanos: watch.nanos(), calls, admitted, due }
}
