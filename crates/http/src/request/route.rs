//! Which requests a policy is for.

use std::fmt;
use std::str::FromStr;

use http::Method;

use crate::error::ConfigError;
use crate::request::RequestInfo;

/// A path, or many: `/login`, `/static/*` (that path and all below it), `/users/{id}/posts` (one segment, any).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PathPattern {
    /// The segments before the first that may be any: most paths are told apart by them.
    prefix: String,
    segments: Vec<Segment>,
    /// Whether anything may follow.
    is_open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Text(String),
    Any(String),
}

impl PathPattern {
    /// Whether `path`, in its one spelling, is of this pattern.
    #[inline]
    pub(crate) fn covers(&self, path: &str) -> bool {
        self.covers_as(path, |text, given| text == given)
    }

    /// The same for servers to which the case of letters does not matter.
    fn covers_in_any_case(&self, path: &str) -> bool {
        self.covers_as(path, str::eq_ignore_ascii_case)
    }

    #[inline]
    fn covers_as(&self, path: &str, is_same: impl Fn(&str, &str) -> bool) -> bool {
        let has_prefix = path
            .split_at_checked(self.prefix.len())
            .is_some_and(|(start, rest)| (rest.is_empty() || rest.starts_with('/')) && is_same(&self.prefix, start));
        if !has_prefix {
            return false;
        }
        let mut given = path.split('/').skip(1).filter(|segment| !segment.is_empty());
        for segment in &self.segments {
            let Some(given) = given.next() else { return false };
            match segment {
                Segment::Text(text) if !is_same(text, given) => return false,
                Segment::Text(_) | Segment::Any(_) => {}
            }
        }
        self.is_open || given.next().is_none()
    }

    /// The first segment of all paths of this pattern, empty for that of `/`; nothing if they differ in it.
    fn first_segment(&self) -> Option<&str> {
        match self.segments.first() {
            Some(Segment::Text(text)) => Some(text),
            Some(Segment::Any(_)) => None,
            None => (!self.is_open).then_some(""),
        }
    }

    /// Whether there is a path that both cover.
    fn overlaps(&self, other: &Self) -> bool {
        let differ = |(a, b): (&Segment, &Segment)| match (a, b) {
            // One request may be of both where case does not matter.
            (Segment::Text(a), Segment::Text(b)) => !a.eq_ignore_ascii_case(b),
            _ => false,
        };
        if self.segments.iter().zip(&other.segments).any(differ) {
            return false;
        }
        let fits = |short: &Self, long: &Self| short.is_open || short.segments.len() == long.segments.len();
        if self.segments.len() <= other.segments.len() { fits(self, other) } else { fits(other, self) }
    }
}

impl PathPattern {
    /// This path and no other, or all below it too; nothing in it stands for anything else.
    fn literal(path: &str, is_open: bool) -> Result<Self, ConfigError> {
        let bad = |why| ConfigError::Path { pattern: path.to_owned(), why };
        if !path.starts_with('/') {
            return Err(bad("it must begin with `/`"));
        }
        if path.contains(['?', '#']) {
            return Err(bad("a pattern is for the path alone, without a query"));
        }
        let normal = crate::request::path::normalized(path).into_owned();
        let segments: Vec<&str> = normal.split('/').filter(|segment| !segment.is_empty()).collect();
        let prefix = segments.iter().flat_map(|text| ["/", text]).collect();
        Ok(Self {
            prefix,
            segments: segments.into_iter().map(|text| Segment::Text(text.to_owned())).collect(),
            is_open,
        })
    }
}

impl FromStr for PathPattern {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let bad = |why| ConfigError::Path { pattern: text.to_owned(), why };
        let path = text.strip_prefix('/').ok_or_else(|| bad("it must begin with `/`"))?;
        if path.contains(['?', '#']) {
            return Err(bad("a pattern is for the path alone, without a query"));
        }
        let (path, is_open) = match path.strip_suffix('*') {
            Some(path) if path.is_empty() || path.ends_with('/') => (path, true),
            Some(_) => return Err(bad("a `*` stands for whole segments: write `/static/*`")),
            None => (path, false),
        };
        let mut segments = Vec::new();
        // In the spelling in which requests are compared with it; braces are never in one.
        let normal = crate::request::path::normalized(&format!("/{path}")).into_owned();
        for segment in normal.split('/').filter(|segment| !segment.is_empty()) {
            segments.push(match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                Some(name) if !name.is_empty() && !name.contains(['{', '}']) => Segment::Any(name.to_owned()),
                _ if segment.contains(['{', '}']) => {
                    return Err(bad("braces stand for a whole segment: write `/{id}`"));
                }
                _ if segment.contains('*') => return Err(bad("a `*` is possible at the end only")),
                _ => Segment::Text(segment.to_owned()),
            });
        }
        let fixed = segments.iter().map_while(|segment| match segment {
            Segment::Text(text) => Some(text.as_str()),
            Segment::Any(_) => None,
        });
        let prefix = fixed.flat_map(|text| ["/", text]).collect();
        Ok(Self { prefix, segments, is_open })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Text(text) => write!(f, "/{text}")?,
                Segment::Any(name) => write!(f, "/{{{name}}}")?,
            }
        }
        match (self.is_open, self.segments.is_empty()) {
            (true, _) => f.write_str("/*"),
            (false, true) => f.write_str("/"),
            (false, false) => Ok(()),
        }
    }
}

