//! Fields that the operator changes, and words of the operator's own.

use crate::tool::{Folder, Gateway, check, get, nowhere};

const FIELDS: &str = "fields:\n  request: {remove: [x-debug, user-agent], set: {X-Env: prod}, add: {x-env: too}}\n  \
    response: {set: {strict-transport-security: max-age=31536000}, add: {x-by: gateway}, remove: [content-type]}\n";

#[test]
fn fields_are_changed_on_both_ways_and_in_the_gateways_own_answers() {
    let folder = Folder::new();
    let text = format!("listen: 127.0.0.1:0\nadmin: off\n{FIELDS}policies: [{{name: few, limits: 1/day}}]\n");
    let gateway = Gateway::start(&folder.write("tollgate.yaml", &text));
    let answer =
        get(gateway.addr, "/ HTTP/1.1\r\nx-debug: 1\r\nX-Env: mine\r\nuser-agent: x\r\nx-other:").to_lowercase();
    let (head, seen) = answer.split_once("\r\n\r\n").unwrap();
    assert!(seen.contains("\nx-env: prod\nx-env: too\n") && seen.contains("\nx-other: http/1.1\n"), "{seen}");
    assert!(!seen.contains("x-debug") && !seen.contains("user-agent") && !seen.contains("mine"), "{seen}");
    for head in [head.to_owned(), gateway.get("/")] {
        assert!(
            head.contains("strict-transport-security: max-age=31536000") && head.contains("x-by: gateway"),
            "{head}"
        );
        assert!(!head.contains("content-type"), "{head}");
    }
    assert_eq!(gateway.status("/"), 429, "the last of them was a refusal");
}

#[test]
fn the_gateways_own_failures_speak_as_the_operator_says() {
    let folder = Folder::new();
    let nobody = nowhere();
    let own = "own_bodies: {502: {content_type: text/html, text: \"<p>Soon.</p>\"}}\n";
    let text = format!("listen: 127.0.0.1:0\nadmin: off\nupstreams: http://{nobody}\n{own}policies: []\n");
    let gateway = Gateway::start(&folder.write("tollgate.yaml", &text));
    let answer = get(gateway.addr, "/");
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.ends_with("\r\n\r\n<p>Soon.</p>"), "{answer}");
    assert!(answer.contains("content-type: text/html\r\n") && answer.contains("content-length: 12\r\n"), "{answer}");
}

#[test]
fn what_would_break_http_cannot_be_changed() {
    let folder = Folder::new();
    for (text, said) in [
        ("fields: {request: {set: {host: b}}}", "fields.request.set.host: `host` is for the gateway to say"),
        ("fields: {response: {remove: Content-Length}}", "`content-length` is for the gateway to say"),
        ("fields: {response: {add: {transfer-encoding: x}}}", "`transfer-encoding` is for the gateway to say"),
        ("fields: {request: {set: {\"a b\": x}}}", "`a b` is not a valid name of a field"),
        ("fields: {request: {set: {a: \"x\\ny\"}}}", "cannot stand in a field"),
        ("own_bodies: {429: {text: x}}", "expected 502, 503 or 504"),
        ("own_bodies: {502: {content_type: x}}", "`text` is missing"),
        ("health: {path: well}", "`well` is not a valid path"),
        ("health: {every: 1ms}", "at least 10ms"),
        ("access_log: {format: xml}", "expected one of combined, json"),
        ("bounds: {buffer_request: 1GiB}", "expected 0 bytes to 64 MiB"),
    ] {
        let output = check(&folder.write("tollgate.yaml", &format!("{text}\npolicies: []\n")));
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(told.contains(said), "{text}: {told}");
    }
}
