//! A key as people write it: an address, an API key, `header:x-api-key:abc`, `203.0.113.7+/login`.
//!
//! What is written becomes a request that has the parts of the key and nothing else, so that it is read by the code that reads
//! the keys of requests, and no spelling can mean another bucket here than there.

use std::net::IpAddr;

use http::header::HOST;
use http::{HeaderName, Method};

use super::grouping::Grouping;
use super::key::{KeyPart, KeySpec};
use crate::request::{FieldLines, Fields, RequestInfo, RequestView};

/// The most `+` in a text that is read as several parts: each may be the end of a part.
const MOST_PLUS: usize = 8;

/// A request that has the parts of a key and nothing else.
#[derive(Debug, Clone, Default)]
pub(crate) struct WrittenKey {
    peer: Option<IpAddr>,
    method: Option<String>,
    path: Option<String>,
    user: Option<String>,
    fields: Vec<(HeaderName, Vec<u8>)>,
    /// The parts, as a configuration names them: `header:x-api-key`.
    by: String,
    /// Whether the text can hardly be anything else, as an address can not.
    is_typed: bool,
}

impl WrittenKey {
    /// What it was read as: the parts, as a configuration names them.
    pub(crate) fn by(&self) -> &str {
        &self.by
    }

    /// Whether the text can hardly be anything else: an address, a path, or a text that names what it is.
    pub(crate) const fn is_typed(&self) -> bool {
        self.is_typed
    }

    /// With `text` as this part; nothing if it cannot be one.
    fn with(self, part: &KeyPart, text: &str) -> Option<Self> {
        let named = text.strip_prefix(&format!("{part}:"));
        let text = match named {
            Some(text) => text,
            // Of another part.
            None if ["header:", "cookie:", "ip:"].iter().any(|kind| text.starts_with(kind)) => return None,
            None => text,
        };
        let mut written = self.with_value(part, text)?;
        written.is_typed |= named.is_some();
        Some(written)
    }

    /// With this part, of which `text` is the value and nothing else.
    pub(crate) fn with_value(mut self, part: &KeyPart, text: &str) -> Option<Self> {
        let is_typed = match part {
            KeyPart::Client => {
                self.peer = Some(address(text)?);
                true
            }
            KeyPart::Path => {
                let path = text.split(['?', '#']).next().filter(|path| path.starts_with('/'))?;
                self.path = Some(path.to_owned());
                true
            }
            KeyPart::Method => {
                let is_method = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
                self.method = Some(Method::from_bytes(text.as_bytes()).ok().filter(|_| is_method)?.to_string());
                true
            }
            KeyPart::All => (text == "all").then_some(true)?,
            KeyPart::Host => {
                self.fields.push((HOST, field_value(text)?));
                false
            }
            KeyPart::Header(name) => {
                self.fields.push((name.clone(), field_value(text)?));
                false
            }
            KeyPart::Cookie(name) if !text.contains(';') => {
                self.fields.push((http::header::COOKIE, [name.as_bytes(), b"=", &field_value(text)?].concat()));
                false
            }
            KeyPart::Cookie(_) => return None,
            KeyPart::User => {
                self.user = Some(Some(text).filter(|text| !text.is_empty())?.to_owned());
                false
            }
        };
        self.by.push_str(if self.by.is_empty() { "" } else { "+" });
        self.by.push_str(&part.to_string());
        self.is_typed |= is_typed;
        Some(self)
    }

    /// Each way in which `text` is these parts, with `+` between them.
    fn of(self, parts: &[KeyPart], text: &str, found: &mut Vec<Self>) {
        let Some((first, rest)) = parts.split_first() else { return };
        if rest.is_empty() {
            found.extend(self.with(first, text));
            return;
        }
        for (at, _) in text.match_indices('+') {
            let (here, there) = text.split_at(at);
            if let (Some(with), Some(there)) = (self.clone().with(first, here), there.get(1..)) {
                with.of(rest, there, found);
            }
        }
    }
}

