//! HTTP/2 to upstreams, and so gRPC.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tollgate_gateway::proxy::settings::Settings;

use crate::tls::certificate;
use crate::tool::{Answer, Front, PATIENCE, eventually, field, mirror, nowhere, settings, upstream};

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;
type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

fn frames(frames: Vec<Frame<Bytes>>) -> Body {
    StreamBody::new(futures_util::stream::iter(frames.into_iter().map(Ok))).boxed()
}

fn text(text: String) -> Response<Body> {
    Response::new(Full::new(Bytes::from(text)).boxed())
}

fn trailers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

/// An upstream of HTTP/2 without TLS, and how many connections it has seen.
fn h2c(answer: impl Fn(Request<Incoming>) -> Answering + Clone + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                counted.fetch_add(1, SeqCst);
                let answer = answer.clone();
                tokio::spawn(async move {
                    let service = service_fn(answer);
                    let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
    });
    (addr, connections)
}

/// Says what it was asked.
fn told(request: Request<Incoming>) -> Answering {
    Box::pin(async move {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let mut told = format!("{} {} {:?}\r\n", parts.method, parts.uri, parts.version);
        for (name, value) in &parts.headers {
            told.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        told.push_str(&format!("\r\n{}", String::from_utf8(body.to_vec()).unwrap()));
        Ok(text(told))
    })
}

/// The defaults with one thread, in front of one upstream of HTTP/2.
fn before(upstream: SocketAddr) -> Settings {
    let mut settings = settings(&[]);
    settings.upstreams = vec![format!("h2c://{upstream}").parse().unwrap()];
    settings.threads = NonZeroUsize::MIN;
    settings
}

async fn client(addr: SocketAddr) -> SendRequest<Body> {
    let socket = TcpStream::connect(addr).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket));
    let (sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    sender
}

fn call(body: Vec<Frame<Bytes>>) -> Request<Body> {
    let request = Request::post("http://api.example/shop.Cart/Add?x=1").header("te", "trailers");
    request.header("content-type", "application/grpc").body(frames(body)).unwrap()
}

#[tokio::test]
async fn a_call_of_grpc_passes_with_its_trailers_both_ways() {
    let (upstream, _) = h2c(|request| {
        Box::pin(async move {
            let told = format!("{} {:?} {:?}", request.uri(), request.version(), request.headers().get("host"));
            let te = request.headers()["te"].clone();
            let body = request.into_body().collect().await.unwrap();
            let sum = body.trailers().unwrap()["x-sum"].clone();
            let data = Frame::data(body.to_bytes());
            let mut end = trailers(&[("grpc-status", "7"), ("grpc-message", "not today")]);
            end.insert("x-sum", sum);
            let mut response = Response::new(frames(vec![data, Frame::trailers(end)]));
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            response.headers_mut().insert("x-told", told.parse().unwrap());
            response.headers_mut().insert("x-te", te);
            Ok(response)
        })
    });
    let front = Front::start(before(upstream));
    let mut sender = client(front.addr()).await;
    let body = vec![
        Frame::data(Bytes::from_static(b"one")),
        Frame::data(Bytes::from_static(b"two")),
        Frame::trailers(trailers(&[("x-sum", "6"), ("x-forwarded-for", "192.0.2.1")])),
    ];
    let response = timeout(PATIENCE, sender.send_request(call(body))).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    // The host is in the target and nowhere else.
    assert_eq!(response.headers()["x-told"], "http://api.example/shop.Cart/Add?x=1 HTTP/2.0 None");
    assert_eq!(response.headers()["x-te"], "trailers");
    let body = timeout(PATIENCE, response.into_body().collect()).await.unwrap().unwrap();
    let end = body.trailers().expect("the trailers of the upstream").clone();
    assert_eq!(
        ["grpc-status", "grpc-message", "x-sum"].map(|name| end[name].to_str().unwrap()),
        ["7", "not today", "6"]
    );
    assert_eq!(body.to_bytes(), "onetwo");
}

/// Nothing but trailers, as servers of gRPC answer what they do not know: they come as a head that ends the stream.
#[tokio::test]
async fn an_answer_of_trailers_alone_ends_with_its_head() {
    let (upstream, _) = h2c(|_| {
        Box::pin(async {
            let mut response = Response::new(Full::default().boxed());
            response.headers_mut().insert("grpc-status", HeaderValue::from_static("12"));
            Ok(response)
        })
    });
    let front = Front::start(before(upstream));
    let mut sender = client(front.addr()).await;
    let response = timeout(PATIENCE, sender.send_request(call(Vec::new()))).await.unwrap().unwrap();
    assert_eq!(response.headers()["grpc-status"], "12");
    assert!(hyper::body::Body::is_end_stream(response.body()));
}

