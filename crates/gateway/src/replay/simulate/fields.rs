//! What is kept of a request: all that the rules look at, as a text, and back.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::HOST;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use tollgate_http::LimiterConfig;
use tollgate_http::limiter::LooksAt;
use tollgate_http::request::RequestParts;

use super::super::ingest::Keep;
use super::super::log::Request;
use super::super::record::Texts;

/// Between the fields of the text: no field keeps a control character.
const SEPARATOR: char = '\u{1f}';

/// Between the lines of one header field.
const LINE_END: char = '\u{1e}';

/// Which fields are kept besides the client's address, in this order.
#[derive(Debug)]
pub(crate) struct RequestFields {
    pub(crate) status: bool,
    method: bool,
    target: bool,
    headers: Vec<HeaderName>,
}

impl RequestFields {
    /// All that any of `settings` looks at.
    pub(crate) fn of<'s>(settings: impl Iterator<Item = &'s LimiterConfig>) -> Self {
        let mut fields = Self { status: false, method: false, target: false, headers: Vec::new() };
        for LooksAt { status, method, target, header_fields, .. } in settings.map(LimiterConfig::looks_at) {
            fields.status |= status;
            fields.method |= method;
            fields.target |= target;
            fields.headers.extend(header_fields);
        }
        fields.headers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        fields.headers.dedup();
        fields
    }

    /// The request that was kept as `text`.
    pub(crate) fn request(&self, text: &str) -> LoggedRequest {
        let mut parts = text.split(SEPARATOR);
        let client = parts.next().and_then(|client| client.parse().ok());
        let mut next = |is_kept: bool| is_kept.then(|| parts.next().unwrap_or_default());
        let status = next(self.status).and_then(|status| status.parse().ok());
        let method =
            next(self.method).and_then(|method| Method::from_bytes(method.as_bytes()).ok()).unwrap_or_default();
        let target = next(self.target).map(|target| uri(target, &method)).unwrap_or_default();
        let mut headers = HeaderMap::new();
        for field in &self.headers {
            for line in next(true).unwrap_or_default().split(LINE_END).filter(|line| !line.is_empty()) {
                if let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) {
                    headers.append(field, value);
                }
            }
        }
        LoggedRequest { client, status, method, target, headers, extensions: Extensions::new() }
    }

    /// The statuses that were kept in `texts`.
    pub(crate) fn statuses(&self, texts: &Texts) -> Vec<Option<StatusCode>> {
        texts.iter().map(|(_, text)| self.request(text).status).collect()
    }
}

impl Keep for RequestFields {
    fn keep(&self, request: &Request<'_>, text: &mut String) {
        let client = request.client.as_deref().filter(|_| request.is_address);
        text.push_str(client.unwrap_or_default());
        if self.status {
            text.push(SEPARATOR);
            if let Some(status) = request.status() {
                text.push_str(&status.to_string());
            }
        }
        for (is_kept, field) in [(self.method, &request.method), (self.target, &request.target)] {
            if is_kept {
                text.push(SEPARATOR);
                push(text, field.as_deref().unwrap_or_default());
            }
        }
        for field in &self.headers {
            let mut lines = request.header_lines(field.as_str());
            if *field == HOST {
                // Some loggers call the client so.
                lines.retain(|host| request.client.as_deref() != Some(host));
                if lines.is_empty() {
                    lines.extend(request.host());
                }
            }
            text.push(SEPARATOR);
            for (i, line) in lines.iter().enumerate() {
                if i > 0 {
                    text.push(LINE_END);
                }
                push(text, line);
            }
        }
    }
}

fn push(text: &mut String, field: &str) {
    if !field.bytes().any(|byte| byte.is_ascii_control() || !byte.is_ascii()) {
        text.push_str(field);
        return;
    }
    text.extend(field.chars().map(|c| if c.is_control() { ' ' } else { c }));
}

/// A request as the limiter sees it: what was logged, with GET and `/` where the log has no method and no target.
#[derive(Debug)]
pub(crate) struct LoggedRequest {
    client: Option<IpAddr>,
    /// What the server answered.
    status: Option<StatusCode>,
    method: Method,
    target: Uri,
    headers: HeaderMap,
    extensions: Extensions,
}

impl LoggedRequest {
    /// The address that was logged is the peer's.
    pub(crate) fn info(&self) -> RequestParts<'_> {
        RequestParts::new(&self.method, &self.target, &self.headers, &self.extensions, self.client)
    }
}

/// The target that was logged. Servers log what came, even what no server would serve: bytes that cannot stand in a
/// target are percent-encoded.
fn uri(target: &str, method: &Method) -> Uri {
    let is_local = target.starts_with('/') || target == "*" || target.contains("://") || *method == Method::CONNECT;
    let target = if is_local { Cow::Borrowed(target) } else { Cow::Owned(format!("/{target}")) };
    target.parse().or_else(|_| encoded(&target).parse()).unwrap_or_default()
}

