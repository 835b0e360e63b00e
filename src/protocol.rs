//! Step 3 and 4 of a check: one key among the few slots it may use. Lock-free; no slot is ever waited for.
//!
//! ```text
//!               claim: CAS, if idle (or forced)
//!    live ───────────────────────────────────────► claimed
//!     ▲ ▲ └─ debit, refund: CAS                        │  key, then word: stores of the claimer alone
//!     │ └───────────────────────────────┐              ▼
//!     │ go live, with the first debit:  └────────── pending
//!     │ CAS by whoever inserts the key                 │  lost, or killed by a rival that comes before it:
//!     │                                                ▼  CAS by whoever inserts the key
//!    claimed ◄───────────────────────────────────── dead
//!       ▲       claim: CAS
//!       └── taken over: CAS, of a slot that stays pending while a full set is looked at again and again
//! ```
//!
//! - **No key twice** (P3): an inserter publishes its pending slot, then looks again at every other slot, with a full
//!   fence between. Of two inserters of one key at least one sees the other, and the slot that comes first in the key's
//!   own order wins; a live one beats any pending one.
//! - **Nobody waits** (P9): a pending slot whose owner has stopped is adopted by the next inserter of its key, and taken over by
//!   that of another key which finds no other. A claimed one is passed over: one slot less, until it is known that its claimer is
//!   dead.
//! - **Nothing is lost** (P4): only a slot whose stamp is earlier than now is claimed, by a CAS on the very word that
//!   was judged; a claim moves the stamp and flips the generation, so that the words of a slot do not return.
//!
//! `DESIGN.md` has the argument in full, and what remains of the ABA problem where operations lower words.

use crate::claimer::Claimer;
use crate::hash::Identity;
use crate::on_full::OnFull;
use crate::slot::Slot;
use crate::sync::{Ordering, Retry, fence};
use crate::word::{Balance, State, Units, Word};

/// The slots that one key may use, in the key's own order. The same key always gets the same slots in the same order.
pub(crate) trait Places {
    /// How many there are, at most 32.
    fn count(&self) -> usize;
    /// The slot at a place.
    fn slot(&self, place: usize) -> &Slot;
    /// Goes through all of them, in order.
    fn each(&self, look: impl FnMut(usize, &Slot));
    /// Which of the free places, given as bits with the stamps they have, a new key takes; `None` if there is none.
    fn prefer(&self, free: u32, stamp: impl Fn(usize) -> Units) -> Option<usize>;
    /// A free place that `prefer` would choose whatever the others are, and its word, if that is easily seen.
    fn likely(&self, now: Units) -> Option<(usize, Word)>;
    /// Takes note that a busy key was forgotten to make room.
    fn count_eviction(&self);
    /// Who claims slots here, of a table that others share.
    fn claimer(&self) -> Option<Claimer> {
        None
    }
}

/// What became of an attempt to change a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Changed to this balance.
    Changed(Balance),
    /// Decided on this balance: no change, and nothing was written.
    Kept(Balance),
    /// The key is new, every slot it may use is busy, and the request is refused for that. Nothing was written.
    Full(Full),
    /// The key is new, there is no room for it, and the policy lets it pass unrecorded.
    Untracked,
}

/// A set of slots without room for a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// The stamp nearest to idle.
    pub(crate) nearest: Units,
    /// The one furthest from it.
    pub(crate) latest: Units,
    /// Whether the new key would have inherited the nearest stamp, and its request did not fit on top.
    pub(crate) inherits: bool,
}

/// How often a full set of slots is looked at again while some of them are in other inserters' hands. Any number is
/// right; the models take a small one, as every look again multiplies what they have to go through.
const MAX_RESCANS: u32 = if cfg!(tollgate_model) { 2 } else { 16 };
/// More than a key has.
const MAX_PLACES: usize = 32;
/// How often a call starts over because others were faster. Threads of these rules do not come near it: of 64 that want one word all
/// the time one succeeds each time, so that a call is overtaken 8,192 times running once in 10^56. It is for a process that has the
/// table mapped and changes words without end: it gets the answer of a full set, instead of holding calls for ever. Models have
/// no such process, and end by themselves.
const MAX_ROUNDS: u32 = if cfg!(tollgate_model) { u32::MAX } else { 8_192 };
/// The same of a loop within one round.
const MAX_ROUNDS_WITHIN: u32 = if cfg!(tollgate_model) { u32::MAX } else { 64 };

