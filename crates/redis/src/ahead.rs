//! Requests of keys that are leased: decided here while they can be, asked for by one at a time where they cannot.

use core::pin::pin;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use crate::decision::{FleetDecision, Place};
use crate::error::Outage;
use crate::exchange;
use crate::fleet::Fleet;
use crate::item::{FleetItem, Mode};
use crate::lease::anchor::Anchor;
use crate::lease::hot::{Grant, Here, Hot, Turn};
use crate::lease::table::Counts;
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

/// Whether an item can be decided by what this node holds at all.
fn can_be(limit: &FleetLimit, cost: u64) -> bool {
    limit.is_leased() && cost > 0 && cost <= limit.0.rule.most()
}

/// The decision, if this node can make it alone; `take` is whether the tokens are taken.
pub(crate) fn here(
    fleet: &Fleet,
    limit: &FleetLimit,
    subject: &Subject,
    cost: u64,
    take: bool,
) -> Option<FleetDecision> {
    let plan = limit.plan().filter(|_| can_be(limit, cost))?;
    let leases = &fleet.0.leases;
    let now = leases.now();
    leases.with(subject, limit, |hot| {
        let here = match take {
            true => hot.here(now, cost, plan, leases.fresh),
            false => hot.peek(now, cost, plan, leases.fresh),
        };
        match here {
            Here::Allowed { report, is_low } => {
                if take {
                    Counts::add(&leases.counts.allowed);
                }
                if is_low {
                    ask_soon(fleet, hot);
                }
                Some(FleetDecision { report, place: Place::Lease, at_us: None, mine: 0 })
            }
            Here::Refused { report } => {
                if take {
                    Counts::add(&leases.counts.refused);
                }
                Some(FleetDecision { report, place: Place::Known, at_us: None, mine: 0 })
            }
            Here::Ask => None,
        }
    })?
}

/// As [`here`], of an item.
pub(crate) fn here_of(fleet: &Fleet, item: &FleetItem, take: bool) -> Option<FleetDecision> {
    here(fleet, &item.limit, &item.subject, item.cost, take)
}

/// Decides an item that [`here`] could not decide, if its key is hot; else it is one for an exact check.
pub(crate) async fn check(fleet: &Fleet, item: &FleetItem, until: Instant) -> Option<FleetDecision> {
    if !can_be(&item.limit, item.cost) {
        return None;
    }
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
    Counts::add(&leases.counts.asked);
    let returns = hot.returns();
    let leased = exchange::lease(fleet, item, hot.want(), until).await?;
    let own = Anchor { sent: leased.sent, read: leases.now(), server_us: leased.now };
    let (best, stepped) = leased.clock.learn(own);
    if stepped {
        // This answer is of the new time, and the key that it was for of the old.
        leases.step();
    } else if let Some(plan) = item.limit.plan() {
        let (fits, cost, tokens) = (leased.part.fits, item.cost, leased.tokens);
        hot.learn(&Grant { own, best, fits, cost, evidence: &leased.part.evidence, tokens, returns }, plan);
    }
    drop(turn);
    let mut decision = item.decided(&leased.part, leased.now);
    // What is held here is as good as what is there.
    decision.report.remaining = decision.report.remaining.max(if stepped { 0 } else { leased.tokens });
    Ok(decision)
}

/// Has tokens fetched before those that are held are gone.
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
    if can_be(&item.limit, item.cost)
        && let Some(hot) = fleet.0.leases.get(&item.subject, &item.limit, fleet.0.leases.now())
    {
        ask_soon(fleet, &hot);
    }
}
