//! `tollgate table`: what is in a snapshot of a limiter's table, or in a table that processes share; and from one to the other and
//! back. A file is told by what it begins with.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use tollgate::error::RestoreError;
use tollgate::snapshot::SnapshotInfo;

use crate::values::failure::Failure;
use crate::values::output::{self, grouped};

#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    #[command(subcommand)]
    command: TableCommand,
}

#[derive(Debug, Subcommand)]
enum TableCommand {
    /// Show what is in a snapshot, which is read to its end, or in a table that processes share
    Info {
        /// A snapshot, or the file of a shared table
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Write down the buckets of a shared table, beside all who use it
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    Snapshot {
        /// The file of the table
        #[arg(value_name = "TABLE")]
        table: PathBuf,
        /// What to write, whole or not at all; it has the seeds of the hash, so nobody else may read it
        #[arg(value_name = "SNAPSHOT")]
        snapshot: PathBuf,
    },
    /// Make a shared table that begins with the buckets of a snapshot of one
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    Restore(shared::RestoreArgs),
}

/// Does what `args` ask for.
pub(crate) fn run(args: &TableArgs) -> Result<(), Failure> {
    match &args.command {
        TableCommand::Info { file } => info(file),
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        TableCommand::Snapshot { table, snapshot } => shared::snapshot(table, snapshot),
        #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
        TableCommand::Restore(args) => shared::restore(args),
    }
}

fn info(file: &Path) -> Result<(), Failure> {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    if begins_as_a_table(open(file)?) {
        return shared::info(file);
    }
    let info = SnapshotInfo::read(open(file)?).map_err(|error| refused(file, &error))?;
    output::print(&text(file, &info))
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn begins_as_a_table(mut file: File) -> bool {
    let mut magic = [0; 8];
    file.read_exact(&mut magic).is_ok() && &magic == b"TOLLGATE"
}

fn open(file: &Path) -> Result<File, Failure> {
    File::open(file).map_err(|error| Failure::NoInput(format!("cannot read {}: {error}", file.display())))
}

fn refused(file: &Path, error: &RestoreError) -> Failure {
    let text = format!("{}: {error}", file.display());
    match error {
        RestoreError::Io(error) if error.kind() == ErrorKind::IsADirectory => Failure::NoInput(text),
        RestoreError::Io(_) => Failure::Io(text),
        _ => Failure::Data(text),
    }
}

fn instant(nanos: u64) -> String {
    let seconds = i64::try_from(nanos / 1_000_000_000).ok();
    let seconds = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    seconds.map_or_else(|| format!("{nanos} ns after 1970"), |instant| instant.to_string())
}

fn text(file: &Path, info: &SnapshotInfo) -> String {
    format!(
        "{}: a whole snapshot of version {}\n\
         of                     a {} table\n\
         taken                  {}\n\
         buckets not full       {}\n\
         room for               {} keys\n\
         units per second       {}\n\
         full again at latest   {} s after it was taken\n\
         time is told until     {}\n\
         length                 {} bytes\n",
        file.display(),
        info.version,
        if info.is_of_shared { "shared" } else { "private" },
        instant(info.unix_nanos),
        grouped(info.buckets),
        grouped(info.capacity),
        grouped(info.units_per_second),
        grouped(info.reach_nanos.div_ceil(1_000_000_000)),
        instant(info.range[1].as_nanos()),
        grouped(info.bytes),
    )
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod shared {
    use std::fs::{self, OpenOptions};
    use std::hash::{BuildHasher as _, RandomState};
    use std::io;
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

    use clap::ValueEnum;
    use tollgate::OnFull;
    use tollgate::error::{BuildError, SharedError};
    use tollgate::shared::{OnMismatch, Shared};

    use super::*;

    #[derive(Debug, Args)]
    pub(crate) struct RestoreArgs {
        /// The file of the table that is made
        #[arg(value_name = "TABLE")]
        table: PathBuf,
        /// What `tollgate table snapshot`, or a program, has written
        #[arg(value_name = "SNAPSHOT")]
        snapshot: PathBuf,
        /// How many keys there is to be room for; as many as there was, unless told otherwise
        #[arg(long, value_name = "KEYS")]
        capacity: Option<usize>,
        /// What becomes of a new key when there is no room; must be what the programs ask for
        #[arg(long, value_enum, default_value_t = Policy::EvictNearestIdle)]
        on_full: Policy,
        /// Put it in the place of a table that is there and that nobody uses
        #[arg(long)]
        replace: bool,
        /// Allow a file system on a disk, for which checks may have to wait
        #[arg(long)]
        allow_disk: bool,
    }

    #[derive(Debug, Clone, Copy, ValueEnum)]
    enum Policy {
        EvictNearestIdle,
        RefuseNew,
        AdmitUntracked,
    }

    impl From<Policy> for OnFull {
        fn from(policy: Policy) -> Self {
            match policy {
                Policy::EvictNearestIdle => Self::EvictNearestIdle,
                Policy::RefuseNew => Self::RefuseNew,
                Policy::AdmitUntracked => Self::AdmitUntracked,
            }
        }
    }

    /// A table that is there, whoever may use it and wherever it is: to look at it is no reason to be particular.
    fn there(table: &Path) -> Result<tollgate::shared::Inspected, Failure> {
        let owner = fs::symlink_metadata(table)
            .map_err(|error| Failure::NoInput(format!("cannot read {}: {error}", table.display())))?
            .uid();
        let shared = Shared::attach(table).mode(0o666).owner(owner).allow_disk();
        shared.inspect().map_err(|error| refused(table, &error))
    }

    fn refused(table: &Path, error: &SharedError) -> Failure {
        let text = format!("{}: {error}", table.display());
        match error {
            SharedError::NotFound | SharedError::Permission(_) => Failure::NoInput(text),
            SharedError::Io { .. } | SharedError::Entropy(_) | SharedError::Busy { .. } => Failure::Io(text),
            SharedError::Exists | SharedError::InUse | SharedError::NoSpace { .. } => Failure::CannotCreate(text),
            _ => Failure::Data(text),
        }
    }

    pub(super) fn info(table: &Path) -> Result<(), Failure> {
        let found = there(table)?;
        let (info, shared) = (found.info(), found.shared());
        let on_full = match info.on_full {
            OnFull::EvictNearestIdle => "a key that is nearest to full is forgotten",
            OnFull::RefuseNew => "a new key is refused",
            OnFull::AdmitUntracked => "a new key is admitted, unrecorded",
            _ => "unknown",
        };
        output::print(&format!(
            "{}: a table that processes share, id {:032x}\n\
             made                   {} s ago, by process {}\n\
             time                   {}, by {}\n\
             buckets not full       {}\n\
             room for               {} keys\n\
             without room           {on_full}\n\
             between owners         {} slots\n\
             freed of the dead      {} slots\n\
             units per second       {}\n\
             full again at latest   {} s after a request\n\
             length                 {} bytes{}\n",
            table.display(),
            shared.id(),
            grouped(info.age.as_secs()),
            shared.created_by(),
            instant(info.now.as_nanos()),
            if info.is_system_clock { "the system's clock" } else { "a clock of its programs'" },
            grouped(info.busy),
            grouped(info.capacity),
            grouped(info.between_owners),
            grouped(info.freed),
            grouped(info.units_per_second),
            grouped(info.reach.as_secs()),
            grouped(shared.bytes()),
            if info.is_sparse { ", not reserved" } else { "" },
        ))
    }

    /// To another name in the same directory first, for nobody else to read; under its own name it is whole.
    pub(super) fn snapshot(table: &Path, to: &Path) -> Result<(), Failure> {
        let found = there(table)?;
        // Such as by a slip of the shell's history: the limits of all who use it would be gone.
        let is_table =
            || fs::metadata(to).is_ok_and(|found| found.is_file()) && File::open(to).is_ok_and(begins_as_a_table);
        if is_table() {
            return Err(Failure::CannotCreate(format!(
                "{}: a table that processes share is not written over",
                to.display()
            )));
        }
        // A name that nobody has: in a container every process may have the same number, and one that was killed leaves its file.
        let drawn = RandomState::new().hash_one(std::process::id());
        let mut name = to.as_os_str().to_owned();
        name.push(format!(".{drawn:016x}.new"));
        let unfinished = PathBuf::from(name);
        let cannot_write = |error: &io::Error| Failure::cannot_write(to, error);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
        let file = file.map_err(|error| cannot_write(&error))?;
        let written = found.snapshot(&file).and_then(|info| {
            file.sync_all()?;
            fs::rename(&unfinished, to)?;
            Ok(info)
        });
        let info = written.map_err(|error| {
            let _ = fs::remove_file(&unfinished);
            cannot_write(&error)
        })?;
        let (buckets, bytes) = (grouped(info.buckets), grouped(info.bytes));
        output::print(&format!("{}: {buckets} buckets in {bytes} bytes\n", to.display()))
    }

    pub(super) fn restore(args: &RestoreArgs) -> Result<(), Failure> {
        let RestoreArgs { table, snapshot, .. } = args;
        // Twice: what it is of is known at its end, and what is not whole makes no table.
        let info = SnapshotInfo::read(open(snapshot)?).map_err(|error| super::refused(snapshot, &error))?;
        let capacity = args.capacity.unwrap_or_else(|| usize::try_from(info.capacity).unwrap_or(usize::MAX));
        let what = if args.replace { OnMismatch::Replace } else { OnMismatch::Refuse };
        let mut shared = Shared::at(table).on_mismatch(what);
        if args.allow_disk {
            shared = shared.allow_disk();
        }
        let (_, restored) =
            shared.restore(capacity, args.on_full.into(), open(snapshot)?).map_err(|error| match &error {
                RestoreError::Build(BuildError::Shared { source, .. }) => refused(table, source),
                RestoreError::Build(error) => Failure::Usage(format!("--capacity: {error}")),
                _ => super::refused(snapshot, &error),
            })?;
        output::print(&format!(
            "{}: {} buckets; {} were full by now, {} found no room\n",
            table.display(),
            grouped(restored.buckets),
            grouped(restored.refilled),
            grouped(restored.displaced),
        ))
    }
}
