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

use crate::charge::Charge;
use crate::gate::{self, Gates};
use crate::in_flight::Permit;
use crate::request::RequestInfo;
use crate::rules::{AskedKeys, Engine, Meeting, Meetings, NamedLimit, Rules};
use crate::standing::{Standing, Unit};

/// What came of a request.
#[expect(clippy::large_enum_variant, reason = "most are admitted, and a box would cost each of them an allocation")]
pub(crate) enum Decided {
    Admitted(Admitted),
    Refused(Stood),
}

/// What an admitted request takes with it.
#[derive(Default)]
pub(crate) struct Admitted {
    /// Where the client stands with the limit that is nearest to refusing it, if there is one.
    pub(crate) tightest: Option<Stood>,
    /// The policies that it met, and the tier in each, for `RateLimit-Policy`.
    pub(crate) met: SmallVec<[(usize, usize); 4]>,
    /// How long it has to wait in a queue.
    pub(crate) wait: Duration,
    /// The gates that it must pass then. Boxed, because they are rare, and every admission would have to carry them.
    pub(crate) at_gates: Option<Box<AtGates>>,
    /// Its places under bounds on concurrency.
    pub(crate) permits: Permits,
    /// What its response decides.
    pub(crate) pending: SmallVec<[Pending; 1]>,
    /// The shadow policies that would have refused it.
    pub(crate) shadow_refused: Box<[usize]>,
}

pub(crate) type Permits = SmallVec<[Permit; 1]>;

/// What has gates that a request must pass, and when it comes to them.
pub(crate) struct AtGates {
    at: Instant,
    of: Vec<Pending>,
}

/// A charge, or a refund, that the response decides; or gates that are still to be passed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) policy: usize,
    pub(crate) tier: usize,
    pub(crate) key: KeyHash,
    pub(crate) cost: u64,
    /// When it was decided about.
    pub(crate) at: Instant,
}

/// Where a client stood with a limit: a [`Standing`] that borrows nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stood {
    policy: usize,
    tier: usize,
    /// The index of the limit; the bound on concurrency has none.
    limit: Option<usize>,
    at: Instant,
    report: Report,
}

impl Rules {
    /// Decides about `request`, whose client has been [found](Rules::locate).
    pub(crate) fn decide<C: Clock>(
        &self,
        engine: &Engine<C>,
        request: &RequestInfo<'_>,
        asked: &AskedKeys,
        now: Instant,
    ) -> Decided {
        let note = |meeting: &Meeting<'_>, at| meeting.note_refusal(engine, request, self.settings.shows_keys, at);
        match self.meet(engine, request, asked) {
            Ok(met) => self.decide_met(engine, &met, now, note),
            Err(keyless) => refuse(&keyless, Stood::never(&keyless, now), note),
        }
    }

    /// Decides about a request that meets `met`; `note` is told of each that refuses it, or would.
    pub(crate) fn decide_met<C: Clock>(
        &self,
        engine: &Engine<C>,
        met: &Meetings<'_>,
        now: Instant,
        note: impl Fn(&Meeting<'_>, Instant),
    ) -> Decided {
        let case = Case { engine, now };
        let enforced: SmallVec<[&Meeting<'_>; 4]> =
            met.iter().filter(|meeting| !meeting.rule.policy.is_shadow).collect();
        let mut admitted = match case.admit(&enforced) {
            Ok(admitted) => admitted,
            Err((meeting, stood)) => return refuse(meeting, stood, note),
        };
        let mut shadow_refused = Vec::new();
        for meeting in met {
            let counts = &meeting.rule.shared.counts;
            if meeting.rule.policy.is_shadow {
                match case.admit(&[meeting]) {
                    Ok(shadow) if !meeting.lacks_key() => {
                        admitted.permits.extend(shadow.permits);
                        admitted.pending.extend(shadow.pending);
                    }
                    _ => {
                        counts.shadow_refused.add();
                        shadow_refused.push(meeting.index);
                        note(meeting, now);
                        continue;
                    }
                }
            }
            counts.allowed.add();
        }
        admitted.shadow_refused = shadow_refused.into();
        Decided::Admitted(admitted)
    }

    /// `stood` in the words of answers; nothing if the rules are others by now.
    pub(crate) fn standing(&self, stood: &Stood) -> Option<Standing<'_>> {
        let rule = self.rules.get(stood.policy)?;
        let tier = rule.tiers.get(stood.tier)?;
        let policy = rule.policy.name.as_str();
        let (name, quota, unit) = match stood.limit {
            Some(limit) => {
                let limit = tier.limits.get(limit)?;
                (limit.name.as_str(), limit.limit.quota(), Unit::Requests)
            }
            None => (policy, tier.in_flight.as_ref()?, Unit::ConcurrentRequests),
        };
        Some(Standing { name, policy, quota, unit, at: stood.at, report: stood.report })
    }
}

fn refuse(meeting: &Meeting<'_>, stood: Stood, note: impl Fn(&Meeting<'_>, Instant)) -> Decided {
    meeting.rule.shared.counts.refused.add();
    note(meeting, stood.at);
    Decided::Refused(stood)
}

