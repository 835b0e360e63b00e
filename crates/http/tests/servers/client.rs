//! A client with connections of its own.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

pub(crate) async fn send(request: Request<Empty<Bytes>>, http2: bool) -> Response<Bytes> {
    let client = Client::builder(TokioExecutor::new()).http2_only(http2).build_http();
    let (head, body) = client.request(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

pub(crate) async fn get(server: SocketAddr, path: &str) -> Response<Bytes> {
    send(Request::get(format!("http://{server}{path}")).body(Empty::new()).unwrap(), false).await
}

/// The statuses that `count` clients get who all come at once.
pub(crate) async fn crowd(server: SocketAddr, path: &'static str, count: usize) -> [usize; 2] {
    let clients: Vec<_> = (0..count).map(|_| tokio::spawn(get(server, path))).collect();
    let mut seen = [0, 0];
    for client in clients {
        match client.await.unwrap().status().as_u16() {
            200 => seen[0] += 1,
            429 => seen[1] += 1,
            other => panic!("{other}"),
        }
    }
    seen
}
