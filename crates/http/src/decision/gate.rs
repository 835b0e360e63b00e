//! Gates: how several queues are kept at one instant.
//!
//! A queue promises each request an instant. A request that waits in several goes at the latest of them; in the others it
//! goes later than it was promised, and might do so together with all that were late like it. So where one request can
//! wait in several queues, each of them has a gate, too: a bucket of the same pace in which no request waits. A request whose
//! wait is over passes the gates of all its queues as of one instant, or passes none and waits on. The line says how many
//! may wait and who is next, the gate when they go.
//!
//! Nothing is taken ahead at a gate. A line that all clients share would stand still for them if one of them, whose own
//! line is long, took a place far in the future.

use std::time::Duration;

use smallvec::SmallVec;
use tollgate::clock::{Clock, Instant};
use tollgate::{Algorithm, KeyHash, Limit, Quota, SetItem};

use crate::config::Charge;
use crate::config::Policy;
use crate::decision::engine::Engine;

/// How long a request waits before it asks again, if it is told no time.
const PATIENCE: Duration = Duration::from_secs(1);

/// A gate, who is at it, and how many turns it takes.
pub(crate) type Gate<'r> = (&'r Limit, KeyHash, u64);

/// The gates of one request.
pub(crate) type Gates<'r> = SmallVec<[Gate<'r>; 4]>;

/// What the gate of a queue lets pass: one at a time.
pub(crate) fn quota(queue: &Quota) -> Quota {
    queue.with_algorithm(Algorithm::TokenBucket).with_burst(1)
}

/// Whether one request could wait in several queues.
pub(crate) fn are_needed(policies: &[Policy]) -> bool {
    let queues = |quotas: &Vec<Quota>| quotas.iter().filter(|quota| is_queue(quota)).count();
    let most = |policy: &Policy| {
        let tiers = policy.tiers.iter().flat_map(|tiers| &tiers.tiers).map(|(_, quotas)| quotas);
        tiers.chain([&policy.limits]).map(queues).max().unwrap_or(0)
    };
    policies.iter().filter(|policy| makes_wait(policy)).map(most).sum::<usize>() > 1
}

/// Whether requests wait in the queues of `policy`, if it has any: a shadow delays no request, and what is charged afterwards
/// is not waited for.
pub(crate) const fn makes_wait(policy: &Policy) -> bool {
    !policy.is_shadow && !matches!(policy.charge, Charge::OnlyOn(_))
}

pub(crate) fn is_queue(quota: &Quota) -> bool {
    quota.algorithm() == Algorithm::LeakyQueue
}

/// How long a request may wait in a queue: as long as those take that may wait before it.
pub(crate) fn longest_wait(queue: &Quota) -> Duration {
    let nanos =
        queue.period().as_nanos().saturating_mul(u128::from(queue.burst())).div_ceil(u128::from(queue.count().max(1)));
    u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
}

/// Passes all of `gates` at the instant `at`, or none: then it says how much later to try again.
pub(crate) fn pass<C: Clock>(engine: &Engine<C>, gates: &[Gate<'_>], at: Instant) -> Result<(), Duration> {
    let costly = gates.iter().filter(|(.., cost)| *cost > 0);
    let shares: SmallVec<[SetItem<'_>; 4]> = costly.map(|&(limit, key, _)| SetItem { limit, key, cost: 1 }).collect();
    if shares.is_empty() {
        return Ok(());
    }
    let view = engine.limiter.at(at);
    // No request waits at more of them than can be decided together.
    let decided = view.check_items(&shares).map_err(|_| PATIENCE)?;
    if !decided.is_allowed() {
        // At least a nanosecond later, so that this comes to an end.
        return Err(decided.decision().retry_after().unwrap_or(PATIENCE).max(Duration::from_nanos(1)));
    }
    for (limit, key, cost) in gates.iter().filter(|(.., cost)| *cost > 1) {
        // Behind it the gate stays shut for as many turns as it cost.
        view.under(limit).key(key).charge(cost - 1);
    }
    Ok(())
}
