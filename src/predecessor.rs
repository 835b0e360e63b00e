//! A limit whose quota has changed: what a key used under the old one counts under the new one as well.
//!
//! The old limit and the new one have buckets of their own. What a key had used when the quota changed, at `since`, is read
//! from its old bucket whenever the new one is full, and the new one is then taken to be as far from full as that makes it.
//! The first request that is admitted under the new limit writes that down, in two steps, each a compare-and-swap:
//!
//! 1. the old bucket is **closed**: its stamp is moved so far that whoever still asks under the old limit finds nothing left,
//!    and by so much that what it was before can be read from it (and each before that, if the quota has changed again
//!    meanwhile: oldest first);
//! 2. the new bucket is changed from as far as that leaves it, or further.
//!
//! What is carried over depends on `since` and the old bucket alone, and that no longer changes once it is closed; taking
//! the later of two stamps twice is the same as once. So it does not matter which thread does which step, how often, or
//! whether one is stopped in between: nobody waits, nothing is counted twice, and nothing is sold under both.
//! Model: change.

use crate::algorithm::leaky_queue::LeakyQueue;
use crate::algorithm::token_bucket::{TokenBucket, later};
use crate::algorithm::{Rule, least};
use crate::arith::narrow;
use crate::hash::Salt;
use crate::time_base::MAX_AHEAD;
use crate::word::{Balance, Units};

/// The limit that another has taken the place of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Predecessor {
    /// Between the identity of a key's bucket under the new limit and under the old one.
    pub(crate) salt: Salt,
    rule: Rule,
    /// Of a sliding log, whose cells are the same under both: how many the old one had.
    pub(crate) cells: u64,
    since: Units,
    /// When the longest refill is over: nothing is carried over beyond that. Without debt, and with; of windows a boundary.
    until: [Units; 2],
    /// When nothing is carried over any more: when that is so of the last change.
    counts_until: Units,
}

impl Predecessor {
    /// That a limit of `rule`, with buckets `salt` away and so many cells, gave way at `since` to one of `new`.
    pub(crate) fn new(rule: Rule, cells: u64, salt: Salt, new: &Rule, since: Units) -> Self {
        // Counts are forgotten when a window ends: of a fixed one its own, of a sliding one the next.
        let until = [false, true].map(|debt| match new {
            Rule::FixedWindow(new) => new.windows.end(since) + new.windows.longest(),
            Rule::SlidingWindow(new) => new.grid.end(since) + 2 * new.grid.window,
            Rule::TokenBucket(_) | Rule::LeakyQueue(_) => since + later(rule.reach(debt), new.reach(debt)),
        });
        Self { salt, rule, cells, since, until, counts_until: until[1] }
    }

    /// The same predecessor, of a limit that has taken the place of `last`, the one it was made for. It counts as long as that
    /// does: what has gone from one into the next is forgotten with it, neither earlier nor later.
    pub(crate) const fn further(self, last: &Self) -> Self {
        Self { salt: self.salt.further(last.salt), counts_until: last.counts_until, ..self }
    }

    /// When the quota changed.
    pub(crate) const fn since(&self) -> Units {
        self.since
    }

    /// Whether a key may still have used something under the old limit that counts at `now`.
    #[inline]
    pub(crate) const fn counts_at(&self, now: Units) -> bool {
        now < self.counts_until
    }

    /// How far the stamp of a bucket that sells time is moved when it is closed: beyond all that a call under the old limit
    /// can leave while the new one looks. `None` if there is no room for that.
    const fn shift(&self, overdrawn: bool) -> Option<Units> {
        let reach = self.rule.reach(overdrawn);
        let shift = self.until[overdrawn as usize] - self.since + reach + 1;
        if shift + reach > MAX_AHEAD { None } else { Some(shift) }
    }

    /// The stamp before it was moved.
    const fn opened(&self, held: Balance) -> Units {
        match self.shift(held.overdrawn) {
            Some(shift) if held.stamp > self.until[held.overdrawn as usize] + self.rule.reach(held.overdrawn) => {
                held.stamp - shift
            }
            _ => held.stamp,
        }
    }

