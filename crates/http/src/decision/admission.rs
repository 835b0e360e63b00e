//! A request that may go, in the hands of the caller.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tollgate::clock::{Clock, LimiterClock};

use crate::answer::LimitStatus;
use crate::decision::admitted::Admitted;
use crate::decision::compile::Rules;
use crate::decision::settle::Ended;
use crate::decision::shared::Shared;

/// A request that may go. Keep it until the response has been sent: it holds the request's places under bounds on
/// concurrency.
///
/// One that is dropped before it has been told the [response](Self::respond) is of a request that ended without any, see
/// [`Unanswered`](crate::Unanswered). If the request never went, [withdraw](Self::withdraw) it instead.
pub struct Admission<C: Clock = LimiterClock> {
    /// For what the response decides, and for the turn in several queues; nothing if there is neither.
    pub(crate) shared: Option<Arc<Shared<C>>>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) admitted: Admitted,
}

impl<C: Clock> Admission<C> {
    /// How long the request has to wait before it goes; zero but for leaky queues.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.admitted.wait
    }

    /// Asks whether the request goes once its [`wait`](Self::wait) is over. One that waits in several queues may have to
    /// wait a little longer, so that each of them keeps its pace: then it has to ask again. Nothing is taken by asking.
    ///
    /// # Errors
    ///
    /// How much longer.
    pub fn turn(&mut self) -> Result<(), Duration> {
        match &self.shared {
            Some(shared) => self.admitted.pass(&shared.engine, &self.rules),
            None => Ok(()),
        }
    }

    /// The policies that would have refused it, were they not in shadow mode.
    pub fn shadow_refusals(&self) -> impl Iterator<Item = &str> {
        let policies = self.admitted.shadow_refused.iter().filter_map(|index| self.rules.rules.get(*index));
        policies.map(|rule| rule.policy.name.as_str())
    }

    /// The state of the limit that is nearest to refusing the client, if any limit applied.
    #[must_use]
    pub fn limit_status(&self) -> Option<LimitStatus<'_>> {
        self.rules.limit_status(self.admitted.tightest.as_ref()?)
    }

    /// What the response decides: charges what is charged afterwards, refunds what is refunded, and writes the rate-limit
    /// header fields. Once for each request.
    pub fn respond(&mut self, status: StatusCode, headers: &mut HeaderMap) {
        self.end(Some((status, Some(headers))));
        let answer = &self.rules.config.answer;
        if let Some(status) = self.limit_status() {
            answer.inform(headers, &status, &self.rules.policy_items(&self.admitted.policies));
        }
    }

    /// The part of [`respond`](Self::respond) that charges and refunds. What is charged by a field of the response, which is not
    /// known here, stays at its cost.
    pub fn settle(&mut self, status: StatusCode) {
        self.end(Some((status, None)));
    }

    /// The request did not go after all, so that no response decides anything. What was charged when it came stays so.
    pub fn withdraw(mut self) {
        self.admitted.forget_pending();
    }

    fn end(&mut self, response: Option<Ended<'_>>) {
        if let Some(shared) = &self.shared {
            self.admitted.settle(&shared.engine, &self.rules, response);
        }
    }

    /// The places under bounds on concurrency alone, to be held until the body has been sent.
    #[cfg(feature = "tower")]
    pub(crate) fn into_permits(mut self) -> crate::decision::admitted::Permits {
        std::mem::take(&mut self.admitted.permits)
    }
}

impl<C: Clock> Drop for Admission<C> {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl<C: Clock> fmt::Debug for Admission<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("wait", &self.admitted.wait).finish_non_exhaustive()
    }
}
