//! Groups of upstreams: which of them is for a request, by its host and its path.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use http::request::Parts;
use tollgate_http::request::{RequestInfo, Route};

use crate::proxy::error::Error;
use crate::proxy::settings::{RouteGroup, Settings};
use crate::proxy::upstream::upstream::Upstreams;
use crate::values::origin::Origin;
use crate::values::place::Place;

/// All groups of a configuration but the default.
#[derive(Debug)]
pub(crate) struct Groups {
    /// Narrowest first: the first that covers a request has it.
    places: Vec<(Place, usize)>,
    groups: Vec<Group>,
    /// The hosts that are named, if no other is served.
    strict: Option<Route>,
    /// Whether there is a group for what no place covers.
    has_default: bool,
}

/// The upstreams for some hosts and paths.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) upstreams: Upstreams,
    /// Requests that were for it. Relaxed: a number for people, and whose turn it is among equals.
    requests: Arc<AtomicUsize>,
}

impl Groups {
    /// The groups of `routes`; nothing if there are none and any host is served. Upstreams are those of `all`, and counts go on.
    pub(crate) fn new(settings: &Settings, all: &Upstreams, before: Option<&Self>) -> Option<Self> {
        let Settings { routes, hosts_strict: is_strict, .. } = settings;
        if routes.is_empty() && !*is_strict {
            return None;
        }
        let known = |name: &str| before.and_then(|before| before.groups.iter().find(|group| group.name == name));
        let group = |route: &RouteGroup| Group {
            name: route.name.clone(),
            upstreams: Upstreams::new(&route.upstreams, all),
            requests: known(&route.name).map(|group| Arc::clone(&group.requests)).unwrap_or_default(),
        };
        let mut places: Vec<(Place, usize)> = (0..)
            .zip(routes)
            .flat_map(|(group, route)| route.places.iter().map(move |at| (at.clone(), group)))
            .collect();
        places.sort_by(|(a, _), (b, _)| b.narrowness().cmp(a.narrowness()));
        let hosts = routes.iter().flat_map(|route| &route.places).filter_map(Place::host);
        Some(Self {
            places,
            groups: routes.iter().map(group).collect(),
            strict: is_strict.then(|| hosts.fold(Route::any(), Route::host)),
            has_default: !settings.upstreams.is_empty(),
        })
    }

