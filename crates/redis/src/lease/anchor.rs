//! The time of a server, seen from this node.
//!
//! An answer says what the server's clock read at some instant between the sending of the request and the reading of the answer, and
//! no more. So at any later instant the server's time is at most what it would be if the clock had been read at the sending: that
//! bound is what stretches are spent by. A middle, or the instant of the reading, would sell time that has gone by.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use arc_swap::ArcSwapOption;

/// By as much one clock may run ahead of the other: a thousandth, twice what NTP slews by, so that the crystals have the rest.
const DRIFT: u64 = 1_000;
/// As far, in microseconds, a server's clock may be behind what it was without being taken for one that was set back.
const BACK: u64 = 1_000;

/// One answer: the server's clock, in microseconds, and this node's at the sending and at the reading, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) sent: u64,
    pub(crate) read: u64,
    pub(crate) server_us: u64,
}

impl Anchor {
    /// The last instant of this node at which it is certain that the server's clock is not past `us`.
    pub(crate) fn until(&self, us: u64) -> u64 {
        // One for the microsecond that the clock may have been in the middle of.
        let ahead = us.saturating_sub(self.server_us).saturating_sub(1).saturating_mul(1_000);
        self.sent.saturating_add(ahead - ahead.div_ceil(DRIFT + 1))
    }

    /// The latest that the server's clock can be at an instant of this node.
    fn high(&self, now: u64) -> u64 {
        let gone = now.saturating_sub(self.sent);
        self.server_us.saturating_add(1).saturating_add((gone + gone.div_ceil(DRIFT)).div_ceil(1_000))
    }

    /// The earliest that it can be; before the reading as well, as answers are not taken in in the order in which they were given.
    pub(crate) fn low(&self, now: u64) -> u64 {
        match now.checked_sub(self.read) {
            Some(gone) => self.server_us.saturating_add((gone - gone.div_ceil(DRIFT)) / 1_000),
            None => {
                let before = self.read - now;
                self.server_us.saturating_sub(before.saturating_add(before.div_ceil(DRIFT)).div_ceil(1_000))
            }
        }
    }
}

/// What this node knows of the clock of one server.
#[derive(Debug, Default)]
pub(crate) struct ServerClock {
    anchor: ArcSwapOption<Anchor>,
    is_renewed: AtomicBool,
}

impl ServerClock {
    /// Takes an answer in. The best anchor after it, and whether the clock has stepped: then nothing holds that was paid for by it.
    pub(crate) fn learn(&self, new: Anchor) -> (Anchor, bool) {
        let known = self.anchor.load_full();
        // Relaxed, with the store below: it guards nothing, and who has read it a moment too early is told by the next answer. No
        // model.
        let is_renewed = self.is_renewed.swap(false, Ordering::Relaxed);
        let Some(old) = known.as_deref().copied() else {
            self.anchor.store(Some(Arc::new(new)));
            return (new, false);
        };
        let stepped = new.server_us > old.high(new.read) || new.server_us + BACK < old.low(new.sent);
        // The one by which the server is less far.
        if stepped || is_renewed || new.high(new.read) < old.high(new.read) {
            // If another answer has come between, the next will do.
            self.anchor.compare_and_swap(&known, Some(Arc::new(new)));
            return (new, stepped);
        }
        (old, false)
    }

    /// There is another connection, which may be to another server: its first answer takes the place of the anchor.
    pub(crate) fn renew(&self) {
        self.is_renewed.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_that_of_the_sending() {
        // Case 7 of the design: read 2 ms after it was sent.
        let anchor = Anchor { sent: 0, read: 2_000_000, server_us: 1_000_000 };
        assert_eq!(anchor.high(2_000_000), 1_002_003);
        assert_eq!(anchor.low(2_000_000), 1_000_000);
        let until = anchor.until(1_065_000);
        assert!(anchor.high(until) <= 1_065_000);
        assert!(anchor.high(until + 2_000) > 1_065_000);
        assert_eq!(anchor.until(1_000_000), 0);
    }

    #[test]
    fn the_best_answer_counts_until_drift_has_spoilt_it() {
        let clock = ServerClock::default();
        let at = |sent, read, server_us| Anchor { sent, read, server_us };
        let good = at(0, 1_000_000, 1_000_500);
        assert_eq!(clock.learn(good), (good, false));
        // Nine milliseconds for an answer whose clock was read at once.
        let slow = at(10_000_000, 19_000_000, 1_011_000);
        assert_eq!(clock.learn(slow), (good, false));
        // An hour later a thousandth is more than the way.
        let hour = 3_600_000_000_000;
        let later = at(hour, hour + 1_000_000, 1_000_500 + 3_600_000_000);
        assert_eq!(clock.learn(later), (later, false));
    }

    #[test]
    fn answers_that_come_in_another_order_are_no_step() {
        // The second was sent 5 ms after the first, and is taken in before it.
        let clock = ServerClock::default();
        let second = Anchor { sent: 5_000_000, read: 6_000_000, server_us: 1_005_500 };
        let first = Anchor { sent: 0, read: 10_000_000, server_us: 1_001_000 };
        assert_eq!(clock.learn(second), (second, false));
        assert_eq!(clock.learn(first), (second, false));
        // Of a clock that runs true, none is one, in whatever order, however long the ways and whatever the drift.
        let mut dice = fastrand::Rng::with_seed(1);
        for round in 0..2_000 {
            let clock = ServerClock::default();
            let drift = dice.i64(-999..=999);
            for _ in 0..20 {
                let sent = 1_000_000_000 + dice.u64(0..60_000_000);
                let ran = sent + dice.u64(0..30_000_000);
                let read = ran + dice.u64(0..30_000_000);
                let server_us =
                    5_000_000_000 + ran.saturating_add_signed(i64::try_from(ran).unwrap() / 1_000_000 * drift) / 1_000;
                assert!(!clock.learn(Anchor { sent, read, server_us }).1, "round {round}");
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_is_seen() {
        let clock = ServerClock::default();
        let at = |ms: u64, server_us| Anchor { sent: ms * 1_000_000, read: (ms + 1) * 1_000_000, server_us };
        assert!(!clock.learn(at(0, 9_000_000)).1);
        assert!(!clock.learn(at(100, 9_100_500)).1);
        assert!(clock.learn(at(200, 9_400_000)).1);
        assert!(!clock.learn(at(300, 9_500_000)).1);
        assert!(clock.learn(at(400, 9_300_000)).1);
    }
}
