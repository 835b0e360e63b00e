//! The request head as the upstream gets it: its target, its `Host`, and who asked for it by which way.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Once;

use bytes::BytesMut;
use http::header::{CONNECTION, COOKIE, EXPECT, HOST, HeaderName, HeaderValue, TE, UPGRADE, VIA};
use http::request::Parts;
use http::{HeaderMap, Uri, Version};
use ipnet::IpNet;

use crate::proxy::error::Error;
use crate::proxy::exchange::hop::{self, Seen};
use crate::proxy::settings::{Forwarding, XForwarded};
use crate::values::output;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// From whom and how a connection's requests come. Found in the extensions of each of them.
#[derive(Debug, Clone)]
pub(crate) struct Origination {
    /// Nothing for one that has no address and none to count as.
    peer: Option<IpAddr>,
    /// The peer as text, written once: that takes longer than all else that is said of it.
    text: HeaderValue,
    is_https: bool,
}

impl Origination {
    pub(crate) fn new(peer: Option<SocketAddr>, is_https: bool) -> Self {
        let peer = peer.map(|peer| peer.ip().to_canonical());
        // A word for one that is not known (RFC 7239, 6.2): who counts proxies from the right must not count one too few.
        let text = peer.map_or(HeaderValue::from_static("unknown"), address);
        Self { peer, text, is_https }
    }
}

/// Rewrites `parts` for the upstream. Says whether the client asks to become a WebSocket.
pub(crate) fn rewrite(parts: &mut Parts, from: Option<Origination>, settings: &Forwarding) -> Result<bool, Error> {
    let seen = Seen::in_headers(&parts.headers);
    let host = host(parts, seen)?;
    let is_websocket = seen.upgrade && hop::asks_for_websocket(&parts.method, parts.version, &parts.headers);
    let takes_trailers = seen.te && hop::takes_trailers(&parts.headers);
    if seen.hop {
        hop::strip(&mut parts.headers);
    }
    if seen.ambiguous {
        hop::strip_ambiguous(&mut parts.headers, settings.underscores);
    }
    if seen.expect {
        // Said again if there is a body to wait for, see `onward`.
        parts.headers.remove(EXPECT);
    }
    if seen.cookie {
        one_cookie_field(&mut parts.headers);
    }
    if parts.uri.authority().is_some()
        && let Some(host) = &host
    {
        parts.headers.insert(HOST, host.clone());
    }
    if let Some(from) = from {
        x_forwarded(&mut parts.headers, &from, host, settings, seen.claims);
    }
    if settings.via {
        via(&mut parts.headers, parts.version);
    }
    announce(&mut parts.headers, is_websocket, takes_trailers);
    parts.uri = origin_form(std::mem::take(&mut parts.uri))?;
    parts.version = Version::HTTP_11;
    Ok(is_websocket)
}

/// The host that is asked for: that of the target if it has one, else that of the one `Host` field.
fn host(parts: &Parts, seen: Seen) -> Result<Option<HeaderValue>, Error> {
    let mut field = None;
    if seen.host {
        let mut fields = parts.headers.get_all(HOST).iter();
        field = fields.next();
        if fields.next().is_some() {
            return Err(Error::Malformed);
        }
    }
    let is_missing = field.is_none() && parts.version == Version::HTTP_11;
    if is_missing || field.is_some_and(|host| !is_host(host.as_bytes())) {
        return Err(Error::Malformed);
    }
    match parts.uri.authority() {
        None => Ok(field.cloned()),
        Some(authority) if !is_host(authority.as_str().as_bytes()) => Err(Error::Malformed),
        Some(authority) => HeaderValue::from_str(authority.as_str()).map(Some).map_err(|_| Error::Malformed),
    }
}

/// Whether `host` is a host, and a port if one follows (RFC 9110, 7.2); nothing is one, too. Others read what comes after
/// the colon of `a.example:80x` in their own ways, and then it is another host to a limit than to the application.
fn is_host(host: &[u8]) -> bool {
    let (name, after) = match host {
        // An address of version 6, or of one to come (RFC 3986, 3.2.2).
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
            let (address, after) = rest.split_at(end);
            let is_address = |byte: &u8| byte.is_ascii_hexdigit() || b":.v".contains(byte);
            if address.is_empty() || !address.iter().all(is_address) {
                return false;
            }
            (&[][..], after.get(1..).unwrap_or_default())
        }
        _ => host.split_at(host.iter().position(|&byte| byte == b':').unwrap_or(host.len())),
    };
    let is_port = match after {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit) && port.len() <= 5,
        _ => false,
    };
    is_port && name.iter().copied().all(may_stand_in_host)
}

