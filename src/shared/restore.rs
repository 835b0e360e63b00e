//! A shared table that begins with the buckets of another: of before a restart of the machine, or of another capacity.

use std::io::Read;
use std::path::Path;

use super::attach::{Attached, Wanted, made, mapped};
use super::clock::since_boot;
use super::error::SharedError;
use super::file::{Lock, Opened, TableFile};
use super::{LIFETIME, OnMismatch, Place, Shared};
use crate::clock::{Instant, os};
use crate::error::{BuildError, RestoreError};
use crate::snapshot::Restored;
use crate::snapshot::records::Records;

/// Names that are given to others each time that they have been taken away.
const TRIES: u32 = 100;

impl Shared {
    /// Makes a table that has the buckets of a snapshot, and gives it its name once it has all of them: until then nobody finds it, and
    /// the one that is to be replaced stays.
    pub(crate) fn open_restored(
        &self,
        wanted: &Wanted<'_>,
        from: impl Read,
    ) -> Result<(Attached, Restored), RestoreError> {
        let told = |source| RestoreError::Build(BuildError::Shared { path: self.name(), source });
        let (header, mut records) = Records::open(from)?;
        let (base, (seeds, renewed)) = (header.base()?, header.of_bytes()?);
        self.check_place().map_err(told)?;
        let (mut facts, layout) = self.facts(wanted).map_err(told)?;
        let taken_at = header.taken_at;
        let now = if let Some(now) = wanted.now {
            // Nor is a clock attached that is behind what the table has seen.
            if now < taken_at {
                let by = taken_at.saturating_duration_since(now);
                return Err(told(SharedError::ClockBehind { by }));
            }
            now
        } else {
            // As over a restart of the machine: Unix time goes on, and not back.
            let since_boot = since_boot();
            let unix = os::unix_nanos().max(taken_at.as_nanos());
            facts.anchor = unix.saturating_sub(since_boot);
            Instant::from_nanos(unix)
        };
        header.check_clock(&base, now)?;
        // Which nobody could attach to.
        let age = now.saturating_duration_since(base.start());
        if age >= LIFETIME {
            return Err(told(SharedError::TooOld { age }));
        }
        (facts.base, facts.seeds, facts.created) = (base, seeds, now.as_nanos());

        let bytes = layout.bytes as u64; // below 2^42
        let (file, path) = match &self.place {
            Place::Path { path, .. } => {
                (TableFile::create(path, bytes, self.demands, facts.is_sparse), Some(path.as_path()))
            }
            Place::Anonymous | Place::Descriptor(_) => (TableFile::anonymous(bytes, facts.is_sparse), None),
        };
        let attached = file.and_then(|file| made(file, path, &facts, layout)).map_err(told)?;
        attached.shared.set_renewed(renewed);
        attached.table.expect_reach(header.reach);
        let restored = attached.table.restore(&mut records, base.units(now))?;
        if let Some(path) = path {
            self.name_it(&attached, path).map_err(told)?;
        }
        Ok((attached, Restored { taken_at, ..restored }))
    }

    /// What would be in vain is not begun.
    fn check_place(&self) -> Result<(), SharedError> {
        match &self.place {
            Place::Path { may_create: false, .. } => Err(SharedError::NotFound),
            Place::Path { path, .. } if self.on_mismatch != OnMismatch::Replace => match TableFile::open(path)? {
                Opened::File(_) => Err(SharedError::Exists),
                Opened::Absent => Ok(()),
            },
            Place::Path { .. } | Place::Anonymous => Ok(()),
            Place::Descriptor(_) => Err(SharedError::Exists),
        }
    }

    fn name_it(&self, attached: &Attached, path: &Path) -> Result<(), SharedError> {
        for _ in 0..TRIES {
            if attached.shared.file.link(path)? {
                return Ok(());
            }
            if self.on_mismatch != OnMismatch::Replace {
                return Err(SharedError::Exists);
            }
            if let Opened::File(old) = TableFile::open(path)? {
                self.take_away(&old, path)?;
            }
        }
        Err(SharedError::Unsteady)
    }

    /// Takes its name from a table that nobody uses.
    fn take_away(&self, old: &TableFile, path: &Path) -> Result<(), SharedError> {
        old.check(self.demands)?;
        let (_, header) = mapped(old)?;
        if !header.is_table() {
            return Err(SharedError::Foreign);
        }
        if !old.try_lock(Lock::Exclusive)? {
            return Err(SharedError::InUse);
        }
        if old.is_at(path)? {
            old.unlink(path)?;
            header.retire();
        }
        Ok(())
    }
}
