//! The leaky bucket as a queue: requests leave one by one, `T` apart, and at most `burst` may wait. The stamp is the
//! instant at which the last one in the queue will have left its place, so when the next one may leave.
//!
//! This is nginx's `limit_req` with a delay, answered as "when" rather than by holding the request.

use super::token_bucket::{TokenBucket, later};
use super::{Debit, Reserved};
use crate::word::Units;

/// A token bucket of one request's depth, and places to wait in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeakyQueue {
    /// `debt` is the length of the queue in time; `depth` that of the largest request.
    pub(crate) bucket: TokenBucket,
}

impl LeakyQueue {
    pub(crate) const fn take(&self, stamp: Units, now: Units, cost: u64) -> Option<Units> {
        if cost > self.bucket.burst || stamp > now {
            return None;
        }
        Some(now + cost * self.bucket.token)
    }

    pub(crate) const fn available(&self, stamp: Units, now: Units) -> u64 {
        if stamp > now { 0 } else { self.bucket.burst }
    }

    pub(crate) const fn reserve(&self, stamp: Units, now: Units, cost: u64, max_wait: Units) -> Option<Reserved> {
        let go_at = later(stamp, now);
        let wait = go_at - now;
        if cost > self.bucket.burst || wait > max_wait || wait > self.bucket.debt {
            return None;
        }
        Some(Reserved { debit: Debit { cost, from: go_at, stamp: go_at + cost * self.bucket.token }, go_at })
    }
}
