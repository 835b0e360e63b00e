use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;
use tollgate_http::{LimiterConfig, Policy, RateLimitLayer, Route};

use crate::client;

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    addr
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_limits_each_client_address() {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let server = serve(app.layer(RateLimitLayer::new("10/hour").unwrap())).await;
    assert_eq!(client::crowd(server, "/", 64).await, [10, 54], "64 clients, exactly the quota");
    let refused = client::get(server, "/").await;
    assert_eq!(refused.headers()["retry-after"], "360");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_for_some_routes_and_another_for_all() {
    let login = Policy::new("login", "2/hour").unwrap().on(Route::any().path("/login").unwrap());
    let settings = LimiterConfig::new().policy(Policy::new("default", "5/hour").unwrap()).policy(login);
    let app = Router::new().route("/", get(|| async { "hello" })).route("/login", get(|| async { "welcome" }));
    let server = serve(app.layer(RateLimitLayer::with(settings).unwrap())).await;
    assert_eq!(client::crowd(server, "/login", 9).await, [2, 7]);
    assert_eq!(client::crowd(server, "/", 9).await, [5, 4]);
}
