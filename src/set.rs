//! Several limits decided at once: all or nothing.

use core::fmt;
use core::time::Duration;

use crate::algorithm::Debit;
use crate::cells::Cells;
use crate::decision::{Decision, Verdict};
use crate::hash::{KeyHash, Owner};
use crate::limit::Limit;
use crate::ops::Op;
use crate::rehearsal::{Rehearsal, first_that_fits};
use crate::word::{Balance, Units};

pub use crate::reservation::SetReservation;

/// Several limits of one limiter that every request must pass together, such as 200 per day and 50 per hour: of one text,
/// from [`Limiter::prepare_set`](crate::Limiter::prepare_set), or of any limits.
#[derive(Debug, Clone)]
pub struct LimitSet {
    limits: Box<[Limit]>,
    /// The limiter that all of them are of, if they are of one.
    owner: Option<Owner>,
}

/// Whether so many limits can be decided together.
pub(crate) const fn check_count(count: usize) -> Result<(), LimitSetError> {
    match count {
        0 => Err(LimitSetError::Empty),
        1..=LimitSet::MAX => Ok(()),
        _ => Err(LimitSetError::TooMany { count }),
    }
}

impl LimitSet {
    /// The most limits that can be decided together.
    pub const MAX: usize = 32;

    /// A set of one or more limits of one limiter, no two of the same name and quota.
    ///
    /// # Errors
    ///
    /// If there is none or more than [`LimitSet::MAX`], or two are of the same name and quota: they would charge the same
    /// bucket twice.
    pub fn new(limits: impl IntoIterator<Item = Limit>) -> Result<Self, LimitSetError> {
        let limits: Box<[Limit]> = limits.into_iter().collect();
        check_count(limits.len())?;
        for (second, limit) in limits.iter().enumerate() {
            if let Some(first) = limits[..second].iter().position(|other| other.salt == limit.salt) {
                return Err(LimitSetError::SameName { first, second });
            }
        }
        let owner = limits.first().map(|first| first.owner);
        let owner = owner.filter(|owner| limits.iter().all(|limit| limit.owner == *owner));
        Ok(Self { limits, owner })
    }

    pub(crate) const fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// The limits, in the order they were given.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }
}

/// Limits that cannot be decided together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitSetError {
    /// There is no limit in the set.
    Empty,
    /// There are more than [`LimitSet::MAX`].
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// Two limits have the same name and the same quota (or are sliding logs of one period), so the same buckets.
    SameName {
        /// The index of one of them.
        first: usize,
        /// The index of the other.
        second: usize,
    },
}

impl fmt::Display for LimitSetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a set needs at least one limit, and none was given"),
            Self::TooMany { count } => {
                write!(f, "a set can have at most {} limits, and {count} were given", LimitSet::MAX)
            }
            Self::SameName { first, second } => {
                write!(
                    f,
                    "limits {first} and {second} of the set have the same name and the same quota, so they would share their \
                     buckets"
                )
            }
        }
    }
}

impl core::error::Error for LimitSetError {}

/// Why nothing was [reserved](crate::Limiter::reserve_items) for a list of items.
#[derive(Debug, Clone, Copy)]
pub enum ReserveError<'a> {
    /// The request would have to wait longer: the answer of the limits.
    Refused(SetDecision<'a>),
    /// The items cannot be decided together.
    Items(LimitSetError),
}

impl<'a> From<SetDecision<'a>> for ReserveError<'a> {
    fn from(refusal: SetDecision<'a>) -> Self {
        Self::Refused(refusal)
    }
}

impl From<LimitSetError> for ReserveError<'_> {
    fn from(error: LimitSetError) -> Self {
        Self::Items(error)
    }
}

impl fmt::Display for ReserveError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => match refusal.retry_after() {
                Some(wait) => write!(f, "the wait of {wait:?} is longer than allowed"),
                None => f.write_str(
                    "the request can never go: it costs more than fits, or a limit or a key is not this limiter's",
                ),
            },
            Self::Items(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ReserveError<'_> {}

/// What one request needs of one limit; see [`Limiter::check_items`](crate::Limiter::check_items).
#[derive(Debug, Clone, Copy)]
pub struct SetItem<'a> {
    /// The limit.
    pub limit: &'a Limit,
    /// The key under that limit, from [`Limiter::hash`](crate::Limiter::hash).
    pub key: KeyHash,
    /// What the request costs there.
    pub cost: u64,
}

