//! Who has claimed a slot of a table that processes share: told by the claimed word, so that it can be found out whether he lives.
//!
//! A claimed word's stamp is nobody's business but the claimer's, who knows it and publishes it. So its lowest bits have room for a
//! number, which is its process's as long as that lives. Of a private table there is nobody to ask for, and the stamp stays whole.

use crate::word::{State, Units, Word};

/// One of those who may claim slots of a table: a number from 1 to [`Claimer::MOST`], or nobody that could be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claimer(Units);

impl Claimer {
    const MASK: Units = (1 << 10) - 1;
    /// The largest number.
    pub(crate) const MOST: u64 = Self::MASK;
    /// Of whom nothing is known, as all numbers are taken: what he leaves is freed by who is alone only.
    #[cfg(not(tollgate_model))]
    pub(crate) const UNKNOWN: Self = Self(0);

    /// The one with a number.
    pub(crate) const fn numbered(number: u64) -> Option<Self> {
        if number >= 1 && number <= Self::MOST { Some(Self(number)) } else { None }
    }

    #[cfg(not(tollgate_model))]
    pub(crate) const fn number(self) -> u64 {
        self.0
    }

    /// The claimed word that names this claimer.
    pub(crate) const fn name_in(self, claimed: Word) -> Word {
        claimed.at(claimed.stamp() & !Self::MASK | self.0)
    }

    /// Whom a word of a shared table names, if it is claimed by one with a number.
    pub(crate) fn of(word: Word) -> Option<Self> {
        if word.state() == State::Claimed { Self::numbered(word.stamp() & Self::MASK) } else { None }
    }

    /// The word of a slot that is taken from a claimer who is dead: no earlier than the stamp that he knew, and no word of before.
    pub(crate) const fn bury(claimed: Word) -> Word {
        claimed.dead().at(claimed.stamp() | Self::MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::word::Balance;

    #[test]
    fn a_claimed_word_names_its_claimer_and_loses_no_debt() {
        let live = Word::FULL.live(Balance::at(5_000));
        for number in [1, 7, Claimer::MOST] {
            let claimer = Claimer::numbered(number).unwrap();
            for stamp in [5_001, 5_119, 5_120, 1 << 40, Word::MAX_STAMP] {
                let claimed = claimer.name_in(live.claimed(stamp));
                assert_eq!((claimed.state(), Claimer::of(claimed)), (State::Claimed, Some(claimer)));
                let buried = Claimer::bury(claimed);
                assert!(buried.state() == State::Dead && buried.stamp() >= stamp && buried.stamp() < stamp + 1_024);
            }
        }
        assert_eq!(Claimer::of(live), None);
        assert!(Claimer::numbered(0).is_none() && Claimer::numbered(Claimer::MOST + 1).is_none());
    }
}
