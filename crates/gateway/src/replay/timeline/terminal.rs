//! The timeline as text: columns of blocks, what passed at the bottom and what was refused on top.

use super::axis::{self, Tick};
use super::{Counts, Timeline};
use crate::values::output::grouped;

/// Steps of an eighth of a cell, from the bottom.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What was refused, where there is no colour to tell it from what passed.
const HATCH: char = '░';

const PASSED: &str = "36";
const REFUSED: &str = "31";
const REFUSED_BEHIND_PASSED: &str = "36;41";

/// Bins wider than this look like a wall.
const WIDEST_BIN: usize = 4;

/// How many bins fit when lines have `width` characters.
pub(crate) fn room(width: usize) -> usize {
    width.saturating_sub(12).max(16)
}

/// Draws `timeline` in lines of at most `width` characters.
pub(crate) fn draw(timeline: &Timeline, width: usize, is_colored: bool) -> String {
    let scale = Scale::new(timeline.peak());
    let gutter = grouped(scale.top).len() + 2;
    let column = (width.saturating_sub(gutter + 2) / timeline.bins.len()).clamp(1, WIDEST_BIN);
    let mut text = legend(timeline, is_colored);
    for row in (0..scale.rows).rev() {
        // A number stands at the height that it means: the upper edge of its row.
        let label = scale.label(row + 1).map(grouped).unwrap_or_default();
        let mut line = Line::new(is_colored);
        for bin in &timeline.bins {
            let (style, block) = if is_colored { colored(bin, &scale, row) } else { ("", hatched(bin, &scale, row)) };
            for _ in 0..column {
                line.push(style, block);
            }
        }
        let edge = if label.is_empty() { '│' } else { '┤' };
        text.push_str(&format!("{label:>gutter$} {edge}{}\n", line.finish()));
    }
    text.push_str(&time_axis(timeline, gutter, column, width));
    text
}

fn legend(timeline: &Timeline, is_colored: bool) -> String {
    let paint = |style: &str, text: String| if is_colored { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text };
    let refused = if is_colored { '█' } else { HATCH };
    format!(
        "  requests per {} ({})   {} passed  {} refused\n",
        axis::length(timeline.step),
        timeline.clock.name(),
        paint(PASSED, '█'.to_string()),
        paint(REFUSED, refused.to_string()),
    )
}

/// How requests become rows.
struct Scale {
    top: u64,
    step: u64,
    rows: u64,
    rows_per_step: u64,
}

impl Scale {
    /// As many rows as put every number of the axis at the edge of one.
    fn new(peak: u64) -> Self {
        let step = axis::count_step(peak, 4);
        let steps = peak.div_ceil(step).max(1);
        let rows_per_step = [8, 4, 3, 2][usize::try_from(steps - 1).unwrap_or(3).min(3)];
        Self { top: step.saturating_mul(steps), step, rows: rows_per_step * steps, rows_per_step }
    }

    fn label(&self, edge: u64) -> Option<u64> {
        edge.is_multiple_of(self.rows_per_step).then(|| edge / self.rows_per_step * self.step)
    }

    /// The height of `count` in eighths of a row; something is never nothing.
    fn eighths(&self, count: u64) -> u64 {
        let exact = u128::from(count) * u128::from(self.rows) * 8;
        let rounded = (exact + u128::from(self.top) / 2) / u128::from(self.top);
        u64::try_from(rounded).unwrap_or(u64::MAX).max(u64::from(count > 0))
    }
}

/// One cell of a bar with colours: its style and its block.
fn colored(bin: &Counts, scale: &Scale, row: u64) -> (&'static str, char) {
    let refused = u64::from(bin.refused > 0);
    let passed = scale.eighths(bin.passed()).min(scale.rows * 8 - refused);
    let total = scale.eighths(bin.total()).max(passed + refused);
    let here = |height: u64| usize::try_from(height.saturating_sub(row * 8)).unwrap_or(8).min(8);
    match (here(passed), here(total)) {
        (_, 0) => ("", ' '),
        (passed, total) if passed == total => (PASSED, BLOCKS[total]),
        (0, total) => (REFUSED, BLOCKS[total]),
        (passed, 8) => (REFUSED_BEHIND_PASSED, BLOCKS[passed]),
        // Three colours do not fit into a cell: what was refused wins, except over all there is that passed.
        (passed, total) => (if row == 0 && passed * 2 > total { PASSED } else { REFUSED }, BLOCKS[total]),
    }
}

