//! Who the gateway takes a client for, from end to end: a row for each claim that a client can make. The limit is one
//! request a day, so a 200 is somebody new, and a 429 is somebody known.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;

use crate::Program;

/// A file that goes with the test.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The statuses of requests that each begin with bytes of their own and have a field or more.
#[track_caller]
fn row(name: &str, settings: &str, requests: &[(&str, &str)], expected: &[u16]) {
    let name = name.replace(' ', "-");
    let file = File(std::env::temp_dir().join(format!("tollgate-{}-{name}.yaml", std::process::id())));
    let listen = if settings.contains("listen") { "" } else { "listen: 127.0.0.1:0\n" };
    let policy = "policies: [{name: default, limits: 1/day}]";
    std::fs::write(&file.0, format!("{listen}{settings}\nadmin: off\n{policy}\n")).unwrap();
    let gateway = Program::with(&["--config", file.0.to_str().unwrap()]);
    let statuses: Vec<u16> = requests
        .iter()
        .map(|(opening, fields)| {
            let mut conn = gateway.connect();
            let request = format!("{opening}GET / HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
            conn.get_mut().write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            conn.read_to_string(&mut answer).unwrap();
            answer.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
        })
        .collect();
    assert_eq!(statuses, expected, "{name}");
}

fn fields(list: &[&'static str]) -> Vec<(&'static str, &'static str)> {
    list.iter().map(|fields| ("", *fields)).collect()
}

#[test]
fn forged_claims_are_nobody_new() {
    let forged = fields(&["", "X-Forwarded-For: 1.1.1.1\r\n", "Forwarded: for=2.2.2.2\r\n", "X-Real-IP: 3.3.3.3\r\n"]);
    row("nothing is believed by default", "", &forged, &[200, 429, 429, 429]);
    let elsewhere = "client: {from: x-forwarded-for, trusted: [10.0.0.0/8]}";
    row("nor of a peer that is not trusted", elsewhere, &forged, &[200, 429, 429, 429]);
}

#[test]
fn trusted_proxies_are_believed_from_the_right() {
    let trusted = "client: {from: x-forwarded-for, trusted: [127.0.0.0/8, 10.0.0.0/8]}";
    let one = fields(&[
        "X-Forwarded-For: 192.0.2.1\r\n",
        "X-Forwarded-For: 192.0.2.2\r\n",
        "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\n",
        "X-Forwarded-For: 6.6.6.7\r\nX-Forwarded-For: 192.0.2.1\r\n",
        "Forwarded: for=6.6.6.8\r\nX-Forwarded-For: 192.0.2.1\r\n",
    ]);
    row("one hop", trusted, &one, &[200, 200, 429, 429, 429]);
    let several = fields(&[
        "X-Forwarded-For: 192.0.2.1, 10.0.0.1, 10.0.0.2\r\n",
        "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.3\r\n",
        "X-Forwarded-For: 6.6.6.6, nonsense, 10.0.0.3\r\n",
        "X-Forwarded-For: 6.6.6.7, more nonsense, 10.0.0.3\r\n",
    ]);
    row("several hops", trusted, &several, &[200, 429, 200, 429]);
    let hops = fields(&[
        "X-Forwarded-For: 192.0.2.1, 172.16.0.1\r\n",
        "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 172.16.0.9\r\n",
        "X-Forwarded-For: 192.0.2.2, 172.16.0.1\r\n",
    ]);
    row("two hops by number", "client: {from: x-forwarded-for, hops: 2}", &hops, &[200, 429, 200]);
    let forwarded = fields(&[
        "Forwarded: for=\"[2001:db8::1]:4711\";proto=https\r\n",
        "Forwarded: for=6.6.6.6, For=\"[2001:db8::2]\"\r\n",
        "Forwarded: for=192.0.2.1\r\n",
    ]);
    row("RFC 7239", "client: {from: forwarded, trusted: [127.0.0.1/32]}", &forwarded, &[200, 429, 200]);
}

#[test]
fn one_network_is_one_client_however_it_is_written() {
    let trusted = "client: {from: x-forwarded-for, trusted: [127.0.0.0/8]}";
    let rotation = fields(&[
        "X-Forwarded-For: 2001:db8::1\r\n",
        "X-Forwarded-For: 2001:db8::2\r\n",
        "X-Forwarded-For: 2001:db8:0:0:ffff::7\r\n",
        "X-Forwarded-For: 2001:db8:0:1::1\r\n",
    ]);
    row("rotation inside a 64", trusted, &rotation, &[200, 429, 429, 200]);
    let mapped = fields(&[
        "X-Forwarded-For: 192.0.2.1\r\n",
        "X-Forwarded-For: ::ffff:192.0.2.1\r\n",
        "X-Forwarded-For: [::FFFF:c000:201]:80\r\n",
        "X-Forwarded-For: 64:ff9b::192.0.2.1\r\n",
        "X-Forwarded-For: ::ffff:192.0.2.2\r\n",
    ]);
    row("mapped and NAT64", trusted, &mapped, &[200, 429, 429, 429, 200]);
}

#[test]
fn the_proxy_protocol_is_believed_where_it_is_expected() {
    let listen = "listen: [{address: '127.0.0.1:0', proxy_protocol: {trusted: [127.0.0.0/8]}}]";
    let proxied = [
        ("PROXY TCP4 192.0.2.1 192.0.2.9 5000 80\r\n", ""),
        ("PROXY TCP4 192.0.2.1 192.0.2.9 5001 80\r\n", "X-Forwarded-For: 6.6.6.6\r\n"),
        ("PROXY TCP4 192.0.2.2 192.0.2.9 5000 80\r\n", ""),
        ("PROXY TCP6 2001:db8::1 2001:db8::9 5000 80\r\n", ""),
        ("PROXY TCP6 2001:db8::2 2001:db8::9 5000 80\r\n", ""),
    ];
    row("PROXY version 1", listen, &proxied, &[200, 429, 200, 200, 429]);
}

/// What the gateway says on standard error while requests come from this machine with `X-Forwarded-For`.
fn complaints(settings: &str) -> String {
    let name = format!("tollgate-{}-complaints-{}.yaml", std::process::id(), settings.len());
    let file = File(std::env::temp_dir().join(name));
    std::fs::write(&file.0, format!("listen: 127.0.0.1:0\nadmin: off\npolicies: []\n{settings}")).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("gateway").arg("--config").arg(&file.0);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr = line.split("http://").nth(1).unwrap().split([',', ' ']).next().unwrap();
    for field in ["", "X-Forwarded-For: 192.0.2.1\r\n", "X-Forwarded-For: 192.0.2.2\r\n"] {
        let mut conn = TcpStream::connect(addr).unwrap();
        conn.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\n{field}Connection: close\r\n\r\n").as_bytes()).unwrap();
        conn.read_to_string(&mut String::new()).unwrap();
    }
    child.kill().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    said.lines().filter(|line| line.contains("X-Forwarded-For")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_proxy_that_is_not_trusted_is_told_once() {
    let said = complaints("");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("client: {from: x-forwarded-for, trusted: [127.0.0.1]}"), "{said}");
    assert_eq!(complaints("client: {from: x-forwarded-for, trusted: [127.0.0.1]}"), "");
}
