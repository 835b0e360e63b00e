//! What a client is told: the response to a refused request, and the fields on the others.

mod dialect;
mod error;
pub(crate) mod field_texts;
mod refusal_body;
mod retry_after;
mod status;
mod template;
mod text_buffer;
mod wire_name;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

pub use dialect::{Dialect, ResetForm, ResponseFields};
pub use error::AnswerError;
pub use refusal_body::RefusalBody;
pub use retry_after::{RetryAfter, RetryForm};
pub(crate) use status::ceil_secs;
pub use status::{LimitStatus, QuotaUnit};
pub use template::Template;

use text_buffer::TextBuffer;

/// The longest body of a refusal, in bytes.
const MAX_BODY: usize = 299;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// RESOURCE_EXHAUSTED, which gRPC has for quotas.
const RESOURCE_EXHAUSTED: HeaderValue = HeaderValue::from_static("8");

/// UNAVAILABLE, after which gRPC's clients may try again.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

/// Room for every header a refusal has, so that the map is allocated once.
const REFUSAL_HEADERS: usize = 8;

/// What a client is told, and how.
///
/// ```
/// use tollgate_http::Answer;
/// use tollgate_http::answer::RefusalBody;
///
/// let answer = Answer::new().with_status(503)?.with_body(RefusalBody::Json).with_dialect("x-ratelimit".parse()?);
/// assert_eq!(answer.dialect().to_string(), "x-ratelimit");
/// assert_eq!(
///     Answer::new().with_status(200).unwrap_err().to_string(),
///     "a refusal has a status of 400 to 599, and 200 was given"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Answer {
    status: StatusCode,
    body: RefusalBody,
    dialect: Dialect,
    retry_after: RetryAfter,
    on_success: bool,
    respond: Option<Respond>,
}

/// What a function that answers refusals is told; see [`Answer::with_response`].
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RefusalContext<'a> {
    /// The name of the policy that refuses.
    pub policy: &'a str,
    /// The state of the limit that refuses; `None` if no limit does, as for a missing key in a tier without limits.
    pub limit: Option<LimitStatus<'a>>,
    /// Whether the request is gRPC, whose clients look for `grpc-status` and not for the status of HTTP.
    pub is_grpc: bool,
}

/// A function of the application that answers refusals.
#[derive(Clone)]
struct Respond(Arc<RespondFunction>);

type RespondFunction = dyn Fn(&RefusalContext<'_>, Response<Bytes>) -> Response<Bytes> + Send + Sync;

impl fmt::Debug for Respond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function")
    }
}