/// Which requests a policy is for: all, unless paths, methods or hosts are named. Of each kind, one has to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    paths: Vec<PathPattern>,
    methods: Vec<Method>,
    hosts: Vec<String>,
}

impl Route {
    /// All requests.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// One more path: `/login`, `/static/*`, `/users/{id}`.
    ///
    /// # Errors
    ///
    /// If it is not a valid pattern.
    pub fn path(mut self, pattern: &str) -> Result<Self, ConfigError> {
        self.paths.push(pattern.parse()?);
        Ok(self)
    }

    /// One more path, and no other: `{`, `}` and `*` in it are only what they are, for paths that are not written by hand.
    ///
    /// # Errors
    ///
    /// If it does not begin with `/`, or has a query.
    pub fn path_exact(mut self, path: &str) -> Result<Self, ConfigError> {
        self.paths.push(PathPattern::literal(path, false)?);
        Ok(self)
    }

    /// One more path, and all below it, otherwise as [`path_exact`](Self::path_exact).
    ///
    /// # Errors
    ///
    /// If it does not begin with `/`, or has a query.
    pub fn path_below(mut self, path: &str) -> Result<Self, ConfigError> {
        self.paths.push(PathPattern::literal(path, true)?);
        Ok(self)
    }

    /// One more method; with GET, HEAD is meant as well.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.methods.push(method);
        self
    }

    /// One more host, without a port; `*.example.com` is every host below `example.com`. One that no request can have is an
    /// error when the limiter is made.
    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.hosts.push(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase());
        self
    }

    /// What can be wrong with hosts, which are taken as they come.
    ///
    /// # Errors
    ///
    /// The first of them that no request can have.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let is_host = |host: &str| {
            let name = host.strip_prefix("*.").unwrap_or(host);
            let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_graphic() && !b":/*@".contains(&byte));
            let is_v6 = name.starts_with('[') && name.ends_with(']');
            !name.is_empty() && (is_v6 || is_name(name))
        };
        match self.hosts.iter().find(|host| !is_host(host)) {
            Some(host) => Err(ConfigError::Host { host: host.clone() }),
            None => Ok(()),
        }
    }

    /// Whether this is every request.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it looks at the host.
    pub(crate) const fn has_hosts(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// Whether `request` is one of them, for some server: these do not all read a path alike.
    #[must_use]
    pub fn covers(&self, request: &RequestInfo<'_>) -> bool {
        (self.methods.is_empty() || self.covers_method(request.method()))
            && (self.paths.is_empty() || self.covers_some_path(request))
            && (self.hosts.is_empty() || request.hosts().any(|host| self.covers_host(host)))
    }

    /// Whether `request` is one of them however a server reads it: one that some server takes for another is not.
    #[must_use]
    pub fn covers_surely(&self, request: &RequestInfo<'_>) -> bool {
        self.covers(request)
            && (self.paths.is_empty() || request.paths().all(|path| self.covers_path(path)))
            && (self.hosts.is_empty() || request.hosts().all(|host| self.covers_host(host)))
    }

    /// The first segments of all paths that it is for, in whatever case; nothing if a path may begin in any way.
    pub(crate) fn first_segments(&self) -> Option<Vec<&str>> {
        if self.paths.is_empty() { None } else { self.paths.iter().map(PathPattern::first_segment).collect() }
    }

    /// Servers answer HEAD as they do GET.
    fn covers_method(&self, method: &str) -> bool {
        let is_head = method == Method::HEAD.as_str();
        self.methods.iter().any(|wanted| wanted.as_str() == method || is_head && *wanted == Method::GET)
    }

    fn covers_some_path(&self, request: &RequestInfo<'_>) -> bool {
        if request.ignores_path_case() {
            return request.paths().any(|path| self.paths.iter().any(|pattern| pattern.covers_in_any_case(path)));
        }
        request.paths().any(|path| self.covers_path(path))
    }

    /// The paths that are named, as they display.
    pub(crate) fn path_names(&self) -> impl Iterator<Item = String> {
        self.paths.iter().map(PathPattern::to_string)
    }

    /// Which of the named paths `request` is of; the first, if servers read its path in ways that are of several.
    pub(crate) fn path_of(&self, request: &RequestInfo<'_>) -> Option<usize> {
        let covers = |pattern: &PathPattern, path: &str| match request.ignores_path_case() {
            true => pattern.covers_in_any_case(path),
            false => pattern.covers(path),
        };
        self.paths.iter().position(|pattern| request.paths().any(|path| covers(pattern, path)))
    }

    fn covers_path(&self, path: &str) -> bool {
        self.paths.iter().any(|pattern| pattern.covers(path))
    }

    fn covers_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|wanted| match wanted.strip_prefix('*') {
            Some(below) => {
                let tail = host.len().checked_sub(below.len()).and_then(|at| host.get(at..));
                host.len() > below.len() && tail.is_some_and(|tail| tail.eq_ignore_ascii_case(below))
            }
            None => host.eq_ignore_ascii_case(wanted),
        })
    }

    /// Whether one request can match both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty()
            || other.methods.is_empty()
            || self.methods.iter().any(|method| other.covers_method(method.as_str()))
            || other.methods.iter().any(|method| self.covers_method(method.as_str()));
        let paths = self.paths.is_empty()
            || other.paths.is_empty()
            || self.paths.iter().any(|path| other.paths.iter().any(|other| path.overlaps(other)));
        methods && paths
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("every request");
        }
        let list = |items: Vec<String>| items.join(" or ");
        let mut parts = Vec::new();
        if !self.methods.is_empty() {
            parts.push(list(self.methods.iter().map(Method::to_string).collect()));
        }
        if !self.paths.is_empty() {
            parts.push(list(self.paths.iter().map(PathPattern::to_string).collect()));
        }
        if !self.hosts.is_empty() {
            parts.push(format!("at {}", self.hosts.join(" or ")));
        }
        f.write_str(&parts.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_paths() {
        for (pattern, path, is_covered) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/*", "/", true),
            ("/*", "/a/b", true),
            ("/login", "/login", true),
            ("/login", "/login2", false),
            ("/login", "/login/x", false),
            ("/static/*", "/static", true),
            ("/static/*", "/static/a/b", true),
            ("/static/*", "/statics", false),
            ("/users/{id}", "/users/7", true),
            ("/users/{id}", "/users", false),
            ("/users/{id}/posts", "/users/7/posts", true),
            ("/users/{id}/*", "/users/7/posts/1", true),
            ("/%6cogin/", "/login", true),
        ] {
            let pattern: PathPattern = pattern.parse().unwrap();
            assert_eq!(pattern.covers(path), is_covered, "{pattern} {path}");
            assert_eq!(pattern.to_string().parse::<PathPattern>().unwrap(), pattern);
        }
        for bad in ["", "login", "/a*", "/a/*/b", "/a?b", "/{id", "/{}", "/x{id}"] {
            assert!(bad.parse::<PathPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_overlap_where_one_path_is_of_both() {
        for (a, b, overlap) in [
            ("/a", "/a", true),
            ("/a", "/b", false),
            ("/a/*", "/a", true),
            ("/a/*", "/a/b/c", true),
            ("/a/*", "/b", false),
            ("/{x}", "/b", true),
            ("/{x}", "/b/c", false),
            ("/{x}/*", "/b/c", true),
            ("/*", "/", true),
        ] {
            let (a, b): (PathPattern, PathPattern) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!((a.overlaps(&b), b.overlaps(&a)), (overlap, overlap), "{a} {b}");
        }
    }

    #[test]
    fn literal_paths_stand_for_themselves() {
        let covers = |route: &Route, path: &str| {
            let request = http::Request::builder().uri(path).body(()).unwrap();
            route.covers(&RequestInfo::new(&request))
        };
        let exact = Route::any().path_exact("/a/{id}/").unwrap();
        let below = Route::any().path_below("//files/*").unwrap();
        for (path, is_exact, is_below) in [
            ("/a/%7Bid%7D", true, false),
            ("/a/7", false, false),
            ("/a/%7Bid%7D/b", false, false),
            ("/files/*", false, true),
            ("/files/*/b", false, true),
            ("/files/b", false, false),
        ] {
            assert_eq!((covers(&exact, path), covers(&below, path)), (is_exact, is_below), "{path}");
        }
        for bad in ["", "a", "/a?b", "/a#b"] {
            assert!(Route::any().path_exact(bad).is_err() && Route::any().path_below(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn routes_cover_hosts() {
        let route = Route::any().host("a.example.").host("*.b.example").host("[2001:db8::1]");
        for (host, is_covered) in [
            ("a.example", true),
            ("A.Example.:8080", true),
            ("b.example", false),
            (".b.example", false),
            ("x.y.b.EXAMPLE", true),
            ("xb.example", false),
            ("[2001:db8::1]", true),
            ("[2001:db8::1]:80", true),
            ("1]", false),
        ] {
            let request = http::Request::builder().header("host", host).body(()).unwrap();
            assert_eq!(route.covers(&RequestInfo::new(&request)), is_covered, "{host}");
        }
    }
}
