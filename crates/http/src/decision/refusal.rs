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
        self.rules.limit_status(&self.status)
    }

    /// The policy that refused it.
    #[must_use]
    pub fn policy(&self) -> &str {
        self.rules.rules.get(self.status.policy().0).map_or("", |rule| &rule.policy.name)
    }

    /// The answer, as the settings say.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        let policies = self.rules.policy_items(&[self.status.policy()]);
        match self.limit_status() {
            Some(status) => self.rules.config.answer.refuse(&status, &policies, self.is_grpc),
            None => self.rules.config.answer.refuse_without_limit(self.policy(), self.is_grpc),
        }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal").field("policy", &self.policy()).field("report", self.status.report()).finish()
    }
}
