//! Requests of keys that are leased: decided here while they can be, asked for by one at a time where they cannot.

use core::pin::pin;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use tollgate::{Key, Report};

use crate::decision::{FleetDecision, Place};
use crate::error::Outage;
use crate::exchange;
use crate::fleet::Fleet;
use crate::item::{FleetItem, Mode};
use crate::lease::anchor::Anchor;
use crate::lease::hot::{Grant, Here, Hot, Turn};
use crate::lease::near;
use crate::lease::plan::Plan;
use crate::lease::tally::Kind;
use crate::lease::word::Taken;
use crate::limit::FleetLimit;
use crate::secret::Subject;

/// The decisions about all items, if this node can make each of them alone; nothing has been asked of a server then. `None` also if
/// somebody else was faster while they were made: what was taken by then lapses.
pub(crate) fn all_here(fleet: &Fleet, items: &[FleetItem]) -> Option<Vec<FleetDecision>> {
    let make = |take: bool| {
        let make = |item: &FleetItem| item.without_server().or_else(|| here_of(fleet, item, take));
        items.iter().map(make).collect::<Option<Vec<FleetDecision>>>()
    };
    // One is taken at once; of several none before all are known to go.
    if items.len() == 1 {
        return make(true);
    }
    let looked = make(false)?;
    if !looked.iter().all(FleetDecision::is_allowed) {
        return Some(looked);
    }
    make(true).filter(|decisions| decisions.iter().all(FleetDecision::is_allowed))
}

/// How it is leased, if a request of that cost can be decided by what this node holds at all.
#[inline]
fn plan_of(limit: &FleetLimit, cost: u64) -> Option<&Plan> {
    limit.plan().filter(|plan| cost > 0 && cost <= plan.whole)
}

/// The decision, if this node can make it alone; `take` is whether the tokens are taken.
pub(crate) fn here(
    fleet: &Fleet,
    limit: &FleetLimit,
    subject: &Subject,
    cost: u64,
    take: bool,
) -> Option<FleetDecision> {
    let plan = plan_of(limit, cost)?;
    let leases = &fleet.0.leases;
    if take && let Some(decision) = take_near(fleet, limit, subject.hash(), |known| known.is(subject), plan, cost) {
        return Some(decision);
    }
    leases.with(subject, limit, |hot| {
        let now = leases.now();
        if take && let Some(taken) = take_from(fleet, hot, near::place(), plan, cost, now) {
            return Some(here_by(Place::Lease, plan.allowed(now, taken.left, taken.end)));
        }
        match hot.peek(now, cost, plan, leases.fresh) {
            Here::Allowed { report } if !take => Some(here_by(Place::Lease, report)),
            Here::Refused { report } => {
                if take {
                    leases.decided.add(near::place(), Kind::Refused);
                }
                Some(here_by(Place::Known, report))
            }
            // Also what came between: whoever asks finds it.
            _ => None,
        }
    })?
}

/// Takes what a key's request costs, if this thread knows that it is hot, and enough is held: what most requests of such keys are, so
/// nothing is made or copied before.
#[inline]
pub(crate) fn here_near<K: Key + ?Sized>(
    fleet: &Fleet,
    limit: &FleetLimit,
    key: &K,
    cost: u64,
) -> Option<FleetDecision> {
    let plan = plan_of(limit, cost)?;
    take_near(fleet, limit, fleet.hash_of(key), |known| known.is_key(key), plan, cost)
}

#[inline(always)]
fn take_near(
    fleet: &Fleet,
    limit: &FleetLimit,
    hash: u64,
    is_it: impl FnOnce(&Subject) -> bool,
    plan: &Plan,
    cost: u64,
) -> Option<FleetDecision> {
    let leases = &fleet.0.leases;
    let (taken, now) = leases.near(hash, is_it, limit, |hot, place| {
        let now = leases.now();
        Some((take_from(fleet, hot, place, plan, cost, now)?, now))
    })?;
    Some(here_by(Place::Lease, plan.allowed(now, taken.left, taken.end)))
}

#[inline(always)]
fn take_from(fleet: &Fleet, hot: &Arc<Hot>, place: Option<usize>, plan: &Plan, cost: u64, now: u64) -> Option<Taken> {
    let taken = hot.take(now, cost, plan)?;
    if hot.is_low(taken, now) {
        ask_soon(fleet, hot);
    }
    fleet.0.leases.decided.add(place, Kind::Allowed);
    Some(taken)
}

