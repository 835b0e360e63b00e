//! An application behind the layer: it answers with the status that the request asks for.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use tollgate::clock::{Instant, ManualClock};
use tollgate_http::service::LimitedBody;
use tollgate_http::{LimiterConfig, PeerAddr, Policy, RateLimit, RateLimiter, Route};
use tower::{Layer, Service, ServiceExt};

/// A Tuesday in 2026, at a whole day, so that windows begin with the test.
pub(crate) const START: Instant = Instant::from_secs(20_000 * 86_400);

pub(crate) type Answer = Response<LimitedBody<Full<Bytes>>>;

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) limiter: RateLimiter<Arc<ManualClock>>,
    service: RateLimit<Handler, Arc<ManualClock>>,
    served: Arc<AtomicU64>,
}

/// Answers with the status in the header `want`, 200 without one.
#[derive(Clone)]
struct Handler {
    served: Arc<AtomicU64>,
}

impl<B> Service<Request<B>> for Handler {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.served.fetch_add(1, Ordering::Relaxed);
        let wanted = request.headers().get("want").map(|want| StatusCode::from_bytes(want.as_bytes()).unwrap());
        let mut response = Response::new(Full::from("hello"));
        *response.status_mut() = wanted.unwrap_or(StatusCode::OK);
        Box::pin(async move { Ok(response) })
    }
}

impl App {
    pub(crate) fn new(settings: LimiterConfig) -> Self {
        let clock = Arc::new(ManualClock::new(START));
        let limiter = RateLimiter::with_clock(settings, Arc::clone(&clock)).unwrap();
        let served = Arc::new(AtomicU64::new(0));
        let service = limiter.layer().layer(Handler { served: Arc::clone(&served) });
        Self { clock, limiter, service, served }
    }

    pub(crate) fn of(policies: impl IntoIterator<Item = Policy>) -> Self {
        Self::new(policies.into_iter().fold(LimiterConfig::new(), LimiterConfig::policy))
    }

    pub(crate) async fn send(&self, request: Request<()>) -> Answer {
        self.service.clone().oneshot(request).await.unwrap()
    }

    /// The statuses of requests sent one after the other.
    pub(crate) async fn statuses(&self, requests: impl IntoIterator<Item = Request<()>>) -> Vec<u16> {
        let mut statuses = Vec::new();
        for request in requests {
            statuses.push(self.send(request).await.status().as_u16());
        }
        statuses
    }

    pub(crate) fn wait(&self, secs: u64) {
        self.clock.advance(Duration::from_secs(secs));
    }

    /// How many requests have reached the application.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

pub(crate) fn get(path: &str) -> Request<()> {
    from("192.0.2.1", path)
}

pub(crate) fn from(client: &str, path: &str) -> Request<()> {
    let peer = PeerAddr((client.parse::<std::net::IpAddr>().unwrap(), 4711).into());
    Request::builder().uri(path).extension(peer).body(()).unwrap()
}

pub(crate) trait With {
    fn header(self, name: &'static str, value: &str) -> Self;
    fn method(self, method: Method) -> Self;
}

impl With for Request<()> {
    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers_mut().append(name, value.parse().unwrap());
        self
    }

    fn method(mut self, method: Method) -> Self {
        *self.method_mut() = method;
        self
    }
}

pub(crate) fn policy(name: &str, limits: &str) -> Policy {
    Policy::new(name, limits).unwrap()
}

pub(crate) fn at(path: &str) -> Route {
    Route::any().path(path).unwrap()
}

pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}
