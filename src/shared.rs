//! One table for all processes of a machine: a file that they have all mapped.
//!
//! ```no_run
//! use tollgate::Limiter;
//! use tollgate::shared::Shared;
//!
//! // In each of the processes, in any order.
//! let limiter = Limiter::builder("100/minute").shared(Shared::at("/run/app/tollgate")).build()?;
//! assert!(limiter.check("grace").is_allowed());
//! # Ok::<(), tollgate::error::BuildError>(())
//! ```
//!
//! The first process makes the table, the others attach to it. All of them decide by the same buckets, at what a check costs in one
//! process; none waits for another, and one that is killed at any instruction leaves the others as they were. A table outlives its
//! processes, and is gone when the machine is started anew. `docs/processes.md` says where to put the file, and what is promised.
//!
//! # What must agree
//!
//! | found in the file | [`Refuse`](OnMismatch::Refuse) | [`Adopt`](OnMismatch::Adopt) | [`Replace`](OnMismatch::Replace) |
//! |---|---|---|---|
//! | another capacity, or another `on_full` | error | goes by the table's | a new table |
//! | another version, layout, byte order, hash or clock; a damaged header; a table that was retired, is older than nine years, of another time namespace, or ahead of this clock | error | error | a new table |
//! | no table at all: a file of another kind | error | error | error |
//! | another owner, more permissions, more names, no regular file, a file system that will not do | error | error | error |
//! | another time unit | goes by the table's: quotas that do not fit are [rounded](crate::Limit::effective_rate) down |||
//! | other quotas, other names of limits | nothing to agree in: each limit is its name and its quota |||
//!
//! `Replace` forgets all that was counted, and only where no other process has the table mapped; else it is the error
//! [`InUse`](crate::error::SharedError::InUse).
//!
//! # Configurations in turn
//!
//! While a new version of a program is rolled out, the old one and the new one decide in turn. A limit is its name and its quota,
//! so a key is admitted one limit by those that both have, and at most the sum of both by those that differ, for as long as both are
//! asked.

mod attach;
mod clock;
pub(crate) mod error;
mod file;
mod header;
mod inspect;
mod owners;
mod restore;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use clock::{TableClock, Trusted};
pub use inspect::{Inspected, TableInfo};

pub(crate) use attach::{Attached, Wanted};

use crate::arith::saturating_nanos;
use crate::claimer::{Claimer, Claimers};
use crate::clock::Instant;
use crate::hash::ByteHash;
use crate::snapshot::header::Hashed;
use crate::sync::{Atomic, Ordering};
use crate::table::Table;
use file::{Demands, TableFile};
use header::{Facts, Header};

/// Where a table is that several processes share, and what it must be like; for [`LimiterBuilder::shared`](crate::LimiterBuilder::shared).
#[derive(Debug, Clone)]
pub struct Shared {
    place: Place,
    demands: Demands,
    is_sparse: bool,
    on_mismatch: OnMismatch,
}

#[derive(Debug, Clone)]
enum Place {
    Path { path: PathBuf, may_create: bool, may_attach: bool },
    Descriptor(Arc<OwnedFd>),
    Anonymous,
}

/// What happens when the table that is there is not the one that was asked for. The [module](self) has a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnMismatch {
    /// An error that says what was found and what was asked for.
    #[default]
    Refuse,
    /// Capacity and policy are the table's, whatever was asked for; all else is an error.
    Adopt,
    /// A new table in the place of the old one, unless others use that.
    Replace,
}

impl Shared {
    const fn new(place: Place) -> Self {
        let demands = Demands { mode: 0o600, owner: None, allows_disk: false };
        Self { place, demands, is_sparse: false, on_mismatch: OnMismatch::Refuse }
    }

    /// The table at a path; made if there is none. The directory must be there, and on a tmpfs, such as `/run`.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self::new(Place::Path { path: path.into(), may_create: true, may_attach: true })
    }

    /// A new table at a path where there is none.
    #[must_use]
    pub fn create(path: impl Into<PathBuf>) -> Self {
        Self::new(Place::Path { path: path.into(), may_create: true, may_attach: false })
    }

    /// The table at a path that somebody else has made. Makes none, so it also replaces none, whatever
    /// [`on_mismatch`](Self::on_mismatch) says.
    #[must_use]
    pub fn attach(path: impl Into<PathBuf>) -> Self {
        Self::new(Place::Path { path: path.into(), may_create: false, may_attach: true })
    }

    /// The table of a descriptor that this process was given, such as [`SharedTable::descriptor`]'s of its parent. It is opened
    /// again through `/proc`.
    #[must_use]
    pub fn fd(descriptor: OwnedFd) -> Self {
        Self::new(Place::Descriptor(Arc::new(descriptor)))
    }

    /// A table without a path, for processes that are forked from this one: build the limiter, then fork, and use it in parent
    /// and children alike. Nobody can cut it. It is gone with the last of them.
    #[must_use]
    pub const fn before_fork() -> Self {
        Self::new(Place::Anonymous)
    }

    /// Which permissions the file is made with, and may have at most; 0600 unless told otherwise. Whoever may write to it can
    /// give and take tokens as he likes, and whoever may read it can aim at other keys' slots.
    #[must_use]
    pub const fn mode(mut self, mode: u32) -> Self {
        self.demands.mode = mode & 0o666;
        self
    }

    /// Whose the file must be: a user's number. That of this process unless told otherwise. Who makes it makes it his, if he may give
    /// files away; else it is an error.
    #[must_use]
    pub const fn owner(mut self, user: u32) -> Self {
        self.demands.owner = Some(user);
        self
    }

    /// Allows a file system on a disk (ext4, XFS, btrfs): the table outlives the machine's restart, and a check may have to
    /// wait, up to seconds, while a page is written back. Network, stacked and user-space file systems are never allowed.
    #[must_use]
    pub const fn allow_disk(mut self) -> Self {
        self.demands.allows_disk = true;
        self
    }

    /// Does not reserve the memory of a new table: it takes what its keys need, and
    /// [`release_idle`](crate::Limiter::release_idle) gives back what they needed. **If the file system or the memory is full, a check
    /// that is the first to touch a page, or a restoration, ends the process with the signal SIGBUS.** Goes by what the file says where there is
    /// one.
    #[must_use]
    pub const fn sparse(mut self) -> Self {
        self.is_sparse = true;
        self
    }

    /// What happens when the table that is there is not the one that was asked for.
    #[must_use]
    pub const fn on_mismatch(mut self, what: OnMismatch) -> Self {
        self.on_mismatch = what;
        self
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> PathBuf {
        match &self.place {
            Place::Path { path, .. } => path.clone(),
            Place::Descriptor(fd) => file::name_of(fd),
            Place::Anonymous => PathBuf::from("memfd:tollgate"),
        }
    }
}