/// The policy that refuses, and where the client stands with it.
type Refuses<'m> = (&'m Meeting<'m>, Stood);

/// What has been charged.
type Taken<'m> = SmallVec<[(&'m Limit, KeyHash, u64); 4]>;

/// What stands still while one request is decided.
struct Case<'r, C> {
    engine: &'r Engine<C>,
    now: Instant,
}

impl<'r, C: Clock> Case<'r, C> {
    /// Passes all of `meetings`, or none: then nothing is taken, and the one that refuses is the answer.
    fn admit<'m>(&self, meetings: &[&'m Meeting<'m>]) -> Result<Admitted, Refuses<'m>> {
        let mut admitted = Admitted::default();
        for meeting in meetings {
            admitted.met.push((meeting.index, meeting.tier));
            self.look(meeting, &mut admitted)?;
        }
        for meeting in meetings {
            self.enter(meeting, &mut admitted)?;
        }
        let gates = self.gates(meetings)?;
        self.look_at_queues(meetings)?;
        let taken = self.take(meetings, &mut admitted)?;
        self.queue(meetings, &mut admitted).inspect_err(|_| {
            // Others were faster since the look. What time has paid for does not come back.
            for (limit, key, cost) in taken {
                self.under(limit).refund_of(&key, cost, self.now);
            }
        })?;
        self.wait_at_gates(meetings, &gates, &mut admitted);
        Ok(admitted)
    }

    fn under<'l>(&'l self, limit: &'l Limit) -> Scoped<'l, C> {
        self.engine.limiter.at(self.now).under(limit)
    }

    /// Looks at the limits that are charged after the response, and notes what the response decides.
    fn look<'m>(&self, meeting: &'m Meeting<'m>, admitted: &mut Admitted) -> Result<(), Refuses<'m>> {
        if meeting.rule.policy.charge == Charge::OnRequest {
            return Ok(());
        }
        admitted.pending.push(meeting.pending(self.now));
        if meeting.is_charged_first() {
            return Ok(());
        }
        let Meeting { hash: key, cost, .. } = *meeting;
        for (index, limit) in meeting.limits().iter().enumerate() {
            let decision = self.under(&limit.limit).peek_n(&key, cost);
            let stood = Stood::of(meeting, Some(index), self.now, decision.report());
            if !decision.is_allowed() {
                return Err((meeting, stood));
            }
            admitted.nearest(stood);
        }
        Ok(())
    }

    /// Enters the bound on concurrency.
    fn enter<'m>(&self, meeting: &'m Meeting<'m>, admitted: &mut Admitted) -> Result<(), Refuses<'m>> {
        let Some(most) = meeting.rule.policy.concurrency else { return Ok(()) };
        let permit = self.engine.in_flight.enter(meeting.id(self.engine), most);
        let in_flight = permit.as_ref().map_or(most, Permit::number);
        let report = Report {
            verdict: if permit.is_some() { Verdict::Allowed } else { Verdict::Refused },
            burst: most,
            remaining: most.saturating_sub(in_flight),
            // Nobody knows when one of them ends.
            retry_after: permit.is_none().then_some(Duration::from_secs(1)),
            reset_after: Duration::from_secs(1),
        };
        let stood = Stood::of(meeting, None, self.now, report);
        admitted.permits.push(permit.ok_or((meeting, stood))?);
        if meeting.limits().is_empty() {
            admitted.nearest(stood);
        }
        Ok(())
    }

