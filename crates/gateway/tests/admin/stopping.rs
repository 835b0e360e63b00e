//! While the gateway drains.

use std::io::{Read, Write};

use rustix::process::Signal;

use crate::program::{Program, connect, until};

#[test]
fn health_says_that_the_gateway_drains() {
    let program = Program::start(&[]);
    assert_eq!(program.json("/healthz")["status"], "serving");
    let mut client = connect(program.gateway);
    client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").unwrap();
    read_until(&mut client, "1\r\na\r\n");
    program.signal(Signal::TERM);
    let answer = until(|| Some(program.ask("GET", "/healthz")).filter(|answer| answer.status != 200));
    assert_eq!(answer.status, 503);
    let health: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(health["status"], "draining");
    assert_eq!(health["upstreams"][0]["in_flight"], 1);
    assert_eq!(program.json("/live")["status"], "draining");
    client.write_all(b"0\r\n\r\n").unwrap();
    read_until(&mut client, "0\r\n\r\n");
    assert_eq!(program.code(), Some(0));
}

fn read_until(client: &mut impl Read, end: &str) {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
}
