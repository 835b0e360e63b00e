//! Servers of the tests' own: started on ports and sockets of loopback, in a folder that goes with them, and ended by their ids.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use redis::Value;
use tollgate_redis::{Fleet, FleetBuilder};

pub(crate) const SECRET: &str = "a secret of the tests";

/// The program: `TOLLGATE_REDIS`, which `ci/redis.sh` sets.
pub(crate) fn program() -> String {
    std::env::var("TOLLGATE_REDIS").expect("run by ci/redis.sh, which names the server in TOLLGATE_REDIS")
}

pub(crate) fn free_port() -> u16 {
    loop {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // So that the cluster's bus, 10,000 higher, is a port.
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
    args: Vec<String>,
    own: tokio::sync::OnceCell<redis::aio::MultiplexedConnection>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(more: &[&str]) -> Self {
        let folder = folder();
        let port = free_port();
        let mut args: Vec<String> =
            ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir"].map(Into::into).into();
        args.push(folder.display().to_string());
        args.extend(["--unixsocket".into(), folder.join("socket").display().to_string()]);
        args.extend(more.iter().map(|&arg| arg.to_owned()));
        args.extend(["--port".into(), port.to_string()]);
        let child = spawn(&program(), &args);
        let server = Self { child, port, folder, args, own: tokio::sync::OnceCell::new() };
        server.wait();
        server
    }

    /// A sentinel that watches the primary at a port, under the name `main`.
    pub(crate) fn sentinel(primary: u16) -> Self {
        let folder = folder();
        let port = free_port();
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor main 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n",
            folder = folder.display()
        );
        let file = folder.join("sentinel.conf");
        std::fs::write(&file, text).unwrap();
        let args = vec![file.display().to_string(), "--sentinel".to_owned()];
        let child = spawn(&program(), &args);
        let server = Self { child, port, folder, args, own: tokio::sync::OnceCell::new() };
        server.wait();
        server
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "the server does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = spawn(&program(), &self.args);
        self.own = tokio::sync::OnceCell::new();
        self.wait();
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) async fn connection(&self) -> redis::aio::MultiplexedConnection {
        // A machine that is busy may take longer than the half second that is usual.
        let patience = Some(Duration::from_secs(20));
        let config =
            redis::AsyncConnectionConfig::new().set_response_timeout(patience).set_connection_timeout(patience);
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }

    /// A command of the test's own.
    pub(crate) async fn run(&self, words: &[&str]) -> Value {
        let mut cmd = redis::cmd(words[0]);
        cmd.arg(&words[1..]);
        let mut own = self.own.get_or_init(|| self.connection()).await.clone();
        cmd.query_async(&mut own).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub(crate) async fn number(&self, words: &[&str]) -> i64 {
        redis::from_redis_value(self.run(words).await).unwrap()
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = redis::from_redis_value(self.run(&["KEYS", "tg1:*"]).await).unwrap();
        keys.sort();
        keys
    }

    /// A fleet whose time is what `set_clock` says.
    pub(crate) async fn fleet_with_clock(&self) -> Fleet {
        self.set_clock(T0).await;
        ready(Fleet::builder(self.url()).test_clock("clk")).await
    }

    pub(crate) async fn set_clock(&self, us: u64) {
        self.run(&["SET", "clk", &us.to_string()]).await;
    }
}

/// As the cases of the design have it, but in 2099, as keys expire by the true time: 20 s into a minute.
pub(crate) const T0: u64 = 4_100_000_000_000_000;

pub(crate) async fn ready(builder: FleetBuilder) -> Fleet {
    let fleet = builder.secret(SECRET).deadline(Duration::from_millis(500)).build().unwrap();
    assert!(fleet.ready(Duration::from_secs(10)).await, "no connection");
    fleet
}

fn folder() -> PathBuf {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("tollgate-redis-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn spawn(program: &str, args: &[String]) -> Child {
    Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the server starts")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
