//! The real program, started as a user starts it. What the gateway does with requests is tested in `tests/proxy`.

mod identity;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A gateway that is ended with the test.
struct Program {
    child: Child,
    line: String,
    addr: SocketAddr,
}

impl Program {
    fn start(args: &[&str]) -> Self {
        Self::with(&[&["--listen", "127.0.0.1:0", "--admin", "off"], args].concat())
    }

    fn with(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let mut child = command.arg("gateway").args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.split("http://").nth(1).unwrap().split([',', ' ']).next().unwrap().parse().unwrap();
        Self { child, line, addr }
    }

    fn connect(&self) -> BufReader<TcpStream> {
        let socket = TcpStream::connect(self.addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        BufReader::new(socket)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// The exit code, once the program has ended by itself.
    fn code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_until(conn: &mut BufReader<TcpStream>, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        conn.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn without_arguments_it_stands_before_an_echo() {
    let gateway = Program::start(&[]);
    assert!(gateway.line.ends_with(" (built-in echo)\n"), "{}", gateway.line);
    let mut conn = gateway.connect();
    conn.get_mut().write_all(b"GET /hello HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    conn.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\n\r\nGET /hello HTTP/1.1\nhost: api.example\n"), "{answer}");
}

#[test]
fn of_64_clients_at_once_exactly_the_quota_is_admitted() {
    const CLIENTS: usize = 64;
    const EACH: usize = 20;
    const QUOTA: usize = 500;
    let gateway = Program::start(&["--limit", &format!("{QUOTA}/day")]);
    // Connected before anybody asks.
    let ready = Barrier::new(CLIENTS);
    let client = || {
        let mut conn = gateway.connect();
        ready.wait();
        let ask = |i| {
            let close = if i + 1 == EACH { "Connection: close\r\n" } else { "" };
            format!("GET /{i} HTTP/1.1\r\nHost: a\r\n{close}\r\n")
        };
        conn.get_mut().write_all((0..EACH).map(ask).collect::<String>().as_bytes()).unwrap();
        let mut answers = String::new();
        conn.read_to_string(&mut answers).unwrap();
        ["200 OK", "429 Too Many Requests"].map(|status| answers.matches(&format!("HTTP/1.1 {status}\r\n")).count())
    };
    let seen: Vec<[usize; 2]> = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let total = |status: usize| seen.iter().map(|counts| counts[status]).sum::<usize>();
    assert_eq!((total(0), total(1)), (QUOTA, CLIENTS * EACH - QUOTA));
}

#[test]
fn it_stands_before_the_upstream_that_is_named() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let gateway = Program::start(&["--upstream", &url]);
    assert!(gateway.line.ends_with(&format!(", upstream {url}\n")), "{}", gateway.line);
    let mut conn = gateway.connect();
    conn.get_mut().write_all(b"GET /path HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut asked = BufReader::new(upstream.accept().unwrap().0);
    assert!(read_until(&mut asked, "\r\n\r\n").starts_with("GET /path HTTP/1.1\r\n"));
}

#[test]
fn a_signal_lets_it_finish_what_is_in_flight() {
    for signal in [Signal::TERM, Signal::INT] {
        let gateway = Program::start(&[]);
        let mut conn = gateway.connect();
        conn.get_mut()
            .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
            .unwrap();
        read_until(&mut conn, "a\r\n");
        gateway.signal(signal);
        while TcpStream::connect(gateway.addr).is_ok() {
            std::thread::yield_now();
        }
        conn.get_mut().write_all(b"1\r\nb\r\n0\r\n\r\n").unwrap();
        assert_eq!(read_until(&mut conn, "0\r\n\r\n"), "1\r\nb\r\n0\r\n\r\n");
        assert_eq!(gateway.code(), Some(0));
    }
}

#[test]
fn the_second_signal_does_not_wait() {
    let gateway = Program::start(&[]);
    let mut conn = gateway.connect();
    conn.get_mut().write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n").unwrap();
    read_until(&mut conn, "a\r\n");
    gateway.signal(Signal::TERM);
    while TcpStream::connect(gateway.addr).is_ok() {
        std::thread::yield_now();
    }
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.code(), Some(0));
}

#[test]
fn what_cannot_be_used_is_said_in_one_line() {
    let program = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["gateway", "--admin", "off"])
            .args(args)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let gateway = Program::start(&[]);
    let (code, error) = program(&["--listen", &gateway.addr.to_string()]);
    assert_eq!(code, 74, "{error}");
    assert!(error.starts_with(&format!("tollgate: cannot listen on {}: ", gateway.addr)), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    let (code, error) = program(&["--upstream", "ftp://127.0.0.1"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("begins neither with http:// nor with https://"), "{error}");
}

/// A gateway on a Unix socket, whatever becomes of it.
struct OnSocket(Child);

impl OnSocket {
    fn start(path: &std::path::Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.args(["gateway", "--admin", "off", "--listen", &format!("unix:{}", path.display())]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for OnSocket {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn of_two_on_one_socket_one_serves_and_the_other_says_so() {
    let folder = std::env::temp_dir().join(format!("tg-two-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    // As a killed gateway leaves it.
    drop(UnixListener::bind(&path).unwrap());
    let mut both = [OnSocket::start(&path), OnSocket::start(&path)];
    let mut ended = None;
    for _ in 0..3_000 {
        ended = (0..2).find_map(|which| Some((which, both[which].0.try_wait().unwrap()?)));
        if ended.is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let (which, status) = ended.expect("one of them ends");
    let mut said = String::new();
    both[which].0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(73), "{said}");
    let expected =
        format!("tollgate: cannot listen on unix:{}: another gateway that runs has this socket\n", path.display());
    assert_eq!(said, expected);
    // The other may have the lock and not yet listen.
    let mut socket = (0..3_000).find_map(|_| {
        let socket = UnixStream::connect(&path).ok();
        socket.or_else(|| {
            thread::sleep(Duration::from_millis(20));
            None
        })
    });
    let socket = socket.as_mut().expect("the other serves");
    socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(both[1 - which].0.try_wait().unwrap().is_none());
    drop(both);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_failing_upstream_is_told_of_once_a_second() {
    // Bound and not listened on, so that nobody else has it meanwhile.
    let reserved = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    reserved.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let nowhere = reserved.local_addr().unwrap().as_socket().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args([
        "gateway",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "off",
        "--limit",
        "1000/second",
        "--upstream",
        &format!("http://{nowhere}"),
    ]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr: SocketAddr = line.split("http://").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    for _ in 0..20 {
        let mut socket = TcpStream::connect(addr).unwrap();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
    child.kill().unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    let expected = format!("tollgate: upstream http://{nowhere}: cannot connect: ");
    assert!(said.starts_with(&expected) && said.contains("refused"), "{said}");
    // Twenty requests take less than a second, or a few where much else runs.
    assert!(said.lines().count() < 10, "{said}");
}

#[test]
fn pages_of_other_origins_can_read_a_refusal() {
    let file = std::env::temp_dir().join(format!("tollgate-cors-{}.yaml", std::process::id()));
    let config = "listen: 127.0.0.1:0\nadmin: off\ncors: {origins: [https://app.example]}\npolicies: [{name: d, limits: 1/hour}]\n";
    std::fs::write(&file, config).unwrap();
    let gateway = Program::with(&["--config", file.to_str().unwrap()]);
    let ask = |origin: &str| {
        let mut conn = gateway.connect();
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n");
        conn.get_mut().write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        conn.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(ask("https://app.example").starts_with("HTTP/1.1 200 "));
    let refused = ask("https://app.example");
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    assert!(refused.contains("\r\naccess-control-allow-origin: https://app.example\r\n"), "{refused}");
    assert!(refused.contains("\r\nvary: origin\r\n"), "{refused}");
    let other = ask("https://evil.example");
    assert!(other.starts_with("HTTP/1.1 429 ") && !other.contains("access-control"), "{other}");
    std::fs::remove_file(file).unwrap();
}
