//! The sliding log: as many one-token buckets as the limit counts, each of which takes a whole period to fill again. A
//! request takes any one of them, so in any span of a period each admits one at most; and while fewer than the limit
//! were admitted in the last period, one of them is full. That is the log, exactly, without a head or a tail to keep.

use super::Op;
use crate::algorithm::token_bucket::later;
use crate::cells::{Cells, Room};
use crate::decision::{Decision, Evidence, Verdict};
use crate::protocol::Outcome;
use crate::quota::Quota;
use crate::rehearsal::{Rehearsal, first_that_fits};
use crate::word::{Balance, Units, Word};

impl<'a, S: Cells> Op<'a, S> {
    /// Takes `cost` cells, or none.
    #[inline(never)]
    pub(super) fn take_from_log(self, cost: u64) -> (Decision<'a>, Room) {
        let survey = self.survey();
        if survey.available < cost {
            return (self.repair_room(self.repair(self.decision_of_log(cost, survey))), Room::Enough);
        }
        let taken = self.take_cells(survey.first, cost);
        if taken.cells == cost {
            let available = survey.available - cost;
            let full_at = survey.latest.max(self.units + self.window());
            let log = Evidence::Log { available, ready_at: self.units, full_at };
            return (self.decision(Verdict::Allowed, cost, log), taken.room(cost));
        }
        // Others were faster, or the table is full.
        self.release_cells_of(taken.cells, self.units + self.window());
        let survey = self.survey();
        if taken.lacked_room {
            return (self.without_room(cost, survey), Room::Refused);
        }
        let survey = Survey { available: survey.available.min(cost - 1), ..survey };
        (self.decision_of_log(cost, survey), Room::Enough)
    }

