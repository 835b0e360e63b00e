//! Policies whose counts are on a fleet: what they ask of it, and what comes of the answers.
//!
//! Policies of this process decide first. Then the fleet: at once, where it is known here what its limits say (`here`); else a request
//! waits for the answers ([`Asking`]), and nothing of it is held in the meantime but what the policies of this process have given.
//! What these took is given back if the fleet refuses. First come looks, for policies that are charged after the response, then all that
//! is taken, in one set, and shadow policies last, each by itself.

use std::sync::Arc;

use futures_util::future::join_all;
use smallvec::SmallVec;
use tollgate::KeyHash;
use tollgate::clock::{Clock, Instant};
use tollgate_redis::{Fleet, FleetDecision, FleetItem, FleetSetDecision, OnOutage};

use crate::config::Charge;
use crate::config::on_fleet::{OnFleet, fleet_name};
use crate::config::Policy;
use crate::decision::admitted::Admitted;
use crate::decision::compile::{NamedLimit, Rule, Rules, Tier};
use crate::decision::decide::{Decided, DecisionContext, refuse, taken};
use crate::decision::engine::Engine;
use crate::decision::matching::{FoundBy, MatchedPolicies, MatchedPolicy};
use crate::decision::status::LimitStatusOwned;
use crate::error::ConfigError;
use crate::identity::Grouping;
use crate::identity::key_by::{KeyBy, KeyBytes};
use crate::request::RequestInfo;

/// What one request asks of the fleet.
pub(crate) struct Questions {
    fleet: Fleet,
    /// Limits that are charged after the response.
    looks: Asked,
    /// All the others, together.
    takes: Asked,
    /// For each shadow policy, by its place among the policies: whether it only looks, and its limits.
    shadows: Vec<(usize, bool, Asked)>,
}

/// Items, and of each the place of its policy among those of the request, and of its limit in that.
#[derive(Default)]
struct Asked {
    items: Vec<FleetItem>,
    of: SmallVec<[(usize, usize); 2]>,
}

/// What is known of the answers.
#[derive(Default)]
pub(crate) struct Answers {
    looks: Vec<FleetDecision>,
    takes: Option<FleetSetDecision>,
    /// In the order of the questions; fewer until all are there.
    shadows: Vec<Vec<FleetDecision>>,
}

/// A request that waits for the fleet, all of it that does not borrow.
pub(crate) struct Asking {
    remembered: SmallVec<[Remembered; 4]>,
    admitted: Admitted,
    at: Instant,
    pub(crate) questions: Arc<Questions>,
    answers: Answers,
}

/// A policy that matches the request, without the request.
struct Remembered {
    index: usize,
    tier: usize,
    key: RememberedKey,
    hash: KeyHash,
    cost: u64,
}

enum RememberedKey {
    /// To be found again: no function of the application is asked for that.
    Spec,
    Function(KeyBytes),
    Missing,
}

/// A charge, or a refund, that the response decides.
pub(crate) struct PendingOnFleet {
    pub(super) policy: usize,
    pub(super) tier: usize,
    pub(super) limit: usize,
    pub(super) item: FleetItem,
    decision: FleetDecision,
    at: Instant,
}

impl PendingOnFleet {
    /// Charges or refunds, and does not wait for it.
    pub(super) fn settle(self, rules: &Rules, rule: &Rule, is_charge: bool, now: Instant) {
        let Some(fleet) = rules.config.fleet.clone() else { return };
        let (stats, age) = (Arc::clone(&rule.stats), now.saturating_duration_since(self.at));
        fleet.clone().spawn(async move {
            let settled = match is_charge {
                true => fleet.charge_item(&self.item).await.map(drop),
                false => fleet.give_back(&self.item, &self.decision, age).await,
            };
            if settled.is_err() {
                stats.places.add_unsettled();
            }
        });
    }
}