/// Messages go each way by turns while both are open.
#[tokio::test]
async fn a_call_may_last_and_say_something_at_any_time() {
    let (upstream, _) = h2c(|request| {
        Box::pin(async move {
            let frames = futures_util::stream::unfold(request.into_body(), |mut body| async move {
                let frame = body.frame().await?.ok()?;
                Some((Ok(frame), body))
            });
            Ok(Response::new(BodyExt::boxed(StreamBody::new(
                Box::pin(frames) as Pin<Box<dyn futures_util::Stream<Item = _> + Send + Sync>>
            ))))
        })
    });
    let front = Front::start(before(upstream));
    let mut sender = client(front.addr()).await;
    let (say, said) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let messages = futures_util::stream::unfold(said, |mut said| async move {
        let message = said.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(message)), said))
    });
    let body =
        StreamBody::new(Box::pin(messages) as Pin<Box<dyn futures_util::Stream<Item = _> + Send + Sync>>).boxed();
    let request = Request::post("http://a/x").header("content-type", "application/grpc").body(body).unwrap();
    say.send(Bytes::from_static(b"0")).unwrap();
    let mut answer = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap().into_body();
    for n in 0..20 {
        let frame = timeout(PATIENCE, answer.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), n.to_string());
        say.send(Bytes::from((n + 1).to_string())).unwrap();
    }
    drop(say);
    timeout(PATIENCE, answer.collect()).await.unwrap().unwrap();
    eventually("it is over", || front.upstreams()[0].in_flight == 0);
}

#[test]
fn a_client_of_http_1_1_is_answered_too() {
    let (upstream, connections) = h2c(told);
    let front = Front::start(before(upstream));
    let mut client = front.client();
    client.send("POST /a?b HTTP/1.1\r\nHost: api.example:8080\r\nTransfer-Encoding: chunked\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
    let Answer { body, .. } = client.response();
    assert!(
        body.starts_with("POST http://api.example:8080/a?b HTTP/2.0\r\n") && body.ends_with("\r\n\r\nhi"),
        "{body}"
    );
    for gone in ["host", "connection", "transfer-encoding", "x-hop"] {
        assert_eq!(field(&body, gone), None, "{body}");
    }
    assert_eq!(field(&body, "x-forwarded-host"), Some("api.example:8080"));
    // What cannot be said there is not said, and the request is one like others.
    client.send("GET /socket HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.status, field(&answer.body, "upgrade")), (200, None));
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert!(client.head().unwrap().starts_with("HTTP/1.1 100 "));
    client.send("ok");
    assert!(client.response().body.ends_with("\r\n\r\nok"));
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().unwrap().starts_with("HTTP/1.1 200 "));
    assert_eq!(connections.load(SeqCst), 1);
}

#[tokio::test]
async fn requests_share_a_connection() {
    let (upstream, connections) = h2c(told);
    let front = Front::start(before(upstream));
    let mut sender = client(front.addr()).await;
    let request = || Request::get("http://a/").body(Full::default().boxed()).unwrap();
    timeout(PATIENCE, sender.send_request(request())).await.unwrap().unwrap();
    let asked: Vec<_> = (0..80).map(|_| tokio::spawn(sender.send_request(request()))).collect();
    for asked in asked {
        assert_eq!(timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap().status(), 200);
    }
    assert_eq!(connections.load(SeqCst), 1);
    assert_eq!(front.upstreams()[0].requests, 81);
    eventually("all have ended", || front.upstreams()[0].in_flight == 0);
}

#[test]
fn megabytes_pass_both_ways() {
    let (upstream, _) = h2c(told);
    let front = Front::start(before(upstream));
    let mut asking = front.client();
    let body = "0123456789abcdef".repeat(3 << 16);
    asking.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()));
    asking.send(&body);
    let answer = asking.response().body;
    assert!(answer.ends_with(&body) && answer.len() > body.len());
}

/// All of them are on one connection.
#[test]
fn clients_that_do_not_read_hold_up_no_other() {
    const PIECE: &[u8] = &[b'x'; 16 << 10];
    let pieces = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pieces);
    let (upstream, connections) = h2c(move |request| {
        let counted = Arc::clone(&counted);
        Box::pin(async move {
            if request.uri().path() != "/large" {
                return Ok(text("small".to_owned()));
            }
            // More than the buffers of all sockets between.
            let large = futures_util::stream::iter((0..8_192).map(move |_| {
                counted.fetch_add(1, SeqCst);
                Ok(Frame::data(Bytes::from_static(PIECE)))
            }));
            Ok(Response::new(StreamBody::new(large).boxed()))
        })
    });
    let front = Front::start(before(upstream));
    let mut asking = front.client();
    asking.get("/");
    assert_eq!(asking.response().body, "small");
    let _stalled: Vec<_> = (0..5)
        .map(|_| {
            let mut client = front.client();
            client.get("/large");
            assert!(client.head().unwrap().starts_with("HTTP/1.1 200 "));
            client
        })
        .collect();
    // Until nothing more comes of the large ones, and then some.
    let (mut seen, mut unchanged) = (0, 0);
    while unchanged < 20 {
        asking.get("/");
        assert_eq!(asking.response().body, "small");
        let now = pieces.load(SeqCst);
        unchanged = if now == seen { unchanged + 1 } else { 0 };
        seen = now;
    }
    assert_eq!(connections.load(SeqCst), 1);
    assert_eq!(front.upstreams()[0].in_flight, 5);
}