#[inline]
const fn here_by(place: Place, report: Report) -> FleetDecision {
    FleetDecision { report, place, at_us: None, mine: 0 }
}

/// As [`here`], of an item.
pub(crate) fn here_of(fleet: &Fleet, item: &FleetItem, take: bool) -> Option<FleetDecision> {
    here(fleet, &item.limit, &item.subject, item.cost, take)
}

/// Decides an item that [`here`] could not decide, if its key is hot; else it is one for an exact check.
pub(crate) async fn check(fleet: &Fleet, item: &FleetItem, until: Instant) -> Option<FleetDecision> {
    plan_of(&item.limit, item.cost)?;
    let leases = &fleet.0.leases;
    let hot = leases.get(&item.subject, &item.limit, leases.now())?;
    if let Some(turn) = hot.turn() {
        return Some(ask(fleet, item, &hot, turn, until).await);
    }
    // Somebody is asking: what comes back may be enough for this one as well.
    let mut answered = pin!(hot.answered.notified());
    answered.as_mut().enable();
    if hot.is_asking() && timeout_at(until, answered).await.is_err() {
        return Some(item.without_answer(fleet, Outage::Deadline, Mode::Take));
    }
    if let Some(decision) = here_of(fleet, item, true) {
        return Some(decision);
    }
    // Once only: whoever waits in line for each answer in turn waits for all of them.
    let turn = hot.turn()?;
    Some(ask(fleet, item, &hot, turn, until).await)
}

/// Asks for an item, and for tokens in advance.
async fn ask(fleet: &Fleet, item: &FleetItem, hot: &Arc<Hot>, turn: Turn, until: Instant) -> FleetDecision {
    match fetch(fleet, item, hot, turn, until).await {
        Ok(decision) => decision,
        Err(outage) => item.without_answer(fleet, outage, Mode::Take),
    }
}

async fn fetch(
    fleet: &Fleet,
    item: &FleetItem,
    hot: &Arc<Hot>,
    turn: Turn,
    until: Instant,
) -> Result<FleetDecision, Outage> {
    let leases = &fleet.0.leases;
    leases.count_asked();
    let returns = hot.returns();
    let leased = exchange::lease(fleet, item, hot, until).await?;
    let own = Anchor { sent: leased.sent, read: leases.now(), server_us: leased.now };
    let (best, stepped) = leased.clock.learn(own);
    if stepped {
        // This answer is of the new time, and the key that it was for of the old.
        leases.step();
    } else if let Some(plan) = item.limit.plan() {
        let (fits, cost, tokens, link) = (leased.part.fits, item.cost, leased.tokens, leased.link);
        hot.learn(&Grant { own, best, fits, cost, evidence: &leased.part.evidence, tokens, link, returns }, plan);
    }
    drop(turn);
    let mut decision = item.decided(&leased.part, leased.now);
    // What is held here is as good as what is there.
    decision.report.remaining = decision.report.remaining.max(if stepped { 0 } else { leased.tokens });
    Ok(decision)
}

/// Has tokens fetched before those that are held are gone.
#[cold]
fn ask_soon(fleet: &Fleet, hot: &Arc<Hot>) {
    let (Ok(runtime), Some(turn)) = (tokio::runtime::Handle::try_current(), hot.turn()) else { return };
    let item = FleetItem { limit: hot.limit.clone(), subject: hot.subject.clone(), cost: 0 };
    let (fleet, hot) = (fleet.clone(), Arc::clone(hot));
    runtime.spawn(async move {
        let until = Instant::now() + fleet.0.deadline;
        // Nobody waits for it: an outage is met by whoever asks next.
        let _ = fetch(&fleet, &item, &hot, turn, until).await;
    });
}

/// As a part of a set asks: for itself elsewhere, and here for those that come next.
pub(crate) fn warm(fleet: &Fleet, item: &FleetItem) {
    if plan_of(&item.limit, item.cost).is_some()
        && let Some(hot) = fleet.0.leases.get(&item.subject, &item.limit, fleet.0.leases.now())
    {
        ask_soon(fleet, &hot);
    }
}