/// As [`update`], of a key that was nowhere a moment ago. That proves nothing, but neither does the look that it spares:
/// whoever inserts looks again once the slot is published.
#[cold]
pub(crate) fn insert<P: Places>(
    places: &P,
    id: Identity,
    now: Units,
    on_full: OnFull,
    decide: &mut impl FnMut(Balance) -> Option<Balance>,
) -> Outcome {
    let inserted = places
        .likely(now)
        .and_then(|(place, word)| Search { places, id, now }.insert(&Room::Free(place, word), on_full, decide));
    inserted.unwrap_or_else(|| update(places, id, now, on_full, decide))
}

/// Changes the bucket of `id` from the balance it has to the one `decide` answers; a key nobody has is full.
///
/// `decide` is pure and may be called several times; `None` leaves everything untouched. Lock-free: a retry means that
/// another thread has changed a slot of this key; and bounded: see `MAX_ROUNDS`.
#[cold]
pub(crate) fn update<P: Places>(
    places: &P,
    id: Identity,
    now: Units,
    on_full: OnFull,
    decide: &mut impl FnMut(Balance) -> Option<Balance>,
) -> Outcome {
    let search = Search { places, id, now };
    let retry = Retry::new();
    let mut patience = MAX_RESCANS;
    let mut pending = [Word::FULL; MAX_PLACES];
    for _ in 0..MAX_ROUNDS {
        retry.again(patience);
        let outcome = match search.find(&mut pending, patience) {
            Found::Live(place, word) => try_word(places.slot(place), word, decide),
            Found::Pending(place, pending) => search.settle(place, pending, decide),
            Found::Absent(Room::None(crowd)) if crowd.in_transit && patience > 0 => {
                patience -= 1;
                retry.spin();
                None
            }
            Found::Absent(room) => search.insert(&room, on_full, decide),
        };
        if let Some(outcome) = outcome {
            return outcome;
        }
    }
    match on_full {
        OnFull::AdmitUntracked => Outcome::Untracked,
        OnFull::EvictNearestIdle | OnFull::RefuseNew => {
            Outcome::Full(Full { nearest: now, latest: now, inherits: false })
        }
    }
}

/// What became of one try at a bucket.
pub(crate) enum Tried {
    Done(Outcome),
    /// The key is there, but another thread was faster, or the slot is not live.
    Overtaken,
    /// The key was not found.
    Absent,
}

/// A slot that held the key when this word of it was read, with its balance, if it was live.
#[inline(always)]
pub(crate) fn see(found: (&Slot, Word)) -> Option<((&Slot, Word), Balance)> {
    (found.1.state() == State::Live).then(|| (found, found.1.balance()))
}

/// Changes a slot from what was seen, unless it has changed since: the owner of a slot changes with its word.
#[inline(always)]
pub(crate) fn put((slot, word): (&Slot, Word), after: Balance) -> bool {
    slot.replace(word, word.live(after))
}

/// One try at a slot that held the key when this word of it was read, if it was live.
#[inline]
pub(crate) fn try_word(
    slot: &Slot,
    word: Word,
    decide: &mut impl FnMut(Balance) -> Option<Balance>,
) -> Option<Outcome> {
    if word.state() != State::Live {
        return None;
    }
    match decide(word.balance()) {
        Some(after) => slot.replace(word, word.live(after)).then_some(Outcome::Changed(after)),
        None => slot.still(word).then_some(Outcome::Kept(word.balance())),
    }
}

