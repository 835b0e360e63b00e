//! Threads that serve: each has a runtime, sockets, connections and a service, and shares nothing but
//! counts.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::proxy::client::connection::{self, ConnectionConfig, Crowd};
use crate::proxy::client::connection_limit::ConnectionLimit;
use crate::proxy::client::listener::Bound;
use crate::proxy::live::Live;
use crate::proxy::service::HttpService;
use crate::proxy::shutdown::{Drain, Draining, Signal, Stage};
use crate::proxy::tally::{Tallies, Tally};

/// Starts one thread for each of `shares`, which holds the thread's sockets.
///
/// `make` is called on each thread for the service that answers there; it gets what the service's own tasks hold
/// while they must be waited for.
pub(crate) fn start<F, S>(
    live: &Live,
    shares: Vec<Vec<Bound>>,
    (connections, tallies): (&ConnectionLimit, &Tallies),
    signal: &Signal,
    make: F,
) -> io::Result<Vec<JoinHandle<io::Result<()>>>>
where
    F: Fn(Draining) -> S + Send + Sync + 'static,
    S: HttpService,
{
    let make = Arc::new(make);
    let start = |(number, share)| {
        let (live, connections, stage, make) = (live.clone(), connections.clone(), signal.watch(), Arc::clone(&make));
        let tally = tallies.join();
        let thread = thread::Builder::new().name(format!("gateway-{number}"));
        thread.spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
            runtime.block_on(run(&live, share, (&connections, tally), stage, &*make));
            Ok(())
        })
    };
    shares.into_iter().enumerate().map(start).collect()
}

/// Serves until told to stop, and then until the last request is answered or time is up.
async fn run<S: HttpService>(
    live: &Live,
    share: Vec<Bound>,
    (connections, tally): (&ConnectionLimit, Arc<Tally>),
    mut stage: watch::Receiver<Stage>,
    make: &impl Fn(Draining) -> S,
) {
    let drain = Rc::new(Drain::new());
    let service = make(drain.watch());
    let accepting: Vec<_> = share
        .into_iter()
        .map(|bound| {
            let (service, drain, connections, view) =
                (service.clone(), Rc::clone(&drain), connections.clone(), live.view());
            let tally = Arc::clone(&tally);
            spawn_local(bound.accept(move |socket, peer, shared| {
                let state = view.now();
                let (timeouts, limits) = (state.settings.timeouts, state.settings.limits);
                // One too many is closed at once: that tells it more than waiting in a queue would.
                let Some(permit) = connections.enter(limits.connections) else { return };
                let crowd = limits.client_connections.map(|most| Crowd {
                    most,
                    grouping: state.settings.grouping,
                    trusted: state.settings.forwarding.trusted.clone(),
                });
                let (cors, log) = (state.settings.cors.clone(), state.access_log.clone());
                let fields = Arc::clone(&state.settings.fields);
                let tally = Arc::clone(&tally);
                let config = ConnectionConfig { service: service.clone(), timeouts, limits, cors, log, fields, tally };
                spawn_local(connection::serve(socket, peer, shared, config, drain.watch(), (permit, crowd)));
            }))
        })
        .collect();
    // An error means that the sender is gone, and no stage will follow.
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
