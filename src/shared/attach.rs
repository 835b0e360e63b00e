//! How a process comes to a shared table: makes it, or attaches to it.
//!
//! 1. The file is opened, or made **without a name** in the same directory, reserved, written, locked and only then linked: so
//!    nobody ever finds a file that is half made, however many make one at once and wherever they are killed. Whoever comes
//!    second to the name drops his own and opens the other.
//! 2. Owner, type, permissions and file system are judged of the open file.
//! 3. `flock`: everybody who has the table mapped holds it *shared*, by the mapping's own description, until he has ended.
//!    Whoever gets it *exclusively* is therefore **alone**: no thread that lives can store there any more. He frees what the
//!    dead have left, and translates the clock if the machine was started anew; then he takes it shared. That is not one step,
//!    and need not be, as nobody goes on before he holds it shared.
//! 4. The path is asked for again, now that the file cannot be replaced, and the header judged.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clock::since_boot;
use super::error::SharedError;
use super::file::{self, Lock, Opened, TableFile};
use super::header::{Facts, Header, Layout};
use super::{Detached, LIFETIME, OnMismatch, Place, SLACK, Shared, SharedTable};
use crate::claimer::Claimers;
use crate::clock::{Instant, os};
use crate::hash::ByteHash;
use crate::memory::SharedMap;
use crate::on_full::OnFull;
use crate::quota::Quota;
use crate::table::Table;
use crate::time_base::{TimeBase, everyday};

/// What a limiter asks for.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) capacity: usize,
    pub(crate) on_full: OnFull,
    /// To be exact in the time unit of a table that is made.
    pub(crate) quotas: &'a [Quota],
    /// What a clock of the caller's shows; `None` of the operating system's.
    pub(crate) now: Option<Instant>,
    /// Whether any capacity, policy and clock will do: to look at a table that is there.
    pub(crate) accepts_any: bool,
}

/// A table to use.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) table: Table,
    pub(crate) shared: SharedTable,
    pub(crate) base: TimeBase,
    pub(crate) capacity: usize,
    pub(crate) seeds: [u64; ByteHash::SEEDS],
    /// Of the operating system's clock.
    pub(crate) anchor: u64,
}

/// What came of a try at a file that is there.
enum Tried {
    Attached(Box<Attached>),
    /// The name is another file's, or nobody's, by now.
    Gone,
}

/// A table that is the one that was asked for.
type Judged = (Facts, Table, (Detached, Arc<Claimers>));

/// Names that are given to others each time that they have been opened; every time somebody else has got on.
const TRIES: u32 = 100;

impl Shared {
    /// Makes or attaches.
    pub(crate) fn open(&self, wanted: &Wanted<'_>) -> Result<Attached, SharedError> {
        match &self.place {
            Place::Path { path, may_create, may_attach } => self.open_path(path, *may_create, *may_attach, wanted),
            Place::Descriptor(fd) => match self.try_attach(TableFile::again(fd)?, None, wanted)? {
                Tried::Attached(attached) => Ok(*attached),
                Tried::Gone => Err(SharedError::Retired),
            },
            Place::Anonymous => {
                let (facts, layout) = self.facts(wanted)?;
                let file = TableFile::anonymous(layout.bytes as u64, facts.is_sparse)?;
                made(file, None, &facts, layout)
            }
        }
    }

    fn open_path(
        &self,
        path: &Path,
        may_create: bool,
        may_attach: bool,
        wanted: &Wanted<'_>,
    ) -> Result<Attached, SharedError> {
        for _ in 0..TRIES {
            match TableFile::open(path)? {
                Opened::File(_) if !may_attach => return Err(SharedError::Exists),
                Opened::File(file) => match self.try_attach(file, Some(path), wanted)? {
                    Tried::Attached(attached) => return Ok(*attached),
                    Tried::Gone => {}
                },
                Opened::Absent if !may_create => return Err(SharedError::NotFound),
                Opened::Absent => {
                    let (facts, layout) = self.facts(wanted)?;
                    let file = TableFile::create(path, layout.bytes as u64, self.demands, facts.is_sparse)?;
                    let attached = made(file, Some(path), &facts, layout)?;
                    if attached.shared.file.link(path)? {
                        return Ok(attached);
                    }
                }
            }
        }
        Err(SharedError::Unsteady)
    }

