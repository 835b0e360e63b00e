//! The report for people: what the policies of a file would have done, and what another file would have done otherwise.

use std::collections::BTreeMap;
use std::fmt::{Result, Write};

use tollgate_http::stats::PolicyStats;

use super::super::ingest::Input;
use super::super::log::time::timestamp;
use super::super::report::{
    Layout, all_flaws, bold, counted, engine, moment, more, over_time, totals, what_was_read, worst_minutes,
};
use super::difference::{Difference, KeyDifference};
use super::meetings::policy_and_key;
use super::outcome::Shadowed;
use super::play::Played;
use super::{Against, Trial};
use crate::values::output::{grouped, percent, printable, shortened};

/// The whole report.
pub(super) fn render(input: &Input, tried: &Trial, against: Option<&Against>, layout: Layout) -> String {
    let mut text = String::new();
    // Writing into a `String` cannot fail.
    let _ = write_all(&mut text, input, tried, against, layout);
    text
}

fn write_all(text: &mut String, input: &Input, tried: &Trial, against: Option<&Against>, layout: Layout) -> Result {
    let played = &tried.played;
    let tally = &played.outcome.tally;
    writeln!(text, "{}", bold(&tried.title(), layout))?;
    what_was_read(text, input)?;
    totals(text, tally.totals, &played.run, tally.totals.exempt > 0)?;
    remarks(text, input, played)?;
    if played.limits.len() > 1 {
        for (limit, &refused) in played.limits.iter().zip(&tally.by_limit) {
            writeln!(text, "  {:>21}  refused by {}: {}", grouped(refused), limit.name, limit.rate)?;
        }
    }
    policies(text, played, layout)?;
    over_time(text, &played.records, layout)?;
    limited_keys(text, played, layout)?;
    shadowed_keys(text, played, layout)?;
    worst_minutes(text, &played.records, &played.meetings.keys, tally, layout)?;
    if let Some(against) = against {
        difference(text, tried, against, layout)?;
    }
    all_flaws(text, input, layout)?;
    engine(text, &played.run)
}

/// What has to be known to read the numbers.
fn remarks(text: &mut String, input: &Input, played: &Played) -> Result {
    let outcome = &played.outcome;
    for (count, what) in [
        (input.without_key, "without an address, or without a target (taken as `/`)"),
        (outcome.without_key, "without a key in some policy: counted under (none), or as the policy says"),
        (outcome.without_policy, "that no policy is for"),
    ] {
        if count > 0 {
            writeln!(text, "  {} {what}", counted(count, "request"))?;
        }
    }
    let bounded: Vec<&str> =
        played.views.iter().filter(|view| view.concurrency.is_some()).map(|view| view.name.as_str()).collect();
    if !bounded.is_empty() {
        let names = bounded.join(", ");
        writeln!(text, "  not tried: the concurrency of {names}, as a log does not tell how long requests took")?;
    }
    Ok(())
}

