//! The report for people: what the policies would have done, the worst first, and what others would have done otherwise.

use std::collections::{BTreeMap, HashMap};
use std::fmt::{Result, Write};
use std::time::Duration;

use tollgate_http::stats::PolicyStats;

use super::super::ingest::{Flaw, Input};
use super::super::simulate::difference::{Difference, KeyDifference};
use super::super::simulate::keys::{LimitedKey, ShadowedKey};
use super::super::simulate::matches::{KeyId, KeyName};
use super::super::simulate::run::{Delays, Engine, Refuser};
use super::super::tally::{Counts, Minute};
use super::super::timeline::terminal;
use super::super::wall_clock::WallClock;
use super::names::Names;
use super::table::{Column, Table};
use super::{Against, Layout, Replay, counted, sum};
use crate::values::output::{grouped, percent, printable, shortened, wrapped};

/// The whole report.
pub(crate) fn render(input: &Input, replay: &Replay, against: Option<&Against>, layout: &Layout) -> String {
    let mut text = String::new();
    // Writing into a `String` cannot fail.
    let _ = write_all(&mut text, input, replay, against, layout);
    wrapped(&text, layout.width)
}

fn write_all(text: &mut String, input: &Input, replay: &Replay, against: Option<&Against>, layout: &Layout) -> Result {
    heading(text, replay, layout)?;
    what_was_read(text, input, &layout.clock)?;
    let has_exempt = replay.tally.totals.exempt > 0 || !replay.exempt.is_empty();
    totals(text, replay.tally.totals, replay.simulation.delays, has_exempt)?;
    remarks(text, input, replay)?;
    if replay.has_several_limits() {
        for (limit, &refused) in replay.simulation.refusers.iter().zip(&replay.keys.by_limit) {
            writeln!(text, "  {:>21}  refused by {}", grouped(refused), replay.limit(limit))?;
        }
    }
    if replay.config.is_some() {
        policies(text, replay, layout)?;
    }
    over_time(text, replay, layout)?;
    let worst = worst(replay, layout);
    let listed = listed(replay, layout).map(|limited| &*limited.name.key);
    let shadowed = replay.keys.shadowed.iter().take(layout.top).map(|shadowed| &*shadowed.name.key);
    let most = worst.iter().filter_map(|worst| worst.most).map(|(name, _)| &*name.key);
    let differing = against.iter().flat_map(|against| against.difference.keys.iter().take(layout.top));
    let keys = listed.chain(shadowed).chain(most).chain(differing.map(|difference| &*difference.key));
    let names = Names::new(keys, layout.width.saturating_sub(BESIDE_KEYS).max(16));
    limited_keys(text, input, replay, &names, layout)?;
    shadowed_keys(text, replay, &names, layout)?;
    worst_minutes(text, &worst, replay, &names, layout)?;
    if let Some(against) = against {
        difference(text, replay, against, &names, layout)?;
    }
    flaws(text, "Lines that could not be read", &input.unreadable, sum(input, |file| file.unreadable), layout)?;
    flaws(text, "Lines kept although their end is odd", &input.odd, sum(input, |file| file.odd), layout)?;
    engine(text, &replay.simulation.engine)
}

impl Replay {
    fn has_several_limits(&self) -> bool {
        self.simulation.policies.iter().map(|policy| policy.limits.len()).sum::<usize>() > 1
    }

    /// A limit as the report names it. The policy of the command line is not named.
    fn limit(&self, limit: &Refuser) -> String {
        if self.config.is_some() { format!("{}: {}", limit.name, limit.rate) } else { limit.rate.clone() }
    }
}

fn heading(text: &mut String, replay: &Replay, layout: &Layout) -> Result {
    writeln!(text, "{}", bold(&replay.title, layout))?;
    if !replay.exempt.is_empty() {
        writeln!(text, "  exempt: {}", replay.exempt.join(", "))?;
    }
    Ok(())
}

