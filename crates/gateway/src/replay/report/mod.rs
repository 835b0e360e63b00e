//! A finished replay, for people and for programs.

pub(super) mod json;
mod names;
pub(super) mod suggestion;
mod table;
pub(super) mod text;

use super::ingest::{FileCount, Input};
use super::simulate::difference::{Difference, Side};
use super::simulate::fields::RequestFields;
use super::simulate::keys::KeyTally;
use super::simulate::run::{Counted, Simulation};
use super::tally::Tally;
use super::timeline::Timelines;
use super::wall_clock::WallClock;
use crate::values::output::grouped;

/// What came of a log under one set of rules, counted.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) title: String,
    /// The name of the config file; nothing for the limits of the command line.
    pub(super) config: Option<String>,
    /// What the command line exempts.
    exempt: Vec<String>,
    pub(super) simulation: Simulation,
    pub(super) tally: Tally,
    pub(super) keys: KeyTally,
    pub(super) timelines: Timelines,
}

/// A second one, and what it would have done otherwise.
#[derive(Debug)]
pub(super) struct Against {
    pub(super) replay: Replay,
    pub(super) difference: Difference,
}

/// How a report is laid out.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Characters in a line.
    pub(super) width: usize,
    pub(super) is_colored: bool,
    /// Keys and minutes listed.
    pub(super) top: usize,
    pub(super) clock: WallClock,
}

impl Replay {
    pub(super) fn new(
        title: String,
        config: Option<String>,
        exempt: Vec<String>,
        (simulation, counted): (Simulation, Counted),
        fields: &RequestFields,
        input: &Input,
    ) -> Self {
        let Counted { tally, keys, timelines } = counted;
        let keys = KeyTally::new(keys, &simulation, fields, input);
        Self { title, config, exempt, simulation, tally, keys, timelines }
    }

    pub(super) fn side(&self) -> Side<'_> {
        Side { simulation: &self.simulation, keys: &self.keys }
    }

    /// What it is called beside another.
    fn name(&self) -> &str {
        self.config.as_deref().unwrap_or(&self.title)
    }
}

fn sum(input: &Input, of: fn(&FileCount) -> u64) -> u64 {
    input.files.iter().map(of).sum()
}

/// `1 key`, `2 keys`.
pub(super) fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}
