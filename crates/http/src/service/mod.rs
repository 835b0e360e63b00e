//! A service behind the limiter.

mod body;
mod places;
mod told;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tollgate::clock::{Clock, LimiterClock};
use tower_service::Service;

use crate::answer::ResponseFields;
use crate::decision::admission::Admission;
use crate::decision::refusal::Refusal;
use crate::identity::key_by::BoxFuture;
use crate::limiter::{Asks, AsyncKeys, Decision, RateLimiter};
pub use body::LimitedBody;
pub use places::Places;
pub use told::ToldStanding;

/// A service behind a [`RateLimiter`]. Its errors are the service's own: a refusal is a response.
#[derive(Debug)]
pub struct RateLimit<S, C = LimiterClock> {
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
        let stage = match self.limiter.check_at_once(&request) {
            Some(Ok(fields)) if fields.are_none() => Stage::Plain { response: self.inner.call(request) },
            Some(Ok(fields)) => Stage::Informed { response: self.inner.call(request), fields },
            Some(Err(refusal)) => Stage::Refused { refusal: Some(refusal) },
            None => self.stage_of(request),
        };
        ResponseFuture { stage }
    }
}

impl<S, C> RateLimit<S, C> {
    /// Every case.
    #[inline(never)]
    fn stage_of<B>(&mut self, request: Request<B>) -> Stage<S, B, S::Future, C>
    where
        S: Service<Request<B>> + Clone,
        C: Clock,
    {
        match self.limiter.async_keys(&request) {
            Some(keys) => {
                let (limiter, held) = (self.limiter.clone(), Some((self.take_inner(), request)));
                Stage::Waiting { waiting: Box::new(Waiting::Keys { keys, limiter, held }) }
            }
            None => match self.limiter.check_or_ask(&request, &AsyncKeys::default()) {
                Err(asks) => {
                    let held = Some((self.take_inner(), request));
                    Stage::Waiting { waiting: Box::new(Waiting::Fleet { asks: Some(asks), held }) }
                }
                Ok(Decision::Refused(refusal)) => Stage::refused(&refusal),
                Ok(Decision::Admitted(admission)) if admission.wait().is_zero() => {
                    Stage::going(self.inner.call(request), admission)
                }
                Ok(Decision::Admitted(admission)) => Stage::queueing(admission, self.take_inner(), request),
            },
        }
    }

    /// The service that was asked whether it is ready waits with the request; a clone of it takes its place.
    fn take_inner(&mut self) -> S
    where
        S: Clone,
    {
        let clone = self.inner.clone();
        std::mem::replace(&mut self.inner, clone)
    }
}

pin_project! {
    /// The response to come of a [`RateLimit`].
    pub struct ResponseFuture<S, B, C = LimiterClock>
    where
        S: Service<Request<B>>,
        C: Clock,
    {
        #[pin]
        stage: Stage<S, B, S::Future, C>,
    }
}

