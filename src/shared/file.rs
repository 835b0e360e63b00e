//! The file of a shared table, as the operating system sees it.

use core::time::Duration;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FallocateFlags, FileType, FlockOperation, MemfdFlags, Mode, OFlags, SealFlags, Stat};
use rustix::io::Errno;
use rustix::process::Uid;

use super::error::SharedError;
use super::{header, owners};
use crate::claimer::{Claimer, Claimers, Kept};
use crate::memory::SharedMap;

const TMPFS: u64 = 0x0102_1994;
/// ext2 to ext4, XFS, btrfs: coherent for all who map a file, but they write it back.
const DISKS: [u64; 3] = [0xEF53, 0x5846_5342, 0x9123_683E];

/// Who may have a table, and on what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demands {
    pub(super) mode: u32,
    /// This process's user, if `None`.
    pub(super) owner: Option<u32>,
    pub(super) allows_disk: bool,
}

/// An open file, of a description of its own, so that its locks are nobody else's.
#[derive(Debug)]
pub(super) struct TableFile {
    file: File,
    stat: Stat,
}

/// What came of looking for a file.
pub(super) enum Opened {
    File(TableFile),
    Absent,
}

/// The operations by which a lock is asked for, without waiting.
pub(super) enum Lock {
    /// "I have it mapped."
    Shared,
    /// "Nobody else has": the locks go with the mappings.
    Exclusive,
}

