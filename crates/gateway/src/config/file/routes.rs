//! The keys of groups of upstreams: for which hosts and paths each is.

use super::gateway::check_path;
use super::item::{Item, Table};
use crate::proxy::settings::{GroupCheck, RouteGroup};
use crate::values::origin::Origin;
use crate::values::place::Place;

/// More than anybody writes by hand; a request is held against each.
const MAX_PLACES: usize = 1_000;

/// Reads all of them; `default` are the servers for what no route is for.
pub(crate) fn read_all(item: &Item<'_>, default: &[Origin]) -> Vec<RouteGroup> {
    let mut routes: Vec<RouteGroup> = Vec::new();
    for item in item.items() {
        let Some(route) = item.table(read).flatten() else { continue };
        if routes.iter().any(|other| other.name == route.name) {
            item.refuse(format_args!("there is a route `{}` already", route.name));
        }
        for origin in &route.upstreams {
            let others = routes.iter().filter(|other| other.upstreams.contains(origin)).map(|other| &other.check);
            let default = default.contains(origin).then_some(&GroupCheck::Common);
            if others.chain(default).any(|check| *check != route.check) {
                item.refuse(format_args!("{origin} is elsewhere with another `health`, and is one server"));
            }
        }
        for place in &route.places {
            let is_same = |other: &&RouteGroup| other.places.iter().any(|other| other.is_same(place));
            if let Some(other) = routes.iter().find(is_same) {
                item.refuse(format_args!("{place} is for `{}` already, so no request would come here", other.name));
            }
        }
        routes.push(route);
    }
    let places = routes.iter().map(|route| route.places.len()).sum();
    is_few(item, places);
    routes
}

fn is_few(item: &Item<'_>, places: usize) -> bool {
    if places > MAX_PLACES {
        item.refuse(format_args!("these are {places} pairs of a host and a path; at most {MAX_PLACES} are possible"));
    }
    places <= MAX_PLACES
}

fn read(table: &mut Table<'_, '_>) -> Option<RouteGroup> {
    let name = table.require("name", "what metrics and the page call it").and_then(|item| name(&item));
    let (hosts, paths) = (table.get("hosts"), table.get("paths"));
    let upstreams = table.require("upstreams", "the servers that it is for");
    let mut check = GroupCheck::Common;
    table.set("health", &mut check, |item| match item.text()? {
        "off" => Some(GroupCheck::Nothing),
        _ => check_path(&item).map(GroupCheck::Of),
    });
    if hosts.is_none() && paths.is_none() {
        table.item().refuse(
            "with neither `hosts` nor `paths` this is for every request: name its servers in `upstreams` of the file",
        );
    }
    for (list, what) in
        [(&hosts, "leave the key out for any"), (&paths, "leave the key out for any"), (&upstreams, "name a server")]
    {
        if let Some(list) = list
            && list.items().is_empty()
        {
            list.refuse(format_args!("the list is empty; {what}"));
        }
    }
    let (hosts, paths, servers) = (items(hosts), items(paths), items(upstreams));
    // Each by itself, so that a mistake is told at its place and once.
    let text = |items: &[Item<'_>], place: fn(&str) -> Result<Place, tollgate_http::ConfigError>| {
        let good = |item: &Item<'_>| {
            let text = item.text()?;
            item.accept(place(text)).map(|_| text.to_owned())
        };
        items.iter().map(good).collect::<Option<Vec<_>>>()
    };
    let hosts = text(&hosts, |host| Place::new(Some(host), None))?;
    let paths = text(&paths, |path| Place::new(None, Some(path)))?;
    let any = |list: Vec<String>| if list.is_empty() { vec![None] } else { list.into_iter().map(Some).collect() };
    if !is_few(table.item(), hosts.len().max(1).saturating_mul(paths.len().max(1))) {
        return None;
    }
    let paths = any(paths);
    let pairs = any(hosts).into_iter().flat_map(|host| paths.iter().map(move |path| (host.clone(), path.clone())));
    // Both are good by themselves, and so they are together.
    let places = pairs.filter_map(|(host, path)| Place::new(host.as_deref(), path.as_deref()).ok()).collect();
    let upstreams = servers.iter().map(Item::parse).collect::<Option<_>>()?;
    Some(RouteGroup { name: name?, places, upstreams, check })
}

/// The items of a list; of none there are none.
fn items(list: Option<Item<'_>>) -> Vec<Item<'_>> {
    list.iter().flat_map(Item::items).collect()
}

fn name(item: &Item<'_>) -> Option<String> {
    let text = item.text()?;
    let is_name = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    item.accept(if is_name {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a valid name; expected 1 to 64 letters, digits and signs"))
    })
}

/// Whether hosts that no route names are refused.
pub(crate) fn strict(item: &Item<'_>, routes: &[RouteGroup]) -> Option<bool> {
    let is_strict = item.choice(&[("any", false), ("strict", true)])?;
    if is_strict && !routes.iter().flat_map(|route| &route.places).any(|place| place.host().is_some()) {
        item.refuse("no route names a host, so every request would be refused");
    }
    Some(is_strict)
}