#[test]
fn a_connection_that_has_ended_or_is_old_gets_no_request() {
    // Says that it takes no more, after each answer.
    let (upstream, connections) = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((socket, _)) = listener.accept().await {
                    counted.fetch_add(1, SeqCst);
                    tokio::spawn(async move {
                        let mut connection = h2::server::handshake(socket).await.unwrap();
                        if let Some(Ok((_, mut respond))) = connection.accept().await {
                            let _ = respond.send_response(Response::new(()), true);
                        }
                        connection.graceful_shutdown();
                        while connection.accept().await.is_some() {}
                    });
                }
            });
        });
        (addr, connections)
    };
    let front = Front::start(before(upstream));
    let mut asking = front.client();
    for _ in 0..5 {
        asking.get("/");
        assert_eq!(asking.response().status, 200);
    }
    assert!(connections.load(SeqCst) >= 5);
    let [counts] = front.upstreams()[..] else { panic!() };
    assert!(!counts.is_resting && counts.in_flight == 0, "{counts:?}");

    let (upstream, connections) = h2c(told);
    let mut settings = before(upstream);
    settings.timeouts.upstream_age = Duration::ZERO;
    let front = Front::start(settings);
    let mut asking = front.client();
    for _ in 0..3 {
        asking.get("/");
        assert_eq!(asking.response().status, 200);
    }
    assert_eq!(connections.load(SeqCst), 3);
}

#[test]
fn silence_and_what_is_not_http2_are_failures_of_the_upstream() {
    let (silent, connections) = h2c(|request| {
        Box::pin(async move {
            if request.uri().path() == "/silent" {
                std::future::pending::<()>().await;
            }
            Ok(text("heard".to_owned()))
        })
    });
    let mut settings = before(silent);
    let patient = settings.clone();
    settings.timeouts.response_head = Duration::from_millis(300);
    let front = Front::start(settings);
    let mut asking = front.client();
    asking.get("/silent");
    asking.response().is_problem(504);
    front.replace(patient).unwrap();
    // It may be that nothing is heard there any more.
    asking.get("/");
    assert_eq!(asking.response().body, "heard");
    assert_eq!((connections.load(SeqCst), front.upstreams()[0].in_flight), (2, 0));

    for wrong in [mirror(), nowhere(), upstream(|_| {})] {
        let front = Front::start(before(wrong));
        let mut asking = front.client();
        asking.get("/");
        asking.response().is_problem(502);
    }
}

#[test]
fn another_upstream_is_asked_in_its_own_way() {
    let mut settings = before(nowhere());
    settings.upstreams.push(format!("http://{}", mirror()).parse().unwrap());
    let front = Front::start(settings);
    let mut asking = front.client();
    for _ in 0..4 {
        asking.get("/a");
        let answer = asking.response().body.to_lowercase();
        assert!(answer.starts_with("get /a http/1.1\r\n") && field(&answer, "host") == Some("api.example"), "{answer}");
    }
}

/// Counts what is dropped.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_client_that_goes_away_takes_its_request_with_it() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&dropped);
    let (upstream, connections) = h2c(move |request| {
        let dropped = Dropped(Arc::clone(&counted));
        Box::pin(async move {
            if request.uri().path() == "/wait" {
                std::future::pending::<()>().await;
            }
            drop(dropped);
            Ok(text(String::new()))
        })
    });
    let front = Front::start(before(upstream));
    let mut leaving = front.client();
    leaving.get("/wait");
    eventually("it is in flight", || front.upstreams()[0].in_flight == 1);
    drop(leaving);
    eventually("the upstream is told", || dropped.load(SeqCst) == 1);
    assert_eq!(front.upstreams()[0].in_flight, 0);
    let mut other = front.client();
    other.get("/");
    assert_eq!((other.response().status, connections.load(SeqCst)), (200, 1));
}

