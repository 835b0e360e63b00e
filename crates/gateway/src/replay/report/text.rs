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
use super::super::timeline::{Timeline, terminal};
use super::super::wall_clock::WallClock;
use super::{Against, Layout, Replay, counted, sum};
use crate::values::output::{grouped, percent, printable, shortened};

/// The whole report.
pub(crate) fn render(input: &Input, replay: &Replay, against: Option<&Against>, layout: &Layout) -> String {
    let mut text = String::new();
    // Writing into a `String` cannot fail.
    let _ = write_all(&mut text, input, replay, against, layout);
    text
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
    over_time(text, input, replay, layout)?;
    limited_keys(text, input, replay, layout)?;
    shadowed_keys(text, replay, layout)?;
    worst_minutes(text, input, replay, layout)?;
    if let Some(against) = against {
        difference(text, replay, against, layout)?;
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
        let (from, to, zone) = (clock.moment(first.time), clock.moment(last.time), clock.name());
        match Duration::from_nanos(last.time - first.time) {
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
    let longest = policies.iter().map(|view| view.name.chars().count()).max().unwrap_or(0).max("policy".len());
    let width = longest.min(32);
    writeln!(text, "  {:<width$}  {:>9}  {:>9}  {:>9}  {:>9}", "policy", "allowed", "refused", "shadow", "exempt")?;
    for PolicyStats { name, route, key, limits, counts, is_shadow, .. } in policies {
        let [allowed, refused, shadow, exempt] =
            [counts.allowed, counts.refused, counts.shadow_refused, counts.exempt].map(grouped);
        let shadow = if *is_shadow { shadow } else { "-".to_owned() };
        let refused = if *is_shadow { "-".to_owned() } else { refused };
        let name = shortened(name, width);
        writeln!(text, "  {name:<width$}  {allowed:>9}  {refused:>9}  {shadow:>9}  {exempt:>9}")?;
        let limits = if limits.is_empty() { "no rate".to_owned() } else { limits.join(" and ") };
        let rule = printable(&format!("{limits} for each {key}, {route}"));
        writeln!(text, "    {}", shortened(&rule, layout.width.saturating_sub(4)))?;
    }
    Ok(())
}

fn over_time(text: &mut String, input: &Input, replay: &Replay, layout: &Layout) -> Result {
    let timeline =
        Timeline::new(&input.records, &replay.simulation.outcomes, terminal::room(layout.width), &layout.clock);
    writeln!(text, "\n{}", bold("Over time", layout))?;
    text.push_str(&terminal::draw(&timeline, layout.width, layout.is_colored));
    Ok(())
}

/// A table of keys: columns of a fixed width behind the key and, unless all are of the one policy of the command line,
/// its policy.
struct KeyTable {
    key: usize,
    policy: Option<usize>,
}

impl KeyTable {
    fn new(names: &[&KeyName], replay: &Replay, others: usize, layout: &Layout) -> Self {
        let longest = |of: fn(&KeyName) -> &str| names.iter().map(|name| of(name).chars().count()).max().unwrap_or(0);
        let policy = longest(|name| &name.policy).clamp("policy".len(), 24);
        let policy = replay.config.is_some().then_some(policy);
        let key = longest(|name| &name.key).max("key".len());
        let others = others + policy.map_or(0, |policy| policy + 2);
        Self { policy, key: key.min(layout.width.saturating_sub(others).max(16)) }
    }

    fn cells(&self, policy: &str, key: &str) -> String {
        let key = shortened(&printable(key), self.key);
        let policy = self.policy.map_or_else(String::new, |width| format!("  {:<width$}", shortened(policy, width)));
        format!("  {key:<0$}{policy}", self.key)
    }
}

/// Characters of a row of keys behind the key and its policy.
const KEY_COLUMNS: usize = 56;

fn limited_keys(text: &mut String, input: &Input, replay: &Replay, layout: &Layout) -> Result {
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
    let listed = &limited[..limited.len().min(layout.top)];
    if listed.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", bold("Who would be limited", layout))?;
    let limits: Vec<String> = replay.simulation.refusers.iter().map(|limit| limit.rate.clone()).collect();
    // One limit is in the heading already.
    let by = if replay.has_several_limits() { limits.iter().map(String::len).max().unwrap_or(0) + 2 } else { 0 };
    let names: Vec<&KeyName> = listed.iter().map(|limited| &limited.name).collect();
    let table = KeyTable::new(&names, replay, KEY_COLUMNS + by, layout);
    let head = table.cells("policy", "key");
    let by_head = if by > 0 { "         by" } else { "" };
    writeln!(text, "{head}  {:>9}  {:>9}  {:>7}  first refused{by_head}", "refused", "requests", "share")?;
    for LimitedKey { key, name, first: (time, limit) } in listed {
        let counts = replay.keys.of(*key);
        let by = match limits.get(usize::from(*limit)) {
            Some(limit) if by > 0 => format!("  {limit}"),
            _ => String::new(),
        };
        let (share, first) = (percent(counts.refused, counts.requests), layout.clock.moment(*time));
        let (refused, requests) = (grouped(counts.refused), grouped(counts.requests));
        let cells = table.cells(&name.policy, &name.key);
        writeln!(text, "{cells}  {refused:>9}  {requests:>9}  {share:>7}  {first}{by}")?;
    }
    more(text, limited.len() - listed.len(), "more key")
}

fn shadowed_keys(text: &mut String, replay: &Replay, layout: &Layout) -> Result {
    let shadowed = &replay.keys.shadowed;
    let listed = &shadowed[..shadowed.len().min(layout.top)];
    if listed.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", bold("Whom shadow policies would refuse", layout))?;
    let names: Vec<&KeyName> = listed.iter().map(|shadowed| &shadowed.name).collect();
    let table = KeyTable::new(&names, replay, KEY_COLUMNS, layout);
    let head = table.cells("policy", "key");
    writeln!(text, "{head}  {:>9}  {:>9}  {:>7}  first refused", "refused", "requests", "share")?;
    for ShadowedKey { key, name, refused, first } in listed {
        let requests = replay.keys.of(*key).requests;
        let (share, first) = (percent(*refused, requests), layout.clock.moment(*first));
        let (refused, requests) = (grouped(*refused), grouped(requests));
        let cells = table.cells(&name.policy, &name.key);
        writeln!(text, "{cells}  {refused:>9}  {requests:>9}  {share:>7}  {first}")?;
    }
    more(text, shadowed.len() - listed.len(), "more key")
}

fn worst_minutes(text: &mut String, input: &Input, replay: &Replay, layout: &Layout) -> Result {
    let worst = replay.tally.worst_minutes(layout.top);
    if worst.is_empty() {
        return Ok(());
    }
    let names: HashMap<KeyId, &KeyName> =
        replay.keys.limited.iter().map(|limited| (limited.key, &limited.name)).collect();
    writeln!(text, "\n{}", bold("Worst minutes", layout))?;
    writeln!(text, "  {:<17}  {:>9}  {:>9}  {:>5}  most refused", "minute", "refused", "requests", "keys")?;
    for minute in &worst {
        let Minute { start, counts, .. } = minute;
        let (keys, most) = refused_in(minute, input, replay);
        let most = most.map_or_else(String::new, |(key, count)| {
            let name = names.get(&key).map_or_else(String::new, |name| match &replay.config {
                Some(_) => format!("{} {}", name.policy, name.key),
                None => name.key.clone(),
            });
            let name = shortened(&printable(&name), layout.width.saturating_sub(62).max(16));
            format!("{name} ({})", grouped(count))
        });
        let time = layout.clock.minute(*start);
        let (refused, requests) = (grouped(counts.refused), grouped(counts.total()));
        writeln!(text, "  {time:<17}  {refused:>9}  {requests:>9}  {keys:>5}  {most}")?;
    }
    let all = replay.tally.minutes.iter().filter(|minute| minute.counts.refused > 0).count();
    more(text, all - worst.len(), "more minute")
}

/// How many keys were refused in `minute`, and the one that was refused most, and how often.
fn refused_in(minute: &Minute, input: &Input, replay: &Replay) -> (usize, Option<(KeyId, u64)>) {
    let records = input.records[minute.records.clone()].iter();
    let outcomes = replay.simulation.outcomes[minute.records.clone()].iter();
    let mut refused: BTreeMap<usize, (KeyId, u64)> = BTreeMap::new();
    for (record, outcome) in records.zip(outcomes) {
        if let Some(key) = replay.simulation.refused_key(record.request, outcome.get()) {
            refused.entry(key.index()).or_insert((key, 0)).1 += 1;
        }
    }
    // The first of equals.
    let most = refused.values().rev().copied().max_by_key(|&(_, count)| count);
    (refused.len(), most)
}

fn flaws(text: &mut String, title: &str, shown: &[Flaw], all: u64, layout: &Layout) -> Result {
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

fn difference(text: &mut String, replay: &Replay, against: &Against, layout: &Layout) -> Result {
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
    let shown: Vec<String> = listed.iter().map(|key| printable(&key.key)).collect();
    let longest = shown.iter().map(|key| key.chars().count()).max().unwrap_or(0).max("key".len());
    let width = longest.min(layout.width.saturating_sub(62).max(16));
    writeln!(text, "  {:<width$}  {:>9}  {:>9}  limited by", "key", "refused", "against")?;
    for (KeyDifference { counts, .. }, key) in listed.iter().zip(&shown) {
        let by = match () {
            () if counts.is_limited_only_here() => format!("{} alone", replay.name()),
            () if counts.is_limited_only_there() => format!("{} alone", other.name()),
            () => "both".to_owned(),
        };
        let (key, here, there) = (shortened(key, width), grouped(counts.here), grouped(counts.there));
        writeln!(text, "  {key:<width$}  {here:>9}  {there:>9}  {}", shortened(&by, 34))?;
    }
    more(text, keys.len() - listed.len(), "more key")
}

fn by_policy(text: &mut String, counts: &BTreeMap<String, u64>, name: &str) -> Result {
    for (policy, count) in counts {
        writeln!(text, "  {:>12}  of {name} alone by policy {policy}", grouped(*count))?;
    }
    Ok(())
}
