//! The result for programs. Field names are a promise: they may be added to, and `schema` changes when one goes.

use std::collections::BTreeMap;

use serde::Serialize;
use tollgate_http::stats::PolicyStats;

use super::super::ingest::{FileCount, Flaw, Input};
use super::super::log::time::timestamp;
use super::super::simulate::difference::{Difference, KeyDifference};
use super::super::simulate::keys::{LimitedKey, ShadowedKey};
use super::super::simulate::run::Engine;
use super::super::tally::{Counts, Minute};
use super::{Against, Replay, sum};
use crate::values::failure::Failure;
use crate::values::policy_figures::PolicyFigures;

#[derive(Serialize)]
struct Document<'r> {
    schema: u32,
    title: &'r str,
    config: Option<&'r str>,
    policies: Vec<PolicyPart<'r>>,
    input: Vec<FilePart<'r>>,
    left_out: Vec<LeftOutPart<'r>>,
    totals: Totals,
    limits: Vec<LimitPart<'r>>,
    keys: Vec<KeyPart<'r>>,
    shadow_keys: Vec<ShadowPart<'r>>,
    minutes: Vec<MinutePart>,
    unreadable: Vec<FlawPart<'r>>,
    odd: Vec<FlawPart<'r>>,
    engine: EnginePart,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<AgainstPart<'r>>,
}

#[derive(Serialize)]
struct PolicyPart<'r> {
    policy: &'r str,
    #[serde(flatten)]
    figures: PolicyFigures,
}

#[derive(Serialize)]
struct FilePart<'r> {
    file: &'r str,
    lines: u64,
    requests: u64,
    blank: u64,
    unreadable: u64,
    odd: u64,
    comments: u64,
    /// Pieces of lines, but for the last.
    pieces: u64,
    /// Before `--since` or not before `--until`.
    outside: u64,
    /// Requests by the form of their lines.
    forms: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct LeftOutPart<'r> {
    file: &'r str,
    reason: &'r str,
}

#[derive(Serialize)]
struct Totals {
    lines: u64,
    requests: u64,
    blank: u64,
    unreadable: u64,
    /// Kept although the line's end is odd.
    odd: u64,
    #[serde(flatten)]
    outcomes: CountsPart,
    distinct_keys: usize,
    limited_keys: usize,
    without_key: u64,
    out_of_order: u64,
    first: String,
    last: String,
    /// How long the queue held requests back.
    delay_seconds_total: f64,
    delay_seconds_longest: f64,
    /// Requests without an address, or without a target.
    incomplete: u64,
    without_policy: u64,
    without_address: u64,
    /// Requests whose client was a list of addresses.
    lists: u64,
    /// Times that did not say their zone.
    without_zone: u64,
    outside: u64,
    comments: u64,
    pieces: u64,
    /// More than ten years from the others, and left out.
    far_away: u64,
    interrupted: bool,
}

#[derive(Serialize)]
struct CountsPart {
    allowed: u64,
    delayed: u64,
    refused: u64,
    exempt: u64,
}

#[derive(Serialize)]
struct LimitPart<'r> {
    limit: &'r str,
    name: &'r str,
    policy: &'r str,
    refused: u64,
}

#[derive(Serialize)]
struct KeyPart<'r> {
    key: &'r str,
    policy: &'r str,
    requests: u64,
    allowed: u64,
    delayed: u64,
    refused: u64,
    first_refused: String,
    first_limit: &'r str,
}

#[derive(Serialize)]
struct ShadowPart<'r> {
    key: &'r str,
    policy: &'r str,
    requests: u64,
    shadow_refused: u64,
    first_refused: String,
}

#[derive(Serialize)]
struct AgainstPart<'r> {
    config: &'r str,
    policies: Vec<PolicyPart<'r>>,
    refused: u64,
    refused_by_both: u64,
    refused_only_by_config: u64,
    refused_only_by_against: u64,
    only_by_config: &'r BTreeMap<String, u64>,
    only_by_against: &'r BTreeMap<String, u64>,
    keys_limited_only_by_config: u64,
    keys_limited_only_by_against: u64,
    keys: Vec<DifferencePart<'r>>,
}

#[derive(Serialize)]
struct DifferencePart<'r> {
    key: &'r str,
    refused_by_config: u64,
    refused_by_against: u64,
    refused_only_by_config: u64,
    refused_only_by_against: u64,
}

#[derive(Serialize)]
struct MinutePart {
    minute: String,
    #[serde(flatten)]
    outcomes: CountsPart,
}

#[derive(Serialize)]
struct FlawPart<'r> {
    file: &'r str,
    line: u64,
    reason: &'r str,
    text: &'r str,
}

#[derive(Serialize)]
struct EnginePart {
    checks: u64,
    seconds: f64,
    checks_per_second: u64,
    capacity: usize,
    bytes: usize,
    evictions: u64,
    refused_full: u64,
    untracked: u64,
}

/// The result as one JSON object and a line end.
pub(crate) fn render(input: &Input, replay: &Replay, against: Option<&Against>) -> Result<String, Failure> {
    let document = Document {
        schema: 2,
        title: &replay.title,
        config: replay.config.as_deref(),
        policies: policies(replay),
        input: input.files.iter().map(file_part).collect(),
        left_out: input.left_out.iter().map(|(file, reason)| LeftOutPart { file, reason }).collect(),
        totals: totals(input, replay),
        limits: limits(replay),
        keys: replay.keys.limited.iter().map(|limited| key_part(replay, limited)).collect(),
        shadow_keys: replay.keys.shadowed.iter().map(|shadowed| shadow_part(replay, shadowed)).collect(),
        minutes: replay.tally.minutes.iter().map(minute_part).collect(),
        unreadable: input.unreadable.iter().map(flaw_part).collect(),
        odd: input.odd.iter().map(flaw_part).collect(),
        engine: engine_part(&replay.simulation.engine),
        against: against.map(against_part),
    };
    let mut text = serde_json::to_string_pretty(&document)
        .map_err(|error| Failure::Other(format!("cannot write the result as JSON: {error}")))?;
    text.push('\n');
    Ok(text)
}

