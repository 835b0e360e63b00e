//! `tollgate replay`: logs through the limiter of the gateway, and what would have come of it.
//!
//! The steps, in this order: [`args`] become settings, [`ingest`] reads the [`log`] into [`record`]s, [`simulate`] puts
//! them to the limiter, [`tally`] counts, and [`report`] and the pictures of [`timeline`] show it.

mod args;
pub mod ingest;
pub mod interrupt;
pub mod log;
mod progress;
pub mod record;
mod report;
pub(crate) mod sample;
mod simulate;
mod suggest;
mod tally;
mod timeline;
mod wall_clock;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use tollgate_http::LimiterConfig;

pub(crate) use self::args::{NOTES, ReplayArgs};
use self::ingest::{Input, Keep, Reader};
use self::interrupt::Interrupt;
use self::log::source::Source;
use self::report::{Against, Layout, Replay};
use self::simulate::difference::Difference;
use self::simulate::fields::RequestFields;
use self::simulate::run::Plan;
use self::timeline::{Timeline, Timelines, svg, terminal};
use self::wall_clock::WallClock;
use crate::config;
use crate::values::failure::Failure;
use crate::values::output::{self, printable};

/// Where the width of the terminal is not known.
const WIDTH: usize = 80;

/// Replays what `args` name.
pub(crate) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    spare_the_inputs(args)?;
    if args.suggest {
        return self::suggest(args);
    }
    // On the log's clock, and never in the table of those who are in force now.
    let load = |path: &Path| config::load(path).map(|config| config.limits.private());
    let settings = match &args.config {
        Some(path) => load(path)?,
        None => args.settings()?,
    };
    let other = args.against.as_deref().map(|path| load(path).map(|settings| (path, settings))).transpose()?;
    let fields = RequestFields::of([&settings].into_iter().chain(other.iter().map(|(_, settings)| settings)));
    let input = read(args, &fields)?;
    let keeps_outcomes = other.is_some();
    let timelines = timelines(args, &input)?;
    let replay = replay(args.config.as_deref(), settings, &fields, &input, args, (timelines, keeps_outcomes))?;
    let against = match other {
        Some((path, settings)) => {
            let plan = (Timelines::default(), keeps_outcomes);
            let other = self::replay(Some(path), settings, &fields, &input, args, plan)?;
            let difference = Difference::new(replay.side(), other.side(), &input.records);
            Some(Against { replay: other, difference })
        }
        None => None,
    };
    if args.json {
        output::print(&report::json::render(&input, &replay, against.as_ref())?)?;
    } else {
        output::print(&report::text::render(&input, &replay, against.as_ref(), &layout(args)?))?;
    }
    draw(args, &input, &replay)?;
    match () {
        () if input.is_interrupted => Err(Failure::Interrupted),
        () if args.fail_if_refused && replay.tally.totals.refused > 0 => Err(Failure::Refused),
        () => Ok(()),
    }
}

/// Shows which limits would hit how many.
fn suggest(args: &ReplayArgs) -> Result<(), Failure> {
    let settings = |quota| args.settings_with(vec![quota]);
    let any = settings(tollgate::Quota::per_second(1))?;
    let fields = RequestFields::of(std::iter::once(&any));
    let input = read(args, &fields)?;
    let suggestion = suggest::suggest(&settings, &fields, &input, |keys, requests| args.goal(keys, requests))?;
    let key = args.key.to_string();
    if args.json {
        output::print(&report::suggestion::json(&suggestion, &key)?)?;
    } else {
        output::print(&report::suggestion::text(&input, &suggestion, &key, &layout(args)?))?;
    }
    if let Some(path) = &args.svg {
        let picture = report::suggestion::picture(&suggestion, &key);
        std::fs::write(path, picture).map_err(|error| Failure::cannot_write(path, &error))?;
    }
    if input.is_interrupted { Err(Failure::Interrupted) } else { Ok(()) }
}

