//! One slot: a key and a bucket word, and every ordering with which they are touched.
//!
//! | access | ordering | reason and partner | model (`loom-tests/tests/models`) |
//! |---|---|---|---|
//! | `word` load in `read`, `word` | Acquire | pairs with the store in `publish`: a thread that observes a word of an owner also observes that owner's key | `claim`, `reclaim` |
//! | `key` load in `read` | Acquire | pairs with the store in `publish`: a thread that observes a newer key also observes the slot claimed when it looks at the word again | `claim`, `peek` |
//! | `key` load in `key` | Acquire | as in `read`; where it proves that a rival is not there, the fences of both prove it | `claim` |
//! | `word` load in `still` | Relaxed | ordered after the key by that Acquire; only compared | `peek` |
//! | CAS in `replace` (debit, refund, go live, give up) | Release, else Relaxed | pairs with the word load: a thread that observes the stamp also observes the reading of the clock that made it, on which `Op::clamp` relies (the key needs no more: a read-modify-write continues the release sequence that `publish` heads); a failure reads again | `clock`, `reclaim`, `claim` |
//! | CAS in `claim` | Relaxed | the word it expects was acquired by `read`, so the claimer comes after the last owner's key; the Release of its own key store carries the claim; a failure starts over | `claim`, `reclaim` |
//! | `key` store in `publish` | Release | pairs with the key load: carries the claim before it | `claim`, `peek` |
//! | `word` store in `publish` | Release | pairs with the word load: carries the key | `claim` |
//!
//! A slot whose memory is given back becomes one that was never used, key and word at once, at the hands of the system: `wipe` stands
//! for that in the models (`release`).
//!
//! The stores are the claimer's, who alone may write then; in the models they are swaps (`sync.rs` says why).

use crate::claimer::Claimer;
use crate::hash::Identity;
use crate::sync::{Atomic, Ordering};
use crate::word::{Units, Word};

/// 16 bytes: whose bucket this is, and the bucket. All zeros is a free slot that was never used.
#[derive(Debug)]
#[cfg_attr(not(tollgate_model), repr(C))]
pub(crate) struct Slot {
    key: Atomic<Identity>,
    word: Atomic<Word>,
}

#[cfg(not(tollgate_model))]
const _: () = assert!(size_of::<Slot>() == 16);

/// A claim that was won: the word that stands there now, and the stamp that the slot has from then on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimed {
    word: Word,
    stamp: Units,
}

impl Slot {
    #[cfg(tollgate_model)]
    pub(crate) fn new() -> Self {
        Self { key: Atomic::new(Identity::NONE), word: Atomic::new(Word::FULL) }
    }

    /// The word, then the key beside it. If the word has not changed since (a later CAS succeeds, or [`Self::still`]),
    /// the key was the owner's.
    #[inline(always)]
    pub(crate) fn read(&self) -> (Word, Identity) {
        // Acquire, both, with the stores in `publish`: a thread that observes an owner's word also observes its key, and a thread that observes a newer key also observes
        // the slot claimed when it looks at the word again. Models: claim, reclaim, peek.
        let word = self.word.load(Ordering::Acquire);
        let key = self.key.load(Ordering::Acquire);
        (word, key)
    }

    /// The word alone.
    #[inline]
    pub(crate) fn word(&self) -> Word {
        // Acquire, with the store in `publish`: a claim that follows comes after the last owner's key. Models: claim, reclaim.
        self.word.load(Ordering::Acquire)
    }

    /// The key alone.
    #[inline]
    pub(crate) fn key(&self) -> Identity {
        // Acquire, with the store in `publish`: a thread that observes a key also observes the slot claimed. That a key is not there is proved by
        // the fences of both rivals. Model: claim.
        self.key.load(Ordering::Acquire)
    }

    /// Whether the word is still the one read before the key.
    #[inline]
    pub(crate) fn still(&self, word: Word) -> bool {
        // Relaxed: ordered after the key by the Acquire of `read`, and only compared. Partner: any CAS or store of the word.
        // Model: peek.
        self.word.load(Ordering::Relaxed) == word
    }

    /// Changes the word if it is still the one that was read.
    #[inline]
    pub(crate) fn replace(&self, old: Word, new: Word) -> bool {
        // Release, with the load in `read`: a thread that observes the stamp also observes the reading of the clock that made it. Relaxed if it
        // fails: the slot is read again. Models: clock, reclaim, claim.
        self.word.compare_exchange(old, new, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Takes the slot from nobody or from an idle (or, if forced, a busy) owner whose word was read as `old`. The
    /// claimer alone may change it until it is published; or who knows that he is dead, if he is named.
    pub(crate) fn claim(&self, old: Word, stamp: Units, claimer: Option<Claimer>) -> Option<Claimed> {
        let claimed = old.claimed(stamp);
        let claimed = claimer.map_or(claimed, |claimer| claimer.name_in(claimed));
        // Relaxed, both: what it expects was acquired by `read`, the key store in `publish` carries the claim, and a
        // failure starts over. Models: claim, reclaim.
        let is_won = self.word.compare_exchange(old, claimed, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        is_won.then_some(Claimed { word: claimed, stamp })
    }

    /// Gives a slot back that this thread has claimed.
    pub(crate) fn give_up(&self, Claimed { word, stamp }: Claimed) {
        // Nobody else changes a claimed slot of one who lives, so this does not fail.
        self.replace(word, word.dead().at(stamp));
    }

    /// Writes the key of a slot claimed by this thread, and lets everybody read it: pending.
    pub(crate) fn publish(&self, Claimed { word, stamp }: Claimed, id: Identity) -> Word {
        let pending = word.pending().at(stamp);
        // Release, both, with the loads in `read`: the key carries the claim, the word carries the key. Models: claim, peek.
        self.key.store(id, Ordering::Release);
        self.word.store(pending, Ordering::Release);
        pending
    }

    /// What a slot claimed by this thread is once the system has taken its memory: as if never used. The key first, as nobody
    /// who reads the word and then the key sees a new word and an old key: the system takes both at once, and whoever reads
    /// after that reads zeros.
    #[cfg(tollgate_model)]
    pub(crate) fn wipe(&self) {
        // Release, both, with the loads in `read`: the system interrupts every processor that may still have the old page, which
        // orders more than this. Model: release.
        self.key.store(Identity::NONE, Ordering::Release);
        self.word.store(Word::FULL, Ordering::Release);
    }
}
