use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::Empty;
use tokio::net::TcpListener;
use tollgate_http::RateLimitLayer;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower::Service;

use crate::client;

/// What a generated service looks like to the server.
#[derive(Clone)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "greet.Greeter";
}

impl Service<Request<Body>> for Greeter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let answer = Response::builder().header("grpc-status", "0").body(Body::empty());
        Box::pin(async move { Ok(answer.unwrap()) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_a_grpc_status() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let layer = RateLimitLayer::new("2/hour").unwrap();
    let router = Server::builder().layer(layer).add_service(Greeter);
    tokio::spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let request = Request::post(format!("http://{server}/greet.Greeter/Hello"));
        let request = request.header("content-type", "application/grpc").body(Empty::new()).unwrap();
        let answer = client::send(request, true).await;
        assert_eq!(answer.status(), 200, "gRPC has statuses of its own");
        statuses.push(answer.headers()["grpc-status"].to_str().unwrap().to_owned());
    }
    assert_eq!(statuses, ["0", "0", "8"]);
}
