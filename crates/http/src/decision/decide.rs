//! One request, all its policies: the path of a decision from top to bottom.
//!
//! First it looks at what is charged only afterwards, then enters the bounds on concurrency, then looks whether the queues have
//! a turn, takes from all rate limits at once or from none, and at last takes the turns (and goes at one instant, see
//! [`gate`]); what was entered is left again when a later step refuses. Shadow policies come last, each by itself, for requests that are admitted.

use std::time::Duration;

use smallvec::SmallVec;
use tollgate::clock::{Clock, Instant};
use tollgate::scoped::Scoped;
use tollgate::{Decision, KeyHash, Limit, LimitSet, Report, Reservation, SetItem, Verdict};

use crate::config::Charge;
use crate::decision::admitted::{Admitted, AtGates, Pending};
use crate::decision::compile::{NamedLimit, Rules};
use crate::decision::engine::Engine;
use crate::decision::gate::{self, Gates};
use crate::decision::in_flight::Permit;
#[cfg(not(feature = "redis"))]
use crate::decision::matching::AsyncKeys;
use crate::decision::matching::{MatchedPolicies, MatchedPolicy};
use crate::decision::status::LimitStatusOwned;
#[cfg(not(feature = "redis"))]
use crate::request::RequestInfo;
use crate::stats::Counted;

/// What came of a request.
#[expect(clippy::large_enum_variant, reason = "most are admitted, and a box would cost each of them an allocation")]
pub(crate) enum Decided {
    Admitted(Admitted),
    Refused(LimitStatusOwned),
    /// Servers of a fleet have to be asked.
    #[cfg(feature = "redis")]
    Asks(Box<crate::decision::asking::Asking>),
}

impl Rules {
    /// Decides about `request`, whose client has been [found](Rules::locate).
    #[cfg(not(feature = "redis"))]
    pub(crate) fn decide_or_ask<C: Clock>(
        &self,
        engine: &Engine<C>,
        request: &RequestInfo<'_>,
        asked: &AsyncKeys,
        now: Instant,
    ) -> Decided {
        let note = |policy: &MatchedPolicy<'_>, at| policy.note_refusal(engine, request, self.config.shows_keys, at);
        let mut policies = MatchedPolicies::new();
        match self.matching(engine, request, asked, &mut policies) {
            Ok(()) => {
                let used = |policy: &MatchedPolicy<'_>| policy.note_use(engine, request, &self.config);
                self.decide_matched(engine, &policies, now, note, used)
            }
            Err(keyless) => Decided::Refused(refuse(&keyless, LimitStatusOwned::never(&keyless, now), note)),
        }
    }