#[test]
fn a_body_that_is_too_large_is_its_clients_fault() {
    let (upstream, connections) = h2c(told);
    let mut settings = before(upstream);
    (settings.limits.body_bytes, settings.limits.buffer_request) = (Some(1_000), 0);
    let front = Front::start(settings);
    let mut asking = front.client();
    asking.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    asking.send(format!("3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1_001)));
    asking.response().is_problem(413);
    let mut other = front.client();
    other.get("/");
    assert_eq!(other.response().status, 200);
    assert_eq!((connections.load(SeqCst), front.upstreams()[0].failures), (1, 0));
}

#[test]
fn its_health_is_checked_in_its_own_way() {
    let (well, _) = h2c(|request| {
        Box::pin(async move {
            let mut response = text(String::new());
            if request.uri().path() != "/well" || request.version() != Version::HTTP_2 {
                *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            }
            Ok(response)
        })
    });
    let mut settings = before(well);
    settings.upstreams.push(format!("h2c://{}", mirror()).parse().unwrap());
    settings.health.path = Some("/well".parse().unwrap());
    settings.health.every = Duration::from_millis(50);
    settings.health.failures = 1;
    let front = Front::start(settings);
    let resting = || front.upstreams().iter().map(|one| one.is_resting).collect::<Vec<_>>();
    eventually("the first is well, the other is not", || resting() == [false, true]);
}

#[tokio::test]
async fn of_tls_http2_is_taken_if_the_upstream_takes_it() {
    let files = certificate();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(tollgate_gateway::proxy::tls::server(&files).unwrap());
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(socket).await else { continue };
            tokio::spawn(async move {
                let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = http.serve_connection(TokioIo::new(stream), service_fn(told)).await;
            });
        }
    });
    let ask = |offers: bool, request: &'static str| {
        let mut settings = settings(&[]);
        settings.upstreams = vec![format!("https://localhost:{port}").parse().unwrap()];
        settings.upstream_ca = Some(files.cert.clone());
        settings.upstream_http2 = offers;
        async move {
            let front = Front::start(settings);
            let asked = tokio::task::spawn_blocking(move || {
                let mut asking = front.client();
                asking.send(request);
                asking.response().body
            });
            asked.await.unwrap()
        }
    };
    let plain = "GET /a HTTP/1.1\r\nHost: api.example\r\n\r\n";
    let told = ask(true, plain).await;
    assert!(told.starts_with("GET https://api.example/a HTTP/2.0\r\n"), "{told}");
    let told = ask(false, plain).await;
    assert!(told.starts_with("GET /a HTTP/1.1\r\nhost: api.example\r\n"), "{told}");
    // A WebSocket needs the other.
    let told = ask(true, "GET /a HTTP/1.1\r\nHost: b\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert!(told.starts_with("GET /a HTTP/1.1\r\n") && field(&told, "upgrade") == Some("websocket"), "{told}");
}

/// To name another host in its place would be to ask for something else than the limits have decided about.
#[test]
fn a_host_that_http2_cannot_carry_is_refused_and_never_replaced() {
    let (upstream, connections) = h2c(told);
    let front = Front::start(before(upstream));
    let ask = |host: &str| {
        let mut client = front.client();
        client.send(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client.response()
    };
    for host in ["a.example:81", "[::1]", "a_b"] {
        let answer = ask(host);
        assert!(answer.body.starts_with(&format!("GET http://{host}/x HTTP/2.0\r\n")), "{host}: {answer:?}");
    }
    for host in ["", "a%41.example", "a%"] {
        ask(host).is_problem(400);
    }
    // That is no fault of the connection.
    assert!(ask("b.example").body.starts_with("GET http://b.example/x "));
    assert_eq!(connections.load(SeqCst), 1);
    assert_eq!(front.upstreams()[0].failures, 0);
}

/// hyper writes to clients of HTTP/1.1 those trailers alone that the head has named, which upstreams of HTTP/2 need not do. With another
/// hyper this may end otherwise, and then the guide is to say so.
#[test]
fn clients_of_http1_get_the_trailers_that_were_announced() {
    let (upstream, _) = h2c(|request| {
        Box::pin(async move {
            let end = trailers(&[("x-sum", "6"), ("x-other", "7")]);
            let mut response =
                Response::new(frames(vec![Frame::data(Bytes::from_static(b"data")), Frame::trailers(end)]));
            if request.uri().path() == "/announced" {
                response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
            }
            Ok(response)
        })
    });
    let front = Front::start(before(upstream));
    for (path, ending) in [("/announced", "0\r\nx-sum: 6\r\n\r\n"), ("/", "0\r\n\r\n")] {
        let mut client = front.client();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n"));
        let head = client.head().unwrap();
        assert!(head.to_lowercase().contains("transfer-encoding: chunked"), "{head}");
        let mut rest = String::new();
        while let Ok(byte) = client.bytes(1) {
            rest.push(char::from(byte[0]));
        }
        assert_eq!(rest, format!("4\r\ndata\r\n{ending}"), "{path}");
    }
}