impl Tier {
    /// With its limits on the fleet, if the policy is there.
    pub(super) fn on_fleet(
        mut self,
        policy: &Policy,
        tier: Option<&str>,
        fleet: Option<&Fleet>,
    ) -> Result<Self, ConfigError> {
        let Some(OnFleet { on_outage, is_leased }) = policy.fleet else { return Ok(self) };
        let cannot = |why: String| ConfigError::NotOnFleet { policy: policy.name.clone(), why };
        let fleet = fleet.ok_or_else(|| cannot("no servers are configured".to_owned()))?;
        for index in 0..self.limits.len() {
            let quota = *self.limits[index].limit.quota();
            let is_alike = |limit: &&NamedLimit| {
                let other = limit.limit.quota();
                (other.period(), other.algorithm()) == (quota.period(), quota.algorithm())
            };
            let alike = self.limits[..index].iter().filter(is_alike).count();
            let limit = fleet.limit_with(&fleet_name(&policy.name, tier, alike), quota, on_outage);
            let limit = limit.map_err(|error| cannot(error.to_string()))?;
            self.limits[index].fleet = Some(if is_leased { limit.leased() } else { limit });
        }
        Ok(self)
    }
}

impl Questions {
    fn new(fleet: &Fleet, policies: &MatchedPolicies<'_>) -> Self {
        let (looks, takes) = (Asked::default(), Asked::default());
        let mut questions = Self { fleet: fleet.clone(), looks, takes, shadows: Vec::new() };
        for (place, matched) in policies.iter().enumerate().filter(|(_, matched)| matched.rule.policy.is_on_fleet()) {
            let is_look = !matched.is_charged_first();
            if matched.rule.policy.is_shadow {
                let mut asked = Asked::default();
                asked.extend(fleet, place, matched);
                questions.shadows.push((place, is_look, asked));
            } else if is_look {
                questions.looks.extend(fleet, place, matched);
            } else {
                questions.takes.extend(fleet, place, matched);
            }
        }
        questions
    }

    /// What is known here without asking. What it takes it takes.
    fn here(&self) -> Answers {
        let mut answers = Answers::default();
        if !self.looks.items.is_empty() {
            return answers;
        }
        if !self.takes.items.is_empty() {
            answers.takes = self.fleet.check_items_here(&self.takes.items);
            if !answers.takes.as_ref().is_some_and(FleetSetDecision::is_allowed) {
                return answers;
            }
        }
        for (_, is_look, asked) in &self.shadows {
            match self.fleet.check_items_here(&asked.items).filter(|_| !is_look) {
                Some(decided) => answers.shadows.push(decided.decisions().to_vec()),
                None => break,
            }
        }
        answers
    }

    /// Whether there is nothing more to ask.
    fn are_answered(&self, answers: &Answers) -> bool {
        let are_looked = self.looks.items.len() == answers.looks.len();
        let are_taken = self.takes.items.is_empty() || answers.takes.is_some();
        answers.refusal(self).is_some() || are_looked && are_taken && self.shadows.len() == answers.shadows.len()
    }

    /// Asks for the rest.
    async fn ask(&self, mut answers: Answers) -> Answers {
        let fleet = &self.fleet;
        if !self.looks.items.is_empty() {
            answers.looks = fleet.peek_items(&self.looks.items).await;
        }
        if answers.refusal(self).is_some() {
            return answers;
        }
        if !self.takes.items.is_empty() && answers.takes.is_none() {
            answers.takes = Some(fleet.check_items(self.takes.items.clone()).await);
        }
        if answers.refusal(self).is_some() {
            return answers;
        }
        let rest = self.shadows.iter().skip(answers.shadows.len()).map(|(_, is_look, asked)| async move {
            match is_look {
                true => fleet.peek_items(&asked.items).await,
                false => fleet.check_items(asked.items.clone()).await.decisions().to_vec(),
            }
        });
        answers.shadows.extend(join_all(rest).await);
        answers
    }

