//! Health checks: a path that each upstream is asked for every so often, by whichever thread comes first.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::proxy::executor::OnThisThread;
use crate::proxy::live::Seen;
use crate::proxy::service::BoxError;
use crate::proxy::upstream::complaint::Cause;
use crate::proxy::upstream::dial::dial;
use crate::proxy::upstream::pool::Pool;
use crate::proxy::upstream::upstream::Upstream;

/// Begins the checks that are due, and says when to look again.
pub(crate) fn begin(pool: &Pool) -> Duration {
    let state = pool.state();
    let health = &state.settings.health;
    if state.checks.is_empty() {
        return Duration::MAX;
    }
    for (upstream, path) in state.checks.iter().filter(|(upstream, _)| upstream.check_is_due(health)) {
        spawn_local(check(Rc::clone(&state), Arc::clone(upstream), path.clone()));
    }
    health.every
}

async fn check(state: Rc<Seen>, upstream: Arc<Upstream>, path: PathAndQuery) {
    let health = &state.settings.health;
    let answer = timeout(health.every, ask(&state, &upstream, &path)).await;
    match answer.unwrap_or_else(|_| Err(format!("no answer within {:?}", health.every).into())) {
        Ok(()) => upstream.is_well(),
        Err(why) => {
            upstream.is_unwell(health);
            upstream.complain(Cause::Check, &*why);
        }
    }
}

/// Asks on a connection of its own: whether one can be made is part of the question.
async fn ask(state: &Seen, upstream: &Upstream, path: &PathAndQuery) -> Result<(), BoxError> {
    let (socket, is_http2) = dial(&state.connectors, &upstream.origin, false).await?;
    let mut request = Request::get(path.as_str())
        .header(
            USER_AGENT,
            HeaderValue::from_static(concat!("tollgate/", env!("CARGO_PKG_VERSION"), " (health check)")),
        )
        .body(Empty::<Bytes>::new())?;
    // The connection ends with the sender.
    let status = if is_http2 {
        let (mut sender, connection) = http2::handshake(OnThisThread, TokioIo::new(socket)).await?;
        spawn_local(connection);
        let mut target = upstream.origin.uri().clone().into_parts();
        target.path_and_query = Some(path.clone());
        *request.uri_mut() = target.try_into()?;
        sender.send_request(request).await?.status()
    } else {
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
        spawn_local(connection);
        request.headers_mut().insert(HOST, upstream.origin.host().clone());
        sender.send_request(request).await?.status()
    };
    if status.is_success() || status.is_redirection() { Ok(()) } else { Err(format!("status {status}").into()) }
}