/// One cell of a bar without colours. A hatch fills its whole cell, so a bar with refusals has whole cells only, and
/// at least one of them is hatched.
fn hatched(bin: &Counts, scale: &Scale, row: u64) -> char {
    let passed = scale.eighths(bin.passed());
    if bin.refused == 0 {
        return BLOCKS[usize::try_from(passed.saturating_sub(row * 8)).unwrap_or(8).min(8)];
    }
    let rounded = |eighths: u64| (eighths + 4) / 8;
    let passed = rounded(passed).max(u64::from(bin.passed() > 0)).min(scale.rows - 1);
    let total = rounded(scale.eighths(bin.total())).clamp(passed + 1, scale.rows);
    match row {
        row if row < passed => '█',
        row if row < total => HATCH,
        _ => ' ',
    }
}

/// A line of cells that changes its colour only where it must.
struct Line {
    text: String,
    style: &'static str,
    is_colored: bool,
}

impl Line {
    fn new(is_colored: bool) -> Self {
        Self { text: String::new(), style: "", is_colored }
    }

    fn push(&mut self, style: &'static str, block: char) {
        if self.is_colored && style != self.style {
            let codes = if style.is_empty() { "0".to_owned() } else { format!("0;{style}") };
            self.text.push_str(&format!("\u{1b}[{codes}m"));
            self.style = style;
        }
        self.text.push(block);
    }

    fn finish(mut self) -> String {
        if self.style.is_empty() {
            return self.text.trim_end().to_owned();
        }
        self.text.push_str("\u{1b}[0m");
        self.text
    }
}

/// The line under the bars, the times under that, and the days under the times.
fn time_axis(timeline: &Timeline, gutter: usize, column: usize, width: usize) -> String {
    let plot = timeline.bins.len() * column;
    let ticks = axis::times(timeline.start, timeline.end() - 1, (plot / 12).clamp(1, 12), &timeline.clock);
    let place = |tick: &Tick| {
        let bin = usize::try_from((tick.time - timeline.start) / timeline.step).unwrap_or(0);
        bin * column
    };
    let mut rule = vec!['─'; plot];
    for tick in &ticks {
        rule[place(tick).min(plot - 1)] = '┬';
    }
    let rule: String = rule.into_iter().collect();
    let room = width.saturating_sub(gutter + 2);
    let labels = words(ticks.iter().map(|tick| (place(tick), tick.label.as_str())), room);
    let days = words(ticks.iter().filter_map(|tick| tick.day.as_deref().map(|day| (place(tick), day))), room);
    let mut text = format!("{:>gutter$} └{rule}\n", 0);
    for line in [labels, days] {
        if !line.is_empty() {
            text.push_str(&format!("{:gutter$}  {line}\n", ""));
        }
    }
    text
}

/// Each word at its place, or as near as there is `room` for; one that would touch the word before it is left out.
fn words<'t>(placed: impl Iterator<Item = (usize, &'t str)>, room: usize) -> String {
    let mut line = String::new();
    for (place, word) in placed {
        let place = place.min(room.saturating_sub(word.len()));
        let end = line.chars().count();
        if end == 0 || place > end {
            line.extend(std::iter::repeat_n(' ', place - end));
            line.push_str(word);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::{SECOND, WallClock};
    use super::*;

    fn timeline(bins: &[(u64, u64)]) -> Timeline {
        let bins = bins.iter().map(|&(allowed, refused)| Counts { allowed, refused, ..Counts::default() }).collect();
        Timeline { start: 1_431_856_800 * SECOND, step: 60 * SECOND, bins, clock: WallClock::utc() }
    }

    #[test]
    fn heights_are_to_scale() {
        let drawn = draw(&timeline(&[(8, 0), (4, 4), (0, 8), (1, 0), (0, 0), (4, 0)]), 80, false);
        let expected = "  requests per minute (UTC)   █ passed  ░ refused
  8 ┤████░░░░░░░░
    │████░░░░░░░░
  6 ┤████░░░░░░░░
    │████░░░░░░░░
  4 ┤████████░░░░        ████
    │████████░░░░        ████
  2 ┤████████░░░░        ████
    │████████░░░░████    ████
  0 └┬───────────────────┬───
     10:00               10:05
     17 May 2015
";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn a_single_refusal_is_seen_among_thousands() {
        let timeline = timeline(&[(100_000, 0), (99_999, 1), (0, 1), (1, 1)]);
        let plain = draw(&timeline, 80, false);
        assert!(plain.lines().any(|line| line.contains("████░░░░")), "{plain}");
        let colored = draw(&timeline, 80, true);
        assert!(colored.contains("36;41m") && colored.contains("31m▁"), "{colored}");
    }

    #[test]
    fn lines_fit() {
        for (count, step) in (1..=68).flat_map(|count| [1, 60, 3_600, 86_400, 7_257_600].map(|step| (count, step))) {
            let bins: Vec<(u64, u64)> = (0..count).map(|i| (i * 1_000, i)).collect();
            let timeline = Timeline { step: step * SECOND, ..timeline(&bins) };
            for line in draw(&timeline, 80, false).lines() {
                assert!(line.chars().count() <= 80, "{count} {step}: {line}");
            }
        }
    }
}
