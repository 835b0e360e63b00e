//! One line of the access log: what is noted of a request from its head to the end of its answer.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::header::{HOST, HeaderName, HeaderValue, REFERER, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, Version};
use jiff::Timestamp;
use tokio::time::Instant;
use tollgate_http::service::ToldStanding;

use crate::proxy::log::writer::AccessLog;
use crate::proxy::settings::LogFormat;
use crate::proxy::upstream::upstream::Upstream;

/// Bytes of a target and of any other text of a client's that are written down, so that lines have a bound.
const TARGET: usize = 4 << 10;
const TEXT: usize = 512;

static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Found in the extensions of responses that did not come from the limiter.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    /// Who answered; nobody if the gateway did.
    pub(crate) upstream: Option<Arc<Upstream>>,
    /// From when the request was passed on until the head of the answer was there.
    pub(crate) took: Duration,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// An upstream answered it.
    Passed,
    /// A policy refused it.
    Refused,
    /// It passed the policies and got an answer of the gateway's own.
    Failed,
    /// Its client went away before an answer.
    Gone,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }
}

/// A request that is being answered. Its line is written when it is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    log: AccessLog,
    at: Timestamp,
    began: Instant,
    peer: Option<IpAddr>,
    method: Method,
    target: String,
    version: Version,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    forwarded_for: Option<HeaderValue>,
    id: HeaderValue,
    status: u16,
    bytes: u64,
    served: Option<Served>,
    policy: Option<String>,
    remaining: Option<u64>,
    verdict: Verdict,
}

impl Entry {
    /// Notes `request`, which gets an `X-Request-Id` if it has none.
    pub(crate) fn new<B>(log: AccessLog, peer: Option<IpAddr>, request: &mut Request<B>) -> Self {
        let headers = request.headers();
        let id = headers.get(&X_REQUEST_ID).filter(|id| !id.is_empty() && id.len() <= 128).cloned();
        let of = |name: &HeaderName| headers.get(name).cloned();
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let entry = Self {
            log,
            at: Timestamp::now(),
            began: Instant::now(),
            peer: peer.map(|peer| peer.to_canonical()),
            method: request.method().clone(),
            target: cut(target, TARGET).to_owned(),
            version: request.version(),
            host: request
                .uri()
                .authority()
                .and_then(|host| HeaderValue::from_str(host.as_str()).ok())
                .or_else(|| of(&HOST)),
            referer: of(&REFERER),
            user_agent: of(&USER_AGENT),
            forwarded_for: all_of(headers, &X_FORWARDED_FOR),
            id: id.unwrap_or_else(new_id),
            status: 0,
            bytes: 0,
            served: None,
            policy: None,
            remaining: None,
            verdict: Verdict::Gone,
        };
        request.headers_mut().insert(&X_REQUEST_ID, entry.id.clone());
        entry
    }

    /// Notes how it is answered.
    pub(crate) fn answered<B>(&mut self, response: &mut Response<B>) {
        self.status = response.status().as_u16();
        self.served = response.extensions_mut().remove();
        self.verdict = match &self.served {
            Some(Served { upstream: Some(_), .. }) => Verdict::Passed,
            Some(_) => Verdict::Failed,
            None => Verdict::Refused,
        };
        if let Some(told) = response.extensions_mut().remove::<ToldStanding>() {
            (self.policy, self.remaining) = (Some(told.limit), told.remaining);
        }
    }

    /// So much of the answer's body has gone.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// nginx's `main` format, and what else there is behind it, as `name=value`.
    fn combined(&self) -> String {
        let mut line = String::with_capacity(256 + self.target.len());
        // Writing to memory cannot fail.
        let _ = match self.peer {
            Some(peer) => write!(line, "{peer}"),
            None => line.write_char('-'),
        };
        let _ = write!(
            line,
            " - - [{}] \"{} {} {}\" {} {} \"{}\" \"{}\" \"{}\" rt={:.3} ",
            self.at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            self.method,
            quoted(self.target.as_bytes(), TARGET),
            version(self.version),
            // As nginx has it for a client that has gone.
            if self.status == 0 { 499 } else { self.status },
            self.bytes,
            field(self.referer.as_ref()),
            field(self.user_agent.as_ref()),
            field(self.forwarded_for.as_ref()),
            self.began.elapsed().as_secs_f64(),
        );
        match &self.served {
            Some(Served { upstream: Some(upstream), took }) => {
                let _ = write!(line, "upstream={} ut={:.3} ", upstream.origin, took.as_secs_f64());
            }
            _ => line.push_str("upstream=- ut=- "),
        }
        let _ = write!(line, "verdict={} policy=", self.verdict.name());
        match &self.policy {
            Some(policy) => {
                let _ = write!(line, "\"{}\"", quoted(policy.as_bytes(), TEXT));
            }
            None => line.push('-'),
        }
        match self.remaining {
            Some(remaining) => {
                let _ = write!(line, " remaining={remaining}");
            }
            None => line.push_str(" remaining=-"),
        }
        let _ = writeln!(line, " id={}", quoted(self.id.as_bytes(), TEXT).replace(' ', "\\x20"));
        line
    }

