//! Limits in an axum server: a default, failed logins, plans for those who have an API key, a policy on trial.
//!
//! `cargo run -p tollgate-http --example axum`, and then:
//!
//! ```sh
//! # The default, 5 in 10 seconds: five times 200, then 429.
//! for i in 1 2 3 4 5 6; do curl -so /dev/null -w '%{http_code} ' http://127.0.0.1:3000/; done
//! curl -si http://127.0.0.1:3000/
//! # Three wrong passwords: 401, 401, 401, then 429 for everything, the right one too. The right one costs nothing.
//! for i in 1 2 3 4; do curl -so /dev/null -w '%{http_code} ' -d wrong http://127.0.0.1:3000/login; done
//! # Without a key two in 10 seconds, with this one twenty; a key that nobody has given out is no key.
//! for i in 1 2 3; do curl -so /dev/null -w '%{http_code} ' http://127.0.0.1:3000/api; done
//! for i in 1 2 3; do curl -so /dev/null -w '%{http_code} ' -H 'x-api-key: gold' http://127.0.0.1:3000/api; done
//! # On trial: nobody is refused, and it is counted who would have been.
//! for i in 1 2 3; do curl -so /dev/null -w '%{http_code} ' http://127.0.0.1:3000/search; sleep 2; done
//! curl -s http://127.0.0.1:3000/limits
//! ```

use std::fmt::Write;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tollgate_http::{
    AuthenticatedUser, Charge, ConfigError, LimiterConfig, Policy, Precedence, RateLimiter, Route, Tiers,
};

/// What a customer has paid for.
#[derive(Clone, Copy)]
struct Plan(&'static str);

/// Stands for a look into the table of keys. It comes before the limits: only what it found is a key for them.
async fn authenticate(mut request: Request, next: Next) -> Response {
    let key = request.headers().get("x-api-key").and_then(|key| key.to_str().ok());
    if let Some((user, plan)) = match key {
        Some("silver") => Some(("ann", Plan("free"))),
        Some("gold") => Some(("bob", Plan("premium"))),
        _ => None,
    } {
        request.extensions_mut().insert(AuthenticatedUser(user.into()));
        request.extensions_mut().insert(plan);
    }
    next.run(request).await
}

async fn login(password: String) -> StatusCode {
    if password == "right" { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
}

fn limits() -> Result<RateLimiter, ConfigError> {
    let default = Policy::new("default", "5 per 10 seconds")?.exempt("path:/limits".parse()?);
    let failed_logins = Policy::new("failed-logins", "3 per 10 minutes")?
        .on(Route::any().path("/login")?)
        .charge(Charge::OnlyOn("401".parse()?));
    let plan = Tiers::by(|request| request.extension::<Plan>().map(|plan| plan.0.to_owned()))
        .tier("premium", "20 per 10 seconds")?;
    let api =
        Policy::new("api", "2 per 10 seconds")?.on(Route::any().path("/api/*")?).key("user | ip".parse()?).tiers(plan);
    let search = Policy::new("search", "1 per 10 seconds")?
        .on(Route::any().path("/search")?)
        .precedence(Precedence::Always)
        .shadow(true);
    RateLimiter::new(LimiterConfig::new().policy(default).policy(failed_logins).policy(api).policy(search))
}

/// What the limits have done so far.
fn told(limiter: &RateLimiter) -> String {
    let mut text = String::new();
    for view in limiter.policies(3) {
        let (name, counts) = (&view.name, &view.counts);
        // Writing to memory cannot fail.
        let _ = writeln!(
            text,
            "{name}: {} allowed, {} refused, {} would have been",
            counts.allowed, counts.refused, counts.shadow_refused
        );
    }
    text
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limiter = limits()?;
    let layer = limiter.layer();
    let app = Router::new()
        .route("/", get(|| async { "hello\n" }))
        .route("/login", post(login))
        .route("/api", get(|| async { "data\n" }))
        .route("/search", get(|| async { "found\n" }))
        .route("/limits", get(|| async move { told(&limiter) }))
        .layer(layer)
        .layer(from_fn(authenticate)); // the layer added last is the first that a request meets

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}
