//! `tollgate replay`: logs through a policy, and what would have come of it.
//!
//! The steps, in this order: the command line becomes a [`policy`], [`ingest`] reads the [`log`] into records,
//! [`engine`] replays them, [`tally`] counts, and [`report`], [`json`] and the pictures of [`timeline`] show it.

mod args;
mod engine;
pub(crate) mod exempt;
pub mod ingest;
pub mod intern;
mod json;
pub(crate) mod key;
pub mod log;
mod policy;
mod progress;
pub mod record;
mod report;
pub(crate) mod sample;
mod tally;
mod timeline;
mod trial;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use self::args::{NOTES, ReplayArgs};
use self::engine::Run;
use self::ingest::{Input, Keep, Reader};
use self::log::source::Source;
use self::log::time::timestamp;
use self::policy::Policy;
use self::record::Record;
use self::report::Layout;
use self::tally::Tally;
use self::timeline::{Timeline, svg};
use crate::values::failure::Failure;
use crate::values::output;

/// Where the width of the terminal is not known.
const WIDTH: usize = 100;

/// A finished replay.
pub(crate) struct Replay {
    policy: Policy,
    input: Input,
    run: Run,
    tally: Tally,
}

impl Run {
    fn checks_per_second(&self) -> u64 {
        let nanos = self.elapsed.as_nanos().max(1);
        let rate = u128::from(self.checks) * Duration::from_secs(1).as_nanos() / nanos;
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

/// Replays what `args` name.
pub(crate) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    spare_the_inputs(args)?;
    if let Some(config) = &args.config {
        return trial::run(args, config);
    }
    let policy = Policy::new(args)?;
    let mut input = read(args, &policy)?;
    let run = engine::replay(&policy, &mut input)?;
    let tally = Tally::new(&input.records, &input.keys, policy.quotas.len());
    let replay = Replay { policy, input, run, tally };
    if args.json {
        output::print(&json::render(&replay)?)?;
    } else {
        output::print(&report::render(&replay, layout(args)))?;
    }
    draw(args, &replay.policy.title(), &replay.input.records, &replay.tally)
}

/// Draws the picture, if one is wanted.
fn draw(args: &ReplayArgs, title: &str, records: &[Record], tally: &Tally) -> Result<(), Failure> {
    let Some(path) = &args.svg else { return Ok(()) };
    std::fs::write(path, picture(title, records, tally)).map_err(|error| Failure::cannot_write(path, &error))?;
    if args.json { Ok(()) } else { output::print(&format!("\nThe timeline is in {}\n", path.display())) }
}

/// A picture must not be written over a file that is read.
fn spare_the_inputs(args: &ReplayArgs) -> Result<(), Failure> {
    let Some(picture) = args.svg.as_deref().and_then(|path| path.canonicalize().ok()) else { return Ok(()) };
    let is_picture = |file: &&PathBuf| file.canonicalize().is_ok_and(|file| file == picture);
    if let Some(file) = args.files.iter().find(is_picture) {
        return Err(Failure::Usage(format!("--svg would overwrite the log {}", file.display())));
    }
    match args.config.iter().chain(&args.against).find(is_picture) {
        Some(file) => Err(Failure::Usage(format!("--svg would overwrite the config file {}", file.display()))),
        None => Ok(()),
    }
}

fn read(args: &ReplayArgs, keep: &dyn Keep) -> Result<Input, Failure> {
    let reader = Reader::new(keep);
    if args.sample {
        return reader.one(Source::of_text("the sample", sample::log())?);
    }
    let is_input = |path: &&PathBuf| path.as_path() == Path::new("-");
    if args.files.iter().filter(is_input).count() > 1 {
        return Err(Failure::Usage("standard input (`-`) can be read only once".to_owned()));
    }
    if args.files.is_empty() { reader.files(&[PathBuf::from("-")]) } else { reader.files(&args.files) }
}

fn layout(args: &ReplayArgs) -> Layout {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let out = io::stdout();
    let width = match terminal_size::terminal_size_of(&out) {
        Some((terminal_size::Width(width), _)) => usize::from(width),
        None => WIDTH,
    };
    Layout {
        width: width.clamp(60, 200),
        // https://no-color.org: set and not empty.
        is_colored: out.is_terminal() && !is_dumb && !is_set("NO_COLOR"),
        top: args.top,
    }
}

fn picture(title: &str, records: &[Record], tally: &Tally) -> String {
    let totals = tally.totals;
    let mut subtitle = report::counted(totals.total(), "request");
    if let (Some(first), Some(last)) = (records.first(), records.last()) {
        let (first, last) = (timestamp(first.time), timestamp(last.time));
        let (first, last) = (report::moment(first), report::moment(last));
        subtitle.push_str(&if first == last { format!(" at {first}") } else { format!(" from {first} to {last}") });
    }
    let refused = output::percent(totals.refused, totals.total());
    let keys = report::counted(u64::try_from(tally.limited.len()).unwrap_or(u64::MAX), "key");
    subtitle.push_str(&format!(": {} refused ({refused}), {keys} limited", output::grouped(totals.refused)));
    svg::draw(&Timeline::new(records, svg::ROOM), title, &subtitle)
}
