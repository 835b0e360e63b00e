//! Which limit to choose: for people, for programs, and as a picture.

use std::fmt::{Result, Write};

use serde::Serialize;

use super::super::ingest::Input;
use super::super::suggest::{Choice, Goal, PERIODS, Period, SHARES, Suggestion};
use super::{Layout, counted};
use crate::values::failure::Failure;
use crate::values::output::{grouped, percent, printable, shortened, wrapped};

/// What is said of a key's busiest times: of a half of the keys, of nine in ten, and so on.
const COLUMNS: [&str; SHARES.len() + 1] = ["p50", "p90", "p99", "p99.9", "most"];

impl Suggestion {
    fn goal(&self) -> String {
        match self.goal {
            Goal::Keys(keys) => format!("at most {} hit ({})", counted(keys, "key"), percent(keys, self.keys)),
            Goal::Requests(requests) => {
                format!("at most {} refused ({})", counted(requests, "request"), percent(requests, self.requests))
            }
        }
    }
}

/// The report for people.
pub(crate) fn text(input: &Input, suggestion: &Suggestion, key: &str, layout: &Layout) -> String {
    let mut text = String::new();
    // Writing into a `String` cannot fail.
    let _ = write_all(&mut text, input, suggestion, key, layout);
    wrapped(&text, layout.width)
}

fn write_all(text: &mut String, input: &Input, suggestion: &Suggestion, key: &str, layout: &Layout) -> Result {
    let title = format!("Which limit for each {}: {}", printable(key), suggestion.goal());
    writeln!(text, "{}", super::text::bold(&title, layout))?;
    super::text::what_was_read(text, input, &layout.clock)?;
    let (keys, requests) = (counted(suggestion.keys, "key"), counted(suggestion.requests, "request"));
    writeln!(text, "  {keys} with {requests} that are not exempt")?;
    super::text::clients(text, input)?;

    writeln!(text, "\n{}", super::text::bold("The most requests of a key in any such time", layout))?;
    write!(text, "  {:<8}", "in any")?;
    COLUMNS.iter().try_for_each(|column| write!(text, "  {column:>10}"))?;
    writeln!(text)?;
    for Period { name, peaks, .. } in &suggestion.periods {
        write!(text, "  {name:<8}")?;
        peaks.iter().try_for_each(|peak| write!(text, "  {:>10}", grouped(*peak)))?;
        writeln!(text)?;
    }

    writeln!(
        text,
        "\n{}",
        super::text::bold(&format!("The smallest limits with {}, replayed", suggestion.goal()), layout)
    )?;
    for (name, choice) in [("token-bucket", bucket as fn(&Period) -> &Choice), ("fixed-window", window)] {
        let rates = suggestion.periods.iter().map(|period| format!("{:#}", choice(period).quota).len());
        // Behind the longest that is possible the counts would be beyond the edge.
        let width = rates.max().unwrap_or(0).clamp(22, 32);
        let head = format!("  {name:<0$}  {1:>10}  {2:>7}  {3:>12}", width + 2, "keys hit", "", "refused");
        writeln!(text, "{head}")?;
        for period in &suggestion.periods {
            let Choice { quota, refused, keys_hit } = choice(period);
            let (hit, of_keys) = (grouped(*keys_hit), percent(*keys_hit, suggestion.keys));
            let (refused, of_requests) = (grouped(*refused), percent(*refused, suggestion.requests));
            let rate = format!("{quota:#}");
            writeln!(text, "    {rate:<width$}  {hit:>10}  {of_keys:>7}  {refused:>12}  {of_requests:>7}")?;
        }
    }

    writeln!(text, "\n{}", super::text::bold("Keys hit by a token bucket of so many requests", layout))?;
    write!(text, "  {:<8}", "in")?;
    PERIODS.iter().try_for_each(|(_, name)| write!(text, "  {name:>9}"))?;
    writeln!(text)?;
    for count in counts(suggestion) {
        write!(text, "  {:<8}", grouped(count))?;
        for period in &suggestion.periods {
            let hit = period.hit_by(count);
            write!(text, "  {:>9}", if hit == 0 { "-".to_owned() } else { grouped(hit) })?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn bucket(period: &Period) -> &Choice {
    &period.token_bucket
}

fn window(period: &Period) -> &Choice {
    &period.fixed_window
}

/// Round counts, up to the first that hits nobody in any period.
fn counts(suggestion: &Suggestion) -> Vec<u64> {
    let most = suggestion.periods.iter().map(Period::most).max().unwrap_or(1);
    let mut counts = Vec::new();
    let mut unit = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            let count = unit.saturating_mul(factor);
            counts.push(count);
            if count >= most {
                return counts;
            }
        }
        unit = unit.saturating_mul(10);
    }
}

#[derive(Serialize)]
struct Document<'s> {
    schema: u32,
    key: &'s str,
    goal: GoalPart,
    keys: u64,
    requests: u64,
    periods: Vec<PeriodPart>,
}