    /// The group for a request, whose `Host` is the one that it asks for; nothing is the default.
    pub(crate) fn choose(&self, parts: &Parts) -> Result<Option<usize>, Error> {
        let request = RequestInfo::new(parts);
        if self.strict.as_ref().is_some_and(|hosts| hosts.is_any() || !hosts.covers_surely(&request)) {
            return Err(Error::Misdirected);
        }
        match self.places.iter().find(|(place, _)| place.route().covers(&request)) {
            Some((place, group)) if place.route().covers_surely(&request) => Ok(Some(*group)),
            // Some servers read its path as one of this group, and some as one of another.
            Some(_) => Err(Error::Malformed),
            None if self.has_default => Ok(None),
            None => Err(Error::NoRoute),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    /// The one that was [chosen](Self::choose).
    pub(crate) fn get(&self, group: usize) -> Option<&Group> {
        self.groups.get(group)
    }
}

impl Group {
    /// One more request is for it. Returns whose turn it is.
    pub(crate) fn begin(&self) -> usize {
        self.requests.fetch_add(1, Relaxed)
    }

    /// Requests that were for it.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }
}

/// Every upstream that is named anywhere, each once.
pub(crate) fn all_origins<'a>(default: &'a [Origin], routes: &'a [RouteGroup]) -> Vec<Origin> {
    let mut all: Vec<Origin> = Vec::new();
    for origin in default.iter().chain(routes.iter().flat_map(|route| &route.upstreams)) {
        if !all.contains(origin) {
            all.push(origin.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use http::Request;

    use crate::proxy::settings::GroupCheck;

    use super::*;

    /// Groups by the places of each, written `host/path`.
    fn groups(places: &[&[&str]], is_strict: bool, has_default: bool) -> Groups {
        let place = |text: &&str| {
            let (host, path) =
                text.split_once('/').map_or((*text, None), |(host, path)| (host, Some(format!("/{path}"))));
            Place::new(Some(host).filter(|host| !host.is_empty()), path.as_deref()).unwrap()
        };
        let route = |(number, places): (usize, &&[&str])| RouteGroup {
            name: number.to_string(),
            places: places.iter().map(place).collect(),
            upstreams: vec!["http://192.0.2.1".parse().unwrap()],
            check: GroupCheck::Common,
        };
        let routes: Vec<RouteGroup> = places.iter().enumerate().map(route).collect();
        let default = has_default.then(|| "http://192.0.2.9".parse().unwrap());
        let mut settings =
            Settings::new(std::net::SocketAddr::from(([127, 0, 0, 1], 0)), default.into_iter().collect());
        (settings.routes, settings.hosts_strict) = (routes, is_strict);
        Groups::new(&settings, &Upstreams::default(), None).unwrap()
    }

    fn chosen(groups: &Groups, host: &str, path: &str) -> Result<Option<usize>, Error> {
        groups.choose(&Request::get(path).header("host", host).body(()).unwrap().into_parts().0)
    }

    #[test]
    fn the_narrowest_place_has_a_request_in_whatever_order_they_stand() {
        let rows = [
            ("a.example", "/", "a.example"),
            ("A.Example.:8080", "/x", "a.example"),
            ("a.example", "/api", "a.example/api/*"),
            ("a.example", "/api/x", "a.example/api/*"),
            ("a.example", "/api/7", "a.example/api/7"),
            ("a.example", "/api/7/x", "a.example/api/{id}/x"),
            ("a.example", "/apis", "a.example"),
            ("b.example", "/", "*.example"),
            ("c.b.example", "/", "*.b.example"),
            ("b.example", "/api/x", "*.example"),
            ("other", "/api/x", "/api/*"),
            ("other", "/API/x", ""),
            ("other", "/", ""),
            ("example", "/", ""),
        ];
        let mut places: Vec<&str> = rows.iter().map(|(_, _, place)| *place).filter(|place| !place.is_empty()).collect();
        places.sort_unstable();
        places.dedup();
        for _ in 0..places.len() {
            places.rotate_left(1);
            let each: Vec<&[&str]> = places.iter().map(std::slice::from_ref).collect();
            let groups = groups(&each, false, true);
            for (host, path, place) in rows {
                let expected = places.iter().position(|at| *at == place);
                assert_eq!(chosen(&groups, host, path), Ok(expected), "{host}{path}");
            }
        }
    }

    #[test]
    fn what_no_place_is_for_has_an_answer() {
        let open = groups(&[&["a.example/api/*"]], false, false);
        assert_eq!(chosen(&open, "a.example", "/"), Err(Error::NoRoute));
        assert_eq!(chosen(&open, "b.example", "/api"), Err(Error::NoRoute));
        let strict = groups(&[&["a.example/api/*", "*.b.example"], &["/static/*"]], true, true);
        assert_eq!(chosen(&strict, "a.example", "/"), Ok(None));
        assert_eq!(chosen(&strict, "a.example", "/static/x"), Ok(Some(1)));
        assert_eq!(chosen(&strict, "x.b.example", "/static/x"), Ok(Some(0)), "the host counts first");
        for host in ["b.example", "other", "", "192.0.2.1", "a.example.other"] {
            for path in ["/", "/api/x", "/static/x"] {
                assert_eq!(chosen(&strict, host, path), Err(Error::Misdirected), "{host}{path}");
            }
        }
        let nobody = strict.choose(&Request::get("/static/x").body(()).unwrap().into_parts().0);
        assert_eq!(nobody, Err(Error::Misdirected));
    }

    #[test]
    fn a_path_that_is_read_as_one_of_two_groups_goes_to_neither() {
        let groups = groups(&[&["/admin/*"], &["/files/*"]], false, true);
        for path in ["/files/../admin", "/files/..%2fadmin/x", "/x/%2e%2e/admin", "/admin;x/y", "/%61dmin"] {
            assert_eq!(chosen(&groups, "a", path), Err(Error::Malformed), "{path}");
        }
        for (path, group) in
            [("/admin/a%2Fb", Some(0)), ("//admin/x", Some(0)), ("/files/a;b/c", Some(1)), ("/a%2Fb", None)]
        {
            assert_eq!(chosen(&groups, "a", path), Ok(group), "{path}");
        }
    }
}
