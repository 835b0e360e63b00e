//! What the words of buckets cannot say: up to which instant one of them may have promised something, up to which it has
//! been lowered for another reason than that a debit was undone, and whether a lease may hold a part of it.
//!
//! **Which word may be lowered by what.** Read the stamp's axis as time that is sold (`algorithm/batch.rs`). Lowering a
//! stamp frees the end of it, and may free only what nobody owns:
//!
//! | what | frees | sound, because |
//! |---|---|---|
//! | undoing a debit: a reservation cancelled, a waiter dropped, a set rolled back | all of the debit, or nothing | the word still is the one that the debit left, so its stretch is the last one sold, and it is its owner who frees it |
//! | rolling a set back behind others, in a token bucket | what time has not paid for of the debit | all others have gone: nobody waits (`promised`), nobody holds (`leased`); their stretches move forward into the gap, and none begins before its request went |
//! | giving a lease back | what is left of the batch, or nothing | the same |
//! | refund | up to the cost | it is a cost below zero, by definition; not what is promised to a waiter: `promised` |
//! | reset, a conversion that fills the bucket | all | the same, whoever waits |
//! | repair after a step of the clock | down to empty | the stamp is from a time that the clock has yet to show (`step.rs`) |
//!
//! Debits undone and leases given back compare stamps. That the stamp is the one that the debit left proves that nobody has taken since only if it
//! has not been lowered and raised again to that very instant in between. Undoing cannot do that: what is freed ends at
//! the stamp, and who owns what lies below has his end where he left it. The others can; so they raise `lowered` to the
//! stamp they found, and a debit that ends no later than that is not undone. (Windows count, and have no places: there one
//! request less is one less, whoever took.)
//!
//! A mark is shared by many keys: one of them may withhold from another what could have come back, and nothing else.

#[cfg(not(tollgate_model))]
use crate::hash::Identity;
use crate::sync::{Atomic, Ordering};
use crate::word::Units;

/// An instant that only becomes later. Raised before the word is changed for the reason that it marks.
#[derive(Debug)]
#[cfg_attr(not(tollgate_model), repr(transparent))]
pub(crate) struct Mark(Atomic<u64>);

impl Mark {
    fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Before the compare-and-swap of the word that it is about.
    pub(crate) fn raise(&self, to: Units) {
        // Relaxed, both, with `get`: the word carries it. It is raised before the CAS that changes the word, a Release, and
        // asked for after the word was read, an Acquire: whoever has read that word, or one that followed it, finds it.
        // Models: undo, refund, reserve.
        if self.0.load(Ordering::Relaxed) < to {
            self.0.fetch_max(to, Ordering::Relaxed);
        }
    }

    /// After the word was read.
    pub(crate) fn get(&self) -> Units {
        // Relaxed, with `raise`: see there. Models: undo, refund, reserve.
        self.0.load(Ordering::Relaxed)
    }
}

/// The marks of some keys. In a table that several processes have mapped, they are in the mapping: what one has promised the
/// others may not give away.
#[derive(Debug)]
#[cfg_attr(not(tollgate_model), repr(C))]
pub(crate) struct Marks {
    /// The latest instant at which one who reserved may go.
    pub(crate) promised: Mark,
    /// The latest stamp that was lowered, but for debits undone.
    pub(crate) lowered: Mark,
    /// Not zero once there was a lease.
    pub(crate) leased: Mark,
}

impl Marks {
    pub(crate) fn new() -> Self {
        Self { promised: Mark::new(), lowered: Mark::new(), leased: Mark::new() }
    }
}

/// The marks of a table: a key has those that its identity falls on.
#[cfg(not(tollgate_model))]
#[derive(Debug)]
pub(crate) struct MarkTable(crate::memory::Beside<Marks>);

#[cfg(not(tollgate_model))]
impl MarkTable {
    /// 6 KiB.
    pub(crate) const COUNT: usize = 256;

    pub(crate) fn new() -> Self {
        Self((0..Self::COUNT).map(|_| Marks::new()).collect())
    }

    /// In a mapping, of which they are `COUNT`.
    #[cfg(target_os = "linux")]
    pub(crate) fn shared(marks: crate::memory::Beside<Marks>) -> Self {
        assert!(marks.len() == Self::COUNT);
        Self(marks)
    }

    pub(crate) fn of(&self, id: Identity) -> &Marks {
        // A power of two, and bits that choose neither line nor shard.
        const MIDDLE: u32 = 24;
        let index = usize::try_from(id.bits() >> MIDDLE & (Self::COUNT as u64 - 1)).unwrap_or(0);
        &self.0[index]
    }
}
