//! A table's buckets written down, to be taken over by another limiter: after a restart of the machine, in another one, or with
//! another capacity. Made by [`Limiter::snapshot`](crate::Limiter::snapshot), read by
//! [`LimiterBuilder::restore`](crate::LimiterBuilder::restore).
//!
//! All numbers are 64 bits with the lowest byte first, but for those that say otherwise:
//!
//! ```text
//!   0  "TOLLSNAP" | version, length of the header: 32 bits each
//!  16  hash scheme: 1 of a private table, 2 of a shared one | units per second, first second, lead | the limiter's clock, and the wall clock, in ns | reach: without
//!      debt, with | capacity | lineage, or how many limits were reset | eight seeds, or four and zeros | four fingerprints | five zeros
//! 248  CRC-32 of all before, 32 zeros
//! 256  records of 16 bytes: identity, never zero; balance: the stamp in 60 bits, and bit 60 if it was written past empty
//!      the end: zero, and the number of records
//!      CRC-32 of all before as 64 bits
//! ```
//!
//! The version counts both the layout and the meaning of a stamp, which cannot be told from the words: a program that knows
//! another one refuses.

pub(crate) mod error;
pub(crate) mod header;
pub(crate) mod records;

use std::io::{self, BufWriter, Read, Write};

use crate::clock::Instant;
use crate::hash::Identity;
use crate::table::Table;
use crate::time_base::TimeBase;
use crate::word::Balance;

pub use error::RestoreError;
use header::{Hashed, Header};
use records::{Checked, RECORD, Records, encode};

/// What is in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Which layout it has: [`SnapshotInfo::VERSION`] of the program that made it.
    pub version: u32,
    /// When it was begun, by the clock of its limiter.
    pub taken_at: Instant,
    /// When that was by the wall clock, as nanoseconds since the Unix epoch.
    pub unix_nanos: u64,
    /// How many buckets it has.
    pub buckets: u64,
    /// How long it is.
    pub bytes: u64,
    /// How many keys its limiter had room for.
    pub capacity: u64,
    /// Whether that was one of a [shared](crate::shared) table: it is restored into such a one only.
    pub is_of_shared: bool,
    /// The time unit of its limiter.
    pub units_per_second: u64,
    /// How long the slowest bucket may take to be full again, in nanoseconds, with the debt that is allowed.
    pub reach_nanos: u64,
    /// The instants between which its limiter tells the time.
    pub range: [Instant; 2],
}

impl SnapshotInfo {
    /// The layout that this version of the library writes, and the only one it reads.
    pub const VERSION: u32 = header::VERSION;

    /// Reads a snapshot to its end, and checks all that can be checked without a limiter. Takes no memory but a buffer.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or is not a whole snapshot of a version that this one knows. Whether this program hashes as the
    /// one that made it, and whether a clock can go on from it, is for [`restore`](crate::LimiterBuilder::restore) to say.
    pub fn read(from: impl Read) -> Result<Self, RestoreError> {
        let (header, mut records) = Records::open(from)?;
        header.base()?;
        while records.next()?.is_some() {}
        Ok(header.info(records.count(), records.bytes()))
    }
}

/// What has become of the buckets of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// When the snapshot was begun, by the clock.
    pub taken_at: Instant,
    /// How many there are in the table now.
    pub buckets: u64,
    /// How many time has refilled since.
    pub refilled: u64,
    /// How many were left out, as there were more in their slots that are further from full. Their keys begin anew.
    pub displaced: u64,
}

/// Writes down a table's buckets as of `now`.
pub(crate) fn of_table(
    table: &Table,
    base: &TimeBase,
    hashed: (Hashed, [u64; 4]),
    capacity: usize,
    now: Instant,
    to: impl Write,
) -> io::Result<SnapshotInfo> {
    let header = Header::new(base, hashed, table.reach(), capacity, now);
    write(header, to, |each| table.each_busy(base.units(now), each))
}

/// Writes what `each` is called with.
fn write(
    header: Header,
    to: impl Write,
    walk: impl FnOnce(&mut dyn FnMut(Identity, Balance) -> io::Result<()>) -> io::Result<()>,
) -> io::Result<SnapshotInfo> {
    let mut to = Checked::new(BufWriter::with_capacity(1 << 16, to));
    to.write(&header.encode())?;
    let mut count = 0_u64;
    walk(&mut |id, balance| {
        // Nobody's, which no program writes into a live slot; but what stands in a mapping may be anything.
        if id.bits() == 0 {
            return Ok(());
        }
        count += 1;
        to.write(&encode(id.bits(), records::balance_bits(balance)))
    })?;
    to.write(&encode(0, count))?;
    let sum = to.sum();
    to.write(&u64::from(sum).to_le_bytes())?;
    to.flush()?;
    let bytes = u64::try_from(header::LENGTH + RECORD + size_of::<u64>()).unwrap_or(u64::MAX); // some hundred
    // At most 2^38 slots of 16 bytes.
    Ok(header.info(count, bytes + count * u64::try_from(RECORD).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