    /// Decides about a request that these policies are for; `note` is told of each that refuses it, or would, and
    /// `used` of each that it passes.
    pub(crate) fn decide_matched<C: Clock>(
        &self,
        engine: &Engine<C>,
        policies: &MatchedPolicies<'_>,
        now: Instant,
        note: impl Fn(&MatchedPolicy<'_>, Instant),
        used: impl Fn(&MatchedPolicy<'_>),
    ) -> Decided {
        let context = DecisionContext { engine, now };
        let enforced: SmallVec<[&MatchedPolicy<'_>; 4]> =
            policies.iter().filter(|matched| !matched.rule.policy.is_shadow).collect();
        match context.admit(&enforced) {
            Ok(admitted) => self.finish(&context, policies, admitted, note, used, |_| None),
            Err((matched, status)) => Decided::Refused(refuse(matched, status, note)),
        }
    }

    /// Counts a request that is admitted, and asks its shadow policies; `answered` is what is known of one of them already, by its place
    /// among the policies.
    pub(super) fn finish<C: Clock>(
        &self,
        context: &DecisionContext<'_, C>,
        policies: &MatchedPolicies<'_>,
        mut admitted: Admitted,
        note: impl Fn(&MatchedPolicy<'_>, Instant),
        used: impl Fn(&MatchedPolicy<'_>),
        answered: impl Fn(usize) -> Option<bool>,
    ) -> Decided {
        let now = context.now;
        let mut shadow_refused = Vec::new();
        for (place, matched) in policies.iter().enumerate() {
            let counts = &matched.rule.stats.counts;
            if matched.rule.policy.is_shadow {
                let shadow = match answered(place) {
                    Some(true) => Some(Admitted::default()),
                    Some(false) => None,
                    None => context.admit(&[matched]).ok(),
                };
                match shadow {
                    Some(shadow) if !matched.lacks_key() => {
                        admitted.permits.extend(shadow.permits);
                        admitted.pending.extend(shadow.pending);
                    }
                    _ => {
                        counts.add(Counted::ShadowRefused);
                        shadow_refused.push(matched.index);
                        note(matched, now);
                        continue;
                    }
                }
            }
            counts.add(Counted::Allowed);
            used(matched);
        }
        admitted.shadow_refused = shadow_refused.into();
        Decided::Admitted(admitted)
    }
}

/// Counts and notes a refusal.
pub(super) fn refuse(
    matched: &MatchedPolicy<'_>,
    status: LimitStatusOwned,
    note: impl Fn(&MatchedPolicy<'_>, Instant),
) -> LimitStatusOwned {
    matched.rule.stats.counts.add(Counted::Refused);
    note(matched, status.at);
    status
}

/// The policy that refuses, and the state of its limit.
pub(super) type Refuses<'m> = (&'m MatchedPolicy<'m>, LimitStatusOwned);

/// Of the limits that were charged, the one that is nearest to refusing the client.
pub(super) struct Tightest<'m> {
    of: (usize, usize, usize),
    decision: Decision<'m>,
}

impl Tightest<'_> {
    /// Its figures, which cost a division or two.
    pub(super) fn status(&self) -> LimitStatusOwned {
        LimitStatusOwned::at_limit(self.of, &self.decision)
    }
}

/// What has been charged.
pub(super) type Taken<'m> = SmallVec<[(&'m Limit, KeyHash, u64); 4]>;

/// The engine and the instant of one decision.
pub(super) struct DecisionContext<'r, C> {
    pub(super) engine: &'r Engine<C>,
    pub(super) now: Instant,
}

impl<'r, C: Clock> DecisionContext<'r, C> {
    /// Passes all of `policies`, or none: then nothing is taken, and the one that refuses is the answer.
    fn admit<'m>(&self, policies: &[&'m MatchedPolicy<'m>]) -> Result<Admitted, Refuses<'m>> {
        let (mut admitted, gates, taken) = self.begin(policies)?;
        self.end(policies, &gates, &mut admitted).inspect_err(|_| self.give_back(taken, self.now))?;
        Ok(admitted)
    }

