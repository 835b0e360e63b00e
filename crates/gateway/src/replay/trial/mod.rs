//! `tollgate replay --config`: the log through the very limiter that the gateway would use.
//!
//! [`asked`] keeps of each request what the policies can ask for, [`meetings`] finds out who each request is to each
//! policy, [`play`] puts them to the limiter, [`outcome`] counts, and [`difference`] compares two files. The rest is
//! shared with the replay of `--limit`.

mod asked;
mod difference;
mod json;
mod meetings;
mod outcome;
mod play;
mod report;

use std::path::Path;

use tollgate_http::LimiterConfig;

use self::asked::Asked;
use self::difference::Difference;
use self::play::Played;
use super::args::ReplayArgs;
use super::ingest::Input;
use crate::config;
use crate::values::failure::Failure;
use crate::values::output::{self, printable};

/// A config file, tried.
struct Trial {
    /// Of the file.
    name: String,
    played: Played,
}

/// A second one, and what it would have done otherwise.
struct Against {
    trial: Trial,
    difference: Difference,
}

/// Replays what `args` name under the policies of `config`.
pub(super) fn run(args: &ReplayArgs, config: &Path) -> Result<(), Failure> {
    let load = |path| config::load(path).map(|config| config.limits);
    let settings = load(config)?;
    let other = args.against.as_deref().map(|path| load(path).map(|settings| (path, settings))).transpose()?;
    let asked = Asked::by([&settings].into_iter().chain(other.iter().map(|(_, settings)| settings)));
    let input = super::read(args, &asked)?;
    let trial = |path: &Path, settings| trial(path, settings, &asked, &input, args.capacity_from_config);
    let tried = trial(config, settings)?;
    let against = match other {
        Some((path, settings)) => {
            let other = trial(path, settings)?;
            let difference = Difference::new(&tried.played, &other.played);
            Some(Against { trial: other, difference })
        }
        None => None,
    };
    if args.json {
        output::print(&json::render(&input, &tried, against.as_ref())?)?;
    } else {
        output::print(&report::render(&input, &tried, against.as_ref(), super::layout(args)))?;
    }
    super::draw(args, &tried.title(), &tried.played.records, &tried.played.outcome.tally)
}

fn trial(
    path: &Path,
    settings: LimiterConfig,
    asked: &Asked,
    input: &Input,
    has_own_capacity: bool,
) -> Result<Trial, Failure> {
    let name = printable(&path.display().to_string());
    let played = play::play(settings, asked, input, has_own_capacity).map_err(|failure| match failure {
        Failure::Usage(text) => Failure::Usage(format!("{name}: {text}")),
        other => other,
    })?;
    Ok(Trial { name, played })
}

impl Trial {
    fn title(&self) -> String {
        match &*self.played.views {
            [one] => format!("{}: policy {}", self.name, one.name),
            views => format!("{}: {} policies", self.name, views.len()),
        }
    }
}
