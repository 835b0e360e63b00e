//! Every notation of a request that is read, and what is made of lines that are none.

use std::path::Path;

use serde_json::Value;

use crate::tool::{file, flat, line, refused, replay, replay_input, replay_json, total};

/// The same three requests of one client in a minute, and one of another; two a minute are allowed.
fn assert_one_refusal(log: &Path, client: &str) {
    let result = replay_json("--limit 2/minute", &[log]);
    assert_eq!((total(&result, "requests"), total(&result, "refused")), (4, 1));
    assert_eq!(total(&result, "distinct_keys"), 2);
    let key = &result["keys"][0];
    assert_eq!(key["key"], client);
    assert_eq!(key["first_refused"], "2015-05-17T10:00:02Z");
    assert_eq!(result["totals"]["first"], "2015-05-17T10:00:00Z");
}

fn from_lines(lines: &[&str]) -> std::path::PathBuf {
    file("access.log", lines.join("\n"))
}

#[test]
fn common_log_format() {
    let log = from_lines(&[
        r#"192.0.2.1 - - [17/May/2015:10:00:00 +0000] "GET / HTTP/1.1" 200 12"#,
        r#"192.0.2.1 - frank [17/May/2015:12:00:01 +0200] "GET / HTTP/1.1" 304 -"#,
        r#"192.0.2.1 - - [17/May/2015:05:30:02 -0430] "-" 408 -"#,
        r#"crawler.example.org - - [17/May/2015:10:00:03 +0000] "GET / HTTP/1.1" 200 12"#,
    ]);
    assert_one_refusal(&log, "192.0.2.1");
}

#[test]
fn combined_log_format_with_ipv6_and_escapes() {
    let log = from_lines(&[
        r#"2001:db8::1 - - [17/May/2015:10:00:00 +0000] "GET /a HTTP/1.1" 200 12 "-" "say \"hi\" [x] \\""#,
        r#"2001:DB8:0:0::1 - - [17/May/2015:10:00:01 +0000] "GET /\"b\" HTTP/1.1" 200 12 "http://r/" "-""#,
        r#"www.example.org:443 2001:db8::1 - - [17/May/2015:10:00:02 +0000] "GET / HTTP/1.1" 200 12 "-" "x""#,
        r#"192.0.2.2 - - [17/May/2015:10:00:03 +0000] "\x16\x03\x01" 400 0 "-" "-""#,
    ]);
    assert_one_refusal(&log, "2001:db8::/64");
}

#[test]
fn json_lines_of_several_loggers() {
    let log = from_lines(&[
        r#"{"ts":1431856800.0,"request":{"client_ip":"192.0.2.1","remote_ip":"10.0.0.1","method":"GET","uri":"/"}}"#,
        r#"{"time":"2015-05-17T12:00:01+02:00","remote_addr":"192.0.2.1","request":"GET / HTTP/1.1","status":200}"#,
        r#"{"@timestamp":1431856802000,"clientip":"192.0.2.1","path":"/"}"#,
        r#"{"timestamp":"17/May/2015:10:00:03 +0000","host":"192.0.2.2","url":"/"}"#,
    ]);
    assert_one_refusal(&log, "192.0.2.1");
}

#[test]
fn formats_may_change_from_line_to_line() {
    let log = from_lines(&[
        "\u{feff}192.0.2.1 - - [17/May/2015:10:00:00 +0000] \"GET / HTTP/1.1\" 200 12\r",
        r#"192.0.2.1 - - [17/May/2015:10:00:01 +0000] "GET / HTTP/1.1" 200 12 "-" "curl""#,
        r#" {"ts":"1431856802","ip":"::ffff:192.0.2.1"}"#,
        r#"{"ts":1431856803,"ip":"192.0.2.2:4711"}"#,
    ]);
    assert_one_refusal(&log, "192.0.2.1");
}

#[test]
fn keys_of_all_kinds() {
    let log = from_lines(&[
        r#"192.0.2.1 - - [17/May/2015:10:00:00 +0000] "GET /a?x=1 HTTP/1.1" 200 12 "-" "curl/8""#,
        r#"192.0.2.1 - - [17/May/2015:10:00:01 +0000] "GET /a?x=2 HTTP/1.1" 200 12 "-" "curl/8""#,
        r#"192.0.2.1 - - [17/May/2015:10:00:02 +0000] "POST /b HTTP/1.1" 200 12"#,
        r#"192.0.2.2 - - [17/May/2015:10:00:03 +0000] "GET /a HTTP/1.1" 200 12 "-" "-""#,
        r#"{"ts":1431856804,"ip":"192.0.2.2","uri":"http://h/a?","method":"GET","headers":{"User-Agent":["curl/8"]}}"#,
    ]);
    let refused_by = |key: &str| -> Vec<(String, u64)> {
        let result = replay(&format!("--json --limit 1/day {key}"), &[&log]).json();
        refused(&result).into_iter().collect()
    };
    let pairs = |pairs: &[(&str, u64)]| pairs.iter().map(|&(key, n)| (key.to_owned(), n)).collect::<Vec<_>>();
    assert_eq!(refused_by("--key ip"), pairs(&[("192.0.2.1", 2), ("192.0.2.2", 1)]));
    assert_eq!(refused_by("--key path"), pairs(&[("/a", 3)]));
    assert_eq!(refused_by("--key method"), pairs(&[("GET", 3)]));
    assert_eq!(refused_by("--key ip+path"), pairs(&[("192.0.2.1 /a", 1), ("192.0.2.2 /a", 1)]));
    assert_eq!(refused_by("--key method+ip"), pairs(&[("GET 192.0.2.1", 1), ("GET 192.0.2.2", 1)]));
    assert_eq!(refused_by("--key header:User-Agent"), pairs(&[("(none)", 1), ("header:user-agent:curl/8", 2)]));
    let result = replay_json("--limit 1/day --key header:user-agent", &[&log]);
    assert_eq!(total(&result, "without_key"), 2);
    let report = replay("--limit 1/day --key header:user-agent", &[&log]).ok().stdout;
    assert!(report.contains("2 requests without a key in some policy: counted under (none)"), "{report}");
}

