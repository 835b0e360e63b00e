//! Who shares a bucket: the parts of a request that make its key.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::{HeaderName, Method};
use smallvec::SmallVec;
use tollgate::Key;
use tollgate::key::KeyWriter;

use crate::address::Grouping;
use crate::error::PolicyError;
use crate::path::hex;
use crate::peer::User;
use crate::request::RequestInfo;

/// One part of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// `ip`: the client's address, IPv6 by prefix.
    Client,
    /// `path`: without the query, in its one spelling.
    Path,
    /// `method`; HEAD counts as GET.
    Method,
    /// `host`: without the port, in small letters. All who name several share a key.
    Host,
    /// `header:NAME`: the value of a header field. All who send several share a key.
    Header(HeaderName),
    /// `cookie:NAME`: its value. All who send several share a key.
    Cookie(String),
    /// `user`: whom the application has authenticated, see [`User`].
    User,
    /// `all`: the same for every request.
    All,
}

impl Part {
    /// Writes this part of `request` as one key: of another kind where several things are said than where one is.
    fn write_to<W: KeyWriter>(&self, request: &RequestInfo<'_>, grouping: Grouping, out: &mut W) {
        match self {
            Self::Client => request.client().map(|client| grouping.group(client)).write_to(out),
            Self::Path => request.path().write_to(out),
            Self::Method if *request.method() == Method::HEAD => Method::GET.as_str().write_to(out),
            Self::Method => request.method().as_str().write_to(out),
            Self::Host => match only(request.hosts(), |a, b| a.eq_ignore_ascii_case(b)) {
                Said::One(host) => {
                    host.bytes().map(|byte| byte.to_ascii_lowercase()).collect::<Short>().as_slice().write_to(out);
                }
                Said::Nothing | Said::Several => ().write_to(out),
            },
            // Several fields are one list here, as HTTP/2 has it (RFC 9113, 8.2.3).
            Self::Header(name) if *name == COOKIE => match cookie_list(request) {
                Some(list) => list.as_slice().write_to(out),
                None => ().write_to(out),
            },
            Self::Header(name) => match only(request.headers().get_all(name).iter(), |_, _| false) {
                Said::One(value) => write_field(name, value.as_bytes(), out),
                Said::Nothing | Said::Several => ().write_to(out),
            },
            Self::Cookie(name) => match only(cookies(request, name), |a, b| a == b) {
                // Not with an escape that only some servers know.
                Said::One(value) if !value.contains(&b'\\') => {
                    percent_decoded(value).collect::<Short>().as_slice().write_to(out);
                }
                Said::Nothing | Said::One(_) | Said::Several => ().write_to(out),
            },
            Self::User => request.extensions().get::<User>().map(|user| &user.0).write_to(out),
            Self::All => ().write_to(out),
        }
    }

    /// This part of `request` in full, those that may be mistaken for another with their name in front. Two requests
    /// have the same text where [`write_to`](Self::write_to) writes the same.
    fn text(&self, request: &RequestInfo<'_>, grouping: Grouping) -> Option<String> {
        let named = |value: Vec<u8>| format!("{self}:{}", String::from_utf8_lossy(&value));
        let several = || format!("{self}: several");
        match self {
            Self::Client => request.client().map(|client| grouping.group(client).to_string()),
            Self::Path => Some(request.path().to_owned()),
            Self::Method if *request.method() == Method::HEAD => Some(Method::GET.to_string()),
            Self::Method => Some(request.method().to_string()),
            Self::Host => match only(request.hosts(), |a, b| a.eq_ignore_ascii_case(b)) {
                Said::Nothing => None,
                Said::One(host) => Some(host.to_ascii_lowercase()),
                Said::Several => Some(several()),
            },
            Self::Header(name) if *name == COOKIE => cookie_list(request).map(|list| named(list.to_vec())),
            Self::Header(name) => match only(request.headers().get_all(name).iter(), |_, _| false) {
                Said::Nothing => None,
                Said::One(value) => Some(named(match credentials(name, value.as_bytes()) {
                    Some((scheme, secret)) => [&scheme, &b" "[..], secret].concat(),
                    None => value.as_bytes().to_vec(),
                })),
                Said::Several => Some(several()),
            },
            Self::Cookie(name) => match only(cookies(request, name), |a, b| a == b) {
                Said::Nothing => None,
                Said::One(value) if value.contains(&b'\\') => Some(several()),
                Said::One(value) => Some(named(percent_decoded(value).collect())),
                Said::Several => Some(several()),
            },
            Self::User => self.secret(request).map(|user| named(user.to_vec())),
            Self::All => Some(self.to_string()),
        }
    }

