//! The keys of the proxy: where it listens, whom it asks, and within which bounds.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use super::Files;
use super::item::{Item, Table};
use super::routes;
use crate::proxy::cors::Cors;
use crate::proxy::fields::{Edit, Fields, OwnBody, is_fixed};
use crate::proxy::settings::{
    Forwarding, Health, Limits, Listen, LogFormat, LogSettings, LogTarget, Settings, Timeouts, TlsFiles, XForwarded,
};
use crate::values::listen_addr::ListenAddr;
use crate::values::socket_file::LONGEST_PATH;

/// The most threads and the most bytes that make sense to ask for.
const MAX_THREADS: usize = 1_024;
const MAX_HEAD: u32 = 16 << 20;
const MAX_BODY: u64 = 1 << 50;
const MIN_EVERY: Duration = Duration::from_millis(10);
const MAX_BUFFER: u32 = 64 << 20;

/// Reads all of it but `client`, whose `trusted` networks are believed about `X-Forwarded-*` unless others are named.
pub(crate) fn read(table: &mut Table<'_, '_>, files: &Files<'_>, trusted: Vec<IpNet>) -> Settings {
    let mut settings = Settings::new(super::DEFAULT_LISTEN, Vec::new());
    settings.forwarding.trusted = trusted;
    table.set("listen", &mut settings.listeners, |item| listeners(&item, files));
    table.set("upstreams", &mut settings.upstreams, |item| item.items().iter().map(Item::parse).collect());
    table.set("routes", &mut settings.routes, |item| Some(routes::read_all(&item, &settings.upstreams)));
    table.set("hosts", &mut settings.hosts_strict, |item| routes::strict(&item, &settings.routes));
    table.set("upstream_ca", &mut settings.upstream_ca, |item| {
        let path = files.folder.join(item.text()?);
        item.accept((files.authorities)(&path))?;
        Some(Some(path))
    });
    table.set("upstream_http2", &mut settings.upstream_http2, |item| item.choice(&[("auto", true), ("off", false)]));
    table.set("threads", &mut settings.threads, |item| NonZeroUsize::new(item.number(1..=MAX_THREADS)?));
    table.get("forwarding").map(|item| item.table(|table| forwarding(table, &mut settings.forwarding)));
    table.get("timeouts").map(|item| item.table(|table| timeouts(table, &mut settings.timeouts)));
    let are_all_trusted = settings.forwarding.trusted.iter().any(|network| network.prefix_len() == 0);
    table.get("bounds").map(|item| item.table(|table| bounds(table, &mut settings.limits, are_all_trusted)));
    table.get("health").map(|item| item.table(|table| health(table, &mut settings.health)));
    table.set("fields", &mut settings.fields, |item| item.table(fields).map(Arc::new));
    table.set("own_bodies", &mut settings.own_bodies, |item| Some(own_bodies(&item)));
    table.set("access_log", &mut settings.access_log, |item| item.table(|table| access_log(table, files)).map(Some));
    table.set("cors", &mut settings.cors, |item| item.table(cors)?.map(|cors| Some(Arc::new(cors))));
    settings
}

fn fields(table: &mut Table<'_, '_>) -> Fields {
    let mut fields = Fields::default();
    table.set("request", &mut fields.request, |item| item.table(edits));
    table.set("response", &mut fields.response, |item| item.table(edits));
    fields
}

/// What is removed goes first, so that a field can be removed and added.
fn edits(table: &mut Table<'_, '_>) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    for item in table.get("remove").iter().flat_map(Item::items) {
        edits.extend(item.text().and_then(|name| field_name(&item, name)).map(Edit::Remove));
    }
    for (key, edit) in [("set", Edit::Set as fn(_, _) -> _), ("add", Edit::Add)] {
        for (name, item) in table.get(key).iter().flat_map(Item::entries) {
            let value = item.text().and_then(|text| {
                item.accept(HeaderValue::from_str(text).map_err(|_| format!("`{text}` cannot stand in a field")))
            });
            if let (Some(name), Some(value)) = (field_name(&item, name), value) {
                edits.push(edit(name, value));
            }
        }
    }
    edits
}

fn field_name(item: &Item<'_>, text: &str) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is not a valid name of a field"));
    let name = item.accept(name)?;
    if is_fixed(&name) {
        item.refuse(format_args!("`{name}` is for the gateway to say: it frames the message or names its host"));
        return None;
    }
    Some(name)
}

/// Bodies by status. Those of refusals are `answer.body`.
fn own_bodies(item: &Item<'_>) -> Vec<(u16, OwnBody)> {
    let body = |(status, item): (&str, Item<'_>)| {
        let known = status.parse().ok().filter(|status| [502, 503, 504].contains(status));
        let status = item.accept(known.ok_or_else(|| {
            format!("`{status}` is no answer of the gateway's with a body to choose; expected 502, 503 or 504")
        }))?;
        let body = item.table(|table| {
            let mut kind = HeaderValue::from_static("text/plain; charset=utf-8");
            table.set("content_type", &mut kind, |item| item.parse());
            let text = table.require("text", "what a client reads")?.text()?;
            Some(OwnBody { content_type: kind, text: text.to_owned().into() })
        })??;
        Some((status, body))
    };
    item.entries().into_iter().filter_map(body).collect()
}

