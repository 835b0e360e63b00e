//! A shared table as a tool sees it, which has no limits of its own: what is in it, its snapshot, its restoration.

use std::io::{Read, Write};
use std::time::Duration;

use super::attach::{Attached, Wanted};
use super::clock::since_boot;
use super::error::SharedError;
use super::{Shared, SharedTable};
use crate::clock::Instant;
use crate::error::{BuildError, RestoreError};
use crate::on_full::OnFull;
use crate::probe::Shape;
use crate::snapshot::{Restored, SnapshotInfo};

/// A shared table without a limiter, from [`Shared::inspect`]. While it is kept, the table is in use.
#[derive(Debug)]
pub struct Inspected(Attached);

/// What is in a shared table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableInfo {
    /// How many keys there is room for.
    pub capacity: u64,
    /// What becomes of a new key when there is none.
    pub on_full: OnFull,
    /// The time unit.
    pub units_per_second: u64,
    /// Whether the table goes by the clock of the operating system, not by one of its callers'.
    pub is_system_clock: bool,
    /// Whether its memory was left unreserved.
    pub is_sparse: bool,
    /// The time, by the table's clock: of a clock of its callers' the latest that one of them has told.
    pub now: Instant,
    /// How long ago it was made.
    pub age: Duration,
    /// How many buckets are not full.
    pub busy: u64,
    /// How many slots are between owners: in an insertion that is under way, or left by a process that died in one.
    pub between_owners: u64,
    /// How many that dead processes had left have been freed since it was made.
    pub freed: u64,
    /// How long the slowest bucket may take to be full again, with the debt that is allowed.
    pub reach: Duration,
}

impl Shared {
    /// The table that is there, whatever its capacity, its policy and its clock; none is made. Attaches like anybody else, and
    /// frees what dead processes have left, if nobody else has it mapped.
    ///
    /// # Errors
    ///
    /// As [`build`](crate::LimiterBuilder::<Shared>::build).
    pub fn inspect(&self) -> Result<Inspected, SharedError> {
        let mut only_there = self.clone();
        if let super::Place::Path { may_create, may_attach, .. } = &mut only_there.place {
            (*may_create, *may_attach) = (false, true);
        }
        let on_full = OnFull::default();
        let wanted = Wanted { capacity: 1, on_full, quotas: &[], now: None, accepts_any: true };
        only_there.open(&wanted).map(Inspected)
    }

    /// Makes a table of this capacity that begins with the buckets of a snapshot of a shared table, as
    /// [`restore`](crate::LimiterBuilder::<Shared>::restore) does.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn restore(
        &self,
        capacity: usize,
        on_full: OnFull,
        from: impl Read,
    ) -> Result<(Inspected, Restored), RestoreError> {
        if !(1..=Shape::MAX_CAPACITY).contains(&capacity) {
            return Err(BuildError::Capacity { capacity, max: Shape::MAX_CAPACITY }.into());
        }
        let wanted = Wanted { capacity, on_full, quotas: &[], now: None, accepts_any: false };
        self.open_restored(&wanted, from).map(|(attached, restored)| (Inspected(attached), restored))
    }
}

impl Inspected {
    /// The file.
    #[must_use]
    pub const fn shared(&self) -> &SharedTable {
        &self.0.shared
    }

    /// What is in it. Reads all of it: some milliseconds for each 100,000 keys of capacity.
    #[must_use]
    pub fn info(&self) -> TableInfo {
        let Attached { table, shared, base, .. } = &self.0;
        let (facts, now) = (&shared.facts, self.now());
        let (busy, between_owners) = table.census(base.units(now));
        let reach = table.reach().into_iter().max().unwrap_or(0);
        // Below 2^58 units, each a nanosecond at most.
        let reach = u128::from(reach) * 1_000_000_000 / u128::from(base.units_per_second().max(1));
        TableInfo {
            capacity: facts.capacity,
            on_full: facts.on_full,
            units_per_second: base.units_per_second(),
            is_system_clock: facts.is_system_clock,
            is_sparse: facts.is_sparse,
            now,
            age: shared.age(now),
            busy,
            between_owners,
            freed: shared.freed_slots(),
            reach: Duration::from_nanos(u64::try_from(reach).unwrap_or(u64::MAX)),
        }
    }

    /// As [`Limiter::snapshot`](crate::Limiter::snapshot), beside all who use the table.
    ///
    /// # Errors
    ///
    /// What `to` answers.
    pub fn snapshot(&self, to: impl Write) -> std::io::Result<SnapshotInfo> {
        let Attached { table, shared, base, capacity, .. } = &self.0;
        crate::snapshot::of_table(table, base, shared.hashed(), *capacity, self.now(), to)
    }

    fn now(&self) -> Instant {
        let Attached { shared, anchor, .. } = &self.0;
        let is_system_clock = shared.facts.is_system_clock;
        Instant::from_nanos(if is_system_clock { anchor.saturating_add(since_boot()) } else { shared.latest() })
    }
}