/// The characters of a host's name (RFC 3986, 3.2.2): no blanks, slashes or user names.
fn may_stand_in_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

/// What a client asks an origin server for: path and query.
fn origin_form(uri: Uri) -> Result<Uri, Error> {
    if uri.scheme().is_none() && uri.authority().is_none() {
        return Ok(uri);
    }
    let path = uri.into_parts().path_and_query.ok_or(Error::Malformed)?;
    Ok(Uri::from(path))
}

fn x_forwarded(
    headers: &mut HeaderMap,
    from: &Origination,
    host: Option<HeaderValue>,
    settings: &Forwarding,
    are_claims_there: bool,
) {
    let is_trusted = from.peer.is_some_and(|peer| contains(&settings.trusted, peer));
    if let Some(peer) = from.peer
        && are_claims_there
        && !is_trusted
        && is_private(peer)
        && headers.contains_key(&X_FORWARDED_FOR)
    {
        tell_of_untrusted_proxy(peer);
    }
    let is_believed = match settings.x_forwarded {
        XForwarded::Untouched => return,
        XForwarded::Append => true,
        XForwarded::Replace => false,
        XForwarded::Trusted => is_trusted,
    };
    if are_claims_there && !is_believed {
        hop::strip_claims(headers);
    }
    // Of the claims only believed ones are left.
    let are_left = are_claims_there && is_believed;
    let peer = if are_left { appended(headers, &from.text) } else { from.text.clone() };
    headers.insert(&X_FORWARDED_FOR, peer);
    if !(are_left && headers.contains_key(&X_FORWARDED_PROTO)) {
        let scheme = if from.is_https { "https" } else { "http" };
        headers.insert(&X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
    if !(are_left && headers.contains_key(&X_FORWARDED_HOST))
        && let Some(host) = host
    {
        headers.insert(&X_FORWARDED_HOST, host);
    }
}

/// Whether `address`, IPv4 written as such, is in one of `networks`.
pub(crate) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// Whether `address`, IPv4 written as such, is one that is not routed on the Internet: where a proxy in front of this one
/// has its address.
fn is_private(address: IpAddr) -> bool {
    match address {
        // The last are those behind carrier-grade NAT (RFC 6598), which clouds use between their own machines.
        IpAddr::V4(v4) => {
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || matches!(v4.octets(), [100, 64..=127, ..])
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Says once that `peer` looks like a proxy of the operator's, whose clients then all count as one.
fn tell_of_untrusted_proxy(peer: IpAddr) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        output::complain(&format_args!(
            "X-Forwarded-For comes from {peer}, which is not a trusted proxy: it is not believed, and all clients behind \
             {peer} count as one; if this is your proxy, set `client: {{from: x-forwarded-for, trusted: [{peer}]}}` in \
             the configuration file (said once)"
        ));
    });
}

/// HTTP/2 lets clients send their cookies in several fields, and browsers do. HTTP/1.1 has one (RFC 9113, 8.2.3), and
/// servers that find more join them with a comma, or keep one.
fn one_cookie_field(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut list = BytesMut::from(first);
    for crumb in [second].into_iter().chain(crumbs) {
        list.extend_from_slice(b"; ");
        list.extend_from_slice(crumb);
    }
    // Always valid, as its parts are.
    if let Ok(list) = HeaderValue::from_maybe_shared(list.freeze()) {
        headers.insert(COOKIE, list);
    }
}

/// All lines of `X-Forwarded-For` as one, and `peer` at its end.
fn appended(headers: &HeaderMap, peer: &HeaderValue) -> HeaderValue {
    let mut list = BytesMut::new();
    for line in headers.get_all(&X_FORWARDED_FOR) {
        if !line.is_empty() {
            list.extend_from_slice(line.as_bytes());
            list.extend_from_slice(b", ");
        }
    }
    list.extend_from_slice(peer.as_bytes());
    // Always valid, as its parts are; the peer alone is the safe side.
    HeaderValue::from_maybe_shared(list.freeze()).unwrap_or_else(|_| peer.clone())
}

fn address(address: IpAddr) -> HeaderValue {
    // The longest address has 45 characters, so there is room, and all of them are fit for a field.
    let mut text = [0; 48];
    let mut rest = &mut text[..];
    let _ = write!(rest, "{address}");
    let left = rest.len();
    let text = text.get(..text.len() - left).unwrap_or_default();
    HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Adds this gateway to `Via`, with the version in which the request came.
fn via(headers: &mut HeaderMap, version: Version) {
    headers.append(
        VIA,
        HeaderValue::from_static(match version {
            Version::HTTP_09 | Version::HTTP_10 => "1.0 tollgate",
            Version::HTTP_2 => "2.0 tollgate",
            _ => "1.1 tollgate",
        }),
    );
}

/// What this hop says for itself.
fn announce(headers: &mut HeaderMap, is_websocket: bool, takes_trailers: bool) {
    if is_websocket {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    let named = match (is_websocket, takes_trailers) {
        (true, true) => "upgrade, te",
        (true, false) => "upgrade",
        (false, true) => "te",
        (false, false) => return,
    };
    headers.insert(CONNECTION, HeaderValue::from_static(named));
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, fields: &[(&'static str, &'static str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn from(peer: &str) -> Option<Origination> {
        Some(Origination::new(Some(SocketAddr::new(peer.parse().unwrap(), 5_000)), false))
    }

    fn trusting(network: &str) -> Forwarding {
        Forwarding { trusted: vec![network.parse().unwrap()], ..Forwarding::default() }
    }

    #[test]
    fn the_target_becomes_a_path_and_its_host_wins() {
        let mut parts = parts("http://example.com/a?b", &[("host", "other.example")]);
        rewrite(&mut parts, None, &Forwarding::default()).unwrap();
        assert_eq!(parts.uri, "/a?b");
        assert_eq!(parts.headers["host"], "example.com");
        assert_eq!(parts.headers["via"], "1.1 tollgate");
    }

    #[test]
    fn cookies_are_one_field_in_the_order_in_which_they_came() {
        for (sent, seen) in [
            (&["a=1", "b=2", "c=\"3\""][..], Some("a=1; b=2; c=\"3\"")),
            (&["a=1; b=2", "c=3"], Some("a=1; b=2; c=3")),
            (&["a=1;b=2"], Some("a=1;b=2")),
            (&[], None),
        ] {
            let mut fields = vec![("host", "a")];
            fields.extend(sent.iter().map(|crumb| ("cookie", *crumb)));
            let mut parts = parts("/", &fields);
            rewrite(&mut parts, None, &Forwarding::default()).unwrap();
            assert_eq!(parts.headers.get_all("cookie").iter().collect::<Vec<_>>(), Vec::from_iter(seen));
        }
    }

    #[test]
    fn a_host_must_be_one() {
        let refused = |fields: &[_]| rewrite(&mut parts("/", fields), None, &Forwarding::default()).is_err();
        assert!(refused(&[]));
        assert!(refused(&[("host", "a"), ("host", "a")]));
        assert!(refused(&[("host", "a b")]));
        assert!(refused(&[("host", "user@a")]));
        assert!(refused(&[("host", "a/b")]));
        for host in [
            "a:80x", "a:+80", "a:80:80", "a:-1", "a: 80", "a:123456", "[::1", "::1", "[]", "[::1]80", "[::1]:x", "a[b]",
        ] {
            assert!(refused(&[("host", host)]), "{host}");
        }
        for host in
            ["", "a", "a:", "a:80", "127.0.0.1:8080", "[2001:db8::1]:80", "[::ffff:192.0.2.1]", "a_b.example", "xn--a"]
        {
            assert!(!refused(&[("host", host)]), "{host}");
        }
    }

    #[test]
    fn a_stranger_cannot_forge_where_it_comes_from() {
        let claims = [("host", "a"), ("x-forwarded-for", "10.1.1.1"), ("forwarded", "for=10.1.1.1")];
        let mut parts = parts("/", &[claims[0], claims[1], claims[2], ("x-real-ip", "10.1.1.1")]);
        rewrite(&mut parts, from("203.0.113.9"), &trusting("10.0.0.0/8")).unwrap();
        assert_eq!(parts.headers["x-forwarded-for"], "203.0.113.9");
        assert_eq!(parts.headers["x-forwarded-proto"], "http");
        assert_eq!(parts.headers["x-forwarded-host"], "a");
        assert!(!parts.headers.contains_key("forwarded"));
        assert!(!parts.headers.contains_key("x-real-ip"));
    }

    #[test]
    fn whoever_has_no_address_is_a_stranger() {
        for (settings, seen) in [
            (trusting("0.0.0.0/0"), "unknown"),
            (Forwarding { x_forwarded: XForwarded::Append, ..Forwarding::default() }, "192.0.2.1, unknown"),
        ] {
            let mut parts = parts("/", &[("host", "a"), ("x-forwarded-for", "192.0.2.1")]);
            rewrite(&mut parts, Some(Origination::new(None, false)), &settings).unwrap();
            assert_eq!(parts.headers["x-forwarded-for"], seen);
        }
    }

    #[test]
    fn whatever_else_a_stranger_claims_goes() {
        let claims = [
            "x-forwarded-port",
            "x-forwarded-prefix",
            "x-forwarded-ssl",
            "x-forwarded",
            "x-client-ip",
            "true-client-ip",
        ];
        let mut fields = vec![("host", "a"), ("x-real-ip-of-ours", "1")];
        fields.extend(claims.map(|name| (name, "1")));
        let mut strangers = parts("/", &fields);
        rewrite(&mut strangers, from("203.0.113.9"), &trusting("10.0.0.0/8")).unwrap();
        assert!(claims.iter().all(|name| !strangers.headers.contains_key(*name)), "{:?}", strangers.headers);
        assert!(strangers.headers.contains_key("x-real-ip-of-ours"));
        let mut proxys = parts("/", &fields);
        rewrite(&mut proxys, from("10.0.0.7"), &trusting("10.0.0.0/8")).unwrap();
        assert!(claims.iter().all(|name| proxys.headers.contains_key(*name)), "{:?}", proxys.headers);
    }

    #[test]
    fn private_addresses_are_known() {
        for (address, expected) in [
            ("10.0.0.7", true),
            ("172.31.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("127.0.0.1", true),
            ("169.254.1.1", true),
            ("100.127.0.1", true),
            ("100.128.0.1", false),
            ("192.0.2.1", false),
            ("::1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_private(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn a_trusted_proxy_is_appended_to_what_it_says() {
        let claims = [("host", "a"), ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-for", "192.0.2.2")];
        let mut parts = parts("/", &[claims[0], claims[1], claims[2], ("x-forwarded-proto", "https")]);
        rewrite(&mut parts, from("::ffff:10.0.0.7"), &trusting("10.0.0.0/8")).unwrap();
        assert_eq!(parts.headers["x-forwarded-for"], "192.0.2.1, 192.0.2.2, 10.0.0.7");
        assert_eq!(parts.headers.get_all("x-forwarded-for").iter().count(), 1);
        assert_eq!(parts.headers["x-forwarded-proto"], "https");
        assert_eq!(parts.headers["x-forwarded-host"], "a");
    }

    #[test]
    fn whom_to_believe_is_a_setting() {
        for (x_forwarded, seen, proto) in [
            (XForwarded::Append, "192.0.2.1, 203.0.113.9", "https"),
            (XForwarded::Replace, "203.0.113.9", "http"),
            (XForwarded::Untouched, "192.0.2.1", "https"),
        ] {
            let fields = [("host", "a"), ("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")];
            let mut parts = parts("/", &fields);
            let settings = Forwarding { x_forwarded, ..trusting("0.0.0.0/0") };
            rewrite(&mut parts, from("203.0.113.9"), &settings).unwrap();
            assert_eq!(parts.headers["x-forwarded-for"], seen);
            assert_eq!(parts.headers["x-forwarded-proto"], proto);
        }
    }

    #[test]
    fn what_this_hop_says_is_named_in_connection() {
        let fields = [("host", "a"), ("connection", "Upgrade, x"), ("upgrade", "websocket"), ("te", "trailers, gzip")];
        let mut parts = parts("/", &fields);
        assert!(rewrite(&mut parts, None, &Forwarding::default()).unwrap());
        assert_eq!(parts.headers["connection"], "upgrade, te");
        assert_eq!(parts.headers["te"], "trailers");
        assert_eq!(parts.headers["upgrade"], "websocket");
    }
}