    /// The rest as in an outage, for a caller that does not wait.
    fn without_servers(&self, mut answers: Answers) -> Answers {
        let decide = |asked: &Asked| self.fleet.check_items_without_servers(&asked.items);
        if !self.looks.items.is_empty() {
            answers.looks = decide(&self.looks).decisions().to_vec();
        }
        if answers.refusal(self).is_none() && !self.takes.items.is_empty() && answers.takes.is_none() {
            answers.takes = Some(decide(&self.takes));
        }
        if answers.refusal(self).is_none() {
            let rest = self.shadows.iter().skip(answers.shadows.len());
            answers.shadows.extend(rest.map(|(.., asked)| decide(asked).decisions().to_vec()));
        }
        answers
    }
}

impl Asked {
    fn extend(&mut self, fleet: &Fleet, place: usize, matched: &MatchedPolicy<'_>) {
        let mut first: Option<FleetItem> = None;
        for (index, limit) in matched.limits().iter().enumerate() {
            let Some(limit) = &limit.fleet else { continue };
            let item = match (&first, &matched.key) {
                (Some(first), _) => first.under(limit),
                // As in the engine, and the same on all nodes.
                (None, FoundBy::Spec(key)) => fleet.item(limit, &(0_u8, key), matched.cost),
                (None, FoundBy::Function(key)) => fleet.item(limit, &(1_u8, key), matched.cost),
                (None, FoundBy::Missing) => fleet.item(limit, &2_u8, matched.cost),
                // Of this process alone: simulators do not ask.
                (None, FoundBy::Known { id, .. }) => fleet.item(limit, &(3_u8, *id), matched.cost),
            };
            first.get_or_insert_with(|| item.clone());
            self.items.push(item);
            self.of.push((place, index));
        }
    }
}

impl Answers {
    /// What refuses, if anything does: the place of the policy, its limit, and the decision.
    fn refusal(&self, questions: &Questions) -> Option<(usize, usize, &FleetDecision)> {
        let looks = questions.looks.of.iter().zip(&self.looks);
        if let Some((&(place, limit), decision)) = looks.into_iter().find(|(_, decision)| decision.is_refused()) {
            return Some((place, limit, decision));
        }
        let takes = self.takes.as_ref().filter(|takes| takes.is_refused())?;
        let &(place, limit) = questions.takes.of.get(takes.index())?;
        Some((place, limit, takes.decision()))
    }
}

impl Remembered {
    fn of(matched: &MatchedPolicy<'_>) -> Self {
        let key = match &matched.key {
            FoundBy::Spec(_) => RememberedKey::Spec,
            FoundBy::Function(key) => RememberedKey::Function(key.clone()),
            FoundBy::Missing | FoundBy::Known { .. } => RememberedKey::Missing,
        };
        Self { index: matched.index, tier: matched.tier, key, hash: matched.hash, cost: matched.cost }
    }

    fn recall<'r>(self, rules: &'r Rules, request: &'r RequestInfo<'r>, grouping: Grouping) -> Option<MatchedPolicy<'r>> {
        let Self { index, tier, key, hash, cost } = self;
        let rule = rules.rules.get(index)?;
        let key = match (key, &rule.policy.key) {
            (RememberedKey::Spec, KeyBy::Spec(spec)) => {
                spec.find(request, grouping).map_or(FoundBy::Missing, FoundBy::Spec)
            }
            (RememberedKey::Function(key), _) => FoundBy::Function(key),
            _ => FoundBy::Missing,
        };
        Some(MatchedPolicy { index, rule, tier, key, hash, cost })
    }
}

impl Asking {
    /// A refusal, for whoever asks for a decision before there is one.
    pub(crate) fn refusal(&self) -> LimitStatusOwned {
        let (policy, tier) = self.remembered.first().map_or((0, 0), |first| (first.index, first.tier));
        LimitStatusOwned::closed(policy, tier, self.at)
    }

    /// The answers, some time.
    pub(crate) fn answers(&mut self) -> impl Future<Output = Answers> + Send + 'static {
        let (questions, answers) = (Arc::clone(&self.questions), std::mem::take(&mut self.answers));
        async move { questions.ask(answers).await }
    }
}

