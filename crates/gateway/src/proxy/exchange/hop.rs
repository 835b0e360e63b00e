//! Fields that end here: those that concern one connection (RFC 9110, 7.6.1), and those whose names are read as others.

use std::time::Duration;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Version};

const FIELDS: [&str; 9] = [
    "connection",
    "transfer-encoding",
    "upgrade",
    "te",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "http2-settings",
];

/// Which of the fields that mean something to a gateway a message has: found in one walk over the names, of which most
/// messages have few and which ask for one look each, where a search for each would be a dozen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// One of [`FIELDS`].
    pub(crate) hop: bool,
    pub(crate) upgrade: bool,
    pub(crate) te: bool,
    pub(crate) host: bool,
    pub(crate) cookie: bool,
    pub(crate) expect: bool,
    /// What tells of the client and of the way of the request, see [`is_claim`].
    pub(crate) claims: bool,
    /// A name with anything but letters, digits and hyphens.
    pub(crate) ambiguous: bool,
}

impl Seen {
    pub(crate) fn in_headers(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        for name in headers.keys() {
            match name.as_str() {
                "host" => seen.host = true,
                "user-agent" | "accept" | "accept-encoding" | "accept-language" | "content-type" | "content-length" => {
                }
                "cookie" => seen.cookie = true,
                "expect" => seen.expect = true,
                name if FIELDS.contains(&name) => {
                    seen.hop = true;
                    seen.upgrade |= name == "upgrade";
                    seen.te |= name == "te";
                }
                name if is_claim(name) => seen.claims = true,
                name => seen.ambiguous |= !is_plain(name),
            }
        }
        seen
    }
}

/// Other names under which servers and their frameworks look for the client, for the scheme, host, port and path that it
/// asked for, and for who it is.
const CLAIMS: [&str; 14] = [
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-originating-ip",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
];

/// Whether a field tells where a request comes from, or how it came: what a stranger says there is nothing to believe.
pub(crate) fn is_claim(name: &str) -> bool {
    name.starts_with("x-forwarded") || CLAIMS.contains(&name)
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Removes the claims of one who is not believed.
pub(crate) fn strip_claims(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_claim(name.as_str())).cloned() {
        headers.remove(name);
    }
}

/// Removes what must not be passed on, in either direction. Returns how long the sender keeps its connection, if it says that.
pub(crate) fn strip(headers: &mut HeaderMap) -> Option<Duration> {
    let mut kept = None;
    // Few messages have more than one of them, and one look at each name costs less than nine searches.
    while let Some(name) = headers.keys().find(|name| FIELDS.contains(&name.as_str())).cloned() {
        if name == CONNECTION {
            strip_named(headers);
        }
        // hyper frames the message anew. A length beside a coding is not the length of the body (RFC 9112, 6.3).
        if name == TRANSFER_ENCODING {
            headers.remove(CONTENT_LENGTH);
        }
        if name == KEEP_ALIVE {
            kept = kept_for(headers);
        }
        headers.remove(name);
    }
    kept
}

const KEEP_ALIVE: &str = "keep-alive";

/// The `timeout` of `Keep-Alive: timeout=5, max=100`, in seconds (RFC 2068, 19.7.1.1; servers send it to this day).
fn kept_for(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(KEEP_ALIVE)?.to_str().ok()?;
    let mut parameters = value.split(',').filter_map(|parameter| parameter.split_once('='));
    let (_, seconds) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// Removes from trailers what they may not say (RFC 9110, 6.5.1): how the message is framed and who sent it. Servers merge
/// trailers into the head's fields, and there these would be believed.
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    strip(trailers);
    strip_ambiguous(trailers, false);
    strip_claims(trailers);
    for name in [HOST, CONTENT_LENGTH, COOKIE, AUTHORIZATION, EXPECT] {
        trailers.remove(name);
    }
}

