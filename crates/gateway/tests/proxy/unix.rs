//! Unix sockets on both sides.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use tollgate_gateway::proxy::gateway::Gateway;
use tollgate_gateway::proxy::settings::{Listen, Settings};
use tollgate_gateway::values::listen_addr::ListenAddr;
use tollgate_http::{LimiterConfig, Policy, RateLimiter};

use crate::tool::{Front, PATIENCE, mirror, settings, unlimited};

/// A folder that goes with the test, with a short name: the address of a socket has room for 107 bytes.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tg-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn listening_at(path: &Path) -> Settings {
    let mut settings = settings(&[mirror()]);
    settings.listeners = vec![Listen::new(ListenAddr::Unix(path.to_owned()))];
    settings
}

/// The answer to a request with these fields, in small letters.
fn ask(path: &Path, opening: &str, fields: &str) -> String {
    let mut socket = UnixStream::connect(path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be closed by now.
    let _ = write!(socket, "{opening}GET / HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer);
    answer.to_lowercase()
}

fn error(settings: Settings) -> String {
    Gateway::start(settings, &unlimited()).unwrap_err().to_string()
}

#[test]
fn clients_connect_to_a_file_that_is_there_for_as_long_as_it_is_listened_on() {
    let folder = Folder::new();
    let path = folder.socket("gateway.sock");
    let mut settings = listening_at(&path);
    settings.listeners[0].mode = 0o640;
    let front = Front::start(settings.clone());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    // Each thread may get some of them.
    for _ in 0..10 {
        let answer = ask(&path, "", "X-Forwarded-For: 192.0.2.1\r\n");
        assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
        assert!(answer.contains("\r\nx-forwarded-for: unknown\r\n"), "{answer}");
    }
    assert!(error(settings).contains("another gateway that runs has this socket"));
    assert!(ask(&path, "", "").starts_with("http/1.1 200 ok\r\n"), "the first was not disturbed");
    drop(front);
    assert!(!path.exists());
}

#[test]
fn what_is_left_of_one_that_nobody_listens_on_makes_way_and_nothing_else() {
    let folder = Folder::new();
    let path = folder.socket("gateway.sock");
    // As after a kill: the file stays.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let front = Front::start(listening_at(&path));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600,
        "its owner alone unless told otherwise"
    );
    assert!(ask(&path, "", "").starts_with("http/1.1 200 ok\r\n"));
    // Another has taken its place: that one is not this gateway's to remove.
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(front);
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket());

    // A program that is no gateway, and lives.
    let said = error(listening_at(&path));
    assert!(said.contains("somebody listens there already"), "{said}");

    let file = folder.socket("file");
    fs::write(&file, "mine").unwrap();
    let said = error(listening_at(&file));
    assert!(said.contains("cannot listen on unix:") && said.contains("there is something that is no socket"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert!(error(listening_at(&folder.socket("no/such/folder"))).contains("cannot listen on unix:"));
}

/// It has found that nobody listens on what was left there, and has not yet made its own. That of two at once one has the path is tested
/// in `values/socket_file.rs`.
#[test]
fn one_that_is_just_starting_has_the_path() {
    let folder = Folder::new();
    let path = folder.socket("gateway.sock");
    drop(UnixListener::bind(&path).unwrap());
    let lock = fs::File::create(folder.socket("gateway.sock.lock")).unwrap();
    // Not even beside others who would share it.
    lock.lock_shared().unwrap();
    let said = error(listening_at(&path));
    assert!(said.contains("another gateway that runs has this socket"), "{said}");
    assert!(path.exists());
    drop(lock);
    let _front = Front::start(listening_at(&path));
    assert!(ask(&path, "", "").starts_with("http/1.1 200 ok\r\n"));
}

#[test]
fn whoever_has_no_address_shares_a_limit_by_address_unless_it_is_said_who_it_is() {
    let folder = Folder::new();
    let start = |name: &str, peer: Option<&str>, trusted: &str, proxy_protocol: bool| {
        let path = folder.socket(name);
        let mut settings = listening_at(&path);
        settings.listeners[0].peer = peer.map(|peer| peer.parse().unwrap());
        if proxy_protocol {
            settings.listeners[0].proxy_protocol = Some(vec!["127.0.0.1/32".parse().unwrap()]);
        }
        settings.forwarding.trusted = vec![trusted.parse().unwrap()];
        let address = tollgate_http::client::AddressSource::XForwardedFor;
        let client = tollgate_http::client::ClientAddress::new(address, trusted.parse().unwrap()).unwrap();
        let config = LimiterConfig::new().client(client).policy(Policy::new("a", "1/day").unwrap());
        (Front::of(Gateway::start(settings, &RateLimiter::new(config).unwrap()).unwrap()), path)
    };
    let statuses = |path: &Path, requests: &[(&str, &str)]| -> Vec<String> {
        requests.iter().map(|(opening, fields)| ask(path, opening, fields).chars().skip(9).take(3).collect()).collect()
    };
    let claims = [
        ("", "X-Forwarded-For: 192.0.2.1\r\n"),
        ("", "X-Forwarded-For: 192.0.2.2\r\n"),
        ("", "X-Forwarded-For: 192.0.2.1\r\n"),
    ];
    let (_front, path) = start("nobody", None, "127.0.0.0/8", false);
    assert_eq!(statuses(&path, &claims), ["200", "429", "429"], "believed of nobody");
    let (_front, path) = start("somebody", Some("127.0.0.1"), "127.0.0.0/8", false);
    assert_eq!(statuses(&path, &claims), ["200", "200", "429"], "a proxy that is trusted");
    let proxied = [("PROXY TCP4 192.0.2.1 192.0.2.9 5 80\r\n", ""), ("PROXY TCP4 192.0.2.2 192.0.2.9 5 80\r\n", "")];
    let (_front, path) = start("balancer", Some("127.0.0.1"), "10.0.0.0/8", true);
    assert_eq!(statuses(&path, &[proxied[0], proxied[1], proxied[0]]), ["200", "200", "429"]);
    let (_front, path) = start("unnamed", None, "10.0.0.0/8", true);
    assert_eq!(statuses(&path, &proxied), ["", ""], "closed: it is on none of the networks");
}

/// An upstream on a socket that answers with the head that it got.
fn upstream(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            std::thread::spawn(move || {
                let (mut head, mut bytes) = (Vec::new(), [0; 1_024]);
                while let Ok(length) = socket.read(&mut bytes)
                    && length > 0
                {
                    head.extend_from_slice(&bytes[..length]);
                    if head.ends_with(b"\r\n\r\n") {
                        let _ = write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", head.len());
                        let _ = socket.write_all(&std::mem::take(&mut head));
                    }
                }
            });
        }
    });
}