    /// Of a table that is made now.
    pub(super) fn facts(&self, wanted: &Wanted<'_>) -> Result<(Facts, Layout), SharedError> {
        let capacity = wanted.capacity as u64; // a usize has no more bits
        let Some(layout) = Layout::of(capacity) else { return Err(SharedError::Damaged { what: "the capacity" }) };
        let mut drawn = [0_u64; ByteHash::SEEDS + 2];
        getrandom::fill(bytemuck::cast_slice_mut(&mut drawn)).map_err(|error| SharedError::Entropy(error.into()))?;
        let [a, b, c, d, uuid @ ..] = drawn;
        let unix = os::unix_nanos();
        let anchor = unix.saturating_sub(since_boot());
        let now = wanted.now.unwrap_or_else(|| Instant::from_nanos(unix));
        let quotas: Vec<_> = wanted.quotas.iter().copied().chain(everyday()).collect();
        let facts = Facts {
            capacity,
            on_full: wanted.on_full,
            is_system_clock: wanted.now.is_none(),
            base: TimeBase::new(&quotas, now),
            anchor,
            time_namespace: file::time_namespace(),
            is_sparse: self.is_sparse,
            seeds: [a, b, c, d],
            uuid,
            boot: file::boot()?,
            created: now.as_nanos(),
            created_by: u64::from(std::process::id()),
        };
        Ok((facts, layout))
    }

    /// Attaches to a file that is there, replaces it, or says what is wrong with it.
    fn try_attach(&self, file: TableFile, path: Option<&Path>, wanted: &Wanted<'_>) -> Result<Tried, SharedError> {
        let file = Arc::new(file);
        file.check(self.demands)?;
        match self.locked(&file, path, wanted) {
            Ok(Some((header, (facts, table, (detached, claimers))))) => {
                let path = path.map(lasting);
                let shared = SharedTable { file, header, facts, path, is_creator: false, detached, claimers };
                Ok(Tried::Attached(Box::new(attached(table, shared))))
            }
            Ok(None) => {
                file.unlock();
                Ok(Tried::Gone)
            }
            Err(error) => {
                file.unlock();
                Err(error)
            }
        }
    }

    /// Locks a file and judges what is in it; `None` if its name is gone by then, as it is when it has been replaced.
    fn locked(
        &self,
        file: &Arc<TableFile>,
        path: Option<&Path>,
        wanted: &Wanted<'_>,
    ) -> Result<Option<(Header, Judged)>, SharedError> {
        let is_alone = file.try_lock(Lock::Exclusive)?;
        if !is_alone {
            file.lock_shared()?;
        }
        if let Some(path) = path
            && !file.is_at(path)?
        {
            return Ok(None);
        }
        let (map, header) = mapped(file)?;
        let judged = match self.judge(file, &map, &header, is_alone, wanted) {
            Ok(judged) => judged,
            Err(Mismatch { error, is_replaceable }) => {
                let Some(path) = path.filter(|_| is_replaceable && self.may_replace()) else {
                    return Err(error);
                };
                if !is_alone {
                    return Err(SharedError::InUse);
                }
                // Whoever waits for the lock finds the name gone, and comes again. The name first: a kill in between leaves a file
                // that nobody finds, and not one that nobody can attach to.
                file.unlink(path)?;
                header.retire();
                return Ok(None);
            }
        };
        if is_alone {
            // Not in one step: another may have been alone meanwhile, and have replaced the file.
            file.lock_shared()?;
            if let Some(path) = path
                && !file.is_at(path)?
            {
                return Ok(None);
            }
        }
        Ok(Some((header, judged)))
    }

    /// Not who makes none: he would only take the one away that is there.
    const fn may_replace(&self) -> bool {
        matches!(self.place, Place::Path { may_create: true, .. }) && matches!(self.on_mismatch, OnMismatch::Replace)
    }

