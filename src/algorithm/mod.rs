//! Arithmetic from (stamp, now, cost) to a new stamp. No atomics, no clock, no key.
//!
//! All algorithms keep two rules, and the slots and the table rely on nothing else: a bucket is full, and may be
//! forgotten, once its stamp is not later than now; and taking from a bucket moves its stamp later.

pub(crate) mod batch;
pub(crate) mod first_hit;
pub(crate) mod fixed_window;
pub(crate) mod leaky_queue;
pub(crate) mod sliding_window;
pub(crate) mod token_bucket;
pub(crate) mod window;

use crate::word::{Balance, Units, Word};
use fixed_window::{FixedWindow, Windows};
use leaky_queue::LeakyQueue;
use sliding_window::SlidingWindow;
use token_bucket::TokenBucket;

/// Tokens taken for a request that may go at `go_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) debit: Debit,
    pub(crate) go_at: Units,
}

/// A debit that may be undone: how much it was, and the stamps that it found (or now, if that was later) and left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(tollgate_model, derive(PartialOrd, Ord))]
pub(crate) struct Debit {
    pub(crate) cost: u64,
    /// Where a token bucket or a queue goes back to; windows only count.
    pub(crate) from: Units,
    pub(crate) stamp: Units,
}

impl Debit {
    /// Of nothing.
    pub(crate) const NONE: Self = Self { cost: 0, from: 0, stamp: 0 };
}

/// Tokens taken after the fact, as far as the bound on debt allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Borrowed {
    pub(crate) stamp: Units,
    pub(crate) taken: u64,
}

/// A number of requests, exactly; the denominator is positive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fraction {
    pub(crate) numerator: i128,
    pub(crate) denominator: i128,
}

/// One algorithm with its numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    TokenBucket(TokenBucket),
    LeakyQueue(LeakyQueue),
    FixedWindow(FixedWindow),
    SlidingWindow(SlidingWindow),
}

impl Rule {
    /// The most that fits at once.
    #[inline]
    pub(crate) const fn limit(&self) -> u64 {
        match self {
            Self::TokenBucket(rule) => rule.burst,
            Self::LeakyQueue(rule) => rule.bucket.burst,
            Self::FixedWindow(rule) => rule.limit,
            Self::SlidingWindow(rule) => rule.limit,
        }
    }

    /// The stamp after taking `cost`, or `None` if it does not fit now.
    #[inline]
    pub(crate) const fn take(&self, stamp: Units, now: Units, cost: u64) -> Option<Units> {
        match self {
            Self::TokenBucket(rule) => rule.take(stamp, now, cost),
            other => other.take_otherwise(stamp, now, cost),
        }
    }

    /// Apart, so that the default stays small enough to be inlined.
    #[inline(never)]
    const fn take_otherwise(&self, stamp: Units, now: Units, cost: u64) -> Option<Units> {
        let taken = match self {
            Self::TokenBucket(rule) => rule.take(stamp, now, cost),
            Self::LeakyQueue(rule) => rule.take(stamp, now, cost),
            Self::FixedWindow(rule) => rule.take(stamp, now, cost),
            Self::SlidingWindow(rule) => rule.take(stamp, now, cost),
        };
        match taken {
            Some(stamp) => Some(in_range(stamp)),
            None => None,
        }
    }

    /// The largest cost that fits now.
    #[inline]
    pub(crate) const fn available(&self, stamp: Units, now: Units) -> u64 {
        match self {
            Self::TokenBucket(rule) => rule.available(stamp, now),
            other => other.available_otherwise(stamp, now),
        }
    }

    #[inline(never)]
    const fn available_otherwise(&self, stamp: Units, now: Units) -> u64 {
        match self {
            Self::TokenBucket(rule) => rule.available(stamp, now),
            Self::LeakyQueue(rule) => rule.available(stamp, now),
            Self::FixedWindow(rule) => rule.available(stamp, now),
            Self::SlidingWindow(rule) => rule.available(stamp, now),
        }
    }

    /// The first instant from now on at which `cost`, which is at most the limit, fits if nobody else comes.
    pub(crate) const fn ready_at(&self, stamp: Units, now: Units, cost: u64) -> Units {
        match self {
            Self::TokenBucket(rule) => rule.ready_at(stamp, now, cost),
            Self::LeakyQueue(_) => token_bucket::later(stamp, now),
            Self::FixedWindow(rule) => rule.ready_at(stamp, now, cost),
            Self::SlidingWindow(rule) => rule.ready_at(stamp, now, cost),
        }
    }

