//! The whole proxy: its sockets, its threads and what they share.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;

use tollgate_http::RateLimiter;
use tower_layer::Layer;

use crate::proxy::client::connection_limit::ConnectionLimit;
use crate::proxy::client::listener::{self, Bound, ListenError, ListenerShared};
use crate::proxy::echo::Echo;
use crate::proxy::exchange::proxy::Proxy;
use crate::proxy::live::{Live, StateError};
use crate::proxy::service::HttpService;
use crate::proxy::settings::Settings;
use crate::proxy::shutdown::{Draining, Signal, Stage};
use crate::proxy::tally::Tallies;
use crate::proxy::threads;
use crate::proxy::tls::TlsError;
use crate::proxy::view::Viewer;
use crate::values::failure::Failure;
use crate::values::listen_addr::ListenAddr;

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        match error {
            // As of the control socket.
            ListenError::Socket(ListenAddr::Unix(_), _) => Self::CannotCreate(error.to_string()),
            ListenError::Socket(ListenAddr::Net(_), _) => Self::Io(error.to_string()),
            ListenError::Tls(error) => error.into(),
        }
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::File(..) => Self::NoInput(error.to_string()),
            TlsError::Empty(_) | TlsError::Unfit(..) => Self::Usage(error.to_string()),
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Tls(error) => error.into(),
            StateError::Log(..) => Self::CannotCreate(error.to_string()),
        }
    }
}

/// A gateway that serves.
#[derive(Debug)]
pub struct Gateway {
    /// Where it listens on the network, in the order of the settings.
    pub addrs: Vec<SocketAddr>,
    pub(crate) listeners: Vec<Arc<ListenerShared>>,
    pub(crate) live: Live,
    connections: ConnectionLimit,
    signal: Signal,
    tallies: Tallies,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Gateway {
    /// Listens on all addresses of `settings` and serves what `limiter` admits.
    pub fn start(settings: Settings, limiter: &RateLimiter) -> Result<Self, Failure> {
        let live = Live::new(settings)?;
        let (proxied, layer) = (live.clone(), limiter.layer());
        let tallies = Tallies::default();
        let joined = tallies.clone();
        Self::serve(live, tallies, move |draining| layer.layer(Proxy::new(&proxied, joined.join(), draining)))
    }

    /// The built-in upstream, on a free port of this machine.
    pub(crate) fn echo() -> Result<Self, Failure> {
        let mut settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)), Vec::new());
        settings.threads = NonZeroUsize::MIN;
        let live = Live::new(settings)?;
        Self::serve(live, Tallies::default(), |_| Echo)
    }

    /// Starts threads in which `make` makes the service that answers.
    fn serve<F, S>(live: Live, tallies: Tallies, make: F) -> Result<Self, Failure>
    where
        F: Fn(Draining) -> S + Send + Sync + 'static,
        S: HttpService,
    {
        let state = live.now();
        let Settings { listeners: addresses, threads, .. } = &state.settings;
        let mut shares: Vec<Vec<Bound>> = (0..threads.get()).map(|_| Vec::new()).collect();
        let mut listeners: Vec<Arc<ListenerShared>> = Vec::new();
        for listen in addresses {
            let bound = listener::bind(listen, threads.get())?;
            listeners.extend(bound.first().map(|bound| Arc::clone(&bound.shared)));
            for (share, bound) in shares.iter_mut().zip(bound) {
                share.push(bound);
            }
        }
        let addrs = listeners.iter().filter_map(|listener| listener.addr.net()).collect();
        let (connections, signal) = (ConnectionLimit::default(), Signal::new());
        let threads = threads::start(&live, shares, (&connections, &tallies), &signal, make)
            .map_err(|error| Failure::Other(format!("cannot start a thread: {error}")))?;
        Ok(Self { addrs, listeners, live, connections, signal, tallies, threads })
    }

    /// What looks at it from outside.
    pub fn viewer(&self) -> Viewer {
        let Self { live, connections, signal, tallies, .. } = self;
        Viewer {
            live: live.clone(),
            connections: connections.clone(),
            signal: signal.clone(),
            tallies: tallies.clone(),
        }
    }

    /// Puts `settings` in force for all connections and requests that begin from now on. What is read once, at the
    /// start, stays as it was.
    pub fn replace(&self, settings: Settings) -> Result<(), Failure> {
        self.live.put(self.live.prepare(settings)?);
        Ok(())
    }

    /// Says that it will stop, and serves on.
    pub(crate) fn leave(&self) {
        self.signal.enter(Stage::Leaving);
    }

    /// Stops: requests in flight are finished, up to the deadline of the settings.
    pub fn stop(&self) {
        self.signal.enter(Stage::Draining);
    }

    /// Stops without waiting for anything.
    pub fn abort(&self) {
        self.signal.enter(Stage::Closing);
    }

    /// Returns once all threads have ended.
    pub(crate) async fn ended(&self) {
        self.signal.unheard().await;
    }

    /// Waits until all threads have ended.
    pub fn join(mut self) -> Result<(), Failure> {
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(ended) => ended.map_err(|error| Failure::Other(format!("a thread could not serve: {error}")))?,
                Err(_) => return Err(Failure::Other("a thread of the gateway panicked".to_owned())),
            }
        }
        Ok(())
    }
}
