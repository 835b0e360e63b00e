//! What went wrong with a request, and the answer that says so and nothing more.

use std::fmt;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

/// Why a request was not answered by an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Error {
    /// The request breaks HTTP in a way that must not be passed on.
    Malformed,
    /// The client stopped in the middle of its request body.
    BodyTimedOut,
    /// The request body is larger than allowed.
    BodyTooLarge,
    /// More fields than allowed; of HTTP/2, as HTTP/1 is held to it while its head is read.
    HeadTooLarge,
    /// A transfer coding that is not understood.
    Coding,
    /// `CONNECT` and `TRACE`, which end at a gateway, and methods that differ from others in the case of letters alone.
    Method,
    /// Not wrong: `OPTIONS` with a `Max-Forwards` that has come to zero asks the gateway itself.
    AskedHere,
    /// The upstream cannot be reached, or what it says is not HTTP.
    Upstream,
    /// No group of upstreams is for its host and path, and there is no default.
    NoRoute,
    /// Its host is not named, and no other is served.
    Misdirected,
    /// All upstreams are resting after failures, or have as many connections as they may.
    NoUpstream,
    /// The upstream took too long.
    UpstreamTimedOut,
}

impl Error {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::BodyTimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Method | Self::Coding => StatusCode::NOT_IMPLEMENTED,
            Self::AskedHere => StatusCode::NO_CONTENT,
            Self::Upstream => StatusCode::BAD_GATEWAY,
            Self::NoUpstream => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamTimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The body: a problem of RFC 9457.
    fn problem(self) -> &'static str {
        match self {
            Self::Malformed => r#"{"type":"about:blank","title":"Bad Request","status":400}"#,
            Self::NoRoute => r#"{"type":"about:blank","title":"Not Found","status":404}"#,
            Self::Misdirected => r#"{"type":"about:blank","title":"Misdirected Request","status":421}"#,
            Self::BodyTimedOut => r#"{"type":"about:blank","title":"Request Timeout","status":408}"#,
            Self::BodyTooLarge => r#"{"type":"about:blank","title":"Content Too Large","status":413}"#,
            Self::HeadTooLarge => r#"{"type":"about:blank","title":"Request Header Fields Too Large","status":431}"#,
            Self::Method | Self::Coding => r#"{"type":"about:blank","title":"Not Implemented","status":501}"#,
            Self::AskedHere => "",
            Self::Upstream => r#"{"type":"about:blank","title":"Bad Gateway","status":502}"#,
            Self::NoUpstream => r#"{"type":"about:blank","title":"Service Unavailable","status":503}"#,
            Self::UpstreamTimedOut => r#"{"type":"about:blank","title":"Gateway Timeout","status":504}"#,
        }
    }

    pub(crate) fn answer(self) -> Response<Bytes> {
        let problem = self.problem();
        let mut response = Response::new(Bytes::from_static(problem.as_bytes()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        if self == Self::AskedHere {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
            return response;
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(problem.len()));
        response
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the request is malformed",
            Self::NoRoute => "no upstream is for this host and path",
            Self::Misdirected => "this host is not served",
            Self::BodyTimedOut => "the request body stopped arriving",
            Self::BodyTooLarge => "the request body is too large",
            Self::HeadTooLarge => "the request has too many fields",
            Self::Coding => "the transfer coding is not chunked alone",
            Self::Method => "the method ends here",
            Self::AskedHere => "the gateway itself is asked",
            Self::Upstream => "the upstream failed",
            Self::NoUpstream => "no upstream is available",
            Self::UpstreamTimedOut => "the upstream took too long",
        })
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_status() {
        use Error::{
            BodyTimedOut, BodyTooLarge, Coding, HeadTooLarge, Malformed, Method, Misdirected, NoRoute, NoUpstream,
            Upstream, UpstreamTimedOut,
        };
        for error in [
            Malformed,
            HeadTooLarge,
            Coding,
            BodyTimedOut,
            BodyTooLarge,
            Method,
            Upstream,
            NoUpstream,
            UpstreamTimedOut,
            NoRoute,
            Misdirected,
        ] {
            let problem: serde_json::Value = serde_json::from_str(error.problem()).unwrap();
            assert_eq!(problem["status"], error.status().as_u16());
        }
    }
}
