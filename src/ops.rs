//! Everything that can be done to one bucket, written once: over a table entry, a lone bucket, or a model.

mod log;
mod repair;
mod state;
mod succession;

use core::time::Duration;

use crate::algorithm::batch::Batch;
use crate::algorithm::{Debit, Fraction, Reserved, Rule};
use crate::cells::{AnyCells, Cells, Room};
use crate::clock::{Clock, Instant};
use crate::decision::{Decision, Evidence, Verdict};
use crate::limit::Limit;
use crate::protocol::{Full, Outcome, Tried};
use crate::rehearsal::{Rehearsal, first_that_fits};
use crate::step::Steps;
use crate::word::{Balance, Units};

/// How tokens are carried over when a key [moves](crate::Limiter::convert) from one limit to another; the four ways of
/// bucket4j's `TokensInheritanceStrategy`. The bucket that it moves to never gains by it, but for [`Reset`](Self::Reset).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Inheritance {
    /// As many tokens as before, at most the new burst.
    AsIs,
    /// The same share of the new burst as of the old.
    Proportional,
    /// As many as before, plus what the burst has grown by, or less what it has shrunk by.
    Additive,
    /// A full bucket.
    Reset,
}

/// The limiter's own clock, and whether it has stepped back.
#[derive(Clone, Copy)]
pub(crate) struct OwnClock<'a> {
    pub(crate) clock: &'a dyn Clock,
    pub(crate) steps: &'a Steps,
}

impl OwnClock<'_> {
    /// What it shows now, after all that this thread has read: not what it showed while a word was on its way.
    fn now(self) -> Instant {
        crate::clock::os::order();
        self.steps.now(self.clock)
    }

    /// The same, if it is earlier than it once was.
    fn behind_itself(self) -> Option<Instant> {
        let now = self.now();
        self.steps.is_behind(now).then_some(now)
    }
}

/// Whether a key was looked for and not found.
struct Absent(bool);

/// One call: a bucket, the limit it is under, and the time.
#[derive(Clone, Copy)]
pub(crate) struct Op<'a, S> {
    pub(crate) cells: S,
    pub(crate) limit: &'a Limit,
    pub(crate) now: Instant,
    units: Units,
    own: OwnClock<'a>,
}

impl<'a, S: Cells> Op<'a, S> {
    #[inline]
    pub(crate) const fn new(cells: S, limit: &'a Limit, now: Instant, own: OwnClock<'a>) -> Self {
        Self { cells, limit, now, units: limit.base.units(now), own }
    }

    /// The same, where what `now` is in units of the limit is known already: limits of one limiter have one time base.
    #[inline]
    pub(crate) const fn at_units(cells: S, limit: &'a Limit, now: (Instant, Units), own: OwnClock<'a>) -> Self {
        Self { cells, limit, now: now.0, units: now.1, own }
    }

    /// The same, of a kind that is told apart at each call.
    pub(crate) fn of_any_kind(self) -> Op<'a, AnyCells<'a>>
    where
        S: Into<AnyCells<'a>>,
    {
        Op::new(self.cells.into(), self.limit, self.now, self.own)
    }

    /// The same bucket at another instant.
    pub(crate) fn at(self, now: Instant) -> Self {
        Op::new(self.cells, self.limit, now, self.own)
    }

    /// The time as the limiter's clock has it now.
    pub(crate) fn latest(self) -> Instant {
        self.own.now()
    }

