//! Files that cannot be used: every mistake is told with its place, its key and what was expected.

use rcgen::generate_simple_self_signed;

use crate::tool::{Folder, check};

/// What is told of `text`, without the name of the file.
fn told(folder: &Folder, text: &str) -> Vec<String> {
    let file = folder.write("tollgate.yaml", text);
    let output = check(&file);
    assert_eq!(output.status.code(), Some(78), "{text}: {}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stdout.is_empty());
    let start = format!("tollgate: {}:", file.display());
    let line = |line: &str| line.strip_prefix(&start).unwrap_or_else(|| panic!("{line}")).to_owned();
    String::from_utf8(output.stderr).unwrap().lines().map(line).collect()
}

/// A file with one mistake, and the beginning of what is told of it.
const ROWS: &[(&str, &str)] = &[
    // YAML
    ("listen: [", "1:9: "),
    ("a: 1\na: 2", "2:1: duplicate mapping key `a`"),
    ("- 1", "1:1: expected keys, got a list"),
    ("listen", "1:1: expected keys, got `listen`"),
    ("x: *nobody", "1:4: "),
    ("--- {}\n--- {}", "2:1: a second document begins here; a configuration is one"),
    ("---\n---\npolicies: []", "2:1: a second document begins here;"),
    ("policies: []\n---\npolicies: [{name: a, limits: 1/s}]", "2:1: a second document begins here;"),
    ("policies: []\n\0\0", "2:1: "),
    // Keys
    ("lisen: 127.0.0.1:80", "1:1: lisen: unknown key, did you mean `listen`?"),
    ("zzz: 1", "1:1: zzz: unknown key; expected one of client, listen, upstreams,"),
    ("timeouts: {conect: 5s}", "1:12: timeouts.conect: unknown key, did you mean `connect`?"),
    ("timeouts: 5s", "1:11: timeouts: expected keys, got `5s`"),
    ("timeouts:", "1:9: timeouts: this is empty;"),
    ("threads:", "1:8: threads: this is empty;"),
    ("threads: [1, 2]", "1:10: threads: expected one value, got a list"),
    ("threads: {a: 1}", "1:10: threads: expected one value, got keys"),
    (
        "policies: [{name: a, limits: 5/m, charge: {field: x cost}}]",
        "1:51: policies[0].charge.field: `x cost` is not a valid name of a field",
    ),
    (
        "policies: [{name: a, limits: 5/m, charge: {field: x, only_on: 401}}]",
        "1:43: policies[0].charge: expected one of",
    ),
    // Routes
    (
        "routes: [{paths: /a, upstreams: http://c}]",
        "1:10: routes[0]: `name` is missing: what metrics and the page call it",
    ),
    (
        "routes: [{name: a, upstreams: http://c}]",
        "1:10: routes[0]: with neither `hosts` nor `paths` this is for every request",
    ),
    ("routes: [{name: a, paths: /a}]", "1:10: routes[0]: `upstreams` is missing: the servers that it is for"),
    ("routes: [{name: a, paths: /a, upstreams: []}]", "1:42: routes[0].upstreams: the list is empty; name a server"),
    (
        "routes: [{name: a, paths: [], upstreams: http://c}]",
        "1:27: routes[0].paths: the list is empty; leave the key out for any",
    ),
    ("routes: [{name: a, paths: a, upstreams: http://c}]", "1:27: routes[0].paths: "),
    ("routes: [{name: a, hosts: [b, 'a:80'], upstreams: http://c}]", "1:31: routes[0].hosts[1]: "),
    ("routes: [{name: a, paths: /a, upstreams: c}]", "1:42: routes[0].upstreams: `c` is not a valid URL"),
    ("routes: [{name: 'a b', paths: /a, upstreams: http://c}]", "1:17: routes[0].name: `a b` is not a valid name;"),
    (
        "routes: [{name: a, path: /a, upstreams: http://c, hosts: a}]",
        "1:20: routes[0].path: unknown key, did you mean `paths`?",
    ),
    (
        "routes:\n- {name: a, paths: '/a/{x}', upstreams: http://c}\n- {name: a, paths: /b, upstreams: http://c}",
        "3:3: routes[1]: there is a route `a` already",
    ),
    (
        "routes:\n- {name: a, paths: '/a/{x}', upstreams: http://c}\n- {name: b, paths: ['/a/{y}/'], upstreams: http://c}",
        "3:3: routes[1]: /a/{y} is for `a` already, so no request would come here",
    ),
    (
        "upstreams: http://c\nroutes: [{name: a, paths: /a, upstreams: http://c, health: /w}]",
        "2:10: routes[0]: http://c is elsewhere with another `health`, and is one server",
    ),
    (
        "routes: [{name: a, paths: /a, upstreams: http://c, health: w}]",
        "1:60: routes[0].health: `w` is not a valid path;",
    ),
    ("hosts: strict", "1:8: hosts: no route names a host, so every request would be refused"),
    ("hosts: loose", "1:8: hosts: `loose` is unknown; expected one of any, strict"),
    (
        "bounds: {client_connections: 0}",
        "1:30: bounds.client_connections: expected a whole number from 1 to 10000000, got `0`",
    ),
    (
        "bounds: {client_connections: 5}\nclient: {from: x-forwarded-for, hops: 1}",
        "1:30: bounds.client_connections: every peer is trusted as a proxy, and connections of proxies are not counted",
    ),
    ("listen: unix:a.sock", "1:9: listen: `unix:a.sock` is not the whole path of a Unix socket"),
    ("listen: [unix:/a, unix:/a]", "1:19: listen[1]: unix:/a is already listened on"),
    ("listen: {address: unix:/a, mode: 0999}", "1:34: listen.mode: `0999` is not the mode of a file;"),
    ("listen: {address: unix:/a, mode: 07777}", "1:34: listen.mode: `07777` is not the mode of a file;"),
    ("listen: {address: unix:/a, peer: a}", "1:34: listen.peer: "),
    ("listen: {address: '127.0.0.1:80', mode: 0660}", "1:9: listen: `mode` and `peer` are of Unix sockets"),
    ("upstreams: unix:app.sock", "1:12: upstreams: `unix:app.sock` is not the whole path of a Unix socket"),
    ("upstreams: h2://c", "1:12: upstreams: `h2://c` begins neither with http:// nor with https://, h2c:// or unix:"),
    ("upstream_http2: yes", "1:17: upstream_http2: `yes` is unknown; expected one of auto, off"),
    // Values
    ("threads: 0", "1:10: threads: expected a whole number from 1 to 1024, got `0`"),
    ("threads: four", "1:10: threads: expected a whole number from 1 to 1024, got `four`"),
    ("threads: 1.5", "1:10: threads: expected a whole number from 1 to 1024, got `1.5`"),
    ("threads: -1", "1:10: threads: expected a whole number from 1 to 1024, got `-1`"),
    (
        "timeouts: {idle: 5}",
        "1:18: timeouts.idle: `5` is not a valid duration; expected for example 5s, 250ms or 1m30s",
    ),
    ("timeouts: {idle: 0s}", "1:18: timeouts.idle: expected a duration from 1ms to 8760h, got `0s`"),
    ("timeouts: {idle: 5 fortnights}", "1:18: timeouts.idle: `5 fortnights` is not a valid duration"),
    ("bounds: {body: 10 apples}", "1:16: bounds.body: `10 apples` is not a valid number of bytes;"),
    ("bounds: {head: 1KiB}", "1:16: bounds.head: expected 8 KiB to 16 MiB, got `1KiB`"),
    ("forwarding: {via: maybe}", "1:19: forwarding.via: expected true or false, got `maybe`"),
    ("forwarding: {x_forwarded: apend}", "1:27: forwarding.x_forwarded: `apend` is unknown, did you mean `append`?;"),
    (
        "limiter: {on_full: explode}",
        "1:20: limiter.on_full: `explode` is unknown; expected one of evict, refuse, admit",
    ),
    ("limiter: {capacity: 0}", "1:21: limiter.capacity: expected a whole number from 1 to"),
    ("limiter: {capacity: 99999999999999999}\npolicies: []", " limiter: the capacity must be from 1 to"),
    // Where
    (
        "listen: 127.0.0.1",
        "1:9: listen: `127.0.0.1` is not a valid address to listen on; expected for example 0.0.0.0:8080",
    ),
    ("listen: []", "1:9: listen: expected at least one address"),
    ("listen: [127.0.0.1:80, 127.0.0.1:80]", "1:24: listen[1]: 127.0.0.1:80 is already listened on"),
    ("{listen: 127.0.0.1:80, admin: 127.0.0.1:80}", "1:31: admin: 127.0.0.1:80 is already listened on"),
    ("listen: {proxy_protocol: {trusted: 10.0.0.1}}", "1:9: listen: `address` is missing"),
    ("listen: {address: 127.0.0.1:0, tls: {certificate: a}}", "1:37: listen.tls: `key` is missing: a PEM file"),
    ("listen: {address: 127.0.0.1:0, proxy_protocol: {}}", "1:48: listen.proxy_protocol: `trusted` is missing"),
    (
        "listen: {address: 127.0.0.1:0, proxy_protocol: {trusted: []}}",
        "1:58: listen.proxy_protocol.trusted: the list is empty",
    ),
    ("admin: on", "1:8: admin: `on` is neither an address such as 127.0.0.1:9900 nor `off`"),
    (
        "upstreams: 127.0.0.1:3000",
        "1:12: upstreams: `127.0.0.1:3000` is not a valid URL; expected for example http://127.0.0.1:3000",
    ),
    ("upstreams: [http://a, ftp://b]", "1:23: upstreams[1]: `ftp://b` begins neither with http:// nor with https://"),
    ("upstreams: http://a/api", "1:12: upstreams: `http://a/api` has a path;"),
    // Who
    ("client: {trusted: [10.0.0.0/8, 10.0.0.300]}", "1:32: client.trusted[1]: `10.0.0.300` is not a valid network;"),
    ("client: {trusted: 0.0.0.0/0}", "1:19: client.trusted: 0.0.0.0/0 trusts everybody"),
    ("client: {from: x-forwarded-for}", "1:16: client.from: x-forwarded-for is never read without trusted proxies"),
    ("client: {from: xff, hops: 1}", "1:16: client.from: `xff` is not a valid address source; expected peer,"),
    ("client: {hops: 1}", "1:16: client.hops: a number of proxies says nothing without `from`"),
    ("client: {from: forwarded, hops: 0}", "1:33: client.hops: expected a whole number from 1 to 255"),
    ("client: {from: forwarded, hops: 1, trusted: 10.0.0.1}", "1:33: client.hops: `trusted` names the proxies already"),
    ("client: {ipv6_prefix: 129}", "1:23: client.ipv6_prefix: expected a whole number from 1 to 128"),
    // Answers
    ("answer: {status: 200}", "1:18: answer.status: expected a whole number from 400 to 599"),
    (
        "answer: {headers: x-rate}",
        "1:19: answer.headers: `x-rate` is not a valid dialect of rate-limit headers; expected one of",
    ),
    ("answer: {body: xml}", "1:16: answer.body: `xml` is not a valid body of a refusal; expected one of"),
    ("answer: {body: {text: '{wait}'}}", "1:23: answer.body.text: unknown placeholder `{wait}`"),
    ("answer: {body: {content_type: a}}", "1:16: answer.body: `text` is missing"),
    ("answer: {retry_after: never}", "1:23: answer.retry_after: `never` is unknown; expected one of seconds, date"),
    // Policies
    ("", "1:1: `policies` is missing, so this may be half of a file; to limit nothing, write `policies: []`"),
    (" \n\n", "1:1: `policies` is missing,"),
    ("\u{feff}", "1:1: `policies` is missing,"),
    ("# policies: []\n", "1:1: `policies` is missing,"),
    ("---\n...\n", "1:1: `policies` is missing,"),
    ("~", "1:1: `policies` is missing,"),
    ("{}", "1:1: `policies` is missing,"),
    ("listen: 127.0.0.1:0\nupstreams: http://127.0.0.1:1\n", "1:1: `policies` is missing,"),
    ("policies:\n", "1:9: policies: this is empty; to limit nothing, write `policies: []`"),
    ("policies: null", "1:11: policies: this is empty; to limit nothing,"),
    ("policies: [{name: a, limits: 1/s}, null]", "1:36: policies[1]: this is empty;"),
    ("policies:\n  - {name: a, limits: 1/s}\n  -\n", "3:4: policies[1]: this is empty;"),
    ("policies: [{limits: 5/m}]", "1:12: policies[0]: `name` is missing"),
    ("policies: [{name: a}]", "1:12: policies[0]: limits nothing;"),
    ("policies: [{name: '\"', limits: 5/m}]", "1:12: policies[0]: `\"` is not a valid policy name;"),
    ("policies: [{name: a, limits: 5/m}, {name: a, limits: 5/m}]", "1:36: policies[1]: another policy is named `a`"),
    (
        "policies: [{name: a, limits: 5/fortnight}]",
        "1:30: policies[0].limits: at column 3 of `5/fortnight`: expected a unit",
    ),
    ("policies: [{name: a, limits: [5/m, x]}]", "1:36: policies[0].limits[1]: at column 1 of `x`: expected"),
    ("policies: [{name: a, limits: 100}]", "1:30: policies[0].limits: at column 4 of `100`: expected"),
    ("policies: [{name: a, limits: []}]", "1:30: policies[0].limits: expected a rate"),
    ("policies: [{name: a, limits: 5/m, algorithm: leaky}]", "1:46: policies[0].algorithm: "),
    (
        "policies: [{name: a, limits: 5/m, algorithm: fixed-window, burst: 9}]",
        "1:30: policies[0].limits: `5 per 1 minute burst 9` sets a burst of 9, and a fixed-window admits exactly",
    ),
    ("policies: [{name: a, limits: 5/m, burst: 0}]", "1:42: policies[0].burst: expected a whole number from 1 to"),
    ("policies: [{name: a, limits: 5/m, key: nose}]", "1:40: policies[0].key: `nose` is not a valid key part;"),
    ("policies: [{name: a, limits: 5/m, key: user | ip}]", "1:40: policies[0].key: the gateway knows no users;"),
    ("policies: [{name: a, limits: 5/m, missing_key: ignore}]", "1:48: policies[0].missing_key: `ignore` is unknown;"),
    (
        "policies: [{name: a, limits: 5/m, match: {path: login}}]",
        "1:49: policies[0].match.path: `login` is not a valid path pattern",
    ),
    (
        "policies: [{name: a, limits: 5/m, match: {path: [/a, /b*]}}]",
        "1:54: policies[0].match.path[1]: `/b*` is not a valid path pattern",
    ),
    (
        "policies: [{name: a, limits: 5/m, match: {method: post}}]",
        "1:51: policies[0].match.method: `post` is not a valid method;",
    ),
    (
        "policies: [{name: a, limits: 5/m, match: {host: 'a:80'}}]",
        "1:49: policies[0].match.host: `a:80` is not a valid host;",
    ),
    (
        "policies: [{name: a, limits: 5/m, match: {hots: a}}]",
        "1:43: policies[0].match.hots: unknown key, did you mean `host`?",
    ),
    (
        "policies: [{name: a, limits: 5/m, exempt: [10.0.0.0/8, nobody]}]",
        "1:56: policies[0].exempt[1]: `nobody` is not a valid exemption;",
    ),
    ("policies: [{name: a, limits: 5/m, tiers: {by: header:x}}]", "1:42: policies[0].tiers: `limits` is missing"),
    (
        "policies: [{name: a, tiers: {by: plan, limits: {x: 1/m}}}]",
        "1:34: policies[0].tiers.by: `plan` chooses no tier;",
    ),
    (
        "policies: [{name: a, tiers: {by: header:x, limits: {x: 1/z}}}]",
        "1:56: policies[0].tiers.limits.x: at column 3 of `1/z`",
    ),
    (
        "policies: [{name: a, tiers: {by: header:x, limits: 5/m}}]",
        "1:52: policies[0].tiers.limits: expected names with values",
    ),
    ("policies: [{name: a, concurrency: 0}]", "1:35: policies[0].concurrency: expected a whole number from 1 to"),
    (
        "policies: [{name: a, limits: 5/m, charge: {only_on: 4x}}]",
        "1:53: policies[0].charge.only_on: `4x` is not a valid status;",
    ),
    (
        "policies: [{name: a, limits: 5/m, charge: {only_on: 401, unanswered: refund}}]",
        "1:70: policies[0].charge.unanswered: `refund` is unknown; expected one of charged, free",
    ),
    (
        "policies: [{name: a, limits: 5/m, charge: {unanswered: free}}]",
        "1:43: policies[0].charge: expected one of `only_on`, `refund_on` and `field`",
    ),
    (
        "policies: [{name: a, limits: 5/m, charge: {only_on: 401, unanswerd: free}}]",
        "1:58: policies[0].charge.unanswerd: unknown key, did you mean `unanswered`?",
    ),
    (
        "policies: [{name: a, limits: 5/m, charge: {}}]",
        "1:43: policies[0].charge: expected one of `only_on`, `refund_on` and `field`",
    ),
    (
        "policies: [{name: a, limits: 5/m, charge: {only_on: 401, refund_on: 2xx}}]",
        "1:43: policies[0].charge: expected one of",
    ),
];

#[test]
fn each_is_told_with_its_place_its_key_and_what_was_expected() {
    let folder = Folder::new();
    let mut others = Vec::new();
    for (text, expected) in ROWS {
        let lines = told(&folder, text);
        let is_as_expected = lines.len() == 1 && lines.iter().all(|line| line.starts_with(expected));
        if !is_as_expected {
            others.push(format!("{text}\n  told:     {}\n  expected: {expected}\n", lines.join("\n            ")));
        }
    }
    assert!(others.is_empty(), "{}", others.concat());
}

#[test]
fn all_are_told_in_the_order_of_the_file() {
    let text = "
listn: 127.0.0.1:80
timeouts:
  idle: 5
policies:
  - name: a
    limits: 5/fortnight
    key: nose
  - limits: 5/m
upstreams: a
";
    let places: Vec<String> = told(&Folder::new(), text)
        .iter()
        .map(|line| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":"))
        .collect();
    let expected = [
        "2:1: listn",
        "4:9: timeouts.idle",
        "7:13: policies[0].limits",
        "8:10: policies[0].key",
        "9:5: policies[1]",
        "10:12: upstreams",
    ];
    assert_eq!(places, expected);
}