    /// The rule of the old limit.
    pub(crate) const fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The balance of the old bucket, with what was carried over into it, unless that was closed.
    pub(crate) const fn raised(&self, held: Balance, carried: Units, now: Units) -> Balance {
        if carried == 0 || self.is_closed(held, now) {
            return held;
        }
        // No further past empty than it could have been at the change, so that it is not taken for closed.
        let carried = if self.rule.sells_time() { least(carried, self.since + self.rule.reach(true)) } else { carried };
        let stamp = self.rule.later(held.stamp, carried, now);
        Balance { stamp, overdrawn: held.overdrawn || self.rule.balance(stamp, self.since).overdrawn }
    }

    const fn is_closed(&self, held: Balance, now: Units) -> bool {
        match &self.rule {
            Rule::TokenBucket(_) | Rule::LeakyQueue(_) => self.opened(held) != held.stamp,
            Rule::FixedWindow(rule) => rule.is_closed(held.stamp, now),
            Rule::SlidingWindow(rule) => rule.closed(held.stamp, now).is_none(),
        }
    }

    /// The balance of the old bucket when it is closed; `None` if it is, or if there is no room in a word for that: then it
    /// stays open to whoever still asks under the old limit.
    pub(crate) const fn closed(&self, held: Balance, now: Units) -> Option<Balance> {
        let stamp = match &self.rule {
            Rule::TokenBucket(_) | Rule::LeakyQueue(_) => match self.shift(held.overdrawn) {
                // A bucket that was full at the change counts as just that.
                Some(shift) if self.opened(held) == held.stamp => Some(later(held.stamp, self.since) + shift),
                _ => None,
            },
            Rule::FixedWindow(rule) => rule.closed(held.stamp, now),
            Rule::SlidingWindow(rule) if rule.limit < 1 << (rule.bits - 1) => rule.closed(held.stamp, now),
            Rule::SlidingWindow(_) => None,
        };
        match stamp {
            Some(stamp) => Some(Balance { stamp, overdrawn: held.overdrawn }),
            None => None,
        }
    }

    /// How far from full a bucket of `new` is at least, given the balance of the old one: what was used until the change, in
    /// tokens, at most the new burst and what the old bucket was past empty; refilled since at the new rate, and all of it when
    /// the longest refill is over. 0 after nothing.
    pub(crate) const fn carried(&self, new: &Rule, old: Balance, now: Units) -> Units {
        match (&self.rule, new) {
            (Rule::TokenBucket(from), Rule::TokenBucket(to)) => {
                let ahead = self.ahead(old);
                let (used, owed) = if ahead > from.depth { (from.depth, ahead - from.depth) } else { (ahead, 0) };
                let used = least(as_tokens(used, from, to), to.depth);
                self.ending(used + as_tokens(owed, from, to))
            }
            (Rule::LeakyQueue(LeakyQueue { bucket: from }), Rule::LeakyQueue(LeakyQueue { bucket: to })) => {
                let ahead = self.ahead(old);
                let all = as_tokens(ahead, from, to);
                // Whoever waits goes when he was told: the next comes a new token after the last of them, not before.
                let next = if ahead > from.token && to.token < from.token {
                    later(all, ahead - from.token + to.token)
                } else {
                    all
                };
                self.ending(next)
            }
            (Rule::FixedWindow(from), Rule::FixedWindow(to)) => to.after(from, old.stamp, now),
            (Rule::SlidingWindow(from), Rule::SlidingWindow(to)) => to.after(from, old.stamp, now),
            // Not made: another algorithm begins anew.
            _ => 0,
        }
    }

    /// How far from full an old bucket that sells time was at the change.
    const fn ahead(&self, old: Balance) -> Units {
        self.opened(old).saturating_sub(self.since)
    }

    /// The stamp that lies so far after the change, or at the end of the longest refill. Where nothing was used there is none:
    /// a caller whose `now` is from before the change finds the bucket full, and it needs a slot like any other.
    const fn ending(&self, ahead: Units) -> Units {
        if ahead == 0 { 0 } else { least(self.since + ahead, self.until[1]) }
    }
}

/// The span of as many tokens of another bucket, rounded up.
const fn as_tokens(span: Units, from: &TokenBucket, to: &TokenBucket) -> Units {
    let span = (span as u128 * to.token as u128).div_ceil(from.token as u128);
    if span > MAX_AHEAD as u128 { MAX_AHEAD } else { narrow(span) }
}
