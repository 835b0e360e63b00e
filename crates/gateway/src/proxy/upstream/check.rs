//! Health checks: a path that each upstream is asked for every so often, by whichever thread comes first.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http_body_util::Empty;
use hyper::client::conn::http1;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tower_service::Service;

use crate::proxy::live::Seen;
use crate::proxy::service::BoxError;
use crate::proxy::upstream::complaint::Cause;
use crate::proxy::upstream::pool::Pool;
use crate::proxy::upstream::upstream::Upstream;

/// Begins the checks that are due, and says when to look again.
pub(crate) fn begin(pool: &Pool) -> Duration {
    let state = pool.state();
    let health = &state.settings.health;
    if health.path.is_none() {
        return Duration::MAX;
    }
    for upstream in state.all.iter().filter(|upstream| upstream.check_is_due(health)) {
        spawn_local(check(Rc::clone(&state), Arc::clone(upstream)));
    }
    health.every
}

async fn check(state: Rc<Seen>, upstream: Arc<Upstream>) {
    let health = &state.settings.health;
    let answer = timeout(health.every, ask(&state, &upstream)).await;
    match answer.unwrap_or_else(|_| Err(format!("no answer within {:?}", health.every).into())) {
        Ok(()) => upstream.is_well(),
        Err(why) => {
            upstream.is_unwell(health);
            upstream.complain(Cause::Check, &*why);
        }
    }
}

/// Asks on a connection of its own: whether one can be made is part of the question.
async fn ask(state: &Seen, upstream: &Upstream) -> Result<(), BoxError> {
    let Some(path) = &state.settings.health.path else { return Ok(()) };
    let stream = state.connector.clone().call(upstream.origin.uri().clone()).await?;
    let (mut sender, connection) = http1::handshake(stream).await?;
    let request = Request::get(path.as_str())
        .header(HOST, upstream.origin.host())
        .header(
            USER_AGENT,
            HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION"), " (health check)")),
        )
        .body(Empty::<Bytes>::new())?;
    // Ends with the sender.
    spawn_local(connection);
    let status = sender.send_request(request).await?.status();
    if status.is_success() || status.is_redirection() { Ok(()) } else { Err(format!("status {status}").into()) }
}
