//! The bucket of a limit whose quota has changed (`predecessor.rs`).

use super::Op;
use crate::cells::Cells;
use crate::predecessor::Predecessor;
use crate::protocol::Outcome;
use crate::rehearsal::Rehearsal;
use crate::word::{Balance, Units};

impl<'a, S: Cells> Op<'a, S> {
    /// Whether the key may have used something under a limit whose place this one has taken. (Of a log, whose cells are the
    /// same, `span` says what counts.)
    #[inline]
    pub(super) fn has_predecessor(self) -> bool {
        !self.limit.is_plain() && !self.limit.is_log() && self.predecessors().next().is_some()
    }

    /// The limits whose place this one has taken, as long as they count, the oldest first.
    pub(super) fn predecessors(self) -> impl Iterator<Item = &'a Predecessor> + Clone {
        self.limit.predecessors.iter().rev().flatten().filter(move |before| before.counts_at(self.units))
    }

    /// How far from full the key is at least, by what it used before; `close` looks at each old bucket, and may change it.
    pub(super) fn carried(self, close: impl Fn(S, &dyn Fn(Balance) -> Balance, &Predecessor) -> Balance) -> Units {
        let mut carried = 0;
        let mut chain = self.predecessors().peekable();
        while let Some(before) = chain.next() {
            let now = self.units;
            let held = close(self.cells.under(before.salt), &|held| before.raised(held, carried, now), before);
            let next = chain.peek().map_or(&self.limit.rule, |next| next.rule());
            carried = before.carried(next, held, now);
        }
        carried
    }

    /// A balance, or the one that the key has left before, whichever is further from full.
    pub(super) fn carrying(self, held: Balance, carried: Units) -> Balance {
        let (rule, now) = (&self.limit.rule, self.units);
        let stamp = rule.later(held.stamp, carried, now);
        Balance { overdrawn: held.overdrawn || rule.balance(stamp, now).overdrawn, stamp }
    }

    /// The balance of cell 0, with what the key used under the limits before.
    #[inline]
    pub(super) fn read(self) -> Balance {
        let held = self.cells.read(0);
        // A bucket that is in use has begun with that.
        if !self.has_predecessor() || self.limit.rule.is_begun(held.stamp, self.units) {
            return held;
        }
        self.carrying(held, self.carried(|cells, raised, _| raised(cells.read(0))))
    }

    /// Changes cell 0 from the balance that `read` says.
    pub(super) fn update(self, decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        if self.has_predecessor() {
            self.update_after(decide, |now, decide| self.cells.update(0, now, decide))
        } else {
            self.cells.update(0, self.units, decide)
        }
    }

    /// The same, but nobody is displaced for it.
    pub(super) fn update_if_room(self, mut decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome {
        if self.has_predecessor() {
            self.update_after(&mut decide, |now, decide| self.cells.update_if_room(now, decide))
        } else {
            self.cells.update_if_room(self.units, decide)
        }
    }

    /// The same, of a limit whose quota has changed (`predecessor.rs`).
    #[cold]
    fn update_after(
        self,
        mut decide: impl FnMut(Balance) -> Option<Balance>,
        update: impl Fn(Units, &mut dyn FnMut(Balance) -> Option<Balance>) -> Outcome,
    ) -> Outcome {
        let held = self.read();
        if decide(held).is_none() {
            // A refusal, or a look: nothing is written.
            return Outcome::Kept(held);
        }
        let own = self.cells.read(0).stamp;
        let carried = if self.limit.rule.is_begun(own, self.units) {
            0
        } else if own == Balance::FULL.stamp && !self.has_room_to_close(&mut decide) {
            // Who needs a slot himself finds none, or only what closing would take from him.
            self.carried(|cells, raised, _| raised(cells.read(0)))
        } else {
            self.carried(|cells, raised, before| {
                let (mut old, mut was_absent) = (raised(Balance::FULL), false);
                cells.update_if_room(self.units, |held| {
                    // The stamp of a slot that was taken for it a moment ago says nothing.
                    was_absent |= held == Balance::FULL;
                    old = raised(if was_absent && held.stamp < self.units { Balance::FULL } else { held });
                    before.closed(old, self.units)
                });
                old
            })
        };
        let mut kept = held;
        let outcome = update(self.units, &mut |held| {
            kept = self.carrying(held, carried);
            decide(kept)
        });
        if let Outcome::Kept(_) = outcome { Outcome::Kept(kept) } else { outcome }
    }

    /// Whether a bucket that is nowhere finds a slot if those before it are closed first.
    pub(super) fn has_room_to_close(self, decide: &mut impl FnMut(Balance) -> Option<Balance>) -> bool {
        let mut rehearsal = Rehearsal::at(self.units);
        for before in self.predecessors() {
            let old = self.cells.under(before.salt);
            if old.read(0).stamp > 0 || old.has_room(self.units) {
                old.rehearse(0, &mut rehearsal, |held| before.closed(held, self.units));
            }
        }
        let carried = self.read().stamp;
        self.cells.rehearse(0, &mut rehearsal, |held| decide(self.carrying(held, carried)))
    }
}