impl Answer {
    /// Status 429, a problem+json body, `Retry-After` in seconds, and the fields of the current draft on every response.
    #[must_use]
    pub fn new() -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            body: RefusalBody::default(),
            dialect: Dialect::default(),
            retry_after: RetryAfter::default(),
            on_success: true,
            respond: None,
        }
    }

    /// Refuses with this status.
    ///
    /// # Errors
    ///
    /// If it is not one of an error, 400 to 599.
    pub fn with_status(mut self, status: u16) -> Result<Self, AnswerError> {
        self.status = StatusCode::from_u16(status)
            .ok()
            .filter(|status| status.is_client_error() || status.is_server_error())
            .ok_or(AnswerError::Status { given: status })?;
        Ok(self)
    }

    /// Refuses with this body.
    #[must_use]
    pub fn with_body(mut self, body: RefusalBody) -> Self {
        self.body = body;
        self
    }

    /// Writes the rate-limit fields in this dialect.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Says in this way when to try again.
    #[must_use]
    pub fn with_retry_after(mut self, retry_after: RetryAfter) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Whether responses to admitted requests carry the rate-limit fields as well; by default they do.
    #[must_use]
    pub fn with_headers_on_success(mut self, on_success: bool) -> Self {
        self.on_success = on_success;
        self
    }

    /// Answers refusals by a function: it is given the response that the other settings make, with all its header fields, and
    /// returns the one that is sent.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::HeaderValue;
    /// use http::header::CONTENT_TYPE;
    /// use tollgate_http::Answer;
    ///
    /// let answer = Answer::new().with_response(|refusal, mut response| {
    ///     *response.body_mut() = Bytes::from(format!("{{\"refused_by\":{:?}}}", refusal.policy));
    ///     response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    ///     response
    /// });
    /// ```
    ///
    /// It is called with every refusal, so it should cost little.
    #[must_use]
    pub fn with_response(
        mut self,
        respond: impl Fn(&RefusalContext<'_>, Response<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.respond = Some(Respond(Arc::new(respond)));
        self
    }

    /// The status of a refusal.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The dialect, which also makes the `policies` that the other functions want.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The response to a request that `limit` refuses; `policies` as [`Dialect::policies`] makes them.
    ///
    /// A request that can never fit is told so, and has no `Retry-After`. Every refusal says `no-store`: the next client
    /// behind a shared cache has another quota. If `is_grpc`, a response of trailers only: gRPC keeps its own status,
    /// and clients do not look at that of HTTP.
    #[must_use]
    pub fn refuse(&self, limit: &LimitStatus<'_>, policies: &HeaderValue, is_grpc: bool) -> Response<Bytes> {
        let retry = self.retry_after.answer(limit);
        let seconds = retry.as_ref().map(|retry| retry.seconds);
        let mut headers = HeaderMap::with_capacity(REFUSAL_HEADERS);
        if let Some(retry) = retry {
            headers.insert(RETRY_AFTER, retry.value);
        }
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.dialect.write(&mut headers, limit, policies);

        let (status, body) = if is_grpc {
            let mut message = TextBuffer::new();
            refusal_body::push_sentence(&mut message, limit, seconds);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(GRPC_STATUS, RESOURCE_EXHAUSTED);
            headers.insert(GRPC_MESSAGE, message.to_header());
            (StatusCode::OK, Bytes::new())
        } else {
            if let Some(content_type) = self.body.content_type() {
                headers.insert(CONTENT_TYPE, content_type);
            }
            (self.status, self.body.render(self.status, limit, seconds))
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        self.responded(RefusalContext { policy: limit.policy, limit: Some(*limit), is_grpc }, response)
    }

    /// The response to a request that `policy` refuses without a limit: there are no figures to show.
    pub(crate) fn refuse_without_limit(&self, policy: &str, is_grpc: bool) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if is_grpc {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            response.headers_mut().insert(GRPC_STATUS, RESOURCE_EXHAUSTED);
        } else {
            *response.status_mut() = self.status;
        }
        self.responded(RefusalContext { policy, limit: None, is_grpc }, response)
    }

    /// The response to a request about which no server decided, under a policy that is closed then: 503, and for gRPC `UNAVAILABLE`.
    /// There are no figures to show; `retry_after` is when a server may be there again.
    pub(crate) fn unavailable(&self, policy: &str, retry_after: Option<Duration>, is_grpc: bool) -> Response<Bytes> {
        const STATUS: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        let seconds = ceil_secs(retry_after.unwrap_or(Duration::from_secs(1))).max(1);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if is_grpc {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(GRPC_STATUS, UNAVAILABLE);
            headers.insert(GRPC_MESSAGE, HeaderValue::from_static("Rate limits cannot be checked now"));
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
            *response.body_mut() = Bytes::from_static(
                br#"{"title":"Service Unavailable","detail":"Rate limits cannot be checked now","status":503}"#,
            );
            *response.status_mut() = STATUS;
        }
        self.responded(RefusalContext { policy, limit: None, is_grpc }, response)
    }

    fn responded(&self, context: RefusalContext<'_>, response: Response<Bytes>) -> Response<Bytes> {
        match &self.respond {
            Some(respond) => (respond.0)(&context, response),
            None => response,
        }
    }

    /// Whether responses to admitted requests have rate-limit fields.
    pub(crate) fn informs(&self) -> bool {
        self.on_success && self.dialect != Dialect::None
    }

    /// Writes the rate-limit fields for an admitted client, unless that is switched off.
    pub fn inform(&self, headers: &mut HeaderMap, limit: &LimitStatus<'_>, policies: &HeaderValue) {
        if self.on_success {
            self.dialect.write(headers, limit, policies);
        }
    }
}

impl Default for Answer {
    fn default() -> Self {
        Self::new()
    }
}
