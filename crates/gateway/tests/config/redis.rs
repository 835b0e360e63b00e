//! Policies on Redis in the file: what they mean, and what is wrong with them. No server is asked.

use crate::tool::{Folder, Gateway, check, nowhere};

/// What the program says of `text`, in one line, beside a secret of 32 bytes; and whether the file can be used.
fn said(text: &str) -> (bool, String) {
    let folder = Folder::new();
    folder.write("secret", "0123456789abcdef0123456789abcdef");
    folder.write("short", "0123456789\n\n\n\n\n\n\n\n");
    let output = check(&folder.write("tollgate.yaml", text));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    (output.status.success(), text)
}

const SERVERS: &str = "redis: {url: \"redis://tollgate:hunter2@10.0.0.5/\", secret_file: secret, nodes: 4}\n";

#[test]
fn a_policy_on_redis_is_explained() {
    for (policy, expected) in [
        ("", "all gateways of the fleet admit one limit together"),
        ("", "it refuses with 503; nothing is admitted beyond the limit."),
        (", on_outage: open", "WHEN REDIS DOES NOT DECIDE, IT ADMITS EVERYTHING."),
        (", on_outage: share", "each gateway admits its share of the limit"),
        (", on_outage: local", "of N gateways, up to N times as many."),
        (", leased: true", "tokens are taken in advance"),
        (", charge: {only_on: 401}", "is sent to Redis once, without waiting for it"),
    ] {
        let text = format!("{SERVERS}policies: [{{name: a, limits: 100/s, store: redis{policy}}}]");
        let (is_usable, text) = said(&text);
        assert!(is_usable && text.contains(expected), "`{expected}` is not in {text}");
        assert!(text.contains("redis://***@10.0.0.5/. A decision waits for it up to 20ms"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let (is_usable, text) = said(&format!("{SERVERS}policies: [{{name: a, limits: 1/s}}]"));
    assert!(is_usable && text.contains("NO POLICY SAYS `store: redis`"), "{text}");
}

#[test]
fn what_cannot_be_on_redis_is_told() {
    let policy = |rest: &str| format!("policies: [{{name: a, limits: 100/s, {rest}}}]");
    let on = |rest: &str| format!("{SERVERS}{}", policy(&format!("store: redis{rest}")));
    let servers = |keys: &str| format!("redis: {{{keys}}}\npolicies: []");
    for (text, expected) in [
        (policy("store: redis"), "`a` says `store: redis`, and `redis` is missing, which names the servers"),
        (policy("store: reddis"), "`reddis` is unknown, did you mean `redis`?"),
        (policy("on_outage: open"), "`on_outage` is for counts on Redis, and means nothing without `store: redis`"),
        (policy("store: local, leased: true"), "`leased` is for counts on Redis"),
        (on(", on_outage: maybe"), "`maybe` is unknown; expected one of closed, open, share, local"),
        (
            on(", on_outage: share").replace(", nodes: 4", ""),
            "`redis.nodes` is missing: how many gateways share the limit",
        ),
        (on(", concurrency: 5"), "requests in flight are counted in each process by itself"),
        (on(", algorithm: leaky-queue"), "requests do not wait in a queue there"),
        (on(", algorithm: sliding-log, leased: true"), "none of its limits can be leased"),
        (on(", leased: true, charge: {only_on: 401}"), "leases take tokens before requests come"),
        (servers("url: redis://a/"), "`secret_file` is missing"),
        (servers("secret_file: secret"), "`url` is missing"),
        (servers("url: redis://a/, secret_file: nowhere"), "nowhere: No such file"),
        (servers("url: redis://a/, secret_file: short"), "holds 10 bytes; a secret needs at least 16"),
        (servers("url: \"http://u:hunter2@a/\", secret_file: secret"), "the address of a Redis server cannot be read"),
        (
            servers("url: \"redis://u:hunter2@a:99999/\", secret_file: secret"),
            "the address of a Redis server cannot be read",
        ),
        (servers("url: [], secret_file: secret"), "at least one address of a Redis server is needed"),
        (
            servers("url: redis://a/, secret_file: secret, deadline: 2s"),
            "redis.deadline: expected from 5ms to 1s, got 2s",
        ),
        (servers("url: redis://a/, secret_file: secret, nodes: 0"), "redis.nodes: expected a whole number from 1"),
        (servers("url: redis://a/, secret_file: secret, primary: main"), "`sentinels` and `primary` belong together"),
    ] {
        let (is_usable, said) = said(&text);
        assert!(!is_usable && said.contains(expected), "{text}: `{expected}` is not in {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// A replay of a log, and the check itself, ask no server: the file is good though none is there.
#[test]
fn tls_sentinels_and_clusters_can_be_named() {
    for keys in [
        "url: \"rediss://a/\"",
        "url: [redis://a:7000/, redis://b:7000/]",
        "url: redis://any/, sentinels: [redis://a:26379/, redis://b:26379/], primary: main",
        "url: unix:///run/redis.sock",
    ] {
        let text =
            format!("redis: {{{keys}, secret_file: secret}}\npolicies: [{{name: a, limits: 1/s, store: redis}}]");
        let (is_usable, said) = said(&text);
        assert!(is_usable, "{keys}: {said}");
    }
}

/// What a request is answered then is tested with servers, in `tests/redis`.
#[test]
fn a_server_that_cannot_be_reached_is_told_of_and_not_in_a_flood() {
    let folder = Folder::new();
    folder.write("secret", "0123456789abcdef0123456789abcdef");
    let nowhere = nowhere();
    let text = format!(
        "listen: 127.0.0.1:0\nadmin: off\nthreads: 1\nredis: {{url: \"redis://user:hunter2@{nowhere}/\", secret_file: secret}}\n\
         policies: [{{name: a, limits: 1/s, store: redis}}]\n"
    );
    let gateway = Gateway::start(&folder.write("tollgate.yaml", &text));
    // After the first line the second may come within a second or two; it is tried every half a second.
    let first = gateway.hear_with("cannot connect");
    let second = gateway.hear_with("more of these since the last line)");
    for line in first.iter().chain(&second) {
        assert!(line.starts_with(&format!("tollgate: redis {nowhere}: cannot connect: ")), "{line}");
        assert!(line.contains("refused") && !line.contains("hunter2"), "{line}");
    }
    assert!(first.len() == 1 && second.len() <= 3, "{first:?} {second:?}");
}
