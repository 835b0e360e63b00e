//! The seam between what is done to a bucket (`ops.rs`) and where its words are: in a table, by themselves, or in a model.

use crate::hash::Salt;
use crate::marks::Marks;
use crate::protocol::{Outcome, Tried};
use crate::rehearsal::Rehearsal;
#[cfg(not(tollgate_model))]
use crate::table::Entry;
use crate::word::{Balance, Units};
use crate::words::Words;

/// The words of one bucket: cell 0, or one cell per request of a sliding log.
pub(crate) trait Cells: Copy {
    /// Changes a cell from the balance it has to the one `decide` answers; `None` leaves it untouched.
    fn update(&self, cell: u64, now: Units, decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome;

    /// One try at cell 0.
    fn try_update(&self, decide: impl FnMut(Balance) -> Option<Balance>) -> Tried;

    /// Cell 0 where it was found, and its word.
    type Seen: Copy;

    /// Cell 0 and its balance, if it is there, and live.
    fn see(&self) -> Option<(Self::Seen, Balance)>;

    /// Changes the cell from what was seen to `after`, unless it has changed since.
    fn put(seen: Self::Seen, after: Balance) -> bool;

    /// As `update`, to a cell 0 that was not there a moment ago.
    fn insert(&self, now: Units, decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome;

    /// The balance of a cell; full if it is not there.
    fn read(&self, cell: u64) -> Balance;

    /// Whether others who come to the table by its name do not find this one, as somebody has noticed.
    fn is_detached(&self) -> bool {
        false
    }

    /// Takes note of what one request found, whatever number of cells it wanted.
    fn note(&self, _room: Room) {}

    /// Whether there is a free slot for cell 0, which has none.
    fn has_room(&self, _now: Units) -> bool {
        true
    }

    /// Whether `update` of the cell would change it in a rehearsal.
    fn rehearse(&self, cell: u64, rehearsal: &mut Rehearsal, decide: impl FnMut(Balance) -> Option<Balance>) -> bool;

    /// The same key under another limit, whose salt is so far from this one's.
    fn under(&self, other: Salt) -> Self;

    /// As `update` of cell 0, but nobody is displaced for it.
    fn update_if_room(&self, now: Units, decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome;

    /// The marks that the cell's key shares with some others.
    fn marks(&self, cell: u64) -> &Marks;

    /// Takes back the words of other keys, in slots that the cell could use, which no call at `now` can have left; the
    /// nearest stamp then, if there were any. `now` is asked after they have been read; `None`: the clock has not stepped back.
    fn repair_others(&self, _cell: u64, _now: impl Fn() -> Option<Units>) -> Option<Units> {
        None
    }
}

/// What a request found that may have needed slots for a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Slots, or it needed none.
    Enough,
    /// None, and it was refused for that.
    Refused,
    /// None, and it was admitted unrecorded.
    Untracked,
}

/// Either kind of bucket, for handles that outlive the call.
#[derive(Clone, Copy)]
pub(crate) enum AnyCells<'a> {
    #[cfg(not(tollgate_model))]
    Table(Entry<'a>),
    Bucket(&'a Words),
}

impl Cells for AnyCells<'_> {
    fn update(&self, cell: u64, now: Units, decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        match self {
            #[cfg(not(tollgate_model))]
            Self::Table(entry) => entry.update(cell, now, decide),
            Self::Bucket(words) => words.update(cell, now, decide),
        }
    }

    #[inline]
    fn try_update(&self, decide: impl FnMut(Balance) -> Option<Balance>) -> Tried {
        match self {
            #[cfg(not(tollgate_model))]
            Self::Table(entry) => entry.try_update(decide),
            Self::Bucket(words) => words.try_update(decide),
        }
    }

    // Sets are asked of a table itself.
    type Seen = core::convert::Infallible;

    fn see(&self) -> Option<(Self::Seen, Balance)> {
        None
    }

    fn put(seen: Self::Seen, _after: Balance) -> bool {
        match seen {}
    }

    fn insert(&self, now: Units, decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        match self {
            #[cfg(not(tollgate_model))]
            Self::Table(entry) => entry.insert(now, decide),
            Self::Bucket(words) => words.insert(now, decide),
        }
    }

    fn read(&self, cell: u64) -> Balance {
        match self {
            #[cfg(not(tollgate_model))]
            Self::Table(entry) => entry.read(cell),
            Self::Bucket(words) => words.read(cell),
        }
    }

    fn has_room(&self, now: Units) -> bool {
        match self {
            #[cfg(not(tollgate_model))]
            Self::Table(entry) => entry.has_room(now),
            Self::Bucket(words) => words.has_room(now),
        }
    }

    fn is_detached(&self) -> bool {
        match self {
            #[cfg(not(tollgate_model))]
            Self::Table(entry) => entry.is_detached(),
            Self::Bucket(_) => false,
        }
    }

    fn note(&self, room: Room) {
        match self {
            #[cfg(not(tollgate_model))]
            Self::Table(entry) => entry.note(room),
            Self::Bucket(words) => words.note(room),
        }
    }

    fn under(&self, other: Salt) -> Self {
        match self {
            #[cfg(not(tollgate_model))]
            Self::Table(entry) => Self::Table(entry.under(other)),
            Self::Bucket(words) => Self::Bucket(words.under(other)),
        }
    }

    fn update_if_room(&self, now: Units, decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        match self {
            #[cfg(not(tollgate_model))]
            Self::Table(entry) => entry.update_if_room(now, decide),
            Self::Bucket(words) => words.update_if_room(now, decide),
        }
    }

    fn rehearse(&self, cell: u64, rehearsal: &mut Rehearsal, decide: impl FnMut(Balance) -> Option<Balance>) -> bool {
        match self {
            #[cfg(not(tollgate_model))]
            Self::Table(entry) => entry.rehearse(cell, rehearsal, decide),
            Self::Bucket(words) => words.rehearse(cell, rehearsal, decide),
        }
    }

    fn marks(&self, cell: u64) -> &Marks {
        match self {
            #[cfg(not(tollgate_model))]
            Self::Table(entry) => entry.marks(cell),
            Self::Bucket(words) => words.marks(cell),
        }
    }

    fn repair_others(&self, cell: u64, now: impl Fn() -> Option<Units>) -> Option<Units> {
        match self {
            #[cfg(not(tollgate_model))]
            Self::Table(entry) => entry.repair_others(cell, now),
            Self::Bucket(words) => words.repair_others(cell, now),
        }
    }
}

#[cfg(not(tollgate_model))]
impl<'a> From<Entry<'a>> for AnyCells<'a> {
    fn from(entry: Entry<'a>) -> Self {
        Self::Table(entry)
    }
}

impl<'a> From<&'a Words> for AnyCells<'a> {
    fn from(words: &'a Words) -> Self {
        Self::Bucket(words)
    }
}