    /// Takes from all rate limits that are charged first, or from none; says what from.
    fn take<'m>(&self, meetings: &[&'m Meeting<'m>], admitted: &mut Admitted) -> Result<Taken<'m>, Refuses<'m>> {
        let mut shares = SmallVec::<[SetItem<'_>; 4]>::new();
        let mut from = SmallVec::<[(&Meeting<'_>, usize); 4]>::new();
        for (meeting, index, limit) in charged_first(meetings).filter(|(.., limit)| !is_queue(limit)) {
            shares.push(SetItem { limit: &limit.limit, key: meeting.hash, cost: meeting.cost });
            from.push((meeting, index));
        }
        let Some((first, _)) = from.first() else { return Ok(Taken::new()) };
        // Settings with too many for one request are refused; but a path that servers read in several ways may be one of
        // several requests.
        let decided = self.engine.limiter.at(self.now).check_items(&shares);
        let decided = decided.map_err(|_| (*first, Stood::never(first, self.now)))?;
        let Some((meeting, index)) = from.get(decided.index()) else {
            return Err((first, Stood::never(first, self.now)));
        };
        let stood = Stood::of(meeting, Some(*index), self.now, decided.decision().report());
        if !decided.is_allowed() {
            return Err((meeting, stood));
        }
        admitted.nearest(stood);
        Ok(shares.into_iter().map(|share| (share.limit, share.key, share.cost)).collect())
    }

    /// Whether every queue has a turn for the request. Takes none, so that a refusal leaves none behind.
    fn look_at_queues<'m>(&self, meetings: &[&'m Meeting<'m>]) -> Result<(), Refuses<'m>> {
        for (meeting, index, limit) in charged_first(meetings).filter(|(.., limit)| is_queue(limit)) {
            let looked = self.under(&limit.limit).peek_n(&meeting.hash, meeting.cost);
            let may_wait = looked.retry_after().is_some_and(|wait| wait <= gate::longest_wait(limit.limit.quota()));
            if !looked.is_allowed() && !may_wait {
                return Err((meeting, Stood::of(meeting, Some(index), self.now, looked.report())));
            }
        }
        Ok(())
    }

    /// Takes a turn in every queue, or in none.
    fn queue<'m>(&self, meetings: &[&'m Meeting<'m>], admitted: &mut Admitted) -> Result<(), Refuses<'m>> {
        let mut turns = SmallVec::<[Reservation<'_>; 2]>::new();
        for (meeting, index, limit) in charged_first(meetings).filter(|(.., limit)| is_queue(limit)) {
            let view = self.engine.limiter.at(self.now).under(&limit.limit);
            match view.reserve(&meeting.hash, meeting.cost, Duration::MAX) {
                Ok(turn) => {
                    admitted.wait = admitted.wait.max(turn.wait());
                    turns.push(turn);
                    let report = self.under(&limit.limit).peek(&meeting.hash).report();
                    admitted.nearest(Stood::of(meeting, Some(index), self.now, report));
                }
                Err(decision) => {
                    let stood = Stood::of(meeting, Some(index), self.now, decision.report());
                    turns.into_iter().rev().for_each(|turn| turn.cancel_at(self.now));
                    return Err((meeting, stood));
                }
            }
        }
        Ok(())
    }

    /// The gates of all queues.
    fn gates<'m>(&self, meetings: &[&'m Meeting<'m>]) -> Result<Gates<'m>, Refuses<'m>> {
        let mut gates = Gates::new();
        for (meeting, _, limit) in charged_first(meetings) {
            let Some(gate) = &limit.gate else { continue };
            if gates.len() == LimitSet::MAX {
                // As with the other limits: a path that servers read in several ways.
                return Err((meeting, Stood::never(meeting, self.now)));
            }
            gates.push((gate, meeting.hash, meeting.cost));
        }
        Ok(gates)
    }

    /// Passes the gates at once if there is no wait; else notes which there are, and when they are reached.
    fn wait_at_gates(&self, meetings: &[&Meeting<'_>], gates: &Gates<'_>, admitted: &mut Admitted) {
        if admitted.wait.is_zero() {
            match gate::pass(self.engine, gates, self.now) {
                Ok(()) => return,
                Err(wait) => admitted.wait = wait,
            }
        }
        if !gates.is_empty() {
            let with_gates = |meeting: &&&Meeting<'_>| meeting.limits().iter().any(|limit| limit.gate.is_some());
            let of = meetings.iter().filter(with_gates).map(|meeting| meeting.pending(self.now)).collect();
            admitted.at_gates = Some(Box::new(AtGates { at: self.now.saturating_add(admitted.wait), of }));
        }
    }
}

impl Admitted {
    /// Passes the gates as of the instant for which it has waited; else says how much longer it has to.
    pub(crate) fn pass<C: Clock>(&mut self, engine: &Engine<C>, rules: &Rules) -> Result<(), Duration> {
        let Some(AtGates { at, of }) = self.at_gates.as_deref_mut() else { return Ok(()) };
        let mut gates = Gates::new();
        for Pending { policy, tier, key, cost, .. } in of {
            let tier = rules.rules.get(*policy).and_then(|rule| rule.tiers.get(*tier));
            let limits = tier.map_or(&[][..], |tier| &tier.limits);
            gates.extend(limits.iter().filter_map(|limit| Some((limit.gate.as_ref()?, *key, *cost))));
        }
        if let Err(wait) = gate::pass(engine, &gates, *at) {
            *at = at.saturating_add(wait);
            return Err(wait);
        }
        self.at_gates = None;
        Ok(())
    }
}

/// The limits that are charged when the request comes.
fn charged_first<'m>(meetings: &[&'m Meeting<'m>]) -> impl Iterator<Item = (&'m Meeting<'m>, usize, &'m NamedLimit)> {
    let charged = meetings.iter().copied().filter(|meeting| meeting.is_charged_first());
    charged.flat_map(|meeting| meeting.limits().iter().enumerate().map(move |(index, limit)| (meeting, index, limit)))
}

fn is_queue(limit: &NamedLimit) -> bool {
    gate::is_queue(limit.limit.quota())
}

impl Meeting<'_> {
    fn is_charged_first(&self) -> bool {
        !matches!(self.rule.policy.charge, Charge::OnlyOn(_))
    }

    fn pending(&self, at: Instant) -> Pending {
        Pending { policy: self.index, tier: self.tier, key: self.hash, cost: self.cost, at }
    }
}

impl Admitted {
    /// Keeps the limit with the fewest remaining.
    fn nearest(&mut self, stood: Stood) {
        if self.tightest.is_none_or(|tightest| stood.report.remaining < tightest.report.remaining) {
            self.tightest = Some(stood);
        }
    }
}

impl Stood {
    fn of(meeting: &Meeting<'_>, limit: Option<usize>, at: Instant, report: Report) -> Self {
        Self { policy: meeting.index, tier: meeting.tier, limit, at, report }
    }

    /// Whether this is about that limit of that policy.
    pub(crate) fn is(&self, pending: &Pending, limit: usize) -> bool {
        (self.policy, self.tier, self.limit) == (pending.policy, pending.tier, Some(limit))
    }

    /// Where the client stands after a charge or a refund.
    pub(crate) fn look_again(&mut self, decision: Decision<'_>) {
        (self.at, self.report) = (decision.at(), decision.report());
    }

    /// With a policy that this request can never pass.
    pub(crate) fn never(meeting: &Meeting<'_>, at: Instant) -> Self {
        let limit = (!meeting.limits().is_empty()).then_some(0);
        let burst = meeting.limits().first().map_or(0, |limit| limit.limit.quota().burst());
        let report =
            Report { verdict: Verdict::NeverFits, burst, remaining: 0, retry_after: None, reset_after: Duration::ZERO };
        Self::of(meeting, limit, at, report)
    }

    pub(crate) const fn report(&self) -> &Report {
        &self.report
    }

    pub(crate) const fn policy(&self) -> (usize, usize) {
        (self.policy, self.tier)
    }
}