/// The answer of several limits.
#[derive(Clone, Copy)]
#[must_use = "a decision that nobody looks at limits nothing"]
pub struct SetDecision<'a> {
    decision: Decision<'a>,
    index: usize,
    /// What the others have left; the largest number where `decision` says it.
    others: u64,
}

impl<'a> SetDecision<'a> {
    pub(crate) const fn new(decision: Decision<'a>, index: usize) -> Self {
        Self { decision, index, others: u64::MAX }
    }

    /// Whether the request may go: every limit admitted it, and each has taken its cost. If not, none has.
    #[inline]
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.decision.is_allowed()
    }

    /// Whether the request may not go: the opposite of [`is_allowed`](Self::is_allowed).
    #[inline]
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        !self.is_allowed()
    }

    /// Whether the request can never go, whatever is waited for; see [`Decision::never_fits`].
    #[inline]
    #[must_use]
    pub const fn never_fits(&self) -> bool {
        self.decision.never_fits()
    }

    /// Yes, not now, or never.
    #[inline]
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.decision.verdict()
    }

    /// The decision of the limit at [`index`](Self::index).
    pub const fn decision(&self) -> Decision<'a> {
        self.decision
    }

    /// Which limit that is: of those that refused, the one that refuses longest; if all admitted, the one with the
    /// fewest remaining. Of equals, the first.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// The limit at [`index`](Self::index).
    #[must_use]
    pub const fn limit(&self) -> &'a Limit {
        self.decision.limit()
    }

    /// The largest cost that all limits would still admit at this instant, after the decision: the least that one of them
    /// has left.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.decision.remaining().min(self.others)
    }

    /// How long until the same call is admitted, if nobody else comes. `None` if it was admitted, **and if it never will be**;
    /// [`is_allowed`](Self::is_allowed) tells which.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.decision.retry_after()
    }

    /// How long until the limit at [`index`](Self::index) has everything available again, if nobody else comes.
    #[must_use]
    pub fn reset_after(&self) -> Duration {
        self.decision.reset_after()
    }

    /// Until when it refuses, in units: those of one limiter, finer than a nanosecond. One that was repaired speaks of a later
    /// instant than the others, so waits are not compared.
    fn ready_at(&self) -> Option<Units> {
        self.decision.ready_at()
    }

    /// Keeps the more telling of two decisions of the same verdict.
    fn or(self, other: Self) -> Self {
        let tighter = match (self.decision.verdict(), other.decision.verdict()) {
            (Verdict::Allowed, Verdict::Allowed) => other.decision.remaining() < self.decision.remaining(),
            (Verdict::Refused, Verdict::Refused) => other.ready_at() > self.ready_at(),
            (_, Verdict::NeverFits) => !self.decision.never_fits(),
            (Verdict::Allowed, Verdict::Refused) => true,
            (Verdict::Refused | Verdict::NeverFits, _) => false,
        };
        let (worse, better) = if tighter { (other, self) } else { (self, other) };
        // Of admissions the one that is kept has the least left.
        let others = if worse.is_allowed() { u64::MAX } else { worse.others.min(better.remaining()) };
        Self { others, ..worse }
    }
}

impl fmt::Debug for SetDecision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remaining = self.remaining();
        f.debug_struct("SetDecision")
            .field("index", &self.index)
            .field("decision", &self.decision)
            .field("remaining", &remaining)
            .finish()
    }
}

