//! The requests through the limiter, on the clock of the log.

use std::time::Duration;

use http::StatusCode;
use tollgate::Stats;
use tollgate::clock::{Clock, ExactClock, Instant, ManualClock};
use tollgate_http::limiter::Simulator;
use tollgate_http::stats::PolicyStats;
use tollgate_http::{ConfigError, Decision as Answer, LimiterConfig, RateLimiter, Refusal};

use super::super::ingest::Input;
use super::super::log::time::timestamp;
use super::super::progress::Progress;
use super::super::record::{Record, Records, RequestId};
use super::super::tally::{Outcome, Stored, Tally};
use super::super::timeline::Timelines;
use super::counter::KeyCounter;
use super::fields::RequestFields;
use super::matches::{KeyId, Matches};
use crate::values::failure::Failure;

/// A limiter takes times up to ten years after the one its clock showed when it was built.
const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);

/// Requests between two looks at the stopwatch and the progress bar: few enough to stay in the nearest caches.
const CHUNK: usize = 1 << 11;

/// What came of a log under one set of rules.
#[derive(Debug)]
pub(crate) struct Simulation {
    /// In the order of the records, if they are to be kept.
    pub(crate) outcomes: Vec<Stored>,
    pub(crate) matches: Matches,
    /// The limits that have refused.
    pub(crate) refusers: Vec<Refuser>,
    pub(crate) shadow_refusals: Vec<ShadowRefusal>,
    pub(crate) delays: Delays,
    /// The policies with the limiter's own counts.
    pub(crate) policies: Vec<PolicyStats>,
    pub(crate) engine: Engine,
}

/// A limit that has refused.
#[derive(Debug)]
pub(crate) struct Refuser {
    /// As in header fields.
    pub(crate) name: String,
    /// The index of its policy.
    index: usize,
    pub(crate) policy: String,
    /// As a rate string.
    pub(crate) rate: String,
}

/// A shadow policy would have refused a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ShadowRefusal {
    /// Of the request, in nanoseconds since 1970.
    pub(crate) time: u64,
    pub(crate) key: KeyId,
}

/// How long a queue held requests back.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Delays {
    pub(crate) total: Duration,
    pub(crate) longest: Duration,
}

/// How much work it was.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Requests that were put to the limiter.
    pub(crate) checks: u64,
    /// Time spent in the loop that does nothing else.
    pub(crate) elapsed: Duration,
    pub(crate) stats: Stats,
}

impl Engine {
    pub(crate) fn checks_per_second(&self) -> u64 {
        let nanos = self.elapsed.as_nanos().max(1);
        let rate = u128::from(self.checks) * Duration::from_secs(1).as_nanos() / nanos;
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

/// How a log is replayed, and what is counted on the way.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Whether the table is of the settings' own capacity, and not of one that has room for everybody.
    pub(crate) has_own_capacity: bool,
    /// Whether what became of each request is kept, to be compared with another run.
    pub(crate) keeps_outcomes: bool,
    pub(crate) timelines: Timelines,
}

/// What was counted on the way.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) tally: Tally,
    pub(crate) keys: KeyCounter,
    pub(crate) timelines: Timelines,
}

/// Replays `input` under `settings`.
pub(crate) fn simulate(
    settings: LimiterConfig,
    fields: &RequestFields,
    input: &Input,
    plan: Plan,
) -> Result<(Simulation, Counted), Failure> {
    let Plan { has_own_capacity, keeps_outcomes, timelines } = plan;
    let first = start(&input.records)?;
    // The clock stands at the first request: a log may be older than any range around today.
    let build = |settings| {
        let clock = ManualClock::new(Instant::from_nanos(first));
        RateLimiter::with_clock(settings, clock).map_err(|error| unusable(&error))
    };
    let matches = Matches::new(build(settings.clone().capacity(1))?, fields, &input.texts)?;
    let settings = if has_own_capacity { settings } else { settings.capacity(matches.buckets(&input.records)) };
    let statuses = if fields.status { fields.statuses(&input.texts) } else { Vec::new() };
    let names = settings.policies().iter().map(|policy| policy.name().to_owned()).collect();
    let limiter = build(settings)?;
    let mut player = Player {
        simulator: limiter.simulator(),
        limiter,
        names,
        matches: &matches,
        statuses,
        refusers: Vec::new(),
        shadow_refusals: Vec::new(),
        delays: Delays::default(),
    };
    let mut outcomes = Vec::with_capacity(if keeps_outcomes { input.records.len() } else { 0 });
    let keys = KeyCounter::new(&matches, input.texts.len());
    let mut counted = Counted { tally: Tally::default(), keys, timelines };
    let elapsed = player.play(&input.records, &mut counted, keeps_outcomes.then_some(&mut outcomes));
    let Player { limiter, refusers, shadow_refusals, delays, .. } = player;
    let checks = u64::try_from(input.records.len()).unwrap_or(u64::MAX);
    let engine = Engine { checks, elapsed, stats: limiter.stats() };
    let policies = limiter.policies(0);
    Ok((Simulation { outcomes, matches, refusers, shadow_refusals, delays, policies, engine }, counted))
}

fn unusable(error: &ConfigError) -> Failure {
    Failure::Usage(format!("the policies cannot be used: {error}"))
}