impl TableFile {
    /// A file that is there. Waits for nobody, follows no link.
    pub(super) fn open(path: &Path) -> Result<Opened, SharedError> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => Self::of(fd).map(Opened::File),
            Err(Errno::NOENT) => Ok(Opened::Absent),
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => Err(SharedError::NotRegular),
            Err(error) => Err(SharedError::io("opening it", error)),
        }
    }

    /// The file of a descriptor that this process was given, by a description of its own: locks belong to descriptions, and
    /// the one that was given may be another process's as well, whose lock would pass for this one's.
    pub(super) fn again(fd: impl AsFd) -> Result<Self, SharedError> {
        let fd = fd.as_fd();
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let found = rustix::fs::fstat(fd).map_err(|error| SharedError::io("asking for the descriptor", error))?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(SharedError::NotRegular);
        }
        Self::of(
            rustix::fs::open(path, flags, Mode::empty())
                .map_err(|error| SharedError::io("opening the descriptor again", error))?,
        )
    }

    fn of(fd: OwnedFd) -> Result<Self, SharedError> {
        let stat = rustix::fs::fstat(&fd).map_err(|error| SharedError::io("asking for the file", error))?;
        Ok(Self { file: fd.into(), stat })
    }

    /// A new file in the directory of `path`, without a name yet, and reserved whole unless it is to be sparse.
    pub(super) fn create(path: &Path, bytes: u64, demands: Demands, is_sparse: bool) -> Result<Self, SharedError> {
        let directory = match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
            None => return Err(SharedError::NotRegular),
        };
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::TMPFILE;
        let mode = Mode::from_raw_mode(demands.mode);
        let fd = rustix::fs::open(directory, flags, mode).map_err(|error| match error {
            Errno::NOENT => SharedError::NotFound,
            error => SharedError::io("making a file without a name", error),
        })?;
        // Whatever the mask of this process is.
        rustix::fs::fchmod(&fd, mode).map_err(|error| SharedError::io("setting its permissions", error))?;
        // Who may give files away makes it that user's; of who may not, `check` says whose it would be. He would refuse it himself.
        if let Some(user) = demands.owner {
            let _ = rustix::fs::fchown(&fd, Some(Uid::from_raw(user)), None);
        }
        let file = Self::of(fd)?;
        file.check(demands)?;
        reserve(&file.file, bytes, is_sparse)?;
        Self::of(file.file.into())
    }

    /// A new file that never gets a name, and that nobody can cut.
    pub(super) fn anonymous(bytes: u64, is_sparse: bool) -> Result<Self, SharedError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create("tollgate", flags)
            .map_err(|error| SharedError::io("making a file in memory", error))?;
        reserve(&fd, bytes, is_sparse)?;
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
            .map_err(|error| SharedError::io("sealing it", error))?;
        rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR)
            .map_err(|error| SharedError::io("setting its permissions", error))?;
        Self::of(fd)
    }

    /// Gives a file without a name its name, unless there is one already: then false.
    pub(super) fn link(&self, path: &Path) -> Result<bool, SharedError> {
        let from = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        match rustix::fs::linkat(CWD, from, CWD, path, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(SharedError::io("giving it its name", error)),
        }
    }

    /// Whether this is a file to keep a table in.
    pub(super) fn check(&self, demands: Demands) -> Result<(), SharedError> {
        if FileType::from_raw_mode(self.stat.st_mode) != FileType::RegularFile {
            return Err(SharedError::NotRegular);
        }
        let expected = demands.owner.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        if self.stat.st_uid != expected {
            return Err(SharedError::Owner { found: self.stat.st_uid, expected });
        }
        let found = self.stat.st_mode & 0o7777;
        if found & !demands.mode != 0 {
            return Err(SharedError::Mode { found, allowed: demands.mode });
        }
        check_file_system(&self.file, demands.allows_disk)
    }

    pub(super) fn bytes(&self) -> u64 {
        // A regular file's is not below zero.
        self.stat.st_size.cast_unsigned()
    }

    pub(super) const fn inode(&self) -> u64 {
        self.stat.st_ino
    }

    /// Whether it is on a tmpfs, where who touches a page that is given back waits until it is.
    pub(super) fn is_memory(&self) -> bool {
        rustix::fs::fstatfs(&self.file).is_ok_and(|found| u64::try_from(found.f_type) == Ok(TMPFS))
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    /// Reserves what a copy may have left out, so that no touch can fail; of a sparse table what stands before its lines.
    pub(super) fn fill(&self, is_sparse: bool) -> Result<(), SharedError> {
        let blocks = u64::try_from(self.stat.st_blocks).unwrap_or(0);
        if blocks.saturating_mul(512) >= self.bytes() { Ok(()) } else { reserve(&self.file, self.bytes(), is_sparse) }
    }

    /// Whether its first bytes are a table's. Not through a mapping: a look at a hole there takes memory, and is a signal where there is none.
    pub(super) fn begins_as_a_table(&self) -> Result<bool, SharedError> {
        let mut magic = [0; size_of::<u64>()];
        let read = self.file.read_exact_at(&mut magic, 0);
        read.map_err(|error| SharedError::io("reading how it begins", error))?;
        Ok(header::is_magic(u64::from_ne_bytes(magic)))
    }

    /// Whether `path` is still this file, and its only name.
    pub(super) fn is_at(&self, path: &Path) -> Result<bool, SharedError> {
        let found = match rustix::fs::lstat(path) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
            Err(error) => return Err(SharedError::io("asking for the file", error)),
        };
        if (found.st_dev, found.st_ino) != (self.stat.st_dev, self.stat.st_ino) {
            return Ok(false);
        }
        #[allow(clippy::useless_conversion, reason = "of 32 bits on some processors")]
        match u64::from(found.st_nlink) {
            1 => Ok(true),
            found => Err(SharedError::Links { found }),
        }
    }

    /// Whether this file has no name.
    pub(super) fn has_no_name(&self) -> bool {
        rustix::fs::fstat(&self.file).is_ok_and(|found| found.st_nlink == 0)
    }

    /// Whether this file had a name when it was opened, and has none any more.
    pub(super) fn has_lost_its_name(&self) -> bool {
        self.stat.st_nlink > 0 && self.has_no_name()
    }

    /// Takes the name away, if this file still has it.
    pub(super) fn unlink(&self, path: &Path) -> Result<(), SharedError> {
        if self.is_at(path)? {
            rustix::fs::unlink(path).map_err(|error| SharedError::io("removing it", error))?;
        }
        Ok(())
    }

    /// Whether the lock was free. In the place of one that this description holds already.
    pub(super) fn try_lock(&self, lock: Lock) -> Result<bool, SharedError> {
        let operation = match lock {
            Lock::Shared => FlockOperation::NonBlockingLockShared,
            Lock::Exclusive => FlockOperation::NonBlockingLockExclusive,
        };
        loop {
            match rustix::fs::flock(&self.file, operation) {
                Ok(()) => return Ok(true),
                Err(Errno::WOULDBLOCK) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(SharedError::io("locking it", error)),
            }
        }
    }

    /// Gives the lock back of a table that is not used after all. To close the descriptor would not do: a child that another thread has
    /// forked meanwhile has a copy of it, and with it the lock, for as long as it lives.
    pub(super) fn unlock(&self) {
        // Nothing could be done about an error; none is known of a lock that is given back.
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }

    /// A number that nobody else who lives has, or none if all are taken: kept by a lock on a byte beyond the end, which goes with the
    /// mappings of this description, as that of the file does.
    fn take_number(&self) -> Result<Claimer, SharedError> {
        for number in 1..=Claimer::MOST {
            if let Some(claimer) = Claimer::numbered(number)
                && owners::take(&self.file, number)
                    .map_err(|error| SharedError::io("taking a number among its processes", error))?
            {
                return Ok(claimer);
            }
        }
        Ok(Claimer::UNKNOWN)
    }

    /// Takes a number for this process, and for each that is forked from it another when it is asked for.
    pub(super) fn claimers(self: &Arc<Self>) -> Result<Arc<Claimers>, SharedError> {
        let (first, file) = (self.take_number()?, Arc::clone(self));
        Ok(Arc::new(Claimers::new(first, move || file.number_of_child())))
    }

    /// A number for a child, which has this file from its parent: by a description of its own, as locks belong to those.
    fn number_of_child(&self) -> Option<Kept> {
        let own = Self::again(&self.file).ok()?;
        // A child may have closed what it does not know, and have something else by that number.
        if (own.stat.st_dev, own.stat.st_ino) != (self.stat.st_dev, self.stat.st_ino) {
            return None;
        }
        let claimer = own.take_number().ok().filter(|claimer| *claimer != Claimer::UNKNOWN)?;
        // A mapping keeps the description, and so the lock, also where descriptors are closed later.
        let map = SharedMap::of(own.file(), 1).ok()?;
        Some((claimer, Box::new(map)))
    }

    /// Whether one who has this number lives, or may: asked without a wait, and answered with yes if the system does not say.
    pub(super) fn lives(&self, claimer: Claimer) -> bool {
        owners::is_taken(&self.file, claimer.number()).unwrap_or(true)
    }

    /// Waits until whoever recovers the table is done, and for no longer than he could reasonably take.
    pub(super) fn lock_shared(&self) -> Result<(), SharedError> {
        const LOOK_EACH: Duration = Duration::from_millis(1);
        const AT_MOST: Duration = Duration::from_secs(10);
        let mut waited = Duration::ZERO;
        while !self.try_lock(Lock::Shared)? {
            if waited >= AT_MOST {
                return Err(SharedError::Busy { waited });
            }
            std::thread::sleep(LOOK_EACH);
            waited += LOOK_EACH;
        }
        Ok(())
    }
}

