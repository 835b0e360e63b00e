//! Who is let in, what may be asked and how it is answered.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::program::Program;

const PATHS: [&str; 8] = ["/", "/page.css", "/page.js", "/icon.svg", "/metrics", "/healthz", "/limits", "/live"];

#[test]
fn every_path_can_be_read_and_nothing_else_done() {
    let program = Program::start(&[]);
    for path in PATHS {
        let answer = program.ask("GET", path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.is_empty(), "{path}");
        let head = program.ask("HEAD", path);
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
            let answer = program.ask(method, path);
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(answer.head.contains("\r\nallow: GET, HEAD\r\n"), "{method} {path}");
        }
    }
    for path in ["/index.html", "/metrics/", "//", "/../limits", "/LIMITS"] {
        assert_eq!(program.ask("GET", path).status, 404, "{path}");
    }
    assert_eq!(program.ask("GET", "/live?since=yesterday").status, 400);
}

#[test]
fn browsers_are_told_to_do_no_more_than_show() {
    let program = Program::start(&[]);
    for path in PATHS.into_iter().chain(["/nowhere"]) {
        let head = program.ask("GET", path).head;
        for field in [
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "cross-origin-resource-policy: same-origin",
        ] {
            assert!(head.contains(&format!("\r\n{field}\r\n")), "{path} without {field}: {head}");
        }
        assert!(!head.contains("access-control-"), "{path}");
    }
    let page = program.ask("GET", "/").body;
    assert!(!page.contains("://") && !page.contains("style=") && !page.contains("onload="), "{page}");
}

#[test]
fn a_page_from_elsewhere_that_has_our_address_is_turned_away() {
    let program = Program::start(&[]);
    let port = program.admin.port();
    for host in ["localhost", &format!("localhost:{port}"), &format!("127.0.0.1:{port}"), "[::1]"] {
        assert_eq!(program.ask_as(host, "GET", "/limits").status, 200, "{host}");
    }
    for host in ["evil.example", &format!("evil.example:{port}"), "localhost.evil.example", "192.0.2.1", ""] {
        for path in PATHS {
            let answer = program.ask_as(host, "GET", path);
            assert_eq!(answer.status, 421, "{host} {path}");
            assert!(answer.body.starts_with("this listener answers only to `localhost`"), "{}", answer.body);
        }
    }
}

/// Starts a gateway, ends it once it has said where it listens or given up: its lines, its code, its complaints.
fn started_and_ended(args: &[&str]) -> (String, Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["gateway", "--listen", "127.0.0.1:0"]).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut line, mut stdout) = (String::new(), BufReader::new(child.stdout.take().unwrap()));
    stdout.read_line(&mut line).unwrap();
    // One that has given up is past caring.
    child.kill().unwrap();
    stdout.read_to_string(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    (line, output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn an_address_of_choice_must_be_free() {
    let program = Program::start(&[]);
    let taken = program.admin.to_string();
    let (line, code, error) = started_and_ended(&["--admin", &taken]);
    assert_eq!((line.as_str(), code), ("", Some(74)), "{error}");
    assert!(error.starts_with(&format!("tollgate: cannot listen on {taken} for the admin page: ")), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn without_the_usual_address_the_gateway_goes_without() {
    // If it is not free now, somebody else has it, which is as good.
    let _taken = TcpListener::bind("127.0.0.1:9900");
    let (line, _, error) = started_and_ended(&[]);
    assert!(line.starts_with("tollgate: listening on http://127.0.0.1:"), "{line}");
    assert!(error.starts_with("tollgate: no admin page: cannot listen on 127.0.0.1:9900: "), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

#[test]
fn it_can_be_off() {
    let (lines, _, error) = started_and_ended(&["--admin", "off"]);
    assert!(lines.starts_with("tollgate: listening on ") && error.is_empty(), "{lines}{error}");
    assert_eq!(lines.lines().count(), 1, "{lines}");
    let (lines, _, _) = started_and_ended(&["--admin", "127.0.0.1:0"]);
    assert!(lines.lines().nth(1).unwrap().starts_with("tollgate: admin page at http://127.0.0.1:"), "{lines}");
}
