//! The timeline as a picture: stacked bars that can be read on light and on dark paper.

use std::fmt::Write;

use super::axis;
use super::{Counts, Timeline};
use crate::values::output::{grouped, printable, shortened};

const WIDTH: u64 = 960;
const HEIGHT: u64 = 408;
const LEFT: u64 = 72;
const RIGHT: u64 = 24;
const TOP: u64 = 112;
const BOTTOM: u64 = 52;
const PLOT_WIDTH: u64 = WIDTH - LEFT - RIGHT;
const PLOT_HEIGHT: u64 = HEIGHT - TOP - BOTTOM;

/// With more bins a bar would be thinner than five pixels.
pub(crate) const ROOM: usize = 172;

/// Characters of the heading that fit above the plot.
const HEADING: usize = 76;

/// Coordinates are counted in hundredths of a pixel: whole numbers need no rounding rules.
const PX: u64 = 100;

/// Blue and a warm red stay apart for colour-blind eyes, too; amber lies between them.
const STYLE: &str = "\
    .paper { fill: #ffffff } .title { fill: #1f2328; font-size: 18px; font-weight: 600 }\n\
    .text { fill: #1f2328; font-size: 13px } .quiet { fill: #59636e; font-size: 12px }\n\
    .grid { stroke: #e4e8ec } .axis { stroke: #8b949e }\n\
    .allowed { fill: #4a86c8 } .delayed { fill: #e0a52e } .refused { fill: #d64545 }\n\
    @media (prefers-color-scheme: dark) {\n\
      .paper { fill: #14181d } .title, .text { fill: #e6edf3 } .quiet { fill: #9aa4af }\n\
      .grid { stroke: #2a313a } .axis { stroke: #6b7580 }\n\
      .allowed { fill: #5b9bd8 } .delayed { fill: #e3b341 } .refused { fill: #f0655f }\n\
    }";

/// A name, which is also the class in the style sheet, and what is counted under it.
type Series = (&'static str, fn(&Counts) -> u64);

/// From the bottom up.
const SERIES: [Series; 3] = [
    ("allowed", |counts| counts.allowed + counts.exempt),
    ("delayed", |counts| counts.delayed),
    ("refused", |counts| counts.refused),
];

/// Draws `timeline` under two lines of text.
pub(crate) fn draw(timeline: &Timeline, title: &str, subtitle: &str) -> String {
    let step = axis::count_step(timeline.peak(), 5);
    let top = step.saturating_mul(timeline.peak().div_ceil(step).max(1));
    let mut svg = String::new();
    // Writing into a `String` cannot fail.
    let heading = escaped(&shortened(title, HEADING));
    let _ = write_all(&mut svg, timeline, [&escaped(title), &heading, &escaped(subtitle)], step, top);
    svg
}

fn write_all(
    svg: &mut String,
    timeline: &Timeline,
    [title, heading, subtitle]: [&str; 3],
    step: u64,
    top: u64,
) -> std::fmt::Result {
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" role=\"img\" aria-labelledby=\"title description\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\">"
    )?;
    writeln!(svg, "  <title id=\"title\">{title}</title>\n  <desc id=\"description\">{subtitle}</desc>")?;
    writeln!(svg, "  <style>\n{STYLE}\n  </style>\n  <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>")?;
    writeln!(svg, "  <text class=\"title\" x=\"24\" y=\"36\">{heading}</text>")?;
    writeln!(svg, "  <text class=\"text\" x=\"24\" y=\"60\">{subtitle}</text>")?;
    writeln!(
        svg,
        "  <text class=\"quiet\" x=\"24\" y=\"92\">requests per {}, times in {}</text>",
        axis::length(timeline.step),
        escaped(&timeline.clock.name())
    )?;
    legend(svg, timeline)?;
    value_axis(svg, step, top)?;
    bars(svg, timeline, top)?;
    time_axis(svg, timeline)?;
    writeln!(svg, "</svg>")
}

/// Right-aligned above the plot; a series without a request is left out.
fn legend(svg: &mut String, timeline: &Timeline) -> std::fmt::Result {
    let mut right = WIDTH - RIGHT;
    for (name, of) in SERIES.into_iter().rev() {
        if name == "delayed" && timeline.bins.iter().all(|bin| of(bin) == 0) {
            continue;
        }
        let has_exempt = timeline.bins.iter().any(|bin| bin.exempt > 0);
        let label = if name == "allowed" && has_exempt { "allowed or exempt" } else { name };
        writeln!(svg, "  <text class=\"quiet\" x=\"{right}\" y=\"92\" text-anchor=\"end\">{label}</text>")?;
        // About seven pixels a letter; the square need not sit to the pixel.
        let square = right - 7 * u64::try_from(label.len()).unwrap_or(0) - 14;
        writeln!(svg, "  <rect class=\"{name}\" x=\"{square}\" y=\"82\" width=\"11\" height=\"11\" rx=\"2\"/>")?;
        right = square - 18;
    }
    Ok(())
}