/// The first time of sorted records, if one limiter can hold the last, too.
fn start(records: &Records) -> Result<u64, Failure> {
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return Err(Failure::Data("there is no request in the log".to_owned()));
    };
    if Duration::from_nanos(last - first) > LONGEST {
        let (first, last) = (timestamp(first), timestamp(last));
        return Err(Failure::Data(format!(
            "the log reaches from {first} to {last}; at most ten years can be replayed at once"
        )));
    }
    Ok(first)
}

impl Simulation {
    /// The key of a refused request in the policy that refused it.
    pub(crate) fn refused_key(&self, request: RequestId, outcome: Outcome) -> Option<KeyId> {
        refused_key(&self.matches, &self.refusers, request, outcome)
    }
}

fn refused_key(matches: &Matches, refusers: &[Refuser], request: RequestId, outcome: Outcome) -> Option<KeyId> {
    let Outcome::Refused(limit) = outcome else { return None };
    matches.key_in(request, refusers.get(usize::from(limit))?.index)
}

struct Player<'m> {
    limiter: RateLimiter<ManualClock>,
    simulator: Simulator<ManualClock>,
    /// Of the policies, in their order.
    names: Vec<String>,
    matches: &'m Matches,
    /// By request; empty if no policy asks for them.
    statuses: Vec<Option<StatusCode>>,
    refusers: Vec<Refuser>,
    shadow_refusals: Vec<ShadowRefusal>,
    delays: Delays,
}

impl Player<'_> {
    /// Puts all requests to the limiter and counts what becomes of them; returns how long the limiter took.
    fn play(&mut self, records: &Records, counted: &mut Counted, mut kept: Option<&mut Vec<Stored>>) -> Duration {
        let progress = Progress::replaying(u64::try_from(records.len()).unwrap_or(u64::MAX));
        // The one clock here that runs. The operating system's will do for whole chunks, and needs no calibration.
        let stopwatch = ExactClock::from_os();
        let (mut elapsed, mut done) = (Duration::ZERO, 0);
        let mut records = records.iter();
        let (mut chunk, mut outcomes) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
        loop {
            chunk.clear();
            chunk.extend(records.by_ref().take(CHUNK));
            if chunk.is_empty() {
                counted.keys.finish();
                return elapsed;
            }
            let start = stopwatch.now();
            outcomes.extend(chunk.iter().map(|record| self.pass(*record)));
            elapsed += stopwatch.now().saturating_duration_since(start);
            done += chunk.len();
            for (record, outcome) in chunk.iter().zip(outcomes.drain(..)) {
                let minute = counted.tally.add(record.time, outcome);
                let refused = refused_key(self.matches, &self.refusers, record.request, outcome);
                counted.keys.add(*record, outcome, minute, refused);
                counted.timelines.add(record.time, outcome);
                if let Some(kept) = &mut kept {
                    kept.push(Stored::from(outcome));
                }
            }
            progress.at(u64::try_from(done).unwrap_or(u64::MAX));
        }
    }

    /// Puts one request to the limiter, and settles with it at once: the log does not say when the response was sent.
    fn pass(&mut self, record: Record) -> Outcome {
        let Record { time, request } = record;
        let now = Instant::from_nanos(time);
        self.limiter.clock().set(now);
        let matched = self.matches.matched(request);
        match self.simulator.check(matched, now) {
            Answer::Refused(refusal) => self.refused_by(&refusal),
            Answer::Admitted(mut admission) => {
                for policy in admission.shadow_refusals() {
                    let key = self.index(policy).and_then(|policy| self.matches.key_in(request, policy));
                    self.shadow_refusals.extend(key.map(|key| ShadowRefusal { time, key }));
                }
                // Of several queues, what their lines say; who would meet whom at the gates, the log does not tell.
                let delay = admission.wait();
                // Without a status, nothing is charged or given back that depends on it.
                match self.statuses.get(request.index()).copied().flatten() {
                    Some(status) => admission.settle(status),
                    None => admission.withdraw(),
                }
                if !delay.is_zero() {
                    self.delays.total += delay;
                    self.delays.longest = self.delays.longest.max(delay);
                    Outcome::Delayed
                } else if !matched.is_empty() && matched.iter().all(tollgate_http::limiter::KnownMatch::is_exempt) {
                    Outcome::Exempt
                } else {
                    Outcome::Allowed
                }
            }
        }
    }

    /// Of the policy of that name.
    fn index(&self, policy: &str) -> Option<usize> {
        self.names.iter().position(|name| name == policy)
    }

    fn refused_by(&mut self, refusal: &Refusal) -> Outcome {
        let (name, policy) = (refusal.limit_status().map_or("", |standing| standing.name), refusal.policy());
        let known = self.refusers.iter().position(|limit| limit.name == name && limit.policy == policy);
        let index = known.unwrap_or_else(|| {
            let rate = refusal.limit_status().map_or_else(String::new, |standing| format!("{:#}", standing.quota));
            let index = self.index(policy).unwrap_or(usize::MAX);
            self.refusers.push(Refuser { name: name.to_owned(), index, policy: policy.to_owned(), rate });
            self.refusers.len() - 1
        });
        Outcome::Refused(u16::try_from(index).unwrap_or(Stored::MAX_LIMIT))
    }
}
