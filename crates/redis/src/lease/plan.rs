//! Whether a limit can be taken ahead, and by how much: decided once, when the limit is made.

use core::time::Duration;

use tollgate::{Report, Verdict};

use crate::lease::word::{self, TokenTime};
use crate::rule::Rule;

const MS: u64 = 1_000_000;

/// How a limit is leased. All spans in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) token: TokenTime,
    /// What an empty bucket takes to fill, or the window.
    pub(crate) depth: u64,
    /// The burst, or the count of the window.
    pub(crate) whole: u64,
    /// As many tokens as a node holds in advance at most, so that all nodes together hold a quarter of the burst.
    pub(crate) most: u64,
    /// For so long a batch should last.
    pub(crate) horizon: u64,
    /// A key of which this node sees two requests within this is hot.
    pub(crate) hot: u64,
    /// Once a server has refused, it is not asked again before this: what has come back by then comes at once.
    pub(crate) pause: u64,
}

impl Plan {
    /// What is said of a request that is decided here, while so much is left, the last of it at `end`.
    #[inline]
    pub(crate) fn allowed(&self, now: u64, left: u64, end: u64) -> Report {
        Report {
            verdict: Verdict::Allowed,
            burst: self.whole,
            remaining: left,
            retry_after: None,
            reset_after: Duration::from_nanos(end.saturating_sub(now)),
        }
    }

    /// Fewer tokens than this at once are not worth it: the half of what a quarter of them leaves is none.
    const LEAST_BURST: u64 = 8;

    /// `None` for what stays exact: queues, sliding windows, logs, windows that count refusals, and bursts that are small, or gone
    /// before an answer is there.
    pub(crate) fn new(rule: &Rule, nodes: u64) -> Option<Self> {
        let (token, depth, burst) = match rule {
            Rule::Bucket(bucket) => {
                let token = TokenTime {
                    num: bucket.token.parts_per_token().checked_mul(1_000)?,
                    den: bucket.token.parts_per_us(),
                };
                (token, bucket.depth_us(), bucket.burst)
            }
            Rule::Fixed(window) | Rule::First(window) if !window.counts_refused => {
                (TokenTime { num: 0, den: 1 }, window.us, window.limit)
            }
            _ => return None,
        };
        let depth = depth.checked_mul(1_000)?;
        (burst >= Self::LEAST_BURST && depth >= 10 * MS).then(|| Self {
            token,
            depth,
            whole: burst,
            most: (burst / nodes.saturating_mul(4)).clamp(1, word::MOST),
            horizon: (depth / 4).min(1_000 * MS),
            hot: (depth / 8).min(1_000 * MS),
            pause: (depth / 8).min(20 * MS),
        })
    }
}