#[test]
fn too_many_limits_for_one_request_are_told() {
    let policies: String = (0..40).map(|n| format!("  - {{name: p{n}, limits: 5/m}}\n")).collect();
    let lines = told(&Folder::new(), &format!("policies:\n{policies}"));
    assert_eq!(
        lines,
        ["2:3: policies: a request of policy `p0` could be subject to 40 limits; at most 32 can be decided together"]
    );
}

#[test]
fn certificates_are_looked_at() {
    let folder = Folder::new();
    let listen = |certificate: &str, key: &str| {
        format!("listen:\n  address: 127.0.0.1:0\n  tls: {{certificate: {certificate}, key: {key}}}")
    };
    let told = |certificate, key| {
        let lines = told(&folder, &listen(certificate, key));
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines[0].clone()
    };
    let [one, other] = [(); 2].map(|()| generate_simple_self_signed(["localhost".to_owned()]).unwrap());
    folder.write("cert.pem", &one.cert.pem());
    folder.write("key.pem", &one.signing_key.serialize_pem());
    folder.write("other.pem", &other.signing_key.serialize_pem());
    folder.write("empty.pem", "");
    let line = told("gone.pem", "key.pem");
    assert!(
        line.starts_with("3:8: listen.tls: ") && line.contains("gone.pem: ") && line.contains("No such file"),
        "{line}"
    );
    let line = told("empty.pem", "key.pem");
    assert!(line.contains("empty.pem: no certificate in it"), "{line}");
    assert!(told("cert.pem", "empty.pem").contains("empty.pem: "));
    assert!(told("cert.pem", "other.pem").contains("cert.pem: "), "a key of another certificate");
    // Found beside the file, wherever the program runs.
    assert!(
        check(&folder.write("tollgate.yaml", &format!("{}\npolicies: []", listen("cert.pem", "key.pem"))))
            .status
            .success()
    );
    assert!(check(&folder.write("tollgate.yaml", "upstream_ca: cert.pem\npolicies: []")).status.success());
}

#[test]
fn what_is_no_text_is_no_configuration() {
    let folder = Folder::new();
    let file = folder.0.join("tollgate.yaml");
    std::fs::write(&file, b"listen: \xff").unwrap();
    assert_eq!(check(&file).status.code(), Some(78));
    std::fs::write(&file, "#".repeat(2 << 20)).unwrap();
    assert_eq!(check(&file).status.code(), Some(78));
    let output = check(&folder.0.join("gone.yaml"));
    assert_eq!(output.status.code(), Some(66));
    assert!(String::from_utf8(output.stderr).unwrap().contains("gone.yaml: No such file"));
}

#[test]
fn no_mistake_drives_the_terminal() {
    let lines = told(&Folder::new(), "\"a\\u001b[31m\\nb\": 1");
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("\\u{1b}") && lines[0].contains("\\n"), "{lines:?}");
}