    /// Whether the table is the one that was asked for; recovers it, if nobody else uses it.
    fn judge(
        &self,
        file: &Arc<TableFile>,
        map: &Arc<SharedMap>,
        header: &Header,
        is_alone: bool,
        wanted: &Wanted<'_>,
    ) -> Result<Judged, Mismatch> {
        let mut facts = header.read(file.bytes()).map_err(|error| {
            let is_replaceable = header.is_table() && !matches!(error, SharedError::Foreign);
            Mismatch { error, is_replaceable }
        })?;
        let adopts = self.on_mismatch == OnMismatch::Adopt || wanted.accepts_any;
        let asked = wanted.capacity as u64; // a usize has no more bits
        if facts.capacity != asked && !adopts {
            return Err(SharedError::Capacity { found: facts.capacity, asked }.into());
        }
        if facts.on_full != wanted.on_full && !adopts {
            return Err(SharedError::OnFull { found: facts.on_full, asked: wanted.on_full }.into());
        }
        if facts.is_system_clock != wanted.now.is_none() && !wanted.accepts_any {
            return Err(SharedError::Clock { is_of_system: facts.is_system_clock }.into());
        }
        let is_new_boot = facts.is_system_clock && facts.boot != file::boot()?;
        if is_new_boot && !is_alone {
            return Err(SharedError::OtherBoot.into());
        }
        if is_new_boot {
            // Unix time goes on over a boot; and not back, whatever became of the wall clock.
            let unix = os::unix_nanos().max(header.latest());
            facts.anchor = unix.saturating_sub(since_boot());
            facts.boot = file::boot()?;
            facts.time_namespace = file::time_namespace();
        }
        // Who looks at a table of its callers' clock has none of his own.
        let callers = wanted.now.or_else(|| (!facts.is_system_clock).then(|| Instant::from_nanos(header.latest())));
        let now_is = |anchor: u64| callers.map_or_else(|| anchor.saturating_add(since_boot()), Instant::as_nanos);
        let expected = file::time_namespace();
        if facts.is_system_clock && facts.time_namespace != expected {
            return Err(SharedError::TimeNamespace { found: facts.time_namespace, expected }.into());
        }
        let now = now_is(facts.anchor);
        let behind = header.latest().saturating_sub(now);
        if behind > SLACK && !is_new_boot {
            return Err(SharedError::ClockBehind { by: Duration::from_nanos(behind) }.into());
        }
        let age = Instant::from_nanos(now).saturating_duration_since(facts.base.start());
        if age >= LIFETIME {
            return Err(SharedError::TooOld { age }.into());
        }
        file.fill(facts.is_sparse)?;
        let claimers = file.claimers()?;
        let layout = Layout::of(facts.capacity);
        let parts = layout.and_then(|layout| {
            Some((layout, layout.parts(map, facts.is_sparse && file.is_memory(), Arc::clone(&claimers))?))
        });
        let Some((layout, parts)) = parts else { return Err(SharedError::Damaged { what: "the length" }.into()) };
        let detached = Arc::clone(&parts.detached);
        let table = Table::shared(layout.shape, parts, facts.on_full);
        if !is_alone {
            // Who had this number before is dead, and this process has claimed nothing yet.
            header.count_freed(table.free_of_the_dead(|dead| dead != claimers.first() && file.lives(dead)));
        }
        if is_alone {
            let clamp_at = is_new_boot.then(|| facts.base.units(Instant::from_nanos(now)));
            header.count_freed(table.recover(clamp_at));
        }
        if is_new_boot {
            header.write(&facts, file.bytes());
        }
        header.see(now);
        Ok((facts, table, (detached, claimers)))
    }
}

/// Why a table is not the one that was asked for.
struct Mismatch {
    error: SharedError,
    is_replaceable: bool,
}

impl From<SharedError> for Mismatch {
    fn from(error: SharedError) -> Self {
        // What the operating system refuses it would refuse again.
        let is_replaceable = !matches!(
            error,
            SharedError::Io { .. } | SharedError::Permission(_) | SharedError::NoSpace { .. } | SharedError::OtherBoot
        );
        Self { error, is_replaceable }
    }
}

