//! Several limits decided at once: all or nothing.

use core::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tollgate::Verdict;

use crate::ahead;
use crate::decision::{FleetDecision, FleetSetDecision, Place};
use crate::error::Outage;
use crate::exchange::{self, Checked, Mode};
use crate::fleet::Fleet;
use crate::limit::FleetLimit;
use crate::reply::Part;
use crate::rule::{Adjust, Evidence, Rule};
use crate::secret::{Name, Subject};

/// What one request needs of one limit, for one key; from [`Fleet::item`].
#[derive(Debug, Clone)]
pub struct FleetItem {
    pub(crate) limit: FleetLimit,
    pub(crate) subject: Subject,
    pub(crate) cost: u64,
}

impl FleetItem {
    /// The limit.
    #[must_use]
    pub const fn limit(&self) -> &FleetLimit {
        &self.limit
    }

    /// The same request and key, under another limit.
    #[must_use]
    pub fn under(&self, limit: &FleetLimit) -> Self {
        Self { limit: limit.clone(), ..self.clone() }
    }

    /// What the request costs.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.cost
    }

    /// What its key is called on the servers.
    pub(crate) fn name(&self, fleet: &Fleet) -> &Name {
        self.subject.name(&fleet.0.secret)
    }

    /// The decision about this item by a reply.
    pub(crate) fn decided(&self, part: &Part, now: u64) -> FleetDecision {
        let report = self.limit.0.rule.report(self.cost, now, part.fits, &part.evidence);
        FleetDecision { report, place: Place::Server, at_us: Some(now), mine: part.mine() }
    }

    /// The decision that needs no server.
    pub(crate) fn without_server(&self) -> Option<FleetDecision> {
        without_server(&self.limit, self.cost)
    }

    /// Gives back what this node took by itself during an outage.
    fn give_back_here(&self, fleet: &Fleet, decision: &FleetDecision) {
        if let (Place::Outage(..), Some(limit)) = (&decision.place, &self.limit.0.local) {
            fleet.0.local.under(limit).key(self.name(fleet).as_str()).refund(self.cost);
        }
    }

    /// The decision when no server made it.
    pub(crate) fn without_answer(&self, fleet: &Fleet, outage: Outage, mode: Mode) -> FleetDecision {
        fleet.count_outage();
        let choice = self.limit.on_outage();
        let rule = &self.limit.0.rule;
        let report = match &self.limit.0.local {
            _ if self.cost > rule.most() => rule.report(self.cost, 0, false, &Evidence::None),
            Some(limit) => {
                let local = fleet.0.local.under(limit);
                let key = local.key(self.name(fleet).as_str());
                let report = match mode {
                    Mode::Peek => key.peek_n(self.cost).report(),
                    Mode::Take | Mode::Reserve(_) => key.check_n(self.cost).report(),
                };
                match report.verdict {
                    // Only under the share.
                    Verdict::NeverFits => crate::outage::refusal(rule.most()),
                    _ => report,
                }
            }
            // Of nothing, as ever.
            None if self.cost == 0 => rule.report(0, 0, true, &Evidence::None),
            None => choice.report(rule.most()),
        };
        FleetDecision { report, place: Place::Outage(choice, outage), at_us: None, mine: 0 }
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
            item.give_back_here(fleet, decision);
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
        item.give_back_here(fleet, decision);
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

/// The decision that needs no server.
pub(crate) fn without_server(limit: &FleetLimit, cost: u64) -> Option<FleetDecision> {
    let report = limit.0.rule.without_server(cost)?;
    Some(FleetDecision { report, place: Place::Here, at_us: None, mine: 0 })
}

/// The items that are decided by one call.
struct Group {
    indices: Vec<usize>,
    answer: Option<Result<Checked, Outage>>,
}

/// Two items on one bucket are one, of both costs: the script reads all before it writes any.
pub(crate) async fn check(fleet: &Fleet, items: Vec<FleetItem>) -> FleetSetDecision {
    let mut merged: Vec<(String, FleetItem)> = Vec::new();
    let mut places = Vec::new();
    for item in items {
        let key = item.limit.key(item.name(fleet));
        match merged.iter_mut().position(|(known, _)| *known == key) {
            Some(place) => {
                let known = &mut merged[place].1;
                // Of two quotas the one with less room counts; both write the same bucket.
                if item.limit.0.rule.most() < known.limit.0.rule.most() {
                    known.limit = item.limit;
                }
                known.cost = known.cost.saturating_add(item.cost);
                places.push(place);
            }
            None => {
                places.push(merged.len());
                merged.push((key, item));
            }
        }
    }
    let decisions = check_each(fleet, merged.into_iter().map(|(_, item)| item).collect()).await;
    FleetSetDecision::new(places.into_iter().filter_map(|place| decisions.get(place).cloned()).collect())
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
        let slot = if is_cluster { item.name(fleet).slot() } else { 0 };
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
        if let Some(limit) = &item.limit.0.local {
            fleet.0.local.under(limit).key(item.name(fleet).as_str()).refund(item.cost);
        }
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