fn value_axis(svg: &mut String, step: u64, top: u64) -> std::fmt::Result {
    let mut value = 0;
    while value <= top {
        let y = Pixels(height_of(top - value, top) + TOP * PX);
        let class = if value == 0 { "axis" } else { "grid" };
        let (right, text) = (WIDTH - RIGHT, grouped(value));
        writeln!(svg, "  <line class=\"{class}\" x1=\"{LEFT}\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\"/>")?;
        writeln!(
            svg,
            "  <text class=\"quiet\" x=\"{}\" y=\"{y}\" dy=\"4\" text-anchor=\"end\">{text}</text>",
            LEFT - 10
        )?;
        value = value.saturating_add(step);
    }
    Ok(())
}

fn bars(svg: &mut String, timeline: &Timeline, top: u64) -> std::fmt::Result {
    let bins = u64::try_from(timeline.bins.len()).unwrap_or(1);
    let slot = PLOT_WIDTH * PX / bins;
    // A sixth of air between bars, and no bar so wide that it looks like a wall.
    let width = (slot - slot / 6).min(48 * PX);
    for (bin, i) in timeline.bins.iter().zip(0..) {
        if bin.total() == 0 {
            continue;
        }
        let x = LEFT * PX + PLOT_WIDTH * PX * i / bins + (slot - width) / 2;
        let start = timeline.clock.moment(timeline.start + i * timeline.step);
        write!(svg, "  <g><title>{start}")?;
        for (name, of) in SERIES.into_iter().filter(|(_, of)| of(bin) > 0) {
            write!(svg, ", {} {name}", grouped(of(bin)))?;
        }
        write!(svg, "</title>")?;
        let mut below = 0;
        for (name, of) in SERIES.into_iter().filter(|(_, of)| of(bin) > 0) {
            let count = of(bin);
            let (low, high) = (height_of(below, top), height_of(below + count, top));
            // One refusal among thousands is still a line that can be seen.
            let height = (high - low).max(PX);
            let y = (TOP + PLOT_HEIGHT) * PX - low - height;
            let (x, y, width, height) = (Pixels(x), Pixels(y), Pixels(width), Pixels(height));
            write!(svg, "<rect class=\"{name}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>")?;
            below += count;
        }
        writeln!(svg, "</g>")?;
    }
    Ok(())
}

fn time_axis(svg: &mut String, timeline: &Timeline) -> std::fmt::Result {
    let y = TOP + PLOT_HEIGHT;
    let (start, span) = (timeline.start, timeline.end() - timeline.start);
    for tick in axis::times(start, timeline.end() - 1, 9, &timeline.clock) {
        let along = u128::from(tick.time - start) * u128::from(PLOT_WIDTH * PX) / u128::from(span.max(1));
        let x = Pixels(LEFT * PX + u64::try_from(along).unwrap_or(0));
        writeln!(svg, "  <line class=\"axis\" x1=\"{x}\" y1=\"{y}\" x2=\"{x}\" y2=\"{}\"/>", y + 5)?;
        let label = |svg: &mut String, text: &str, y: u64| {
            writeln!(svg, "  <text class=\"quiet\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{text}</text>")
        };
        label(svg, &tick.label, y + 20)?;
        if let Some(day) = &tick.day {
            label(svg, day, y + 36)?;
        }
    }
    Ok(())
}

/// The height of `count` in hundredths of a pixel when `top` fills the plot.
fn height_of(count: u64, top: u64) -> u64 {
    let height = u128::from(count) * u128::from(PLOT_HEIGHT * PX) / u128::from(top.max(1));
    u64::try_from(height).unwrap_or(u64::MAX)
}

/// Hundredths of a pixel, printed as pixels.
#[derive(Clone, Copy)]
struct Pixels(u64);

impl std::fmt::Display for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / PX, self.0 % PX)
    }
}

/// `text` for XML, which has no notation at all for control characters.
fn escaped(text: &str) -> String {
    printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
