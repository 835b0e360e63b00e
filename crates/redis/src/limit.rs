//! A quota under a name, ready for a fleet.

use std::sync::Arc;

use tollgate::clock::Clock;
use tollgate::{Limiter, Quota};

use crate::lease::plan::Plan;

use crate::error::LimitError;
use crate::outage::OnOutage;
use crate::rule::Rule;
use crate::secret::Name;

/// A quota under a name, made by [`Fleet::limit`](crate::Fleet::limit). Cheap to clone.
///
/// **A limit is its name, its period and its algorithm**: that is what its keys on the server are called. Two nodes that give
/// another count, burst or debt under the same name share the keys, and each reads what the other wrote: what was used is kept,
/// in tokens, at most the own burst, as the engine's [`change_quota`](tollgate::Limiter::change_quota) has it. Of another period or
/// algorithm keys begin anew; while nodes with the one and with the other are up, both admit their own.
#[derive(Debug, Clone)]
pub struct FleetLimit(pub(crate) Arc<Inner>);

/// As many nodes are assumed to take tokens in advance if nobody says how many there are.
const NODES_OF_LEASES: u64 = 4;

#[derive(Debug)]
pub(crate) struct Inner {
    name: String,
    /// Behind the subject, in a key's name.
    suffix: String,
    quota: Quota,
    pub(crate) rule: Rule,
    pub(crate) on_outage: OnOutage,
    /// What this node decides by during an outage.
    local: Option<tollgate::Limit>,
    /// The same, by the number of nodes that there are.
    #[cfg(feature = "client")]
    share: Option<Arc<crate::nodes::Share>>,
    /// How many nodes share the burst among them, for leases.
    nodes: u64,
    plan: Option<Plan>,
    /// Of the name and the quota.
    hash: u64,
}

impl Inner {
    /// The same, to be changed; leased by no plan.
    fn again(&self) -> Self {
        Self {
            name: self.name.clone(),
            suffix: self.suffix.clone(),
            quota: self.quota,
            rule: self.rule.clone(),
            on_outage: self.on_outage,
            local: self.local,
            #[cfg(feature = "client")]
            share: self.share.clone(),
            nodes: self.nodes,
            plan: None,
            hash: self.hash,
        }
    }
}

impl FleetLimit {
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 100;

    /// A limit, with one of its own on `local` if it is that which decides during an outage.
    pub(crate) fn prepare<C: Clock>(
        local: &Limiter<C>,
        nodes: Option<u64>,
        name: &str,
        quota: Quota,
        on_outage: OnOutage,
    ) -> Result<Self, LimitError> {
        let share_of = match (on_outage, nodes) {
            (OnOutage::Share, None) => return Err(LimitError::ShareWithoutNodes { name: name.to_owned() }),
            (_, nodes) => nodes.unwrap_or(1),
        };
        let here = on_outage.quota(&quota, share_of).map(|quota| local.prepare(name, quota)).transpose()?;
        Self::new(name, quota, on_outage, here, nodes.unwrap_or(NODES_OF_LEASES))
    }

    /// A limit that is shared out by the number of nodes that there are.
    #[cfg(feature = "client")]
    pub(crate) fn prepare_counted<C: Clock>(
        local: &Limiter<C>,
        counted: &Arc<crate::nodes::Nodes>,
        nodes: Option<u64>,
        name: &str,
        quota: Quota,
    ) -> Result<Self, LimitError> {
        // Whatever the number, it can be held if the whole limit can.
        local.prepare(name, quota)?;
        let limit = Self::new(name, quota, OnOutage::Share, None, nodes.unwrap_or(NODES_OF_LEASES))?;
        let share = Some(Arc::new(crate::nodes::Share::new(counted)));
        Ok(Self(Arc::new(Inner { share, ..limit.0.again() })))
    }

    /// What this node decides by if no server does, if it decides by itself.
    pub(crate) fn local<C: Clock>(&self, local: &Limiter<C>) -> Option<tollgate::Limit> {
        #[cfg(feature = "client")]
        if let Some(share) = &self.0.share {
            return share.limit(local, &self.0.name, &self.0.quota);
        }
        let _ = local;
        self.0.local
    }

