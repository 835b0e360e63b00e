//! One limit for all nodes of an axum server, on Redis:
//!
//!     cargo run -p tollgate-http --features redis --example axum_redis -- redis://127.0.0.1/ 127.0.0.1:3000
//!
//! Start another one at `127.0.0.1:3001`: both admit five requests in ten seconds together. Without Redis they answer 503.

use std::net::SocketAddr;

use axum::{Router, routing::get};
use tollgate_http::fleet::{Fleet, OnOutage};
use tollgate_http::{LimiterConfig, Policy, RateLimitLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let url = args.next().unwrap_or_else(|| "redis://127.0.0.1/".to_owned());
    let fleet = Fleet::builder(url).secret("what all nodes know").build()?;
    let policy = Policy::new("all", "5 per 10 seconds")?.on_fleet(OnOutage::Closed);
    let layer = RateLimitLayer::with(LimiterConfig::new().fleet(fleet).policy(policy))?;
    let app = Router::new().route("/", get(|| async { "hello\n" })).layer(layer);
    let listener = tokio::net::TcpListener::bind(args.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned())).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}
