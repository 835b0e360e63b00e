//! The one word of a bucket: two bits of slot state, two flags, and a stamp of time.
//!
//! ```text
//!   63  62   61          60          59 ............................................ 0
//!  +--------+-----------+-----------+-------------------------------------------------+
//!  | state  | generation| overdrawn | stamp: units since the limiter's epoch           |
//!  +--------+-----------+-----------+-------------------------------------------------+
//! ```
//!
//! The stamp of a token bucket is the instant at which it will be full again; the window algorithms put their counts
//! into its low end. For all of them a bucket is **full, so idle, so as good as absent** once `stamp <= now`.
//! All zeros is a live bucket that has been full since the epoch: fresh memory needs no initialisation.
//!
//! Pure bit arithmetic: no atomics, no clock.

use bytemuck::{Pod, Zeroable};

/// A span or an instant counted in the units of a limiter's [time base](crate::base).
pub(crate) type Units = u64;

/// What a slot is doing. `protocol.rs` says who may change what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum State {
    /// The stamp is the bucket of the key beside it; anybody's to claim once idle.
    Live = 0,
    /// Nobody's; anybody's to claim.
    Dead = 1,
    /// Its claimer is writing the key.
    Claimed = 2,
    /// The key can be read; nothing has been counted yet.
    Pending = 3,
}

/// State, flags and stamp of one bucket.
#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Word(u64);

impl Word {
    pub(crate) const STAMP_WIDTH: u32 = 60;
    const OVERDRAWN_SHIFT: u32 = Self::STAMP_WIDTH;
    const GENERATION_SHIFT: u32 = Self::OVERDRAWN_SHIFT + 1;
    const STATE_SHIFT: u32 = Self::GENERATION_SHIFT + 1;
    const STATE_WIDTH: u32 = 2;

    /// The largest stamp.
    pub(crate) const MAX_STAMP: Units = (1 << Self::STAMP_WIDTH) - 1;

    /// A live bucket that has been full since the epoch.
    pub(crate) const FULL: Self = Self(0);

    pub(crate) const fn stamp(self) -> Units {
        self.0 & Self::MAX_STAMP
    }

    pub(crate) const fn state(self) -> State {
        match self.0 >> Self::STATE_SHIFT {
            0 => State::Live,
            1 => State::Dead,
            2 => State::Claimed,
            _ => State::Pending,
        }
    }

    /// Whether the slot is in nobody's hands, and its stamp earlier than `now`. One comparison: the top bit, which a slot in
    /// somebody's hands has, is above every stamp.
    pub(crate) const fn is_free(self, now: Units) -> bool {
        self.0 & (1 << (u64::BITS - 1) | Self::MAX_STAMP) < now
    }

    /// Whether the slot is live or dead: in nobody's hands.
    pub(crate) const fn is_settled(self) -> bool {
        self.0 >> Self::STATE_SHIFT < State::Claimed as u64
    }

    /// Whether the stamp was written past empty, by a reservation or a charge.
    pub(crate) const fn is_overdrawn(self) -> bool {
        self.0 >> Self::OVERDRAWN_SHIFT & 1 == 1
    }

    const fn with_state(self, state: State) -> Self {
        Self(self.0 & (u64::MAX >> Self::STATE_WIDTH) | (state as u64) << Self::STATE_SHIFT)
    }

    /// The same owner's bucket, live, with another balance.
    pub(crate) const fn live(self, balance: Balance) -> Self {
        let generation = self.0 & 1 << Self::GENERATION_SHIFT;
        let overdrawn = (balance.overdrawn as u64) << Self::OVERDRAWN_SHIFT;
        debug_assert!(balance.stamp <= Self::MAX_STAMP); // what every rule answers: see `algorithm`
        Self(generation | overdrawn | balance.stamp)
    }

    /// The slot taken by an inserter: another generation, and a stamp above the one before.
    pub(crate) const fn claimed(self, stamp: Units) -> Self {
        debug_assert!(stamp > self.stamp() && stamp <= Self::MAX_STAMP);
        let flags = (self.0 ^ 1 << Self::GENERATION_SHIFT) & !Self::MAX_STAMP;
        Self(flags | stamp & Self::MAX_STAMP).with_state(State::Claimed)
    }

