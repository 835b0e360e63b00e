//! What the layer costs a request, beside `tower_governor` as its documentation advises, above the bare service.
//!
//! Every side builds the same requests in the same loop, of clients in the same order, and every answer is counted. All sides
//! take turns in short rounds; a figure is the median of the rounds, and what the bare service took in that round is
//! subtracted. `cargo bench -p tollgate-http --bench layer`; a minute.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response, StatusCode};
use tollgate_http::answer::Dialect;
use tollgate_http::{Answer, LimiterConfig, Policy, RateLimitLayer, Route};
use tower::{Layer, Service};
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;

/// Answers at once.
#[derive(Clone)]
struct Bare;

impl Service<Request<Body>> for Bare {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        black_box(&request);
        ready(Ok(Response::new(Body::empty())))
    }
}

/// The requests of so many clients, in an order that no cache foresees.
fn request(index: u64, clients: u32) -> Request<Body> {
    // A multiplier that is prime to the number of clients.
    let client = u32::try_from(index.wrapping_mul(2_654_435_761) % u64::from(clients)).unwrap_or(0);
    let peer = IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + client));
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer, 40_000)));
    request
}

/// Sends `count` requests, and returns nanoseconds a request, and how many were answered with 200.
#[inline(never)]
fn round<S, B>(service: &mut S, clients: u32, count: u64, from: u64) -> (f64, u64)
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    let mut context = Context::from_waker(Waker::noop());
    #[expect(clippy::disallowed_methods, reason = "what is measured is time")]
    let begin = std::time::Instant::now();
    let mut admitted = 0;
    for index in from..from + count {
        let _ = service.poll_ready(&mut context);
        let response = pin!(service.call(request(index, clients)));
        if let Poll::Ready(Ok(response)) = response.poll(&mut context) {
            admitted += u64::from(response.status() == StatusCode::OK);
            black_box(&response);
        }
    }
    #[allow(clippy::cast_precision_loss, reason = "nanoseconds of a second")]
    let each = begin.elapsed().as_nanos() as f64 / count as f64;
    (each, admitted)
}

type Side = (&'static str, Box<dyn FnMut(u32, u64, u64) -> (f64, u64) + Send>);

fn side<S, B>(name: &'static str, mut service: S) -> Side
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
{
    (name, Box::new(move |clients, count, from| round(&mut service, clients, count, from)))
}

/// Limits that nobody reaches.
const HIGH: &str = "1000000000/hour";

fn layer(config: LimiterConfig) -> RateLimitLayer {
    RateLimitLayer::with(config.capacity(200_000)).expect("a config")
}

fn policy(name: &str, limits: &str) -> Policy {
    Policy::new(name, limits).expect("a policy")
}

fn quiet() -> Answer {
    Answer::new().with_dialect(Dialect::None)
}

fn governor<S: Clone>(
    service: S,
) -> tower_governor::governor::Governor<
    tower_governor::key_extractor::PeerIpKeyExtractor,
    governor::middleware::NoOpMiddleware<governor::clock::QuantaInstant>,
    S,
    Body,
> {
    let config =
        GovernorConfigBuilder::default().per_nanosecond(1).burst_size(1_000_000_000).finish().expect("a config");
    GovernorLayer::new(Arc::new(config)).layer(service)
}

fn main() {
    let with_headers = GovernorConfigBuilder::default()
        .per_nanosecond(1)
        .burst_size(1_000_000_000)
        .use_headers()
        .finish()
        .expect("a config");
    let mut many = LimiterConfig::new().answer(quiet());
    for index in 0..18 {
        let two = policy(&format!("other{index}"), "1000000000/hour, 1000000000/day");
        many = many.policy(two.on(Route::any().path(&format!("/other{index}")).expect("a route")));
    }
    for name in ["one", "two"] {
        many = many.policy(policy(name, "1000000000/hour, 1000000000/day"));
    }
    let mut sides = vec![
        side("bare", Bare),
        side("tollgate", layer(LimiterConfig::new().answer(quiet()).policy(policy("p", HIGH))).layer(Bare)),
        side("tower_governor", governor(Bare)),
        side("tollgate, fields", layer(LimiterConfig::new().policy(policy("p", HIGH))).layer(Bare)),
        side("tower_governor, fields", GovernorLayer::new(Arc::new(with_headers)).layer(Bare)),
        side(
            "tollgate, 2 limits",
            layer(LimiterConfig::new().answer(quiet()).policy(policy("p", "1000000000/hour, 1000000000/day")))
                .layer(Bare),
        ),
        side("tower_governor, twice", governor(governor(Bare))),
        side("tollgate, 2 of 20", layer(many).layer(Bare)),
        side("tollgate, refused", layer(LimiterConfig::new().policy(policy("p", "1/day"))).layer(Bare)),
    ];
    // One side by itself, for a profiler, and its fastest round: `layer --only SIDE CALLS`.
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, only, name, calls, ..] = &arguments[..]
        && only == "--only"
    {
        let (_, run) = sides.iter_mut().find(|(side, _)| side == name).expect("a side");
        let calls: u64 = calls.parse().expect("a number");
        let rounds = (0..calls.div_ceil(2_000)).map(|number| run(1_000, 2_000, number * 2_000).0);
        println!("{:.1}", rounds.fold(f64::INFINITY, f64::min));
        return;
    }
    for clients in [1, 1_000, 100_000] {
        let (rounds, count) = (151, 2_000);
        for (_, run) in &mut sides {
            run(clients, u64::from(clients) * 2, 0);
        }
        let mut times = vec![Vec::new(); sides.len()];
        for number in 0..rounds {
            for ((_, run), times) in sides.iter_mut().zip(&mut times) {
                times.push(run(clients, count, number * count).0);
            }
        }
        let bare = times[0].clone();
        println!("{clients} clients");
        for ((name, _), times) in sides.iter().zip(&times) {
            let mut above: Vec<f64> = times.iter().zip(&bare).map(|(time, bare)| time - bare).collect();
            above.sort_by(f64::total_cmp);
            println!("  {name:24} {:8.1}", above[above.len() / 2]);
        }
    }
}