#[test]
fn no_line_is_lost_silently() {
    let mut text = Vec::new();
    text.extend_from_slice(line("192.0.2.1", 0).as_bytes());
    text.extend_from_slice(b"\n   \n");
    text.extend_from_slice(b"no log line\n");
    text.extend_from_slice(b"192.0.2.1 - - [17/Mai/2015:10:00:00 +0000] \"GET / HTTP/1.1\" 200 1\n");
    text.extend_from_slice(b"192.0.2.1 - - [17/May/2015:10:00:00 +0000] \"GET /caf\xe9 HTTP/1.1\" 200 1\n");
    text.extend(std::iter::repeat_n(b'x', 3 << 20));
    text.extend_from_slice(b"\n{\"level\":\"info\",\"ts\":1431856800,\"msg\":\"server running\"}\n");
    text.extend_from_slice(b"{\"ip\":\"192.0.2.1\"}\n");
    text.extend_from_slice(b"192.0.2.1 - - [17/May/2015:10:00:09 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"Mozil\n");
    text.extend_from_slice(line("192.0.2.1", 10).trim_end().as_bytes());
    let log = file("odd.log", text);
    let result = replay_json("--limit 10/minute", &[&log]);
    assert_eq!(total(&result, "lines"), 11);
    assert_eq!(total(&result, "requests"), 4, "what is no UTF-8 is a byte of the path");
    assert_eq!(total(&result, "blank"), 2);
    assert_eq!(total(&result, "unreadable"), 5);
    assert_eq!(total(&result, "odd"), 1);
    let flaws: Vec<(u64, &str)> = result["unreadable"]
        .as_array()
        .unwrap()
        .iter()
        .map(|flaw| (flaw["line"].as_u64().unwrap(), flaw["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(flaws.len(), 5, "the first few");
    assert_eq!(flaws[0], (4, "no `[time]` in brackets"));
    assert!(flaws[1].0 == 5 && flaws[1].1.starts_with("bad time `17/Mai/2015:10:00:00 +0000`"), "{flaws:?}");
    assert_eq!(flaws[2], (7, "longer than 1048576 bytes"));
    assert!(flaws[3].0 == 8 && flaws[3].1.starts_with("no client address and no path"), "{flaws:?}");
    assert_eq!(flaws[4], (9, "no time in the JSON object"));
    assert_eq!(result["odd"][0]["line"], 10);

    let report = flat(&replay("--limit 10/minute", &[&log]).ok().stdout);
    assert!(report.contains("11 lines in ") && report.contains("4 requests, 5 unreadable, 2 blank"), "{report}");
    assert!(report.contains("odd.log:5: bad time"), "{report}");
}

#[test]
fn a_log_cannot_write_on_the_terminal() {
    let agent = "\\u001b[2Jgone\\u202e";
    let text = format!("{{\"ts\":1431856800,\"ip\":\"192.0.2.1\",\"user_agent\":\"{agent}\"}}\n\u{1b}]0;title\u{7}\n");
    let log = file("evil.log", text.repeat(3));
    let report = replay("--limit 1/minute --key header:user-agent", &[&log]).ok().stdout;
    assert!(report.contains("header:user-…one\\u{202e}") && report.contains("\\u{1b}]0;title"), "{report}");
    assert!(!report.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{report:?}");
    let result = replay_json("--limit 1/minute --key header:user-agent", &[&log]);
    assert_eq!(result["keys"][0]["key"], Value::from("header:user-agent: [2Jgone\u{202e}"));
}

#[test]
fn what_is_no_log_is_an_error() {
    let words = file("words.txt", "these are\nonly words\n");
    replay("--limit 1/s", &[&words])
        .fails(65, "words.txt is not an access log: none of 2 lines can be read (line 1: no `[time]`");
    let binary = file("program.bin", (0..=255_u8).cycle().take(100_000).collect::<Vec<u8>>());
    replay("--limit 1/s", &[&binary]).fails(65, "program.bin is not an access log");
    replay("--limit 1/s", &[&file("empty.log", "")]).fails(65, "there is no request in ");
    replay("--limit 1/s", &[&file("blank.log", "\n\n")]).fails(65, "there is no request in ");
    replay_input("--limit 1/s", b"nothing\n").fails(65, "standard input is not an access log");
    replay_input("--limit 1/s", b"").fails(65, "there is no request in standard input");
    // Among others it is left out, and that is said.
    let good = file("good.log", line("192.0.2.1", 0));
    let report = flat(&replay("--limit 1/s", &[&words, &good, &binary]).ok().stdout);
    assert!(report.contains("1 line in ") && report.contains("words.txt is not an access log"), "{report}");
    let result = replay_json("--limit 1/s", &[&words, &good, &binary]);
    assert_eq!((total(&result, "requests"), total(&result, "unreadable")), (1, 0));
    assert_eq!(result["left_out"].as_array().unwrap().len(), 2);
    replay("--limit 1/s", &[&words, &binary]).fails(65, "words.txt is not an access log");
}
