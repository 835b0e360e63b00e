//! The key of a request: which of its parts decide the bucket that it is counted in.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION};
use smallvec::SmallVec;
use tollgate::Key;
use tollgate::key::KeyWriter;

use crate::error::ConfigError;
use crate::identity::{Group, Grouping};
use crate::request::RequestInfo;
use crate::request::path::hex;

/// One part of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyPart {
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
    /// `user`: the user that the application has authenticated, see [`AuthenticatedUser`](crate::AuthenticatedUser).
    User,
    /// `all`: the same for every request.
    All,
}

impl KeyPart {
    /// Writes this part of `request` as one key: of another kind where several things are said than where one is.
    fn write_to<W: KeyWriter>(&self, request: &RequestInfo<'_>, grouping: Grouping, out: &mut W) {
        match self {
            Self::Client => request.client().map(|client| grouping.group(client)).write_to(out),
            Self::Path => path(request).as_ref().write_to(out),
            Self::Method => method(request).write_to(out),
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
            Self::Header(name) => match only(request.lines(name).into_iter(), |_, _| false) {
                Said::One(value) => write_field(name, value, out),
                Said::Nothing | Said::Several => ().write_to(out),
            },
            Self::Cookie(name) => match only(cookies(request, name), |a, b| a == b) {
                // Not with an escape that only some servers know.
                Said::One(value) if !value.contains(&b'\\') => {
                    percent_decoded(value).collect::<Short>().as_slice().write_to(out);
                }
                Said::Nothing | Said::One(_) | Said::Several => ().write_to(out),
            },
            Self::User => request.user().write_to(out),
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
            Self::Path => Some(path(request).into_owned()),
            Self::Method => Some(method(request).to_owned()),
            Self::Host => match only(request.hosts(), |a, b| a.eq_ignore_ascii_case(b)) {
                Said::Nothing => None,
                Said::One(host) => Some(host.to_ascii_lowercase()),
                Said::Several => Some(several()),
            },
            Self::Header(name) if *name == COOKIE => cookie_list(request).map(|list| named(list.to_vec())),
            Self::Header(name) => match only(request.lines(name).into_iter(), |_, _| false) {
                Said::Nothing => None,
                Said::One(value) => Some(named(match credentials(name, value) {
                    Some((scheme, secret)) => [&scheme, &b" "[..], secret].concat(),
                    None => value.to_vec(),
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
            Self::Header(name) => request.lines(name).first(),
            Self::Cookie(name) => cookies(request, name).next(),
            Self::User => request.user().map(str::as_bytes),
            Self::Client | Self::Path | Self::Method | Self::Host | Self::All => None,
        }
    }

    /// The header field that it looks at.
    pub(crate) fn header_field(&self) -> Option<HeaderName> {
        match self {
            Self::Header(name) => Some(name.clone()),
            Self::Cookie(_) => Some(COOKIE),
            Self::Host => Some(HOST),
            Self::Client | Self::Path | Self::Method | Self::User | Self::All => None,
        }
    }

    pub(crate) fn is_in(&self, request: &RequestInfo<'_>) -> bool {
        match self {
            Self::Client => request.client().is_some(),
            Self::Host => request.host().is_some(),
            Self::Header(name) => !request.lines(name).is_empty(),
            Self::Cookie(name) => cookies(request, name).next().is_some(),
            Self::User => request.user().is_some(),
            Self::Path | Self::Method | Self::All => true,
        }
    }
}

/// The path, in small letters where their case does not matter.
fn path<'a>(request: &'a RequestInfo<'_>) -> Cow<'a, str> {
    let path = request.path();
    if request.ignores_path_case() && path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(path.to_ascii_lowercase())
    } else {
        Cow::Borrowed(path)
    }
}

/// The method; HEAD counts as GET.
fn method<'r>(request: &RequestInfo<'r>) -> &'r str {
    match request.method() {
        "HEAD" => "GET",
        method => method,
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
    for line in request.lines(&COOKIE) {
        match &mut list {
            None => list = Some(Short::from_slice(line)),
            Some(list) => {
                list.extend_from_slice(b"; ");
                list.extend_from_slice(line);
            }
        }
    }
    list
}

/// The values of a cookie, without blanks and quotes around them, in whichever of several fields.
fn cookies<'r>(request: &RequestInfo<'r>, name: &str) -> impl Iterator<Item = &'r [u8]> {
    let lines = request.lines(&COOKIE).into_iter();
    lines.flat_map(|line| line.split(|byte| *byte == b';')).filter_map(move |pair| {
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

impl fmt::Display for KeyPart {
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

impl FromStr for KeyPart {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let text = text.trim();
        let named = text.split_once(':').map(|(kind, name)| (kind.trim_end(), name.trim()));
        match (text, named) {
            ("ip", _) => Ok(Self::Client),
            ("path", _) => Ok(Self::Path),
            ("method", _) => Ok(Self::Method),
            ("host", _) => Ok(Self::Host),
            ("user", _) => Ok(Self::User),
            ("all", _) => Ok(Self::All),
            (_, Some(("header", name))) => name.parse().map(Self::Header).map_err(|_| bad_part(text)),
            (_, Some(("cookie", name))) if is_cookie_name(name) => Ok(Self::Cookie(name.to_owned())),
            _ => Err(bad_part(text)),
        }
    }
}

fn is_cookie_name(name: &str) -> bool {
    !name.is_empty() && !name.contains([';', '=', ' '])
}

fn bad_part(part: &str) -> ConfigError {
    ConfigError::Key { part: part.to_owned() }
}

/// The parts that make a key: `ip`, `ip+path`, or the first that is there of several: `header:x-api-key | user | ip`.
///
/// Two keys are never mistaken for each other: neither a header that reads like an address for that address, nor the
/// parts `a`, `bc` for `ab`, `c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpec {
    alternatives: Vec<Vec<KeyPart>>,
}

impl KeySpec {
    /// All of these parts together.
    ///
    /// ```
    /// use tollgate_http::{KeyPart, KeySpec};
    ///
    /// let key = KeySpec::of([KeyPart::User]).or([KeyPart::Client, KeyPart::Path]);
    /// assert_eq!(key, "user | ip+path".parse()?);
    /// # Ok::<(), tollgate_http::ConfigError>(())
    /// ```
    ///
    /// No parts at all do not compile:
    ///
    /// ```compile_fail
    /// tollgate_http::KeySpec::of([]);
    /// ```
    #[must_use]
    pub fn of<const N: usize>(parts: [KeyPart; N]) -> Self {
        const { assert!(N > 0, "a key has one part or more") };
        Self { alternatives: vec![parts.into()] }
    }

    /// These parts together, for requests that lack a part of each alternative so far.
    #[must_use]
    pub fn or<const N: usize>(mut self, parts: [KeyPart; N]) -> Self {
        const { assert!(N > 0, "a key has one part or more") };
        self.alternatives.push(parts.into());
        self
    }

    /// The client's address.
    #[must_use]
    pub fn client() -> Self {
        Self::of([KeyPart::Client])
    }

    /// The parts of each alternative.
    pub(super) fn alternatives(&self) -> impl Iterator<Item = &[KeyPart]> {
        self.alternatives.iter().map(Vec::as_slice)
    }

    /// Whether it is the client's address and nothing else.
    pub(crate) fn is_client(&self) -> bool {
        matches!(self.alternatives.as_slice(), [parts] if *parts == [KeyPart::Client])
    }

    /// Whether a part of it is the client's address.
    pub(crate) fn needs_client(&self) -> bool {
        self.alternatives.iter().flatten().any(|part| *part == KeyPart::Client)
    }

    pub(crate) fn looks_at_method(&self) -> bool {
        self.alternatives.iter().flatten().any(|part| *part == KeyPart::Method)
    }

    pub(crate) fn looks_at_target(&self) -> bool {
        self.alternatives.iter().flatten().any(|part| matches!(part, KeyPart::Path | KeyPart::Host))
    }

    /// What can be wrong with parts that were not read from text.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let is_bad = |part: &&KeyPart| matches!(part, KeyPart::Cookie(name) if !is_cookie_name(name));
        match self.alternatives.iter().flatten().find(is_bad) {
            Some(part) => Err(bad_part(&part.to_string())),
            None => Ok(()),
        }
    }

    /// The header fields that it looks at.
    pub(crate) fn header_fields(&self) -> impl Iterator<Item = HeaderName> {
        self.alternatives.iter().flatten().filter_map(KeyPart::header_field)
    }

    /// The first alternative of which `request` has every part.
    pub(crate) fn find<'k>(&'k self, request: &'k RequestInfo<'k>, grouping: Grouping) -> Option<FoundKey<'k>> {
        let is_whole = |parts: &&Vec<KeyPart>| parts.iter().all(|part| part.is_in(request));
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
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let parts = |alternative: &str| alternative.split('+').map(KeyPart::from_str).collect();
        Ok(Self { alternatives: text.split('|').map(parts).collect::<Result<_, _>>()? })
    }
}

