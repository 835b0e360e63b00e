//! The thread of the admin listener: its connections, their bounds, and the sample of every second.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use tollgate::clock::Clock;

use super::history::{History, Sample};
use super::state::{AdminState, Subject};
use super::{metrics, routes};
use crate::values::output;

/// Connections at once; one more waits until another has ended.
const CONNECTIONS: usize = 256;

/// From one request on a connection to the end of the next one's head.
const HEAD: Duration = Duration::from_secs(5);

/// Until a connection is asked to end, and how long it may take over that.
const LIFE: Duration = Duration::from_secs(60);
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// Bytes of a request head.
const HEAD_BYTES: usize = 16 << 10;

/// How long accepting pauses when the process is out of sockets.
const PAUSE: Duration = Duration::from_millis(100);

/// Starts the thread; it ends with the process, so that it answers while the gateway drains.
pub(crate) fn start(socket: StdListener, subject: Subject) -> io::Result<()> {
    thread::Builder::new().name("admin".to_owned()).spawn(move || {
        if let Err(error) = run(socket, subject) {
            output::complain(&format_args!("the admin page cannot be served: {error}"));
        }
    })?;
    Ok(())
}

fn run(socket: StdListener, subject: Subject) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let socket = TcpListener::from_std(socket)?;
        let history = RefCell::new(History::new(subject.limiter.clock().now()));
        let state = Rc::new(AdminState { subject, history, ledger: RefCell::default() });
        spawn_local(watch(Rc::clone(&state)));
        accept(&socket, &state).await;
        Ok(())
    })
}

async fn accept(socket: &TcpListener, state: &Rc<AdminState>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // An error means that the semaphore was closed, which never happens.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match socket.accept().await {
            Ok((client, _)) => {
                let state = Rc::clone(state);
                spawn_local(async move {
                    talk(client, &state).await;
                    drop(place);
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// Errors concern this client alone and are dropped.
async fn talk(client: TcpStream, state: &AdminState) {
    let service =
        service_fn(|request: Request<Incoming>| async move { Ok::<_, Infallible>(routes::answer(state, &request)) });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_header_size(HEAD_BYTES).max_buf_size(HEAD_BYTES);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(client), service));
    if timeout(LIFE, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(LAST_ANSWER, connection).await;
    }
}

/// Takes a sample at every full second.
async fn watch(state: Rc<AdminState>) {
    const SECOND: u64 = 1_000_000_000;
    loop {
        let now = state.subject.limiter.clock().now().as_nanos();
        sleep(Duration::from_nanos(SECOND - now % SECOND)).await;
        state.history.borrow_mut().record(&sample(&state.subject));
        metrics::keep_up(&state);
    }
}

fn sample(subject: &Subject) -> Sample {
    Sample {
        at: subject.limiter.clock().now(),
        passed: subject.gateway.now().passed,
        policies: subject.limiter.policies(0).into_iter().map(|policy| (policy.name, policy.counts)).collect(),
    }
}
