//! What a snapshot begins with: all that makes a stamp and an identity mean what they meant.

use core::time::Duration;

use super::{RestoreError, SnapshotInfo};
use crate::clock::Instant;
use crate::hash::{ByteHash, Hasher, Origin};
use crate::probe::{SLOTS_PER_LINE, Shape};
use crate::time_base::{MAX_AHEAD, TimeBase};
use crate::word::Units;

pub(crate) const MAGIC: [u8; 8] = *b"TOLLSNAP";
/// To be raised when the layout changes, or what an algorithm writes into a stamp.
pub(crate) const VERSION: u32 = 1;
pub(crate) const LENGTH: usize = 256;
/// Where the header's own checksum is.
const SUM_AT: usize = LENGTH - 8;
/// Of a private table: `ahash` with eight seeds, fed as `key/local.rs` says.
const LOCAL: u64 = 1;
/// Of a table that processes share: the function of `hash/bytes.rs`, with four seeds, and zeros in the place of the others.
const BYTES: u64 = 2;
const _: () = assert!(ByteHash::SCHEME == 1, "another function of bytes has another number here as well");
/// So long the limiter must be able to go on.
const LEAST_LEFT: Duration = Duration::from_secs(365 * 86_400);

const FIELDS: usize = (SUM_AT - 16) / 8;

/// The numbers of a header, read and within bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    units_per_second: u64,
    first: u64,
    lead: u64,
    pub(crate) taken_at: Instant,
    unix_nanos: u64,
    pub(crate) reach: [Units; 2],
    capacity: u64,
    hashed: Hashed,
    fingerprint: [u64; 4],
}

/// How the keys of a table are hashed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hashed {
    /// By the function of one program.
    Local(Origin),
    /// By that of all programs, in a table that processes share.
    Bytes {
        seeds: [u64; ByteHash::SEEDS],
        /// How many limits of the table have been reset.
        renewed: u64,
    },
}

impl core::fmt::Debug for Hashed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Hashed(..)")
    }
}

impl Hashed {
    /// The scheme, its count and its seeds.
    const fn fields(&self) -> (u64, u64, [u64; 8]) {
        match *self {
            Self::Local(origin) => (LOCAL, origin.lineage, origin.seeds),
            Self::Bytes { seeds: [a, b, c, d], renewed } => (BYTES, renewed, [a, b, c, d, 0, 0, 0, 0]),
        }
    }
}

impl Header {
    pub(crate) fn new(
        base: &TimeBase,
        (hashed, fingerprint): (Hashed, [u64; 4]),
        reach: [Units; 2],
        capacity: usize,
        now: Instant,
    ) -> Self {
        let [units_per_second, first, lead] = base.parts();
        Self {
            units_per_second,
            first,
            lead,
            taken_at: now,
            unix_nanos: crate::clock::os::unix_nanos(),
            reach,
            capacity: u64::try_from(capacity).unwrap_or(u64::MAX), // below 2^37
            hashed,
            fingerprint,
        }
    }

    pub(crate) fn encode(&self) -> [u8; LENGTH] {
        let mut fields = [0; FIELDS];
        let (scheme, count, seeds) = self.hashed.fields();
        let known = [
            scheme,
            self.units_per_second,
            self.first,
            self.lead,
            self.taken_at.as_nanos(),
            self.unix_nanos,
            self.reach[0],
            self.reach[1],
            self.capacity,
            count,
        ];
        let all = known.into_iter().chain(seeds).chain(self.fingerprint);
        fields.iter_mut().zip(all).for_each(|(field, value)| *field = value);

        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::try_from(LENGTH).unwrap_or(0).to_le_bytes()); // 256
        for (place, field) in bytes[16..SUM_AT].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let sum = u64::from(crc32fast::hash(&bytes[..SUM_AT]));
        bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Of what any program may have written.
    pub(crate) fn decode(bytes: &[u8; LENGTH]) -> Result<Self, RestoreError> {
        let [prefix, length, ..] = words(bytes);
        let magic = prefix.to_le_bytes();
        if magic != MAGIC {
            return Err(RestoreError::NotASnapshot { found: magic });
        }
        // Before the checksum, as other versions may have it elsewhere. Two halves of 32 bits.
        let (version, length) = (length & u64::from(u32::MAX), length >> 32);
        if version != u64::from(VERSION) {
            return Err(RestoreError::Version { found: u32::try_from(version).unwrap_or(u32::MAX), known: VERSION });
        }
        let [.., found] = words(bytes);
        let computed = u64::from(crc32fast::hash(&bytes[..SUM_AT]));
        if found != computed {
            return Err(RestoreError::Checksum { bytes: SUM_AT as u64, found, computed });
        }
        let within = |name, found, min, max| {
            let is_within = (min..=max).contains(&found);
            if is_within { Ok(found) } else { Err(RestoreError::Field { name, found, min, max }) }
        };
        within("header length", length, LENGTH as u64, LENGTH as u64)?;
        let [_, _, scheme, units_per_second, first, lead, now, unix_nanos, reach, debt, capacity, count, rest @ ..] =
            words(bytes);
        let [a, b, c, d, e, f, g, h, i, j, k, l, zeros @ .., _] = rest;
        within("hash scheme", scheme, LOCAL, BYTES)?;
        let hashed = if scheme == LOCAL {
            Hashed::Local(Origin { seeds: [a, b, c, d, e, f, g, h], lineage: count })
        } else {
            for zero in [e, f, g, h] {
                within("reserved seed", zero, 0, 0)?;
            }
            Hashed::Bytes { seeds: [a, b, c, d], renewed: count }
        };
        within("reach", reach, 0, MAX_AHEAD)?;
        within("reach with debt", debt, 0, MAX_AHEAD)?;
        within("capacity", capacity, 1, Shape::MAX_CAPACITY as u64)?;
        for zero in zeros {
            within("reserved field", zero, 0, 0)?;
        }
        let header = Self {
            units_per_second,
            first,
            lead,
            taken_at: Instant::from_nanos(now),
            unix_nanos,
            reach: [reach, debt],
            capacity,
            hashed,
            fingerprint: [i, j, k, l],
        };
        let [first, last] = header.base()?.range().map(Instant::as_nanos);
        within("instant", now, first, last)?;
        Ok(header)
    }