#[derive(Serialize)]
struct GoalPart {
    most_keys: Option<u64>,
    most_refused: Option<u64>,
}

#[derive(Serialize)]
struct PeriodPart {
    seconds: u64,
    peak_p50: u64,
    peak_p90: u64,
    peak_p99: u64,
    #[serde(rename = "peak_p99.9")]
    peak_p999: u64,
    peak: u64,
    token_bucket: ChoicePart,
    fixed_window: ChoicePart,
    /// Keys that a token bucket of that count hits.
    keys_hit_by: Vec<(u64, u64)>,
}

#[derive(Serialize)]
struct ChoicePart {
    limit: String,
    count: u64,
    keys_hit: u64,
    refused: u64,
}

/// The same for programs.
pub(crate) fn json(suggestion: &Suggestion, key: &str) -> std::result::Result<String, Failure> {
    let choice = |Choice { quota, refused, keys_hit }: &Choice| ChoicePart {
        limit: format!("{quota:#}"),
        count: quota.count(),
        keys_hit: *keys_hit,
        refused: *refused,
    };
    let counts = counts(suggestion);
    let period = |period: &Period| {
        let [peak_p50, peak_p90, peak_p99, peak_p999, peak] = period.peaks;
        PeriodPart {
            seconds: period.seconds,
            peak_p50,
            peak_p90,
            peak_p99,
            peak_p999,
            peak,
            token_bucket: choice(&period.token_bucket),
            fixed_window: choice(&period.fixed_window),
            keys_hit_by: counts.iter().map(|&count| (count, period.hit_by(count))).collect(),
        }
    };
    let (most_keys, most_refused) = match suggestion.goal {
        Goal::Keys(keys) => (Some(keys), None),
        Goal::Requests(requests) => (None, Some(requests)),
    };
    let document = Document {
        schema: 1,
        key,
        goal: GoalPart { most_keys, most_refused },
        keys: suggestion.keys,
        requests: suggestion.requests,
        periods: suggestion.periods.iter().map(period).collect(),
    };
    let mut text = serde_json::to_string_pretty(&document)
        .map_err(|error| Failure::Other(format!("cannot write the result as JSON: {error}")))?;
    text.push('\n');
    Ok(text)
}

const WIDTH: u32 = 960;
const HEIGHT: u32 = 480;
const LEFT: u32 = 88;
const RIGHT: u32 = 120;
const TOP: u32 = 84;
const BOTTOM: u32 = 60;

/// Six shades that stay apart on light and on dark paper.
const LINES: [&str; 6] = ["#8a5fbf", "#4a86c8", "#2a9d8f", "#8a9a3b", "#e0a52e", "#d64545"];

/// The picture: how many keys a token bucket hits, by its count, a line for each period; both axes in powers of ten.
pub(crate) fn picture(suggestion: &Suggestion, key: &str) -> String {
    let mut svg = String::new();
    // Writing into a `String` cannot fail.
    let _ = draw(&mut svg, suggestion, key);
    svg
}