    /// What `take_from_log` would answer.
    pub(super) fn peek_into_log(self, cost: u64) -> Decision<'a> {
        let survey = self.survey();
        if cost <= survey.available && self.rehearse_cells(&mut Rehearsal::at(self.units), cost) < cost {
            return self.without_room(cost, survey);
        }
        self.decision_of_log(cost, survey)
    }

    /// The answer to a request of `cost` for which the log, or the table, has no room: its cells compete for slots.
    #[cold]
    fn without_room(self, cost: u64, survey: Survey) -> Decision<'a> {
        let taken_at = |at| {
            let mut rehearsal = Rehearsal::at(at);
            self.rehearse_cells(&mut rehearsal, cost)
        };
        let (available, full_at) = (taken_at(self.units), survey.latest);
        let log = |ready_at| Evidence::CrowdedLog { available, ready_at, full_at };
        match first_that_fits(self.units, |at| taken_at(at) == cost) {
            Some(ready_at) => self.decision(Verdict::Refused, cost, log(ready_at)),
            // The table is smaller than the request.
            None => self.decision(Verdict::NeverFits, cost, log(self.units)),
        }
    }

    /// How many of `cost` cells would be taken.
    pub(super) fn rehearse_cells(self, rehearsal: &mut Rehearsal, cost: u64) -> u64 {
        let (rule, now) = (&self.limit.rule, rehearsal.now());
        // Of a log that was larger before, some cells count that it has no more.
        let foreign = (self.limit.cells..self.span()).filter(|&cell| self.cells.read(cell).stamp > now).count() as u64;
        let mut taken = 0;
        for cell in 0..self.limit.cells {
            if taken == cost.min(self.limit.most().saturating_sub(foreign)) {
                break;
            }
            let take = |held: Balance| rule.take(held.stamp, now, 1).map(Balance::at);
            taken += u64::from(self.cells.rehearse(cell, rehearsal, take));
        }
        taken
    }

    /// The period of a log in units: how long a cell takes to fill again.
    pub(super) const fn window(self) -> Units {
        self.limit.rule.bound(0, false)
    }

    /// Takes up to `most` cells, the first of which is likely to be `from`.
    pub(super) fn take_cells(self, from: u64, most: u64) -> Taken {
        let (rule, now) = (&self.limit.rule, self.units);
        let mut taken = Taken { cells: 0, untracked: false, lacked_room: false };
        let from = from.min(self.limit.cells);
        for cell in (from..self.limit.cells).chain(0..from) {
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
                    taken.lacked_room = true;
                    // For what it repairs after a step of the clock.
                    let _ = self.refused_for_room(most, cell, full);
                }
            }
        }
        taken
    }

    /// Releases `count` of the cells that one call left at this stamp; those of one instant are as good as each other.
    pub(super) fn release_cells_of(self, count: u64, mine: Units) {
        // Full as of when they were taken, if that is later: what they held before is not known any more.
        let (mut left, full) = (count, later(self.units, mine.saturating_sub(self.window())));
        for cell in 0..self.limit.cells {
            if left == 0 {
                break;
            }
            let outcome = self.cells.update(cell, self.units, |held| {
                let is_mine = held.stamp == mine && self.is_last_word(cell, mine);
                if is_mine { self.lowered(held, full, self.units) } else { None }
            });
            left -= u64::from(matches!(outcome, Outcome::Changed(_)));
        }
    }

    /// Releases up to `count` cells, the latest taken first.
    pub(super) fn release_cells(self, count: u64) {
        let mut room = [(0, 0); LOG_ROOM];
        let busy = self.busy_cells(&mut room);
        busy.sort_unstable_by(|a, b| b.cmp(a));
        for &mut (taken, cell) in busy.iter_mut().take(usize::try_from(count).unwrap_or(usize::MAX)) {
            self.lower(cell, |stamp| if stamp == taken { self.units } else { stamp });
        }
    }

    pub(super) fn busy_cells(self, room: &mut [(Units, u64); LOG_ROOM]) -> &mut [(Units, u64)] {
        let busy = (0..self.span()).map(|cell| (self.cells.read(cell).stamp, cell));
        let busy = busy.filter(|&(stamp, _)| stamp > self.units);
        let count = room.iter_mut().zip(busy).map(|(place, cell)| *place = cell).count();
        &mut room[..count]
    }

    /// How many cells count: of a log that was larger before, those that it had.
    pub(super) fn span(self) -> u64 {
        if self.limit.is_log() {
            self.predecessors().fold(self.limit.cells, |most, before| most.max(before.cells))
        } else {
            1
        }
    }

    pub(super) fn survey(self) -> Survey {
        let mut survey =
            Survey { available: self.limit.most(), first: 0, soonest: Word::MAX_STAMP, latest: self.units };
        if self.limit.most() == 0 {
            return survey;
        }
        let mut first = None;
        for cell in 0..self.span() {
            let held = self.cells.read(cell);
            if held.stamp <= self.units {
                first = first.or(Some(cell));
            } else {
                survey.available = survey.available.saturating_sub(1);
                survey.soonest = survey.soonest.min(held.stamp);
                survey.latest = survey.latest.max(held.stamp);
            }
        }
        Survey { first: first.unwrap_or(0), ..survey }
    }

    /// The answer to a request of `cost` that found the log like this.
    pub(super) fn decision_of_log(self, cost: u64, survey: Survey) -> Decision<'a> {
        let fits = cost <= survey.available;
        let verdict = if fits { Verdict::Allowed } else { self.refusal(cost) };
        let ready_at = match cost.checked_sub(survey.available + 1) {
            None => self.units,
            Some(0) if self.span() == self.limit.cells => survey.soonest,
            Some(more) => self.nth_soonest(more, cost),
        };
        // By then it needs cells that are full now, so may have no slot, and find none.
        let needs_room = survey.available > 0 && verdict == Verdict::Refused;
        if needs_room && self.rehearse_cells(&mut Rehearsal::at(ready_at), cost) < cost {
            return self.without_room(cost, survey);
        }
        let (available, full_at) = (survey.available, survey.latest);
        self.decision(verdict, cost, Evidence::Log { available, ready_at, full_at })
    }

    /// When the cell after the `n` soonest ones will be full; of a log that was larger before, after more of them.
    #[cold]
    fn nth_soonest(self, n: u64, cost: u64) -> Units {
        let mut room = [(0, 0); LOG_ROOM];
        let busy = self.busy_cells(&mut room);
        // So many may be busy then; at most LOG_ROOM are.
        let may_stay = self.limit.most().saturating_sub(cost);
        let n = n.max((busy.len() as u64).saturating_sub(may_stay + 1));
        match usize::try_from(n) {
            Ok(n) if n < busy.len() => busy.select_nth_unstable(n).1.0,
            _ => self.units,
        }
    }
}

/// How many cells of a log a request took.
pub(super) struct Taken {
    pub(super) cells: u64,
    /// Whether one of them is in no slot.
    untracked: bool,
    /// Whether there was no slot for another.
    lacked_room: bool,
}

impl Taken {
    /// What a request found that wanted so many, and takes what it got.
    pub(super) const fn room(&self, wanted: u64) -> Room {
        match self {
            Self { untracked: true, .. } => Room::Untracked,
            Self { lacked_room: true, cells, .. } if *cells < wanted => Room::Refused,
            Self { .. } => Room::Enough,
        }
    }
}

/// What a look at all cells of a log found.
#[derive(Clone, Copy)]
pub(super) struct Survey {
    /// Full cells.
    pub(super) available: u64,
    /// The first of them.
    pub(super) first: u64,
    /// When the next one will be full.
    soonest: Units,
    /// When the last one will be full.
    latest: Units,
}

/// Room for every cell of the largest log, on the stack: nothing is allocated to decide.
const LOG_ROOM: usize = 1_024;
const _: () = assert!(LOG_ROOM as u64 == Quota::MAX_LOG);
