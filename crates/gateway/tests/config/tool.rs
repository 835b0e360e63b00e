//! Folders that go away, the program, and a client.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// As long as anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of this test alone.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tollgate-config-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_tollgate"))
}

pub(crate) fn check(file: &Path) -> Output {
    program().arg("check-config").arg(file).output().unwrap()
}

/// The program with these arguments, which ends by itself.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
pub(crate) fn run(args: &[&str]) -> Output {
    program().args(args).output().unwrap()
}

/// The gateway on the file at a path, until dropped.
pub(crate) struct Gateway {
    child: Child,
    pub(crate) addr: SocketAddr,
    out: BufReader<ChildStdout>,
    /// Where its admin page is, once it was asked for.
    admin: Option<SocketAddr>,
    told: Receiver<String>,
}

impl Gateway {
    pub(crate) fn start(file: &Path) -> Self {
        let mut child = program()
            .args(["gateway", "--config"])
            .arg(file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let addr = address(&line);
        let (tell, told) = channel();
        let err = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in err.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        Self { child, addr, out, admin: None, told }
    }

    /// Waits until the gateway has told a line that ends in `end`; all it has told up to there.
    pub(crate) fn hear(&self, end: &str) -> Vec<String> {
        self.hear_until(end, |line| line.ends_with(end))
    }

    /// The same with a line that has `part` in it.
    pub(crate) fn hear_with(&self, part: &str) -> Vec<String> {
        self.hear_until(part, |line| line.contains(part))
    }

    fn hear_until(&self, what: &str, is_it: impl Fn(&str) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.told.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(_) => panic!("`{what}` was not told, but {lines:?}"),
            }
            if lines.last().is_some_and(|line| is_it(line)) {
                return lines;
            }
        }
    }

    /// Whether anything was told that was not heard yet.
    pub(crate) fn is_silent(&self) -> bool {
        self.told.try_recv().is_err()
    }

    /// How many sockets the program has open.
    pub(crate) fn sockets(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    pub(crate) fn hang_up(&self) {
        self.signal("-HUP");
    }

    pub(crate) fn signal(&self, name: &str) {
        let killed = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    /// Ends it as a service manager does, and waits until it has.
    pub(crate) fn end(mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success());
    }

    /// How it ended, once it has.
    pub(crate) fn ended(mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    /// Where the admin page is, once.
    pub(crate) fn admin(&mut self) -> SocketAddr {
        address(&self.line())
    }

    /// The next line on standard output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    /// The head of the answer to a GET.
    pub(crate) fn get(&self, path: &str) -> String {
        get(self.addr, path).split_once("\r\n\r\n").unwrap().0.to_ascii_lowercase()
    }

    /// What the admin page's `/metrics` says.
    pub(crate) fn metrics(&mut self) -> String {
        self.ask_admin("/metrics")
    }

    /// What the admin page answers, with its head.
    pub(crate) fn ask_admin(&mut self, path: &str) -> String {
        if self.admin.is_none() {
            let mut line = String::new();
            self.out.read_line(&mut line).unwrap();
            self.admin = Some(address(&line));
        }
        get(self.admin.unwrap(), path)
    }

    pub(crate) fn status(&self, path: &str) -> u16 {
        self.get(path).split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// An address where nobody listens, nor will.
pub(crate) fn nowhere() -> SocketAddr {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    // To the end of the process: a port that is free again is soon another test's.
    std::mem::forget(socket);
    addr
}

/// The first address in a line.
fn address(line: &str) -> SocketAddr {
    let (_, from) = line.split_once("://").unwrap_or_else(|| panic!("no address in `{line}`"));
    from.split([',', ' ', '/', '\n']).next().unwrap().parse().unwrap()
}

/// The answer to a GET.
pub(crate) fn get(addr: SocketAddr, path: &str) -> String {
    get_with(addr, path, "")
}

/// The answer to a GET with more lines in its head.
pub(crate) fn get_with(addr: SocketAddr, path: &str, lines: &str) -> String {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nhost: {addr}\r\n{lines}connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
