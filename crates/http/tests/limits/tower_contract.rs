//! What tower asks of a service: the one that was asked whether it is ready is the one that is called, and nothing stays
//! behind when a caller goes away.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tollgate::Algorithm;
use tollgate_http::service::ResponseFuture;
use tollgate_http::{Charge, LimiterConfig, Policy, RateLimit, RateLimitLayer, RateLimiter, Unanswered};
use tower::util::{BoxCloneService, BoxCloneSyncService};
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::app::{get, policy};

type Hello = Response<Full<Bytes>>;

fn limiter(policies: impl IntoIterator<Item = Policy>) -> RateLimiter {
    RateLimiter::new(policies.into_iter().fold(LimiterConfig::new(), LimiterConfig::policy)).unwrap()
}

/// Panics when it is called without having been ready, and is busy for as long as it is told.
#[derive(Default)]
struct Strict {
    is_ready: bool,
    busy: u8,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { is_ready: false, busy: self.busy }
    }
}

impl Service<Request<()>> for Strict {
    type Response = Hello;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Hello, &'static str>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        if self.busy > 0 {
            self.busy -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called before it was ready");
        ready(if request.uri().path() == "/fail" { Err("failed") } else { Ok(Hello::default()) })
    }
}

fn slowly() -> [Policy; 2] {
    let asked = policy("asked", "9/hour").key_by_async(|_| async {
        tokio::task::yield_now().await;
        Some("key".to_owned())
    });
    [asked, policy("queued", "100/second").algorithm(Algorithm::LeakyQueue).burst(5)]
}

#[tokio::test(start_paused = true)]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    let [asked, queued] = slowly();
    for policies in [vec![policy("plain", "9/hour")], vec![asked.clone()], vec![queued.clone()], vec![asked, queued]] {
        let mut service = limiter(policies).layer().layer(Strict { busy: 3, ..Strict::default() });
        for _ in 0..3 {
            let answer = service.ready().await.unwrap().call(get("/")).await.unwrap();
            assert_eq!(answer.status(), 200);
        }
        assert_eq!(service.ready().await.unwrap().call(get("/fail")).await.unwrap_err(), "failed");
    }
}

/// Polls once, and drops.
async fn give_up<F: Future>(future: F) {
    let _ = poll_once(&mut Box::pin(future)).await;
}

async fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_leaves_no_place_taken() {
    let never = service_fn(|_: Request<()>| pending::<Result<Hello, Infallible>>());
    let [asked, queued] = slowly();
    let other = policy("other", "100/second").algorithm(Algorithm::LeakyQueue).burst(9);
    for policies in [vec![], vec![asked], vec![queued, other]] {
        let few = Policy::without_rate("few").concurrency(1);
        let service = limiter(policies.into_iter().chain([few])).layer().layer(never);
        for _ in 0..4 {
            let mut waiting = Box::pin(service.clone().oneshot(get("/")));
            for _ in 0..4 {
                assert!(poll_once(&mut waiting).await.is_pending(), "no refusal");
                tokio::time::sleep(std::time::Duration::from_millis(15)).await;
            }
        }
        give_up(service.clone().oneshot(get("/"))).await;
    }
}

#[tokio::test]
async fn a_service_that_panics_or_fails_leaves_no_place_taken() {
    let limiter = limiter([Policy::without_rate("few").concurrency(1)]);
    let panics = limiter.layer().layer(service_fn(|request: Request<()>| async move {
        assert!(request.uri().path() != "/panic", "as the test wants it");
        if request.uri().path() == "/fail" { Err("failed") } else { Ok(Hello::default()) }
    }));
    for path in ["/panic", "/fail", "/panic", "/"] {
        let _ = tokio::spawn(panics.clone().oneshot(get(path))).await;
    }
    assert_eq!(panics.oneshot(get("/")).await.unwrap().status(), 200);
}

