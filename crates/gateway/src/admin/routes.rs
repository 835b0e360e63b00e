//! Which path answers what.

use http::header::{ALLOW, HeaderValue};
use http::{Method, Request, StatusCode};

use super::reply::{Reply, line};
use super::state::AdminState;
use super::{guard, health, limits, live, metrics, page};

/// Answers a request; its body, if any, is of no interest.
pub(crate) fn answer<B>(state: &AdminState, request: &Request<B>) -> Reply {
    let subject = &state.subject;
    if subject.is_local && !guard::means_this_machine(request.uri(), request.headers()) {
        return line(
            StatusCode::MISDIRECTED_REQUEST,
            "this listener answers only to `localhost` and loopback addresses",
        );
    }
    let reply: fn(&AdminState, &str) -> Reply = match request.uri().path() {
        "/metrics" => |state, _| metrics::reply(state),
        "/healthz" => |state, _| health::reply(&state.subject),
        "/limits" => |state, _| limits::reply(&state.subject),
        "/live" => live::reply,
        "/" => |_, _| page::html(),
        "/page.css" => |_, _| page::css(),
        "/page.js" => |_, _| page::js(),
        "/icon.svg" => |_, _| page::icon(),
        _ => return line(StatusCode::NOT_FOUND, "there are /, /metrics, /healthz, /limits and /live"),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut reply = line(StatusCode::METHOD_NOT_ALLOWED, "everything here can be read, nothing changed");
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    reply(state, request.uri().query().unwrap_or_default())
}
