//! The report for people: what a policy would have done, the worst first.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::Replay;
use super::engine::Run;
use super::ingest::{Flaw, Input};
use super::intern::Keys;
use super::key::{MISSING, shown};
use super::log::time::timestamp;
use super::record::Record;
use super::tally::{Counts, Minute, Tally};
use super::timeline::{Timeline, terminal};
use crate::values::output::{grouped, percent, printable, shortened};

/// How a report is laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Characters in a line.
    pub(crate) width: usize,
    pub(crate) is_colored: bool,
    /// Keys and minutes listed.
    pub(crate) top: usize,
}

/// The whole report.
pub(crate) fn render(replay: &Replay, layout: Layout) -> String {
    let mut text = String::new();
    // Writing into a `String` cannot fail.
    let _ = write_all(&mut text, replay, layout);
    text
}

fn write_all(text: &mut String, replay: &Replay, layout: Layout) -> std::fmt::Result {
    let Replay { input, run, tally, .. } = replay;
    heading(text, replay, layout)?;
    what_was_read(text, input)?;
    outcomes(text, replay)?;
    over_time(text, &input.records, layout)?;
    limited_keys(text, replay, layout)?;
    worst_minutes(text, &input.records, &input.keys, tally, layout)?;
    all_flaws(text, input, layout)?;
    engine(text, run)
}

pub(super) fn over_time(text: &mut String, records: &[Record], layout: Layout) -> std::fmt::Result {
    let timeline = Timeline::new(records, terminal::room(layout.width));
    writeln!(text, "\n{}", bold("Over time", layout))?;
    text.push_str(&terminal::draw(&timeline, layout.width, layout.is_colored));
    Ok(())
}

pub(super) fn all_flaws(text: &mut String, input: &Input, layout: Layout) -> std::fmt::Result {
    flaws(text, "Lines that could not be read", &input.unreadable, sum(input, |file| file.unreadable), layout)?;
    flaws(text, "Lines kept although their end is odd", &input.odd, sum(input, |file| file.odd), layout)
}

fn heading(text: &mut String, replay: &Replay, layout: Layout) -> std::fmt::Result {
    let policy = &replay.policy;
    writeln!(text, "{}", bold(&policy.title(), layout))?;
    if !policy.exemptions.is_empty() {
        let exempt: Vec<String> = policy.exemptions.iter().map(|exemption| printable(&exemption.to_string())).collect();
        writeln!(text, "  exempt: {}", exempt.join(", "))?;
    }
    Ok(())
}

pub(super) fn what_was_read(text: &mut String, input: &Input) -> std::fmt::Result {
    let lines = sum(input, |file| file.lines);
    let from = match &*input.files {
        [file] => file.name.clone(),
        files => format!("{} files", files.len()),
    };
    let requests = sum(input, |file| file.requests);
    write!(text, "  {} in {from}: {}", counted(lines, "line"), counted(requests, "request"))?;
    for (count, what) in [(sum(input, |file| file.unreadable), "unreadable"), (sum(input, |file| file.blank), "blank")]
    {
        if count > 0 {
            write!(text, ", {} {what}", grouped(count))?;
        }
    }
    writeln!(text)?;
    for file in input.files.iter().filter(|file| file.requests == 0) {
        writeln!(text, "  {} is empty", file.name)?;
    }
    let (first, last) = (input.records.first(), input.records.last());
    if let (Some(first), Some(last)) = (first, last) {
        let (from, to) = (timestamp(first.time), timestamp(last.time));
        match Duration::from_nanos(last.time - first.time) {
            Duration::ZERO => writeln!(text, "  all at {} UTC", moment(from))?,
            span => writeln!(text, "  {} to {} UTC, {}", moment(from), moment(to), spell(span))?,
        }
    }
    if input.out_of_order > 0 {
        writeln!(text, "  {} earlier than a line before it: put in order", counted(input.out_of_order, "request"))?;
    }
    Ok(())
}

fn outcomes(text: &mut String, replay: &Replay) -> std::fmt::Result {
    let Replay { policy, input, run, tally } = replay;
    totals(text, tally.totals, run, !policy.exemptions.is_empty())?;
    let limited = u64::try_from(tally.limited.len()).unwrap_or(u64::MAX);
    let keys = u64::try_from(input.keys.len()).unwrap_or(u64::MAX);
    writeln!(text, "  {} of {} would be limited", grouped(limited), counted(keys, "key"))?;
    if input.without_key > 0 {
        let requests = counted(input.without_key, "request");
        writeln!(text, "  {requests} without a part of the key `{}`: counted under {MISSING}", policy.key)?;
    }
    if policy.quotas.len() > 1 {
        for (quota, &refused) in policy.quotas.iter().zip(&tally.by_limit) {
            writeln!(text, "  {:>21}  refused by {}", grouped(refused), policy.shown(quota))?;
        }
    }
    Ok(())
}

/// What became of all requests.
pub(super) fn totals(text: &mut String, totals: Counts, run: &Run, has_exempt: bool) -> std::fmt::Result {
    let all = totals.total();
    writeln!(text)?;
    let mut row = |name: &str, count: u64, note: &str| {
        let line = format!("  {name:<8} {:>12}  {:>7}{note}", grouped(count), percent(count, all));
        writeln!(text, "{}", line.trim_end())
    };
    row("allowed", totals.allowed, "")?;
    if totals.delayed > 0 {
        let mean = run.delays.total / u32::try_from(totals.delayed).unwrap_or(u32::MAX);
        let note = format!("   {} on average, {} at most", spell(mean), spell(run.delays.longest));
        row("delayed", totals.delayed, &note)?;
    }
    row("refused", totals.refused, "")?;
    if has_exempt {
        row("exempt", totals.exempt, "")?;
    }
    Ok(())
}