    pub(crate) fn base(&self) -> Result<TimeBase, RestoreError> {
        TimeBase::from_parts([self.units_per_second, self.first, self.lead]).map_err(|bad| RestoreError::Field {
            name: bad.name,
            found: bad.found,
            min: bad.min,
            max: bad.max,
        })
    }

    /// The hash function, for the next limiter that has it: of a private table.
    pub(crate) fn hasher(&self) -> Result<Hasher, RestoreError> {
        let Hashed::Local(origin) = self.hashed else { return Err(RestoreError::Kind { is_of_shared: true }) };
        let hasher = Hasher::of(Origin { lineage: origin.lineage.wrapping_add(1), ..origin });
        if hasher.fingerprint() == self.fingerprint { Ok(hasher) } else { Err(RestoreError::Hash) }
    }

    /// The seeds of a shared table, and how many of its limits have been reset.
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    pub(crate) fn of_bytes(&self) -> Result<([u64; ByteHash::SEEDS], u64), RestoreError> {
        let Hashed::Bytes { seeds, renewed } = self.hashed else {
            return Err(RestoreError::Kind { is_of_shared: false });
        };
        let is_known = ByteHash::new(seeds).fingerprint() == self.fingerprint;
        if is_known { Ok((seeds, renewed)) } else { Err(RestoreError::Hash) }
    }

    /// Whether a limiter can go on from `now`, and for a while.
    pub(crate) fn check_clock(&self, base: &TimeBase, now: Instant) -> Result<(), RestoreError> {
        let [earliest, last] = base.range();
        let latest = last.saturating_sub(LEAST_LEFT);
        if (earliest..=latest).contains(&now) { Ok(()) } else { Err(RestoreError::Clock { now, earliest, latest }) }
    }

    /// How many slots a table of this capacity has.
    pub(crate) fn slots(&self) -> u64 {
        // Within the bounds of `decode`, so below 2^39.
        let capacity = usize::try_from(self.capacity).unwrap_or(Shape::MAX_CAPACITY).clamp(1, Shape::MAX_CAPACITY);
        (Shape::for_capacity(capacity).lines() * SLOTS_PER_LINE) as u64
    }

    pub(crate) fn info(&self, buckets: u64, bytes: u64) -> SnapshotInfo {
        // Below 2^58 units, each a nanosecond at most.
        let reach = u128::from(self.reach[0].max(self.reach[1])) * 1_000_000_000;
        let reach = reach.div_ceil(u128::from(self.units_per_second.max(1)));
        SnapshotInfo {
            version: VERSION,
            taken_at: self.taken_at,
            unix_nanos: self.unix_nanos,
            buckets,
            bytes,
            capacity: self.capacity,
            is_of_shared: matches!(self.hashed, Hashed::Bytes { .. }),
            units_per_second: self.units_per_second,
            reach_nanos: u64::try_from(reach).unwrap_or(u64::MAX),
            range: self.base().map_or([Instant::default(); 2], |base| base.range()),
        }
    }
}

fn words(bytes: &[u8; LENGTH]) -> [u64; LENGTH / 8] {
    let mut words = [0; LENGTH / 8];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}
