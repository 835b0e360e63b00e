//! The buckets of a snapshot, one by one, and the checksum of all that has gone by.

use std::io::{self, BufReader, ErrorKind, Read, Write};

use super::RestoreError;
use super::header::{Header, LENGTH};
use crate::hash::Identity;
use crate::word::{Balance, Word};

/// Bytes of a record.
pub(crate) const RECORD: usize = 16;
const OVERDRAWN: u64 = 1 << Word::STAMP_WIDTH;

pub(crate) fn encode(first: u64, second: u64) -> [u8; RECORD] {
    (u128::from(first) | u128::from(second) << u64::BITS).to_le_bytes()
}

pub(crate) const fn balance_bits(balance: Balance) -> u64 {
    balance.stamp | if balance.overdrawn { OVERDRAWN } else { 0 }
}

/// What is read or written, with its checksum and length.
pub(crate) struct Checked<T> {
    inner: T,
    sum: crc32fast::Hasher,
    bytes: u64,
}

impl<T> Checked<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, sum: crc32fast::Hasher::new(), bytes: 0 }
    }

    pub(crate) fn sum(&self) -> u32 {
        self.sum.clone().finalize()
    }

    fn note(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<W: Write> Checked<W> {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.note(bytes);
        self.inner.write_all(bytes)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Checked<R> {
    fn read<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let (mut bytes, mut filled) = ([0; N], 0);
        while filled < N {
            match self.inner.read(&mut bytes[filled..]) {
                Ok(0) => return Err(RestoreError::Truncated { bytes: self.bytes + filled as u64 }),
                // A reader that claims to have read more than there is room for is wrong.
                Ok(read) => filled = (filled + read).min(N),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(RestoreError::Io(error)),
            }
        }
        self.note(&bytes);
        Ok(bytes)
    }
}

/// The records that are yet to be read.
pub(crate) struct Records<R> {
    from: Checked<BufReader<R>>,
    count: u64,
    /// How many there can be: the slots of the table they are from.
    most: u64,
    is_over: bool,
}

impl<R: Read> Records<R> {
    /// Reads the header.
    pub(crate) fn open(from: R) -> Result<(Header, Self), RestoreError> {
        let mut from = Checked::new(BufReader::with_capacity(1 << 16, from));
        let header = Header::decode(&from.read::<LENGTH>()?)?;
        Ok((header, Self { from, count: 0, most: header.slots(), is_over: false }))
    }

    /// The next, or `None` once all have been read and are what was written.
    pub(crate) fn next(&mut self) -> Result<Option<(Identity, Balance)>, RestoreError> {
        if self.is_over {
            return Ok(None);
        }
        let record = u128::from_le_bytes(self.from.read::<RECORD>()?);
        // The two halves.
        #[expect(clippy::cast_possible_truncation, reason = "the lower half, and the upper one")]
        let (id, bits) = (record as u64, (record >> u64::BITS) as u64);
        if id == 0 {
            self.end(bits)?;
            self.is_over = true;
            return Ok(None);
        }
        if bits & !(Word::MAX_STAMP | OVERDRAWN) != 0 {
            return Err(RestoreError::Record { index: self.count, found: bits });
        }
        if self.count == self.most {
            let (name, found) = ("number of records", self.count + 1); // below 2^39
            return Err(RestoreError::Field { name, found, min: 0, max: self.most });
        }
        self.count += 1;
        let balance = Balance { stamp: bits & Word::MAX_STAMP, overdrawn: bits & OVERDRAWN != 0 };
        Ok(Some((Identity::of_record(id), balance)))
    }

    /// What comes after the last record.
    fn end(&mut self, expected: u64) -> Result<(), RestoreError> {
        let (computed, bytes) = (u64::from(self.from.sum()), self.from.bytes);
        let found = u64::from_le_bytes(self.from.read()?);
        if found != computed {
            return Err(RestoreError::Checksum { bytes, found, computed });
        }
        if expected != self.count {
            return Err(RestoreError::Count { found: self.count, expected });
        }
        let bytes = self.from.bytes;
        match self.from.read::<1>() {
            Err(RestoreError::Truncated { .. }) => Ok(()),
            Ok(_) => Err(RestoreError::Trailing { bytes }),
            Err(error) => Err(error),
        }
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How long all was that has been read.
    pub(crate) fn bytes(&self) -> u64 {
        self.from.bytes
    }
}