pub(super) fn what_was_read(text: &mut String, input: &Input, clock: &WallClock) -> Result {
    let lines = sum(input, |file| file.lines);
    let from = match &*input.files {
        [file] => file.name.clone(),
        files => format!("{} files", files.len()),
    };
    let requests = sum(input, |file| file.requests);
    write!(text, "  {} in {from}: {}", counted(lines, "line"), counted(requests, "request"))?;
    for (count, what) in [
        (sum(input, |file| file.unreadable), "unreadable"),
        (sum(input, |file| file.blank), "blank"),
        (sum(input, |file| file.outside), "outside the time asked for"),
        (sum(input, |file| file.pieces), "joined with others"),
    ] {
        if count > 0 {
            write!(text, ", {} {what}", grouped(count))?;
        }
    }
    let comments = sum(input, |file| file.comments);
    writeln!(text, "{}", if comments > 0 { format!(", {}", counted(comments, "comment")) } else { String::new() })?;
    forms(text, input)?;
    for file in input.files.iter().filter(|file| file.requests + file.outside == 0) {
        writeln!(text, "  {} is empty", file.name)?;
    }
    for (file, reason) in &input.left_out {
        let is_read = input.files.iter().any(|count| count.name == *file && count.requests > 0);
        writeln!(text, "  {}: {reason}", if is_read { "read in part" } else { "left out" })?;
    }
    if input.is_interrupted {
        writeln!(text, "  ended by Ctrl-C: this is what had been read by then")?;
    }
    let (first, last) = (input.records.first(), input.records.last());
    if let (Some(first), Some(last)) = (first, last) {
        let (from, to, zone) = (clock.moment(first), clock.moment(last), clock.name());
        match Duration::from_nanos(last - first) {
            Duration::ZERO => writeln!(text, "  all at {from} {zone}")?,
            span => writeln!(text, "  {from} to {to} {zone}, {}", spell(span))?,
        }
    }
    if input.out_of_order > 0 {
        writeln!(text, "  {} earlier than a line before it: put in order", counted(input.out_of_order, "request"))?;
    }
    if let (count @ 1.., time) = input.far_away {
        let when = clock.moment(time);
        writeln!(
            text,
            "  {} more than ten years from the rest left out, such as at {when}",
            counted(count, "request")
        )?;
    }
    if input.zoneless > 0 {
        let count = counted(input.zoneless, "time");
        writeln!(text, "  {count} without a zone: taken as UTC unless --timezone says otherwise")?;
    }
    Ok(())
}

/// As what the lines were read: of all files together, the most frequent form first.
fn forms(text: &mut String, input: &Input) -> Result {
    let mut all: Vec<(&str, u64)> = Vec::new();
    for (form, count) in input.files.iter().flat_map(|file| file.forms()) {
        match all.iter_mut().find(|(name, _)| *name == form.name()) {
            Some((_, sum)) => *sum += count,
            None => all.push((form.name(), count)),
        }
    }
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    match &*all {
        [] => Ok(()),
        [(name, _)] => writeln!(text, "  read as {name}"),
        several => {
            let names: Vec<String> =
                several.iter().take(4).map(|(name, count)| format!("{name} ({})", grouped(*count))).collect();
            writeln!(text, "  read as {}", names.join(", "))
        }
    }
}

/// What became of all requests.
fn totals(text: &mut String, totals: Counts, delays: Delays, has_exempt: bool) -> Result {
    let all = totals.total();
    writeln!(text)?;
    let mut row = |name: &str, count: u64, note: &str| {
        let line = format!("  {name:<8} {:>12}  {:>7}{note}", grouped(count), percent(count, all));
        writeln!(text, "{}", line.trim_end())
    };
    row("allowed", totals.allowed, "")?;
    if totals.delayed > 0 {
        let mean = delays.total / u32::try_from(totals.delayed).unwrap_or(u32::MAX);
        let note = format!("   {} on average, {} at most", spell(mean), spell(delays.longest));
        row("delayed", totals.delayed, &note)?;
    }
    row("refused", totals.refused, "")?;
    if has_exempt {
        row("exempt", totals.exempt, "")?;
    }
    Ok(())
}