/// The shared table of a limiter; from [`Limiter::shared`](crate::Limiter::shared).
#[derive(Debug)]
pub struct SharedTable {
    file: Arc<TableFile>,
    header: Header,
    facts: Facts,
    path: Option<PathBuf>,
    is_creator: bool,
    /// Which the table asks as well.
    detached: Detached,
    claimers: Arc<Claimers>,
}

/// Set once a call of this process has found that the file is gone.
type Detached = Arc<Atomic<u64>>;

impl SharedTable {
    /// The whole path, unless it has none.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The file's inode: processes with the same one share the table.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.file.inode()
    }

    /// How many bytes the file has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// Whether this limiter has made it.
    #[must_use]
    pub const fn is_creator(&self) -> bool {
        self.is_creator
    }

    /// The process that has made it, as it was called there.
    #[must_use]
    pub const fn created_by(&self) -> u64 {
        self.facts.created_by
    }

    /// A number that no other table has.
    #[must_use]
    pub fn id(&self) -> u128 {
        u128::from(self.facts.uuid[0]) << 64 | u128::from(self.facts.uuid[1])
    }

    /// How long ago it was made, as of an instant of the limiter's [clock](crate::Limiter::now).
    #[must_use]
    pub const fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(Instant::from_nanos(self.facts.created))
    }

    /// How many slots of processes that died in the middle of an insertion have been freed since it was made: by those who came after,
    /// or by [`free_dead_slots`](crate::Limiter::free_dead_slots).
    #[must_use]
    pub fn freed_slots(&self) -> u64 {
        self.header.freed()
    }

    /// Whether somebody lives who has claimed slots by this number. Who attached does: this process is it, or its child.
    fn lives(&self, claimer: Claimer) -> bool {
        self.claimers.first() == claimer || self.file.lives(claimer)
    }

    /// Frees what those have left who died in the middle of an insertion.
    pub(crate) fn free_of_the_dead(&self, table: &Table) -> u64 {
        let freed = table.free_of_the_dead(|claimer| self.lives(claimer));
        self.header.count_freed(freed);
        freed
    }

    /// Whether the path is another file's by now, or nobody's: then those who come later do not share this table, and a limit
    /// may be admitted twice. Build a limiter anew. A system call, and only [`Limiter::stats`](crate::Limiter::stats) asks for it
    /// besides: ask now and then. From when it has been noticed, what leases hold is void, and they go to the bucket each time.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        let is_gone = match &self.path {
            // Where the path may not be asked for, or the file has another name besides, it is there as long as it has one.
            Some(path) => self.file.is_at(path).map_or_else(|_| self.file.has_no_name(), |is_at| !is_at),
            None => self.file.has_lost_its_name(),
        };
        let is_detached = is_gone || self.header.is_retired();
        // Relaxed, with the load in `Table::is_detached`: a flag by itself. No model.
        self.detached.store(u64::from(is_detached), Ordering::Relaxed);
        is_detached
    }

    /// The file, for a process that does not see its path: it attaches by [`Shared::fd`], and must be one that its permissions
    /// let open it. Closed on exec unless told otherwise. Whoever has the descriptor, or a copy, keeps the table in use.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.file().as_fd()
    }

    /// A number that no process of this table has had from here.
    pub(crate) fn renew(&self) -> u64 {
        self.header.renew()
    }

    /// How its keys are hashed, and the fingerprint of that.
    pub(crate) fn hashed(&self) -> (Hashed, [u64; 4]) {
        let seeds = self.facts.seeds;
        (Hashed::Bytes { seeds, renewed: self.header.renewed() }, ByteHash::new(seeds).fingerprint())
    }

    fn latest(&self) -> u64 {
        self.header.latest()
    }

    fn set_renewed(&self, count: u64) {
        self.header.set_renewed(count);
    }

    /// Tells the others what time it is here.
    pub(crate) fn see(&self, now: Instant) {
        self.header.see(now.as_nanos());
    }
}

/// Nine of the ten years that a time base holds.
const LIFETIME: Duration = Duration::from_secs(9 * 365 * 86_400);

/// The clock of a process that is at most so far behind what the table has seen is taken for the same.
const SLACK: u64 = saturating_nanos(Duration::from_millis(1));