fn access_log(table: &mut Table<'_, '_>, files: &Files<'_>) -> LogSettings {
    let mut settings = LogSettings { format: LogFormat::Combined, target: LogTarget::Stdout };
    let formats = [("combined", LogFormat::Combined), ("json", LogFormat::Json)];
    table.set("format", &mut settings.format, |item| item.choice(&formats));
    table.set("to", &mut settings.target, |item| match item.text()? {
        "stdout" => Some(LogTarget::Stdout),
        "" => {
            item.refuse("expected `stdout` or the name of a file");
            None
        }
        path => Some(LogTarget::File(files.folder.join(path))),
    });
    settings
}

fn cors(table: &mut Table<'_, '_>) -> Option<Cors> {
    let list = table.require("origins", "whose pages may read answers, such as https://app.example, or `*`")?;
    let items = list.items();
    if let [only] = items.as_slice()
        && only.text() == Some("*")
    {
        return Some(Cors::Any);
    }
    if items.is_empty() {
        list.refuse("the list is empty, so no page could read an answer; leave out `cors` instead");
    }
    let origin = |item: &Item<'_>| {
        let text = item.text()?;
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_origin = host.is_some_and(|host| {
            !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@*".contains(&byte))
        });
        let value =
            HeaderValue::from_str(text).ok().filter(|_| is_origin && !text.contains(|c: char| c.is_ascii_uppercase()));
        item.accept(value.ok_or_else(|| {
            format!("`{text}` is not an origin as browsers write it; expected for example https://app.example, with nothing behind it")
        }))
    };
    items.iter().map(origin).collect::<Option<_>>().map(Cors::Of)
}

fn listeners(item: &Item<'_>, files: &Files<'_>) -> Option<Vec<Listen>> {
    let mut listeners: Vec<Listen> = Vec::new();
    for item in item.items() {
        let Some(listen) = listen(&item, files) else { continue };
        let is_any = listen.addr.net().is_some_and(|addr| addr.port() == 0);
        let is_taken = !is_any && listeners.iter().any(|other| other.addr == listen.addr);
        if is_taken {
            item.refuse(format_args!("{} is already listened on", listen.addr));
        }
        listeners.push(listen);
    }
    if item.items().is_empty() {
        item.refuse("expected at least one address such as 0.0.0.0:8080");
    }
    Some(listeners)
}

fn listen(item: &Item<'_>, files: &Files<'_>) -> Option<Listen> {
    if !item.is_table() {
        return item.parse::<ListenAddr>().map(Listen::new);
    }
    item.table(|table| {
        let addr = table.require("address", "where to listen, such as 0.0.0.0:8443");
        let (mut tls, mut proxy_protocol, mut mode, mut peer) = (None, None, 0o600, None);
        let (has_mode, has_peer) = (table.has("mode"), table.has("peer"));
        table.set("mode", &mut mode, |item| file_mode(&item));
        table.set("peer", &mut peer, |item| item.parse().map(Some));
        table.set("tls", &mut tls, |item| {
            let pair = item.table(|table| pair(table, files))??;
            item.accept((files.certificate)(&pair))?;
            Some(Some(pair))
        });
        table.set("proxy_protocol", &mut proxy_protocol, |item| {
            let trusted = |table: &mut Table<'_, '_>| {
                let item = table.require("trusted", "the networks of the proxies that send such a header")?;
                let networks = networks(&item);
                if item.items().is_empty() {
                    item.refuse("the list is empty, so no client could connect");
                }
                Some(networks)
            };
            item.table(trusted)
        });
        let addr = addr?.parse::<ListenAddr>()?;
        if addr.net().is_some() && (has_mode || has_peer) {
            table.item().refuse("`mode` and `peer` are of Unix sockets");
        }
        Some(Listen { addr, mode, peer, tls, proxy_protocol })
    })?
}

fn pair(table: &mut Table<'_, '_>, files: &Files<'_>) -> Option<TlsFiles> {
    let mut file = |name| Some(files.folder.join(table.require(name, "a PEM file")?.text()?));
    let (cert, key) = (file("certificate"), file("key"));
    Some(TlsFiles { cert: cert?, key: key? })
}

/// The mode of a socket's file, in octal digits. Who cannot write there cannot connect.
pub(super) fn file_mode(item: &Item<'_>) -> Option<u32> {
    let text = item.text()?;
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o777 && digits.len() >= 3);
    item.accept(mode.ok_or_else(|| format!("`{text}` is not the mode of a file; expected for example 0600 or 0660")))
}