    /// Takes `cost` if it fits; the common case first: a bucket of one cell that is there, and fits or does not.
    #[inline(always)]
    pub(crate) fn check(self, cost: u64) -> Decision<'a> {
        // Made anew from its parts, out of line, so that in the common case they stay in registers.
        self.quick(cost)
            .unwrap_or_else(|absent| Self::take_and_note(self.cells, self.limit, self.now, self.own, cost, absent))
    }

    /// As `check`, for a part of a request. Whether something of it went unrecorded is the caller's to count, once.
    pub(crate) fn check_part(self, cost: u64, untracked: &mut bool) -> Decision<'a> {
        self.quick(cost).unwrap_or_else(|absent| {
            let (decision, room) = self.take(cost, absent);
            match room {
                Room::Untracked => *untracked = true,
                Room::Refused | Room::Enough => self.cells.note(room),
            }
            decision
        })
    }

    /// The common case of `check`; else whether the key is known to be absent.
    #[inline(always)]
    fn quick(self, cost: u64) -> Result<Decision<'a>, Absent> {
        let (rule, now) = (&self.limit.rule, self.units);
        if cost == 0 || !self.limit.is_plain() {
            return Err(Absent(false));
        }
        match self.cells.try_update(|held| rule.take(held.stamp, now, cost).map(Balance::at)) {
            Tried::Done(Outcome::Changed(after)) => {
                Ok(self.decision(Verdict::Allowed, cost, Evidence::Stamp(after.stamp)))
            }
            Tried::Done(Outcome::Kept(held)) if !self.is_from_another_time(Balance::at(held.stamp), now) => {
                Ok(self.decision(self.refusal(cost), cost, Evidence::Stamp(held.stamp)))
            }
            tried => Err(Absent(matches!(tried, Tried::Absent))),
        }
    }

    /// A look at the common case of `check`: the cell, and what it becomes if the request fits; `None` if it does not, or if
    /// anything else is the case.
    #[inline(always)]
    pub(crate) fn see(self, cost: u64) -> Option<(S::Seen, Balance)> {
        if cost == 0 || !self.limit.is_plain() {
            return None;
        }
        let (seen, held) = self.cells.see()?;
        let after = self.limit.rule.take(held.stamp, self.units, cost).map(Balance::at)?;
        Some((seen, after))
    }

    /// What is left at a balance.
    #[inline(always)]
    pub(crate) const fn left(self, held: Balance) -> u64 {
        self.limit.rule.available(held.stamp, self.units)
    }

    /// The answer where a look is followed by its exchange.
    #[inline(always)]
    pub(crate) const fn admitted(self, cost: u64, after: Balance) -> Decision<'a> {
        self.decision(Verdict::Allowed, cost, Evidence::Stamp(after.stamp))
    }

    #[inline(never)]
    fn take_and_note(
        cells: S,
        limit: &'a Limit,
        now: Instant,
        own: OwnClock<'a>,
        cost: u64,
        absent: Absent,
    ) -> Decision<'a> {
        let op = Self::new(cells, limit, now, own);
        let (decision, room) = op.take(cost, absent);
        cells.note(room);
        if decision.is_allowed() || !limit.rule.counts_refused() {
            return decision;
        }
        op.count_refused(decision, true, |held, now| op.taken(held, now, cost))
    }

    /// A balance of this limit after taking `cost`, if it fits.
    pub(crate) fn taken(self, held: Balance, now: Units, cost: u64) -> Option<Balance> {
        self.limit.rule.take(held.stamp, now, cost).map(Balance::at)
    }

    /// Counts a request that was refused, if the limit counts those: the one thing that a refusal writes but for repairs.
    /// Nobody is displaced for it.
    ///
    /// Between the refusal and this another thread may have given back, so it is asked once more whether the request fits:
    /// then it is admitted in the same step, or, if the request is refused whatever this limit says, left uncounted.
    #[cold]
    #[inline(never)]
    pub(crate) fn count_refused(
        self,
        refused: Decision<'a>,
        may_take: bool,
        mut take: impl FnMut(Balance, Units) -> Option<Balance>,
    ) -> Decision<'a> {
        let (op, cost) = (self.at(refused.now), refused.cost);
        let rule = &op.limit.rule;
        // Refused for want of a slot, there is nothing to count in.
        if refused.is_allowed() || !rule.counts_refused() || !matches!(refused.evidence, Evidence::Stamp(_)) {
            return refused;
        }
        let mut admitted = false;
        let outcome = op.update_if_room(|held| {
            let taken = take(held, op.units);
            admitted = taken.is_some() && may_take;
            match taken {
                Some(_) => taken.filter(|_| may_take),
                None => rule.count_refused(held.stamp, op.units, cost).map(Balance::at),
            }
        });
        let verdict = if admitted { Verdict::Allowed } else { refused.verdict };
        match outcome {
            Outcome::Changed(held) | Outcome::Kept(held) => op.decision(verdict, cost, Evidence::Stamp(held.stamp)),
            Outcome::Full(_) | Outcome::Untracked => refused,
        }
    }

    /// Every case.
    fn take(self, cost: u64, Absent(is_absent): Absent) -> (Decision<'a>, Room) {
        if cost == 0 || self.limit.is_unlimited() {
            return (self.peek(cost), Room::Enough);
        }
        if self.limit.is_log() {
            return self.take_from_log(cost);
        }
        let (rule, now) = (&self.limit.rule, self.units);
        let decide = |held: Balance| rule.take(held.stamp, now, cost).map(Balance::at);
        match if is_absent { self.cells.insert(now, decide) } else { self.update(decide) } {
            Outcome::Changed(after) => {
                (self.decision(Verdict::Allowed, cost, Evidence::Stamp(after.stamp)), Room::Enough)
            }
            Outcome::Kept(held) => (self.refused(cost, held), Room::Enough),
            Outcome::Full(full) => (self.refused_for_room(cost, 0, full), Room::Refused),
            Outcome::Untracked => (self.untracked(cost), Room::Untracked),
        }
    }

    /// What `take` would answer. Writes nothing.
    #[inline]
    pub(crate) fn peek(self, cost: u64) -> Decision<'a> {
        if !self.limit.is_plain() {
            return self.peek_otherwise(cost);
        }
        let stamp = self.cells.read(0).stamp;
        let fits = cost == 0 || self.limit.rule.take(stamp, self.units, cost).is_some();
        // A key that is nowhere needs a slot.
        if fits && stamp == Balance::FULL.stamp && cost > 0 && !self.cells.has_room(self.units) {
            return self.peek_without_room(cost, stamp);
        }
        self.decision(if fits { Verdict::Allowed } else { self.refusal(cost) }, cost, Evidence::Stamp(stamp))
    }

    /// The same of a log, of a limit whose quota has changed, or of none.
    #[inline(never)]
    fn peek_otherwise(self, cost: u64) -> Decision<'a> {
        if self.limit.is_unlimited() {
            return self.decision(Verdict::Allowed, cost, Evidence::Unlimited);
        }
        if self.limit.is_log() {
            return self.peek_into_log(cost);
        }
        let stamp = self.read().stamp;
        let fits = cost == 0 || self.limit.rule.take(stamp, self.units, cost).is_some();
        // Nowhere, but maybe under a limit before.
        let is_absent = self.cells.read(0) == Balance::FULL;
        if fits && is_absent && cost > 0 && !self.cells.has_room(self.units) {
            return self.peek_without_room(cost, stamp);
        }
        let verdict = if fits { Verdict::Allowed } else { self.refusal(cost) };
        self.unless_room_is_wanting(self.decision(verdict, cost, Evidence::Stamp(stamp)))
    }

    #[cold]
    fn peek_without_room(self, cost: u64, stamp: Units) -> Decision<'a> {
        let fits = |at| self.rehearse(&mut Rehearsal::at(at), cost);
        if fits(self.units) {
            // In the place of another, or unrecorded.
            return self.decision(Verdict::Allowed, cost, Evidence::Stamp(stamp));
        }
        self.refused_until(cost, first_that_fits(self.units, fits))
    }

    /// Takes as much of `most` as fits, which may be nothing, and says how much.
    pub(crate) fn take_up_to(self, most: u64) -> u64 {
        if self.limit.is_unlimited() {
            return most;
        }
        if self.limit.is_log() {
            let survey = self.survey();
            let wanted = most.min(survey.available);
            let taken = self.take_cells(survey.first, wanted);
            self.cells.note(taken.room(wanted));
            if taken.cells < most {
                let _ = self.repair(self.peek(1));
            }
            return taken.cells;
        }
        let (rule, now) = (&self.limit.rule, self.units);
        let mut taken = 0;
        let outcome = self.update(|held| {
            taken = rule.available(held.stamp, now).min(most);
            if taken == 0 { None } else { rule.take(held.stamp, now, taken).map(Balance::at) }
        });
        match outcome {
            Outcome::Changed(_) => taken,
            Outcome::Kept(held) => {
                let _ = self.refused(most.min(1), held);
                0
            }
            Outcome::Full(full) => {
                self.cells.note(Room::Refused);
                let _ = self.refused_for_room(most.min(1), 0, full);
                0
            }
            Outcome::Untracked => {
                self.cells.note(Room::Untracked);
                most.min(rule.limit())
            }
        }
    }

    /// Gives `cost` back, up to full. Nothing happens to a key that is not there, nor to one that others wait for.
    pub(crate) fn refund(self, cost: u64) {
        if self.limit.is_log() {
            return self.release_cells(cost);
        }
        let (rule, now) = (&self.limit.rule, self.units);
        self.give_back_unless_promised(|stamp| rule.give_back(stamp, now, cost));
    }

    /// The same, of what was taken at an instant: nothing to a window that has not counted it.
    pub(crate) fn refund_of(self, cost: u64, taken_at: Instant) {
        let taken_at = self.limit.base.units(taken_at);
        if self.limit.is_log() {
            return self.release_cells_of(cost, taken_at + self.window());
        }
        let (rule, now) = (&self.limit.rule, self.units);
        self.give_back_unless_promised(|stamp| rule.give_back_of(stamp, now, cost, taken_at));
    }

    fn give_back_unless_promised(self, to: impl Fn(Units) -> Units) {
        let (rule, now) = (&self.limit.rule, self.units);
        let promised = |cells: S| cells.marks(0).promised.get() > now;
        self.lower(0, |stamp| {
            // Whoever came next would get an instant that was promised to one who waits; maybe under a limit before.
            let others_wait = rule.may_have_promised(stamp, now)
                && (promised(self.cells) || self.predecessors().any(|before| promised(self.cells.under(before.salt))));
            if others_wait { stamp } else { to(stamp) }
        });
    }

    /// Fills the bucket.
    pub(crate) fn reset(self) {
        for cell in 0..self.span() {
            self.lower(cell, |_| self.units);
        }
        if self.has_predecessor() {
            // And forgets what would be carried over.
            for before in self.predecessors() {
                let (old, full) = (self.cells.under(before.salt), Balance::at(before.since()));
                old.update(0, self.units, |held| (held.stamp > full.stamp).then_some(full));
            }
        }
    }

    /// Takes `cost` whether it fits or not, as far as debt is allowed, and says how much.
    pub(crate) fn charge(self, cost: u64) -> u64 {
        if self.limit.is_unlimited() {
            return cost;
        }
        if self.limit.is_log() {
            let taken = self.take_cells(0, cost);
            self.cells.note(taken.room(cost));
            return taken.cells;
        }
        let (rule, now) = (&self.limit.rule, self.units);
        let mut taken = 0;
        let outcome = self.update(|held| {
            let borrowed = rule.borrow(held.stamp, now, cost);
            taken = borrowed.taken;
            (taken > 0).then(|| rule.balance(borrowed.stamp, now))
        });
        match outcome {
            Outcome::Changed(_) => taken,
            Outcome::Kept(held) => {
                let _ = self.refused(cost.min(1), held);
                0
            }
            Outcome::Full(_) => {
                self.cells.note(Room::Refused);
                0
            }
            Outcome::Untracked => {
                self.cells.note(Room::Untracked);
                0
            }
        }
    }

    /// Takes `cost` for a request that may go at an instant of its own, at most `max_wait` from now.
    pub(crate) fn reserve(self, cost: u64, max_wait: Duration) -> Result<Reserved, Decision<'a>> {
        let (rule, now) = (&self.limit.rule, self.units);
        if self.limit.is_unlimited() {
            // Of no bucket: nothing can come back.
            return Ok(Reserved { debit: Debit::NONE, go_at: now });
        }
        if cost == 0 || self.limit.is_log() {
            let decision = self.check(cost);
            let debit = Debit { cost, from: now, stamp: now + self.window() };
            return if decision.is_allowed() { Ok(Reserved { debit, go_at: now }) } else { Err(decision) };
        }
        // Rounded down: no wait is longer than asked for.
        let latest = self.limit.base.units(self.now.saturating_add(max_wait));
        let mut reserved = Reserved { debit: Debit::NONE, go_at: now };
        let outcome = self.update(|held| {
            reserved = rule.reserve(held.stamp, now, cost, latest - now)?;
            if reserved.go_at > now {
                self.cells.marks(0).promised.raise(reserved.go_at);
            }
            Some(rule.balance(reserved.debit.stamp, now))
        });
        match outcome {
            Outcome::Changed(_) => Ok(reserved),
            Outcome::Untracked => {
                self.cells.note(Room::Untracked);
                // Of no bucket: nothing can come back.
                Ok(Reserved { debit: Debit::NONE, go_at: now })
            }
            Outcome::Kept(held) => Err(self.refused(cost, held)),
            Outcome::Full(full) => {
                self.cells.note(Room::Refused);
                Err(self.refused_for_room(cost, 0, full))
            }
        }
    }

    /// Whether this limit can promise a request now that it may go at `go_at`. A log remembers only what has gone.
    pub(crate) const fn promises(self, go_at: Units) -> bool {
        let limit = self.limit;
        go_at == self.units || limit.is_unlimited() || !limit.is_log() && limit.rule.promises(self.units, go_at)
    }

    /// Takes `cost` for a part of a request that goes at `go_at`, which is promised, and counts it as of then; or says why not.
    pub(crate) fn reserve_part(self, cost: u64, go_at: Units, untracked: &mut bool) -> Result<Debit, Decision<'a>> {
        if cost == 0 || self.limit.is_unlimited() {
            return Ok(Debit::NONE);
        }
        let (rule, now) = (&self.limit.rule, self.units);
        if go_at == now {
            let decision = self.check_part(cost, untracked);
            return if decision.is_allowed() { Ok(self.debit_of(&decision)) } else { Err(decision) };
        }
        let mut debit = Debit::NONE;
        let outcome = self.update(|held| {
            debit = rule.reserve_at(held.stamp, now, cost, go_at)?;
            self.cells.marks(0).promised.raise(go_at);
            Some(rule.balance(debit.stamp, now))
        });
        match outcome {
            Outcome::Changed(_) => Ok(debit),
            Outcome::Untracked => {
                *untracked = true;
                // Of no bucket: nothing can come back.
                Ok(Debit::NONE)
            }
            Outcome::Kept(held) => Err(self.refused(cost, held)),
            Outcome::Full(full) => Err(self.refused_for_room(cost, 0, full)),
        }
    }

    /// Counts a request that was refused for want of room before it took anything.
    pub(crate) fn note_refusal_by_look(self, refused: &Decision<'_>) {
        if let Evidence::NoRoom { .. } | Evidence::CrowdedLog { .. } = refused.evidence {
            self.cells.note(Room::Refused);
        }
    }

    /// Counts a request of which something went unrecorded.
    pub(crate) fn note_untracked(self) {
        self.cells.note(Room::Untracked);
    }

    /// Undoes a debit, if it can be known what that frees (`marks.rs`). What time it is does not matter to that.
    pub(crate) fn undo(self, debit: &Debit) {
        if debit.cost == 0 {
            return;
        }
        if self.limit.is_log() {
            return self.release_cells_of(debit.cost, debit.stamp);
        }
        let (rule, now) = (&self.limit.rule, self.units);
        self.cells.update(0, now, |held| {
            if rule.sells_time() && !self.is_last_word(0, debit.stamp) {
                return None;
            }
            self.lowered(held, rule.undo(held.stamp, now, debit), now)
        });
    }

    /// Undoes a debit of a set that another limit refused, just after it was made: also if others have taken since, where it
    /// can be known that all of them have gone.
    pub(crate) fn roll_back(self, debit: &Debit) {
        if debit.cost == 0 || self.limit.is_log() || !self.limit.rule.sells_time() {
            return self.undo(debit);
        }
        let now = self.units;
        self.cells.update(0, now, |held| {
            if !self.is_last_word(0, debit.stamp) {
                return None;
            }
            if held.stamp == debit.stamp {
                return self.lowered(held, debit.from, now);
            }
            let unpaid = self.unpaid_behind_others(debit).filter(|_| held.stamp > debit.stamp)?;
            let lowered = self.lowered(held, held.stamp - unpaid, now)?;
            // What others have taken moves forward into the gap, so their debits are not where they left them.
            self.cells.marks(0).lowered.raise(held.stamp);
            Some(lowered)
        });
    }

    /// How much of a debit time has not paid for, if whoever took after it has used that by now, so that it can be thought of
    /// as moved forward into the gap: each began no earlier than the debit ended, so it still begins no earlier than it went.
    fn unpaid_behind_others(self, debit: &Debit) -> Option<Units> {
        let marks = self.cells.marks(0);
        // Asked after the word: whoever took by the limiter's clock did so before. Of callers who are ahead of it nothing is
        // known; this one is not.
        let clock = self.latest();
        let now = self.limit.base.units(clock);
        let all_have_gone = clock >= self.now && marks.leased.get() == 0 && marks.promised.get() <= now;
        if !all_have_gone || !matches!(self.limit.rule, Rule::TokenBucket(_)) {
            return None;
        }
        Some((debit.stamp - debit.from).min(debit.stamp.saturating_sub(now)))
    }

    /// Whether a stamp, if the word that was just read has it, is the one that a debit of this cell left, and not the same
    /// instant once more.
    fn is_last_word(self, cell: u64, stamp: Units) -> bool {
        stamp > self.cells.marks(cell).lowered.get()
    }

    /// Takes `cost` from what the caller holds if it is enough, else from the bucket, and then up to `batch` in all.
    #[inline]
    pub(crate) fn take_ahead(self, held: &mut Batch, cost: u64, batch: u64) -> Decision<'a> {
        if cost > 0 && self.limit.rule.spend(held, self.units, cost) {
            return self.decision(Verdict::Allowed, cost, Evidence::Stamp(held.stamp));
        }
        // Made anew, out of line, as in `check`.
        Self::new(self.cells, self.limit, self.now, self.own).fetch(held, cost, batch)
    }

    #[inline(never)]
    fn fetch(self, held: &mut Batch, cost: u64, batch: u64) -> Decision<'a> {
        let (rule, now) = (&self.limit.rule, self.units);
        if now < held.since && self.own.behind_itself().is_some() {
            // The clock has stepped back: words of that time are taken back, so what was bought with them is void.
            *held = Batch::NONE;
        }
        if cost == 0 || now < held.since || self.limit.is_log() || self.limit.is_unlimited() {
            return self.check(cost);
        }
        self.cells.marks(0).leased.raise(1);
        let mut taken = Batch::NONE;
        let outcome = self.update(|balance| {
            taken = rule.fetch(balance.stamp, now, held, cost, batch)?;
            Some(rule.balance(taken.stamp, now))
        });
        match outcome {
            Outcome::Changed(after) => {
                *held = taken;
                self.decision(Verdict::Allowed, cost, Evidence::Stamp(after.stamp))
            }
            Outcome::Kept(found) => {
                let counted = self.count_refused(self.refused(cost, found), true, |balance, now| {
                    taken = rule.fetch(balance.stamp, now, held, cost, batch)?;
                    Some(rule.balance(taken.stamp, now))
                });
                if counted.is_allowed() {
                    *held = taken;
                }
                counted
            }
            Outcome::Full(full) => {
                self.cells.note(Room::Refused);
                self.refused_for_room(cost, 0, full)
            }
            Outcome::Untracked => {
                self.cells.note(Room::Untracked);
                self.untracked(cost)
            }
        }
    }

    /// Gives back what the caller holds, as far as it is nobody else's.
    pub(crate) fn give_back(self, held: &mut Batch) {
        let batch = core::mem::replace(held, Batch::NONE);
        if batch.is_none() {
            return;
        }
        let (rule, now) = (&self.limit.rule, self.units);
        self.cells.update(0, now, |held| {
            if rule.sells_time() && !self.is_last_word(0, batch.stamp) {
                return None;
            }
            self.lowered(held, rule.return_batch(held.stamp, now, &batch), now)
        });
    }

    /// The debit of an admission of `check`.
    pub(crate) fn debit_of(self, admitted: &Decision<'_>) -> Debit {
        match admitted.evidence {
            // Of no bucket.
            Evidence::Stamp(0) | Evidence::Unlimited => Debit::NONE,
            Evidence::Stamp(stamp) => self.limit.rule.debit(stamp, admitted.cost),
            _ => Debit { cost: admitted.cost, from: self.units, stamp: self.units + self.window() },
        }
    }

    /// Makes the bucket of the key under another limit hold no more tokens than this one does, by `how`; or fills it.
    pub(crate) fn convert(self, to: Self, how: Inheritance) {
        if self.limit.is_unlimited() || to.limit.is_unlimited() {
            // Nothing has been counted, or nothing is. A bucket that is filled is filled, wherever the key comes from.
            if how == Inheritance::Reset {
                to.reset();
            }
            return;
        }
        let (old, new) = (i128::from(self.limit.most()), i128::from(to.limit.most()));
        let held = self.held();
        let carried = match how {
            Inheritance::AsIs => held,
            // No share of nothing.
            Inheritance::Proportional if old == 0 => held,
            // Numerators are below 2^60 and counts below 2^58 where the denominator is not 1, so this fits.
            Inheritance::Proportional => Fraction {
                numerator: held.numerator.saturating_mul(new),
                denominator: held.denominator.saturating_mul(old),
            },
            Inheritance::Additive => Fraction {
                numerator: held.numerator.saturating_add((new - old).saturating_mul(held.denominator)),
                denominator: held.denominator,
            },
            Inheritance::Reset => return to.reset(),
        };
        if to.limit.is_log() {
            let left = carried.numerator.div_euclid(carried.denominator).clamp(0, new);
            // left is at most new, a u64.
            let surplus = to.survey().available.saturating_sub(u64::try_from(left).unwrap_or(0));
            to.charge(surplus);
            return;
        }
        let (rule, now) = (&to.limit.rule, to.units);
        let stamp = rule.holding(now, carried);
        to.update(|balance| {
            let after = rule.filled(balance.stamp, stamp, now);
            // Only ever further from full; and no slot is taken for a bucket that stays full.
            (after > now && after != balance.stamp).then(|| rule.balance(after, now))
        });
    }

    fn held(self) -> Fraction {
        if self.limit.is_log() {
            return Fraction { numerator: i128::from(self.survey().available), denominator: 1 };
        }
        self.limit.rule.held(self.read().stamp, self.units)
    }

    /// Moves a stamp to where `to` says, unless the bucket is full or the key is not there, and marks that.
    fn lower(self, cell: u64, to: impl Fn(Units) -> Units) {
        let lower = |held: Balance| {
            let lowered = self.lowered(held, to(held.stamp), self.units)?;
            // Of a window nobody asks: it counts, and has no places.
            if self.limit.rule.sells_time() {
                self.cells.marks(cell).lowered.raise(held.stamp);
            }
            Some(lowered)
        };
        if cell == 0 {
            self.update(lower)
        } else {
            self.cells.update(cell, self.units, lower)
        };
    }

    fn lowered(self, held: Balance, stamp: Units, now: Units) -> Option<Balance> {
        // Only what was past empty can still be: a stamp far ahead may also come from a clock that has stepped back.
        let after = self.limit.rule.balance(stamp, now);
        let after = Balance { overdrawn: held.overdrawn && after.overdrawn, ..after };
        (held.stamp > now && after.stamp != held.stamp).then_some(after)
    }

    #[inline]
    const fn decision(self, verdict: Verdict, cost: u64, evidence: Evidence) -> Decision<'a> {
        Decision { limit: self.limit, verdict, cost, now: self.now, evidence }
    }

    #[inline]
    const fn refusal(self, cost: u64) -> Verdict {
        if cost > self.limit.most() { Verdict::NeverFits } else { Verdict::Refused }
    }

    /// A refusal on this balance.
    #[inline]
    fn refused(self, cost: u64, held: Balance) -> Decision<'a> {
        self.unless_room_is_wanting(self.repair(self.decision(self.refusal(cost), cost, Evidence::Stamp(held.stamp))))
    }

    /// The same decision, unless it rests on what a key used before the quota changed that has no slot of its own, needs one by
    /// then, and may find none.
    #[inline]
    fn unless_room_is_wanting(self, decision: Decision<'a>) -> Decision<'a> {
        match decision.evidence {
            Evidence::Stamp(stamp) if self.has_predecessor() && decision.is_retryable() => {
                self.with_room(decision, stamp)
            }
            _ => decision,
        }
    }

    #[cold]
    fn with_room(self, refused: Decision<'a>, stamp: Units) -> Decision<'a> {
        let (op, cost) = (self.at(refused.now), refused.cost);
        let ready_at = op.limit.rule.ready_at(stamp, op.units, cost);
        let fits = |at| op.rehearse(&mut Rehearsal::at(at), cost);
        if op.cells.read(0) != Balance::FULL || fits(ready_at) {
            return refused;
        }
        op.refused_until(cost, first_that_fits(ready_at, fits))
    }

    /// The answer for a new key that found no slot.
    #[cold]
    fn refused_for_room(self, cost: u64, cell: u64, full: Full) -> Decision<'a> {
        let mut nearest = full.nearest;
        if self.is_from_another_time(Balance::at(full.latest), self.units) {
            let now = || self.own.behind_itself().map(|now| self.limit.base.units(now.max(self.now)));
            nearest = self.cells.repair_others(cell, now).unwrap_or(nearest);
        }
        let evidence = if full.inherits { Evidence::Stamp(nearest) } else { Evidence::NoRoom { until: nearest + 1 } };
        self.unless_room_is_wanting(self.decision(self.refusal(cost), cost, evidence))
    }

    /// Makes a refusal say that the request can go at `ready_at`, and not before, for want of room; or never.
    pub(crate) const fn refused_until(self, cost: u64, ready_at: Option<Units>) -> Decision<'a> {
        match ready_at {
            Some(until) => self.decision(Verdict::Refused, cost, Evidence::NoRoom { until }),
            None => self.decision(Verdict::NeverFits, cost, Evidence::NoRoom { until: self.units }),
        }
    }

    /// Whether the bucket that this decision is about is full or has no slot, so that its key may have to find one.
    pub(crate) const fn may_have_no_slot(self, decision: &Decision<'_>) -> bool {
        match decision.evidence {
            Evidence::Stamp(stamp) => stamp <= self.units,
            Evidence::Log { available, .. } => available > 0,
            Evidence::CrowdedLog { .. } => true,
            Evidence::NoRoom { .. } => true,
            Evidence::Unlimited => false,
        }
    }

    /// The instant of a decision's figures, in units.
    pub(crate) const fn units_at(self, instant: Instant) -> Units {
        self.limit.base.units(instant)
    }

    /// The answer for a new key that passes unrecorded.
    #[cold]
    const fn untracked(self, cost: u64) -> Decision<'a> {
        // A stamp that is full, and from which nothing can come back.
        self.decision(Verdict::Allowed, cost, Evidence::Stamp(0))
    }

    /// Whether `check` would admit `cost`.
    pub(crate) fn rehearse(self, rehearsal: &mut Rehearsal, cost: u64) -> bool {
        if cost == 0 || self.limit.is_unlimited() {
            return true;
        }
        if self.limit.is_log() {
            return self.rehearse_cells(rehearsal, cost) == cost;
        }
        let (rule, now) = (&self.limit.rule, rehearsal.now());
        let carried = self.read();
        self.cells.rehearse(0, rehearsal, |held| {
            let from = if self.has_predecessor() { rule.later(held.stamp, carried.stamp, now) } else { held.stamp };
            rule.take(from, now, cost).map(Balance::at)
        })
    }
}