/// Tries at a slot that held the key when this word of it was read, for as long as it holds it, live. Lock-free: nobody
/// comes round twice with the same word; and bounded, by what `update` goes on with.
pub(crate) fn try_words(
    slot: &Slot,
    mut word: Word,
    id: Identity,
    decide: &mut impl FnMut(Balance) -> Option<Balance>,
) -> Option<Outcome> {
    for _ in 0..MAX_ROUNDS {
        let outcome = try_word(slot, word, decide);
        let (newer, key) = slot.read();
        if outcome.is_some() || newer == word || key != id {
            return outcome;
        }
        word = newer;
    }
    None
}

/// The balance of `id`; full if nobody has it. Writes nothing.
#[cold]
pub(crate) fn read<P: Places>(places: &P, id: Identity) -> Balance {
    let mut last = Balance::FULL;
    'again: for _ in 0..MAX_ROUNDS {
        for place in 0..places.count() {
            let slot = places.slot(place);
            let (word, key) = slot.read();
            if key == id && word.state() == State::Live {
                if slot.still(word) {
                    return word.balance();
                }
                last = word.balance();
                continue 'again;
            }
        }
        // Absent, or pending: nothing has been counted. A key that moved while we looked was idle for a moment of it.
        return Balance::FULL;
    }
    // Somebody changes the word without end. It was one that he has put there.
    last
}

/// Whose bucket a slot holds, and what of it, if it is live and not full at `now`: both of one instant. Writes nothing.
///
/// A pending slot has counted nothing yet. Of a claimed one the last owner has gone, and the next has yet to come.
pub(crate) fn look(slot: &Slot, now: Units) -> Option<(Identity, Balance)> {
    for _ in 0..MAX_ROUNDS {
        let (word, key) = slot.read();
        if word.state() != State::Live || word.stamp() <= now {
            return None;
        }
        // Lock-free: another thread has changed the slot. Model: peek.
        if slot.still(word) {
            return Some((key, word.balance()));
        }
    }
    None
}

/// Takes slots that have all been idle since before `since`, and were not all never used, has `forget` make them such as were
/// never used, and says whether it did. If one is in use, or is taken meanwhile, all stay, and none is held.
///
/// `DESIGN.md` 5 has the argument. No debit can fall on a claimed slot, so none is lost with it: to look first and forget
/// then would lose the one that comes in between. Model: release.
pub(crate) fn release<'a>(
    slots: impl Iterator<Item = &'a Slot> + Clone,
    now: Units,
    since: Units,
    claimer: Option<Claimer>,
    forget: impl FnOnce() -> bool,
) -> bool {
    // Before anything is written: most of what is in use is found here.
    let mut was_used = false;
    for slot in slots.clone() {
        let word = slot.word();
        if !word.is_free(since) {
            return false;
        }
        was_used |= word != Word::FULL;
    }
    if !was_used {
        return false;
    }
    let mut claimed = slots.clone().map_while(|slot| {
        let word = slot.word();
        // As for a new key: see `Search::insert`.
        let stamp = (word.stamp() + 1).max(now.saturating_sub(1));
        let claimed = if word.is_free(since) { slot.claim(word, stamp, claimer) } else { None };
        claimed.map(|claimed| (slot, claimed))
    });
    let (count, mut held) = (slots.clone().count(), Vec::new());
    held.extend(&mut claimed);
    if held.len() == count && forget() {
        return true;
    }
    for (slot, claimed) in held {
        slot.give_up(claimed);
    }
    false
}

/// What became of a bucket that was put into a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is there.
    Done,
    /// The key had a bucket already, and has the one now that is further from idle.
    Merged,
    /// There was no room: of it and those in its slots, the one nearest to idle is gone.
    Displaced,
}

