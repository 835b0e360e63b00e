//! A quota under a name, ready for a fleet.

use std::sync::Arc;

use tollgate::Quota;

use crate::error::LimitError;
use crate::outage::OnOutage;
use crate::rule::Rule;
use crate::secret::Subject;

/// A quota under a name, made by [`Fleet::limit`](crate::Fleet::limit). Cheap to clone.
///
/// **A limit is its name, its period and its algorithm**: that is what its keys on the server are called. Two nodes that give
/// another count, burst or debt under the same name share the keys, and each reads what the other wrote: what was used is kept,
/// in tokens, at most the own burst, as the engine's [`change_quota`](tollgate::Limiter::change_quota) has it. Of another period or
/// algorithm keys begin anew; while nodes with the one and with the other are up, both admit their own.
#[derive(Debug, Clone)]
pub struct FleetLimit(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    name: String,
    /// Behind the subject, in a key's name.
    suffix: String,
    quota: Quota,
    pub(crate) rule: Rule,
    pub(crate) on_outage: OnOutage,
    /// What this node decides by during an outage.
    pub(crate) local: Option<tollgate::Limit>,
}

impl FleetLimit {
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 100;

    pub(crate) fn new(
        name: &str,
        quota: Quota,
        on_outage: OnOutage,
        local: Option<tollgate::Limit>,
    ) -> Result<Self, LimitError> {
        if name.is_empty() || name.len() > Self::MAX_NAME {
            return Err(LimitError::Name { length: name.len() });
        }
        let rule = Rule::new(&quota)?;
        let suffix = format!("{}:{}{}", readable(name), rule.letter(), quota.period().as_nanos());
        Ok(Self(Arc::new(Inner { name: name.to_owned(), suffix, quota, rule, on_outage, local })))
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

    /// What it does when no server decides.
    #[must_use]
    pub fn on_outage(&self) -> OnOutage {
        self.0.on_outage
    }

    /// The name of a subject's key under this limit. The braces make all keys of a subject lie in one slot of a cluster.
    pub(crate) fn key(&self, subject: &Subject) -> String {
        format!("tg1:{{{}}}:{}", subject.as_str(), self.0.suffix)
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
