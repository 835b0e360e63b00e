//! One host and one path, for which there is a group of upstreams.

use std::fmt;

use tollgate_http::{ConfigError, Route};

/// One host and one path for which there is a group; either may be any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    host: Option<String>,
    /// In the one spelling of patterns.
    path: Option<String>,
    route: Route,
    narrowness: Narrowness,
}

/// How closely a place describes what it is for. The host counts first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Narrowness {
    /// None, all below a name, or one; and the length of the name.
    host: (u8, usize),
    /// Of each segment. A list that begins another is less than that.
    path: Vec<Segment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Rest,
    End,
    Any,
    Text,
}

impl Place {
    /// The place of a host and a path as the configuration has them, or what is wrong with one of the two.
    pub fn new(host: Option<&str>, path: Option<&str>) -> Result<Self, ConfigError> {
        let mut route = Route::any();
        if let Some(path) = path {
            route = route.path(path)?;
        }
        let shown = path.map(|_| route.to_string());
        if let Some(host) = host {
            route = route.host(host);
        }
        route.validate()?;
        let segments = shown.iter().flat_map(|path| path.split('/').skip(1)).filter(|segment| !segment.is_empty());
        let mut ranks: Vec<Segment> = segments
            .map(|segment| match segment {
                "*" => Segment::Rest,
                segment if segment.starts_with('{') => Segment::Any,
                _ => Segment::Text,
            })
            .collect();
        if ranks.last() != Some(&Segment::Rest) && path.is_some() {
            ranks.push(Segment::End);
        }
        let host_rank = host.map_or((0, 0), |host| (if host.starts_with("*.") { 1 } else { 2 }, host.len()));
        let host = host.map(|host| host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase());
        Ok(Self { host, path: shown, route, narrowness: Narrowness { host: host_rank, path: ranks } })
    }

    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// What it covers.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Of two places for one request, that of the greater is meant.
    pub fn narrowness(&self) -> &Narrowness {
        &self.narrowness
    }

    /// Whether another is for the same requests.
    pub fn is_same(&self, other: &Self) -> bool {
        // Of a segment that may be any, the name says nothing; all paths are all paths.
        let plain = |place: &Self| {
            let path = place.path.as_deref().filter(|path| *path != "/*")?;
            let unnamed = |segment: &str| if segment.starts_with('{') { "{}".to_owned() } else { segment.to_owned() };
            Some(path.split('/').map(unnamed).collect::<Vec<_>>())
        };
        self.host == other.host && plain(self) == plain(other)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.host.as_deref().unwrap_or_default())?;
        f.write_str(self.path.as_deref().unwrap_or(if self.host.is_some() { "" } else { "/*" }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_place_is_known_however_it_is_written() {
        let place = |host, path| Place::new(host, path).unwrap();
        for (a, b, is_same) in [
            (place(Some("A.example."), None), place(Some("a.example"), Some("/*")), true),
            (place(None, Some("/a/{x}")), place(None, Some("/a/{y}/")), true),
            (place(None, Some("/a/{x}")), place(None, Some("/a/x")), false),
            (place(None, Some("/a")), place(None, Some("/a/*")), false),
            (place(None, Some("/a")), place(Some("a"), Some("/a")), false),
        ] {
            assert_eq!(a.is_same(&b), is_same, "{a} {b}");
        }
        assert!(Place::new(Some("a:80"), None).is_err() && Place::new(None, Some("a")).is_err());
    }
}