fn limited_keys(text: &mut String, replay: &Replay, layout: Layout) -> std::fmt::Result {
    let Replay { policy, input, tally, .. } = replay;
    if tally.limited.is_empty() {
        return writeln!(text, "\nNobody would be limited.");
    }
    if layout.top == 0 {
        return Ok(());
    }
    let listed = &tally.limited[..tally.limited.len().min(layout.top)];
    writeln!(text, "\n{}", bold("Who would be limited", layout))?;
    let keys: Vec<String> = listed.iter().map(|&id| printable(&shown(input.keys.text(id)))).collect();
    let limits: Vec<String> = policy.quotas.iter().map(|quota| policy.shown(quota)).collect();
    // One limit is in the heading already.
    let limit_width = if limits.len() > 1 { limits.iter().map(String::len).max().unwrap_or(0) + 2 } else { 0 };
    let longest = keys.iter().map(|key| key.chars().count()).max().unwrap_or(0).max("key".len());
    let width = longest.min(layout.width.saturating_sub(50 + limit_width).max(16));
    let by = if limit_width > 0 { "         by" } else { "" };
    writeln!(text, "  {:<width$}  {:>9}  {:>9}  {:>7}  first refused{by}", "key", "refused", "requests", "share")?;
    for (id, key) in listed.iter().zip(&keys) {
        let tally = &tally.by_key[id.index()];
        let Some((time, limit)) = tally.first_refused else { continue };
        let (refused, requests) = (tally.counts.refused, tally.counts.total());
        let by = if limit_width > 0 { format!("  {}", limits[usize::from(limit)]) } else { String::new() };
        let (share, first) = (percent(refused, requests), moment(timestamp(time)));
        let (key, refused, requests) = (shortened(key, width), grouped(refused), grouped(requests));
        writeln!(text, "  {key:<width$}  {refused:>9}  {requests:>9}  {share:>7}  {first}{by}")?;
    }
    more(text, tally.limited.len() - listed.len(), "more key")
}

pub(super) fn worst_minutes(
    text: &mut String,
    records: &[Record],
    keys: &Keys,
    tally: &Tally,
    layout: Layout,
) -> std::fmt::Result {
    let worst = tally.worst_minutes(layout.top);
    if worst.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", bold("Worst minutes", layout))?;
    writeln!(text, "  {:<17}  {:>9}  {:>9}  {:>5}  most refused", "minute", "refused", "requests", "keys")?;
    for minute in &worst {
        let Minute { start, counts, .. } = minute;
        let refused_keys = Tally::refused_in(minute, records);
        let most = refused_keys.first().map_or_else(String::new, |&(id, count)| {
            let key = printable(&shown(keys.text(id)));
            format!("{} ({})", shortened(&key, layout.width.saturating_sub(62).max(16)), grouped(count))
        });
        let time = timestamp(*start).strftime("%-d %b %Y %H:%M").to_string();
        let (refused, requests) = (grouped(counts.refused), grouped(counts.total()));
        writeln!(text, "  {time:<17}  {refused:>9}  {requests:>9}  {:>5}  {most}", refused_keys.len())?;
    }
    let all = tally.minutes.iter().filter(|minute| minute.counts.refused > 0).count();
    more(text, all - worst.len(), "more minute")
}

fn flaws(text: &mut String, title: &str, shown: &[Flaw], all: u64, layout: Layout) -> std::fmt::Result {
    if shown.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", bold(title, layout))?;
    for Flaw { file, line, reason, text: excerpt } in shown {
        writeln!(text, "  {file}:{line}: {reason}")?;
        if !excerpt.is_empty() {
            writeln!(text, "    {}", shortened(excerpt, layout.width.saturating_sub(4)))?;
        }
    }
    let listed = u64::try_from(shown.len()).unwrap_or(0);
    more(text, usize::try_from(all - listed).unwrap_or(usize::MAX), "more line")
}

pub(super) fn engine(text: &mut String, run: &Run) -> std::fmt::Result {
    let elapsed = if run.elapsed < Duration::from_millis(1) {
        format!("{} µs", run.elapsed.as_micros())
    } else {
        format!("{} ms", grouped(u64::try_from(run.elapsed.as_millis()).unwrap_or(u64::MAX)))
    };
    let (checks, rate) = (counted(run.checks, "check"), grouped(run.checks_per_second()));
    writeln!(text, "\n{checks} in {elapsed}: {rate} checks per second")?;
    let stats = &run.stats;
    for (count, what) in [
        (stats.evictions, "buckets were evicted for want of room, so some refusals are missing"),
        (stats.refused_full, "requests were refused for want of room"),
        (stats.untracked, "requests were let through untracked for want of room"),
    ] {
        if count > 0 {
            writeln!(text, "warning: {} {what}", grouped(count))?;
        }
    }
    Ok(())
}

pub(super) fn more(text: &mut String, count: usize, what: &str) -> std::fmt::Result {
    match u64::try_from(count).unwrap_or(u64::MAX) {
        0 => Ok(()),
        count => writeln!(text, "  and {}", counted(count, what)),
    }
}

fn sum(input: &Input, of: fn(&super::ingest::FileCount) -> u64) -> u64 {
    input.files.iter().map(of).sum()
}

/// `1 key`, `2 keys`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A moment as reports show it.
pub(crate) fn moment(time: Timestamp) -> String {
    time.strftime("%-d %b %Y %H:%M:%S").to_string()
}

/// A length of time in its two largest units.
pub(super) fn spell(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 => format!("{} ms", length.as_millis()),
        1..60 => format!("{seconds}.{} s", length.subsec_millis() / 100),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

pub(super) fn bold(text: &str, layout: Layout) -> String {
    if layout.is_colored { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
}
