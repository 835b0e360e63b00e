//! Policies whose counts are on a fleet: what they ask of it, and what comes of the answers.
//!
//! Policies of this process decide first. Then the fleet: at once, where it is known here what its limits say (`here`); else a request
//! waits for the answers (`asking`), and nothing of it is held in the meantime but what the policies of this process have given.
//! What these took is given back if the fleet refuses. First come looks, for policies that are charged after the response, then all that
//! is taken, in one set, and shadow policies last, each by itself.

use std::sync::Arc;

use futures_util::future::join_all;
use smallvec::SmallVec;
use tollgate::clock::{Clock, Instant};
use tollgate_redis::{FleetDecision, FleetItem, FleetSetDecision, OnOutage};

use crate::config::Charge;
use crate::decision::admitted::Admitted;
use crate::decision::asking::{Answers, Asking, Questions, Remembered};
use crate::decision::compile::Rules;
use crate::decision::decide::{Decided, DecisionContext, refuse, taken};
use crate::decision::engine::Engine;
use crate::decision::matching::{AsyncKeys, MatchedPolicies, MatchedPolicy};
use crate::decision::pending_on_fleet::PendingOnFleet;
use crate::decision::status::LimitStatusOwned;
use crate::request::RequestInfo;

impl Rules {
    /// Decides about `request`, whose client has been [found](Rules::locate), or says what has to be asked.
    pub(crate) fn decide_or_ask<C: Clock>(
        &self,
        engine: &Engine<C>,
        request: &RequestInfo<'_>,
        asked: &AsyncKeys,
        now: Instant,
    ) -> Decided {
        let note = |policy: &MatchedPolicy<'_>, at| policy.note_refusal(engine, request, self.config.shows_keys, at);
        let used = |policy: &MatchedPolicy<'_>| policy.note_use(engine, request, &self.config);
        let mut policies = MatchedPolicies::new();
        match self.matching(engine, request, asked, &mut policies) {
            Ok(()) if policies.iter().any(|matched| matched.rule.policy.is_on_fleet()) => {
                self.decide_on_fleet(engine, &policies, now, note, used)
            }
            Ok(()) => self.decide_matched(engine, &policies, now, note, used),
            Err(keyless) => Decided::Refused(refuse(&keyless, LimitStatusOwned::never(&keyless, now), note)),
        }
    }

    /// Decides about a request that policies on the fleet are for, and others.
    fn decide_on_fleet<C: Clock>(
        &self,
        engine: &Engine<C>,
        policies: &MatchedPolicies<'_>,
        now: Instant,
        note: impl Fn(&MatchedPolicy<'_>, Instant),
        used: impl Fn(&MatchedPolicy<'_>),
    ) -> Decided {
        let Some(fleet) = &self.config.fleet else { return self.decide_matched(engine, policies, now, note, used) };
        let context = DecisionContext { engine, now };
        let admitted = match context.begin(&enforced_here(policies)) {
            Ok((admitted, ..)) => admitted,
            Err((matched, status)) => return Decided::Refused(refuse(matched, status, note)),
        };
        let questions = Questions::new(fleet, policies);
        let answers = questions.here();
        if questions.are_answered(&answers) {
            return self.conclude(&context, policies, admitted, now, &questions, &answers, note, used);
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
        let used = |policy: &MatchedPolicy<'_>| policy.note_use(engine, request, &self.config);
        let Asking { remembered, admitted, at, questions, answers: known } = asking;
        let answers = answers.unwrap_or_else(|| questions.without_servers(known));
        let recall = |remembered: Remembered| remembered.recall(self, request, self.config.grouping);
        let policies: MatchedPolicies<'_> = remembered.into_iter().filter_map(recall).collect();
        let context = DecisionContext { engine, now: engine.limiter.now().max(at) };
        self.conclude(&context, &policies, admitted, at, &questions, &answers, note, used)
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
        used: impl Fn(&MatchedPolicy<'_>),
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
        let all =
            looks.enumerate().map(|(i, one)| (i, true, one)).chain(takes.enumerate().map(|(i, one)| (i, false, one)));
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
        self.finish(context, policies, admitted, note, used, answered)
    }
}

impl Admitted {
    /// Notes what the response decides, if it decides anything.
    fn pend(
        &mut self,
        matched: &MatchedPolicy<'_>,
        limit: usize,
        item: &FleetItem,
        decision: &FleetDecision,
        at: Instant,
    ) {
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
