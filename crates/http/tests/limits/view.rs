//! A request of another type than that of the crate `http` is the same to the rules.

use std::net::IpAddr;

use http::{HeaderName, Method, Request};
use tollgate_http::limiter::AsyncKeys;
use tollgate_http::request::{FieldLines, Fields, RequestView};
use tollgate_http::{AuthenticatedUser, PeerAddr, Tiers};

use crate::app::{App, With, at, get, policy};

/// As a server would have it that knows nothing of `http`.
#[derive(Default)]
struct Raw {
    method: &'static str,
    target: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    peer: Option<&'static str>,
    user: Option<&'static str>,
}

impl Fields for Raw {
    fn field<'f>(&'f self, name: &HeaderName, lines: &mut FieldLines<'f>) {
        let found = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name.as_str()));
        found.for_each(|(_, value)| lines.push(value.as_bytes()));
    }
}

impl RequestView for Raw {
    fn method(&self) -> &str {
        self.method
    }
    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
    fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }
    fn peer(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.parse().unwrap())
    }
    fn user(&self) -> Option<&str> {
        self.user
    }
}

impl Raw {
    fn as_http(&self) -> Request<()> {
        let request = Request::builder().method(self.method).uri(self.target).body(()).unwrap();
        let mut request = self.fields.iter().fold(request, |request, (name, value)| request.header(name, value));
        if let Some(peer) = self.peer() {
            request.extensions_mut().insert(PeerAddr((peer, 1).into()));
        }
        if let Some(user) = self.user {
            request.extensions_mut().insert(AuthenticatedUser(user.into()));
        }
        request
    }
}

#[test]
fn a_view_matches_as_the_request_that_it_shows() {
    let key = |key: &str| policy(&key.replace([' ', '|'], "-"), "1/hour").key(key.parse().unwrap());
    let app = App::of([
        key("ip+method"),
        key("path"),
        key("host | user"),
        key("cookie:sid | header:x-a | all"),
        policy("route", "1/hour").on(at("/a/*").host("a.example").method(Method::GET)),
        policy("tiers", "1/hour")
            .tiers(Tiers::by_header(HeaderName::from_static("x-plan")).tier("gold", "9/hour").unwrap()),
        policy("exempt", "1/hour").exempt("header:x-a:1*".parse().unwrap()),
        policy("query", "1/hour").cost_by(|request| request.query().map_or(1, |query| query.len() as u64)),
    ]);
    let mut seen = std::collections::HashSet::new();
    for target in ["/a/b", "/a/../%61//b?xyz", "/"] {
        for fields in [
            &[][..],
            &[("Host", "A.example:80"), ("x-plan", "gold")],
            &[("cookie", "a=1"), ("Cookie", "sid=7")],
            &[("X-A", "12"), ("host", "b"), ("Host", "c")],
        ] {
            for (method, peer, user) in [("GET", Some("192.0.2.1"), None), ("HEAD", None, Some("ada"))] {
                let raw = Raw { method, target, fields: fields.to_vec(), peer, user };
                let matches = app.limiter.matching(&raw, &AsyncKeys::default());
                assert_eq!(matches, app.limiter.matching(&raw.as_http(), &AsyncKeys::default()), "{target} {fields:?}");
                seen.insert(format!("{matches:?}"));
            }
        }
    }
    // The route takes the place of the others, and two spellings of its path are one: by each of two methods.
    assert_eq!(seen.len(), 24 - 2, "requests that differ are told apart");
    assert!(app.limiter.check(&get("/x").header("x-plan", "gold")).is_admitted());
}