fn policies(text: &mut String, played: &Played, layout: Layout) -> Result {
    writeln!(text, "\n{}", bold("By policy", layout))?;
    let longest = played.views.iter().map(|view| view.name.chars().count()).max().unwrap_or(0).max("policy".len());
    let width = longest.min(32);
    writeln!(text, "  {:<width$}  {:>9}  {:>9}  {:>9}  {:>9}", "policy", "allowed", "refused", "shadow", "exempt")?;
    for PolicyStats { name, route, key, limits, counts, is_shadow, .. } in &played.views {
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

/// A table of keys: columns of a fixed width behind the key and its policy.
struct KeyTable {
    key: usize,
    policy: usize,
}

impl KeyTable {
    fn new(rows: &[(&str, String)], others: usize, layout: Layout) -> Self {
        let longest = |texts: &mut dyn Iterator<Item = &str>| texts.map(|text| text.chars().count()).max().unwrap_or(0);
        let policy = longest(&mut rows.iter().map(|(policy, _)| *policy)).clamp("policy".len(), 24);
        let key = longest(&mut rows.iter().map(|(_, key)| key.as_str())).max("key".len());
        Self { policy, key: key.min(layout.width.saturating_sub(others + policy).max(16)) }
    }

    fn cells(&self, policy: &str, key: &str) -> String {
        let (key, policy) = (shortened(key, self.key), shortened(policy, self.policy));
        format!("  {key:<0$}  {policy:<1$}", self.key, self.policy)
    }
}

fn named(played: &Played, id: super::super::intern::KeyId) -> (&str, String) {
    let (policy, key) = policy_and_key(played.meetings.keys.text(id));
    (policy, printable(&key))
}

fn limited_keys(text: &mut String, played: &Played, layout: Layout) -> Result {
    let tally = &played.outcome.tally;
    if tally.limited.is_empty() {
        return writeln!(text, "\nNobody would be limited.");
    }
    let listed = &tally.limited[..tally.limited.len().min(layout.top)];
    if listed.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", bold("Who would be limited", layout))?;
    let rows: Vec<(&str, String)> = listed.iter().map(|&id| named(played, id)).collect();
    let table = KeyTable::new(&rows, 58, layout);
    let head = table.cells("policy", "key");
    writeln!(text, "{head}  {:>9}  {:>9}  {:>7}  first refused", "refused", "requests", "share")?;
    for (id, (policy, key)) in listed.iter().zip(&rows) {
        let refused = &tally.by_key[id.index()];
        let Some((time, _)) = refused.first_refused else { continue };
        let (refused, requests) = (refused.counts.refused, played.outcome.by_key[id.index()].requests);
        let (share, first) = (percent(refused, requests), moment(timestamp(time)));
        let (refused, requests) = (grouped(refused), grouped(requests));
        writeln!(text, "{}  {refused:>9}  {requests:>9}  {share:>7}  {first}", table.cells(policy, key))?;
    }
    more(text, tally.limited.len() - listed.len(), "more key")
}

fn shadowed_keys(text: &mut String, played: &Played, layout: Layout) -> Result {
    let shadowed = &played.outcome.shadowed;
    let listed = &shadowed[..shadowed.len().min(layout.top)];
    if listed.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n{}", bold("Whom shadow policies would refuse", layout))?;
    let rows: Vec<(&str, String)> = listed.iter().map(|shadowed| named(played, shadowed.key)).collect();
    let table = KeyTable::new(&rows, 58, layout);
    let head = table.cells("policy", "key");
    writeln!(text, "{head}  {:>9}  {:>9}  {:>7}  first refused", "refused", "requests", "share")?;
    for (&Shadowed { key: id, refused, first }, (policy, key)) in listed.iter().zip(&rows) {
        let requests = played.outcome.by_key[id.index()].requests;
        let (share, first) = (percent(refused, requests), moment(timestamp(first)));
        let (refused, requests) = (grouped(refused), grouped(requests));
        writeln!(text, "{}  {refused:>9}  {requests:>9}  {share:>7}  {first}", table.cells(policy, key))?;
    }
    more(text, shadowed.len() - listed.len(), "more key")
}

fn difference(text: &mut String, tried: &Trial, against: &Against, layout: Layout) -> Result {
    let Against { trial: other, difference } = against;
    let Difference { both, only_here, only_there, by_policy_here, by_policy_there, keys, .. } = difference;
    writeln!(text, "\n{}", bold(&format!("{} against {}", tried.name, other.name), layout))?;
    let mut row = |count: &u64, what: &str| writeln!(text, "  {:>12}  {what}", grouped(*count));
    row(both, "refused by both")?;
    row(only_here, &format!("refused by {} alone", tried.name))?;
    row(only_there, &format!("refused by {} alone", other.name))?;
    let limited = |count: u64, name: &str| format!("{} limited by {name} alone", counted(count, "key"));
    writeln!(text, "  {}", limited(difference.limited_only_here, &tried.name))?;
    writeln!(text, "  {}", limited(difference.limited_only_there, &other.name))?;
    by_policy(text, by_policy_here, &tried.name)?;
    by_policy(text, by_policy_there, &other.name)?;
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
            () if counts.is_limited_only_here() => format!("{} alone", tried.name),
            () if counts.is_limited_only_there() => format!("{} alone", other.name),
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
