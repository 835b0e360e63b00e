//! Where JSON access logs keep what a request is made of.
//!
//! Every logger has its own names. They are compared by their letters and digits alone, in any case, so that
//! `remote_addr`, `remoteAddr` and `RemoteAddr` are one name; a dot goes one object deeper, or stands for itself
//! where the logger writes flat names such as `client.ip`. The first name that is there wins, so the order says which
//! to believe: an address that a server worked out itself comes before the bare peer.

use serde_json::{Map, Value};

/// The start of a request before its end, and what a server says before what a collector does.
pub(super) const TIME: &[&str] = &[
    "start_utc",
    "start_local",
    "proto_payload.start_time",
    "start_time",
    "started_at",
    "request.started_at",
    "edge_start_timestamp",
    "request_creation_time",
    "request_time_epoch",
    "req_time_sec",
    "request_time_utc",
    "time",
    "timestamp",
    "@timestamp",
    "ts",
    "time_iso8601",
    "time_local",
    "datetime",
    "date_time",
    "msec",
    "time_msec",
    "date",
    "event_timestamp",
    "event_time",
    "request_context.time_epoch",
    "request_context.request_time_epoch",
    "transaction.time_stamp",
    "transaction.time",
    "__realtime_timestamp",
    "__cursor_timestamp",
];

/// AWS's API Gateway puts the time there, nginx the seconds that the request took: believed if it looks like a time.
pub(super) const PERHAPS_TIME: &[&str] = &["request_time"];

pub(super) const CLIENT: &[&str] = &[
    "client_ip",
    "request.client_ip",
    "client.ip",
    "source.ip",
    "remote_ip",
    "request.remote_ip",
    "remote_addr",
    "request.remote_addr",
    "http_request.remote_ip",
    "http_request.client_ip",
    "remote_address",
    "req.remote_address",
    "client_host",
    "client_addr",
    "client.address",
    "source.address",
    "c_ip",
    "ip",
    "client",
    "remote",
    "remote_host",
    "peer",
    "source_ip",
    "source_ip_address",
    "identity.source_ip",
    "cli_ip",
    "client_ip_address",
    "caller_ip_address",
    "downstream_remote_address",
    "downstream_remote_address_without_port",
    "downstream_direct_remote_address",
    "real_ip",
    "x_real_ip",
    "http_x_real_ip",
    "socket_ip",
    "caller_ip",
    "remote_client_ip",
    "request.remote_address",
    "req.ip",
    "ip_address",
    "addr",
    "remote.ip",
    "remote.address",
    "proxy.client_ip",
    "proto_payload.ip",
    "request_context.http.source_ip",
    "request_context.identity.source_ip",
    "meta.req.remote_address",
    "transaction.client_ip",
    "transaction.remote_address",
    "nginx.access.remote_ip_list",
    "nginx.access.remote_ip",
];

/// The list of addresses that proxies write: the client where nothing else says who it is.
pub(super) const FORWARDED_FOR: &[&str] = &[
    "x_forwarded_for",
    "http_x_forwarded_for",
    "request_x_forwarded_for",
    "forwarded_for",
    "forwardedfor",
    "xff",
    "fwd",
];

/// Objects that loggers wrap a request in, and texts that collectors keep a server's whole line in.
pub(super) const WRAPPERS: &[&str] = &[
    "properties",
    "json_payload",
    "proxy",
    "access",
    "result",
    "event",
    "data",
    "fields",
    "log",
    "message",
    "_source",
    "value",
    "record",
    "payload",
    "body",
    "content",
    "attributes",
    "request_context",
    "nginx",
    "apache",
    "http",
];
pub(super) const TEXTS: &[&str] = &[
    "log",
    "message",
    "msg",
    "text_payload",
    "line",
    "event.original",
    "event",
    "raw",
    "json_payload.message",
    "result.raw",
    "source.message",
    "attributes.message",
    "content.message",
    "short_message",
    "value",
    "body",
    "body.string_value",
    "properties",
    "payload",
    "content",
];

/// The client for Fluentd, the site for nginx, the machine for most other loggers: believed only when nothing else
/// says who the client was and there is a path, so that a server's own messages make no requests.
/// Zeek and Suricata have such names for every connection, whatever it was for.
pub(super) const LAST_RESORT_CLIENT: &[&str] = &["id.orig_h", "src_ip", "host"];

pub(super) const METHOD: &[&str] = &[
    "method",
    "request_method",
    "request.method",
    "http.request.method",
    "http_request.request_method",
    "http_request.http_method",
    "req.method",
    "http_method",
    "verb",
    "client_request_method",
    "req_method",
    "cs_method",
    "http.http_method",
    "properties.method",
    "proto_payload.method",
    "request_context.http.method",
    "meta.req.method",
    "transaction.request.method",
    "nginx.access.method",
    "proxy.method",
];

