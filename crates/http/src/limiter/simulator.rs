//! Decisions about many requests that are alike, as those of a log are: who a request is to the rules is found out once.

use std::fmt;
use std::sync::Arc;

use tollgate::Quota;
use tollgate::clock::{Clock, Instant};

use super::{AsyncKeys, Decision, decision};
use crate::decision::compile::Rules;
use crate::decision::decide::Decided;
use crate::decision::matching::{FoundBy, MatchedPolicies, MatchedPolicy};
use crate::decision::shared::Shared;
use crate::decision::status::LimitStatusOwned;
use crate::identity::OnMissingKey;
use crate::request::RequestView;
use crate::stats::Counted;

/// Decides as a [`RateLimiter`](super::RateLimiter) does, with the rules that this had when the simulator was made, but is told who a request
/// is. It knows keys by their [`KnownMatch::id`] alone: so it shares no bucket with requests that the limiter itself decides
/// about, and keeps no lists of refused keys. Policies on a fleet count in this process: no server is asked.
pub struct Simulator<C: Clock> {
    shared: Arc<Shared<C>>,
    rules: Arc<Rules>,
}

/// A policy that is for a request, and who the request is to it. Good for every [`Simulator`] of the same rules.
#[derive(Debug, Clone, Copy)]
pub struct KnownMatch {
    policy: usize,
    tier: usize,
    id: u64,
    cost: u64,
    role: Role,
}

/// What a policy does with the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Limits,
    /// It has no key; all such requests share a bucket.
    LimitsKeyless,
    /// It has no key, and is refused for that, or would be if this is a shadow.
    RefusesKeyless,
    Exempts,
}

impl KnownMatch {
    /// The index of the policy in [`LimiterConfig::policies`](crate::LimiterConfig::policies).
    #[must_use]
    pub const fn policy(&self) -> usize {
        self.policy
    }

    /// The request's tier in the policy: 0 stands for the policy's own limits, 1 for its first tier.
    #[must_use]
    pub const fn tier(&self) -> usize {
        self.tier
    }

    /// Which key of the policy it is: equal for requests that share their buckets (in one tier), and different for others
    /// but with odds of 2^-64. It differs from process to process. Of no meaning if the policy exempts the request.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// What the request costs.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.cost
    }

    /// Whether the policy exempts the request.
    #[must_use]
    pub const fn is_exempt(&self) -> bool {
        matches!(self.role, Role::Exempts)
    }

    /// Whether the request lacks the policy's key.
    #[must_use]
    pub const fn is_keyless(&self) -> bool {
        matches!(self.role, Role::LimitsKeyless | Role::RefusesKeyless)
    }
}

impl<C: Clock> Simulator<C> {
    pub(super) const fn new(shared: Arc<Shared<C>>, rules: Arc<Rules>) -> Self {
        Self { shared, rules }
    }

    /// The policies that are for `request`, in their order; not those that do not apply for lack of a key. Nothing is
    /// decided, taken or counted.
    #[must_use]
    pub fn matches(&self, request: &dyn RequestView, keys: &AsyncKeys) -> Vec<KnownMatch> {
        let engine = &self.shared.engine;
        let request = self.rules.locate(request);
        let mut found = Vec::new();
        for index in self.rules.applicable(&request) {
            let Some(rule) = self.rules.rules.get(index) else { continue };
            let is_exempt = rule.policy.exempts(&request);
            let key = rule.key(&request, self.rules.config.grouping, keys);
            let role = match (&key, rule.policy.on_missing_key) {
                _ if is_exempt => Role::Exempts,
                (Some(_), _) => Role::Limits,
                (None, OnMissingKey::Skip) => continue,
                (None, OnMissingKey::Refuse) => Role::RefusesKeyless,
                (None, OnMissingKey::Share) => Role::LimitsKeyless,
            };
            let hash = engine.limiter.hash(&()); // of no meaning: nothing is decided here
            let (tier, cost) = (rule.tier(&request), rule.policy.cost.of(&request));
            let policy = MatchedPolicy { index, rule, tier, key: key.unwrap_or(FoundBy::Missing), hash, cost };
            found.push(KnownMatch { policy: index, tier, id: policy.id(engine), cost, role });
        }
        found
    }

    /// The limits of a policy in one of its [tiers](KnownMatch::tier); none if there is no such tier.
    #[must_use]
    pub fn limits(&self, policy: usize, tier: usize) -> Vec<Quota> {
        let tier = self.rules.rules.get(policy).and_then(|rule| rule.tiers.get(tier));
        tier.iter().flat_map(|tier| &tier.limits).map(|limit| *limit.limit.quota()).collect()
    }

    /// Decides at `now` about a request with these [`matches`](Self::matches), all of them and in their order.
    pub fn check(&self, matches: &[KnownMatch], now: Instant) -> Decision<C> {
        let rules = Arc::clone(&self.rules);
        decision(&self.shared, rules, self.decide(matches, now), || false)
    }

