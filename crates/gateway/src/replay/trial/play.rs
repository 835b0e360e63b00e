//! The requests through the limiter, on the clock of the log.

use std::time::Duration;

use tollgate::clock::{Clock, ExactClock, Instant, ManualClock};
use tollgate_http::limiter::AsyncKeys as AskedKeys;
use tollgate_http::stats::PolicyStats;
use tollgate_http::{ConfigError, Decision as Answer, LimiterConfig, RateLimiter, Refusal};

use super::super::engine::{CHUNK, Delays, Run, start};
use super::super::ingest::Input;
use super::super::intern::KeyId;
use super::super::progress::Progress;
use super::super::record::{Outcome, Record};
use super::asked::{Asked, Asking};
use super::meetings::{Meeting, Meetings};
use super::outcome::Outcomes;
use crate::values::failure::Failure;

/// What came of a log under one config file.
pub(super) struct Played {
    /// As they were read, each with its outcome, and a refused one with its key in the policy that refused it.
    pub(super) records: Vec<Record>,
    pub(super) meetings: Meetings,
    /// The limits that have refused.
    pub(super) limits: Vec<Refuser>,
    pub(super) run: Run,
    /// The policies with the limiter's own counts.
    pub(super) views: Vec<PolicyStats>,
    pub(super) outcome: Outcomes,
}

/// A limit that has refused.
#[derive(Debug)]
pub(super) struct Refuser {
    /// As in header fields.
    pub(super) name: String,
    pub(super) policy: String,
    /// As a rate string.
    pub(super) rate: String,
}

/// A shadow policy would have refused a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShadowRefusal {
    /// Of the request, in nanoseconds since 1970.
    pub(super) time: u64,
    pub(super) key: KeyId,
}

/// Replays `input` under `settings`, in a table that has room for everybody unless the settings' own capacity is wanted.
pub(super) fn play(
    settings: LimiterConfig,
    asked: &Asked,
    input: &Input,
    has_own_capacity: bool,
) -> Result<Played, Failure> {
    let first = start(&input.records)?;
    // The clock stands at the first request: a log may be older than any range around today.
    let build = |settings| {
        let clock = ManualClock::new(Instant::from_nanos(first));
        RateLimiter::with_clock(settings, clock).map_err(|error| unusable(&error))
    };
    // One that is only asked takes no room.
    let meetings = Meetings::new(&build(settings.clone().capacity(1))?, asked, &input.keys)?;
    let capacity = meetings.buckets(&settings, &input.records);
    let settings = if has_own_capacity { settings } else { settings.capacity(capacity) };
    let mut player = Player {
        names: settings.policies().iter().map(|policy| policy.name().to_owned()).collect(),
        limiter: build(settings)?,
        meetings: &meetings,
        limits: Vec::new(),
        shadow_refusals: Vec::new(),
        delays: Delays::default(),
    };
    let mut records = input.records.clone();
    let (checks, elapsed) = player.pass_all(&mut records, asked, input);
    let Player { limiter, limits, shadow_refusals, delays, .. } = player;
    let run = Run { checks, elapsed, delays, stats: limiter.stats() };
    let views = limiter.policies(0);
    let outcome = Outcomes::new(&input.records, &records, &meetings, limits.len(), &shadow_refusals);
    Ok(Played { records, meetings, limits, run, views, outcome })
}

fn unusable(error: &ConfigError) -> Failure {
    Failure::Usage(format!("the policies cannot be used: {error}"))
}

struct Player<'m> {
    limiter: RateLimiter<ManualClock>,
    /// Of the policies, in their order.
    names: Vec<String>,
    meetings: &'m Meetings,
    limits: Vec<Refuser>,
    shadow_refusals: Vec<ShadowRefusal>,
    delays: Delays,
}

impl Player<'_> {
    /// Puts all requests to the limiter; returns how many there were, and how long the limiter took.
    fn pass_all(&mut self, records: &mut [Record], asked: &Asked, input: &Input) -> (u64, Duration) {
        let texts: Vec<&str> = input.keys.iter().collect();
        let progress = Progress::replaying(u64::try_from(records.len()).unwrap_or(u64::MAX));
        let stopwatch = ExactClock::from_os();
        let (mut checks, mut elapsed) = (0, Duration::ZERO);
        for chunk in records.chunks_mut(CHUNK) {
            let text = |record: &Record| record.key.and_then(|key| texts.get(key.index()).copied());
            let asking: Vec<Asking> =
                chunk.iter().map(|record| asked.request(text(record).unwrap_or_default())).collect();
            let start = stopwatch.now();
            for (record, asking) in chunk.iter_mut().zip(&asking) {
                self.pass(record, asking);
            }
            elapsed += stopwatch.now().saturating_duration_since(start);
            checks += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
            progress.at(checks);
        }
        (checks, elapsed)
    }

    /// Puts one request to the limiter, and settles with it at once: the log does not say when the response was sent.
    fn pass(&mut self, record: &mut Record, asking: &Asking) {
        let Some(request) = record.key.take() else { return };
        let met = self.meetings.of(request);
        let now = Instant::from_nanos(record.time);
        self.limiter.clock().set(now);
        record.outcome = match self.limiter.check_at(&asking.info(), &AskedKeys::default(), now) {
            Answer::Refused(refusal) => {
                record.key = self.key(met, refusal.policy());
                self.refused_by(&refusal)
            }
            Answer::Admitted(mut admission) => {
                for policy in admission.shadow_refusals() {
                    let refused = self.key(met, policy).map(|key| ShadowRefusal { time: record.time, key });
                    self.shadow_refusals.extend(refused);
                }
                // Of several queues, what their lines say; who would meet whom at the gates, the log does not tell.
                let delay = admission.wait();
                // Without a status, nothing is charged or given back that depends on it.
                match asking.status {
                    Some(status) => admission.settle(status),
                    None => admission.withdraw(),
                }
                self.delays.total += delay;
                self.delays.longest = self.delays.longest.max(delay);
                if !delay.is_zero() {
                    Outcome::Delayed
                } else if !met.is_empty() && met.iter().all(|meeting| meeting.key.is_none()) {
                    Outcome::Exempt
                } else {
                    Outcome::Allowed
                }
            }
        };
    }

    /// The key in the policy of that name.
    fn key(&self, met: &[Meeting], policy: &str) -> Option<KeyId> {
        let is_it = |meeting: &&Meeting| self.names.get(meeting.policy).is_some_and(|name| name == policy);
        met.iter().find(is_it)?.key
    }

    fn refused_by(&mut self, refusal: &Refusal) -> Outcome {
        let name = refusal.limit_status().map_or("", |standing| standing.name);
        let known = self.limits.iter().position(|limit| limit.name == name);
        let index = known.unwrap_or_else(|| {
            let rate = refusal.limit_status().map_or_else(String::new, |standing| format!("{:#}", standing.quota));
            self.limits.push(Refuser { name: name.to_owned(), policy: refusal.policy().to_owned(), rate });
            self.limits.len() - 1
        });
        Outcome::Refused(u16::try_from(index).unwrap_or(u16::MAX))
    }
}
