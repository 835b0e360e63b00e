//! Tokens taken ahead of the requests they are for: what a handle holds, and how it uses them without the bucket.
//!
//! **Token bucket.** Taking `n` tokens moves the stamp over a stretch of `n * T`. Read so, every admission owns a stretch:
//! that of a plain one begins at `max(stamp, now)`. A batch is a stretch bought at once, of which each use owns a piece:
//!
//! 1. no two pieces overlap: a stretch is bought by a compare-and-swap that moves the stamp over it, and the handle
//!    that bought it cuts it up front to back;
//! 2. a piece begins no earlier than its use: what lies before `now` has **lapsed**;
//! 3. a piece ends no later than `depth` after its use: it ended no later than `depth` after it was bought, and no use is
//!    earlier than that (`since`).
//!
//! So the pieces of whatever is admitted in `[a, b]` lie side by side in `[a, b + depth]`, and come to no more than
//! `burst + rate * (b - a)` tokens: P1, and nothing is asked of who else takes, or how many handles there are. A request
//! may own several pieces: the end of one stretch and the beginning of the next.
//!
//! A handle that kept a *count* would break this. Burst 10, ten tokens taken and held, and a bucket that is full again
//! after `10 * T`: then both can be used at one instant, 20 in all. As a stretch, what is held has lapsed by then.
//!
//! **Windows.** A batch is a part of one window's count and is good until that window ends. In the sliding window counter
//! the weight of the window before only falls until then, so what fitted when it was taken fits when it is used.

use super::token_bucket::later;
use super::{Rule, token_bucket::TokenBucket};
use crate::word::Units;

/// Tokens of one bucket that are counted as taken and have not been used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(tollgate_model, derive(PartialOrd, Ord))]
pub(crate) struct Batch {
    /// When they were taken: no use is earlier.
    pub(crate) since: Units,
    /// The stamp that taking them left.
    pub(crate) stamp: Units,
    /// Where they end: the end of the stretch, which is that stamp, or of the window.
    until: Units,
    /// How long the stretch is, back from its end; or how many of the window's count.
    left: Units,
}

impl Batch {
    /// Nothing held.
    pub(crate) const NONE: Self = Self { since: 0, stamp: 0, until: 0, left: 0 };

    /// Whether there is nothing that could be given back.
    pub(crate) const fn is_none(&self) -> bool {
        self.left == 0
    }

    /// What has not lapsed of a stretch: the part that lies after `now`.
    const fn stretch(&self, now: Units) -> Units {
        let ahead = self.until.saturating_sub(now);
        if self.left < ahead { self.left } else { ahead }
    }

    /// What is good of a count: all of it, while its window lasts.
    const fn count(&self, now: Units) -> u64 {
        if now < self.until { self.left } else { 0 }
    }

    /// What is good of a count in the window that ends at `end`.
    const fn count_in(&self, end: Units) -> u64 {
        if self.until == end { self.left } else { 0 }
    }
}

/// How many tokens to take ahead when `spare` are there beyond the request's own `cost`: half of them at most, so that
/// what others find shrinks by halves, and a bucket that is nearly empty is left to those who ask.
const fn ahead(spare: u64, cost: u64, batch: u64) -> u64 {
    let (wanted, fair) = (batch.saturating_sub(cost), spare / 2);
    if wanted < fair { wanted } else { fair }
}

impl TokenBucket {
    const fn fetch(&self, stamp: Units, now: Units, held: &Batch, cost: u64, batch: u64) -> Option<Batch> {
        // Compared in tokens first: a product of an unchecked cost could wrap.
        if cost > self.burst {
            return None;
        }
        let from = later(stamp, now);
        let room = (now + self.depth).saturating_sub(from);
        // What is held, and too short for the request, is the first piece of it.
        let need = (cost * self.token).saturating_sub(held.stretch(now));
        if need > room {
            return None;
        }
        let left = ahead((room - need) / self.token, cost, batch) * self.token;
        let end = from + need + left;
        Some(Batch { since: now, stamp: end, until: end, left })
    }
}

impl Rule {
    /// How much of `held` is good at `now`, in whole requests.
    pub(crate) const fn held_at(&self, held: &Batch, now: Units) -> u64 {
        match self {
            Self::TokenBucket(rule) => held.stretch(now) / rule.token,
            Self::LeakyQueue(_) => 0,
            Self::FixedWindow(_) | Self::SlidingWindow(_) => held.count(now),
        }
    }

    /// Uses what is held for a request that costs `cost`, if it is enough.
    #[inline]
    pub(crate) const fn spend(&self, held: &mut Batch, now: Units, cost: u64) -> bool {
        // Earlier than it was taken, it would end too far ahead, or have weighed too much.
        if now < held.since || cost > self.limit() {
            return false;
        }
        let (left, price) = match self {
            // cost <= burst, so the product is at most the depth.
            Self::TokenBucket(rule) => (held.stretch(now), cost * rule.token),
            Self::LeakyQueue(_) => return false,
            Self::FixedWindow(_) | Self::SlidingWindow(_) => (held.count(now), cost),
        };
        if price > left {
            return false;
        }
        held.left = left - price;
        true
    }

    /// Takes from the bucket what a request that costs `cost` needs beyond what is held, and up to `batch` in all for it
    /// and those to come; `None` if the request does not fit now. What is then held, with the stamp to leave.
    ///
    /// `now` is not earlier than `held.since`.
    pub(crate) const fn fetch(&self, stamp: Units, now: Units, held: &Batch, cost: u64, batch: u64) -> Option<Batch> {
        match self {
            Self::TokenBucket(rule) => rule.fetch(stamp, now, held, cost, batch),
            // Requests leave one by one: there is nothing to take ahead.
            Self::LeakyQueue(rule) => match rule.take(stamp, now, cost) {
                Some(stamp) => Some(Batch { stamp, ..Batch::NONE }),
                None => None,
            },
            Self::FixedWindow(rule) => {
                let (end, count) = rule.windows.split(stamp, now);
                let need = cost.saturating_sub(held.count_in(end));
                let room = rule.limit.saturating_sub(count);
                if cost > rule.limit || need > room {
                    return None;
                }
                let left = ahead(room - need, cost, batch);
                Some(Batch { since: now, stamp: end + count + need + left, until: end, left })
            }
            Self::SlidingWindow(rule) => {
                let (end, room) = rule.room_until(stamp, now);
                let need = cost.saturating_sub(held.count_in(end));
                if cost > rule.limit || need > room {
                    return None;
                }
                let left = ahead(room - need, cost, batch);
                match rule.take(stamp, now, need + left) {
                    Some(stamp) => Some(Batch { since: now, stamp, until: end, left }),
                    None => None,
                }
            }
        }
    }

    /// The stamp with what is held given back: exactly what was not used, or nothing.
    pub(crate) const fn return_batch(&self, stamp: Units, now: Units, held: &Batch) -> Units {
        match self {
            // The end of the stretch is where the stamp stands, so nobody owns anything after it, and moving the stamp
            // back frees what nobody owns. Had others taken since, it would free the end of *their* stretches; what
            // they hold and have not used would then overlap with what comes next.
            Self::TokenBucket(_) if stamp == held.until => held.until - held.stretch(now),
            Self::TokenBucket(_) | Self::LeakyQueue(_) => stamp,
            // A count has no places: whoever took what, one less is one less.
            Self::FixedWindow(rule) => match held.count_in(rule.windows.split(stamp, now).0) {
                0 => stamp,
                count => rule.give_back(stamp, now, count),
            },
            Self::SlidingWindow(rule) => rule.return_count(stamp, now, held.left, held.until),
        }
    }
}