    /// A claimed slot whose key has been written.
    pub(crate) const fn pending(self) -> Self {
        self.with_state(State::Pending)
    }

    /// A pending slot given up.
    pub(crate) const fn dead(self) -> Self {
        self.with_state(State::Dead)
    }

    /// The same state and flags at another instant.
    pub(crate) const fn at(self, stamp: Units) -> Self {
        debug_assert!(stamp <= Self::MAX_STAMP);
        Self(self.0 & !Self::MAX_STAMP | stamp & Self::MAX_STAMP)
    }

    /// What the bucket holds, whatever its state.
    pub(crate) const fn balance(self) -> Balance {
        Balance { stamp: self.stamp(), overdrawn: self.is_overdrawn() }
    }
}

impl core::fmt::Debug for Word {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let generation = self.0 >> Self::GENERATION_SHIFT & 1;
        let mark = if self.is_overdrawn() { " overdrawn" } else { "" };
        write!(f, "{:?}.{generation} {}{mark}", self.state(), self.stamp())
    }
}

/// What an algorithm reads and writes of a word: the stamp, and whether it stands past empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) stamp: Units,
    pub(crate) overdrawn: bool,
}

impl Balance {
    /// A bucket nobody has touched.
    pub(crate) const FULL: Self = Self { stamp: 0, overdrawn: false };

    pub(crate) const fn at(stamp: Units) -> Self {
        Self { stamp, overdrawn: false }
    }
}

const _: () = assert!(Word::STATE_SHIFT + Word::STATE_WIDTH == u64::BITS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_touch_each_other() {
        for stamp in [0, 1, Word::MAX_STAMP / 2, Word::MAX_STAMP - 1] {
            for overdrawn in [false, true] {
                let live = Word::FULL.live(Balance { stamp, overdrawn });
                assert_eq!((live.state(), live.stamp(), live.is_overdrawn()), (State::Live, stamp, overdrawn));
                let claimed = live.claimed(Word::MAX_STAMP);
                assert_eq!((claimed.state(), claimed.stamp()), (State::Claimed, Word::MAX_STAMP));
                assert_eq!(claimed.is_overdrawn(), overdrawn);
                assert_eq!(claimed.pending().state(), State::Pending);
                assert_eq!(claimed.pending().dead().state(), State::Dead);
                assert_eq!(claimed.pending().dead().stamp(), Word::MAX_STAMP);
            }
        }
    }

    #[test]
    fn only_settled_words_with_an_earlier_stamp_are_free() {
        for stamp in [0, 7, Word::MAX_STAMP - 1] {
            let live = Word::FULL.live(Balance { stamp, overdrawn: true });
            let claimed = live.claimed(stamp + 1);
            for word in [live, claimed, claimed.pending(), claimed.pending().dead()] {
                for now in [stamp, stamp + 1, Word::MAX_STAMP] {
                    assert_eq!(word.is_free(now), word.is_settled() && word.stamp() < now, "{word:?} at {now}");
                }
            }
        }
    }

    #[test]
    fn a_new_owner_has_another_generation() {
        // The claim moves the stamp; a refund may take it back to what it was.
        let old = Word::FULL.live(Balance::at(7));
        let new = old.claimed(8).pending().live(Balance::at(7));
        assert_ne!(old, new, "the same stamp under another owner is another word");
        assert_eq!(old, new.claimed(8).pending().live(Balance::at(7)), "one bit tells two owners apart, not three");
    }

    #[test]
    fn a_failure_shows_every_field() {
        let word = Word::FULL.live(Balance { stamp: 7, overdrawn: true });
        assert_eq!(format!("{word:?}"), "Live.0 7 overdrawn");
        assert_eq!(format!("{:?}", word.claimed(9).pending()), "Pending.1 9 overdrawn");
        assert_eq!(format!("{:?}", Word::FULL), "Live.0 0");
    }

    #[test]
    fn zero_is_a_full_live_bucket() {
        let fresh: Word = bytemuck::cast(0_u64);
        assert_eq!(fresh, Word::FULL);
        assert_eq!((fresh.state(), fresh.balance()), (State::Live, Balance::FULL));
    }
}
