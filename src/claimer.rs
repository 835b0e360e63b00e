//! Who has claimed a slot of a table that processes share: told by the claimed word, so that it can be found out whether he lives.
//!
//! A claimed word's stamp is nobody's business but the claimer's, who knows it and publishes it. So its lowest bits have room for a
//! number, which is its process's as long as that lives. Of a private table there is nobody to ask for, and the stamp stays whole.

#[cfg(not(tollgate_model))]
use crate::process::Process;
#[cfg(not(tollgate_model))]
use crate::sync::{Atomic, Ordering};
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

/// A number that is a process's for as long as it lives, and what keeps it: dropped, it is free again.
#[cfg(not(tollgate_model))]
pub(crate) type Kept = (Claimer, Box<dyn Send>);

/// Who the process that asks is to the others of a shared table: the one that attached, or a child that was forked from it, which takes a
/// number of its own when it first claims a slot.
#[cfg(not(tollgate_model))]
pub(crate) struct Claimers {
    process: Process,
    first: Claimer,
    /// The number of the child that this memory is in, below what tells that child from its ancestors, whose memory it was.
    child: Atomic<u64>,
    take: Box<dyn Fn() -> Option<Kept> + Send + Sync>,
}

#[cfg(not(tollgate_model))]
impl Claimers {
    /// For the process that calls this, which has that number; a child gets its own from `take`, or goes by this one, if there is none.
    pub(crate) fn new(first: Claimer, take: impl Fn() -> Option<Kept> + Send + Sync + 'static) -> Self {
        Self { process: Process::current(), first, child: Atomic::new(0), take: Box::new(take) }
    }

    /// That of the process that attached. It is alive as long as anybody is who was forked from it.
    pub(crate) const fn first(&self) -> Claimer {
        self.first
    }

    /// That of this process: a load, but for the first call in a child, which takes a few system calls.
    #[inline]
    pub(crate) fn current(&self) -> Claimer {
        if self.process.is_current() { self.first } else { self.of_child() }
    }

    #[cold]
    #[inline(never)]
    fn of_child(&self) -> Claimer {
        // What is shifted out tells forks from one another that are four million generations apart; taken for each other, the later has
        // the number of its ancestor, which is kept for it as well.
        let process = Process::current().bits() << Claimer::MASK.count_ones();
        let number = |word: u64| Claimer(word & Claimer::MASK);
        // Relaxed, all: memory of one process, and the value is all there is; what keeps the number is the kernel's. No model: it is
        // written once in a process.
        let seen = self.child.load(Ordering::Relaxed);
        if seen & !Claimer::MASK == process {
            return number(seen);
        }
        let (claimer, kept) = match (self.take)() {
            Some((claimer, kept)) => (claimer, Some(kept)),
            None => (self.first, None),
        };
        match self.child.compare_exchange(seen, process | claimer.0, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {
                // Until the process ends: slots may name it from now on.
                core::mem::forget(kept);
                claimer
            }
            // Another thread of the child was first.
            Err(other) => number(other),
        }
    }
}

#[cfg(not(tollgate_model))]
impl core::fmt::Debug for Claimers {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Claimers").field("first", &self.first).finish_non_exhaustive()
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
