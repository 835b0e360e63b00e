//! Threads that serve: each has a runtime, sockets, connections and a service of its own, and shares nothing but
//! counts.

use std::error::Error as StdError;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::timeout;
use tower_service::Service;

use super::connection::{self, Terms};
use super::listener::{Bound, Crowd};
use super::live::Live;
use super::shutdown::{Drain, Draining, Signal, Stage};

/// Starts one thread for each of `shares`, which holds the thread's sockets.
///
/// `make` is called on each thread for the service that answers there; it gets what the service's own tasks hold
/// while they must be waited for.
pub(crate) fn start<F, S, B>(
    live: &Live,
    shares: Vec<Vec<Bound>>,
    crowd: &Crowd,
    signal: &Signal,
    make: F,
) -> io::Result<Vec<JoinHandle<io::Result<()>>>>
where
    F: Fn(Draining) -> S + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>> + 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let make = Arc::new(make);
    let start = |(number, share)| {
        let (live, crowd, stage, make) = (live.clone(), crowd.clone(), signal.watch(), Arc::clone(&make));
        let thread = thread::Builder::new().name(format!("gateway-{number}"));
        thread.spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
            runtime.block_on(run(&live, share, &crowd, stage, &*make));
            Ok(())
        })
    };
    shares.into_iter().enumerate().map(start).collect()
}

/// Serves until told to stop, and then until the last request is answered or time is up.
async fn run<S, B>(
    live: &Live,
    share: Vec<Bound>,
    crowd: &Crowd,
    mut stage: watch::Receiver<Stage>,
    make: &impl Fn(Draining) -> S,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
    S::Error: Into<Box<dyn StdError + Send + Sync>> + 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let drain = Rc::new(Drain::new());
    let service = make(drain.watch());
    let accepting: Vec<_> = share
        .into_iter()
        .map(|bound| {
            let (service, drain, crowd, view) = (service.clone(), Rc::clone(&drain), crowd.clone(), live.view());
            spawn_local(bound.accept(move |socket, peer, door| {
                let state = view.now();
                let (timeouts, limits) = (state.settings.timeouts, state.settings.limits);
                // One too many is closed at once: that tells it more than waiting in a queue would.
                let Some(place) = crowd.enter(limits.connections) else { return };
                let terms = Terms { service: service.clone(), timeouts, limits };
                spawn_local(connection::serve(socket, peer, door, terms, drain.watch(), place));
            }))
        })
        .collect();
    // An error means that whoever could tell us to stop has gone.
    let _ = stage.wait_for(|stage| *stage >= Stage::Draining).await;
    for task in accepting {
        task.abort();
    }
    drop(service);
    let patience = live.now().settings.timeouts.shutdown;
    tokio::select! {
        _ = timeout(patience, drain.finish()) => {}
        _ = stage.wait_for(|stage| *stage >= Stage::Closing) => {}
    }
}
