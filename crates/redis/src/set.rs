//! Several limits decided at once: all or nothing.

use core::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::ahead;
use crate::decision::{FleetDecision, FleetSetDecision, Place};
use crate::error::Outage;
use crate::exchange;
use crate::fleet::Fleet;
use crate::item::{self, FleetItem, Mode};
use crate::question::Checked;
use crate::rule::{Adjust, Rule};

impl FleetItem {
    /// Gives back what this node took by itself during an outage.
    fn give_back_of_outage(&self, fleet: &Fleet, decision: &FleetDecision) {
        if let Place::Outage(..) = decision.place {
            self.give_back_here(&fleet.0.local);
        }
    }

    /// The decision when no server made it.
    pub(crate) fn without_answer(&self, fleet: &Fleet, outage: Outage, mode: Mode) -> FleetDecision {
        fleet.count_outage();
        self.in_outage(&fleet.0.local, outage, mode)
    }
}

/// What each of several limits says of a request by itself. Nothing is taken.
pub(crate) async fn peek(fleet: &Fleet, items: &[FleetItem]) -> Vec<FleetDecision> {
    let until = Instant::now() + fleet.0.deadline;
    let looks = items.iter().map(|item| async move {
        if let Some(decision) = item.without_server() {
            return decision;
        }
        match exchange::check(fleet, &[item], Mode::Peek, until).await {
            Ok(checked) => match checked.parts.first() {
                Some(part) => item.decided(part, checked.now),
                None => item.without_answer(fleet, Outage::Unreadable, Mode::Peek),
            },
            Err(outage) => item.without_answer(fleet, outage, Mode::Peek),
        }
    });
    join_all(looks).await
}

/// The decisions of a node that does not ask: each as in an outage, all or nothing.
pub(crate) fn without_servers(fleet: &Fleet, items: &[FleetItem]) -> FleetSetDecision {
    let decide = |mode: Mode| -> Vec<FleetDecision> {
        let decide = |item: &FleetItem| {
            item.without_server().unwrap_or_else(|| item.without_answer(fleet, Outage::NotAsked, mode))
        };
        items.iter().map(decide).collect()
    };
    let looked = FleetSetDecision::new(decide(Mode::Peek));
    if looked.is_refused() {
        return looked;
    }
    let taken = FleetSetDecision::new(decide(Mode::Take));
    if taken.is_refused() {
        // Others were faster since the look.
        for (item, decision) in items.iter().zip(taken.decisions()).filter(|(_, decision)| decision.is_allowed()) {
            item.give_back_of_outage(fleet, decision);
        }
    }
    taken
}

/// Gives back what a decision took `age` ago, where it was taken.
pub(crate) async fn give_back_of(
    fleet: &Fleet,
    item: &FleetItem,
    decision: &FleetDecision,
    age: Duration,
) -> Result<(), Outage> {
    if item.cost == 0 || !decision.is_allowed() {
        return Ok(());
    }
    if decision.place != Place::Server {
        item.give_back_of_outage(fleet, decision);
        return Ok(());
    }
    let mut item = item.clone();
    if let Rule::Bucket(bucket) = &item.limit.0.rule {
        // No more than a bucket that was drained then has not refilled since; by when this is there, at the latest.
        let age = (age + age / 1_000).saturating_add(fleet.0.deadline);
        let refilled = bucket.token.tokens_in(bucket.token.parts_of_us(age.as_micros().try_into().unwrap_or(u64::MAX)));
        item.cost = item.cost.min(bucket.burst.saturating_sub(refilled.saturating_add(1)));
        if item.cost == 0 {
            return Ok(());
        }
    }
    let until = Instant::now() + fleet.0.deadline;
    exchange::adjust(fleet, &item, Adjust::Refund, decision.mine, until).await.map(|_| ())
}

/// The items that are decided by one call.
struct Group {
    indices: Vec<usize>,
    answer: Option<Result<Checked, Outage>>,
}

/// The decisions about items as they were before they were [merged](item::merged).
pub(crate) fn spread(decisions: &[FleetDecision], places: Vec<usize>) -> FleetSetDecision {
    FleetSetDecision::new(places.into_iter().filter_map(|place| decisions.get(place).cloned()).collect())
}

/// Decides all of them, and says what of each.
pub(crate) async fn check(fleet: &Fleet, items: Vec<FleetItem>) -> FleetSetDecision {
    let (items, places) = item::merged(items, &fleet.0.secret);
    spread(&check_each(fleet, items).await, places)
}

