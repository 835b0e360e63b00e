//! Which policies are for a request, and who it is to them, without a decision.

use crate::key::OnMissingKey;
use crate::request::RequestInfo;
use crate::rules::{AskedKeys, FoundBy, Rules};

/// A policy that is for a request, and what the request is to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Met {
    /// The index of the policy in [`Settings::policies`](crate::Settings::policies).
    pub policy: usize,
    /// Whether the policy exempts it.
    pub is_exempt: bool,
    /// The tier, if it is of one.
    pub tier: Option<String>,
    /// The parts of its key in full, for nobody's eyes but the operator's; nothing if it has none.
    pub key: Option<Vec<String>>,
    /// What it costs.
    pub cost: u64,
}

impl Rules {
    /// The policies that are for `request`, whose client has been [found](Self::locate); not those that do not apply
    /// for want of a key.
    pub(crate) fn met(&self, request: &RequestInfo<'_>, asked: &AskedKeys) -> Vec<Met> {
        let mut met = Vec::new();
        for policy in self.applicable(request) {
            let Some(rule) = self.rules.get(policy) else { continue };
            let key = rule.key(request, self.settings.grouping, asked).and_then(|key| match key {
                FoundBy::Spec(key) => Some(key.texts()),
                FoundBy::Function(key) => Some(vec![key]),
                FoundBy::Missing | FoundBy::Known { .. } => None,
            });
            let is_exempt = rule.policy.exempts(request);
            if key.is_none() && !is_exempt && rule.policy.on_missing_key == OnMissingKey::Skip {
                continue;
            }
            let tiers = rule.policy.tiers.as_ref().map_or(&[][..], |tiers| &tiers.tiers);
            let tier = rule.tier(request).checked_sub(1).and_then(|index| tiers.get(index));
            let tier = tier.map(|(name, _)| name.clone());
            met.push(Met { policy, is_exempt, tier, key, cost: rule.policy.cost.of(request) });
        }
        met
    }
}
