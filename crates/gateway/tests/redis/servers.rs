//! Servers of the tests' own, on loopback and in folders that go with them: one, one with TLS, a primary under sentinels, a cluster.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::tool::Folder;
use crate::{PATIENCE, until};

/// A server on a port of its own.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) port: u16,
    folder: Folder,
    args: Vec<String>,
}

/// One whose port for the bus of a cluster, which is higher by 10,000, is free as well.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::at(free_port())
    }

    pub(crate) fn at(port: u16) -> Self {
        Self::with(port, &[])
    }

    pub(crate) fn with(port: u16, more: &[&str]) -> Self {
        let folder = Folder::new();
        let mut args: Vec<String> =
            ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1"].map(str::to_owned).into();
        args.extend(["--dir".to_owned(), folder.0.display().to_string()]);
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        args.extend(["--port".to_owned(), port.to_string()]);
        Self::run_with(port, folder, args)
    }

    /// One that watches the primary at a port, under the name `main`, and waits for an hour until it takes it for dead.
    fn sentinel(primary: u16) -> Self {
        let (folder, port) = (Folder::new(), free_port());
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds main 3600000\nsentinel failover-timeout main 2000\n",
            folder.0.display()
        );
        let file = folder.write("sentinel.conf", &text);
        Self::run_with(port, folder, vec![file.display().to_string(), "--sentinel".to_owned()])
    }

    fn run_with(port: u16, folder: Folder, args: Vec<String>) -> Self {
        let child = spawn(&args);
        let server = Self { child, port, folder, args };
        server.listens();
        server
    }

    fn listens(&self) {
        until("the server listens", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts one that was killed again, in the same place.
    pub(crate) fn start_again(&mut self) {
        assert!(self.folder.0.exists());
        self.child = spawn(&self.args);
        self.listens();
    }

    /// What it answers to a command: a line, or a text.
    pub(crate) fn ask(&self, words: &[&str]) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        socket.write_all(command.as_bytes()).unwrap();
        let mut socket = BufReader::new(socket);
        let mut line = String::new();
        socket.read_line(&mut line).unwrap();
        assert!(!line.starts_with('-'), "{words:?}: {line}");
        let Some(length) = line.strip_prefix('$') else { return line.trim_end().to_owned() };
        let mut text = vec![0; length.trim_end().parse().unwrap()];
        socket.read_exact(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }
}

fn spawn(args: &[String]) -> Child {
    let program =
        std::env::var("TOLLGATE_REDIS").expect("run by ci/redis.sh, which names the server in TOLLGATE_REDIS");
    Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One that takes TLS at the port that is returned, with the certificate that `ci/redis.sh` makes for `localhost` and has trusted.
pub(crate) fn with_tls() -> (Server, u16) {
    let folder = std::env::var("TOLLGATE_TLS").expect("run by ci/redis.sh, which names a folder in TOLLGATE_TLS");
    let [key, certificate] = ["key", "certificate"].map(|name| format!("{folder}/{name}"));
    let port = free_port();
    let text = port.to_string();
    let tls = [
        ["--tls-port", &text],
        ["--tls-cert-file", &certificate],
        ["--tls-key-file", &key],
        ["--tls-auth-clients", "no"],
    ];
    let args: Vec<&str> = tls.iter().flatten().copied().chain(["--tls-ca-cert-file", &certificate]).collect();
    (Server::with(free_port(), &args), port)
}

/// A primary and a replica, under three sentinels that know all of each other.
pub(crate) struct Watched {
    pub(crate) primary: Server,
    _replica: Server,
    pub(crate) sentinels: Vec<Server>,
}

impl Watched {
    pub(crate) fn start() -> Self {
        let alone = || Server::with(free_port(), &["--repl-diskless-sync-delay", "0"]);
        let (primary, replica) = (alone(), alone());
        replica.ask(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
        let sentinels: Vec<Server> = (0..3).map(|_| Server::sentinel(primary.port)).collect();
        until("the sentinels know each other and the replica", || {
            let knows = |sentinel: &Server| sentinel.ask(&["INFO", "sentinel"]).contains(",slaves=1,sentinels=3");
            sentinels.iter().all(knows)
        });
        Self { primary, _replica: replica, sentinels }
    }

    /// Waits until the replica has all that the primary has.
    pub(crate) fn replicate(&self) {
        assert_eq!(self.primary.ask(&["WAIT", "1", "20000"]), ":1");
    }

    /// From now on the sentinels take a primary that is silent for half a second for dead.
    pub(crate) fn be_strict(&self) {
        for sentinel in &self.sentinels {
            sentinel.ask(&["SENTINEL", "SET", "main", "down-after-milliseconds", "500"]);
        }
    }
}

/// Three nodes with a third of the slots each.
pub(crate) fn cluster() -> Vec<Server> {
    let node = |_| Server::with(free_port(), &["--cluster-enabled", "yes", "--cluster-node-timeout", "5000"]);
    let nodes: Vec<Server> = (0..3).map(node).collect();
    for (i, node) in (0..).zip(&nodes) {
        let slots = [i * 16_384 / 3, (i + 1) * 16_384 / 3 - 1].map(|slot: u32| slot.to_string());
        node.ask(&["CLUSTER", "ADDSLOTSRANGE", &slots[0], &slots[1]]);
        node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(i + 1).to_string()]);
    }
    for node in &nodes[1..] {
        nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string()]);
    }
    agree(&nodes);
    nodes
}

/// Waits until the nodes of a cluster serve.
pub(crate) fn agree(nodes: &[Server]) {
    for node in nodes {
        until("the cluster", || {
            let info = node.ask(&["CLUSTER", "INFO"]);
            std::thread::sleep(Duration::from_millis(20));
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        });
    }
}
