//! What is kept of a request: all that the policies of a config file can ask for, as a text, and back.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::HOST;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use tollgate_http::LimiterConfig;
use tollgate_http::request::RequestParts;

use super::super::ingest::{Keep, Kept};
use super::super::log::Request;

/// Between the fields of the text: no field keeps a control character.
const SEPARATOR: char = '\u{1f}';

/// Between the lines of one header field.
const LINE_END: char = '\u{1e}';

/// The header fields that are kept.
#[derive(Debug)]
pub(super) struct Asked {
    fields: Vec<HeaderName>,
}

impl Asked {
    /// All that any of `settings` looks at.
    pub(super) fn by<'s>(settings: impl Iterator<Item = &'s LimiterConfig>) -> Self {
        let mut fields: Vec<HeaderName> = settings.flat_map(LimiterConfig::header_fields).collect();
        fields.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        fields.dedup();
        Self { fields }
    }

    /// The request that was kept as `text`.
    pub(super) fn request(&self, text: &str) -> Asking {
        let mut parts = text.split(SEPARATOR);
        let mut next = || parts.next().unwrap_or_default();
        let (client, status) = (next().parse().ok(), next().parse().ok());
        let method = Method::from_bytes(next().as_bytes()).unwrap_or_default();
        let target = uri(next(), &method);
        let mut headers = HeaderMap::new();
        for field in &self.fields {
            for line in next().split(LINE_END).filter(|line| !line.is_empty()) {
                if let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) {
                    headers.append(field, value);
                }
            }
        }
        Asking { client, status, method, target, headers, extensions: Extensions::new() }
    }
}

impl Keep for Asked {
    fn keep(&self, request: &Request<'_>, text: &mut String) -> Kept {
        let client: Option<IpAddr> = request.client.as_deref().and_then(|client| client.parse().ok());
        if let Some(client) = client {
            text.push_str(&client.to_string());
        }
        text.push(SEPARATOR);
        if let Some(status) = request.status() {
            text.push_str(&status.to_string());
        }
        for field in [&request.method, &request.target] {
            text.push(SEPARATOR);
            push(text, field.as_deref().unwrap_or_default());
        }
        for field in &self.fields {
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
        if client.is_some() && request.target.is_some() { Kept::Whole } else { Kept::Partly }
    }
}

fn push(text: &mut String, field: &str) {
    text.extend(field.chars().map(|c| if c.is_control() { ' ' } else { c }));
}

/// A request as the limiter sees it: what was logged, with GET and `/` where the log has no method and no target.
#[derive(Debug)]
pub(super) struct Asking {
    client: Option<IpAddr>,
    /// What the server answered.
    pub(super) status: Option<StatusCode>,
    method: Method,
    target: Uri,
    headers: HeaderMap,
    extensions: Extensions,
}

impl Asking {
    /// The address that was logged is the peer's.
    pub(super) fn info(&self) -> RequestParts<'_> {
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

    fn kept(line: &str) -> (Asking, Kept) {
        let asked = Asked { fields: vec![HOST, HeaderName::from_static("user-agent")] };
        let mut text = String::new();
        let kept = asked.keep(&log::parse(line).unwrap(), &mut text);
        (asked.request(&text), kept)
    }

    #[test]
    fn what_was_logged_comes_back() {
        for line in [
            r#"www.example.org:443 192.0.2.1 - - [17/May/2015:10:05:03 +0000] "POST /a/?b HTTP/1.1" 401 1 "-" "x \"y\"""#,
            r#"{"ts":1,"request":{"client_ip":"192.0.2.1","method":"POST","host":"www.example.org","uri":"/a/?b",
            "headers":{"User-Agent":["x \"y\""]}},"status":401}"#,
        ] {
            let (asking, kept) = kept(line);
            let parts = asking.info();
            let info = tollgate_http::RequestInfo::new(&parts);
            assert_eq!(kept, Kept::Whole);
            assert_eq!(info.client().unwrap().to_string(), "192.0.2.1");
            assert_eq!((info.method(), info.path(), info.query()), ("POST", "/a", Some("b")));
            assert_eq!((info.host(), asking.status), (Some("www.example.org"), Some(StatusCode::UNAUTHORIZED)));
            assert_eq!(info.header(&http::header::USER_AGENT), Some("x \"y\""));
        }
    }

    #[test]
    fn several_lines_of_a_header_stay_apart() {
        let line = r#"{"ts":1,"ip":"192.0.2.1","uri":"/","headers":{"User-Agent":["a","b"]}}"#;
        let (asking, _) = kept(line);
        assert_eq!(asking.headers.get_all("user-agent").iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_is_missing_has_a_stand_in() {
        let (asking, kept) = kept(r#"crawler.example.org - - [17/May/2015:10:05:03 +0000] "-" 408 -"#);
        let parts = asking.info();
        let info = tollgate_http::RequestInfo::new(&parts);
        assert_eq!((kept, info.client(), info.method(), info.path()), (Kept::Partly, None, "GET", "/"));
        assert!(asking.headers.is_empty() && info.host().is_none());
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