/// A table in a file that nobody else knows yet.
pub(super) fn made(
    file: TableFile,
    path: Option<&Path>,
    facts: &Facts,
    layout: Layout,
) -> Result<Attached, SharedError> {
    let file = Arc::new(file);
    let (map, header) = map(&file)?;
    let claimers = file.claimers()?;
    let Some(parts) = layout.parts(&map, facts.is_sparse && file.is_memory(), Arc::clone(&claimers)) else {
        return Err(SharedError::Damaged { what: "the length" });
    };
    header.write(facts, file.bytes());
    header.see(facts.created);
    // Before the file has a name: whoever finds it there finds it locked.
    file.lock_shared()?;
    let detached = Arc::clone(&parts.detached);
    let table = Table::shared(layout.shape, parts, facts.on_full);
    let path = path.map(lasting);
    Ok(attached(table, SharedTable { file, header, facts: *facts, path, is_creator: true, detached, claimers }))
}

/// A path as it is to be asked for later, when the process may be in another directory.
fn lasting(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn attached(table: Table, shared: SharedTable) -> Attached {
    let facts = shared.facts;
    // Bounded by `Layout::of`.
    let capacity = usize::try_from(facts.capacity).unwrap_or(usize::MAX);
    Attached { table, base: facts.base, capacity, seeds: facts.seeds, anchor: facts.anchor, shared }
}

/// What a file must have to be looked at.
const LEAST: u64 = super::header::BYTES as u64;

/// A file that is there.
pub(super) fn mapped(file: &TableFile) -> Result<(Arc<SharedMap>, Header), SharedError> {
    let bytes = file.bytes();
    if bytes < LEAST {
        return Err(SharedError::Length { found: bytes, expected: LEAST });
    }
    if !file.begins_as_a_table()? {
        return Err(SharedError::Foreign);
    }
    map(file)
}

/// A file that is long enough.
fn map(file: &TableFile) -> Result<(Arc<SharedMap>, Header), SharedError> {
    let bytes = file.bytes();
    let length = usize::try_from(bytes).map_err(|_| SharedError::NoSpace { bytes })?;
    let map = SharedMap::of(file.file(), length).map_err(|error| SharedError::io("mapping it", error))?;
    let header = Header::of(&map).ok_or(SharedError::Length { found: bytes, expected: LEAST })?;
    Ok((map, header))
}

/// With a checksum that is right: what a program of another build may have written, or one that means harm.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Identity;
    use crate::time_base::LATEST;
    use crate::word::{Balance, Word};

    const CAPACITY: usize = 16;

    fn open(shared: &Shared) -> Result<Attached, SharedError> {
        let quotas = [Quota::per_hour(10)];
        let on_full = OnFull::EvictNearestIdle;
        shared.open(&Wanted { capacity: CAPACITY, on_full, quotas: &quotas, now: None, accepts_any: false })
    }

    /// A table without a name, and the way to attach to it again.
    fn table() -> (Attached, Shared) {
        let attached = open(&Shared::before_fork()).unwrap();
        let again = opened_again(&attached);
        (attached, again)
    }

    /// By a description of its own: a copy of the table's would keep that in use.
    fn opened_again(attached: &Attached) -> Shared {
        use std::os::fd::AsRawFd as _;
        let path = format!("/proc/self/fd/{}", attached.shared.descriptor().as_raw_fd());
        Shared::fd(std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap().into())
    }

    #[test]
    fn every_value_of_every_word_is_judged() {
        let (attached, again) = table();
        let header = &attached.shared.header;
        let good = attached.shared.facts;
        let bytes = attached.shared.file.bytes();
        let values = (0..64).flat_map(|bit| [1 << bit, (1 << bit) - 1, u64::MAX << bit]).chain([0, 3, 10_000_000_000]);
        let values: Vec<u64> = values.collect();
        let (mut errors, mut works) = (0, 0);
        for word in 0..64 {
            for &value in &values {
                header.write(&good, bytes);
                header.put(word, value);
                match open(&again) {
                    Ok(found) => {
                        works += 1;
                        // A limiter of that base and that clock has a time.
                        let now = found.base.units(Instant::from_nanos(found.anchor.saturating_add(since_boot())));
                        assert!(now <= LATEST && found.capacity == CAPACITY, "word {word}: {value:#x}");
                    }
                    Err(_) => errors += 1,
                }
            }
        }
        assert!(errors > 2_000 && works > 500, "{errors} errors, {works} work");
    }

    #[test]
    fn another_time_namespace_is_refused() {
        let (attached, again) = table();
        let (header, mut facts) = (&attached.shared.header, attached.shared.facts);
        let expected = facts.time_namespace;
        facts.time_namespace += 1;
        header.write(&facts, attached.shared.file.bytes());
        match open(&again) {
            Err(SharedError::TimeNamespace { found, expected: here }) => {
                assert_eq!((found, here), (expected + 1, expected));
            }
            other => panic!("{other:?}"),
        }
    }

    /// Another thread forks while this one has the lock: the child has a copy of the descriptor, and does not know of it.
    #[test]
    fn who_is_refused_leaves_no_lock_to_a_child_that_was_forked_meanwhile() {
        let (attached, again) = table();
        drop(attached);
        let Place::Descriptor(fd) = &again.place else { unreachable!("as `table` says") };
        let tried = |file| {
            let quotas = [Quota::per_hour(10)];
            let on_full = OnFull::RefuseNew;
            again.try_attach(
                file,
                None,
                &Wanted { capacity: CAPACITY, on_full, quotas: &quotas, now: None, accepts_any: false },
            )
        };
        let file = TableFile::again(fd).unwrap();
        let childs = file.file().try_clone().unwrap();
        assert!(matches!(tried(file), Err(SharedError::OnFull { .. })));
        let file = TableFile::again(fd).unwrap();
        assert!(file.try_lock(Lock::Exclusive).unwrap(), "nobody has it");
        drop(childs);
    }

    #[test]
    fn a_clock_that_is_behind_is_refused() {
        let (attached, again) = table();
        attached.shared.header.see(attached.shared.facts.created + 5_000_000_000);
        assert!(matches!(open(&again), Err(SharedError::ClockBehind { by }) if by > Duration::from_secs(3)));
    }

    /// The machine was started anew: while others use the table that cannot be, and who is alone sets the clock.
    #[test]
    fn after_a_restart_of_the_machine_the_clock_is_set_and_nothing_waits_for_longer_than_a_limit_can() {
        let (attached, again) = table();
        let (here, bytes) = (attached.shared.facts, attached.shared.file.bytes());
        let id = Identity::for_model(7);
        let reach = 1_000 * here.base.units_per_second();
        let units = |nanos| here.base.units(Instant::from_nanos(nanos));
        // Before it the wall clock was a day ahead. What stands in the slots is from then, or from this morning.
        let (day, before) = (86_400 * 1_000_000_000, os::unix_nanos());
        attached.table.note_reach(reach);
        attached.table.put(id, Word::FULL.live(Balance::at(units(before + 2 * day))));
        let other = Facts { boot: [1, 2], anchor: here.anchor.saturating_sub(day), ..here };
        attached.shared.header.write(&other, bytes);
        assert!(matches!(open(&again), Err(SharedError::OtherBoot)), "this process has it mapped");
        drop(attached);
        let found = open(&again).unwrap();
        let now = found.anchor + since_boot();
        assert!(now.abs_diff(os::unix_nanos()) < 1_000_000_000, "Unix time");
        let stamp = found.table.stamp_of(id);
        assert!(stamp >= units(before) + reach && stamp <= units(now) + reach, "taken back, and no further");
        assert_eq!(found.shared.facts.boot, here.boot);
        drop(found);
        // From here on it is a table like any other.
        open(&again).unwrap().shared.header.see(now + day);
        // And where the wall clock has been set back meanwhile, time does not go back.
        let found = open(&Shared::before_fork()).unwrap();
        let again = opened_again(&found);
        found.shared.header.see(now + day);
        found.shared.header.write(&Facts { boot: [1, 2], ..here }, bytes);
        drop(found);
        let found = open(&again).unwrap();
        assert!(found.anchor + since_boot() >= now + day);
    }
}
