//! The straight path, for rules by which everything is decided when a request comes: by limits that are charged then and make
//! nobody wait. The decision, its counts and its header fields are made in one go, so that nothing is kept until the response but
//! the fields, and nothing is written that requests of other keys write.
//!
//! It decides as [`decide`](super::decide) does, with less to carry.

use std::net::IpAddr;

use bytes::Bytes;
use http::Response;
use smallvec::SmallVec;
use tollgate::clock::{Clock, Instant};
use tollgate::{Decision, KeyHash};

use crate::answer::{Dialect, ResponseFields, ceil_secs};
use crate::decision::by_client::ByClient;
use crate::decision::compile::Rules;
use crate::decision::decide::{DecisionContext, refuse};
use crate::decision::engine::Engine;
use crate::decision::matching::{AsyncKeys, MatchedPolicies};
use crate::decision::shared::Shared;
use crate::decision::status::LimitStatusOwned;
use crate::identity::key::ClientKey;
use crate::request::{RequestInfo, RequestView};
use crate::stats::{Counted, TopEntry};

impl Rules {
    /// The key of the shortest path: limits of one policy for each client address.
    #[inline]
    pub(crate) fn client_key<C: Clock>(&self, engine: &Engine<C>, client: IpAddr) -> KeyHash {
        engine.limiter.hash(&(0_u8, ClientKey(self.config.grouping.group(client))))
    }

    /// The answer of the shortest path, by the decision of the limit with this index, which refuses or is the tightest.
    #[inline(always)]
    #[expect(clippy::result_large_err, reason = "a refusal has no box of its own; it is written where it is wanted")]
    pub(crate) fn answer_by_client<C: Clock>(
        &self,
        shared: &Shared<C>,
        request: &impl RequestView,
        begun: Option<Instant>,
        (client, key): (IpAddr, KeyHash),
        by_client: &ByClient,
        (index, decision): (usize, &Decision<'_>),
    ) -> Result<ResponseFields, Response<Bytes>> {
        if !decision.is_allowed() {
            return Err(self.refuse_by_client(shared, request, begun, &status_of(by_client, index, decision)));
        }
        for &policy in &by_client.policies {
            self.rules[policy].stats.counts.add(Counted::Allowed); // an index of these rules
        }
        if self.config.watches_use {
            self.note_client(&shared.engine, by_client, client, key);
        }
        shared.timer.end(begun, || shared.engine.limiter.clock().now());
        let fields = self.config.answer.informs().then(|| self.fields_by_client(by_client, index, decision)).flatten();
        Ok(fields.unwrap_or(ResponseFields::NONE))
    }

    /// Takes note that a request of this client passes.
    #[inline(never)]
    fn note_client<C: Clock>(&self, engine: &Engine<C>, by_client: &ByClient, client: IpAddr, key: KeyHash) {
        let group = self.config.grouping.group(client);
        let hash = engine.hasher.hash_one(group);
        let label = || engine.labeller.address(client, self.config.shows_keys);
        for &policy in &by_client.policies {
            // An index of these rules.
            self.rules[policy].stats.used.count(hash, || TopEntry { label: label(), key, tier: 0 });
        }
    }

    /// What the response to a request says that the shortest path admitted.
    #[inline(never)]
    fn fields_by_client(&self, by_client: &ByClient, index: usize, decision: &Decision<'_>) -> Option<ResponseFields> {
        let texts = by_client.texts.get(index)?;
        let dialect = self.config.answer.dialect();
        if dialect == Dialect::Ietf {
            return Some(ResponseFields::ietf(texts, decision.remaining(), ceil_secs(decision.reset_after())));
        }
        let status = status_of(by_client, index, decision);
        Some(dialect.fields(&self.limit_status(&status)?, texts.here().policies.clone()))
    }

    /// Notes and answers a refusal of the shortest path. Finds the key once more, which asks no function of the application.
    #[inline(never)]
    fn refuse_by_client<C: Clock>(
        &self,
        shared: &Shared<C>,
        request: &dyn RequestView,
        begun: Option<Instant>,
        status: &LimitStatusOwned,
    ) -> Response<Bytes> {
        let Shared { engine, timer, .. } = shared;
        let request = &self.locate(request);
        let mut policies = MatchedPolicies::new();
        let _ = self.matching(engine, request, &AsyncKeys::default(), &mut policies);
        for matched in policies.iter().filter(|matched| matched.index == status.policy().0) {
            refuse(matched, *status, |matched, at| matched.note_refusal(engine, request, self.config.shows_keys, at));
        }
        timer.end(begun, || engine.limiter.clock().now());
        self.refusal(status, request.is_grpc())
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
            matched.note_use(engine, request, &self.config);
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

/// The state of the limit with this index in the set.
fn status_of(by_client: &ByClient, index: usize, decision: &Decision<'_>) -> LimitStatusOwned {
    let (policy, limit) = by_client.of[index]; // an index of the set
    LimitStatusOwned::at_limit((policy, 0, limit), decision)
}