/// Puts the bucket of `id` into a table that nobody else uses yet. It must not be idle at `now`.
pub(crate) fn put_in<P: Places>(places: &P, id: Identity, balance: Balance, now: Units) -> Put {
    let search = Search { places, id, now };
    // With all patience: there is nobody to wait for.
    let (place, word, put) = match search.find(&mut [Word::FULL; MAX_PLACES], MAX_RESCANS) {
        Found::Live(place, word) | Found::Pending(place, word) => {
            let further = if word.stamp() < balance.stamp { balance } else { word.balance() };
            places.slot(place).replace(word, word.live(further));
            return Put::Merged;
        }
        Found::Absent(Room::Free(place, word)) => (place, word, Put::Done),
        Found::Absent(Room::None(NoFreeSlot { nearest: Some((place, word)), .. })) if word.stamp() < balance.stamp => {
            (place, word, Put::Displaced)
        }
        Found::Absent(Room::None(_)) => return Put::Displaced,
    };
    let slot = places.slot(place);
    // Nobody else is there, so no exchange fails.
    if let Some(claimed) = slot.claim(word, word.stamp() + 1, places.claimer()) {
        let pending = slot.publish(claimed, id);
        slot.replace(pending, pending.live(balance));
    }
    put
}

/// Takes back the stamps of live and dead slots that no call at `now` can have left: the clock has stepped back (`None` if
/// it has not). Each is moved to the latest that such a call can leave, `reach` ahead without debt and with, so that a
/// table used before the step has room again no later than one refill after it. The nearest stamp, if any was moved.
#[cold]
pub(crate) fn repair<P: Places>(
    places: &P,
    now: impl Fn() -> Option<Units>,
    reach: impl Fn() -> [Units; 2],
    mark: impl Fn(Identity, Units),
) -> Option<Units> {
    let (mut nearest, mut moved) = (Units::MAX, false);
    for place in 0..places.count() {
        let slot = places.slot(place);
        // The clock after the word: what the word holds was written at an earlier reading. And what limits there are
        // after it too: whoever wrote it had made its limit known, which came before the Release that this Acquire reads.
        // Model: clock.
        let (word, key) = slot.read();
        if !matches!(word.state(), State::Live | State::Dead) {
            continue;
        }
        let (now, reach) = (now()?, reach()[usize::from(word.is_overdrawn())]);
        if word.stamp() > now + reach {
            mark(key, word.stamp());
            moved |= slot.replace(word, word.at(now + reach));
            nearest = nearest.min(now + reach);
        } else {
            nearest = nearest.min(word.stamp());
        }
    }
    moved.then_some(nearest)
}

/// Frees a slot whose claimer is dead: claimed, or pending. Only while nobody uses the table, as a claimer who lives writes
/// without looking; whether it was one.
#[cfg(not(tollgate_model))]
pub(crate) fn free_abandoned(slot: &Slot) -> bool {
    let word = slot.word();
    // The stamp that a claimed slot would have had is no later than that with which it is buried.
    let dead = if word.state() == State::Claimed { Claimer::bury(word) } else { word.dead() };
    !word.is_settled() && slot.replace(word, dead)
}

/// Frees a slot that is claimed by somebody who is dead, while others use the table; whether it was one. Nothing is done by time.
///
/// `lives` is asked after the word was read. If the one who is named is dead then, the word is his or that of one before him with
/// his number, who is dead as well; so no store of a claimer's can come. Nor can the word return until the exchange: its next owner,
/// whatever his number is, begins with a later stamp. Model: takeover.
pub(crate) fn free_of_the_dead(slot: &Slot, lives: impl FnOnce(Claimer) -> bool) -> bool {
    let word = slot.word();
    let Some(claimer) = Claimer::of(word) else { return false };
    !lives(claimer) && slot.replace(word, Claimer::bury(word))
}

/// Takes the stamp of a slot back to the latest that a call at `now` can leave. Only while nobody uses the table.
#[cfg(not(tollgate_model))]
pub(crate) fn take_back(slot: &Slot, now: Units, reach: [Units; 2]) {
    let word = slot.word();
    let latest = now + reach[usize::from(word.is_overdrawn())];
    if word.stamp() > latest {
        slot.replace(word, word.at(latest));
    }
}