/// Removes fields whose names have anything but letters, digits and hyphens.
///
/// Servers of CGI, WSGI, PSGI and Rack make one variable of `X-Forwarded-For` and of `X_Forwarded_For`, some of
/// `X.Forwarded.For`, too: what was replaced here, or not found by a limit's key, would be there all the same. With
/// `keeps_others` only those go that could be taken for a field that is made or removed here.
pub(crate) fn strip_ambiguous(headers: &mut HeaderMap, keeps_others: bool) {
    let is_ours = |name: &HeaderName| {
        let plain = name.as_str().replace(|byte: char| !byte.is_ascii_alphanumeric(), "-");
        plain == CONTENT_LENGTH.as_str() || FIELDS.contains(&plain.as_str()) || is_claim(&plain)
    };
    let ambiguous = headers.keys().filter(|name| !is_plain(name.as_str()) && (!keeps_others || is_ours(name)));
    for name in ambiguous.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Removes the fields that `Connection` names.
fn strip_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        // What nearly every server says, and what names no field that would be left.
        .filter(|token| !token.eq_ignore_ascii_case(b"keep-alive") && !token.eq_ignore_ascii_case(b"close"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        // Without these the rest would mean something else (7.6.1 forbids to name them).
        .filter(|name| ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Whether the transfer coding, if there is one, is the one that is understood here: `chunked`, once (RFC 9112, 6.1 and 7).
pub(crate) fn is_framing_known(headers: &HeaderMap) -> bool {
    if !headers.contains_key(TRANSFER_ENCODING) {
        return true;
    }
    let mut codings = tokens(headers, &TRANSFER_ENCODING);
    codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
}

/// Whether the client can take trailers, which is the only thing that `TE` may say beyond one hop.
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(TE) && tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

/// Whether the request asks to become a WebSocket, in the way in which that is asked (RFC 6455, 4.1).
///
/// Whatever else `Upgrade` offers ends here. An upstream might take it, and what then passes is seen by no policy: of
/// `h2c`, any number of requests.
pub(crate) fn asks_for_websocket(method: &Method, version: Version, headers: &HeaderMap) -> bool {
    *method == Method::GET
        && version == Version::HTTP_11
        && headers.contains_key(UPGRADE)
        && tokens(headers, &UPGRADE).any(is_websocket)
        && tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"))
}

/// Whether an answer of 101 changes to a WebSocket and to nothing beside it.
pub(crate) fn becomes_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = tokens(headers, &UPGRADE);
    protocols.next().is_some_and(is_websocket) && protocols.next().is_none()
}

fn is_websocket(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"websocket")
}

/// The members of a list field, over all its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[track_caller]
    fn leaves(lines: &[(&'static str, &'static str)], left: &[(&'static str, &'static str)]) {
        let mut stripped = headers(lines);
        strip(&mut stripped);
        assert_eq!(stripped, headers(left));
    }

    #[test]
    fn what_concerns_one_connection_goes() {
        leaves(&[("keep-alive", "timeout=5"), ("x", "1")], &[("x", "1")]);
        leaves(&[("proxy-connection", "keep-alive")], &[]);
        leaves(&[("te", "trailers, deflate")], &[]);
        leaves(&[("upgrade", "websocket"), ("connection", "upgrade")], &[]);
        leaves(&[("proxy-authorization", "Basic x")], &[]);
        leaves(&[("trailer", "x-sum")], &[("trailer", "x-sum")]);
    }

    #[test]
    fn what_connection_names_goes_on_any_line_in_any_case() {
        leaves(
            &[("connection", "close, X-A"), ("connection", " x-B "), ("x-a", "1"), ("x-b", "2"), ("x-c", "3")],
            &[("x-c", "3")],
        );
        leaves(&[("connection", "@, ,"), ("a", "1")], &[("a", "1")]);
    }

    #[test]
    fn connection_cannot_remove_what_frames_the_request() {
        let kept = [("host", "a"), ("content-length", "3")];
        leaves(&[("connection", "host, content-length"), kept[0], kept[1]], &kept);
    }

    #[test]
    fn a_length_beside_a_coding_goes() {
        leaves(&[("content-length", "3"), ("transfer-encoding", "chunked")], &[]);
        leaves(&[("content-length", "3")], &[("content-length", "3")]);
    }

    #[test]
    fn a_coding_that_connection_names_still_takes_the_length_with_it() {
        leaves(&[("connection", "transfer-encoding"), ("transfer-encoding", "chunked"), ("content-length", "3")], &[]);
    }

    #[test]
    fn one_transfer_coding_is_known() {
        let known = |lines: &[_]| is_framing_known(&headers(lines));
        let coding = |value| ("transfer-encoding", value);
        assert!(known(&[]));
        assert!(known(&[coding("chunked")]));
        assert!(known(&[coding(" Chunked ")]));
        for value in ["gzip, chunked", "chunked, chunked", "gzip", "", "identity", "chunked;a=b", "x-chunked"] {
            assert!(!known(&[coding(value)]), "{value}");
        }
        assert!(!known(&[coding("chunked"), coding("chunked")]));
        assert!(!known(&[coding("gzip"), coding("chunked")]));
    }

    #[test]
    fn names_that_are_read_as_others_go() {
        let names = [
            "x_forwarded_for",
            "x-forwarded_for",
            "x_forwarded-proto",
            "x.forwarded.host",
            "x_real_ip",
            "transfer_encoding",
            "content_length",
            "http2_settings",
            "proxy~connection",
        ];
        let (api, plain) = (("api_key", "1"), [("x-forwarded-for", "1"), ("x-y2", "1"), ("accept", "1")]);
        let all: Vec<_> = names.map(|name| (name, "1")).into_iter().chain([api]).chain(plain).collect();
        let mut strict = headers(&all);
        strip_ambiguous(&mut strict, false);
        assert_eq!(strict, headers(&plain));
        let mut lenient = headers(&all);
        strip_ambiguous(&mut lenient, true);
        assert_eq!(lenient, headers(&[&[api][..], &plain].concat()));
    }

    #[test]
    fn a_websocket_is_asked_for_in_one_way() {
        let asks = |lines: &[_]| asks_for_websocket(&Method::GET, Version::HTTP_11, &headers(lines));
        let named = ("connection", "upgrade");
        assert!(asks(&[named, ("upgrade", "websocket")]));
        assert!(asks(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")]));
        assert!(asks(&[("connection", "close"), named, ("upgrade", "h2c"), ("upgrade", "x/1 , websocket")]));
        for lines in [
            &[("upgrade", "websocket")][..],
            &[named],
            &[("connection", "close"), ("upgrade", "websocket")],
            &[named, ("upgrade", "h2c")],
            &[named, ("upgrade", "H2C")],
            &[named, ("upgrade", "")],
            &[named, ("upgrade", "websocket/13")],
            &[named, ("upgrade", "websockets")],
            &[named, ("upgrade", "web socket")],
            &[named, ("upgrade", "\"websocket\"")],
        ] {
            assert!(!asks(lines), "{lines:?}");
        }
        let good = headers(&[named, ("upgrade", "websocket")]);
        assert!(!asks_for_websocket(&Method::POST, Version::HTTP_11, &good));
        assert!(!asks_for_websocket(&Method::GET, Version::HTTP_10, &good));
    }

    #[test]
    fn a_change_to_a_websocket_is_to_nothing_else() {
        assert!(becomes_websocket(&headers(&[("upgrade", "WebSocket")])));
        for lines in
            [&[][..], &[("upgrade", "h2c")], &[("upgrade", "websocket, h2c")], &[("upgrade", "h2c, websocket")]]
        {
            assert!(!becomes_websocket(&headers(lines)), "{lines:?}");
        }
        assert!(!becomes_websocket(&headers(&[("upgrade", "websocket"), ("upgrade", "x")])));
    }

    #[test]
    fn trailers_are_seen_among_codings() {
        assert!(takes_trailers(&headers(&[("te", "gzip, Trailers")])));
        assert!(!takes_trailers(&headers(&[("te", "gzip")])));
    }
}
