//! The token bucket in the form of the generic cell rate algorithm (GCRA; ITU-T I.371), which is also the leaky bucket
//! as a meter: the stamp is the instant at which the bucket will be full again.
//!
//! A stamp in the past means full. Taking `c` tokens moves it `c * T` later, counted from now if it is in the past. The
//! bucket is empty when the stamp is `burst * T` ahead of now.

use super::{Borrowed, Debit, Reserved};
use crate::word::Units;

/// `T` per token, and how far ahead of now the stamp may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenBucket {
    /// `T`: units per token, at least 1.
    pub(crate) token: Units,
    /// The most tokens in the bucket.
    pub(crate) burst: u64,
    /// `burst * T`, at most [`MAX_AHEAD`](crate::time_base::MAX_AHEAD).
    pub(crate) depth: Units,
    /// How far past empty the bucket may be taken; `depth + debt` is at most `MAX_AHEAD`.
    pub(crate) debt: Units,
}

impl TokenBucket {
    /// The stamp after taking `cost`. `cost <= burst`, so the product is at most `depth`.
    const fn after(&self, stamp: Units, now: Units, cost: u64) -> Units {
        later(stamp, now) + cost * self.token
    }

    #[inline]
    pub(crate) const fn take(&self, stamp: Units, now: Units, cost: u64) -> Option<Units> {
        // Compared in tokens first: a product of an unchecked cost could wrap.
        if cost > self.burst {
            return None;
        }
        let after = self.after(stamp, now, cost);
        if after <= now + self.depth { Some(after) } else { None }
    }

    pub(crate) const fn available(&self, stamp: Units, now: Units) -> u64 {
        (now + self.depth).saturating_sub(later(stamp, now)) / self.token
    }

    /// When `cost <= burst` tokens will be there: `after - depth`, once that is later than now.
    pub(crate) const fn ready_at(&self, stamp: Units, now: Units, cost: u64) -> Units {
        later(self.after(stamp, now, cost).saturating_sub(self.depth), now)
    }

    /// Takes tokens now for a request that may go later: an instant of its own for each waiter, first come first served.
    pub(crate) const fn reserve(&self, stamp: Units, now: Units, cost: u64, max_wait: Units) -> Option<Reserved> {
        if cost > self.burst {
            return None;
        }
        let go_at = self.ready_at(stamp, now, cost);
        let wait = go_at - now;
        if wait > max_wait || wait > self.debt {
            return None;
        }
        let (from, stamp) = (later(stamp, now), self.after(stamp, now, cost));
        Some(Reserved { debit: Debit { cost, from, stamp }, go_at })
    }

    /// Takes `cost` tokens whether they are there or not, down to `debt` past empty.
    pub(crate) const fn borrow(&self, stamp: Units, now: Units, cost: u64) -> Borrowed {
        let from = later(stamp, now);
        let room = (now + self.depth + self.debt).saturating_sub(from) / self.token;
        let taken = if cost < room { cost } else { room };
        Borrowed { stamp: from + taken * self.token, taken }
    }

    /// Gives `cost` tokens back, up to full.
    pub(crate) const fn give_back(&self, stamp: Units, now: Units, cost: u64) -> Units {
        // A stamp is never more than the range ahead, so neither is what is given back.
        later(stamp.saturating_sub(cost.saturating_mul(self.token)), now)
    }
}

pub(crate) const fn later(a: Units, b: Units) -> Units {
    if a > b { a } else { b }
}