    pub(crate) fn new(
        name: &str,
        quota: Quota,
        on_outage: OnOutage,
        local: Option<tollgate::Limit>,
        nodes: u64,
    ) -> Result<Self, LimitError> {
        if name.is_empty() || name.len() > Self::MAX_NAME {
            return Err(LimitError::Name { length: name.len() });
        }
        let rule = Rule::new(&quota)?;
        let suffix = format!("{}:{}{}", readable(name), rule.letter(), quota.period().as_nanos());
        let mut first = [0; 8];
        first.copy_from_slice(&blake3::hash(format!("{suffix} {quota:#}").as_bytes()).as_bytes()[..8]);
        let hash = u64::from_le_bytes(first);
        Ok(Self(Arc::new(Inner {
            name: name.to_owned(),
            suffix,
            quota,
            rule,
            on_outage,
            local,
            #[cfg(feature = "client")]
            share: None,
            nodes,
            plan: None,
            hash,
        })))
    }

    /// Whether a fleet can hold a limit with this name and quota, and then whether its keys can be [leased](Self::leased), for that
    /// number of nodes; asks nobody.
    ///
    /// # Errors
    ///
    /// If it cannot: the name is out of bounds, or a script could not count the quota exactly.
    pub fn check(name: &str, quota: Quota, nodes: Option<u64>) -> Result<bool, LimitError> {
        let nodes = nodes.unwrap_or(NODES_OF_LEASES);
        Ok(Self::new(name, quota, OnOutage::Closed, None, nodes)?.leased().is_leased())
    }

    /// The same limit with **leases**: nodes that see many requests of a key take tokens in advance, and decide by themselves while
    /// these last. Token buckets and fixed windows can; all others stay exact, as do bursts below 8 and those that fill within
    /// 10 ms, and windows that count refusals.
    ///
    /// No more is admitted than without leases: not by any number of nodes, nor by slow ones or dead ones. What it costs is burst:
    /// what a node has taken and does not use lapses as the bucket refills, or with its window, and while it holds it others are
    /// refused a little earlier. All nodes together hold about a quarter of the burst at most, if the fleet knows their
    /// [number](crate::FleetBuilder::nodes); else each holds a sixteenth.
    ///
    /// Which keys are leased and how much is taken follows from what is seen of them; a key that is asked for once is exact. A
    /// refusal is answered from what the server said last while that is certain, and once a server has refused, the same is
    /// not asked of it again for up to 20 ms. What is given back on another node, by a refund or a reset, is seen 250 ms later at
    /// most ([`FleetBuilder::refusals`](crate::FleetBuilder::refusals)).
    ///
    /// Figures of decisions that were made here are bounds: as much as [`remaining`](crate::FleetDecision::remaining) says is
    /// certain, and there may be more.
    #[must_use]
    pub fn leased(&self) -> Self {
        let plan = Plan::new(&self.0.rule, self.0.nodes);
        Self(Arc::new(Inner { plan, ..self.0.again() }))
    }

    /// Whether keys of it can be leased.
    #[must_use]
    pub fn is_leased(&self) -> bool {
        self.0.plan.is_some()
    }

    pub(crate) fn plan(&self) -> Option<&Plan> {
        self.0.plan.as_ref()
    }

    pub(crate) fn hash(&self) -> u64 {
        self.0.hash
    }

    /// Whether both write the same bucket, in the same words.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.suffix == other.0.suffix && self.0.quota == other.0.quota)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The quota.
    #[must_use]
    pub fn quota(&self) -> &Quota {
        &self.0.quota
    }

    /// Whether both count in the same keys: of one name, period and way of keeping a bucket. Two such limits of one request are one,
    /// which is asked for both costs.
    #[must_use]
    pub fn shares_keys_with(&self, other: &Self) -> bool {
        self.0.suffix == other.0.suffix
    }

    /// What it does when no server decides.
    #[must_use]
    pub fn on_outage(&self) -> OnOutage {
        self.0.on_outage
    }

    /// The name of a subject's key under this limit. The braces make all keys of a subject lie in one slot of a cluster.
    pub(crate) fn key(&self, name: &Name) -> String {
        format!("tg1:{{{}}}:{}", name.as_str(), self.0.suffix)
    }
}

/// A name as it can stand in a key: whatever could end or begin a part of it is written as a number.
fn readable(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_apart() {
        assert_eq!(readable("login/free"), "login/free");
        assert_eq!(readable("a:b{c} ü%"), "a%3Ab%7Bc%7D%20%C3%BC%25");
    }
}