impl Rules {
    /// Decides about a request that policies on the fleet are for, and others.
    pub(super) fn decide_on_fleet<C: Clock>(
        &self,
        engine: &Engine<C>,
        policies: &MatchedPolicies<'_>,
        now: Instant,
        note: impl Fn(&MatchedPolicy<'_>, Instant),
    ) -> Decided {
        let Some(fleet) = &self.config.fleet else { return self.decide_matched(engine, policies, now, note) };
        let context = DecisionContext { engine, now };
        let admitted = match context.begin(&enforced_here(policies)) {
            Ok((admitted, ..)) => admitted,
            Err((matched, status)) => return Decided::Refused(refuse(matched, status, note)),
        };
        let questions = Questions::new(fleet, policies);
        let answers = questions.here();
        if questions.are_answered(&answers) {
            return self.conclude(&context, policies, admitted, now, &questions, &answers, note);
        }
        let remembered = policies.iter().map(Remembered::of).collect();
        Decided::Asks(Box::new(Asking { remembered, admitted, at: now, questions: Arc::new(questions), answers }))
    }

    /// What comes of a request that has waited for its answers; without them it is decided as in an outage.
    pub(crate) fn answered<C: Clock>(
        &self,
        engine: &Engine<C>,
        request: &RequestInfo<'_>,
        asking: Asking,
        answers: Option<Answers>,
    ) -> Decided {
        let note = |policy: &MatchedPolicy<'_>, at| policy.note_refusal(engine, request, self.config.shows_keys, at);
        let Asking { remembered, admitted, at, questions, answers: known } = asking;
        let answers = answers.unwrap_or_else(|| questions.without_servers(known));
        let recall = |remembered: Remembered| remembered.recall(self, request, self.config.grouping);
        let policies: MatchedPolicies<'_> = remembered.into_iter().filter_map(recall).collect();
        let context = DecisionContext { engine, now: engine.limiter.now().max(at) };
        self.conclude(&context, &policies, admitted, at, &questions, &answers, note)
    }

    /// The decision by all answers. What was taken here was taken `at` that instant.
    #[expect(clippy::too_many_arguments, reason = "all that two ways to one end have in common")]
    fn conclude<C: Clock>(
        &self,
        context: &DecisionContext<'_, C>,
        policies: &MatchedPolicies<'_>,
        mut admitted: Admitted,
        at: Instant,
        questions: &Questions,
        answers: &Answers,
        note: impl Fn(&MatchedPolicy<'_>, Instant),
    ) -> Decided {
        let here = enforced_here(policies);
        let takes = answers.takes.as_ref().map_or(&[][..], FleetSetDecision::decisions);
        let asked = questions.looks.each(&answers.looks).chain(questions.takes.each(takes));
        for ((place, _), _, decision) in asked.clone() {
            policies[place].rule.stats.places.add(decision); // a place of these policies
        }
        if let Some((place, limit, decision)) = answers.refusal(questions) {
            context.give_back(taken(&here), at);
            let matched = &policies[place]; // as above
            let mut status = LimitStatusOwned::of(matched, Some(limit), context.now, decision.report());
            status.is_outage = is_closed(matched, decision);
            let is_outage = status.is_outage;
            return Decided::Refused(refuse(matched, status, |matched, at| {
                // It is not the key that is at fault.
                if !is_outage {
                    note(matched, at);
                }
            }));
        }
        let ended = context.gates(&here).and_then(|gates| context.end(&here, &gates, &mut admitted));
        if let Err((matched, status)) = ended {
            context.give_back(taken(&here), at);
            let age = context.now.saturating_duration_since(at);
            let took = questions.takes.each(takes).map(|(_, item, decision)| (item.clone(), decision.clone()));
            let (fleet, took) = (questions.fleet.clone(), took.collect::<Vec<_>>());
            questions.fleet.spawn(async move {
                join_all(took.iter().map(|(item, decision)| fleet.give_back(item, decision, age))).await;
            });
            return Decided::Refused(refuse(matched, status, note));
        }
        // Told to the client: of those that are looked at each, of the set the one with the fewest remaining.
        let first = answers.takes.as_ref().map(FleetSetDecision::index);
        let is_told = |index: usize, is_look: bool| is_look || Some(index) == first;
        let (looks, takes) = (questions.looks.each(&answers.looks), questions.takes.each(takes));
        let all = looks.enumerate().map(|(i, one)| (i, true, one)).chain(takes.enumerate().map(|(i, one)| (i, false, one)));
        for (index, is_look, ((place, limit), item, decision)) in all {
            let matched = &policies[place]; // as above
            admitted.pend(matched, limit, item, decision, at);
            // Of an open outage there are no figures.
            let has_figures = decision.outage().is_none() || on_outage(matched) != OnOutage::Open;
            if has_figures && is_told(index, is_look) {
                admitted.nearest(LimitStatusOwned::of(matched, Some(limit), context.now, decision.report()));
            }
        }
        for (index, matched) in policies.iter().enumerate().filter(|(_, matched)| !matched.rule.policy.is_shadow) {
            // In the order of the policies, those of this process too.
            if matched.rule.policy.is_on_fleet() {
                let before = policies[..index].iter().filter(|before| !before.rule.policy.is_shadow).count();
                admitted.policies.insert(before.min(admitted.policies.len()), (matched.index, matched.tier));
            }
        }
        let mut shadows: SmallVec<[(usize, bool); 2]> = SmallVec::new();
        for ((place, _, asked), decisions) in questions.shadows.iter().zip(&answers.shadows) {
            let matched = &policies[*place]; // as above
            let is_allowed = decisions.iter().all(FleetDecision::is_allowed);
            shadows.push((*place, is_allowed));
            for ((_, limit), item, decision) in asked.each(decisions) {
                matched.rule.stats.places.add(decision);
                if is_allowed && !matched.lacks_key() {
                    admitted.pend(matched, limit, item, decision, at);
                }
            }
        }
        let answered = |place| shadows.iter().find(|(of, _)| *of == place).map(|(_, is_allowed)| *is_allowed);
        self.finish(context, policies, admitted, note, answered)
    }
}

impl Asked {
    /// Each item with its decision.
    fn each<'a>(
        &'a self,
        decisions: &'a [FleetDecision],
    ) -> impl Iterator<Item = ((usize, usize), &'a FleetItem, &'a FleetDecision)> + Clone {
        self.of.iter().zip(&self.items).zip(decisions).map(|((of, item), decision)| (*of, item, decision))
    }
}

impl Admitted {
    /// Notes what the response decides, if it decides anything.
    fn pend(&mut self, matched: &MatchedPolicy<'_>, limit: usize, item: &FleetItem, decision: &FleetDecision, at: Instant) {
        if matched.rule.policy.charge != Charge::OnRequest {
            let (item, decision) = (item.clone(), decision.clone());
            let (policy, tier) = (matched.index, matched.tier);
            self.on_fleet.push(PendingOnFleet { policy, tier, limit, item, decision, at });
        }
    }
}

/// The policies of this process that may refuse.
fn enforced_here<'a, 'r>(policies: &'a MatchedPolicies<'r>) -> SmallVec<[&'a MatchedPolicy<'r>; 4]> {
    let is_it = |matched: &&MatchedPolicy<'_>| !matched.rule.policy.is_shadow && !matched.rule.policy.is_on_fleet();
    policies.iter().filter(is_it).collect()
}

fn on_outage(matched: &MatchedPolicy<'_>) -> OnOutage {
    matched.rule.policy.fleet.map(|fleet| fleet.on_outage).unwrap_or_default()
}

/// Whether it is refused because no server decided, and not by a limit.
fn is_closed(matched: &MatchedPolicy<'_>, decision: &FleetDecision) -> bool {
    decision.outage().is_some() && decision.is_retryable() && on_outage(matched) == OnOutage::Closed
}
