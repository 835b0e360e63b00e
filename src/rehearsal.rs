//! What a call would do at another instant, if nobody else came: with which a refusal in a full table says how long to
//! wait. Keys of one call compete for slots there, so each must know what the others would have taken.

use crate::hash::Identity;
use crate::on_full::OnFull;
use crate::protocol::Places;
use crate::slot::Slot;
use crate::word::{Balance, State, Units, Word};

/// The slots that are given away in a rehearsal: a small set of addresses, on the stack, as nothing is allocated to decide.
pub(crate) struct Rehearsal {
    at: Units,
    slots: [usize; Self::ROOM],
    count: usize,
}

impl Rehearsal {
    /// In the models few: loom's stacks are small.
    const ROOM: usize = if cfg!(tollgate_model) { 32 } else { 2_048 };
    /// Beyond that, looking for a place in the set would take long; then the call is taken not to fit.
    const MOST: usize = Self::ROOM * 3 / 4;

    pub(crate) const fn at(at: Units) -> Self {
        Self { at, slots: [0; Self::ROOM], count: 0 }
    }

    /// The instant that is rehearsed.
    pub(crate) const fn now(&self) -> Units {
        self.at
    }

    /// Where a slot is in the set, or would be.
    fn place(&self, slot: &Slot) -> (usize, bool) {
        let address = core::ptr::from_ref(slot).addr();
        let mut place = address / size_of::<Slot>() % Self::ROOM;
        // Ends: a quarter of the places is empty.
        while self.slots[place] != 0 && self.slots[place] != address {
            place = (place + 1) % Self::ROOM;
        }
        (place, self.slots[place] == address)
    }

    fn is_given(&self, slot: &Slot) -> bool {
        self.place(slot).1
    }

    fn give(&mut self, slot: &Slot) -> bool {
        let (place, is_given) = self.place(slot);
        if self.count == Self::MOST || is_given {
            return false;
        }
        self.slots[place] = core::ptr::from_ref(slot).addr();
        self.count += 1;
        true
    }

    /// Whether `update` of this key would change its bucket, after all that has been rehearsed before.
    pub(crate) fn update<P: Places>(
        &mut self,
        places: &P,
        id: Identity,
        on_full: OnFull,
        decide: &mut impl FnMut(Balance) -> Option<Balance>,
    ) -> bool {
        let mut words = [Word::FULL; 32];
        let (mut mine, mut free) = (None, 0_u32);
        for (place, seen) in words.iter_mut().enumerate().take(places.count()) {
            let slot = places.slot(place);
            let (word, key) = slot.read();
            *seen = word;
            if self.is_given(slot) {
                continue;
            }
            if key == id && word.state() == State::Live {
                mine = Some(place);
            }
            free |= u32::from(word.is_free(self.at)) << place;
        }
        if let Some(place) = mine {
            return decide(words[place].balance()).is_some() && self.give(places.slot(place));
        }
        if decide(Balance::FULL).is_none() {
            return false;
        }
        if let Some(place) = places.prefer(free, |place| words[place].stamp()) {
            return self.give(places.slot(place));
        }
        match on_full {
            OnFull::AdmitUntracked => true,
            OnFull::RefuseNew => false,
            OnFull::EvictNearestIdle => {
                let others = (0..places.count()).filter(|&place| {
                    let word = words[place];
                    word.is_settled() && word.stamp() < Word::MAX_STAMP && !self.is_given(places.slot(place))
                });
                let Some(nearest) = others.min_by_key(|&place| words[place].stamp()) else { return false };
                let word = words[nearest];
                decide(word.at(word.stamp() + 1).balance()).is_some() && self.give(places.slot(nearest))
            }
        }
    }
}

/// The first instant later than `refused`, at which it is not so, for which `fits` is true; `None` if there is none. It is
/// assumed that what fits at one instant fits at every later one.
pub(crate) fn first_that_fits(refused: Units, fits: impl Fn(Units) -> bool) -> Option<Units> {
    let (mut no, mut yes) = (refused, Word::MAX_STAMP);
    if no >= yes || !fits(yes) {
        return None;
    }
    // Near the refusal first: most waits are a small part of the range.
    let mut step = 1;
    while let Some(next) = no.checked_add(step).filter(|&next| next < yes) {
        if fits(next) {
            yes = next;
            break;
        }
        (no, step) = (next, step.saturating_mul(4));
    }
    while yes - no > 1 {
        let middle = no + (yes - no) / 2;
        if fits(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    Some(yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_fits_is_found() {
        for refused in [0, 1, 7, 1 << 40, Word::MAX_STAMP - 1] {
            for wait in [1, 2, 3, 4, 5, 63, 1 << 30] {
                let first = refused.saturating_add(wait);
                let expected = (first <= Word::MAX_STAMP).then_some(first);
                assert_eq!(first_that_fits(refused, |at| at >= first), expected, "{refused} {wait}");
            }
        }
    }
}
