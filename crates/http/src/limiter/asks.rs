//! A request about which servers of a fleet are asked.

#[cfg(feature = "redis")]
pub use with_fleet::Asks;

/// Without the feature `redis` there is no such request.
#[cfg(all(not(feature = "redis"), feature = "tower"))]
pub(crate) enum Asks<C> {
    #[expect(dead_code, reason = "never made")]
    Never(std::convert::Infallible, std::marker::PhantomData<C>),
}

#[cfg(all(not(feature = "redis"), feature = "tower"))]
impl<C: tollgate::clock::Clock> Asks<C> {
    pub(crate) fn poll(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        match self {
            Self::Never(never, _) => match *never {},
        }
    }

    pub(crate) fn finish(self, _: &dyn crate::request::RequestView) -> super::Decision<C> {
        match self {
            Self::Never(never, _) => match never {},
        }
    }
}

#[cfg(feature = "redis")]
mod with_fleet {
    use std::fmt;
    use std::sync::Arc;
    use std::task::{Context, Poll};

    use tollgate::clock::Clock;

    use crate::decision::asking::{Answers, Asking};
    use crate::decision::compile::Rules;
    use crate::decision::shared::Shared;
    use crate::identity::key_by::BoxFuture;
    use crate::limiter::{Decision, decision};
    use crate::request::RequestView;

    /// A request about which servers are asked: [poll](Self::poll) it to the end, then [finish](Self::finish) with the same request.
    ///
    /// Dropping it is the end of the request: what has been taken for it stays taken, at most what it costs.
    #[must_use = "nothing is asked unless it is polled"]
    pub struct Asks<C: Clock> {
        shared: Arc<Shared<C>>,
        rules: Arc<Rules>,
        asking: Box<Asking>,
        future: Option<BoxFuture<Answers>>,
        answers: Option<Answers>,
    }

    impl<C: Clock> Asks<C> {
        pub(in crate::limiter) fn new(shared: Arc<Shared<C>>, rules: Arc<Rules>, mut asking: Box<Asking>) -> Self {
            let future: BoxFuture<Answers> = Box::pin(asking.answers());
            Self { shared, rules, asking, future: Some(future), answers: None }
        }

        /// Ready once the servers have answered, or the deadline is over.
        pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            let Some(future) = &mut self.future else { return Poll::Ready(()) };
            let Poll::Ready(answers) = future.as_mut().poll(cx) else { return Poll::Pending };
            (self.answers, self.future) = (Some(answers), None);
            Poll::Ready(())
        }

        /// The decision about the request, which is the one that was asked about. Before the answers are there it is decided as in an
        /// outage.
        pub fn finish(self, request: &dyn RequestView) -> Decision<C> {
            let Self { shared, rules, asking, answers, .. } = self;
            let request = rules.locate(request);
            let decided = rules.answered(&shared.engine, &request, *asking, answers);
            decision(&shared, Arc::clone(&rules), decided, || request.is_grpc())
        }
    }

    impl<C: Clock> fmt::Debug for Asks<C> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Asks").field("is_answered", &self.answers.is_some()).finish_non_exhaustive()
        }
    }
}
