//! What a bucket holds, as it is kept (`state.rs`).

use super::Op;
use crate::algorithm::Rule;
use crate::cells::Cells;
use crate::clock::Instant;
use crate::state::{BucketState, Tokens};
use crate::word::Units;

impl<S: Cells> Op<'_, S> {
    /// Writes nothing, and reads each word of the bucket once.
    pub(crate) fn state(self) -> BucketState {
        if self.limit.is_unlimited() {
            return BucketState::Unlimited;
        }
        let (now, instant) = (self.units, |units: Units| self.limit.base.instant(units));
        if self.limit.is_log() {
            return self.state_of_log(now, instant);
        }
        let held = self.read();
        match &self.limit.rule {
            rule @ (Rule::TokenBucket(_) | Rule::LeakyQueue(_)) => {
                BucketState::Bucket { balance: Tokens::new(rule.held(held.stamp, now)) }
            }
            Rule::FixedWindow(rule) => {
                let (end, count) = rule.state(held.stamp, now);
                BucketState::Window { count, previous_count: None, end: end.map(instant) }
            }
            Rule::SlidingWindow(rule) => {
                let (end, previous, count) = rule.state(held.stamp, now);
                BucketState::Window { count, previous_count: Some(previous), end: Some(instant(end)) }
            }
        }
    }

    fn state_of_log(self, now: Units, instant: impl Fn(Units) -> Instant) -> BucketState {
        let most = if self.limit.most() == 0 { 0 } else { self.span() };
        let busy = (0..most).map(|cell| self.cells.read(cell).stamp).filter(|&stamp| stamp > now);
        let (count, first) = busy.fold((0, Units::MAX), |(count, first), stamp| (count + 1, first.min(stamp)));
        let oldest = (count > 0).then(|| instant(first.saturating_sub(self.window())));
        BucketState::Log { count, oldest }
    }
}