pin_project! {
    /// How far a request has come. One that meets no async key and no queue begins as going or refused. What is rare is boxed, so
    /// that a future is not much larger than the service's own.
    #[project = StageProjection]
    enum Stage<S, B, F, C: Clock> {
        Waiting { waiting: Box<Waiting<S, B, C>> },
        // With nothing to be done at its response, or nothing but to say how the limits are, or all that an admission asks for.
        Plain { #[pin] response: F },
        Informed { #[pin] response: F, fields: ResponseFields },
        Going { #[pin] response: F, admission: Option<Box<Admission<C>>> },
        Refused { refusal: Option<Response<Bytes>> },
    }
}

/// What a request waits for that has not gone yet.
#[expect(clippy::large_enum_variant, reason = "it is boxed, and all are rare")]
enum Waiting<S, B, C: Clock> {
    Keys { keys: BoxFuture<AsyncKeys>, limiter: RateLimiter<C>, held: Option<(S, Request<B>)> },
    Fleet { asks: Option<Asks<C>>, held: Option<(S, Request<B>)> },
    Turn { turn: Pin<Box<Sleep>>, held: Option<(S, Request<B>, Queued<C>)> },
}

/// An admitted request that waits for its turn. If its client goes away meanwhile, it has never been asked for anything.
struct Queued<C: Clock>(Option<Admission<C>>);

impl<C: Clock> Drop for Queued<C> {
    fn drop(&mut self) {
        if let Some(admission) = self.0.take() {
            admission.withdraw();
        }
    }
}

impl<S, B, C> Stage<S, B, S::Future, C>
where
    S: Service<Request<B>>,
    C: Clock,
{
    /// Of a request that has waited for its decision.
    fn decided(decision: Decision<C>, mut inner: S, request: Request<B>) -> Self {
        match decision {
            Decision::Refused(refusal) => Self::refused(&refusal),
            Decision::Admitted(admission) if admission.wait().is_zero() => Self::going(inner.call(request), admission),
            Decision::Admitted(admission) => Self::queueing(admission, inner, request),
        }
    }
}

impl<S, B, F, C: Clock> Stage<S, B, F, C> {
    fn going(response: F, admission: Admission<C>) -> Self {
        Self::Going { response, admission: Some(Box::new(admission)) }
    }

    fn refused(refusal: &Refusal) -> Self {
        let mut response = refusal.response();
        if let Some(told) = ToldStanding::of_refused(refusal) {
            response.extensions_mut().insert(told);
        }
        Self::Refused { refusal: Some(response) }
    }

    fn queueing(admission: Admission<C>, inner: S, request: Request<B>) -> Self {
        let turn = Box::pin(tokio::time::sleep(admission.wait()));
        let held = Some((inner, request, Queued(Some(admission))));
        Self::Waiting { waiting: Box::new(Waiting::Turn { turn, held }) }
    }
}

impl<S, B, C> Waiting<S, B, C>
where
    S: Service<Request<B>>,
    C: Clock,
{
    /// The next stage.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Stage<S, B, S::Future, C>> {
        match self {
            Self::Keys { keys, limiter, held } => {
                let keys = ready!(keys.as_mut().poll(cx));
                let Some((inner, request)) = held.take() else { return Poll::Pending };
                match limiter.check_or_ask(&request, &keys) {
                    Ok(decision) => Poll::Ready(Stage::decided(decision, inner, request)),
                    Err(asks) => {
                        *self = Self::Fleet { asks: Some(asks), held: Some((inner, request)) };
                        self.poll(cx)
                    }
                }
            }
            Self::Fleet { asks, held } => {
                let Some(asked) = asks else { return Poll::Pending };
                ready!(asked.poll(cx));
                let (Some(asks), Some((inner, request))) = (asks.take(), held.take()) else { return Poll::Pending };
                let decision = asks.finish(&request);
                Poll::Ready(Stage::decided(decision, inner, request))
            }
            Self::Turn { turn, held } => loop {
                ready!(turn.as_mut().poll(cx));
                let Some((mut inner, request, mut queued)) = held.take() else { return Poll::Pending };
                if let Some(Err(longer)) = queued.0.as_mut().map(Admission::turn) {
                    let end = turn.deadline() + longer;
                    turn.as_mut().reset(end);
                    *held = Some((inner, request, queued));
                    continue;
                }
                let Some(admission) = queued.0.take() else { return Poll::Pending };
                return Poll::Ready(Stage::going(inner.call(request), admission));
            },
        }
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
                StageProjection::Plain { response } => {
                    return response.poll(cx).map(|answer| Ok(answer?.map(LimitedBody::alone)));
                }
                StageProjection::Informed { response, fields } => {
                    return response.poll(cx).map(|answer| {
                        let mut response = answer?.map(LimitedBody::alone);
                        std::mem::replace(fields, ResponseFields::NONE).write(response.headers_mut());
                        Ok(response)
                    });
                }
                StageProjection::Waiting { waiting } => ready!(waiting.poll(cx)),
                StageProjection::Going { response, admission } => {
                    let mut response = ready!(response.poll(cx))?;
                    let Some(mut admission) = admission.take() else { return Poll::Pending };
                    admission.respond(response.status(), response.headers_mut());
                    if let Some(told) = ToldStanding::of_admitted(&admission) {
                        response.extensions_mut().insert(told);
                    }
                    let mut permits = admission.into_permits();
                    if let Some(places) = response.extensions().get::<Places>()
                        && !permits.is_empty()
                    {
                        places.keep(std::mem::take(&mut permits));
                    }
                    return Poll::Ready(Ok(response.map(|body| LimitedBody::counted(body, permits))));
                }
                StageProjection::Refused { refusal } => {
                    let Some(refusal) = refusal.take() else { return Poll::Pending };
                    return Poll::Ready(Ok(refusal.map(LimitedBody::refusal)));
                }
            };
            this.stage.set(next);
        }
    }
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
