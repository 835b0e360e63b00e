//! What is taken now for a request that goes later, under one limit or several.

use core::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tollgate::SetItem;
use tollgate::error::ReserveError;

use crate::decision::{FleetDecision, FleetSetDecision};
use crate::error::Outage;
use crate::exchange;
use crate::fleet::Fleet;
use crate::item::{self, FleetItem, Mode};
use crate::outage::OnOutage;
use crate::reply::{self, Before, Part};
use crate::request::Arg;
use crate::rule::{Adjust, Evidence};
use crate::set;

/// How a reservation is given back.
#[derive(Debug)]
pub(crate) enum Undo {
    /// The text that the debit left, and what the bucket was before.
    Bucket { left: String, before: Before },
    /// The window that counted it, or the instant.
    Count { mine: u64 },
}

impl Undo {
    /// Of what a script has taken; `None` if there is nothing to give back.
    pub(crate) fn of(item: &FleetItem, part: &Part) -> Option<Self> {
        match (&part.evidence, &part.before) {
            _ if item.cost == 0 => None,
            (Evidence::Stamp { stamp }, Some(before)) => {
                let left = item.limit.0.rule.text(*stamp, &before.mark_after, &before.surplus);
                left.map(|left| Self::Bucket { left, before: before.clone() })
            }
            (Evidence::Window { end, .. } | Evidence::Sliding { end, .. }, _) => Some(Self::Count { mine: *end }),
            (Evidence::Log { last, .. }, _) => Some(Self::Count { mine: *last }),
            _ => None,
        }
    }

    /// Whether it came back.
    async fn run(self, fleet: &Fleet, item: &FleetItem, until: Instant) -> Result<bool, Outage> {
        match self {
            Self::Bucket { left, before: Before { stamp, mark, surplus, .. } } => {
                let args = vec![
                    Arg::Text(left),
                    Arg::Number(stamp.us),
                    Arg::Number(stamp.parts),
                    Arg::Text(mark),
                    Arg::Text(item.limit.0.rule.tag().to_owned()),
                    Arg::Text(surplus),
                ];
                let value = exchange::call(fleet, item, &fleet.0.scripts.undo, args, until).await;
                fleet.0.leases.with(&item.subject, &item.limit, |hot| hot.forget());
                reply::undo(&value?).ok_or(Outage::Unreadable)
            }
            Self::Count { mine } => exchange::adjust(fleet, item, Adjust::Refund, mine, until).await.map(|_| true),
        }
    }
}

impl FleetItem {
    /// How long a request that was reserved has to wait here.
    pub(crate) fn wait(&self, part: &Part, now: u64) -> Duration {
        if self.cost == 0 { Duration::ZERO } else { self.limit.0.rule.wait(self.cost, now, &part.evidence) }
    }
}

/// Tokens taken for a request, and when it may go. Dropping it keeps the tokens taken: the request went.
#[derive(Debug)]
#[must_use = "the tokens are taken: wait for them, or cancel"]
pub struct FleetReservation<'a> {
    fleet: &'a Fleet,
    item: FleetItem,
    wait: Duration,
    undo: Option<Undo>,
}

impl<'a> FleetReservation<'a> {
    pub(crate) const fn new(fleet: &'a Fleet, item: FleetItem, wait: Duration, undo: Option<Undo>) -> Self {
        Self { fleet, item, wait, undo }
    }

    /// How long after the answer the request may go; zero if it may go at once.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// How many tokens were taken.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.item.cost
    }

    /// Gives the tokens back, all of them or none; whether they came back. To a bucket they come back if nobody has taken from it
    /// since; to a window while it lasts. What was reserved during an outage does not come back.
    ///
    /// # Errors
    ///
    /// The outage, if no server has said so.
    pub async fn cancel(self) -> Result<bool, Outage> {
        let until = Instant::now() + self.fleet.0.deadline;
        match self.undo {
            None => Ok(false),
            Some(undo) => undo.run(self.fleet, &self.item, until).await,
        }
    }
}

/// Tokens taken of several limits for one request, and when it may go; from [`Fleet::reserve_set`]. Dropping it keeps the tokens taken:
/// the request went.
#[derive(Debug)]
#[must_use = "the tokens are taken: wait for them, or cancel"]
pub struct FleetSetReservation<'a> {
    fleet: &'a Fleet,
    wait: Duration,
    parts: Vec<(FleetItem, Option<Undo>)>,
}