/// Who the clients are, where that is not just an address.
pub(super) fn clients(text: &mut String, input: &Input) -> Result {
    if input.lists > 0 {
        let count = counted(input.lists, "request");
        writeln!(text, "  {count} with a list of addresses: read from the right, past the proxies that are trusted")?;
    }
    if input.without_address > 0 {
        let examples = match &*input.strangers {
            [] => String::new(),
            some => format!(", but for example `{}`", some.join("`, `")),
        };
        writeln!(text, "  {} without the address of a client{examples}", counted(input.without_address, "request"))?;
    }
    Ok(())
}

/// What has to be known to read the numbers.
fn remarks(text: &mut String, input: &Input, replay: &Replay) -> Result {
    let limited = u64::try_from(replay.keys.limited.len()).unwrap_or(u64::MAX);
    let keys = u64::try_from(replay.keys.seen()).unwrap_or(u64::MAX);
    writeln!(text, "  {} of {} would be limited", grouped(limited), counted(keys, "key"))?;
    clients(text, input)?;
    for (count, what) in [
        (input.incomplete, "without an address, or without a target (taken as `/`)"),
        (replay.keys.without_key, "without a key in some policy: counted under (none), or as the policy says"),
        (replay.keys.without_policy, "that no policy is for"),
    ] {
        if count > 0 {
            writeln!(text, "  {} {what}", counted(count, "request"))?;
        }
    }
    let policies = &replay.simulation.policies;
    let bounded: Vec<&str> =
        policies.iter().filter(|view| view.concurrency.is_some()).map(|view| view.name.as_str()).collect();
    if !bounded.is_empty() {
        let names = bounded.join(", ");
        writeln!(text, "  not tried: the concurrency of {names}, as a log does not tell how long requests took")?;
    }
    Ok(())
}

fn policies(text: &mut String, replay: &Replay, layout: &Layout) -> Result {
    writeln!(text, "\n{}", bold("By policy", layout))?;
    let policies = &replay.simulation.policies;
    let names = Names::new(policies.iter().map(|view| view.name.as_str()), 32);
    let counts = ["allowed", "refused", "shadow", "exempt"].map(|head| Column::number(head, 9));
    let mut table = Table::new([Column::text("policy", 0)].into_iter().chain(counts));
    for PolicyStats { name, route, key, limits, counts, is_shadow, .. } in policies {
        let [allowed, refused, shadow, exempt] =
            [counts.allowed, counts.refused, counts.shadow_refused, counts.exempt].map(grouped);
        let shadow = if *is_shadow { shadow } else { "-".to_owned() };
        let refused = if *is_shadow { "-".to_owned() } else { refused };
        let limits = if limits.is_empty() { "no rate".to_owned() } else { limits.join(" and ") };
        let rule = printable(&format!("{limits} for each {key}, {route}"));
        table.row_with([names.of(name).to_owned(), allowed, refused, shadow, exempt], rule);
    }
    table.write(text, layout.width)
}

fn over_time(text: &mut String, replay: &Replay, layout: &Layout) -> Result {
    let Some(timeline) = &replay.timelines.terminal else { return Ok(()) };
    writeln!(text, "\n{}", bold("Over time", layout))?;
    text.push_str(&terminal::draw(timeline, layout.width, layout.is_colored));
    Ok(())
}

/// Columns of a row of keys beside the key, where its counts are below ten millions.
const BESIDE_KEYS: usize = 56;

/// The limited keys that are shown.
fn listed<'r>(replay: &'r Replay, layout: &Layout) -> impl ExactSizeIterator<Item = &'r LimitedKey> + use<'r> {
    replay.keys.limited.iter().take(layout.top)
}

/// A table of keys. Their policies are told unless all are of the one of the command line; their limits, unless there is only one.
fn table_of_keys(replay: &Replay, has_limits: bool) -> Table {
    let policy = replay.config.is_some().then_some(Column::text("policy", 0));
    let by = has_limits.then_some(Column::text("by", 0));
    let counts = [Column::number("refused", 9), Column::number("requests", 9), Column::number("share", 7)];
    let key = [Column::text("key", 0)].into_iter();
    Table::new(key.chain(counts).chain([Column::text("first refused", 0)]).chain(policy).chain(by))
}

