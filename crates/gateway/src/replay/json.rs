//! The result for programs. Field names are a promise: they may be added to, and `schema` changes when one goes.

use serde::Serialize;

use super::Replay;
use super::engine::Run;
use super::ingest::{FileCount, Flaw, Input};
use super::key::shown;
use super::log::time::timestamp;
use super::policy::Policy;
use super::tally::{Counts, Minute, Tally};
use crate::values::failure::Failure;

#[derive(Serialize)]
struct Document<'r> {
    schema: u32,
    policy: PolicyPart,
    input: Vec<FilePart<'r>>,
    totals: Totals,
    limits: Vec<LimitPart>,
    keys: Vec<KeyPart<'r>>,
    minutes: Vec<MinutePart>,
    unreadable: Vec<FlawPart<'r>>,
    odd: Vec<FlawPart<'r>>,
    engine: EnginePart,
}

#[derive(Serialize)]
struct PolicyPart {
    limits: Vec<String>,
    algorithm: &'static str,
    key: String,
    exempt: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct FilePart<'r> {
    file: &'r str,
    lines: u64,
    requests: u64,
    blank: u64,
    unreadable: u64,
    odd: u64,
}

#[derive(Serialize)]
pub(super) struct Totals {
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
}

#[derive(Serialize)]
pub(super) struct CountsPart {
    allowed: u64,
    delayed: u64,
    refused: u64,
    exempt: u64,
}

#[derive(Serialize)]
struct LimitPart {
    limit: String,
    refused: u64,
}

#[derive(Serialize)]
struct KeyPart<'r> {
    key: std::borrow::Cow<'r, str>,
    requests: u64,
    allowed: u64,
    delayed: u64,
    refused: u64,
    first_refused: String,
    first_limit: String,
}

#[derive(Serialize)]
pub(super) struct MinutePart {
    minute: String,
    #[serde(flatten)]
    outcomes: CountsPart,
}

#[derive(Serialize)]
pub(super) struct FlawPart<'r> {
    file: &'r str,
    line: u64,
    reason: &'r str,
    text: &'r str,
}

#[derive(Serialize)]
pub(super) struct EnginePart {
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
pub(crate) fn render(replay: &Replay) -> Result<String, Failure> {
    let Replay { policy, input, run, tally } = replay;
    let document = Document {
        schema: 1,
        policy: policy_part(policy),
        input: file_parts(input),
        totals: totals(input, run, tally, input.keys.len(), input.without_key),
        limits: policy
            .quotas
            .iter()
            .zip(&tally.by_limit)
            .map(|(quota, &refused)| LimitPart { limit: policy.shown(quota), refused })
            .collect(),
        keys: keys(policy, input, tally),
        minutes: minute_parts(tally),
        unreadable: flaw_parts(&input.unreadable),
        odd: flaw_parts(&input.odd),
        engine: engine_part(run),
    };
    written(&document)
}

pub(super) fn written(document: &impl Serialize) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(document)
        .map_err(|error| Failure::Other(format!("cannot write the result as JSON: {error}")))?;
    text.push('\n');
    Ok(text)
}

pub(super) fn file_parts(input: &Input) -> Vec<FilePart<'_>> {
    input.files.iter().map(file_part).collect()
}

pub(super) fn flaw_parts(flaws: &[Flaw]) -> Vec<FlawPart<'_>> {
    flaws.iter().map(flaw_part).collect()
}

pub(super) fn minute_parts(tally: &Tally) -> Vec<MinutePart> {
    tally.minutes.iter().map(minute_part).collect()
}

fn policy_part(policy: &Policy) -> PolicyPart {
    PolicyPart {
        limits: policy.quotas.iter().map(|quota| policy.shown(quota)).collect(),
        algorithm: policy.algorithm.name(),
        key: policy.key.to_string(),
        exempt: policy.exemptions.iter().map(ToString::to_string).collect(),
    }
}

fn file_part(count: &FileCount) -> FilePart<'_> {
    let FileCount { name, lines, requests, blank, unreadable, odd } = count;
    FilePart { file: name, lines: *lines, requests: *requests, blank: *blank, unreadable: *unreadable, odd: *odd }
}

pub(super) fn totals(input: &Input, run: &Run, tally: &Tally, distinct_keys: usize, without_key: u64) -> Totals {
    let sum = |of: fn(&FileCount) -> u64| input.files.iter().map(of).sum();
    Totals {
        lines: sum(|file| file.lines),
        requests: sum(|file| file.requests),
        blank: sum(|file| file.blank),
        unreadable: sum(|file| file.unreadable),
        odd: sum(|file| file.odd),
        outcomes: counts_part(tally.totals),
        distinct_keys,
        limited_keys: tally.limited.len(),
        without_key,
        out_of_order: input.out_of_order,
        first: moment(input.records.first().map_or(0, |record| record.time)),
        last: moment(input.records.last().map_or(0, |record| record.time)),
        delay_seconds_total: run.delays.total.as_secs_f64(),
        delay_seconds_longest: run.delays.longest.as_secs_f64(),
    }
}

fn keys<'r>(policy: &Policy, input: &'r Input, tally: &Tally) -> Vec<KeyPart<'r>> {
    let part = |&id| {
        let key = &tally.by_key[super::intern::KeyId::index(id)];
        let (time, limit) = key.first_refused?;
        let Counts { allowed, delayed, refused, .. } = key.counts;
        Some(KeyPart {
            key: shown(input.keys.text(id)),
            requests: key.counts.total(),
            allowed,
            delayed,
            refused,
            first_refused: moment(time),
            first_limit: policy.shown(&policy.quotas[usize::from(limit)]),
        })
    };
    tally.limited.iter().filter_map(part).collect()
}

fn minute_part(minute: &Minute) -> MinutePart {
    MinutePart { minute: moment(minute.start), outcomes: counts_part(minute.counts) }
}

pub(super) fn counts_part(Counts { allowed, delayed, refused, exempt }: Counts) -> CountsPart {
    CountsPart { allowed, delayed, refused, exempt }
}

fn flaw_part(flaw: &Flaw) -> FlawPart<'_> {
    FlawPart { file: &flaw.file, line: flaw.line, reason: &flaw.reason, text: &flaw.text }
}

pub(super) fn engine_part(run: &Run) -> EnginePart {
    EnginePart {
        checks: run.checks,
        seconds: run.elapsed.as_secs_f64(),
        checks_per_second: run.checks_per_second(),
        capacity: run.stats.capacity,
        bytes: run.stats.bytes,
        evictions: run.stats.evictions,
        refused_full: run.stats.refused_full,
        untracked: run.stats.untracked,
    }
}

pub(super) fn moment(nanos: u64) -> String {
    timestamp(nanos).to_string()
}
