//! A gateway, plain sockets on both sides of it, and patience that ends.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;
use tollgate_http::{LimiterConfig, Policy, RateLimiter};

use tollgate_gateway::proxy::gateway::Gateway;
use tollgate_gateway::proxy::settings::Settings;
use tollgate_gateway::proxy::view::Counts;

/// Nothing in these tests takes longer unless it hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Short enough to wait for.
pub(crate) const SHORT: Duration = Duration::from_millis(300);

/// A limiter without a policy.
pub(crate) fn unlimited() -> RateLimiter {
    RateLimiter::new(LimiterConfig::new()).unwrap()
}

/// A gateway that is stopped when the test ends.
pub(crate) struct Front(Option<Gateway>);

impl Front {
    pub(crate) fn start(settings: Settings) -> Self {
        Self(Some(Gateway::start(settings, &unlimited()).unwrap()))
    }

    /// One that has been started.
    pub(crate) fn of(gateway: Gateway) -> Self {
        Self(Some(gateway))
    }

    /// One that holds its clients to `policy`.
    pub(crate) fn limited(upstream: SocketAddr, policy: Policy) -> Self {
        let limiter = RateLimiter::new(LimiterConfig::new().policy(policy)).unwrap();
        Self(Some(Gateway::start(settings(&[upstream]), &limiter).unwrap()))
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addrs[0]
    }

    pub(crate) fn client(&self) -> Conn {
        Conn::to(self.addr())
    }

    /// What the upstreams have seen, in the order of the settings.
    pub(crate) fn upstreams(&self) -> Vec<Counts> {
        self.viewer().now().upstreams.into_iter().map(|upstream| upstream.counts).collect()
    }

    /// Waits until all threads have ended by themselves.
    pub(crate) fn join(mut self) {
        self.0.take().unwrap().join().unwrap();
    }
}

impl Deref for Front {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(gateway) = self.0.take() {
            gateway.abort();
            gateway.join().unwrap();
        }
    }
}

/// The defaults with two threads, on a free port, in front of `upstreams`.
pub(crate) fn settings(upstreams: &[SocketAddr]) -> Settings {
    let origins = upstreams.iter().map(|addr| format!("http://{addr}").parse().unwrap()).collect();
    let mut settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)), origins);
    settings.threads = NonZeroUsize::new(2).unwrap();
    settings
}

pub(crate) fn front(upstream: SocketAddr) -> Front {
    Front::start(settings(&[upstream]))
}

pub(crate) fn front_with(upstream: SocketAddr, adjust: impl FnOnce(&mut Settings)) -> Front {
    let mut settings = settings(&[upstream]);
    adjust(&mut settings);
    Front::start(settings)
}

/// A gateway that passes bodies on as they come.
pub(crate) fn front_unbuffered(upstream: SocketAddr) -> Front {
    front_with(upstream, |settings| settings.limits.buffer_request = 0)
}

/// An upstream whose every connection is served by `serve` on a thread of its own.
pub(crate) fn upstream(serve: impl Fn(&mut Conn) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(&mut Conn::new(socket)));
        }
    });
    addr
}

/// An upstream that answers each request with the head that it got, and reads no bodies.
pub(crate) fn mirror() -> SocketAddr {
    upstream(|conn| {
        while let Some(head) = conn.head() {
            conn.answer(&head);
        }
    })
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

/// Polls `is_so` until it holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// One end of a connection that speaks HTTP/1.1 by hand.
#[derive(Debug)]
pub(crate) struct Conn(BufReader<TcpStream>);

/// A response, its head in small letters.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Conn {
    pub(crate) fn new(socket: TcpStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self(BufReader::new(socket))
    }

    pub(crate) fn to(addr: SocketAddr) -> Self {
        Self::new(TcpStream::connect(addr).unwrap())
    }

    /// The other side may have closed: what it then says is looked at by the test.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.get_mut().write_all(bytes.as_ref());
    }

    pub(crate) fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: api.example\r\n\r\n"));
    }

    /// A whole answer of 200.
    pub(crate) fn answer(&mut self, body: &str) {
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    }

    /// The next head up to its blank line, or nothing if the connection ends.
    pub(crate) fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if self.0.read_until(b'\n', &mut head).ok()? == 0 {
                return None;
            }
        }
        Some(String::from_utf8(head).unwrap())
    }

    pub(crate) fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).map(|()| bytes)
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// One chunk of a chunked body; the last is empty.
    pub(crate) fn chunk(&mut self) -> String {
        let length = usize::from_str_radix(self.line().trim(), 16).unwrap();
        let data = String::from_utf8(self.bytes(length).unwrap()).unwrap();
        if length > 0 {
            assert_eq!(self.line(), "\r\n");
        }
        data
    }

    /// The next response, with its body.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Answer {
        let head = self.head().expect("the connection ended without an answer").to_lowercase();
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer { status, head, body: String::new() };
        if let Some(length) = answer.field("content-length") {
            answer.body = String::from_utf8(self.bytes(length.parse().unwrap()).unwrap()).unwrap();
        } else if answer.field("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.chunk();
                if chunk.is_empty() {
                    break;
                }
                answer.body.push_str(&chunk);
            }
            self.line();
        }
        answer
    }

    /// Whether the other side closes, within the patience of a test.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Whether the other side is silent now and has not closed.
    pub(crate) fn is_quiet(&mut self, how_long: Duration) -> bool {
        self.0.get_ref().set_read_timeout(Some(how_long)).unwrap();
        let read = self.0.fill_buf().map(<[u8]>::len);
        self.0.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// No more bytes from this side.
    pub(crate) fn finish_sending(&self) {
        self.0.get_ref().shutdown(Shutdown::Write).unwrap();
    }
}

impl Answer {
    /// The first field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// One of the gateway's own answers.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.field("content-type"), Some("application/problem+json"));
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], status);
    }
}

/// The value of the first field of that name in a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    lines.into_iter().find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}
