//! The replay itself: every record through the limiter, on the clock of the log.

use std::time::Duration;

use tollgate::clock::{Clock, ExactClock, Instant, ManualClock};
use tollgate::{Algorithm, Limit, LimitSet, Limiter, Quota, Stats};

use super::ingest::Input;
use super::log::time::timestamp;
use super::policy::Policy;
use super::progress::Progress;
use super::record::{Outcome, Record};
use crate::values::failure::Failure;

/// A limiter takes times up to ten years after the one its clock showed when it was built.
const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);

/// Requests between two looks at the stopwatch and the progress bar.
pub(super) const CHUNK: usize = 1 << 16;

/// What the replay says besides the outcome that it wrote into each record.
#[derive(Debug)]
pub(crate) struct Run {
    /// Requests that were put to the limiter.
    pub(crate) checks: u64,
    /// Time spent in the loop that does nothing else.
    pub(crate) elapsed: Duration,
    pub(crate) delays: Delays,
    pub(crate) stats: Stats,
}

/// How long a queue held requests back.
#[derive(Debug, Default)]
pub(crate) struct Delays {
    pub(crate) total: Duration,
    pub(crate) longest: Duration,
}

/// Replays `input` under `policy`; the outcomes are in the records afterwards.
pub(crate) fn replay(policy: &Policy, input: &mut Input) -> Result<Run, Failure> {
    let engine = Engine::new(policy, input)?;
    let mut run = Run { checks: 0, elapsed: Duration::ZERO, delays: Delays::default(), stats: engine.limiter.stats() };
    let keys: Vec<&str> = input.keys.iter().collect();
    let progress = Progress::replaying(u64::try_from(input.records.len()).unwrap_or(u64::MAX));
    // The one clock here that runs. The operating system's will do for whole chunks, and needs no calibration.
    let stopwatch = ExactClock::from_os();
    let mut done = 0;
    for chunk in input.records.chunks_mut(CHUNK) {
        let start = stopwatch.now();
        let checks = engine.pass(chunk, &keys, &mut run.delays);
        run.elapsed += stopwatch.now().saturating_duration_since(start);
        run.checks += checks;
        done += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        progress.at(done);
    }
    run.stats = engine.limiter.stats();
    Ok(run)
}

struct Engine {
    limiter: Limiter<ManualClock>,
    limits: Vec<Limit>,
    set: LimitSet,
    is_queue: bool,
}

impl Engine {
    fn new(policy: &Policy, input: &Input) -> Result<Self, Failure> {
        let first = start(&input.records)?;
        let (head, others) =
            policy.quotas.split_first().ok_or_else(|| Failure::Usage("no limit was given".to_owned()))?;
        let mut builder = Limiter::builder(*head).capacity(buckets(policy, input));
        for quota in others {
            builder = builder.also_exact_for(*quota);
        }
        // The clock stands at the first request: a log may be older than any range around today.
        let clock = ManualClock::new(Instant::from_nanos(first));
        let unusable = |error: &dyn std::error::Error| Failure::Usage(format!("the policy cannot be used: {error}"));
        let limiter = builder.clock(clock).build().map_err(|error| match error {
            tollgate::error::BuildError::Quota(error) => unusable(&error),
            other => Failure::Other(format!("cannot build the limiter: {other}")),
        })?;
        let mut limits = Vec::with_capacity(policy.quotas.len());
        for (i, quota) in policy.quotas.iter().enumerate() {
            // The number makes two limits of two that are spelled alike.
            limits.push(limiter.prepare(&format!("{i}: {quota}"), *quota).map_err(|error| unusable(&error))?);
        }
        let set = LimitSet::new(limits.iter().cloned()).map_err(|error| unusable(&error))?;
        Ok(Self { limiter, set, limits, is_queue: policy.quotas.iter().any(is_queue) })
    }

    /// Puts each record to the limiter; returns how many were.
    fn pass(&self, records: &mut [Record], keys: &[&str], delays: &mut Delays) -> u64 {
        let mut checks = 0;
        for record in records {
            let Some(key) = record.key else { continue };
            let (key, now) = (keys[key.index()], Instant::from_nanos(record.time));
            checks += 1;
            record.outcome = match (self.is_queue, &*self.limits) {
                (true, _) => self.queue(key, now, delays),
                (false, [limit]) => {
                    if self.limiter.under(limit).at(now).check(key).is_allowed() {
                        Outcome::Allowed
                    } else {
                        Outcome::Refused(0)
                    }
                }
                (false, _) => {
                    let decision = self.limiter.at(now).check_set(&self.set, key);
                    if decision.is_allowed() { Outcome::Allowed } else { refused_by(decision.index()) }
                }
            };
        }
        checks
    }

    /// A queue answers when the request may go. With several, it goes when the last of them lets it, and when one is
    /// full the places already taken in the others are given back, so that it takes from all or from none.
    fn queue(&self, key: &str, now: Instant, delays: &mut Delays) -> Outcome {
        let mut places = Vec::new();
        let mut delay = Duration::ZERO;
        for (i, limit) in self.limits.iter().enumerate() {
            // The queue's own length bounds the wait; elsewhere nobody waits.
            let max_wait = if is_queue(limit.quota()) { Duration::MAX } else { Duration::ZERO };
            match self.limiter.under(limit).at(now).key(key).reserve(1, max_wait) {
                Ok(place) => {
                    delay = delay.max(place.wait());
                    places.push(place);
                }
                Err(_) => {
                    // Last taken, first given back: each then leaves its queue as it found it.
                    for place in places.into_iter().rev() {
                        place.cancel_at(now);
                    }
                    return refused_by(i);
                }
            }
        }
        if delay.is_zero() {
            return Outcome::Allowed;
        }
        delays.total += delay;
        delays.longest = delays.longest.max(delay);
        Outcome::Delayed
    }
}

fn is_queue(quota: &Quota) -> bool {
    quota.algorithm() == Algorithm::LeakyQueue
}

fn refused_by(limit: usize) -> Outcome {
    Outcome::Refused(u16::try_from(limit).unwrap_or(u16::MAX))
}

/// The first time of sorted records, if one limiter can hold the last, too.
pub(super) fn start(records: &[Record]) -> Result<u64, Failure> {
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return Err(Failure::Data("there is no request in the log".to_owned()));
    };
    let (first, last) = (first.time, last.time);
    if Duration::from_nanos(last - first) > LONGEST {
        let (first, last) = (timestamp(first), timestamp(last));
        return Err(Failure::Data(format!(
            "the log reaches from {first} to {last}; at most ten years can be replayed at once"
        )));
    }
    Ok(first)
}

/// How many buckets can be busy at once, so that none is ever evicted for want of room.
///
/// A bucket per limit and key; a sliding log takes one for each request that it remembers.
fn buckets(policy: &Policy, input: &Input) -> usize {
    let is_log = |quota: &Quota| quota.algorithm() == Algorithm::SlidingLog;
    if !policy.quotas.iter().any(is_log) {
        return input.keys.len().saturating_mul(policy.quotas.len()).max(1);
    }
    let mut requests = vec![0_u64; input.keys.len()];
    for key in input.records.iter().filter_map(|record| record.key) {
        requests[key.index()] += 1;
    }
    let remembered = |count: u64| requests.iter().map(|&made| made.min(count)).sum::<u64>();
    let buckets_of = |quota: &Quota| remembered(if is_log(quota) { quota.count() } else { 1 });
    let total = policy.quotas.iter().map(buckets_of).fold(0, u64::saturating_add);
    usize::try_from(total).unwrap_or(usize::MAX).max(1)
}
