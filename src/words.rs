//! The words of a bucket that is in no table.

use crate::cells::Cells;
use crate::hash::Salt;
use crate::marks::Marks;
use crate::protocol::{Outcome, Tried};
use crate::rehearsal::Rehearsal;
use crate::sync::{Atomic, Ordering};
use crate::word::{Balance, Units, Word};

/// The word of a bucket; for a sliding log, one word per request it can remember.
#[derive(Debug)]
pub(crate) struct Words {
    words: Box<[Atomic<Word>]>,
    marks: Marks,
}

impl Words {
    pub(crate) fn new(count: u64) -> Self {
        Self { words: (0..count).map(|_| Atomic::new(Word::FULL)).collect(), marks: Marks::new() }
    }

    fn word(&self, cell: u64) -> &Atomic<Word> {
        // A limit has as many cells as were made for it: at most `Quota::MAX_LOG`. Any other quota falls on the first.
        usize::try_from(cell).ok().and_then(|cell| self.words.get(cell)).unwrap_or(&self.words[0])
    }
}

impl Cells for &Words {
    // Sets are of keys in a table.
    type Seen = core::convert::Infallible;

    fn see(&self) -> Option<(Self::Seen, Balance)> {
        None
    }

    fn put(seen: Self::Seen, _after: Balance) -> bool {
        match seen {}
    }

    #[inline]
    fn try_update(&self, decide: impl FnMut(Balance) -> Option<Balance>) -> Tried {
        Tried::Done(self.update(0, 0, decide))
    }

    fn insert(&self, now: Units, decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        self.update(0, now, decide)
    }

    #[inline]
    fn update(&self, cell: u64, _now: Units, mut decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        let cell = self.word(cell);
        // Acquire, also when the exchange fails, and Release in the exchange, with each other: a thread that observes a stamp also observes the
        // reading of the clock that made it, on which `Op::clamp` relies, and the marks that were raised before it
        // (`marks.rs`), on which refunding and undoing rely. Nothing else is published. An exchange that succeeds needs no
        // Acquire: what it replaces was acquired before. Models: clock, reserve, undo.
        let mut word = cell.load(Ordering::Acquire);
        loop {
            let Some(after) = decide(word.balance()) else { return Outcome::Kept(word.balance()) };
            match cell.compare_exchange(word, word.live(after), Ordering::Release, Ordering::Acquire) {
                Ok(_) => return Outcome::Changed(after),
                Err(newer) => word = newer,
            }
        }
    }

    #[inline]
    fn read(&self, cell: u64) -> Balance {
        // Acquire, with the exchange above: as there. Models: bucket, clock.
        self.word(cell).load(Ordering::Acquire).balance()
    }

    fn under(&self, _other: Salt) -> Self {
        self // a bucket has one limit
    }

    fn update_if_room(&self, now: Units, decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        self.update(0, now, decide)
    }

    fn rehearse(&self, cell: u64, _: &mut Rehearsal, mut decide: impl FnMut(Balance) -> Option<Balance>) -> bool {
        decide(self.read(cell)).is_some()
    }

    fn marks(&self, _cell: u64) -> &Marks {
        &self.marks
    }
}
