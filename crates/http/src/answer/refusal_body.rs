//! The body of a refusal.

use core::fmt;
use core::str::FromStr;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::status::LimitStatus;
use super::template::Template;
use super::text_buffer::TextBuffer;
use crate::error::UnknownName;

/// The body of a refusal; never longer than [`RefusalBody::MAX`], since a refusal should cost less than serving.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum RefusalBody {
    /// A problem of RFC 9457, of the type `quota-exceeded` of the draft, naming the limit; the default.
    ///
    /// For a request that can never fit the draft has no type, and `quota-exceeded` would invite to wait; so that one is
    /// untyped (`about:blank`) and its detail says what is the matter.
    #[default]
    ProblemJson,
    /// As slowapi has it: `{"error":"Rate limit exceeded: 5 per 1 minute"}`.
    Json,
    /// As fastapi-limiter has it: `{"detail":"Too Many Requests"}`.
    Detail,
    /// One sentence of plain text.
    Text,
    /// A template of the application.
    Custom(Template),
    /// No body.
    Empty,
}

impl RefusalBody {
    /// The longest body, in bytes.
    pub const MAX: usize = super::MAX_BODY;

    /// The names of all but [`RefusalBody::Custom`], in the order of this documentation.
    const NAMES: &'static [&'static str] = &["problem-json", "json", "detail", "text", "empty"];

    /// The name used in configuration.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ProblemJson => "problem-json",
            Self::Json => "json",
            Self::Detail => "detail",
            Self::Text => "text",
            Self::Custom(_) => "custom",
            Self::Empty => "empty",
        }
    }

    pub(super) fn content_type(&self) -> Option<HeaderValue> {
        match self {
            Self::ProblemJson => Some(HeaderValue::from_static("application/problem+json")),
            Self::Json | Self::Detail => Some(HeaderValue::from_static("application/json")),
            Self::Text => Some(HeaderValue::from_static("text/plain; charset=utf-8")),
            Self::Custom(template) => Some(template.content_type().clone()),
            Self::Empty => None,
        }
    }

    /// The body for this client; `retry_after` in seconds, none if the request can never fit.
    pub(super) fn render(&self, status: StatusCode, limit: &LimitStatus<'_>, retry_after: Option<u64>) -> Bytes {
        let mut line = TextBuffer::new();
        match self {
            Self::ProblemJson => push_problem(&mut line, status, limit),
            Self::Json => {
                line.push("{\"error\":\"").push(if limit.never_fits() { NEVER_FITS } else { EXCEEDED }).push(": ");
                limit.push_rule(&mut line);
                line.push("\"}");
            }
            Self::Detail if limit.never_fits() => {
                line.push("{\"detail\":\"").push(NEVER_FITS).push("\"}");
            }
            // Built when the program was: nothing to allocate.
            Self::Detail => return Bytes::from_static(br#"{"detail":"Too Many Requests"}"#),
            Self::Text => {
                push_sentence(&mut line, limit, retry_after);
                line.push("\n");
            }
            Self::Custom(template) => template.push(&mut line, limit, retry_after),
            Self::Empty => return Bytes::new(),
        }
        line.to_bytes()
    }
}

const EXCEEDED: &str = "Rate limit exceeded";
const NEVER_FITS: &str = "Request is larger than the limit and can never be admitted";

fn push_problem(line: &mut TextBuffer, status: StatusCode, limit: &LimitStatus<'_>) {
    if limit.never_fits() {
        // The title of an untyped problem is the phrase of its status.
        line.push("{\"title\":\"").push(status.canonical_reason().unwrap_or("Refused"));
        line.push("\",\"detail\":\"").push(NEVER_FITS);
    } else {
        line.push("{\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\"");
        line.push(",\"title\":\"Request cannot be satisfied as assigned quota has been exceeded");
    }
    line.push("\",\"status\":").push(status.as_str());
    line.push(",\"violated-policies\":[").push_quoted(limit.name).push("]}");
}

/// What happened, in one sentence or two.
pub(super) fn push_sentence(line: &mut TextBuffer, limit: &LimitStatus<'_>, retry_after: Option<u64>) {
    line.push(if limit.never_fits() { NEVER_FITS } else { EXCEEDED }).push(": ");
    limit.push_rule(line);
    line.push(".");
    if let Some(seconds) = retry_after {
        line.push(" Try again in ").push_number(seconds).push(" s.");
    }
}

impl fmt::Display for RefusalBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for RefusalBody {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::ProblemJson, Self::Json, Self::Detail, Self::Text, Self::Empty]
            .into_iter()
            .find(|body| body.name() == name)
            .ok_or_else(|| UnknownName::new("body of a refusal", name, Self::NAMES))
    }
}
