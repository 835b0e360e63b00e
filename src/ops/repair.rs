//! What a refusal repairs after the limiter's clock has stepped back (`DESIGN.md` 7).

use super::Op;
use crate::algorithm::least;
use crate::cells::Cells;
use crate::clock::Instant;
use crate::decision::{Decision, Evidence};
use crate::limit::Limit;
use crate::protocol::Outcome;
use crate::word::{Balance, Units};

impl<'a, S: Cells> Op<'a, S> {
    /// Whether no call at this time under this quota can have left such a stamp.
    #[inline]
    pub(super) const fn is_from_another_time(self, held: Balance, now: Units) -> bool {
        held.stamp > self.limit.rule.bound(now, held.overdrawn)
    }

    /// Passes a refusal on; one that rests on a stamp from another time is repaired first.
    #[inline]
    pub(crate) fn repair(self, refused: Decision<'a>) -> Decision<'a> {
        let latest = match refused.evidence {
            Evidence::Stamp(latest)
            | Evidence::Log { full_at: latest, .. }
            | Evidence::CrowdedLog { full_at: latest, .. } => latest,
            Evidence::NoRoom { .. } | Evidence::Unlimited => return refused,
        };
        if refused.is_retryable() && self.is_from_another_time(Balance::at(latest), self.units) {
            return self.clamp_all(refused);
        }
        refused
    }

    #[cold]
    pub(super) fn clamp_all(self, refused: Decision<'a>) -> Decision<'a> {
        let repaired = (0..self.span()).filter_map(|cell| self.clamp(cell)).last();
        let Some(now) = repaired.or_else(|| self.clamp_carried()) else { return refused };
        let peeked = self.at(now).peek(refused.cost);
        if peeked.is_allowed() { refused } else { peeked }
    }

    /// If the limiter's clock has stepped back: sets the cell to empty, never to more, so that it refuses no longer than a
    /// refill takes (P7). This and the repairing of other keys' slots are the only writes of a refusal.
    pub(super) fn clamp(self, cell: u64) -> Option<Instant> {
        // A thread that slept with an old `now` must not take another's debit for a step of the clock. So the word is
        // read first and the clock asked again after that: what the word holds was written at an earlier reading, and
        // is impossible only if the clock has stepped back. And only that word is replaced, not what may follow it.
        // Model: clock.
        let seen = self.cells.read(cell);
        let now = self.behind()?;
        let units = self.limit.base.units(now);
        if !self.is_from_another_time(seen, units) {
            return None;
        }
        let repaired = self.drained(units, seen.overdrawn);
        let outcome = self.cells.update(cell, units, |held| {
            if held != seen {
                return None;
            }
            // Of a window nobody asks, as in `lower`; of others that share the mark it would withhold something.
            if self.limit.rule.sells_time() {
                self.cells.marks(cell).lowered.raise(held.stamp);
            }
            Some(repaired)
        });
        matches!(outcome, Outcome::Changed(_)).then_some(now)
    }

    /// The time if the limiter's clock has stepped back; a caller who is ahead of it counts as well.
    pub(super) fn behind(self) -> Option<Instant> {
        let now = self.own.behind_itself()?.max(self.now);
        Some(now)
    }

    /// What a bucket is taken back to. A debt is not forgiven: it stays as large as a debt may be.
    pub(super) fn drained(self, now: Units, overdrawn: bool) -> Balance {
        match overdrawn {
            true => Balance { stamp: self.limit.rule.bound(now, true), overdrawn },
            false => Balance::at(self.limit.rule.empty(now)),
        }
    }

    /// The same where the refusal rests on what was used before the quota changed, later than the clock is now: the bucket is
    /// set to empty, and those before it, so that none of them says anything once that is full.
    pub(super) fn clamp_carried(self) -> Option<Instant> {
        if !self.has_predecessor() {
            return None;
        }
        // As in `clamp`: the words first, then the clock.
        let seen = self.predecessors().map(|before| (before, self.cells.under(before.salt)));
        let mut words = [Balance::FULL; Limit::PREDECESSORS];
        for (word, (_, cells)) in words.iter_mut().zip(seen.clone()) {
            *word = cells.read(0);
        }
        // Past empty is what was written so: a stamp that is far ahead of the earlier time need not be.
        let carried = Balance { overdrawn: words.iter().any(|word| word.overdrawn), ..self.read() };
        let now = self.behind()?;
        let units = self.limit.base.units(now);
        if !self.is_from_another_time(carried, units) {
            return None;
        }
        let (rule, repaired) = (&self.limit.rule, self.drained(units, carried.overdrawn));
        self.cells.update(0, units, |held| (held.stamp <= units).then_some(repaired));
        for (seen, (before, cells)) in words.into_iter().zip(seen) {
            let empty = before.rule().empty(units);
            let repaired = Balance::at(if rule.sells_time() { least(empty, before.since()) } else { empty });
            cells.update(0, units, |held| {
                if held != seen || held.stamp <= repaired.stamp {
                    return None;
                }
                if rule.sells_time() {
                    cells.marks(0).lowered.raise(held.stamp);
                }
                Some(repaired)
            });
        }
        if self.cells.read(0) == Balance::FULL {
            // It found no slot, as those of others may be from that time too.
            self.cells.repair_others(0, || self.behind().map(|now| self.limit.base.units(now)));
        }
        Some(now)
    }

    /// Passes a refusal on; one that waits for slots which others left at another time is repaired first.
    pub(super) fn repair_room(self, refused: Decision<'a>) -> Decision<'a> {
        let waits_too_long = |until| refused.is_retryable() && until > self.units + self.window() + 1;
        if !matches!(refused.evidence, Evidence::CrowdedLog { ready_at, .. } if waits_too_long(ready_at)) {
            return refused;
        }
        let now = || self.behind().map(|now| self.limit.base.units(now));
        if (0..self.limit.cells).filter_map(|cell| self.cells.repair_others(cell, now)).count() == 0 {
            return refused;
        }
        let peeked = self.peek_into_log(refused.cost);
        if peeked.is_allowed() { refused } else { peeked }
    }
}