    /// All but the turns in queues, and what they need besides.
    pub(super) fn begin<'m>(
        &self,
        policies: &[&'m MatchedPolicy<'m>],
    ) -> Result<(Admitted, Gates<'m>, Taken<'m>), Refuses<'m>> {
        let mut admitted = Admitted::default();
        for matched in policies {
            admitted.policies.push((matched.index, matched.tier));
            self.look(matched, &mut admitted)?;
        }
        for matched in policies {
            self.enter(matched, &mut admitted)?;
        }
        let gates = self.gates(policies)?;
        self.look_at_queues(policies)?;
        let taken = self.take(policies, &mut admitted)?;
        Ok((admitted, gates, taken))
    }

    /// The turns in queues. If there is none after all, others were faster since the look.
    pub(super) fn end<'m>(
        &self,
        policies: &[&'m MatchedPolicy<'m>],
        gates: &Gates<'m>,
        admitted: &mut Admitted,
    ) -> Result<(), Refuses<'m>> {
        self.queue(policies, admitted)?;
        self.wait_at_gates(policies, gates, admitted);
        Ok(())
    }

    /// Gives back what was taken at an instant. What time has paid for does not come back.
    pub(super) fn give_back(&self, taken: Taken<'_>, at: Instant) {
        for (limit, key, cost) in taken {
            self.under(limit).key(&key).refund_of(cost, at);
        }
    }

    fn under<'l>(&'l self, limit: &'l Limit) -> Scoped<'l, C> {
        self.engine.limiter.at(self.now).under(limit)
    }

    /// Looks at the limits that are charged after the response, and notes what the response decides.
    fn look<'m>(&self, matched: &'m MatchedPolicy<'m>, admitted: &mut Admitted) -> Result<(), Refuses<'m>> {
        if matched.rule.policy.charge == Charge::OnRequest {
            return Ok(());
        }
        admitted.pending.push(matched.pending(self.now));
        if matched.is_charged_first() {
            return Ok(());
        }
        let MatchedPolicy { hash: key, cost, .. } = *matched;
        for (index, limit) in matched.limits().iter().enumerate() {
            let decision = self.under(&limit.limit).key(&key).peek_n(cost);
            let status = LimitStatusOwned::at_limit((matched.index, matched.tier, index), &decision);
            if !decision.is_allowed() {
                return Err((matched, status));
            }
            admitted.nearest(status);
        }
        Ok(())
    }

    /// Enters the bound on concurrency.
    fn enter<'m>(&self, matched: &'m MatchedPolicy<'m>, admitted: &mut Admitted) -> Result<(), Refuses<'m>> {
        let Some(most) = matched.rule.policy.concurrency else { return Ok(()) };
        let permit = self.engine.in_flight.enter(matched.id(self.engine), most);
        let in_flight = permit.as_ref().map_or(most, Permit::number);
        let report = Report {
            verdict: if permit.is_some() { Verdict::Allowed } else { Verdict::Refused },
            burst: most,
            remaining: most.saturating_sub(in_flight),
            // It is unknown when one of them ends.
            retry_after: permit.is_none().then_some(Duration::from_secs(1)),
            reset_after: Duration::from_secs(1),
        };
        let status = LimitStatusOwned::of(matched, None, self.now, report);
        admitted.permits.push(permit.ok_or((matched, status))?);
        if matched.limits().is_empty() {
            admitted.nearest(status);
        }
        Ok(())
    }

    /// Takes from all rate limits that are charged first, or from none; says what from.
    fn take<'m>(&self, policies: &[&'m MatchedPolicy<'m>], admitted: &mut Admitted) -> Result<Taken<'m>, Refuses<'m>> {
        let limits: SmallVec<[_; 4]> = charged_first(policies).filter(|(.., limit)| !is_queue(limit)).collect();
        if let Some(tightest) = self.check(&limits)? {
            admitted.nearest(tightest.status());
        }
        Ok(limits.into_iter().map(|(matched, _, limit)| (&limit.limit, matched.hash, matched.cost)).collect())
    }

    /// Takes from all of these limits, or from none; the tightest of them, if there are any.
    pub(super) fn check<'m, 'd>(
        &self,
        limits: &[(&'m MatchedPolicy<'m>, usize, &'m NamedLimit)],
    ) -> Result<Option<Tightest<'d>>, Refuses<'m>>
    where
        'r: 'd,
        'm: 'd,
    {
        let Some((first, ..)) = limits.first() else { return Ok(None) };
        let item = |(matched, _, limit): &(&'m MatchedPolicy<'m>, usize, &'m NamedLimit)| SetItem {
            limit: &limit.limit,
            key: matched.hash,
            cost: matched.cost,
        };
        let items: SmallVec<[SetItem<'_>; 4]> = limits.iter().map(item).collect();
        // Configurations with too many for one request are refused; but a path that servers read in several ways may be one of
        // several requests.
        let decided = self.engine.limiter.at(self.now).check_items(&items);
        let decided = decided.map_err(|_| (*first, LimitStatusOwned::never(first, self.now)))?;
        let Some((matched, index, _)) = limits.get(decided.index()) else {
            return Err((first, LimitStatusOwned::never(first, self.now)));
        };
        let tightest = Tightest { of: (matched.index, matched.tier, *index), decision: decided.decision() };
        if decided.is_allowed() { Ok(Some(tightest)) } else { Err((matched, tightest.status())) }
    }

    /// Whether every queue has a turn for the request. Takes none, so that a refusal leaves none behind.
    fn look_at_queues<'m>(&self, policies: &[&'m MatchedPolicy<'m>]) -> Result<(), Refuses<'m>> {
        for (matched, index, limit) in charged_first(policies).filter(|(.., limit)| is_queue(limit)) {
            let looked = self.under(&limit.limit).key(&matched.hash).peek_n(matched.cost);
            let may_wait = looked.retry_after().is_some_and(|wait| wait <= gate::longest_wait(limit.limit.quota()));
            if !looked.is_allowed() && !may_wait {
                return Err((matched, LimitStatusOwned::at_limit((matched.index, matched.tier, index), &looked)));
            }
        }
        Ok(())
    }

    /// Takes a turn in every queue, or in none.
    fn queue<'m>(&self, policies: &[&'m MatchedPolicy<'m>], admitted: &mut Admitted) -> Result<(), Refuses<'m>> {
        let mut turns = SmallVec::<[Reservation<'_>; 2]>::new();
        for (matched, index, limit) in charged_first(policies).filter(|(.., limit)| is_queue(limit)) {
            let view = self.engine.limiter.at(self.now).under(&limit.limit);
            match view.key(&matched.hash).reserve(matched.cost, Duration::MAX) {
                Ok(turn) => {
                    admitted.wait = admitted.wait.max(turn.wait());
                    turns.push(turn);
                    let looked = self.under(&limit.limit).peek(&matched.hash);
                    admitted.nearest(LimitStatusOwned::at_limit((matched.index, matched.tier, index), &looked));
                }
                Err(decision) => {
                    let status = LimitStatusOwned::at_limit((matched.index, matched.tier, index), &decision);
                    turns.into_iter().rev().for_each(|turn| turn.cancel_at(self.now));
                    return Err((matched, status));
                }
            }
        }
        Ok(())
    }

    /// The gates of all queues.
    pub(super) fn gates<'m>(&self, policies: &[&'m MatchedPolicy<'m>]) -> Result<Gates<'m>, Refuses<'m>> {
        let mut gates = Gates::new();
        for (matched, _, limit) in charged_first(policies) {
            let Some(gate) = &limit.gate else { continue };
            if gates.len() == LimitSet::MAX {
                // As with the other limits: a path that servers read in several ways.
                return Err((matched, LimitStatusOwned::never(matched, self.now)));
            }
            gates.push((gate, matched.hash, matched.cost));
        }
        Ok(gates)
    }

    /// Passes the gates at once if there is no wait; else notes which there are, and when they are reached.
    fn wait_at_gates(&self, policies: &[&MatchedPolicy<'_>], gates: &Gates<'_>, admitted: &mut Admitted) {
        if admitted.wait.is_zero() {
            match gate::pass(self.engine, gates, self.now) {
                Ok(()) => return,
                Err(wait) => admitted.wait = wait,
            }
        }
        if !gates.is_empty() {
            let with_gates = |matched: &&&MatchedPolicy<'_>| matched.limits().iter().any(|limit| limit.gate.is_some());
            let of = policies.iter().filter(with_gates).map(|matched| matched.pending(self.now)).collect();
            admitted.at_gates = Some(Box::new(AtGates { at: self.now.saturating_add(admitted.wait), of }));
        }
    }
}

/// The limits that are charged when the request comes.
fn charged_first<'m>(
    policies: &[&'m MatchedPolicy<'m>],
) -> impl Iterator<Item = (&'m MatchedPolicy<'m>, usize, &'m NamedLimit)> {
    let charged = policies.iter().copied().filter(|matched| matched.is_charged_first());
    charged.flat_map(|matched| matched.limits().iter().enumerate().map(move |(index, limit)| (matched, index, limit)))
}

/// What these policies take at once.
#[cfg(feature = "redis")]
pub(super) fn taken<'m>(policies: &[&'m MatchedPolicy<'m>]) -> Taken<'m> {
    let limits = charged_first(policies).filter(|(.., limit)| !is_queue(limit));
    limits.map(|(matched, _, limit)| (&limit.limit, matched.hash, matched.cost)).collect()
}

fn is_queue(limit: &NamedLimit) -> bool {
    gate::is_queue(limit.limit.quota())
}

impl MatchedPolicy<'_> {
    fn is_charged_first(&self) -> bool {
        !matches!(self.rule.policy.charge, Charge::OnlyOn(_))
    }

    fn pending(&self, at: Instant) -> Pending {
        Pending { policy: self.index, tier: self.tier, key: self.hash, cost: self.cost, at }
    }
}