    /// The first value of a part that may be a secret.
    pub(crate) fn secret<'r>(&self, request: &RequestInfo<'r>) -> Option<&'r [u8]> {
        match self {
            Self::Header(name) => request.headers().get(name).map(|value| value.as_bytes()),
            Self::Cookie(name) => cookies(request, name).next(),
            Self::User => request.extensions().get::<User>().map(|user| user.0.as_bytes()),
            Self::Client | Self::Path | Self::Method | Self::Host | Self::All => None,
        }
    }

    fn is_in(&self, request: &RequestInfo<'_>) -> bool {
        match self {
            Self::Client => request.client().is_some(),
            Self::Host => request.host().is_some(),
            Self::Header(name) => request.headers().contains_key(name),
            Self::Cookie(name) => cookies(request, name).next().is_some(),
            Self::User => request.extensions().get::<User>().is_some(),
            Self::Path | Self::Method | Self::All => true,
        }
    }
}

/// What a request says in a place where one thing should be said.
///
/// Servers do not agree on which of several things they believe. If each mixture were a key of its own, then a client
/// could say its own key, beside something new each time; so all who say several things share one bucket.
enum Said<T> {
    Nothing,
    One(T),
    Several,
}

fn only<T>(mut said: impl Iterator<Item = T>, is_same: impl Fn(&T, &T) -> bool) -> Said<T> {
    match said.next() {
        None => Said::Nothing,
        Some(first) if said.all(|other| is_same(&first, &other)) => Said::One(first),
        Some(_) => Said::Several,
    }
}

/// A field's value; of credentials, in one spelling of the scheme and of the blanks after it.
fn write_field<W: KeyWriter>(name: &HeaderName, value: &[u8], out: &mut W) {
    match credentials(name, value) {
        Some((scheme, secret)) => (scheme.as_slice(), secret).write_to(out),
        None => value.write_to(out),
    }
}

/// The scheme, in small letters, and what stands behind it.
fn credentials<'v>(name: &HeaderName, value: &'v [u8]) -> Option<(Short, &'v [u8])> {
    if *name != AUTHORIZATION && *name != PROXY_AUTHORIZATION {
        return None;
    }
    let blank = value.iter().position(|byte| matches!(byte, b' ' | b'\t'))?;
    let (scheme, rest) = value.split_at_checked(blank)?;
    Some((scheme.iter().map(u8::to_ascii_lowercase).collect(), rest.trim_ascii()))
}

/// Bytes that have been respelled.
type Short = SmallVec<[u8; 64]>;

/// All cookies as one field, in the order in which they came.
fn cookie_list(request: &RequestInfo<'_>) -> Option<Short> {
    let mut list: Option<Short> = None;
    for line in request.headers().get_all(COOKIE) {
        match &mut list {
            None => list = Some(Short::from_slice(line.as_bytes())),
            Some(list) => {
                list.extend_from_slice(b"; ");
                list.extend_from_slice(line.as_bytes());
            }
        }
    }
    list
}

/// The values of a cookie, without blanks and quotes around them, in whichever of several fields.
fn cookies<'r>(request: &RequestInfo<'r>, name: &str) -> impl Iterator<Item = &'r [u8]> {
    let lines = request.headers().get_all(COOKIE).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';')).filter_map(move |pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (found, value) = pair.split_at(at);
        let value = value.get(1..)?.trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        (found.trim_ascii() == name.as_bytes()).then_some(value)
    })
}

/// As servers that encode cookies read them.
fn percent_decoded(value: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let (byte, after) = rest.split_first()?;
        let decoded = after.get(..2).filter(|_| *byte == b'%').and_then(hex);
        rest = if decoded.is_some() { after.get(2..)? } else { after };
        Some(decoded.unwrap_or(*byte))
    })
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("ip"),
            Self::Path => f.write_str("path"),
            Self::Method => f.write_str("method"),
            Self::Host => f.write_str("host"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::User => f.write_str("user"),
            Self::All => f.write_str("all"),
        }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let named = text.split_once(':').map(|(kind, name)| (kind.trim_end(), name.trim()));
        match (text, named) {
            ("ip", _) => Ok(Self::Client),
            ("path", _) => Ok(Self::Path),
            ("method", _) => Ok(Self::Method),
            ("host", _) => Ok(Self::Host),
            ("user", _) => Ok(Self::User),
            ("all", _) => Ok(Self::All),
            (_, Some(("header", name))) => {
                name.parse().map(Self::Header).map_err(|_| format!("`{name}` is no name of a header field"))
            }
            (_, Some(("cookie", name))) if !name.is_empty() && !name.contains([';', '=', ' ']) => {
                Ok(Self::Cookie(name.to_owned()))
            }
            _ => Err(format!(
                "`{text}` is no part of a request; expected ip, user, path, method, host, header:NAME, cookie:NAME or all"
            )),
        }
    }
}