fn check_file_system(fd: impl AsFd, allows_disk: bool) -> Result<(), SharedError> {
    let found = rustix::fs::fstatfs(fd).map_err(|error| SharedError::io("asking for its file system", error))?;
    let found = u64::try_from(found.f_type).unwrap_or(0);
    let is_disk = DISKS.contains(&found);
    if found == TMPFS || is_disk && allows_disk { Ok(()) } else { Err(SharedError::FileSystem { found, is_disk }) }
}

/// All of a table, or of a sparse one what stands before its lines.
fn reserve(fd: impl AsFd, bytes: u64, is_sparse: bool) -> Result<(), SharedError> {
    let whole = if is_sparse { header::BESIDE.min(bytes) } else { bytes };
    let extended = if is_sparse { rustix::fs::ftruncate(&fd, bytes) } else { Ok(()) };
    let reserved = extended.and_then(|()| {
        loop {
            match rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, whole) {
                Err(Errno::INTR) => {}
                reserved => break reserved,
            }
        }
    });
    reserved.map_err(|error| match error {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::NOMEM => SharedError::NoSpace { bytes },
        error => SharedError::io("reserving its bytes", error),
    })
}

/// Which start of the machine this is.
pub(super) fn boot() -> Result<[u64; 2], SharedError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).map_err(|error| SharedError::io("reading which boot this is", error))?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let id = u128::from_str_radix(&digits, 16).map_err(|_| SharedError::Io {
        operation: "reading which boot this is",
        source: io::Error::new(io::ErrorKind::InvalidData, text.trim().to_owned()),
    })?;
    let half = |id: u128| u64::try_from(id & u128::from(u64::MAX)).unwrap_or(0);
    Ok([half(id >> 64), half(id)])
}

/// Which time namespace this process is in; 0 where the kernel has none.
pub(super) fn time_namespace() -> u64 {
    rustix::fs::stat("/proc/self/ns/time").map_or(0, |stat| stat.st_ino)
}

/// How a table without a path is called in messages.
pub(super) fn name_of(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}
