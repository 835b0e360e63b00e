//! The built-in upstream, for a first try and for tests: it says what it was asked.

use std::convert::Infallible;
use std::fmt::Write;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tower_service::Service;

use crate::proxy::client_body::ClientBody;

/// Answers a `POST` with its body, while it still arrives, and anything else with the request's head as text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Echo;

impl Service<Request<ClientBody>> for Echo {
    type Response = Response<EchoBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ClientBody>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let body = match parts.method {
            Method::POST => EchoBody::Back(body),
            _ => EchoBody::Head(Full::new(Bytes::from(head(&parts)))),
        };
        let mut response = Response::new(body);
        let kind = parts.headers.get(CONTENT_TYPE).filter(|_| parts.method == Method::POST).cloned();
        let kind = kind.unwrap_or(HeaderValue::from_static("text/plain; charset=utf-8"));
        response.headers_mut().insert(CONTENT_TYPE, kind);
        ready(Ok(response))
    }
}

/// The request line and the fields, a line each.
fn head(parts: &Parts) -> String {
    let mut text = format!("{} {} {:?}\n", parts.method, parts.uri, parts.version);
    for (name, value) in &parts.headers {
        // Writing to memory cannot fail.
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}

#[derive(Debug)]
pub(crate) enum EchoBody {
    Back(ClientBody),
    Head(Full<Bytes>),
}

impl Body for EchoBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Back(body) => Pin::new(body).poll_frame(cx),
            Self::Head(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Back(body) => body.is_end_stream(),
            Self::Head(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Back(body) => body.size_hint(),
            Self::Head(body) => body.size_hint(),
        }
    }
}