/// The key of one request, written from where it stands.
#[derive(Debug, Clone)]
pub(crate) struct FoundKey<'k> {
    index: usize,
    pub(crate) parts: &'k [KeyPart],
    pub(crate) request: &'k RequestInfo<'k>,
    grouping: Grouping,
}

impl FoundKey<'_> {
    /// Which alternative of its kind it is.
    pub(super) const fn index(&self) -> usize {
        self.index
    }

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

/// The key of a client where there is no other part, as [`FoundKey`] writes it: from the address alone, without a request.
pub(crate) struct ClientKey(pub(crate) Group);

impl Key for ClientKey {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        (0_usize, OnlyClient(self.0)).write_to(out);
    }
}

struct OnlyClient(Group);

impl Key for OnlyClient {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        out.list(std::iter::once(Some(self.0)));
    }
}

struct FoundParts<'k>(&'k FoundKey<'k>);

impl Key for FoundParts<'_> {
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        out.list(self.0.parts.iter().map(|part| FoundPart { part, key: self.0 }));
    }
}

struct FoundPart<'k> {
    part: &'k KeyPart,
    key: &'k FoundKey<'k>,
}

impl Key for FoundPart<'_> {
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        self.part.write_to(self.key.request, self.key.grouping, out);
    }
}

/// One part of a request, as it is in a key.
pub(crate) struct OnePart<'k> {
    pub(crate) part: &'k KeyPart,
    pub(crate) request: &'k RequestInfo<'k>,
    pub(crate) grouping: Grouping,
}

impl Key for OnePart<'_> {
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        self.part.write_to(self.request, self.grouping, out);
    }
}

/// What happens to a request that has no key: no such header, no user, no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize), serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum OnMissingKey {
    /// All such requests share one bucket: leaving out a header does not evade the limit.
    #[default]
    Share,
    /// The policy does not apply to it.
    Skip,
    /// It is refused.
    Refuse,
}

#[cfg(test)]
mod tests {
    use http::{Method, Request};

    use super::*;

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
        request.extension(crate::request::PeerAddr("192.0.2.7:1".parse().unwrap())).body(()).unwrap()
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
