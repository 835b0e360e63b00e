//! The result for programs: the fields of a replay of `--limit`, and what only policies have.

use std::collections::BTreeMap;

use serde::Serialize;
use tollgate_http::stats::PolicyStats;

use super::super::ingest::Input;
use super::super::intern::KeyId;
use super::super::json::{
    EnginePart, FilePart, FlawPart, MinutePart, Totals, engine_part, file_parts, flaw_parts, minute_parts, moment,
    totals, written,
};
use super::difference::{Difference, KeyDifference};
use super::meetings::policy_and_key;
use super::outcome::Shadowed;
use super::play::Played;
use super::{Against, Trial};
use crate::values::failure::Failure;

#[derive(Serialize)]
struct Document<'r> {
    schema: u32,
    config: &'r str,
    policies: Vec<PolicyPart<'r>>,
    input: Vec<FilePart<'r>>,
    totals: TrialTotals,
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
    route: &'r str,
    key: &'r str,
    limits: &'r [String],
    concurrency: Option<u64>,
    shadow: bool,
    allowed: u64,
    refused: u64,
    shadow_refused: u64,
    exempt: u64,
}

#[derive(Serialize)]
struct TrialTotals {
    #[serde(flatten)]
    totals: Totals,
    /// Requests without an address, or without a target.
    incomplete: u64,
    without_policy: u64,
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
    key: String,
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
    key: String,
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

/// The result as one JSON object and a line end.
pub(super) fn render(input: &Input, tried: &Trial, against: Option<&Against>) -> Result<String, Failure> {
    let Trial { name, played } = tried;
    let Played { meetings, outcome, run, .. } = played;
    written(&Document {
        schema: 1,
        config: name,
        policies: policies(played),
        input: file_parts(input),
        totals: TrialTotals {
            totals: totals(input, run, &outcome.tally, meetings.keys.len(), outcome.without_key),
            incomplete: input.without_key,
            without_policy: outcome.without_policy,
        },
        limits: limits(played),
        keys: outcome.tally.limited.iter().filter_map(|&id| key(played, id)).collect(),
        shadow_keys: outcome.shadowed.iter().map(|shadowed| shadow(played, *shadowed)).collect(),
        minutes: minute_parts(&outcome.tally),
        unreadable: flaw_parts(&input.unreadable),
        odd: flaw_parts(&input.odd),
        engine: engine_part(run),
        against: against.map(against_part),
    })
}

fn policies(played: &Played) -> Vec<PolicyPart<'_>> {
    let part = |view| {
        let PolicyStats { name, route, key, limits, concurrency, is_shadow, counts, .. }: &PolicyStats = view;
        PolicyPart {
            policy: name,
            route,
            key,
            limits,
            concurrency: *concurrency,
            shadow: *is_shadow,
            allowed: counts.allowed,
            refused: counts.refused,
            shadow_refused: counts.shadow_refused,
            exempt: counts.exempt,
        }
    };
    played.views.iter().map(part).collect()
}

fn limits(played: &Played) -> Vec<LimitPart<'_>> {
    let limits = played.limits.iter().zip(&played.outcome.tally.by_limit);
    limits
        .map(|(limit, &refused)| LimitPart { limit: &limit.rate, name: &limit.name, policy: &limit.policy, refused })
        .collect()
}

fn key(played: &Played, id: KeyId) -> Option<KeyPart<'_>> {
    let refused = &played.outcome.tally.by_key[id.index()];
    let counts = &played.outcome.by_key[id.index()];
    let (time, limit) = refused.first_refused?;
    let (policy, key) = policy_and_key(played.meetings.keys.text(id));
    Some(KeyPart {
        key,
        policy,
        requests: counts.requests,
        allowed: counts.allowed,
        delayed: counts.delayed,
        refused: refused.counts.refused,
        first_refused: moment(time),
        first_limit: played.limits.get(usize::from(limit)).map_or("", |limit| &limit.rate),
    })
}

fn shadow(played: &Played, Shadowed { key: id, refused, first }: Shadowed) -> ShadowPart<'_> {
    let (policy, key) = policy_and_key(played.meetings.keys.text(id));
    let requests = played.outcome.by_key[id.index()].requests;
    ShadowPart { key, policy, requests, shadow_refused: refused, first_refused: moment(first) }
}

fn against_part(against: &Against) -> AgainstPart<'_> {
    let Against { trial, difference } = against;
    let Difference { both, only_here, only_there, by_policy_here, by_policy_there, keys, .. } = difference;
    AgainstPart {
        config: &trial.name,
        policies: policies(&trial.played),
        refused: trial.played.outcome.tally.totals.refused,
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
