//! Between a fleet and its server: passes, or does what networks do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a connection, from the next bytes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Pass,
    /// Replies are so many milliseconds late.
    Delay(u64),
    /// Nothing is passed on, and nothing said.
    BlackHole,
    /// Requests arrive, and replies do not.
    Swallow,
    /// Closed with a reset.
    Reset,
    /// Closed after so many bytes of a reply.
    Half(u64),
}

impl Fault {
    fn number(self) -> u64 {
        match self {
            Self::Pass => 0,
            Self::BlackHole => 1,
            Self::Swallow => 2,
            Self::Reset => 3,
            Self::Delay(ms) => 1_000 + ms,
            Self::Half(bytes) => 1_000_000 + bytes,
        }
    }

    fn of(number: u64) -> Self {
        match number {
            0 => Self::Pass,
            1 => Self::BlackHole,
            2 => Self::Swallow,
            3 => Self::Reset,
            1_000_000.. => Self::Half(number - 1_000_000),
            _ => Self::Delay(number - 1_000),
        }
    }
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    fault: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (fault, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (at, open) = (Arc::clone(&fault), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (fault, open) = (Arc::clone(&at), Arc::clone(&open));
                tokio::spawn(async move {
                    open.fetch_add(1, Ordering::Relaxed);
                    pass(client, server, &fault).await;
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { port, fault, connections, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn set(&self, fault: Fault) {
        self.fault.store(fault.number(), Ordering::Relaxed);
    }

    /// Connections that clients hold open.
    pub(crate) fn open(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, server: u16, fault: &AtomicU64) {
    let now = || Fault::of(fault.load(Ordering::Relaxed));
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    server.set_nodelay(true).unwrap();
    client.set_nodelay(true).unwrap();
    let (mut asked, mut said) = ([0; 16_384], [0; 16_384]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(n @ 1..) = read else { return };
                match now() {
                    Fault::BlackHole => {}
                    Fault::Reset => { let _ = client.set_zero_linger(); return }
                    _ => if server.write_all(&asked[..n]).await.is_err() { return }
                }
            }
            read = server.read(&mut said) => {
                let Ok(n @ 1..) = read else { return };
                match now() {
                    Fault::Pass => {}
                    Fault::Delay(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                    Fault::BlackHole | Fault::Swallow => continue,
                    Fault::Reset => { let _ = client.set_zero_linger(); return }
                    Fault::Half(bytes) => {
                        let n = n.min(usize::try_from(bytes).unwrap());
                        let _ = client.write_all(&said[..n]).await;
                        return;
                    }
                }
                if client.write_all(&said[..n]).await.is_err() { return }
            }
        }
    }
}
