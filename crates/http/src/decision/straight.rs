//! The straight path, for rules by which everything is decided when a request comes: by limits that are charged then and make
//! nobody wait. The decision, its counts and its header fields are made in one go, so that nothing is kept until the response but
//! the fields, and nothing is written that requests of other keys write.
//!
//! It decides as [`decide`](super::decide) does, with less to carry.

use std::net::IpAddr;

use smallvec::SmallVec;
use tollgate::clock::{Clock, Instant};

use crate::answer::ResponseFields;
use crate::config::Cost;
use crate::decision::compile::{Rules, Tier};
use crate::decision::decide::{DecisionContext, refuse};
use crate::decision::engine::Engine;
use crate::decision::matching::{AsyncKeys, MatchedPolicies};
use crate::decision::status::LimitStatusOwned;
use crate::identity::key::ClientKey;
use crate::request::RequestInfo;
use crate::stats::Counted;

impl Rules {
    /// The shortest path: limits of one policy for each client address. `None` if that is not all there is to it; a
    /// refusal has yet to be [noted](Self::note_by_client).
    #[inline]
    pub(crate) fn decide_by_client<C: Clock>(
        &self,
        engine: &Engine<C>,
        client: IpAddr,
    ) -> Option<Result<ResponseFields, LimitStatusOwned>> {
        let [rule] = self.rules.as_slice() else { return None };
        let ([Tier { set: Some(set), items, .. }], Cost::Constant(cost)) = (rule.tiers.as_slice(), &rule.policy.cost)
        else {
            return None;
        };
        let key = engine.limiter.hash(&(0_u8, ClientKey(self.config.grouping.group(client))));
        let (decision, index) = match set.limits() {
            // On the limiter's clock, which is read while the bucket is fetched.
            [limit] => (engine.limiter.under(limit).check_n(&key, *cost), 0),
            _ => {
                let decision = engine.limiter.check_set_n(set, &key, *cost);
                (decision.decision(), decision.index())
            }
        };
        let status = || LimitStatusOwned::at_limit((0, 0, index), &decision);
        if !decision.is_allowed() {
            return Some(Err(status()));
        }
        rule.stats.counts.add(Counted::Allowed);
        if !self.config.answer.informs() {
            return Some(Ok(ResponseFields::NONE));
        }
        let limit = self.limit_status(&status());
        let fields = limit.map(|limit| self.config.answer.dialect().fields(&limit, items.mine().clone()));
        Some(Ok(fields.unwrap_or(ResponseFields::NONE)))
    }

    /// Takes note of a refusal of the shortest path. Finds the key once more, which asks no function of the application.
    pub(crate) fn note_by_client<C: Clock>(
        &self,
        engine: &Engine<C>,
        request: &RequestInfo<'_>,
        status: LimitStatusOwned,
    ) {
        let mut policies = MatchedPolicies::new();
        let _ = self.matching(engine, request, &AsyncKeys::default(), &mut policies);
        for matched in &policies {
            refuse(matched, status, |matched, at| matched.note_refusal(engine, request, self.config.shows_keys, at));
        }
    }

    /// Decides about `request`, whose client has been [found](Self::locate), by straight rules.
    pub(crate) fn decide_straight<C: Clock>(
        &self,
        engine: &Engine<C>,
        request: &RequestInfo<'_>,
        now: Instant,
    ) -> Result<ResponseFields, LimitStatusOwned> {
        let refuse = |matched: &_, status| {
            refuse(matched, status, |matched, at| matched.note_refusal(engine, request, self.config.shows_keys, at))
        };
        let mut policies = MatchedPolicies::new();
        self.matching(engine, request, &AsyncKeys::default(), &mut policies)
            .map_err(|keyless| refuse(&keyless, LimitStatusOwned::never(&keyless, now)))?;
        let limits: SmallVec<[_; 4]> = policies
            .iter()
            .flat_map(|matched| matched.limits().iter().enumerate().map(move |(index, limit)| (matched, index, limit)))
            .collect();
        let context = DecisionContext { engine, now };
        let tightest = context.check(&limits).map_err(|(matched, status)| refuse(matched, status))?;
        for matched in &policies {
            matched.rule.stats.counts.add(Counted::Allowed);
        }
        let informs = self.config.answer.informs();
        Ok(tightest.filter(|_| informs).map_or(ResponseFields::NONE, |limit| self.fields(&policies, &limit.status())))
    }

    /// What the response to a request that was admitted says.
    fn fields(&self, policies: &MatchedPolicies<'_>, status: &LimitStatusOwned) -> ResponseFields {
        let answer = &self.config.answer;
        let Some(limit) = self.limit_status(status) else { return ResponseFields::NONE };
        let policies: SmallVec<[(usize, usize); 4]> =
            policies.iter().map(|matched| (matched.index, matched.tier)).collect();
        answer.dialect().fields(&limit, self.policy_items(&policies))
    }
}
