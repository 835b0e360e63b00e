//! The real program with an admin listener, and clients of both.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A gateway that is ended with the test.
pub(crate) struct Program {
    child: Child,
    pub(crate) gateway: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// An answer, its head not looked at closely.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Program {
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["gateway", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).args(args);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut addr = || {
            let line = lines.next().unwrap();
            let addr = line.split("http://").nth(1).unwrap().split([',', ' ', '/']).next().unwrap();
            addr.parse().unwrap()
        };
        let (gateway, admin) = (addr(), addr());
        Self { child, gateway, admin }
    }

    /// What the gateway answers to a request of its own connection.
    pub(crate) fn request(&self, path: &str) -> Answer {
        send(self.gateway, &format!("GET {path} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n"))
    }

    /// What the admin listener answers.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Answer {
        self.ask_as("localhost", method, path)
    }

    /// The same for one that calls it `host`.
    pub(crate) fn ask_as(&self, host: &str, method: &str, path: &str) -> Answer {
        send(self.admin, &format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }

    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = self.ask("GET", path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// What `/metrics` says, each number by its name and labels. Each must be there once.
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        let answer = self.ask("GET", "/metrics");
        assert!(answer.head.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
        let mut metrics = BTreeMap::new();
        for line in answer.body.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(metrics.insert(name.to_owned(), value.parse().unwrap()).is_none(), "twice: {name}");
        }
        metrics
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The exit code, once the program has ended by itself.
    pub(crate) fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// Tries again until there is something, for ten seconds or so.
#[track_caller]
pub(crate) fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(found) = found() {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("it never came");
}

pub(crate) fn send(addr: SocketAddr, request: &str) -> Answer {
    let mut socket = connect(addr);
    socket.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: format!("{head}\r\n"), body: body.to_owned() }
}