/// The answer to a set that was refused by one of its limits: how long it takes until all admit it.
#[cold]
fn refuse<'a, S: Cells>(
    count: usize,
    op: &impl Fn(usize) -> (Op<'a, S>, u64),
    first: SetDecision<'a>,
    counts: bool,
) -> SetDecision<'a> {
    let mut might_lack_room = false;
    // Whatever a step of the clock has left is repaired in all of them now, so that they are shut for the longest refill, and
    // not for one after the other.
    let mut look = |index| {
        let (op, cost) = op(index);
        let decision = op.repair(op.peek(cost));
        // Where it is refused by itself it counts there, if refusals do; where it would have been admitted it does not.
        let counted = || op.count_refused(decision, false, |held, now| op.taken(held, now, cost));
        let decision = if counts { counted() } else { decision };
        might_lack_room |= op.may_have_no_slot(&decision);
        SetDecision::new(decision, index)
    };
    let looked = (1..count).fold(look(0), |worst, index| worst.or(look(index)));
    // All would admit it by themselves: another thread was faster, or there is no room.
    let mut refusal = if looked.is_allowed() { first } else { looked };
    // Keys without a slot need one by then, and may find none: they compete for those that become free.
    let (worst, cost) = op(refusal.index);
    let Some(wait) = refusal.decision.retry_after().filter(|_| might_lack_room) else { return refusal };
    let fits = |at| {
        let mut rehearsal = Rehearsal::at(at);
        (0..count).all(|index| {
            let (op, cost) = op(index);
            op.rehearse(&mut rehearsal, cost)
        })
    };
    let ready_at = worst.units_at(refusal.decision.at().saturating_add(wait));
    if !fits(ready_at) {
        refusal.decision = worst.refused_until(cost, first_that_fits(ready_at, fits));
    }
    refusal
}

/// How many limits are decided by one look and one round of exchanges.
const AT_ONCE: usize = 8;

/// Takes from all of `count` buckets, 1 to [`LimitSet::MAX`], or from none.
///
/// Looks first, so that a refusal writes nothing and cache misses overlap; then takes one after the other, and undoes that if
/// another thread was faster. Until all are taken or undone, others may see less than there is, never more: nothing is
/// over-admitted, and a lone caller is refused nothing.
#[inline(always)]
pub(crate) fn take_all<'a, S: Cells>(count: usize, op: impl Fn(usize) -> (Op<'a, S>, u64)) -> SetDecision<'a> {
    if count == 1 {
        let (op, cost) = op(0);
        return SetDecision::new(op.check(cost), 0);
    }
    if count > AT_ONCE {
        return look_and_take(count, &op);
    }
    // The common case: every key is where most are, and every part fits.
    let mut seen: [Option<(S::Seen, Balance)>; AT_ONCE] = [None; AT_ONCE];
    let (mut tightest, mut left) = (None, u64::MAX);
    for (index, seen) in seen[..count].iter_mut().enumerate() {
        let (part, cost) = op(index);
        let Some((at, after)) = part.see(cost) else { return look_and_take(count, &op) };
        *seen = Some((at, after));
        let remaining = part.left(after);
        if tightest.is_none() || remaining < left {
            (tightest, left) = (Some(SetDecision::new(part.admitted(cost, after), index)), remaining);
        }
    }
    for index in 0..count {
        if !seen[index].is_some_and(|(at, after)| S::put(at, after)) {
            // Another thread was faster, or two parts are of one bucket. What has been taken stays taken for now.
            return take_each(count, &op, |earlier| seen[earlier].filter(|_| earlier < index).map(|(_, after)| after));
        }
    }
    // None of an empty set, which there is not.
    tightest.unwrap_or_else(|| look_and_take(count, &op))
}

/// Every case: looks, and then takes one after the other.
#[inline(never)]
fn look_and_take<'a, S: Cells>(count: usize, op: &impl Fn(usize) -> (Op<'a, S>, u64)) -> SetDecision<'a> {
    let look = |index: usize| {
        let (op, cost) = op(index);
        SetDecision::new(op.peek(cost), index)
    };
    // Of those that admit it any will do.
    let worse = |seen: SetDecision<'a>, next| if seen.is_allowed() { next } else { seen.or(next) };
    let looked = (1..count).fold(look(0), |worst, index| worse(worst, look(index)));
    if !looked.is_allowed() {
        op(looked.index).0.note_refusal_by_look(&looked.decision);
        return refuse(count, op, looked, true);
    }
    take_each(count, op, |_| None)
}