    /// An object; what there is not is left out.
    fn json(&self) -> String {
        let text = |value: &Option<HeaderValue>| {
            value.as_ref().map(|value| cut(&String::from_utf8_lossy(value.as_bytes()), TEXT).to_owned())
        };
        let upstream =
            self.served.as_ref().and_then(|served| served.upstream.as_ref().map(|upstream| (upstream, served)));
        let line = Line {
            time: format!("{:.3}", self.at),
            remote_addr: self.peer,
            x_forwarded_for: text(&self.forwarded_for),
            method: self.method.as_str(),
            request_uri: &self.target,
            protocol: version(self.version),
            host: text(&self.host),
            status: if self.status == 0 { 499 } else { self.status },
            bytes: self.bytes,
            duration: self.began.elapsed().as_secs_f64(),
            referer: text(&self.referer),
            user_agent: text(&self.user_agent),
            upstream: upstream.map(|(upstream, _)| upstream.origin.to_string()),
            upstream_duration: upstream.map(|(_, served)| served.took.as_secs_f64()),
            verdict: self.verdict.name(),
            policy: self.policy.as_deref(),
            remaining: self.remaining,
            request_id: text(&Some(self.id.clone())),
        };
        // Texts and numbers can always be written.
        let mut line = serde_json::to_string(&line).unwrap_or_default();
        line.push('\n');
        line
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let line = match self.log.format() {
            LogFormat::Combined => self.combined(),
            LogFormat::Json => self.json(),
        };
        self.log.write(line);
    }
}

#[derive(serde::Serialize)]
struct Line<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_addr: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x_forwarded_for: Option<String>,
    method: &'a str,
    request_uri: &'a str,
    protocol: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    status: u16,
    bytes: u64,
    /// Seconds, as are those of the upstream.
    duration: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_duration: Option<f64>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<u64>,
    request_id: Option<String>,
}

/// All lines of a list as one.
fn all_of(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    let mut list = first.as_bytes().to_vec();
    for line in lines {
        list.extend_from_slice(b", ");
        list.extend_from_slice(line.as_bytes());
    }
    HeaderValue::from_bytes(&list).ok()
}

/// Another one for each request of this process: its start, and a number.
fn new_id() -> HeaderValue {
    static START: std::sync::LazyLock<u64> = std::sync::LazyLock::new(|| {
        use std::hash::BuildHasher;
        // Keyed by the system at random.
        std::hash::RandomState::new().hash_one(std::process::id())
    });
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Relaxed);
    HeaderValue::from_str(&format!("{:016x}{number:016x}", *START)).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// A field between its quotes.
fn field(value: Option<&HeaderValue>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| quoted(value.as_bytes(), TEXT))
}

/// The beginning of `bytes`, with all that could end a quoted text or a line spelled out, as nginx does.
fn quoted(bytes: &[u8], most: usize) -> String {
    let mut text = String::with_capacity(bytes.len().min(most));
    for &byte in bytes.iter().take(most) {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                let _ = write!(text, "\\x{byte:02X}");
            }
            byte => text.push(char::from(byte)),
        }
    }
    text
}

/// As much of the beginning of `text` as has at most so many bytes.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    end.and_then(|end| text.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_client_can_end_its_place() {
        assert_eq!(quoted(b"a\"b\\c\n\xff", 100), "a\\x22b\\x5Cc\\x0A\\xFF");
        assert_eq!(quoted(b"abcdef", 3), "abc");
        assert_eq!(cut("aé", 2), "a");
        assert_ne!(new_id(), new_id());
    }
}