/// The parts that make a key: `ip`, `ip+path`, or the first that is there of several: `header:x-api-key | user | ip`.
///
/// Two keys are never mistaken for each other: neither a header that reads like an address for that address, nor the
/// parts `a`, `bc` for `ab`, `c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpec {
    alternatives: Vec<Vec<Part>>,
}

impl KeySpec {
    /// The client's address.
    #[must_use]
    pub fn client() -> Self {
        Self { alternatives: vec![vec![Part::Client]] }
    }

    /// The header fields that it looks at.
    pub(crate) fn header_fields(&self) -> impl Iterator<Item = HeaderName> {
        self.alternatives.iter().flatten().filter_map(|part| match part {
            Part::Header(name) => Some(name.clone()),
            Part::Cookie(_) => Some(COOKIE),
            Part::Host => Some(HOST),
            Part::Client | Part::Path | Part::Method | Part::User | Part::All => None,
        })
    }

    pub(crate) fn looks_at_method(&self) -> bool {
        self.alternatives.iter().flatten().any(|part| *part == Part::Method)
    }

    pub(crate) fn looks_at_target(&self) -> bool {
        self.alternatives.iter().flatten().any(|part| matches!(part, Part::Path | Part::Host))
    }

    /// The first alternative of which `request` has every part.
    pub(crate) fn find<'k>(&'k self, request: &'k RequestInfo<'k>, grouping: Grouping) -> Option<FoundKey<'k>> {
        let is_whole = |parts: &&Vec<Part>| parts.iter().all(|part| part.is_in(request));
        let index = self.alternatives.iter().position(|parts| is_whole(&parts))?;
        Some(FoundKey { index, parts: self.alternatives.get(index)?, request, grouping })
    }
}

impl Default for KeySpec {
    fn default() -> Self {
        Self::client()
    }
}

impl fmt::Display for KeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, parts) in self.alternatives.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { " | " })?;
            for (i, part) in parts.iter().enumerate() {
                write!(f, "{}{part}", if i == 0 { "" } else { "+" })?;
            }
        }
        Ok(())
    }
}

impl FromStr for KeySpec {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let parts = |alternative: &str| alternative.split('+').map(Part::from_str).collect::<Result<_, _>>();
        let alternatives = text.split('|').map(parts).collect::<Result<_, _>>();
        Ok(Self { alternatives: alternatives.map_err(|why| PolicyError::Key { key: text.to_owned(), why })? })
    }
}

/// The key of one request, written from where it stands.
#[derive(Debug, Clone)]
pub(crate) struct FoundKey<'k> {
    index: usize,
    pub(crate) parts: &'k [Part],
    pub(crate) request: &'k RequestInfo<'k>,
    grouping: Grouping,
}

impl FoundKey<'_> {
    /// Its parts in full.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.parts.iter().filter_map(|part| part.text(self.request, self.grouping)).collect()
    }
}

impl Key for FoundKey<'_> {
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        (self.index, FoundParts(self)).write_to(out);
    }
}

struct FoundParts<'k>(&'k FoundKey<'k>);

impl Key for FoundParts<'_> {
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        out.list(self.0.parts.iter().map(|part| FoundPart { part, key: self.0 }));
    }
}

struct FoundPart<'k> {
    part: &'k Part,
    key: &'k FoundKey<'k>,
}

impl Key for FoundPart<'_> {
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        self.part.write_to(self.key.request, self.key.grouping, out);
    }
}

/// A future that is sent between threads.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

type KeyFunction = dyn Fn(&RequestInfo<'_>) -> Option<String> + Send + Sync;
type AsyncKeyFunction = dyn Fn(&RequestInfo<'_>) -> BoxFuture<Option<String>> + Send + Sync;

/// How the key of a request is found. `None` from a function: it has none.
#[derive(Clone)]
pub(crate) enum KeyBy {
    Spec(KeySpec),
    Function(Arc<KeyFunction>),
    /// Asked before anything is decided, with what it needs of the request cloned into the future.
    Async(Arc<AsyncKeyFunction>),
}

impl fmt::Debug for KeyBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for KeyBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(spec) => spec.fmt(f),
            Self::Function(_) => f.write_str("a function"),
            Self::Async(_) => f.write_str("an async function"),
        }
    }
}