fn policies(replay: &Replay) -> Vec<PolicyPart<'_>> {
    let part = |stats| {
        let PolicyStats { name, .. }: &PolicyStats = stats;
        PolicyPart { policy: name, figures: stats.into() }
    };
    replay.simulation.policies.iter().map(part).collect()
}

fn limits(replay: &Replay) -> Vec<LimitPart<'_>> {
    let limits = replay.simulation.refusers.iter().zip(&replay.keys.by_limit);
    limits
        .map(|(limit, &refused)| LimitPart { limit: &limit.rate, name: &limit.name, policy: &limit.policy, refused })
        .collect()
}

fn key_part<'r>(replay: &'r Replay, limited: &'r LimitedKey) -> KeyPart<'r> {
    let LimitedKey { key, name, first: (time, limit) } = limited;
    let counts = replay.keys.of(*key);
    KeyPart {
        key: &name.key,
        policy: &name.policy,
        requests: counts.requests,
        allowed: counts.allowed,
        delayed: counts.delayed,
        refused: counts.refused,
        first_refused: moment(*time),
        first_limit: replay.simulation.refusers.get(usize::from(*limit)).map_or("", |limit| &limit.rate),
    }
}

fn shadow_part<'r>(replay: &Replay, shadowed: &'r ShadowedKey) -> ShadowPart<'r> {
    let ShadowedKey { key, name, refused, first } = shadowed;
    let requests = replay.keys.of(*key).requests;
    ShadowPart {
        key: &name.key,
        policy: &name.policy,
        requests,
        shadow_refused: *refused,
        first_refused: moment(*first),
    }
}

fn against_part(against: &Against) -> AgainstPart<'_> {
    let Against { replay, difference } = against;
    let Difference { both, only_here, only_there, by_policy_here, by_policy_there, keys, .. } = difference;
    AgainstPart {
        config: replay.name(),
        policies: policies(replay),
        refused: replay.tally.totals.refused,
        refused_by_both: *both,
        refused_only_by_config: *only_here,
        refused_only_by_against: *only_there,
        only_by_config: by_policy_here,
        only_by_against: by_policy_there,
        keys_limited_only_by_config: difference.limited_only_here,
        keys_limited_only_by_against: difference.limited_only_there,
        keys: keys.iter().map(difference_part).collect(),
    }
}

fn difference_part(KeyDifference { key, counts }: &KeyDifference) -> DifferencePart<'_> {
    DifferencePart {
        key,
        refused_by_config: counts.here,
        refused_by_against: counts.there,
        refused_only_by_config: counts.only_here,
        refused_only_by_against: counts.only_there,
    }
}

fn file_part(count: &FileCount) -> FilePart<'_> {
    let FileCount { name, lines, requests, blank, unreadable, odd, comments, pieces, outside, .. } = count;
    FilePart {
        file: name,
        lines: *lines,
        requests: *requests,
        blank: *blank,
        unreadable: *unreadable,
        odd: *odd,
        comments: *comments,
        pieces: *pieces,
        outside: *outside,
        forms: count.forms().into_iter().map(|(form, count)| (form.name(), count)).collect(),
    }
}

fn totals(input: &Input, replay: &Replay) -> Totals {
    let delays = replay.simulation.delays;
    Totals {
        lines: sum(input, |file| file.lines),
        requests: sum(input, |file| file.requests),
        blank: sum(input, |file| file.blank),
        unreadable: sum(input, |file| file.unreadable),
        odd: sum(input, |file| file.odd),
        outcomes: counts_part(replay.tally.totals),
        distinct_keys: replay.keys.seen(),
        limited_keys: replay.keys.limited.len(),
        without_key: replay.keys.without_key,
        out_of_order: input.out_of_order,
        first: moment(input.records.first().unwrap_or(0)),
        last: moment(input.records.last().unwrap_or(0)),
        delay_seconds_total: delays.total.as_secs_f64(),
        delay_seconds_longest: delays.longest.as_secs_f64(),
        incomplete: input.incomplete,
        without_policy: replay.keys.without_policy,
        without_address: input.without_address,
        lists: input.lists,
        without_zone: input.zoneless,
        outside: sum(input, |file| file.outside),
        comments: sum(input, |file| file.comments),
        pieces: sum(input, |file| file.pieces),
        far_away: input.far_away.0,
        interrupted: input.is_interrupted,
    }
}

fn minute_part(minute: &Minute) -> MinutePart {
    MinutePart { minute: moment(minute.start), outcomes: counts_part(minute.counts) }
}

fn counts_part(Counts { allowed, delayed, refused, exempt }: Counts) -> CountsPart {
    CountsPart { allowed, delayed, refused, exempt }
}

fn flaw_part(flaw: &Flaw) -> FlawPart<'_> {
    FlawPart { file: &flaw.file, line: flaw.line, reason: &flaw.reason, text: &flaw.text }
}

fn engine_part(engine: &Engine) -> EnginePart {
    EnginePart {
        checks: engine.checks,
        seconds: engine.elapsed.as_secs_f64(),
        checks_per_second: engine.checks_per_second(),
        capacity: engine.stats.capacity,
        bytes: engine.stats.bytes,
        evictions: engine.stats.evictions,
        refused_full: engine.stats.refused_full,
        untracked: engine.stats.untracked,
    }
}

fn moment(nanos: u64) -> String {
    timestamp(nanos).to_string()
}