pub(super) const TARGET: &[&str] = &[
    "request_uri",
    "uri",
    "request.uri",
    "url",
    "request.url",
    "path",
    "request.path",
    "request_path",
    "url.original",
    "url.path",
    "http_request.request_url",
    "http_request.uri",
    "req.url",
    "http.url",
    "request_url",
    "client_request_uri",
    "client_request_path",
    "req_path",
    "request_target",
    "raw_path",
    "resource_path",
    "x_envoy_original_path",
    "original_path",
    "uri_path",
    "cs_uri_stem",
    "requested_uri",
    "x_envoy_origin_path",
    "http.path",
    "properties.url",
    "proto_payload.resource",
    "meta.req.url",
    "transaction.request.uri",
    "nginx.access.url",
];

/// The whole request line.
pub(super) const REQUEST: &[&str] =
    &["request", "request_line", "http_request", "message.request", "req", "request.request_line"];

pub(super) const STATUS: &[&str] = &[
    "status",
    "status_code",
    "response.status",
    "response.status_code",
    "http.response.status_code",
    "http_request.status",
    "downstream_status",
    "origin_status",
    "res.status_code",
    "response_status",
    "response_code",
    "edge_response_status",
    "http_status_code",
    "http_status",
    "sc_status",
    "response.code",
    "code",
];

/// The site. `host` is the client for Fluentd: the caller leaves out the client's address.
pub(super) const HOST: &[&str] = &[
    "request.host",
    "request_host",
    "http_host",
    "server_name",
    "vhost",
    "virtual_host",
    "req.host",
    "url.domain",
    "client_request_host",
    "host_name",
    "authority",
    "req_host",
    "domain_name",
    "host",
];

/// Objects that hold headers by their names.
pub(super) const HEADERS: &[&str] = &[
    "headers",
    "request.headers",
    "request_headers",
    "req.headers",
    "http_headers",
    "http.request.headers",
    "http_request.headers",
];

/// Other places of two headers that many loggers have, under a name of their own.
pub(super) const USER_AGENT: &[&str] = &[
    "user_agent",
    "agent",
    "user_agent.original",
    "http_request.user_agent",
    "request.user_agent",
    "ua",
    "client_request_user_agent",
];
pub(super) const REFERER: &[&str] =
    &["referer", "referrer", "http.request.referrer", "http_request.referer", "client_request_referer"];

/// The value at the first of `paths` that `accept` takes.
pub(super) fn find<'v, T>(
    object: &'v Map<String, Value>,
    paths: &[&str],
    accept: impl Fn(&'v Value) -> Option<T>,
) -> Option<T> {
    paths.iter().find_map(|path| at(object, path).and_then(&accept))
}

fn at<'v>(object: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    if let Some((_, value)) = object.iter().find(|(name, _)| same(name, path)) {
        return Some(value);
    }
    let (outer, inner) = path.split_once('.')?;
    at(object.iter().find(|(name, _)| same(name, outer))?.1.as_object()?, inner)
}

/// Whether two names have the same letters and digits.
pub(super) fn same(a: &str, b: &str) -> bool {
    // Most that differ do so in their first letters, by more than the bit of the case.
    if let ([x, ..], [y, ..]) = (a.as_bytes(), b.as_bytes())
        && (x ^ y) & !0x20 != 0
        && x.is_ascii_alphanumeric()
        && y.is_ascii_alphanumeric()
    {
        return false;
    }
    letters(a).eq(letters(b))
}

/// Whether `name` is `prefix` followed by `rest`, as in `http_user_agent`.
pub(super) fn same_with_prefix(name: &str, prefix: &str, rest: &str) -> bool {
    letters(name).eq(letters(prefix).chain(letters(rest)))
}

fn letters(name: &str) -> impl Iterator<Item = u8> + '_ {
    name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_by_their_letters_and_digits() {
        for (a, b) in [
            ("remote_addr", "RemoteAddr"),
            ("@timestamp", "Timestamp"),
            ("_x", "X"),
            ("a1", "A-1"),
            ("", "-"),
            ("é", ""),
        ] {
            assert!(same(a, b) && same(b, a), "{a} {b}");
        }
        // A digit and what is 32 beside it; a letter and what is none.
        for (a, b) in
            [("time", "dime"), ("0", "P"), ("p", "0"), ("a", "@"), ("a", ""), ("time", "times"), ("1", "\u{11}")]
        {
            assert!(!same(a, b) && !same(b, a), "{a} {b}");
        }
    }
}