    fn decide(&self, matches: &[KnownMatch], now: Instant) -> Decided {
        let engine = &self.shared.engine;
        let mut policies = MatchedPolicies::new();
        for matched in matches {
            let KnownMatch { policy: index, tier, id, cost, role } = *matched;
            let Some(rule) = self.rules.rules.get(index) else { continue };
            if role == Role::Exempts {
                rule.stats.counts.add(Counted::Exempt);
                continue;
            }
            let key = FoundBy::Known { id, is_missing: matched.is_keyless() };
            let policy = MatchedPolicy { index, rule, tier, key, hash: engine.limiter.hash(&id), cost };
            if role == Role::RefusesKeyless && !rule.policy.is_shadow {
                rule.stats.counts.add(Counted::Refused);
                return Decided::Refused(LimitStatusOwned::never(&policy, now));
            }
            policies.push(policy);
        }
        self.rules.decide_matched(engine, &policies, now, |_, _| (), |_| ())
    }
}

impl<C: Clock> fmt::Debug for Simulator<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("config", &self.rules.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri};
    use tollgate::clock::ManualClock;

    use super::*;
    use crate::config::{Charge, LimiterConfig, Policy};
    use crate::limiter::RateLimiter;
    use crate::request::RequestParts;

    const START: Instant = Instant::from_nanos(1_000_000_000_000);

    fn limiter() -> RateLimiter<ManualClock> {
        let policy = |name, limits| Policy::new(name, limits).unwrap();
        let key = |key: &str| key.parse().unwrap();
        let config = LimiterConfig::new()
            .policy(policy("by-ip", "3/minute, 5/hour").exempt("path:/health".parse().unwrap()))
            .policy(policy("must-have", "4/minute").key(key("header:x-a")).on_missing_key(OnMissingKey::Refuse))
            .policy(policy("may-have", "2/minute").key(key("header:x-b")).on_missing_key(OnMissingKey::Skip))
            .policy(policy("shadow", "1/minute").key(key("header:x-b")).shadow(true))
            .policy(
                policy("refuses-none", "1/s").key(key("header:x-b")).on_missing_key(OnMissingKey::Refuse).shadow(true),
            )
            .policy(policy("failures", "2/minute").charge(Charge::OnlyOn("401".parse().unwrap())))
            .policy(Policy::without_rate("at-once").concurrency(1));
        RateLimiter::with_clock(config, ManualClock::new(START)).unwrap()
    }

    /// What is decided and what is counted are the same, request by request.
    #[test]
    fn it_decides_as_the_limiter_does() {
        let (real, simulated) = (limiter(), limiter());
        let simulator = simulated.simulator();
        let (mut refused, mut shadow_refused) = (0, 0);
        for step in 0..500_u32 {
            let bit = |of: u32| step.wrapping_mul(2_654_435_761) >> of & 1 == 1;
            let mut headers = HeaderMap::new();
            for (name, is_there) in [("x-a", bit(20) || bit(21)), ("x-b", bit(22))] {
                is_there.then(|| headers.insert(name, HeaderValue::from_static(if bit(23) { "1" } else { "2" })));
            }
            let uri: Uri = if bit(24) && bit(25) { "/health" } else { "/" }.parse().unwrap();
            let peer: IpAddr = if bit(26) { "192.0.2.1" } else { "2001:db8::1" }.parse().unwrap();
            let extensions = Extensions::new();
            let request = RequestParts::new(&Method::GET, &uri, &headers, &extensions, Some(peer));
            let now = START.saturating_add(Duration::from_secs(u64::from(step) * 3));
            let status = if bit(27) { StatusCode::UNAUTHORIZED } else { StatusCode::OK };
            let settled = |decision| match decision {
                Decision::Admitted(mut admission) => {
                    admission.settle(status);
                    let shadows: Vec<String> = admission.shadow_refusals().map(str::to_owned).collect();
                    (None, shadows, admission.wait())
                }
                Decision::Refused(refusal) => {
                    let name = refusal.limit_status().map(|limit| limit.name.to_owned());
                    (Some((refusal.policy().to_owned(), name)), Vec::new(), Duration::ZERO)
                }
            };
            let keys = AsyncKeys::default();
            for limiter in [&real, &simulated] {
                limiter.clock().set(now);
            }
            let expected = settled(real.check_at(&request, &keys, now));
            assert_eq!(settled(simulator.check(&simulator.matches(&request, &keys), now)), expected, "{step}");
            refused += usize::from(expected.0.is_some());
            shadow_refused += expected.1.len();
        }
        assert!(refused > 50 && refused < 450 && shadow_refused > 50, "{refused} {shadow_refused} test nothing");
        let counts = |limiter: &RateLimiter<_>| limiter.policies(0).iter().map(|view| view.counts).collect::<Vec<_>>();
        assert_eq!(counts(&simulated), counts(&real));
    }

    #[test]
    fn one_key_has_one_id() {
        let simulator = limiter().simulator();
        let (uri, headers, extensions) = (Uri::from_static("/"), HeaderMap::new(), Extensions::new());
        let id = |peer: &str| {
            let peer = Some(peer.parse().unwrap());
            let request = RequestParts::new(&Method::GET, &uri, &headers, &extensions, peer);
            simulator.matches(&request, &AsyncKeys::default())[0].id()
        };
        assert_eq!(id("2001:db8::1"), id("2001:db8::ffff"), "one network");
        assert_ne!(id("2001:db8::1"), id("2001:db8:0:1::1"));
        assert_ne!(id("192.0.2.1"), id("192.0.2.2"));
    }
}