fn encoded(target: &str) -> String {
    let mut encoded = String::with_capacity(target.len() + 8);
    for c in target.chars() {
        if c.is_ascii_graphic() && !"\"<>\\^`{|}#".contains(c) {
            encoded.push(c);
        } else {
            c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| encoded.push_str(&format!("%{byte:02X}")));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::super::super::log;
    use super::*;

    fn parse<R>(line: &str, then: impl FnOnce(&Request<'_>) -> R) -> R {
        let rules = log::Rules::default();
        match log::Parser::new(&rules).parse(line.as_bytes()).unwrap() {
            log::Parsed::Request(_, request) => then(&request),
            log::Parsed::Comment | log::Parsed::Piece => panic!("no request"),
        }
    }

    fn kept(line: &str) -> (LoggedRequest, bool) {
        let headers = vec![HOST, HeaderName::from_static("user-agent")];
        let fields = RequestFields { status: true, method: true, target: true, headers };
        let mut text = String::new();
        let is_complete = parse(line, |request| {
            fields.keep(request, &mut text);
            request.is_address && request.target.is_some()
        });
        (fields.request(&text), is_complete)
    }

    #[test]
    fn what_was_logged_comes_back() {
        for line in [
            r#"www.example.org:443 192.0.2.1 - - [17/May/2015:10:05:03 +0000] "POST /a/?b HTTP/1.1" 401 1 "-" "x \"y\"""#,
            r#"{"ts":1,"request":{"client_ip":"192.0.2.1","method":"POST","host":"www.example.org","uri":"/a/?b",
            "headers":{"User-Agent":["x \"y\""]}},"status":401}"#,
        ] {
            let (logged, kept) = kept(line);
            let parts = logged.info();
            let info = tollgate_http::RequestInfo::new(&parts);
            assert!(kept);
            assert_eq!(info.client().unwrap().to_string(), "192.0.2.1");
            assert_eq!((info.method(), info.path(), info.query()), ("POST", "/a", Some("b")));
            assert_eq!((info.host(), logged.status), (Some("www.example.org"), Some(StatusCode::UNAUTHORIZED)));
            assert_eq!(info.header(&http::header::USER_AGENT), Some("x \"y\""));
        }
    }

    #[test]
    fn what_nobody_looks_at_is_not_kept() {
        let line = r#"192.0.2.1 - - [17/May/2015:10:05:03 +0000] "POST /a HTTP/1.1" 401 1 "-" "x""#;
        for (status, method, target, headers, expected) in [
            (false, false, false, vec![], "192.0.2.1"),
            (true, false, false, vec![], "192.0.2.1\u{1f}401"),
            (false, false, true, vec![], "192.0.2.1\u{1f}/a"),
            (
                true,
                true,
                true,
                vec![HeaderName::from_static("user-agent")],
                "192.0.2.1\u{1f}401\u{1f}POST\u{1f}/a\u{1f}x",
            ),
        ] {
            let fields = RequestFields { status, method, target, headers };
            let mut text = String::new();
            parse(line, |request| fields.keep(request, &mut text));
            assert_eq!(text, expected);
            let logged = fields.request(&text);
            assert_eq!(logged.status.is_some(), status);
            assert_eq!(logged.method == Method::POST, method);
            assert_eq!(logged.target.path() == "/a", target);
        }
    }

    #[test]
    fn several_lines_of_a_header_stay_apart() {
        let line = r#"{"ts":1,"ip":"192.0.2.1","uri":"/","headers":{"User-Agent":["a","b"]}}"#;
        let (logged, _) = kept(line);
        assert_eq!(logged.headers.get_all("user-agent").iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_is_missing_has_a_stand_in() {
        let (logged, kept) = kept(r#"crawler.example.org - - [17/May/2015:10:05:03 +0000] "-" 408 -"#);
        let parts = logged.info();
        let info = tollgate_http::RequestInfo::new(&parts);
        assert_eq!((kept, info.client(), info.method(), info.path()), (false, None, "GET", "/"));
        assert!(logged.headers.is_empty() && info.host().is_none());
    }

    #[test]
    fn any_target_is_one() {
        for (target, path) in [
            ("/a b", "/a%20b"),
            ("/<x>\u{7}`", "/%3Cx%3E%20%60"),
            ("/é", "/é"),
            ("login", "/login"),
            ("*", "*"),
            ("http://h/x?y", "/x"),
            ("", "/"),
            ("/x?next=http://h/", "/x"),
        ] {
            let line = serde_json::json!({"ts": 1, "ip": "192.0.2.1", "uri": target}).to_string();
            assert_eq!(kept(&line).0.target.path(), path, "{target}");
        }
        let long = format!("/{}", "a".repeat(100_000));
        assert_eq!(uri(&long, &Method::GET).path(), "/");
    }
}
