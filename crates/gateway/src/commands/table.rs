//! `tollgate table`: what is in a snapshot of a limiter's table. Tables that processes share are told apart by what a file begins with,
//! in `open`; this version reads snapshots.

use std::fs::File;
use std::io::ErrorKind;
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
    /// Read a snapshot to its end, and show what it is of
    Info {
        /// The file that `Limiter::snapshot` wrote
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Does what `args` ask for.
pub(crate) fn run(args: &TableArgs) -> Result<(), Failure> {
    let TableCommand::Info { file } = &args.command;
    let info = SnapshotInfo::read(open(file)?).map_err(|error| refused(file, &error))?;
    output::print(&text(file, &info))
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

fn text(file: &Path, info: &SnapshotInfo) -> String {
    let taken = i64::try_from(info.unix_nanos / 1_000_000_000).ok();
    let taken = taken.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let taken = taken.map_or_else(|| format!("{} ns after 1970", info.unix_nanos), |taken| taken.to_string());
    let last = info.range[1].as_nanos() / 1_000_000_000;
    let last = i64::try_from(last).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let last = last.map_or_else(String::new, |last| format!("time is told until     {last}\n"));
    format!(
        "{}: a whole snapshot of version {}\n\
         taken                  {taken}\n\
         buckets not full       {}\n\
         room for               {} keys\n\
         units per second       {}\n\
         full again at latest   {} s after it was taken\n\
         {last}\
         length                 {} bytes\n",
        file.display(),
        info.version,
        grouped(info.buckets),
        grouped(info.capacity),
        grouped(info.units_per_second),
        grouped(info.reach_nanos.div_ceil(1_000_000_000)),
        grouped(info.bytes),
    )
}