    /// The first instant from now on at which everything is available again.
    pub(crate) const fn full_at(&self, stamp: Units, now: Units) -> Units {
        match self {
            Self::TokenBucket(_) | Self::LeakyQueue(_) => token_bucket::later(stamp, now),
            Self::FixedWindow(rule) => rule.full_at(stamp, now),
            Self::SlidingWindow(rule) => rule.full_at(stamp, now),
        }
    }

    /// Whether the bucket is in use: something is counted in this window, or of a bucket that sells time it is not full.
    pub(crate) const fn is_begun(&self, stamp: Units, now: Units) -> bool {
        match self {
            Self::TokenBucket(_) | Self::LeakyQueue(_) => stamp > now,
            Self::FixedWindow(rule) => rule.windows.split(stamp, now).1 > 0,
            Self::SlidingWindow(rule) => rule.is_begun(stamp, now),
        }
    }

    /// Takes now for a request that may go later. Windows promise nothing ahead of time: there it goes now or not.
    pub(crate) const fn reserve(&self, stamp: Units, now: Units, cost: u64, max_wait: Units) -> Option<Reserved> {
        match self {
            Self::TokenBucket(rule) => rule.reserve(stamp, now, cost, max_wait),
            Self::LeakyQueue(rule) => rule.reserve(stamp, now, cost, max_wait),
            Self::FixedWindow(_) | Self::SlidingWindow(_) => match self.take(stamp, now, cost) {
                Some(stamp) => Some(Reserved { debit: self.debit(stamp, cost), go_at: now }),
                None => None,
            },
        }
    }

    /// Whether a request can be promised now that it may go at `go_at`, from now on: a bucket promises as far as debt is
    /// allowed, a window to its end, if that is known.
    pub(crate) const fn promises(&self, now: Units, go_at: Units) -> bool {
        match self {
            Self::TokenBucket(rule) | Self::LeakyQueue(LeakyQueue { bucket: rule }) => go_at - now <= rule.debt,
            Self::FixedWindow(FixedWindow { windows: Windows::Clock(grid), .. })
            | Self::SlidingWindow(SlidingWindow { grid, .. }) => go_at < grid.end(now),
            // Whether one has begun, and when it ends, the stamp says alone.
            Self::FixedWindow(FixedWindow { windows: Windows::FirstHit(_), .. }) => false,
        }
    }

    /// Takes now for a request that goes at `go_at`, which is [promised](Self::promises), and counts it as of then; `None` if
    /// it would not be its turn yet.
    pub(crate) const fn reserve_at(&self, stamp: Units, now: Units, cost: u64, go_at: Units) -> Option<Debit> {
        match self.take(stamp, go_at, cost) {
            // Undone, all of it comes back, with the gap before `go_at`.
            Some(after) if self.sells_time() => {
                Some(Debit { cost, from: token_bucket::later(stamp, now), stamp: after })
            }
            Some(after) => Some(self.debit(after, cost)),
            None => None,
        }
    }

    /// Takes `cost` whether it fits or not, as far as debt is allowed.
    pub(crate) const fn borrow(&self, stamp: Units, now: Units, cost: u64) -> Borrowed {
        match self {
            Self::TokenBucket(rule) => rule.borrow(stamp, now, cost),
            Self::LeakyQueue(rule) => rule.bucket.borrow(stamp, now, cost),
            Self::FixedWindow(rule) => rule.borrow(stamp, now, cost),
            Self::SlidingWindow(rule) => rule.borrow(stamp, now, cost),
        }
    }

    /// Gives `cost` back, up to full.
    pub(crate) const fn give_back(&self, stamp: Units, now: Units, cost: u64) -> Units {
        match self {
            Self::TokenBucket(rule) => rule.give_back(stamp, now, cost),
            Self::LeakyQueue(rule) => rule.bucket.give_back(stamp, now, cost),
            Self::FixedWindow(rule) => rule.give_back(stamp, now, cost),
            Self::SlidingWindow(rule) => rule.give_back(stamp, now, cost),
        }
    }

    /// Gives back what was taken at `taken_at`: a window only what it has counted itself, a bucket no more than can still be
    /// owed of it.
    pub(crate) const fn give_back_of(&self, stamp: Units, now: Units, cost: u64, taken_at: Units) -> Units {
        match self {
            Self::TokenBucket(_) | Self::LeakyQueue(_) => {
                let owed = self.bound(taken_at, matches!(self, Self::LeakyQueue(_))).saturating_sub(now);
                token_bucket::later(self.give_back(stamp, now, cost), stamp.saturating_sub(owed))
            }
            Self::FixedWindow(rule) => rule.give_back_of(stamp, now, cost, taken_at),
            Self::SlidingWindow(rule) => rule.return_count(stamp, now, cost, rule.grid.end(taken_at)),
        }
    }

