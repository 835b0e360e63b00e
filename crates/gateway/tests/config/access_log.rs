//! The access log, as the program writes it and as `tollgate replay` reads it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::tool::{Folder, Gateway, nowhere, program};

/// Sends one request and reads its whole answer.
fn send(addr: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

fn replay(options: &[&str], log: &Path) -> Value {
    let output = program().args(["replay", "--json"]).args(options).arg(log).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The file once it has as many lines.
fn lines(path: &Path, count: usize) -> Vec<String> {
    let start = Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.lines().count() >= count && text.ends_with('\n') {
            return text.lines().map(str::to_owned).collect();
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A reader that is behind when the gateway is told to end gets the lines that wait for it.
#[test]
fn the_last_lines_are_written_to_a_slow_reader() {
    const LINES: usize = 60;
    let folder = Folder::new();
    let pipe = folder.0.join("access.log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Open for both, so that nobody waits for anybody.
    let both = File::options().read(true).write(true).open(&pipe).unwrap();
    let text = "listen: 127.0.0.1:0\nadmin: off\naccess_log: {format: combined, to: access.log}\n\
                policies: [{name: few, limits: 2/day}]\n";
    let gateway = Gateway::start(&folder.write("tollgate.yaml", text));
    let mut reader = File::open(&pipe).unwrap();
    drop(both);
    // More than a pipe holds.
    let long = "x".repeat(3_000);
    for _ in 0..LINES {
        send(gateway.addr, &format!("GET /?{long} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"));
    }
    let addr = gateway.addr;
    let reading = std::thread::spawn(move || {
        // Once it has been told.
        while TcpStream::connect(addr).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut written = String::new();
        reader.read_to_string(&mut written).unwrap();
        written
    });
    gateway.end();
    let written = reading.join().unwrap();
    let whole = written.lines().filter(|line| line.contains(&long) && line.contains(" id=")).count();
    assert_eq!(whole, LINES);
}

/// What a client can put into its request to break a line, or to look like another client.
const NASTY: &str = "GET /c?d=1 HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\nReferer: a\\\r\n\
    User-Agent: x\" \"10.9.9.9\" - \t\u{e9}\r\nX-Request-Id: mine\r\n\r\n";

#[test]
fn every_request_is_a_line_and_a_replay_decides_as_the_gateway_did() {
    for format in ["combined", "json"] {
        let folder = Folder::new();
        let nobody = nowhere();
        let text = |upstream: &str| {
            format!(
                "listen: 127.0.0.1:0\nadmin: off\n{upstream}access_log: {{format: {format}, to: access.log}}\n\
                 policies: [{{name: few, limits: 2/day}}]\n"
            )
        };
        let file = folder.write("tollgate.yaml", &text(""));
        let gateway = Gateway::start(&file);
        let get = "GET /a/b HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n";
        let echoed = send(gateway.addr, get);
        assert!(echoed.contains("x-request-id: "), "the upstream is told, too: {echoed}");
        let length = echoed.split_once("\r\n\r\n").unwrap().1.len();
        send(gateway.addr, NASTY);
        assert!(send(gateway.addr, get).starts_with("HTTP/1.1 429 "));
        // Nothing may be lost at the end.
        gateway.end();
        let path = folder.0.join("access.log");
        let written = fs::read_to_string(&path).unwrap();
        let written: Vec<&str> = written.lines().collect();
        assert_eq!(written.len(), 3, "{written:?}");
        let report = replay(&["--limit", "2/day"], &path);
        assert_eq!(report["totals"]["refused"], 1, "{report}");
        assert_eq!(report["totals"]["requests"], 3, "{report}");
        if format == "combined" {
            assert!(written[0].starts_with("127.0.0.1 - - ["), "{}", written[0]);
            assert!(
                written[0].contains(&format!("\"GET /a/b HTTP/1.1\" 200 {length} \"-\" \"-\" \"-\" rt=")),
                "{}",
                written[0]
            );
            assert!(written[0].contains(" upstream=http://127.0.0.1:"), "{}", written[0]);
            assert!(written[0].contains(" verdict=passed policy=\"few\" remaining=1 id="), "{}", written[0]);
            let nasty = "\"GET /c?d=1 HTTP/1.1\" 200 ";
            assert!(written[1].contains(nasty) && written[1].ends_with(" id=mine"), "{}", written[1]);
            assert!(written[1].contains(r#""a\x5C" "x\x22 \x2210.9.9.9\x22 - \x09\xC3\xA9" "-""#), "{}", written[1]);
            assert!(
                written[2].contains("\" 429 ") && written[2].contains(" upstream=- ut=- verdict=refused"),
                "{}",
                written[2]
            );
        } else {
            let rows: Vec<Value> = written.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(
                (rows[0]["request_uri"].as_str(), rows[0]["bytes"].as_u64()),
                (Some("/a/b"), Some(length as u64))
            );
            assert_eq!((rows[0]["verdict"].as_str(), rows[0]["policy"].as_str()), (Some("passed"), Some("few")));
            assert_eq!((rows[0]["remaining"].as_u64(), rows[0]["remote_addr"].as_str()), (Some(1), Some("127.0.0.1")));
            assert_eq!(
                (rows[1]["user_agent"].as_str(), rows[1]["request_id"].as_str()),
                (Some("x\" \"10.9.9.9\" - \t\u{e9}"), Some("mine"))
            );
            assert_eq!((rows[2]["status"].as_u64(), rows[2]["verdict"].as_str()), (Some(429), Some("refused")));
            assert!(rows[2].get("upstream").is_none(), "{}", rows[2]);
        }
        // An upstream that is not there: who refused and who failed are different lines.
        let file = folder.write("tollgate.yaml", &text(&format!("upstreams: http://{nobody}\n")));
        let gateway = Gateway::start(&file);
        assert!(send(gateway.addr, get).starts_with("HTTP/1.1 502 "));
        gateway.end();
        let written = lines(&path, 4);
        assert!(written[3].contains("502") && written[3].contains("failed"), "{}", written[3]);
    }
}

#[test]
fn the_file_is_opened_anew_when_it_was_moved_away() {
    let folder = Folder::new();
    let text = "listen: 127.0.0.1:0\nadmin: off\naccess_log: {to: access.log}\npolicies: []\n";
    let gateway = Gateway::start(&folder.write("tollgate.yaml", text));
    let (path, old) = (folder.0.join("access.log"), folder.0.join("access.log.1"));
    gateway.get("/first");
    lines(&path, 1);
    fs::rename(&path, &old).unwrap();
    gateway.get("/second");
    assert_eq!(lines(&old, 2).len(), 2, "until it is told to");
    gateway.signal("-USR1");
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(20));
        gateway.get("/third");
        std::thread::sleep(Duration::from_millis(20));
    }
    gateway.get("/fourth");
    let start = Instant::now();
    while !fs::read_to_string(&path).unwrap().contains("/fourth") {
        assert!(start.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!fs::read_to_string(&old).unwrap().contains("/fourth"));
}

#[test]
fn standard_output_is_one_place_and_a_reader_that_does_not_read_holds_up_nobody() {
    let folder = Folder::new();
    let text = "listen: 127.0.0.1:0\nadmin: off\naccess_log: {format: json}\npolicies: []\n";
    let mut gateway = Gateway::start(&folder.write("tollgate.yaml", text));
    gateway.get("/first");
    let line: Value = serde_json::from_str(&gateway.line()).unwrap();
    assert_eq!(line["request_uri"], "/first");
    // More than a pipe and the queue hold.
    let mut socket = TcpStream::connect(gateway.addr).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let target = "x".repeat(10);
    let writing = std::thread::spawn(move || {
        for _ in 0..9_500 {
            socket.write_all(format!("HEAD /{target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        }
    });
    for _ in 0..9_500 {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0);
        }
        assert!(head.starts_with("HTTP/1.1 200 "));
    }
    writing.join().unwrap();
}

#[test]
fn a_log_that_cannot_be_written_is_said_at_the_start() {
    let folder = Folder::new();
    let text = "listen: 127.0.0.1:0\nadmin: off\naccess_log: {to: no/such/folder/access.log}\npolicies: []\n";
    let file = folder.write("tollgate.yaml", text);
    let output = program().args(["gateway", "--config"]).arg(file).output().unwrap();
    assert_eq!(output.status.code(), Some(73));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("access_log: cannot write to ") && said.contains("no/such/folder/access.log"), "{said}");
}

/// Whatever the client is told of its limits, the operator knows.
#[test]
fn the_policy_and_what_remains_are_known_whatever_fields_tell() {
    for answer in ["{headers: none}", "{headers: x-ratelimit}", "{headers: ietf, headers_on_success: false}"] {
        let folder = Folder::new();
        let text = format!(
            "listen: 127.0.0.1:0\nadmin: off\naccess_log: {{format: json, to: access.log}}\nanswer: {answer}\npolicies:\n  \
             - {{name: few, limits: [2/day, 9/day burst 20]}}\n  \
             - {{name: keyed, limits: 5/day, key: 'header:x-api-key', missing_key: refuse, match: {{path: /keyed}}}}\n"
        );
        let gateway = Gateway::start(&folder.write("tollgate.yaml", &text));
        let get =
            |path: &str| send(gateway.addr, &format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        let statuses = ["/", "/", "/", "/keyed"].map(|path| get(path).split(' ').nth(1).unwrap().to_owned());
        assert_eq!(statuses, ["200", "200", "429", "429"]);
        gateway.end();
        let rows = lines(&folder.0.join("access.log"), 4);
        let rows = rows.iter().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
        let told = |row: &Value| (row["verdict"].clone(), row["policy"].clone(), row["remaining"].clone());
        for (row, (verdict, policy, remaining)) in rows.iter().zip([
            ("passed", "few/day", 1),
            ("passed", "few/day", 0),
            ("refused", "few/day", 0),
            ("refused", "keyed", 0),
        ]) {
            assert_eq!(told(row), (verdict.into(), policy.into(), remaining.into()), "{answer}: {row}");
        }
    }
}