fn limited_keys(text: &mut String, input: &Input, replay: &Replay, names: &Names, layout: &Layout) -> Result {
    let limited = &replay.keys.limited;
    if limited.is_empty() && input.without_address > 0 {
        let (count, share) =
            (grouped(input.without_address), percent(input.without_address, replay.tally.totals.total()));
        return writeln!(
            text,
            "\nNo key would be limited; but who the client was is not known of {count} requests ({share})."
        );
    }
    if limited.is_empty() {
        return writeln!(text, "\nNobody would be limited.");
    }
    let listed = listed(replay, layout);
    let count = listed.len();
    if count == 0 {
        return Ok(());
    }
    writeln!(text, "\n{}", bold("Who would be limited", layout))?;
    // One limit is in the heading already.
    let has_limits = replay.has_several_limits();
    let mut table = table_of_keys(replay, has_limits);
    for LimitedKey { key, name, first: (time, limit) } in listed {
        let counts = replay.keys.of(*key);
        let limit = replay.simulation.refusers.get(usize::from(*limit)).map(|limit| limit.rate.clone());
        let share = percent(counts.refused, counts.requests);
        let [refused, requests] = [counts.refused, counts.requests].map(grouped);
        let cells = [names.of(&name.key).to_owned(), refused, requests, share, layout.clock.moment(*time)];
        let policy = replay.config.is_some().then(|| printable(&name.policy));
        table.row(cells.into_iter().chain(policy).chain(has_limits.then(|| limit.unwrap_or_default())));
    }
    table.write(text, layout.width)?;
    more(text, limited.len() - count, "more key")
}

fn shadowed_keys(text: &mut String, replay: &Replay, names: &Names, layout: &Layout) -> Result {
    let shadowed = &replay.keys.shadowed;
    let listed = &shadowed[..shadowed.len().min(layout.top)];
    if listed.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", bold("Whom shadow policies would refuse", layout))?;
    let mut table = table_of_keys(replay, false);
    for ShadowedKey { key, name, refused, first } in listed {
        let requests = replay.keys.of(*key).requests;
        let share = percent(*refused, requests);
        let [refused, requests] = [*refused, requests].map(grouped);
        let cells = [names.of(&name.key).to_owned(), refused, requests, share, layout.clock.moment(*first)];
        table.row(cells.into_iter().chain(replay.config.is_some().then(|| printable(&name.policy))));
    }
    table.write(text, layout.width)?;
    more(text, shadowed.len() - listed.len(), "more key")
}

/// A minute in which many requests were refused.
struct WorstMinute<'r> {
    minute: &'r Minute,
    /// How many keys were refused.
    keys: usize,
    /// The one that was refused most, and how often.
    most: Option<(&'r KeyName, u64)>,
}

fn worst<'r>(replay: &'r Replay, layout: &Layout) -> Vec<WorstMinute<'r>> {
    let names: HashMap<KeyId, &KeyName> =
        replay.keys.limited.iter().map(|limited| (limited.key, &limited.name)).collect();
    let worst = replay.tally.worst_minutes(layout.top).into_iter().map(|(number, minute)| {
        let in_minute = replay.keys.in_minute(number);
        let (keys, most) = (in_minute.map_or(0, |keys| keys.count), in_minute.map(|keys| keys.most));
        let most = most.and_then(|(key, count)| names.get(&key).map(|name| (*name, count)));
        WorstMinute { minute, keys, most }
    });
    worst.collect()
}

