//! A request that may not go, in the hands of the caller.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;

use crate::answer::LimitStatus;
use crate::decision::compile::Rules;
use crate::decision::status::LimitStatusOwned;

/// A request that may not go.
pub struct Refusal {
    pub(crate) rules: Arc<Rules>,
    pub(crate) status: LimitStatusOwned,
    pub(crate) is_grpc: bool,
}

impl Refusal {
    /// The state of the limit that refused it; `None` if no limit did, as for a missing key in a tier without limits.
    #[must_use]
    pub fn limit_status(&self) -> Option<LimitStatus<'_>> {
        if self.status.is_outage() {
            return None;
        }
        self.rules.limit_status(&self.status)
    }

    /// Whether no limit refused it: its policy is [on a fleet](crate::Policy::on_fleet), no server decided, and the policy is closed
    /// then. The response is a 503, whatever the status of other refusals is.
    #[cfg(feature = "redis")]
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        self.status.is_outage()
    }

    /// The policy that refused it.
    #[must_use]
    pub fn policy(&self) -> &str {
        self.rules.policy_name(&self.status)
    }

    /// The answer, as the settings say.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        self.rules.refusal(&self.status, self.is_grpc)
    }
}

impl Rules {
    /// The answer to a request that was refused.
    pub(crate) fn refusal(&self, status: &LimitStatusOwned, is_grpc: bool) -> Response<Bytes> {
        if status.is_outage() {
            return self.config.answer.unavailable(self.policy_name(status), status.report().retry_after, is_grpc);
        }
        let policies = self.policy_items(&[status.policy()]);
        match self.limit_status(status) {
            Some(status) => self.config.answer.refuse(&status, &policies, is_grpc),
            None => self.config.answer.refuse_without_limit(self.policy_name(status), is_grpc),
        }
    }

    /// The policy that `status` is about.
    fn policy_name(&self, status: &LimitStatusOwned) -> &str {
        self.rules.get(status.policy().0).map_or("", |rule| &rule.policy.name)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").field("policy", &self.policy()).field("report", self.status.report()).finish()
    }
}
