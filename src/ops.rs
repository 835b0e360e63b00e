//! Everything that can be done to one bucket, written once: over a table entry, a lone bucket, or a model.

use core::time::Duration;

use crate::algorithm::batch::Batch;
use crate::algorithm::{Fraction, Reserved};
use crate::clock::{Clock, Instant};
use crate::decision::{Decision, Evidence, Verdict};
use crate::limit::Limit;
use crate::protocol::{Full, Outcome, Tried};
use crate::quota::Quota;
use crate::word::{Balance, Units, Word};

/// The words of one bucket: cell 0, or one cell per request of a sliding log.
pub(crate) trait Cells: Copy {
    /// Changes a cell from the balance it has to the one `decide` answers; `None` leaves it untouched.
    fn update(&self, cell: u64, now: Units, decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome;

    /// One try at cell 0.
    fn try_update(&self, decide: impl FnMut(Balance) -> Option<Balance>) -> Tried;

    /// As `update`, to a cell 0 that was not there a moment ago.
    fn insert(&self, now: Units, decide: impl FnMut(Balance) -> Option<Balance>) -> Outcome;

    /// The balance of a cell; full if it is not there.
    fn read(&self, cell: u64) -> Balance;

    /// Takes note of what one request found, whatever number of cells it wanted.
    fn note(&self, _room: Room) {}

    /// Takes back the words of other keys, in slots that the cell could use, which no call at `now` or up to `skew`
    /// later can have left; the nearest stamp then, if there were any. `now` is asked after they have been read.
    fn mend_others(&self, _cell: u64, _now: impl Fn() -> Units, _skew: Units) -> Option<Units> {
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

/// How tokens are carried over when a key changes its quota; the four ways of bucket4j's `TokensInheritanceStrategy`.
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

/// How the time of a call may be doubted: ask the clock again, or believe the caller within a bound.
#[derive(Clone, Copy)]
pub(crate) struct Doubt<'a> {
    pub(crate) clock: Option<&'a dyn Clock>,
    /// How far `now` may be behind the clock of whoever wrote a word; at most [`MAX_AHEAD`](crate::base::MAX_AHEAD).
    pub(crate) skew: Units,
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
    doubt: Doubt<'a>,
}

impl<'a, S: Cells> Op<'a, S> {
    #[inline]
    pub(crate) const fn new(cells: S, limit: &'a Limit, now: Instant, doubt: Doubt<'a>) -> Self {
        Self { cells, limit, now, units: limit.base.units(now), doubt }
    }

    /// The same bucket at another instant.
    pub(crate) fn at(self, now: Instant) -> Self {
        Op::new(self.cells, self.limit, now, self.doubt)
    }

    /// What the clock shows now; the caller's `now` if there is no clock to ask.
    pub(crate) fn latest(self) -> Instant {
        self.doubt.clock.map_or(self.now, Clock::now)
    }

    /// Takes `cost` if it fits; the common case first: a bucket of one cell that is there, and fits or does not.
    #[inline(always)]
    pub(crate) fn check(self, cost: u64) -> Decision<'a> {
        self.quick(cost).unwrap_or_else(|absent| {
            // Made anew from its parts, out of line, so that in the common case they stay in registers.
            Self::new(self.cells, self.limit, self.now, self.doubt).take_and_note(cost, absent)
        })
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
        if cost == 0 || self.limit.is_log() {
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

    #[inline(never)]
    fn take_and_note(self, cost: u64, absent: Absent) -> Decision<'a> {
        let (decision, room) = self.take(cost, absent);
        self.cells.note(room);
        decision
    }

    /// Every case.
    fn take(self, cost: u64, Absent(is_absent): Absent) -> (Decision<'a>, Room) {
        if cost == 0 {
            return (self.peek(0), Room::Enough);
        }
        if self.limit.is_log() {
            return self.take_from_log(cost);
        }
        let (rule, now) = (&self.limit.rule, self.units);
        let decide = |held: Balance| rule.take(held.stamp, now, cost).map(Balance::at);
        match if is_absent { self.cells.insert(now, decide) } else { self.cells.update(0, now, decide) } {
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
        if self.limit.is_log() {
            return self.decision_of_log(cost, self.survey());
        }
        let stamp = self.cells.read(0).stamp;
        let fits = cost == 0 || self.limit.rule.take(stamp, self.units, cost).is_some();
        let verdict = if fits { Verdict::Allowed } else { self.refusal(cost) };
        self.decision(verdict, cost, Evidence::Stamp(stamp))
    }

    /// Takes as much of `most` as fits, which may be nothing, and says how much.
    pub(crate) fn take_up_to(self, most: u64) -> u64 {
        if self.limit.is_log() {
            let taken = self.take_cells(most);
            self.cells.note(taken.room(most));
            if taken.cells < most {
                let _ = self.mend(self.peek(1));
            }
            return taken.cells;
        }
        let (rule, now) = (&self.limit.rule, self.units);
        let mut taken = 0;
        let outcome = self.cells.update(0, now, |held| {
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

    /// Gives `cost` back, up to full. Nothing happens to a key that is not there.
    pub(crate) fn refund(self, cost: u64) {
        if self.limit.is_log() {
            return self.release_cells(cost);
        }
        let (rule, now) = (&self.limit.rule, self.units);
        self.lower(0, |stamp| rule.give_back(stamp, now, cost));
    }

    /// Fills the bucket.
    pub(crate) fn reset(self) {
        for cell in 0..self.limit.cells {
            self.lower(cell, |_| self.units);
        }
    }

    /// Takes `cost` whether it fits or not, as far as debt is allowed, and says how much.
    pub(crate) fn charge(self, cost: u64) -> u64 {
        if self.limit.is_log() {
            let taken = self.take_cells(cost);
            self.cells.note(taken.room(cost));
            return taken.cells;
        }
        let (rule, now) = (&self.limit.rule, self.units);
        let mut taken = 0;
        let outcome = self.cells.update(0, now, |held| {
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
        if cost == 0 || self.limit.is_log() {
            let decision = self.check(cost);
            let reserved = Reserved { stamp: now + self.window(), go_at: now };
            return if decision.is_allowed() { Ok(reserved) } else { Err(decision) };
        }
        // Rounded down: no wait is longer than asked for.
        let latest = self.limit.base.units(self.now.saturating_add(max_wait));
        let mut reserved = Reserved { stamp: now, go_at: now };
        let outcome = self.cells.update(0, now, |held| {
            reserved = rule.reserve(held.stamp, now, cost, latest - now)?;
            Some(rule.balance(reserved.stamp, now))
        });
        match outcome {
            Outcome::Changed(_) => Ok(reserved),
            Outcome::Untracked => {
                self.cells.note(Room::Untracked);
                // Of no bucket: nothing can come back.
                Ok(Reserved { stamp: 0, go_at: now })
            }
            Outcome::Kept(held) => Err(self.refused(cost, held)),
            Outcome::Full(full) => {
                self.cells.note(Room::Refused);
                Err(self.refused_for_room(cost, 0, full))
            }
        }
    }

    /// Takes back a debit that left the stamp at `reserved`, as far as it makes nothing up.
    pub(crate) fn cancel(self, cost: u64, reserved: Units, now: impl Fn() -> Units) {
        if cost == 0 {
            return;
        }
        if self.limit.is_log() {
            return self.release_cells_of(cost, reserved);
        }
        let rule = &self.limit.rule;
        // The clock after the word: the debit may have been paid for while this thread slept.
        self.cells.update(0, self.units, |held| {
            let now = now();
            self.lowered(held, rule.cancel(held.stamp, now, cost, reserved), now)
        });
    }

    /// Takes `cost` from what the caller holds if it is enough, else from the bucket, and then up to `batch` in all.
    #[inline]
    pub(crate) fn take_ahead(self, held: &mut Batch, cost: u64, batch: u64) -> Decision<'a> {
        if cost > 0 && self.limit.rule.spend(held, self.units, cost) {
            return self.decision(Verdict::Allowed, cost, Evidence::Stamp(held.stamp));
        }
        // Made anew, out of line, as in `check`.
        Self::new(self.cells, self.limit, self.now, self.doubt).fetch(held, cost, batch)
    }

    #[inline(never)]
    fn fetch(self, held: &mut Batch, cost: u64, batch: u64) -> Decision<'a> {
        let (rule, now) = (&self.limit.rule, self.units);
        if now + self.doubt.skew < held.since {
            // The clock has stepped back: words of that time are taken back, so what was bought with them is void.
            *held = Batch::NONE;
        }
        if cost == 0 || now < held.since || self.limit.is_log() {
            return self.check(cost);
        }
        let mut taken = Batch::NONE;
        let outcome = self.cells.update(0, now, |balance| {
            taken = rule.fetch(balance.stamp, now, held, cost, batch)?;
            Some(rule.balance(taken.stamp, now))
        });
        match outcome {
            Outcome::Changed(after) => {
                *held = taken;
                self.decision(Verdict::Allowed, cost, Evidence::Stamp(after.stamp))
            }
            Outcome::Kept(found) => self.refused(cost, found),
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
        if !batch.is_none() {
            self.lower(0, |stamp| self.limit.rule.return_batch(stamp, self.units, &batch));
        }
    }

    /// Takes back an admission of `take` that counted in a set which another limit refused.
    pub(crate) fn undo(self, admitted: &Decision<'_>) {
        match admitted.evidence {
            Evidence::Stamp(stamp) => self.cancel(admitted.cost, stamp, || self.limit.base.units(self.latest())),
            _ => self.release_cells_of(admitted.cost, self.units + self.window()),
        }
    }

    /// Rewrites the bucket for another quota, keeping tokens rather than time.
    pub(crate) fn convert(self, to: &'a Limit, how: Inheritance) {
        let (from, now) = (self.limit, self.units);
        let (old, new) = (i128::from(from.most()), i128::from(to.most()));
        let carry = |held: Fraction| match how {
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
            Inheritance::Reset => Fraction { numerator: new, denominator: 1 },
        };
        if from.is_log() || to.is_log() {
            // A log has a word per request, so this is not one atomic step: empty the old, then charge the new.
            let carried = carry(self.held());
            let left = carried.numerator.div_euclid(carried.denominator).clamp(0, new);
            self.reset();
            // left is at most new, a u64.
            Op::new(self.cells, to, self.now, self.doubt).charge(u64::try_from(new - left).unwrap_or(0));
            return;
        }
        self.cells.update(0, now, |balance| {
            let stamp = to.rule.holding(now, carry(from.rule.held(balance.stamp, now)));
            // Full before and after: no reason to take a slot.
            (stamp > now || balance.stamp > now).then(|| to.rule.balance(stamp, now))
        });
    }

    fn held(self) -> Fraction {
        if self.limit.is_log() {
            return Fraction { numerator: i128::from(self.survey().available), denominator: 1 };
        }
        self.limit.rule.held(self.cells.read(0).stamp, self.units)
    }

    /// Gives back: moves a stamp to where `to` says, unless the bucket is full or the key is not there.
    fn lower(self, cell: u64, to: impl Fn(Units) -> Units) {
        self.cells.update(cell, self.units, |held| self.lowered(held, to(held.stamp), self.units));
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
        self.mend(self.decision(self.refusal(cost), cost, Evidence::Stamp(held.stamp)))
    }

    /// Whether no call at this time under this quota can have left such a stamp.
    #[inline]
    const fn is_from_another_time(self, held: Balance, now: Units) -> bool {
        held.stamp > self.limit.rule.bound(now + self.doubt.skew, held.overdrawn)
    }

    /// Passes a refusal on; one that rests on a stamp from another time is mended first.
    #[inline]
    pub(crate) fn mend(self, refused: Decision<'a>) -> Decision<'a> {
        let latest = match refused.evidence {
            Evidence::Stamp(latest) | Evidence::Log { full_at: latest, .. } => latest,
            Evidence::NoRoom { .. } => return refused,
        };
        if refused.is_refused() && self.is_from_another_time(Balance::at(latest), self.units) {
            return self.pull_back_all(refused);
        }
        refused
    }

    #[cold]
    fn pull_back_all(self, refused: Decision<'a>) -> Decision<'a> {
        let mended = (0..self.limit.cells).filter_map(|cell| self.pull_back(cell)).last();
        let Some(now) = mended else { return refused };
        let peeked = self.at(now).peek(refused.cost);
        if peeked.is_allowed() { refused } else { peeked }
    }

    /// The clock has stepped back, or the quota has shrunk: sets the cell to empty, never to more, so that it refuses no
    /// longer than a refill takes (P7). This and the mending of other keys' slots are the only writes of a refusal.
    fn pull_back(self, cell: u64) -> Option<Instant> {
        // A thread that slept with an old `now` must not take another's debit for a step of the clock. So the word is
        // read first and the clock asked again after that: what the word holds was written at an earlier reading, and
        // is impossible only if the clock has stepped back. And only that word is replaced, not what may follow it.
        // Model: clock.
        let seen = self.cells.read(cell);
        let now = self.latest();
        let units = self.limit.base.units(now);
        if !self.is_from_another_time(seen, units) {
            return None;
        }
        // A debt is not forgiven: it stays as large as a debt may be.
        let mended = match seen.overdrawn {
            true => Balance { stamp: self.limit.rule.bound(units, true), overdrawn: true },
            false => Balance::at(self.limit.rule.empty(units)),
        };
        let outcome = self.cells.update(cell, units, |held| (held == seen).then_some(mended));
        matches!(outcome, Outcome::Changed(_)).then_some(now)
    }

    /// The answer for a new key that found no slot.
    #[cold]
    fn refused_for_room(self, cost: u64, cell: u64, full: Full) -> Decision<'a> {
        let mut nearest = full.nearest;
        if self.is_from_another_time(Balance::at(full.latest), self.units) {
            let now = || self.limit.base.units(self.latest());
            nearest = self.cells.mend_others(cell, now, self.doubt.skew).unwrap_or(nearest);
        }
        let evidence = if full.inherits { Evidence::Stamp(nearest) } else { Evidence::NoRoom { until: nearest + 1 } };
        self.decision(self.refusal(cost), cost, evidence)
    }

    /// The answer for a new key that passes unrecorded.
    #[cold]
    const fn untracked(self, cost: u64) -> Decision<'a> {
        // A stamp that is full, and from which nothing can come back.
        self.decision(Verdict::Allowed, cost, Evidence::Stamp(0))
    }
}

/// The sliding log: as many one-token buckets as the limit counts, each of which takes a whole period to fill again. A
/// request takes any one of them, so in any span of a period each admits one at most; and while fewer than the limit
/// were admitted in the last period, one of them is full. That is the log, exactly, without a head or a tail to keep.
impl<'a, S: Cells> Op<'a, S> {
    /// Takes `cost` cells, or none.
    #[inline(never)]
    fn take_from_log(self, cost: u64) -> (Decision<'a>, Room) {
        let survey = self.survey();
        if survey.available < cost {
            return (self.mend(self.decision_of_log(cost, survey)), Room::Enough);
        }
        let taken = self.take_cells(cost);
        if taken.cells == cost {
            let available = survey.available - cost;
            let full_at = survey.latest.max(self.units + self.window());
            let log = Evidence::Log { available, ready_at: self.units, full_at };
            return (self.decision(Verdict::Allowed, cost, log), taken.room(cost));
        }
        // Others were faster, or the table is full.
        self.release_cells_of(taken.cells, self.units + self.window());
        if let Some(no_room) = taken.no_room {
            return (self.decision(Verdict::Refused, cost, no_room), Room::Refused);
        }
        let survey = self.survey();
        let survey = Survey { available: survey.available.min(cost - 1), ..survey };
        (self.decision_of_log(cost, survey), Room::Enough)
    }

    /// The period of a log in units: how long a cell takes to fill again.
    const fn window(self) -> Units {
        self.limit.rule.bound(0, false)
    }

    /// Takes up to `most` cells.
    fn take_cells(self, most: u64) -> Taken {
        let (rule, now) = (&self.limit.rule, self.units);
        let mut taken = Taken { cells: 0, untracked: false, no_room: None };
        for cell in 0..self.limit.cells {
            if taken.cells == most {
                break;
            }
            match self.cells.update(cell, now, |held| rule.take(held.stamp, now, 1).map(Balance::at)) {
                Outcome::Changed(_) => taken.cells += 1,
                Outcome::Untracked => {
                    taken.cells += 1;
                    taken.untracked = true;
                }
                Outcome::Kept(_) => {}
                Outcome::Full(full) => {
                    // A cell fits once the stamp it would inherit is past, so this is the same under both policies.
                    let full = Full { inherits: false, ..full };
                    taken.no_room = Some(self.refused_for_room(most, cell, full).evidence);
                }
            }
        }
        taken
    }

    /// Releases `count` of the cells that one call left at this stamp; those of one instant are as good as each other.
    fn release_cells_of(self, count: u64, mine: Units) {
        let mut left = count;
        for cell in 0..self.limit.cells {
            if left == 0 {
                break;
            }
            let outcome = self.cells.update(cell, self.units, |held| {
                if held.stamp == mine { self.lowered(held, self.units, self.units) } else { None }
            });
            left -= u64::from(matches!(outcome, Outcome::Changed(_)));
        }
    }

    /// Releases up to `count` cells, the latest taken first.
    fn release_cells(self, count: u64) {
        let mut room = [(0, 0); LOG_ROOM];
        let busy = self.busy_cells(&mut room);
        busy.sort_unstable_by(|a, b| b.cmp(a));
        for &mut (taken, cell) in busy.iter_mut().take(usize::try_from(count).unwrap_or(usize::MAX)) {
            self.lower(cell, |stamp| if stamp == taken { self.units } else { stamp });
        }
    }

    fn busy_cells(self, room: &mut [(Units, u64); LOG_ROOM]) -> &mut [(Units, u64)] {
        let busy = (0..self.limit.cells).map(|cell| (self.cells.read(cell).stamp, cell));
        let busy = busy.filter(|&(stamp, _)| stamp > self.units);
        let count = room.iter_mut().zip(busy).map(|(place, cell)| *place = cell).count();
        &mut room[..count]
    }

    fn survey(self) -> Survey {
        let mut survey = Survey { available: 0, soonest: Word::MAX_STAMP, latest: self.units };
        if self.limit.most() == 0 {
            return survey;
        }
        for cell in 0..self.limit.cells {
            let held = self.cells.read(cell);
            if held.stamp <= self.units {
                survey.available += 1;
            } else {
                survey.soonest = survey.soonest.min(held.stamp);
                survey.latest = survey.latest.max(held.stamp);
            }
        }
        survey
    }

    /// The answer to a request of `cost` that found the log like this.
    fn decision_of_log(self, cost: u64, survey: Survey) -> Decision<'a> {
        let fits = cost <= survey.available;
        let verdict = if fits { Verdict::Allowed } else { self.refusal(cost) };
        let ready_at = match cost.checked_sub(survey.available + 1) {
            None => self.units,
            Some(0) => survey.soonest,
            Some(more) => self.nth_soonest(more),
        };
        self.decision(verdict, cost, Evidence::Log { available: survey.available, ready_at, full_at: survey.latest })
    }

    /// When the cell after the `n` soonest ones will be full.
    #[cold]
    fn nth_soonest(self, n: u64) -> Units {
        let mut room = [(0, 0); LOG_ROOM];
        let busy = self.busy_cells(&mut room);
        match usize::try_from(n) {
            Ok(n) if n < busy.len() => busy.select_nth_unstable(n).1.0,
            _ => self.units,
        }
    }
}

/// How many cells of a log a request took.
struct Taken {
    cells: u64,
    /// Whether one of them is in no slot.
    untracked: bool,
    /// What stood in the way of the others, if it was the table.
    no_room: Option<Evidence>,
}

impl Taken {
    /// What a request found that wanted so many, and takes what it got.
    const fn room(&self, wanted: u64) -> Room {
        match self {
            Self { untracked: true, .. } => Room::Untracked,
            Self { no_room: Some(_), cells, .. } if *cells < wanted => Room::Refused,
            Self { .. } => Room::Enough,
        }
    }
}

/// What a look at all cells of a log found.
#[derive(Clone, Copy)]
struct Survey {
    /// Full cells.
    available: u64,
    /// When the next one will be full.
    soonest: Units,
    /// When the last one will be full.
    latest: Units,
}

/// Room for every cell of the largest log, on the stack: nothing is allocated to decide.
const LOG_ROOM: usize = 1_024;
const _: () = assert!(LOG_ROOM as u64 == Quota::MAX_LOG);