/// Takes from one after the other, but for those that have become what `before` says.
#[inline(never)]
fn take_each<'a, S: Cells>(
    count: usize,
    op: &impl Fn(usize) -> (Op<'a, S>, u64),
    before: impl Fn(usize) -> Option<Balance>,
) -> SetDecision<'a> {
    let mut taken: [Option<Decision<'a>>; LimitSet::MAX] = [None; LimitSet::MAX];
    let (mut tightest, mut untracked): (Option<SetDecision<'a>>, _) = (None, false);
    for index in 0..count {
        let (part, cost) = op(index);
        let decision = match before(index) {
            Some(after) => part.admitted(cost, after),
            None => part.check_part(cost, &mut untracked),
        };
        let took = SetDecision::new(decision, index);
        if !took.is_allowed() {
            // The last first: of several of one bucket that is the one on top.
            for (index, admitted) in taken[..index].iter().enumerate().rev() {
                if let Some(admitted) = admitted {
                    let op = op(index).0;
                    op.roll_back(&op.debit_of(admitted));
                }
            }
            return refuse(count, op, took, true);
        }
        taken[index] = Some(took.decision);
        tightest = Some(tightest.map_or(took, |tightest| tightest.or(took)));
    }
    let (first, cost) = op(0);
    if untracked {
        // One request, whatever the number of its limits.
        first.note_untracked();
    }
    // None of an empty set, which there is not.
    tightest.unwrap_or_else(|| SetDecision::new(first.peek(cost), 0))
}

/// A part of a reservation: the bucket, and what was taken from it.
pub(crate) type Part<'a, S> = (Op<'a, S>, Debit);

/// How often a reservation is tried anew if another thread was faster.
const MAX_TRIES: u32 = if cfg!(tollgate_model) { 2 } else { 16 };

/// Takes from all of `count` buckets, 1 to [`LimitSet::MAX`], for a request that may go within `max_wait`, or from none.
///
/// The request goes at one instant, the first at which all of them would admit it, and each counts it as of then: so
/// nothing that one limit has admitted goes late, and on top of what another admits by then.
pub(crate) fn reserve_all<'a, S: Cells>(
    count: usize,
    op: impl Fn(usize) -> (Op<'a, S>, u64),
    max_wait: Duration,
) -> Result<(Vec<Part<'a, S>>, Units), SetDecision<'a>> {
    let first = op(0).0;
    let (now, latest) = (first.units_at(first.now), first.units_at(first.now.saturating_add(max_wait)));
    let look = |index: usize| {
        let (op, cost) = op(index);
        SetDecision::new(op.peek(cost), index)
    };
    let (mut not_before, mut tries) = (now, MAX_TRIES);
    loop {
        let looked = (1..count).fold(look(0), |worst, index| worst.or(look(index)));
        let mut go_at = not_before;
        if !looked.is_allowed() {
            let refusal = refuse(count, &op, looked, false);
            match refusal.ready_at() {
                Some(ready_at) if ready_at <= latest => go_at = ready_at.max(go_at),
                _ => {
                    op(refusal.index).0.note_refusal_by_look(&refusal.decision);
                    return Err(refusal);
                }
            }
        }
        let promises = |(op, cost): (Op<'a, S>, u64)| cost == 0 || op.promises(go_at);
        if let Some(index) = (0..count).find(|&index| !promises(op(index))) {
            let (op, cost) = op(index);
            return Err(SetDecision::new(op.refused_until(cost, Some(go_at)), index));
        }
        let refusal = match reserve_parts(count, &op, go_at) {
            Ok(parts) => return Ok((parts, go_at)),
            // Each by itself fitted: parts want one bucket, or one slot, or another thread was faster.
            Err(took) => refuse(count, &op, took, false),
        };
        tries -= 1;
        not_before =
            match refusal.ready_at() {
                // What lacks a slot cannot wait for one in it.
                Some(ready_at) if ready_at <= latest && !refusal.decision.lacks_room() && tries > 0 => {
                    if ready_at > go_at { ready_at } else { now }
                }
                _ => return Err(refusal),
            };
    }
}

/// Takes every part as of `go_at`; or none, and says which refused.
fn reserve_parts<'a, S: Cells>(
    count: usize,
    op: &impl Fn(usize) -> (Op<'a, S>, u64),
    go_at: Units,
) -> Result<Vec<Part<'a, S>>, SetDecision<'a>> {
    let (mut parts, mut untracked) = (Vec::with_capacity(count), false);
    for index in 0..count {
        let (part, cost) = op(index);
        match part.reserve_part(cost, go_at, &mut untracked) {
            Ok(debit) => parts.push((part, debit)),
            Err(refused) => {
                // The last first, as in `take_all`.
                parts.iter().rev().for_each(|(part, debit): &Part<'a, S>| part.roll_back(debit));
                return Err(SetDecision::new(refused, index));
            }
        }
    }
    if untracked {
        op(0).0.note_untracked();
    }
    Ok(parts)
}