async fn check_each(fleet: &Fleet, items: Vec<FleetItem>) -> Vec<FleetDecision> {
    let until = Instant::now() + fleet.0.deadline;
    let mut decisions: Vec<Option<FleetDecision>> = items.iter().map(FleetItem::without_server).collect();
    // One that is refused here takes nothing anywhere.
    let mut is_open = decisions.iter().flatten().all(FleetDecision::is_allowed);
    // What this node holds comes first, and only if it knows of none that would be refused: if one is after all, it lapses.
    let known: Vec<_> = items.iter().map(|item| ahead::here_of(fleet, item, false)).collect();
    let is_known_open = known.iter().flatten().all(FleetDecision::is_allowed);
    for (i, known) in known.into_iter().enumerate() {
        if decisions[i].is_some() {
            continue;
        }
        let decision = if is_open && is_known_open { ahead::here_of(fleet, &items[i], true) } else { known };
        match decision {
            Some(decision) => {
                is_open &= decision.is_allowed();
                decisions[i] = Some(decision);
            }
            None => ahead::warm(fleet, &items[i]),
        }
    }
    is_open &= is_known_open;
    let mode = if is_open { Mode::Take } else { Mode::Peek };
    let mut groups = groups(fleet, &items, &decisions);
    let calls = groups.iter().map(|group| {
        let of_group: Vec<&FleetItem> = group.indices.iter().map(|&i| &items[i]).collect();
        async move { exchange::check(fleet, &of_group, mode, until).await }
    });
    let answers = join_all(calls).await;
    for (group, answer) in groups.iter_mut().zip(answers) {
        group.answer = Some(answer);
    }
    let mut is_yes =
        is_open && groups.iter().all(|group| !matches!(&group.answer, Some(Ok(checked)) if !checked.is_yes));
    // What this node has taken by itself.
    let mut taken_here = Vec::new();
    for group in &groups {
        match &group.answer {
            Some(Ok(checked)) => {
                for (&i, part) in group.indices.iter().zip(&checked.parts) {
                    decisions[i] = Some(items[i].decided(part, checked.now));
                }
            }
            Some(Err(outage)) => {
                for &i in &group.indices {
                    // What this node decides by itself comes last, and only if all others admit the request.
                    let mode = if is_yes { Mode::Take } else { Mode::Peek };
                    let decision = items[i].without_answer(fleet, outage.clone(), mode);
                    if mode == Mode::Take && decision.is_allowed() {
                        taken_here.push(i);
                    }
                    is_yes &= decision.is_allowed();
                    decisions[i] = Some(decision);
                }
            }
            None => {}
        }
    }
    if !is_yes && mode == Mode::Take {
        give_back(fleet, &items, &groups, &taken_here).await;
    }
    let decisions = decisions.into_iter().zip(&items).map(|(decision, item)| {
        // Each is of a group, or was decided here.
        decision.unwrap_or_else(|| item.without_answer(fleet, Outage::Unreadable, Mode::Peek))
    });
    decisions.collect()
}

/// Items by slot where that decides who can decide them together; else all of them.
fn groups(fleet: &Fleet, items: &[FleetItem], decided: &[Option<FleetDecision>]) -> Vec<Group> {
    let is_cluster = fleet.0.servers.is_cluster();
    let mut groups: Vec<(u16, Group)> = Vec::new();
    for (i, item) in items.iter().enumerate().filter(|&(i, _)| decided[i].is_none()) {
        let slot = if is_cluster { item.name(&fleet.0.secret).slot() } else { 0 };
        match groups.iter_mut().find(|(of, _)| *of == slot) {
            Some((_, group)) => group.indices.push(i),
            None => groups.push((slot, Group { indices: vec![i], answer: None })),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// What was taken for a request that is refused elsewhere.
async fn give_back(fleet: &Fleet, items: &[FleetItem], groups: &[Group], taken_here: &[usize]) {
    for item in taken_here.iter().map(|&i| &items[i]) {
        item.give_back_here(&fleet.0.local);
    }
    let until = Instant::now() + fleet.0.deadline;
    let mut calls = Vec::new();
    for group in groups {
        let Some(Ok(checked)) = &group.answer else { continue };
        for (&i, part) in
            group.indices.iter().zip(&checked.parts).filter(|&(&i, _)| checked.is_yes && items[i].cost > 0)
        {
            calls.push(exchange::adjust(fleet, &items[i], Adjust::Refund, part.mine(), until));
        }
    }
    // Best effort: what does not come back is refused to others, and never sold twice.
    join_all(calls).await;
}