/// What happens to a request that has no key: no such header, no user, no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnMissingKey {
    /// All such requests share one bucket: leaving out a header is no way round the limit.
    #[default]
    Share,
    /// The policy does not apply to it.
    Skip,
    /// It is refused.
    Refuse,
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn key(spec: &str, request: &Request<()>) -> Option<Vec<u8>> {
        let spec: KeySpec = spec.parse().unwrap();
        let info = RequestInfo::new(request);
        Some(tollgate::key::encode(&spec.find(&info, Grouping::default())?))
    }

    fn request(path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.extension(crate::PeerAddr("192.0.2.7:1".parse().unwrap())).body(()).unwrap()
    }

    #[test]
    fn different_keys_never_look_the_same() {
        let of = |spec: &str, headers: &[(&str, &str)]| key(spec, &request("/a", headers)).unwrap();
        let ip = of("header:x-api-key | ip", &[]);
        assert_ne!(of("header:x-api-key | ip", &[("x-api-key", "192.0.2.7")]), ip);
        let both = "header:x+header:y";
        assert_ne!(of(both, &[("x", "ab"), ("y", "c")]), of(both, &[("x", "a"), ("y", "bc")]));
        let cookies = |line| of("cookie:a+cookie:b", &[("cookie", line)]);
        assert_ne!(cookies("a=x%00y; b=z"), cookies("a=x; b=y%00z"));
        assert_ne!(of("header:x", &[("x", "a"), ("x", "b")]), of("header:x", &[("x", "ab")]));
        assert_eq!(of("host", &[("host", "A.example:80")]), of("host", &[("host", "a.EXAMPLE")]));
        assert_eq!(of("cookie:sid", &[("cookie", "a=1; sid=7")]), of("cookie:sid", &[("cookie", "sid=7")]));
        assert_ne!(of("cookie:sid", &[("cookie", "a=1; sid=7")]), of("cookie:sid", &[("cookie", "sid=8")]));
    }

    #[test]
    fn keys_read_the_same_where_they_are_the_same() {
        let requests: Vec<Request<()>> = [
            &[("host", "a.example")][..],
            &[("host", "A.example:80")],
            &[("host", "a.example"), ("host", "b.example")],
            &[("host", "b.example"), ("host", "c.example")],
            &[("authorization", "Basic  x")],
            &[("authorization", "basic x")],
            &[("authorization", "basic X")],
            &[("authorization", "x"), ("authorization", "y")],
            &[("cookie", "sid=7")],
            &[("cookie", "a=1; sid=\"%37\"")],
            &[("cookie", "sid=7; sid=8")],
            &[("cookie", "sid=\\67")],
            &[],
        ]
        .into_iter()
        .flat_map(|headers| {
            let mut head = request("/a", headers);
            *head.method_mut() = Method::HEAD;
            [request("//a/", headers), request("/b", headers), head]
        })
        .collect();
        for spec in
            ["host", "header:authorization", "cookie:sid", "path", "method", "method+path+host", "cookie:sid | ip"]
        {
            let parsed: KeySpec = spec.parse().unwrap();
            let texts = |request| {
                let info = RequestInfo::new(request);
                parsed.find(&info, Grouping::default()).map(|key| key.texts())
            };
            for a in &requests {
                for b in &requests {
                    assert_eq!(texts(a) == texts(b), key(spec, a) == key(spec, b), "{spec}: {a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn the_first_that_is_there() {
        assert_eq!(key("user", &request("/", &[])), None);
        assert_eq!(key("ip+header:x", &request("/", &[])), None);
        assert_eq!(key("user | ip", &request("/", &[])), key("user | ip", &request("/b", &[])));
        assert_ne!(key("ip+path", &request("/", &[])), key("ip+path", &request("/b", &[])));
        assert_eq!(key("ip+path", &request("/b", &[])), key("ip+path", &request("//%62/", &[])));
    }

    #[test]
    fn specs_print_and_complain() {
        for (given, printed) in [
            ("ip", "ip"),
            ("header:X-Api-Key|user|ip", "header:x-api-key | user | ip"),
            ("ip + path+method", "ip+path+method"),
            ("all", "all"),
        ] {
            assert_eq!(given.parse::<KeySpec>().unwrap().to_string(), printed);
        }
        for bad in ["", "ip|", "+ip", "header:", "header:a b", "cookie:", "address", "ip,path"] {
            assert!(bad.parse::<KeySpec>().is_err(), "{bad}");
        }
    }
}