/// The path of the control socket, or `off`.
pub(crate) fn control(item: &Item<'_>, files: &Files<'_>) -> Option<Option<PathBuf>> {
    let text = item.text()?;
    if matches!(text, "off" | "false") {
        return Some(None);
    }
    let path = files.folder.join(text);
    let (length, most) = (path.as_os_str().len(), LONGEST_PATH);
    item.accept(match (text, length > most) {
        ("", _) => Err("expected the path of a socket, such as /run/tollgate/control.sock, or `off`".to_owned()),
        (_, true) => Err(format!("a path of {length} bytes is too long for a socket; {most} are possible")),
        _ => Ok(Some(path)),
    })
}

/// Networks, or single addresses.
pub(crate) fn networks(item: &Item<'_>) -> Vec<IpNet> {
    let network = |item: Item<'_>| {
        let text = item.text()?;
        let network = text.parse().or_else(|_| text.parse().map(|address: std::net::IpAddr| IpNet::from(address)));
        item.accept(
            network
                .map_err(|_| format!("`{text}` is not a valid network; expected for example 10.0.0.0/8 or 192.0.2.7")),
        )
    };
    item.items().into_iter().filter_map(network).collect()
}

fn forwarding(table: &mut Table<'_, '_>, forwarding: &mut Forwarding) {
    let choices = [
        ("trusted", XForwarded::Trusted),
        ("append", XForwarded::Append),
        ("replace", XForwarded::Replace),
        ("off", XForwarded::Untouched),
    ];
    table.set("x_forwarded", &mut forwarding.x_forwarded, |item| item.choice(&choices));
    table.set("trusted", &mut forwarding.trusted, |item| Some(networks(&item)));
    table.set("keep_host", &mut forwarding.keep_host, |item| item.flag());
    table.set("via", &mut forwarding.via, |item| item.flag());
    table.set("underscores", &mut forwarding.underscores, |item| item.flag());
}

fn timeouts(table: &mut Table<'_, '_>, timeouts: &mut Timeouts) {
    let Timeouts {
        handshake,
        head,
        idle,
        request_body,
        send,
        connect,
        response_head,
        response_body,
        upgraded,
        pooled,
        upstream_age,
        drain,
        shutdown,
    } = timeouts;
    for (name, timeout) in [
        ("handshake", handshake),
        ("head", head),
        ("idle", idle),
        ("request_body", request_body),
        ("send", send),
        ("connect", connect),
        ("response_head", response_head),
        ("response_body", response_body),
        ("upgraded", upgraded),
        ("pooled", pooled),
        ("upstream_age", upstream_age),
        ("drain", drain),
        ("shutdown", shutdown),
    ] {
        table.set(name, timeout, |item| item.duration());
    }
}

/// `unlimited`, or a number from 1 to `most`.
fn unlimited_or<N: TryFrom<NonZeroU64>>(item: &Item<'_>, most: u64) -> Option<Option<N>> {
    match item.text()? {
        "unlimited" => Some(None),
        _ => NonZeroU64::new(item.number(1..=most)?).map(|number| N::try_from(number).ok()),
    }
}

fn bounds(table: &mut Table<'_, '_>, limits: &mut Limits, are_all_trusted: bool) {
    let Limits { head_bytes, head_fields, body_bytes, connections, streams, pooled, buffer_request, .. } = limits;
    table.set("head", head_bytes, |item| item.bytes(8 << 10..=MAX_HEAD));
    table.set("head_fields", head_fields, |item| item.number(1..=10_000));
    table.set("body", body_bytes, |item| match item.text()? {
        "unlimited" => Some(None),
        _ => item.bytes(0..=MAX_BODY).map(Some),
    });
    table.set("connections", connections, |item| item.number(1..=10_000_000));
    table.set("client_connections", &mut limits.client_connections, |item| {
        if are_all_trusted {
            item.refuse("every peer is trusted as a proxy, and connections of proxies are not counted");
        }
        unlimited_or(&item, 10_000_000)
    });
    table.set("upstream_connections", &mut limits.upstream_connections, |item| unlimited_or(&item, 10_000_000));
    table.set("streams", streams, |item| item.number(1..=100_000));
    table.set("pooled", pooled, |item| item.number(0..=100_000));
    table.set("buffer_request", buffer_request, |item| usize::try_from(item.bytes(0..=MAX_BUFFER)?).ok());
}

/// A path that servers are asked for.
pub(crate) fn check_path(item: &Item<'_>) -> Option<PathAndQuery> {
    let text = item.text()?;
    let path = text.parse().ok().filter(|_| text.starts_with('/'));
    item.accept(path.ok_or_else(|| format!("`{text}` is not a valid path; expected for example /healthz")))
}

fn health(table: &mut Table<'_, '_>, health: &mut Health) {
    table.set("failures", &mut health.failures, |item| item.number(1..=1_000_000));
    table.set("rest", &mut health.rest, |item| item.duration());
    table.set("path", &mut health.path, |item| check_path(&item).map(Some));
    table.set("every", &mut health.every, |item| {
        let every = item.duration()?;
        item.accept(if every < MIN_EVERY { Err("expected at least 10ms between two checks") } else { Ok(every) })
    });
}