/// It was sent, and whoever sent it did not wait for the answer.
#[tokio::test]
async fn what_ends_without_a_response_is_charged_as_the_policy_says() {
    let charges = |charge: Charge, unanswered: Unanswered| {
        policy("login", "2/hour").key("all".parse().unwrap()).charge(charge).unanswered(unanswered)
    };
    let only_on = || Charge::OnlyOn("401".parse().unwrap());
    let refund_on = || Charge::RefundOn("2xx".parse().unwrap());
    for (policies, is_charged) in [
        ([policy("login", "2/hour").key("all".parse().unwrap()).charge(only_on())], true),
        ([policy("login", "2/hour").key("all".parse().unwrap()).charge(refund_on())], true),
        ([charges(only_on(), Unanswered::Free)], false),
        ([charges(refund_on(), Unanswered::Free)], false),
    ] {
        let [of] = &policies;
        let limiter = limiter(policies.clone());
        let never = limiter.layer().layer(service_fn(|_: Request<()>| pending::<Result<Hello, Infallible>>()));
        let fails = limiter.layer().layer(service_fn(|_: Request<()>| ready(Err::<Hello, _>("failed"))));
        let answers = limiter.layer().layer(service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Hello::default()))));
        give_up(never.oneshot(get("/"))).await;
        assert!(fails.oneshot(get("/")).await.is_err());
        let status = answers.oneshot(get("/")).await.unwrap().status().as_u16();
        assert_eq!(status, if is_charged { 429 } else { 200 }, "{of:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_before_the_request_went_is_charged_for_no_response() {
    let [_, queued] = slowly();
    let login = policy("login", "1/hour").charge(Charge::OnlyOn("401".parse().unwrap()));
    let limiter = limiter([queued, login]);
    let service = limiter.layer().layer(service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Hello::default()))));
    // The first goes at once, the second has to wait.
    assert_eq!(service.clone().oneshot(get("/")).await.unwrap().status(), 200);
    give_up(service.clone().oneshot(get("/"))).await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_fails_before_it_answers_stays_charged() {
    let limiter = limiter([policy("login", "2/hour").charge(Charge::RefundOn("2xx".parse().unwrap()))]);
    let service = limiter.layer().layer(Strict::default());
    assert!(service.clone().oneshot(get("/fail")).await.is_err());
    give_up(service.clone().oneshot(get("/"))).await;
    assert_eq!(service.clone().oneshot(get("/fail")).await.unwrap_err(), "failed");
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 429);
}

/// Neither the service nor its future nor its body can leave the thread.
#[tokio::test]
async fn services_of_one_thread() {
    let count = Rc::new(Cell::new(0));
    let inner = {
        let count = Rc::clone(&count);
        service_fn(move |_: Request<Rc<()>>| {
            let count = Rc::clone(&count);
            async move {
                count.set(count.get() + 1);
                Ok::<_, Infallible>(Hello::default())
            }
        })
    };
    let service = RateLimitLayer::new("1/hour").unwrap().layer(inner);
    let thread = tokio::task::LocalSet::new();
    let answer = thread.run_until(async move {
        let task = tokio::task::spawn_local(service.clone().oneshot(Request::new(Rc::new(()))));
        drop(task.await.unwrap().unwrap());
        service.oneshot(Request::new(Rc::new(()))).await.unwrap()
    });
    let answer = answer.await;
    assert_eq!(answer.status(), 429);
    assert!(!answer.into_body().collect().await.unwrap().to_bytes().is_empty());
    assert_eq!(count.get(), 1);
}

/// What users box, share and send.
#[test]
fn it_can_be_boxed_shared_and_sent() {
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    fn is_sent<T: Send + 'static>(_: &T) {}
    let layer = RateLimitLayer::new("1/hour").unwrap();
    let service: RateLimit<Strict> = layer.layer(Strict::default());
    is_shared(&layer);
    is_shared(&service);
    let _ = BoxCloneService::new(service.clone());
    let _ = BoxCloneSyncService::new(service.clone());
    let mut called = Strict { is_ready: true, busy: 0 };
    is_sent(&called.call(get("/")));
    let future: ResponseFuture<Strict, ()> = layer.layer(Strict { is_ready: true, busy: 0 }).call(get("/"));
    is_sent(&future);
    let _pinned: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(future);
}