    /// The balance as an exact fraction of requests, negative if past empty.
    pub(crate) fn held(&self, stamp: Units, now: Units) -> Fraction {
        match self {
            // Closed: no token to count in.
            Self::TokenBucket(rule) | Self::LeakyQueue(LeakyQueue { bucket: rule }) if rule.burst == 0 => {
                Fraction { numerator: 0, denominator: 1 }
            }
            Self::TokenBucket(rule) | Self::LeakyQueue(LeakyQueue { bucket: rule }) => Fraction {
                numerator: i128::from(now + rule.depth) - i128::from(token_bucket::later(stamp, now)),
                denominator: i128::from(rule.token),
            },
            Self::FixedWindow(_) | Self::SlidingWindow(_) => {
                Fraction { numerator: i128::from(self.available(stamp, now)), denominator: 1 }
            }
        }
    }

    /// The stamp of a bucket that holds so much: at most full, at least as far past empty as debt is allowed, and
    /// rounded down, so that nothing is made up.
    pub(crate) fn holding(&self, now: Units, held: Fraction) -> Units {
        let limit = i128::from(self.limit());
        let (whole, rest) = (held.numerator.div_euclid(held.denominator), held.numerator.rem_euclid(held.denominator));
        let (whole, rest) = if whole >= limit { (limit, 0) } else { (whole, rest) };
        match self {
            Self::TokenBucket(rule) | Self::LeakyQueue(LeakyQueue { bucket: rule }) => {
                // |whole| < 2^60, rest < denominator < 2^58 and token < 2^58: far inside 128 bits.
                let token = i128::from(rule.token);
                let ahead = whole * token + rest * token / held.denominator;
                let ahead = ahead.clamp(-i128::from(rule.debt), i128::from(rule.depth));
                // Between now and now + depth + debt, so a stamp.
                u64::try_from(i128::from(now + rule.depth) - ahead).unwrap_or(now + rule.depth)
            }
            Self::FixedWindow(rule) => rule.holding(now, u64::try_from(whole).unwrap_or(0)),
            Self::SlidingWindow(rule) => rule.holding(now, u64::try_from(whole).unwrap_or(0)),
        }
    }

    /// The stamp of a bucket that is as far from full as either of two stamps says.
    pub(crate) const fn later(&self, a: Units, b: Units, now: Units) -> Units {
        match self {
            Self::SlidingWindow(rule) => in_range(rule.later(a, b, now)),
            Self::FixedWindow(rule) => rule.later(a, b, now),
            Self::TokenBucket(_) | Self::LeakyQueue(_) => token_bucket::later(a, b),
        }
    }

    /// The stamp of a bucket that is as far from full as `holding` says, which is a stamp of this instant. A window in use
    /// ends when it does.
    pub(crate) const fn filled(&self, stamp: Units, holding: Units, now: Units) -> Units {
        match self {
            Self::FixedWindow(rule) => rule.filled(stamp, holding, now),
            _ => self.later(stamp, holding, now),
        }
    }

    /// Whether requests that are refused count.
    pub(crate) const fn counts_refused(&self) -> bool {
        matches!(self, Self::FixedWindow(FixedWindow { counts_refused: true, .. }))
    }

    /// The stamp after counting a request that was refused; `None` if that is not counted, or has no effect any more.
    pub(crate) const fn count_refused(&self, stamp: Units, now: Units, cost: u64) -> Option<Units> {
        match self {
            Self::FixedWindow(rule) => match rule.count_refused(stamp, now, cost) {
                Some(stamp) => Some(in_range(stamp)),
                None => None,
            },
            _ => None,
        }
    }

    /// The stamp of a bucket with nothing in it.
    pub(crate) fn empty(&self, now: Units) -> Units {
        self.holding(now, Fraction { numerator: 0, denominator: 1 })
    }

    /// The debit of `cost` that left the stamp at `after`, for a request that went at once.
    pub(crate) const fn debit(&self, after: Units, cost: u64) -> Debit {
        match self {
            Self::TokenBucket(rule) | Self::LeakyQueue(LeakyQueue { bucket: rule }) => {
                // It was taken, so the product is a part of `after`.
                Debit { cost, from: after.saturating_sub(cost.saturating_mul(rule.token)), stamp: after }
            }
            Self::FixedWindow(_) | Self::SlidingWindow(_) => Debit { cost, from: 0, stamp: after },
        }
    }