#[test]
fn an_upstream_on_a_socket_is_asked_for_the_clients_host() {
    let folder = Folder::new();
    let path = folder.socket("app.sock");
    upstream(&path);
    let mut settings = settings(&[]);
    settings.upstreams = vec![format!("unix:{}", path.display()).parse().unwrap()];
    let front = Front::start(settings.clone());
    let mut client = front.client();
    for _ in 0..2 {
        client.get("/a?b");
        let head = client.response().body.to_lowercase();
        assert!(head.starts_with("get /a?b http/1.1\r\n") && head.contains("\r\nhost: api.example\r\n"), "{head}");
    }
    settings.forwarding.keep_host = false;
    front.replace(settings).unwrap();
    client.get("/");
    assert!(client.response().body.to_lowercase().contains("\r\nhost: localhost\r\n"));
}

#[test]
fn an_upstream_whose_socket_is_not_there_is_down() {
    let folder = Folder::new();
    let mut settings = settings(&[mirror()]);
    settings.upstreams.insert(0, format!("unix:{}", folder.socket("none").display()).parse().unwrap());
    let down = Front::start(settings);
    let mut client = down.client();
    for _ in 0..4 {
        client.get("/");
        assert_eq!(client.response().status, 200);
    }
    assert!(down.upstreams()[0].failures > 0);
}