fn worst_minutes(
    text: &mut String,
    worst: &[WorstMinute<'_>],
    replay: &Replay,
    names: &Names,
    layout: &Layout,
) -> Result {
    if worst.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", bold("Worst minutes", layout))?;
    let counts = [Column::number("refused", 9), Column::number("requests", 9), Column::number("keys", 5)];
    let minute = [Column::text("minute", 17)].into_iter();
    let mut table = Table::new(minute.chain(counts).chain([Column::text("most refused", 0)]));
    for WorstMinute { minute: Minute { start, counts, .. }, keys, most } in worst {
        let most = most.map_or_else(String::new, |(name, count)| {
            let key = names.of(&name.key);
            let key =
                if replay.config.is_some() { format!("{} {key}", printable(&name.policy)) } else { key.to_owned() };
            format!("{key} ({})", grouped(count))
        });
        let [refused, requests] = [counts.refused, counts.total()].map(grouped);
        table.row([layout.clock.minute(*start), refused, requests, keys.to_string(), most]);
    }
    table.write(text, layout.width)?;
    let all = replay.tally.minutes.iter().filter(|minute| minute.counts.refused > 0).count();
    more(text, all - worst.len(), "more minute")
}

fn flaws(text: &mut String, title: &str, shown: &[Flaw], all: u64, layout: &Layout) -> Result {
    if shown.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", bold(title, layout))?;
    for Flaw { file, line, reason, text: excerpt } in shown {
        writeln!(text, "  {file}:{line}: {reason}")?;
        if !excerpt.is_empty() {
            // Blanks at its end would be cut off, and so be room.
            writeln!(text, "    {}", shortened(excerpt.trim_end(), layout.width.saturating_sub(4)))?;
        }
    }
    let listed = u64::try_from(shown.len()).unwrap_or(0);
    more(text, usize::try_from(all - listed).unwrap_or(usize::MAX), "more line")
}

fn engine(text: &mut String, engine: &Engine) -> Result {
    let elapsed = if engine.elapsed < Duration::from_millis(1) {
        format!("{} µs", engine.elapsed.as_micros())
    } else {
        format!("{} ms", grouped(u64::try_from(engine.elapsed.as_millis()).unwrap_or(u64::MAX)))
    };
    let (checks, rate) = (counted(engine.checks, "check"), grouped(engine.checks_per_second()));
    writeln!(text, "\n{checks} in {elapsed}: {rate} checks per second")?;
    let stats = &engine.stats;
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

fn more(text: &mut String, count: usize, what: &str) -> Result {
    match u64::try_from(count).unwrap_or(u64::MAX) {
        0 => Ok(()),
        count => writeln!(text, "  and {}", counted(count, what)),
    }
}

/// A length of time in its two largest units.
fn spell(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 => format!("{} ms", length.as_millis()),
        1..60 => format!("{seconds}.{} s", length.subsec_millis() / 100),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

pub(super) fn bold(text: &str, layout: &Layout) -> String {
    if layout.is_colored { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
}

fn difference(text: &mut String, replay: &Replay, against: &Against, names: &Names, layout: &Layout) -> Result {
    let Against { replay: other, difference } = against;
    let Difference { both, only_here, only_there, by_policy_here, by_policy_there, keys, .. } = difference;
    writeln!(text, "\n{}", bold(&format!("{} against {}", replay.name(), other.name()), layout))?;
    let mut row = |count: &u64, what: &str| writeln!(text, "  {:>12}  {what}", grouped(*count));
    row(both, "refused by both")?;
    row(only_here, &format!("refused by {} alone", replay.name()))?;
    row(only_there, &format!("refused by {} alone", other.name()))?;
    let limited = |count: u64, name: &str| format!("{} limited by {name} alone", counted(count, "key"));
    writeln!(text, "  {}", limited(difference.limited_only_here, replay.name()))?;
    writeln!(text, "  {}", limited(difference.limited_only_there, other.name()))?;
    by_policy(text, by_policy_here, replay.name())?;
    by_policy(text, by_policy_there, other.name())?;
    let listed = &keys[..keys.len().min(layout.top)];
    if listed.is_empty() {
        return Ok(());
    }
    let counts = [Column::number("refused", 9), Column::number("against", 9)];
    let key = [Column::text("key", 0)].into_iter();
    let mut table = Table::new(key.chain(counts).chain([Column::text("limited by", 0)]));
    for KeyDifference { counts, key } in listed {
        let by = match () {
            () if counts.is_limited_only_here() => format!("{} alone", replay.name()),
            () if counts.is_limited_only_there() => format!("{} alone", other.name()),
            () => "both".to_owned(),
        };
        table.row([names.of(key).to_owned(), grouped(counts.here), grouped(counts.there), by]);
    }
    table.write(text, layout.width)?;
    more(text, keys.len() - listed.len(), "more key")
}

fn by_policy(text: &mut String, counts: &BTreeMap<String, u64>, name: &str) -> Result {
    for (policy, count) in counts {
        writeln!(text, "  {:>12}  of {name} alone by policy {policy}", grouped(*count))?;
    }
    Ok(())
}