fn draw(svg: &mut String, suggestion: &Suggestion, key: &str) -> Result {
    let most = suggestion.periods.iter().map(Period::most).max().unwrap_or(1);
    let (columns, rows) = (powers(most), powers(suggestion.keys));
    let title = shortened(&printable(key), 60)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;");
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\" aria-labelledby=\"title\" font-family=\"system-ui, sans-serif\" font-size=\"12\">"
    )?;
    writeln!(svg, "  <title id=\"title\">Keys hit by a limit for each {title}</title>")?;
    writeln!(
        svg,
        "  <style>.paper {{ fill: #ffffff }} text {{ fill: #59636e }} .title {{ fill: #1f2328; font-size: 18px }} .grid {{ stroke: \
         #e4e8ec }}\n    @media (prefers-color-scheme: dark) {{ .paper {{ fill: #14181d }} text {{ fill: #9aa4af }} .title {{ fill: \
         #e6edf3 }} .grid {{ stroke: #2a313a }} }}</style>"
    )?;
    writeln!(svg, "  <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>")?;
    writeln!(svg, "  <text class=\"title\" x=\"24\" y=\"36\">Keys hit by a limit for each {title}</text>")?;
    writeln!(
        svg,
        "  <text x=\"24\" y=\"58\">keys (upwards) that a token bucket of so many requests (to the right) refuses at least once</text>"
    )?;
    let (right, bottom) = (f64::from(WIDTH - RIGHT), f64::from(HEIGHT - BOTTOM));
    let x = |count: u64| f64::from(LEFT) + (right - f64::from(LEFT)) * logarithm(count) / f64::from(columns);
    let y = |keys: u64| bottom - (bottom - f64::from(TOP)) * logarithm(keys) / f64::from(rows);
    for power in 0..=columns {
        let (at, count) = (x(10_u64.saturating_pow(power)), grouped(10_u64.saturating_pow(power)));
        writeln!(svg, "  <line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>")?;
        writeln!(svg, "  <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{count}</text>", bottom + 20.0)?;
    }
    for power in 0..=rows {
        let (at, keys) = (y(10_u64.saturating_pow(power)), grouped(10_u64.saturating_pow(power)));
        writeln!(svg, "  <line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>")?;
        writeln!(svg, "  <text x=\"{}\" y=\"{at:.1}\" dy=\"4\" text-anchor=\"end\">{keys}</text>", LEFT - 10)?;
    }
    for ((period, color), row) in suggestion.periods.iter().zip(LINES).zip(0_u32..) {
        write!(svg, "  <polyline fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" points=\"")?;
        for (count, hit) in steps(period) {
            write!(svg, "{:.1},{:.1} ", x(count), y(hit))?;
        }
        writeln!(svg, "\"/>")?;
        let at = TOP + 8 + row * 20;
        writeln!(
            svg,
            "  <rect x=\"{}\" y=\"{}\" width=\"11\" height=\"11\" rx=\"2\" fill=\"{color}\"/>",
            right + 16.0,
            at
        )?;
        writeln!(svg, "  <text x=\"{}\" y=\"{}\">in {}</text>", right + 34.0, at + 10, period.name)?;
    }
    writeln!(svg, "</svg>")
}

/// The corners of a period's line: about forty for each power of ten.
fn steps(period: &Period) -> Vec<(u64, u64)> {
    let mut steps = Vec::new();
    let mut count = 1_u64;
    loop {
        let hit = period.hit_by(count);
        if hit == 0 {
            // The line ends on the axis, where nobody is hit.
            steps.push((count, 1));
            return steps;
        }
        steps.push((count, hit));
        count = (count + count / 16).max(count + 1);
    }
}

/// The smallest power of ten that is not less.
fn powers(number: u64) -> u32 {
    let floor = number.checked_ilog10().unwrap_or(0);
    (if 10_u64.saturating_pow(floor) >= number { floor } else { floor + 1 }).max(1)
}

/// Of ten. More than four billion of anything are drawn as that many.
fn logarithm(number: u64) -> f64 {
    f64::from(u32::try_from(number.max(1)).unwrap_or(u32::MAX)).log10()
}
