//! What a request asks of a fleet, while it waits for that, and what it is answered.

use std::sync::Arc;

use futures_util::future::join_all;
use smallvec::SmallVec;
use tollgate::KeyHash;
use tollgate::clock::Instant;
use tollgate_redis::{Fleet, FleetDecision, FleetItem, FleetLimit, FleetSetDecision};

use crate::config::Charge;
use crate::decision::admitted::Admitted;
use crate::decision::compile::Rules;
use crate::decision::matching::{FoundBy, MatchedPolicies, MatchedPolicy};
use crate::decision::status::LimitStatusOwned;
use crate::identity::Grouping;
use crate::identity::key_by::{KeyBy, KeyBytes};
use crate::request::RequestInfo;

/// What one request asks of the fleet.
pub(crate) struct Questions {
    pub(super) fleet: Fleet,
    /// Limits that are charged after the response.
    pub(super) looks: Asked,
    /// All the others, together.
    pub(super) takes: Asked,
    /// For each shadow policy, by its place among the policies: whether it only looks, and its limits.
    pub(super) shadows: Vec<(usize, bool, Asked)>,
}

/// Items, and of each the place of its policy among those of the request, and of its limit in that.
#[derive(Default)]
pub(super) struct Asked {
    items: Vec<FleetItem>,
    of: SmallVec<[(usize, usize); 2]>,
}

/// What is known of the answers.
#[derive(Default)]
pub(crate) struct Answers {
    pub(super) looks: Vec<FleetDecision>,
    pub(super) takes: Option<FleetSetDecision>,
    /// In the order of the questions; fewer until all are there.
    pub(super) shadows: Vec<Vec<FleetDecision>>,
}

/// A request that waits for the fleet, all of it that does not borrow.
pub(crate) struct Asking {
    pub(super) remembered: SmallVec<[Remembered; 4]>,
    pub(super) admitted: Admitted,
    pub(super) at: Instant,
    pub(super) questions: Arc<Questions>,
    pub(super) answers: Answers,
}

/// A policy that matches the request, without the request.
pub(super) struct Remembered {
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

impl Questions {
    pub(super) fn new(fleet: &Fleet, policies: &MatchedPolicies<'_>) -> Self {
        let (looks, takes) = (Asked::default(), Asked::default());
        let mut questions = Self { fleet: fleet.clone(), looks, takes, shadows: Vec::new() };
        for (place, matched) in policies.iter().enumerate().filter(|(_, matched)| matched.rule.policy.is_on_fleet()) {
            let is_look = matches!(matched.rule.policy.charge, Charge::OnlyOn(_));
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
    pub(super) fn here(&self) -> Answers {
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
    pub(super) fn are_answered(&self, answers: &Answers) -> bool {
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
    pub(super) fn without_servers(&self, mut answers: Answers) -> Answers {
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

/// What a request asks of one limit.
pub(crate) fn item_of(fleet: &Fleet, matched: &MatchedPolicy<'_>, limit: &FleetLimit) -> FleetItem {
    match &matched.key {
        // As in the engine, and the same on all nodes.
        FoundBy::Spec(key) => fleet.item(limit, &(0_u8, key), matched.cost),
        FoundBy::Function(key) => fleet.item(limit, &(1_u8, key), matched.cost),
        FoundBy::Missing => fleet.item(limit, &2_u8, matched.cost),
        // Of this process alone: simulators do not ask.
        FoundBy::Known { id, .. } => fleet.item(limit, &(3_u8, *id), matched.cost),
    }
}

impl Asked {
    fn extend(&mut self, fleet: &Fleet, place: usize, matched: &MatchedPolicy<'_>) {
        let mut first: Option<FleetItem> = None;
        for (index, limit) in matched.limits().iter().enumerate() {
            let Some(limit) = &limit.fleet else { continue };
            let item = first.as_ref().map_or_else(|| item_of(fleet, matched, limit), |first| first.under(limit));
            first.get_or_insert_with(|| item.clone());
            self.items.push(item);
            self.of.push((place, index));
        }
    }
}

impl Answers {
    /// What refuses, if anything does: the place of the policy, its limit, and the decision.
    pub(super) fn refusal(&self, questions: &Questions) -> Option<(usize, usize, &FleetDecision)> {
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
    pub(super) fn of(matched: &MatchedPolicy<'_>) -> Self {
        let key = match &matched.key {
            FoundBy::Spec(_) => RememberedKey::Spec,
            FoundBy::Function(key) => RememberedKey::Function(key.clone()),
            FoundBy::Missing | FoundBy::Known { .. } => RememberedKey::Missing,
        };
        Self { index: matched.index, tier: matched.tier, key, hash: matched.hash, cost: matched.cost }
    }

    pub(super) fn recall<'r>(
        self,
        rules: &'r Rules,
        request: &'r RequestInfo<'r>,
        grouping: Grouping,
    ) -> Option<MatchedPolicy<'r>> {
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

impl Asked {
    /// Each item with its decision.
    pub(super) fn each<'a>(
        &'a self,
        decisions: &'a [FleetDecision],
    ) -> impl Iterator<Item = ((usize, usize), &'a FleetItem, &'a FleetDecision)> + Clone {
        self.of.iter().zip(&self.items).zip(decisions).map(|((of, item), decision)| (*of, item, decision))
    }
}