    /// The stamp with a debit undone, or the same stamp where it cannot be known what that would free.
    ///
    /// A token bucket or a queue is set to what it was before the debit, if nobody has taken since: the stamp still stands
    /// where the debit left it. Then nobody owns anything of what becomes free. Otherwise nothing comes back: what others
    /// have taken lies behind it, and who they are (a request that has gone, one that waits for its instant, one whose
    /// tokens a lease holds) is nowhere written down. A window has no places: its count becomes less by the cost, while it
    /// lasts.
    pub(crate) const fn undo(&self, stamp: Units, now: Units, debit: &Debit) -> Units {
        match self {
            Self::TokenBucket(_) | Self::LeakyQueue(_) if stamp == debit.stamp => debit.from,
            Self::TokenBucket(_) | Self::LeakyQueue(_) => stamp,
            Self::FixedWindow(rule) => rule.undo(stamp, now, debit),
            Self::SlidingWindow(rule) => rule.undo(stamp, now, debit),
        }
    }

    /// Whether requests that were promised an instant may wait in a bucket with this stamp: it is past empty, or a queue
    /// that has not left yet.
    pub(crate) const fn may_have_promised(&self, stamp: Units, now: Units) -> bool {
        match self {
            Self::TokenBucket(rule) => stamp > now + rule.depth,
            Self::LeakyQueue(_) => stamp > now,
            Self::FixedWindow(_) | Self::SlidingWindow(_) => false,
        }
    }

    /// Whether the stamp is where sold time ends, and not a count.
    pub(crate) const fn sells_time(&self) -> bool {
        matches!(self, Self::TokenBucket(_) | Self::LeakyQueue(_))
    }

    /// The latest stamp that any call at `now` can have left.
    #[inline]
    pub(crate) const fn bound(&self, now: Units, overdrawn: bool) -> Units {
        match self {
            Self::TokenBucket(rule) | Self::LeakyQueue(LeakyQueue { bucket: rule }) => {
                now + rule.depth + if overdrawn { rule.debt } else { 0 }
            }
            windows => windows.window_bound(now),
        }
    }

    /// Apart, as `take_otherwise`.
    #[inline(never)]
    const fn window_bound(&self, now: Units) -> Units {
        match self {
            Self::TokenBucket(_) | Self::LeakyQueue(_) => now,
            Self::FixedWindow(rule) => rule.bound(now),
            Self::SlidingWindow(rule) => rule.bound(now),
        }
    }

    /// How far ahead of now that can be, wherever in a window now lies.
    pub(crate) const fn reach(&self, overdrawn: bool) -> Units {
        match self {
            Self::TokenBucket(_) | Self::LeakyQueue(_) => self.bound(0, overdrawn),
            Self::FixedWindow(rule) => rule.reach(),
            Self::SlidingWindow(rule) => 3 * rule.grid.window,
        }
    }

    /// The balance for a stamp: marked if it stands past empty.
    #[inline]
    pub(crate) const fn balance(&self, stamp: Units, now: Units) -> Balance {
        match self {
            Self::TokenBucket(rule) | Self::LeakyQueue(LeakyQueue { bucket: rule }) => {
                Balance { stamp, overdrawn: stamp > now + rule.depth }
            }
            Self::FixedWindow(_) | Self::SlidingWindow(_) => Balance::at(in_range(stamp)),
        }
    }
}

pub(crate) const fn least(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

/// At the end of the range a window may end later than a stamp can say, under a quota that another's debt is judged by:
/// then the debt stays as it is.
const fn in_range(stamp: Units) -> Units {
    if stamp < Word::MAX_STAMP { stamp } else { Word::MAX_STAMP }
}

#[cfg(test)]
mod tests {
    use super::window::Grid;
    use super::*;
    use crate::time_base::LATEST;
    use fixed_window::Windows;

    #[test]
    fn a_window_at_the_end_of_the_range_keeps_within_it() {
        // Another quota's debt stands five units before the last stamp, in a window that began five before that.
        let (window, begin) = (1 << 50, Word::MAX_STAMP - 10);
        let grid = Grid::new(window, window - begin % window);
        let rule = Rule::FixedWindow(FixedWindow::new(Windows::Clock(grid), window - 1, false));
        assert_eq!(rule.take(begin + 5, LATEST, 3), Some(begin + 8));
        assert_eq!(rule.take(begin + 5, LATEST, 10), Some(Word::MAX_STAMP));
        assert_eq!(rule.balance(begin + 15, LATEST), Balance::at(Word::MAX_STAMP));
    }
}
