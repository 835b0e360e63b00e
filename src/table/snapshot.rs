//! What a snapshot takes out of a table, and puts into another.

use std::io::Read;

use crate::clock::Instant;
use crate::error::RestoreError;
use crate::hash::Identity;
use crate::protocol::{self, Put};
use crate::snapshot::Restored;
use crate::snapshot::records::Records;
use crate::sync::Ordering;
use crate::table::Table;
use crate::word::{Balance, Units};

impl Table {
    /// Each bucket that is not full at `now`, as it is when its slot is looked at. Ends with the first error of `each`.
    pub(crate) fn each_busy<E>(
        &self,
        now: Units,
        each: &mut dyn FnMut(Identity, Balance) -> Result<(), E>,
    ) -> Result<(), E> {
        let slots = self.lines.used().into_iter().flatten().flat_map(|line| &line.slots);
        slots.filter_map(|slot| protocol::look(slot, now)).try_for_each(|(id, balance)| each(id, balance))
    }

    /// How far ahead of now any limit of this table can leave a stamp: without debt, and with.
    pub(crate) fn reach(&self) -> [Units; 2] {
        // Of limits that other threads make meanwhile nothing is promised.
        [0, 1].map(|debt| self.reach_of(debt))
    }

    /// Takes note of limits that have used the buckets of this table elsewhere.
    pub(crate) fn expect_reach(&self, reach: [Units; 2]) {
        for (most, reach) in self.reach.iter().zip(reach) {
            // Relaxed: as in `expect`; and nobody else has this table yet. Model: clock.
            most.fetch_max(reach, Ordering::Relaxed);
        }
    }

    /// Puts in all that there is and that is not full by `now`, while nobody else has this table.
    pub(crate) fn restore(&self, records: &mut Records<impl Read>, now: Units) -> Result<Restored, RestoreError> {
        let mut restored = Restored { taken_at: Instant::default(), buckets: 0, refilled: 0, displaced: 0 };
        while let Some((id, balance)) = records.next()? {
            if balance.stamp <= now {
                restored.refilled += 1;
                continue;
            }
            match protocol::put_in(&self.entry(id).places(), id, balance, now) {
                Put::Done => restored.buckets += 1,
                Put::Merged => {}
                Put::Displaced => restored.displaced += 1,
            }
        }
        Ok(restored)
    }
}
