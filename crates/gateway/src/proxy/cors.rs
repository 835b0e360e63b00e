//! Answers that pages of other origins may read (the Fetch standard, CORS): what an upstream says of that is left as it is, and
//! an answer that says nothing, such as the gateway's own 429 or 502, is made readable.

use http::HeaderMap;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue, ORIGIN, VARY};

/// The fields of refusals, which scripts cannot read otherwise.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "retry-after, ratelimit, ratelimit-policy, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset",
);

/// Whose pages may read answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cors {
    /// Anybody's, without cookies.
    Any,
    /// Those of these origins, such as `https://app.example`.
    Of(Vec<HeaderValue>),
}

impl Cors {
    /// What to answer to a request with these fields, if its page may read the answer.
    pub(crate) fn allows(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = request.get(ORIGIN)?;
        match self {
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Of(origins) => origins.iter().find(|known| *known == origin).cloned(),
        }
    }
}

/// Lets pages of `origin` read a response with these fields, unless they say themselves who may.
pub(crate) fn open(headers: &mut HeaderMap, origin: HeaderValue) {
    if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    if origin != "*" {
        // A cache must not show it to other origins.
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if !headers.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS) {
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn those_who_are_named_may_read() {
        let cors = Cors::Of(vec![HeaderValue::from_static("https://app.example")]);
        let asks = |origin| cors.allows(&headers(&[("origin", origin)]));
        assert_eq!(asks("https://app.example").unwrap(), "https://app.example");
        for other in ["https://app.example.evil", "http://app.example", "null", "https://app.example:8443"] {
            assert_eq!(asks(other), None, "{other}");
        }
        assert_eq!(cors.allows(&HeaderMap::new()), None);
        assert_eq!(Cors::Any.allows(&headers(&[("origin", "null")])).unwrap(), "*");
    }

    #[test]
    fn what_an_upstream_says_stays() {
        let mut said = headers(&[("access-control-allow-origin", "https://b.example")]);
        open(&mut said, HeaderValue::from_static("*"));
        assert_eq!(said, headers(&[("access-control-allow-origin", "https://b.example")]));
        let mut silent = headers(&[("vary", "accept")]);
        open(&mut silent, HeaderValue::from_static("https://a.example"));
        assert_eq!(silent["access-control-allow-origin"], "https://a.example");
        assert_eq!(silent.get_all("vary").iter().collect::<Vec<_>>(), ["accept", "origin"]);
        assert!(silent["access-control-expose-headers"].to_str().unwrap().contains("retry-after"));
    }
}