/// The requests of `input` under `settings`, which the file at `path` says, or else the command line.
fn replay(
    path: Option<&Path>,
    settings: LimiterConfig,
    fields: &RequestFields,
    input: &Input,
    args: &ReplayArgs,
    (timelines, keeps_outcomes): (Timelines, bool),
) -> Result<Replay, Failure> {
    let config = path.map(|path| printable(&path.display().to_string()));
    let plan = Plan { has_own_capacity: args.capacity_from_config, keeps_outcomes, timelines };
    let (simulation, counted) =
        simulate::run::simulate(settings, fields, input, plan).map_err(|failure| match (failure, &config) {
            (Failure::Usage(text), Some(config)) => Failure::Usage(format!("{config}: {text}")),
            (other, _) => other,
        })?;
    let title = match (&config, &*simulation.policies) {
        (None, _) => args.title(),
        (Some(config), [one]) => format!("{config}: policy {}", one.name),
        (Some(config), several) => format!("{config}: {} policies", several.len()),
    };
    let exempt = args.exempt.iter().map(|exemption| printable(&exemption.to_string())).collect();
    Ok(Replay::new(title, config, exempt, (simulation, counted), fields, input))
}

/// What is drawn of `input`.
fn timelines(args: &ReplayArgs, input: &Input) -> Result<Timelines, Failure> {
    let (Some(first), Some(last)) = (input.records.first(), input.records.last()) else {
        return Ok(Timelines::default());
    };
    let timeline = |bins: usize, clock: &WallClock| Timeline::new((first, last), bins, clock);
    let (layout, clock) = (layout(args)?, args.clock()?);
    Ok(Timelines {
        terminal: (!args.json).then(|| timeline(terminal::room(layout.width), &layout.clock)),
        svg: args.svg.is_some().then(|| timeline(svg::ROOM, &clock)),
    })
}

/// Draws the picture, if one is wanted.
fn draw(args: &ReplayArgs, input: &Input, replay: &Replay) -> Result<(), Failure> {
    let Some(path) = &args.svg else { return Ok(()) };
    let Some(timeline) = &replay.timelines.svg else { return Ok(()) };
    std::fs::write(path, picture(input, replay, timeline)).map_err(|error| Failure::cannot_write(path, &error))?;
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
    let wanted = args.wanted()?;
    let interrupt = if args.sample { Interrupt::never() } else { Interrupt::heed() };
    let reader = Reader::new(keep, &wanted, &interrupt);
    let input = read_with(args, reader)?;
    interrupt.reading_is_over();
    Ok(input)
}

fn read_with(args: &ReplayArgs, reader: Reader<'_>) -> Result<Input, Failure> {
    if args.sample {
        return reader.one(Source::of_text("the sample", sample::log())?);
    }
    let is_input = |path: &&PathBuf| path.as_path() == Path::new("-");
    if args.files.iter().filter(is_input).count() > 1 {
        return Err(Failure::Usage("standard input (`-`) can be read only once".to_owned()));
    }
    if args.files.is_empty() { reader.files(&[PathBuf::from("-")]) } else { reader.files(&args.files) }
}

fn layout(args: &ReplayArgs) -> Result<Layout, Failure> {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let out = io::stdout();
    let width = match terminal_size::terminal_size_of(&out) {
        Some((terminal_size::Width(width), _)) => usize::from(width),
        None => WIDTH,
    };
    Ok(Layout {
        width: width.clamp(60, 200),
        // https://no-color.org: set and not empty.
        is_colored: out.is_terminal() && !is_dumb && !is_set("NO_COLOR"),
        top: args.top,
        clock: args.clock()?,
    })
}

fn picture(input: &Input, replay: &Replay, timeline: &Timeline) -> String {
    let (records, totals, clock) = (&input.records, replay.tally.totals, &timeline.clock);
    let mut subtitle = report::counted(totals.total(), "request");
    if let (Some(first), Some(last)) = (records.first(), records.last()) {
        let (first, last) = (clock.moment(first), clock.moment(last));
        subtitle.push_str(&if first == last { format!(" at {first}") } else { format!(" from {first} to {last}") });
    }
    let refused = output::percent(totals.refused, totals.total());
    let keys = report::counted(u64::try_from(replay.keys.limited.len()).unwrap_or(u64::MAX), "key");
    subtitle.push_str(&format!(": {} refused ({refused}), {keys} limited", output::grouped(totals.refused)));
    svg::draw(timeline, &replay.title, &subtitle)
}