/// One key and the slots it may use.
struct Search<'a, P> {
    places: &'a P,
    id: Identity,
    now: Units,
}

/// What a look at all slots of a key found.
enum Found {
    Live(usize, Word),
    Pending(usize, Word),
    Absent(Room),
}

/// Where an absent key could go.
enum Room {
    /// To this place, which is idle, and had this word.
    Free(usize, Word),
    /// Nowhere without displacing another.
    None(NoFreeSlot),
}

/// A set of slots that are all in use.
struct NoFreeSlot {
    /// The busy slot nearest to idle.
    nearest: Option<(usize, Word)>,
    /// The stamp of the one furthest from it.
    latest: Units,
    /// Whether some slot is claimed or pending, so that it may be free in a moment.
    in_transit: bool,
}

impl<P: Places> Search<'_, P> {
    /// Looks at every slot the key may use. Finding nothing proves nothing: `settle` looks again. `pending` are the words that
    /// were pending when patience began.
    fn find(&self, pending: &mut [Word; MAX_PLACES], patience: u32) -> Found {
        let mut words = [Word::FULL; MAX_PLACES];
        let (mut mine, mut free) = (0_u32, 0_u32);
        self.places.each(|place, slot| {
            let (word, key) = slot.read();
            words[place] = word;
            mine |= u32::from(key == self.id) << place;
            // Earlier than now, not just idle: the claim moves the stamp on by one, and a new bucket must be full.
            free |= u32::from(word.is_free(self.now)) << place;
        });
        for place in bits(mine) {
            match words[place].state() {
                State::Live => return Found::Live(place, words[place]),
                State::Pending => return Found::Pending(place, words[place]),
                State::Dead | State::Claimed => {}
            }
        }
        match self.places.prefer(free, |place| words[place].stamp()) {
            Some(place) => Found::Absent(Room::Free(place, words[place])),
            None => Found::Absent(self.crowd(&words[..self.places.count()], pending, patience)),
        }
    }

    /// What there is instead of a free slot.
    ///
    /// A slot that was pending when patience began and is at its end, by the very same word, is **taken over** as if it were
    /// live: its owner, dead or slow, and whoever adopts it can take it live only by a CAS on that word, which does not return,
    /// and starts over. Not so a claimed one, however long it has been that: its claimer writes without looking. Models:
    /// takeover, stall.
    #[cold]
    fn crowd(&self, words: &[Word], pending: &mut [Word; MAX_PLACES], patience: u32) -> Room {
        if patience == MAX_RESCANS {
            pending[..words.len()].copy_from_slice(words);
        }
        let mut crowd = NoFreeSlot { nearest: None, latest: self.now, in_transit: false };
        for (place, &word) in words.iter().enumerate() {
            if !word.is_settled() {
                crowd.in_transit = true;
                if patience > 0 || word.state() != State::Pending || word != pending[place] {
                    continue;
                }
                if word.stamp() < self.now {
                    return Room::Free(place, word);
                }
            }
            crowd.latest = crowd.latest.max(word.stamp());
            // At the very end of the range there is no later stamp that a newcomer could begin with.
            let can_go = word.stamp() < Word::MAX_STAMP;
            if can_go && crowd.nearest.is_none_or(|(_, best)| word.stamp() < best.stamp()) {
                crowd.nearest = Some((place, word));
            }
        }
        Room::None(crowd)
    }

    /// Makes room for the key and counts its first request, or starts over (`None`).
    fn insert(
        &self,
        room: &Room,
        on_full: OnFull,
        decide: &mut impl FnMut(Balance) -> Option<Balance>,
    ) -> Option<Outcome> {
        // No slot is taken for a request that is refused, or that only looks (P5).
        if decide(Balance::FULL).is_none() {
            return Some(Outcome::Kept(Balance::FULL));
        }
        // Later than the word the slot has now, so that no word comes back; of a free one so late that time tells it from
        // all before, and yet earlier than now, so that it is free at once if it is given up.
        let stamp_after = |word: Word| word.stamp() + 1;
        let (place, word, stamp, forced) = match room {
            Room::Free(place, word) => (*place, *word, stamp_after(*word).max(self.now - 1), false),
            Room::None(crowd) => {
                let full = |nearest, inherits| Some(Outcome::Full(Full { nearest, latest: crowd.latest, inherits }));
                match (crowd.nearest, on_full) {
                    (_, OnFull::AdmitUntracked) => return Some(Outcome::Untracked),
                    // Every slot is in the hands of other inserters, and has been for a while; or at the end of the range.
                    (None, _) => return full(self.now, false),
                    (Some((_, word)), OnFull::RefuseNew) => return full(word.stamp(), false),
                    // The newcomer inherits the debt; for a request that does not fit on top of it nobody is displaced.
                    (Some((_, word)), OnFull::EvictNearestIdle)
                        if decide(word.at(stamp_after(word)).balance()).is_none() =>
                    {
                        return full(stamp_after(word), true);
                    }
                    (Some((place, word)), OnFull::EvictNearestIdle) => {
                        (place, word, stamp_after(word), word.state() == State::Live)
                    }
                }
            }
        };
        let slot = self.places.slot(place);
        let claimed = slot.claim(word, stamp, self.places.claimer())?;
        if forced {
            // Here and not when the request is counted: its key may turn out to be elsewhere, and the other is gone.
            self.places.count_eviction();
        }
        let pending = slot.publish(claimed, self.id);
        self.settle(place, pending, decide)
    }

    /// Takes a pending slot of this key live with its first debit, unless the key is elsewhere; `None` to start over.
    ///
    /// Anybody who inserts the key may do this, to his own pending slot or to another's.
    fn settle(
        &self,
        place: usize,
        pending: Word,
        decide: &mut impl FnMut(Balance) -> Option<Balance>,
    ) -> Option<Outcome> {
        let slot = self.places.slot(place);
        if self.is_elsewhere(place) {
            slot.replace(pending, pending.dead());
            return None;
        }
        match decide(pending.balance()) {
            Some(after) => slot.replace(pending, pending.live(after)).then_some(Outcome::Changed(after)),
            // Another's pending slot, and a request that only looks or does not fit: leave it to its owner.
            None => slot.still(pending).then_some(Outcome::Kept(pending.balance())),
        }
    }

    /// Whether another slot holds the key: live anywhere, or pending before `place`. A pending one after it is killed.
    fn is_elsewhere(&self, place: usize) -> bool {
        // SeqCst: between the publication of this pending slot (by whoever made it; seen, or done, by this thread) and
        // the reads below. The rival has the same fence between its own publication and its reads, so at least one of
        // the two sees the other. Model: claim.
        fence(Ordering::SeqCst);
        // A slot whose key is another's is none: whoever writes this key there comes later, and will see this one.
        let mut rivals = 0_u32;
        self.places.each(|other, slot| rivals |= u32::from(other != place && slot.key() == self.id) << other);
        for other in bits(rivals) {
            let slot = self.places.slot(other);
            let mut rounds = 0;
            loop {
                // Somebody changes the word without end. To give this pending slot up is right whatever the other is.
                if rounds == MAX_ROUNDS_WITHIN {
                    return true;
                }
                rounds += 1;
                // The word after the key that was seen above, so not an older owner's.
                let (word, key) = slot.read();
                match word.state() {
                    _ if key != self.id => break, // another's by now
                    State::Pending if other > place => {
                        if slot.replace(word, word.dead()) {
                            break;
                        }
                    }
                    State::Live | State::Pending => return true,
                    // Nobody's; or claimed: its claimer has yet to publish, and will look again after that.
                    State::Dead | State::Claimed => break,
                }
            }
        }
        false
    }
}

/// The places of the bits that are set, in order.
fn bits(mut set: u32) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let first = set.trailing_zeros() as usize; // at most 32
        set &= set.wrapping_sub(1);
        (first < u32::BITS as usize).then_some(first)
    })
}
