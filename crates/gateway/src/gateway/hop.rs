//! Fields that concern one connection and end at it (RFC 9110, 7.6.1).

use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};

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

/// Removes what must not be passed on, in either direction.
pub(crate) fn strip(headers: &mut HeaderMap) {
    // Few messages have more than one of them, and one look at each name costs less than nine searches.
    while let Some(name) = headers.keys().find(|name| FIELDS.contains(&name.as_str())).cloned() {
        if name == CONNECTION {
            strip_named(headers);
        }
        // hyper frames the message anew. A length beside a coding is not the length of the body (RFC 9112, 6.3).
        if name == TRANSFER_ENCODING {
            headers.remove(CONTENT_LENGTH);
        }
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

/// Whether the client can take trailers, which is the only thing that `TE` may say beyond one hop.
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(TE) && tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case(b"trailers"))
}

/// The protocol that the client would rather speak, if it says so as it must: `Connection` names `Upgrade`.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    let is_named = tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case(b"upgrade"));
    is_named.then(|| protocol.clone())
}

/// The members of a list field, over all its lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',')).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
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
    fn an_upgrade_needs_both_fields() {
        assert_eq!(upgrade(&headers(&[("upgrade", "websocket")])), None);
        assert_eq!(upgrade(&headers(&[("connection", "upgrade")])), None);
        let both = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert_eq!(upgrade(&both).unwrap(), "websocket");
    }

    #[test]
    fn trailers_are_seen_among_codings() {
        assert!(takes_trailers(&headers(&[("te", "gzip, Trailers")])));
        assert!(!takes_trailers(&headers(&[("te", "gzip")])));
    }
}
