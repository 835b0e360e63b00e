//! A service behind the limiter.

mod body;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tollgate::clock::{Clock, ExactClock};
use tower_service::Service;

use crate::decision::admission::Admission;
use crate::decision::refusal::Refusal;
use crate::identity::key_by::BoxFuture;
use crate::limiter::{AsyncKeys, Decision, RateLimiter};
pub use body::LimitedBody;

/// A service behind a [`RateLimiter`]. Its errors are the service's own: a refusal is a response.
#[derive(Debug)]
pub struct RateLimit<S, C = ExactClock> {
    inner: S,
    limiter: RateLimiter<C>,
}

impl<S, C> RateLimit<S, C> {
    /// `inner` behind `limiter`.
    pub const fn new(inner: S, limiter: RateLimiter<C>) -> Self {
        Self { inner, limiter }
    }
}

impl<S: Clone, C> Clone for RateLimit<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), limiter: self.limiter.clone() }
    }
}

impl<S, C, B, R> Service<Request<B>> for RateLimit<S, C>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    C: Clock,
    R: Body<Data = Bytes>,
{
    type Response = Response<LimitedBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let stage = match self.limiter.async_keys(&request) {
            // The service that was asked whether it is ready waits with the request; a clone of it takes its place.
            Some(keys) => {
                let clone = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, clone);
                Stage::Asking { keys, limiter: self.limiter.clone(), held: Some((inner, request)) }
            }
            None => match self.limiter.check(&request) {
                Decision::Refused(refusal) => Stage::Refused { refusal },
                Decision::Admitted(admission) if admission.wait().is_zero() => {
                    Stage::Going { response: self.inner.call(request), admission: Some(admission) }
                }
                Decision::Admitted(admission) => {
                    let clone = self.inner.clone();
                    let inner = std::mem::replace(&mut self.inner, clone);
                    Stage::queueing(admission, inner, request)
                }
            },
        };
        ResponseFuture { stage }
    }
}

pin_project! {
    /// The response to come of a [`RateLimit`].
    pub struct ResponseFuture<S, B, C = ExactClock>
    where
        S: Service<Request<B>>,
        C: Clock,
    {
        #[pin]
        stage: Stage<S, B, S::Future, C>,
    }
}

pin_project! {
    /// How far a request has come. A request that meets no async key and no queue begins as going or refused.
    #[project = StageProjection]
    enum Stage<S, B, F, C: Clock> {
        Asking { keys: BoxFuture<AsyncKeys>, limiter: RateLimiter<C>, held: Option<(S, Request<B>)> },
        Queueing { turn: Pin<Box<Sleep>>, held: Option<(S, Request<B>, Waiting<C>)> },
        Going { #[pin] response: F, admission: Option<Admission<C>> },
        Refused { refusal: Refusal },
    }
}

/// An admitted request that waits for its turn. If its client goes away meanwhile, it has never been asked for anything.
struct Waiting<C: Clock>(Option<Admission<C>>);

impl<C: Clock> Drop for Waiting<C> {
    fn drop(&mut self) {
        if let Some(admission) = self.0.take() {
            admission.withdraw();
        }
    }
}

impl<S, B, F, C: Clock> Stage<S, B, F, C> {
    fn queueing(admission: Admission<C>, inner: S, request: Request<B>) -> Self {
        let turn = Box::pin(tokio::time::sleep(admission.wait()));
        Self::Queueing { turn, held: Some((inner, request, Waiting(Some(admission)))) }
    }
}

impl<S, C, B, R> Future for ResponseFuture<S, B, C>
where
    S: Service<Request<B>, Response = Response<R>>,
    C: Clock,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<LimitedBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.stage.as_mut().project() {
                StageProjection::Asking { keys, limiter, held } => {
                    let keys = ready!(keys.as_mut().poll(cx));
                    let Some((mut inner, request)) = held.take() else { return Poll::Pending };
                    match limiter.check_with(&request, &keys) {
                        Decision::Refused(refusal) => Stage::Refused { refusal },
                        Decision::Admitted(admission) if admission.wait().is_zero() => {
                            Stage::Going { response: inner.call(request), admission: Some(admission) }
                        }
                        Decision::Admitted(admission) => Stage::queueing(admission, inner, request),
                    }
                }
                StageProjection::Queueing { turn, held } => {
                    ready!(turn.as_mut().poll(cx));
                    let Some((mut inner, request, mut waiting)) = held.take() else { return Poll::Pending };
                    if let Some(Err(longer)) = waiting.0.as_mut().map(Admission::turn) {
                        let end = turn.deadline() + longer;
                        turn.as_mut().reset(end);
                        *held = Some((inner, request, waiting));
                        continue;
                    }
                    Stage::Going { response: inner.call(request), admission: waiting.0.take() }
                }
                StageProjection::Going { response, admission } => {
                    let response = ready!(response.poll(cx))?;
                    // Polled again after the end: there is no more to say.
                    let Some(admission) = admission.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(finished(response, admission)));
                }
                StageProjection::Refused { refusal } => {
                    return Poll::Ready(Ok(refusal.response().map(LimitedBody::refusal)));
                }
            };
            this.stage.set(next);
        }
    }
}

fn finished<R, C: Clock>(response: Response<R>, mut admission: Admission<C>) -> Response<LimitedBody<R>> {
    let (mut head, body) = response.into_parts();
    admission.respond(head.status, &mut head.headers);
    Response::from_parts(head, LimitedBody::new(body, admission.into_permits()))
}

impl<S, B, C> fmt::Debug for ResponseFuture<S, B, C>
where
    S: Service<Request<B>>,
    C: Clock,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