impl KeySpec {
    /// Each key of this kind that `text` may mean.
    pub(crate) fn written(&self, text: &str) -> Vec<WrittenKey> {
        let mut found = Vec::new();
        if text.matches('+').count() > MOST_PLUS && self.alternatives().any(|parts| parts.len() > 1) {
            return found;
        }
        for (index, parts) in self.alternatives().enumerate() {
            let mut here = Vec::new();
            WrittenKey::default().of(parts, text, &mut here);
            // One of an alternative that no request reaches is nobody's key.
            let is_reached = |written: &WrittenKey| {
                let info = RequestInfo::new(written);
                self.find(&info, Grouping::default()).is_some_and(|key| key.index() == index)
            };
            found.extend(here.into_iter().filter(is_reached));
        }
        found
    }
}

/// An address; of a network, as lists show it, its first.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    text.parse().ok()
}

/// What can stand in a header field.
fn field_value(text: &str) -> Option<Vec<u8>> {
    let is_value = !text.is_empty() && http::HeaderValue::from_bytes(text.as_bytes()).is_ok();
    // As a server reads it, without blanks around it.
    is_value.then(|| text.trim_matches([' ', '\t']).as_bytes().to_vec())
}

impl Fields for WrittenKey {
    fn field<'f>(&'f self, name: &HeaderName, lines: &mut FieldLines<'f>) {
        self.fields.iter().filter(|(field, _)| field == name).for_each(|(_, value)| lines.push(value));
    }
}

impl RequestView for WrittenKey {
    fn method(&self) -> &str {
        self.method.as_deref().unwrap_or("GET")
    }

    fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("/")
    }

    fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: &str, text: &str) -> Vec<String> {
        let spec: KeySpec = spec.parse().unwrap();
        let keys = spec.written(text);
        let texts = |key: &WrittenKey| {
            let info = RequestInfo::new(key);
            format!("{} = {}", key.by(), spec.find(&info, Grouping::default()).unwrap().texts().join(" "))
        };
        keys.iter().map(texts).collect()
    }

    #[test]
    fn keys_are_read_as_people_write_them() {
        for (spec, text, expected) in [
            ("ip", "203.0.113.7", &["ip = 203.0.113.7"][..]),
            ("ip", "ip:2001:db8::7", &["ip = 2001:db8::/64"]),
            ("ip", "[2001:db8::7]", &["ip = 2001:db8::/64"]),
            ("ip", "::ffff:203.0.113.7", &["ip = 203.0.113.7"]),
            ("ip", "203.0.113.0/24", &[]),
            ("ip", "abc", &[]),
            ("header:x-api-key | ip", "abc", &["header:x-api-key = header:x-api-key:abc"]),
            ("header:x-api-key | ip", "header:x-api-key:192.0.2.1", &["header:x-api-key = header:x-api-key:192.0.2.1"]),
            ("header:x-api-key", "header:x-other:abc", &[]),
            ("header:x | cookie:sid", "7", &["header:x = header:x:7", "cookie:sid = cookie:sid:7"]),
            ("header:x | cookie:sid", "cookie:sid:%37", &["cookie:sid = cookie:sid:7"]),
            ("header:authorization", "bearer  t", &["header:authorization = header:authorization:bearer t"]),
            ("ip+path", "192.0.2.1+/a//b/", &["ip+path = 192.0.2.1 /a/b"]),
            ("header:x+path", "a+b+/c", &["header:x+path = header:x:a+b /c"]),
            ("method", "HEAD", &["method = GET"]),
            ("all", "all", &["all = all"]),
            ("all", "some", &[]),
            ("ip | header:x", "a", &["header:x = header:x:a"]),
            ("path | header:x", "a", &[]),
            ("host", "A.example:80", &["host = a.example"]),
            ("user", "7", &["user = user:7"]),
            ("header:x", "a\nb", &[]),
        ] {
            assert_eq!(read(spec, text), expected, "{text} of {spec}");
        }
    }

    #[test]
    fn many_parts_take_no_time() {
        assert!(read("path+header:x+header:y", &format!("/a{}", "+".repeat(4_000))).is_empty());
    }
}