impl FleetSetReservation<'_> {
    /// How long after the answer the request may go; zero if it may go at once.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// Gives the tokens back, to each limit by itself as [`FleetReservation::cancel`] does; whether all came back.
    ///
    /// # Errors
    ///
    /// An outage, if of some limit no server has said so.
    pub async fn cancel(self) -> Result<bool, Outage> {
        let (fleet, until) = (self.fleet, Instant::now() + self.fleet.0.deadline);
        let parts = self.parts.into_iter().filter(|(item, _)| item.cost > 0).map(async |(item, undo)| match undo {
            None => Ok(false),
            Some(undo) => undo.run(fleet, &item, until).await,
        });
        join_all(parts).await.into_iter().try_fold(true, |all, came_back| Ok(all && came_back?))
    }
}

/// Reserves under all limits or none; the items are of one subject, and so of one slot.
pub(crate) async fn reserve_set(
    fleet: &Fleet,
    items: Vec<FleetItem>,
    max_wait: Duration,
) -> Result<FleetSetReservation<'_>, FleetSetDecision> {
    let (items, places) = item::merged(items, &fleet.0.secret);
    let until = Instant::now() + fleet.0.deadline;
    let mut decisions: Vec<Option<FleetDecision>> = items.iter().map(FleetItem::without_server).collect();
    let is_open = !items.is_empty() && decisions.iter().flatten().all(FleetDecision::is_allowed);
    let asked: Vec<usize> = (0..items.len()).filter(|&i| decisions[i].is_none()).collect();
    let of: Vec<&FleetItem> = asked.iter().map(|&i| &items[i]).collect();
    let wait = u64::try_from(max_wait.as_micros()).unwrap_or(u64::MAX);
    let mode = if is_open { Mode::ReserveAll(wait) } else { Mode::Peek };
    let answer = if of.is_empty() { None } else { Some(exchange::check(fleet, &of, mode, until).await) };
    match answer {
        None if is_open => return Ok(FleetSetReservation { fleet, wait: Duration::ZERO, parts: Vec::new() }),
        None => {}
        Some(Ok(checked)) if checked.is_yes && is_open => {
            let parts = of.iter().zip(&checked.parts);
            // What has to wait longest waits for the instant at which all go.
            let wait = parts.clone().map(|(item, part)| item.wait(part, checked.now)).max().unwrap_or_default();
            let parts = parts.map(|(&item, part)| (item.clone(), Undo::of(item, part))).collect();
            return Ok(FleetSetReservation { fleet, wait, parts });
        }
        Some(Ok(checked)) => {
            for (&i, part) in asked.iter().zip(&checked.parts) {
                decisions[i] = Some(items[i].decided(part, checked.now));
            }
        }
        Some(Err(outage)) => {
            if is_open && let Some(wait) = here(fleet, &of, max_wait) {
                of.iter().for_each(|_| fleet.count_outage());
                return Ok(FleetSetReservation { fleet, wait, parts: Vec::new() });
            }
            for &i in &asked {
                decisions[i] = Some(items[i].without_answer(fleet, outage.clone(), Mode::Peek));
            }
        }
    }
    let mut decisions: Vec<FleetDecision> = decisions.into_iter().flatten().collect();
    // Each by itself would admit it, or has come to since; together they do not.
    let is_refused = decisions.iter().any(FleetDecision::is_refused);
    if let (false, Some(first)) = (is_refused, decisions.first_mut()) {
        first.report = crate::outage::refusal(first.report.burst);
    }
    Err(set::spread(&decisions, places))
}

/// When no server decides: how long it has to wait, if all limits let it go.
fn here(fleet: &Fleet, items: &[&FleetItem], max_wait: Duration) -> Option<Duration> {
    let local = &fleet.0.local;
    // Once, so that all of it is by one number of nodes.
    let limits: Vec<Option<tollgate::Limit>> = items.iter().map(|item| item.limit.local(local)).collect();
    let is_closed = |item: &FleetItem, limit: &Option<tollgate::Limit>| {
        limit.is_none() && item.limit.on_outage() != OnOutage::Open && item.cost > 0
    };
    if items.iter().zip(&limits).any(|(item, limit)| item.cost > item.limit.0.rule.most() || is_closed(item, limit)) {
        return None;
    }
    let parts: Vec<SetItem<'_>> = items
        .iter()
        .zip(&limits)
        .filter_map(|(item, limit)| {
            let limit = limit.as_ref()?;
            Some(SetItem { limit, key: local.hash(item.subject.bytes()), cost: item.cost })
        })
        .collect();
    if parts.is_empty() {
        return Some(Duration::ZERO);
    }
    match local.reserve_items(&parts, max_wait) {
        Ok(reservation) => Some(reservation.wait()),
        Err(ReserveError::Refused(_) | ReserveError::Items(_)) => None,
    }
}
