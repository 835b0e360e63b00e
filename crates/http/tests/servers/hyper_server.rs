use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tollgate_http::{PeerAddr, RateLimitLayer};
use tower::{Layer, ServiceExt, service_fn};

use crate::client;

/// A hyper server; the peer's address is put where the layer finds it.
async fn serve(layer: RateLimitLayer) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, peer) = listener.accept().await.unwrap();
            let hello = service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello")))) });
            let service = layer.layer(hello).map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(PeerAddr(peer));
                request
            });
            let builder = Builder::new(TokioExecutor::new());
            tokio::spawn(async move {
                builder.serve_connection(TokioIo::new(socket), TowerToHyperService::new(service)).await
            });
        }
    });
    addr
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_1_and_2() {
    let server = serve(RateLimitLayer::new("20/hour").unwrap()).await;
    assert_eq!(client::crowd(server, "/", 64).await, [20, 44]);
    let request = Request::get(format!("http://{server}/")).body(Empty::new()).unwrap();
    let refused = client::send(request, true).await;
    assert_eq!((refused.status().as_u16(), refused.version()), (429, http::Version::HTTP_2));
    assert!(!refused.body().is_empty());
}
