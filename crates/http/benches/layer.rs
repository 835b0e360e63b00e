//! What the layer costs a request, beside `tower_governor` as its documentation advises, above the bare service.
//!
//! Every side builds the same requests in the same loop, of clients in the same order, and every answer is counted. All sides
//! take turns in short rounds; a figure is the median of the rounds, and what the bare service took in that round is
//! subtracted; beside it the fastest round less the fastest of the bare service. `cargo bench -p tollgate-http --bench layer`; a minute.
//!
//! `layer ROW CALLS` runs one side, for `ci/instructions.sh` and profilers; `layer --rows` lists ours.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response, StatusCode};
use tollgate::clock::ExactClock;
use tollgate_http::answer::Dialect;
use tollgate_http::limiter::LimiterClock;
use tollgate_http::{Answer, LimiterConfig, Policy, RateLimitLayer, RateLimiter, Route};
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
fn request(index: u64, clients: Range<u32>) -> Request<Body> {
    // A multiplier that is prime to the number of clients.
    let count = u64::from(clients.end - clients.start);
    let client = u32::try_from(index.wrapping_mul(2_654_435_761) % count).unwrap_or(0);
    let peer = IpAddr::V4(Ipv4Addr::from(0x0A00_0000 + clients.start + client));
    let mut request = Request::new(Body::empty());
    request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer, 40_000)));
    request
}

/// What callgrind counts. Sends `count` requests, and returns nanoseconds a request, and how many were answered with 200.
#[inline(never)]
fn measured<S, B>(service: &mut S, clients: &Range<u32>, count: u64, from: u64) -> (f64, u64)
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    let mut context = Context::from_waker(Waker::noop());
    #[expect(clippy::disallowed_methods, reason = "what is measured is time")]
    let begin = std::time::Instant::now();
    let mut admitted = 0;
    for index in from..from + count {
        let _ = service.poll_ready(&mut context);
        let response = pin!(service.call(request(index, clients.clone())));
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
    (name, Box::new(move |clients, count, from| measured(&mut service, &(0..clients), count, from)))
}

/// Requests a round.
const COUNT: u64 = 2_000;
const ROUNDS: u64 = 151;

/// Limits that nobody reaches.
const HIGH: &str = "1000000000/hour";

fn layer(config: LimiterConfig) -> RateLimitLayer {
    // For one row the system's clock: the processor's counter is taken once it has been tested, and instructions are to be
    // the same in each run.
    let clock = if is_one_row() { ExactClock::from_os() } else { ExactClock::new() };
    RateLimiter::with_clock(config.capacity(200_000), LimiterClock::from(clock)).expect("a config").layer()
}

fn is_one_row() -> bool {
    std::env::args().len() == 3
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

/// By what factor a thread gets slower when another sends requests of other clients at the same time, through a clone of the
/// same service: the median of rounds.
fn slowdown<S, B>(service: &S) -> f64
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Sync,
{
    const LONG: u64 = 100_000;
    let run = |first: u32, from: u64| measured(&mut service.clone(), &(first..first + 1_000), LONG, from).0;
    let both = |from: u64| {
        let barrier = Barrier::new(2);
        let run = |first| {
            barrier.wait();
            run(first, from)
        };
        thread::scope(|scope| {
            let other = scope.spawn(|| run(1_000));
            f64::midpoint(run(0), other.join().expect("a thread"))
        })
    };
    let mut ratios: Vec<f64> = (0..21).map(|round| both(round * LONG) / run(0, round * LONG)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
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
        side("layer: the loop alone", Bare),
        side("layer: no fields", layer(LimiterConfig::new().answer(quiet()).policy(policy("p", HIGH))).layer(Bare)),
        side("tower_governor", governor(Bare)),
        side("layer: default fields", layer(LimiterConfig::new().policy(policy("p", HIGH))).layer(Bare)),
        side("tower_governor, fields", GovernorLayer::new(Arc::new(with_headers)).layer(Bare)),
        side(
            "layer: two limits",
            layer(LimiterConfig::new().answer(quiet()).policy(policy("p", "1000000000/hour, 1000000000/day")))
                .layer(Bare),
        ),
        side("tower_governor, twice", governor(governor(Bare))),
        side("layer: 2 of 20 policies", layer(many).layer(Bare)),
        side("layer: refused", layer(LimiterConfig::new().policy(policy("p", "1/day"))).layer(Bare)),
    ];
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [rows] if rows == "--rows" => {
            sides.iter().filter(|(name, _)| name.starts_with("layer")).for_each(|(name, _)| println!("{name}"));
            return;
        }
        [row, calls] => {
            let (_, run) = sides.iter_mut().find(|(name, _)| name == row).expect("a row");
            let rounds = calls.parse::<u64>().expect("a number").div_ceil(COUNT);
            let fastest = (0..rounds).map(|number| run(1_000, COUNT, number * COUNT).0).fold(f64::INFINITY, f64::min);
            println!("{fastest:.1} ns a request in the fastest round");
            return;
        }
        _ => {} // `--bench`, from cargo
    }
    for clients in [1, 1_000, 100_000] {
        for (_, run) in &mut sides {
            run(clients, u64::from(clients) * 2, 0);
        }
        let mut times = vec![Vec::new(); sides.len()];
        for number in 0..ROUNDS {
            for ((_, run), times) in sides.iter_mut().zip(&mut times) {
                times.push(run(clients, COUNT, number * COUNT).0);
            }
        }
        let bare = times[0].clone();
        println!("{clients} clients{:17} median  fastest", "");
        for ((name, _), times) in sides.iter().zip(&times) {
            let mut above: Vec<f64> = times.iter().zip(&bare).map(|(time, bare)| time - bare).collect();
            above.sort_by(f64::total_cmp);
            // Where the machine is shared: rounds in which nothing disturbed.
            let fastest = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
            println!("  {name:24} {:8.1} {:8.1}", above[above.len() / 2], fastest(times) - fastest(&bare));
        }
    }
    println!("two threads for one, times as slow");
    println!("  {:24} {:8.2}", sides[0].0, slowdown(&Bare));
    let config = LimiterConfig::new().answer(quiet()).policy(policy("p", HIGH));
    println!("  {:24} {:8.2}", sides[1].0, slowdown(&layer(config).layer(Bare)));
    println!(
        "  {:24} {:8.2}",
        sides[3].0,
        slowdown(&layer(LimiterConfig::new().policy(policy("p", HIGH))).layer(Bare))
    );
    println!("  {:24} {:8.2}", sides[2].0, slowdown(&governor(Bare)));
}
