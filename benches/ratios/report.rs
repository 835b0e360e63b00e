//! The table: one line for each workload and peer, as soon as it is known.

use std::collections::HashMap;
use std::fmt;

use crate::common::paired::{Spread, Times};

/// `1 k keys`.
pub fn keys(keys: u64) -> String {
    match keys {
        1_000_000.. => format!("{} M keys", keys / 1_000_000),
        _ => format!("{} k keys", keys / 1_000),
    }
}

/// What a line has to reach.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    None,
    /// The peer takes at least so many times as long.
    Ratio(f64),
    /// Ours takes at most so many times as long.
    TimesThePeer(f64),
    /// Our figure is at most this.
    Most(f64),
}

impl Goal {
    fn met(self, ours: f64, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::None => None,
            Self::Ratio(least) => ratio.map(|ratio| ratio >= least),
            Self::TimesThePeer(most) => ratio.map(|ratio| ratio * most >= 1.0),
            Self::Most(most) => Some(ours <= most),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("-"),
            Self::Ratio(least) => write!(f, ">= {least:.2}"),
            Self::TimesThePeer(most) => write!(f, ">= {:.2}", 1.0 / most),
            Self::Most(most) => write!(f, "ours <= {most:.0}"),
        }
    }
}

/// One line.
pub struct Row<'a> {
    pub workload: &'a str,
    pub unit: &'static str,
    pub ours: f64,
    /// Whom it is compared with, his figure, and the ratio.
    pub peer: Option<(&'a str, f64, Spread)>,
    pub goal: Goal,
    pub note: &'a str,
}

pub struct Report {
    tsv: bool,
    /// The ratios so far, for goals that refer to another line.
    ratios: HashMap<(String, String), f64>,
    goals: usize,
    missed: Vec<String>,
    /// Whether the machine spoiled the race that the next lines tell of.
    doubtful: bool,
}

impl Report {
    pub fn new(tsv: bool) -> Self {
        if tsv {
            println!("workload\tours\tpeer\ttheirs\tratio\tratio_q1\tratio_q3\tgoal\tmet\tunit\tnote");
        } else {
            println!(
                "{:<40} {:>10} {:<22} {:>10} {:>7} {:>15} {:>13} {:<4} note",
                "workload", "ours", "peer", "theirs", "ratio", "middle half", "goal", "met"
            );
        }
        Self { tsv, ratios: HashMap::new(), goals: 0, missed: Vec::new(), doubtful: false }
    }

    /// A line of a race: who ran, beside whom.
    pub fn row(&mut self, times: &Times, workload: &str, ours: &str, peer: &str, goal: Goal, note: &str) {
        let peer = Some((peer, times.of(peer).median, times.ratio(ours, peer)));
        self.line(&Row { workload, unit: "ns", ours: times.of(ours).median, peer, goal, note });
    }

    /// A line for one that is compared with nobody.
    pub fn alone(&mut self, times: &Times, workload: &str, who: &str, note: &str) {
        self.line(&Row { workload, unit: "ns", ours: times.of(who).median, peer: None, goal: Goal::None, note });
    }

    /// How many percent of the slices of a race were disturbed. If too many, its goals are neither met nor missed.
    pub fn disturbed(&mut self, percent: u64) {
        self.doubtful = percent > 25;
        if percent > 0 {
            eprintln!("         other work disturbed {percent} % of the slices of several threads");
        }
    }

    /// The ratio of a line before.
    pub fn ratio(&self, workload: &str, peer: &str) -> Option<f64> {
        self.ratios.get(&(workload.to_owned(), peer.to_owned())).copied()
    }

    pub fn line(&mut self, row: &Row<'_>) {
        let Row { workload, unit, ours, goal, note, .. } = *row;
        let ratio = row.peer.map(|(_, _, ratio)| ratio.median);
        let met = goal.met(ours, ratio);
        let doubtful = self.doubtful && met.is_some();
        let met = if doubtful { None } else { met };
        if let Some(met) = met {
            self.goals += 1;
            if !met {
                self.missed.push(format!("{workload}, {}", row.peer.map_or("by itself", |(peer, ..)| peer)));
            }
        }
        let met = met.map_or(if doubtful { "?" } else { "-" }, |met| if met { "yes" } else { "NO" });
        let goal = goal.to_string();
        if let Some((peer, _, ratio)) = row.peer {
            self.ratios.insert((workload.to_owned(), peer.to_owned()), ratio.median);
        }
        if self.tsv {
            let (peer, theirs, ratio) =
                row.peer.map_or(("-", "-".into(), "-\t-\t-".into()), |(peer, theirs, ratio)| {
                    (peer, format!("{theirs:.2}"), format!("{:.3}\t{:.3}\t{:.3}", ratio.median, ratio.low, ratio.high))
                });
            println!("{workload}\t{ours:.2}\t{peer}\t{theirs}\t{ratio}\t{goal}\t{met}\t{unit}\t{note}");
        } else {
            let (peer, theirs, ratio, half) =
                row.peer.map_or(("-", "-".into(), "-".into(), "-".into()), |(peer, theirs, ratio)| {
                    let half = format!("{:.2} to {:.2}", ratio.low, ratio.high);
                    (peer, format!("{theirs:.1} {unit}"), format!("{:.2}", ratio.median), half)
                });
            let ours = format!("{ours:.1} {unit}");
            println!(
                "{workload:<40} {ours:>10} {peer:<22} {theirs:>10} {ratio:>7} {half:>15} {goal:>13} {met:<4} {note}"
            );
        }
    }

    /// How many goals were met; on standard error, for people.
    pub fn end(&self) {
        eprintln!("{} of {} goals met", self.goals - self.missed.len(), self.goals);
        self.missed.iter().for_each(|missed| eprintln!("not met: {missed}"));
    }
}
