//! `tollgate gateway`: a reverse proxy that stands in front of an API.
//!
//! A client's way in, in this order: [`listener`] accepts it on one of the threads of [`server`], [`connection`] finds
//! out what it speaks ([`proxy_header`], [`tls`]) and watches its [`activity`], [`proxy`] takes each request, has it
//! rewritten by [`forward`] and [`hop`], and sends it over a connection of the [`pool`] to one of the upstreams of
//! [`upstream`]; [`body`] carries the bodies both ways, [`fetched`] those of HTTP/2 clients that have to take them, and
//! [`upgrade`] what is no longer HTTP. What is in force while
//! all this happens is in [`live`], and comes from [`settings`].
//!
//! Nothing here limits rates: that is done by the layer round the service that the threads are given.

#![cfg_attr(not(test), allow(dead_code, reason = "the configuration file, its reload and the admin page use the rest"))]

mod activity;
mod body;
mod connection;
mod descriptors;
mod echo;
mod error;
mod fetched;
mod forward;
mod hop;
mod io;
mod listener;
mod live;
mod moment;
mod pool;
mod proxy;
mod proxy_header;
mod reload;
mod server;
pub(crate) mod settings;
mod shutdown;
mod tally;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod upgrade;
pub(crate) mod upstream;
pub(crate) mod view;

use std::error::Error as StdError;
use std::future::pending;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tollgate_http::{Policy, RateLimiter};
use tower_layer::Layer;
use tower_service::Service;

use self::echo::Echo;
use self::listener::{Bound, Crowd, Door, ListenError};
use self::live::Live;
use self::proxy::Proxy;
use self::reload::Reload;
use self::settings::{Listen, Settings};
use self::shutdown::{Draining, Signal, Stage};
use self::tally::Tallies;
use self::tls::TlsError;
use self::upstream::Origin;
use self::view::Viewer;
use crate::admin;
use crate::cli::GatewayArgs;
use crate::config::watch::Watch;
use crate::config::{self, Config};
use crate::failure::Failure;
use crate::output;

/// Runs the gateway that `args` describe until it is told to stop.
pub(crate) fn run(args: &GatewayArgs) -> Result<(), Failure> {
    descriptors::raise();
    // Before the file is read, so that no change of it is missed.
    let watched = args.config.as_deref().map(|path| (path, Watch::new(path)));
    let (limits, mut settings, admin) = match &args.config {
        Some(path) => {
            let Config { limits, gateway, admin, .. } = config::load(path)?;
            (limits, gateway, admin)
        }
        None => of_flags(args)?,
    };
    let echo = if settings.upstreams.is_empty() { Some(Gateway::echo()?) } else { None };
    let echoes: Vec<Origin> =
        echo.iter().flat_map(|echo| &echo.addrs).filter_map(|addr| format!("http://{addr}").parse().ok()).collect();
    settings.upstreams.extend(echoes.iter().cloned());
    let door = admin::Door::open(admin)?;
    let limiter = RateLimiter::new(limits).map_err(|error| match &args.config {
        Some(path) => config::check::no_limiter(path, &error),
        None => Failure::Usage(error.to_string()),
    })?;
    let gateway = Gateway::start(settings, &limiter)?;
    let announcement = gateway.announcement(echo.is_some(), door.as_ref());
    let reload = watched.map(|(path, watch)| Reload::new(path, watch, &gateway, &limiter, admin, echoes));
    if let Some(door) = door {
        door.serve(limiter, gateway.viewer())?;
    }
    gateway.run_until_told(reload, &announcement)
}

/// What the command line says instead of a file.
fn of_flags(args: &GatewayArgs) -> Result<(tollgate_http::LimiterConfig, Settings, admin::Choice), Failure> {
    let policy = Policy::new("default", args.limit.0.clone()).map_err(|error| Failure::Usage(error.to_string()))?;
    let settings = Settings::new(args.listen, args.upstreams.clone());
    Ok((tollgate_http::LimiterConfig::new().policy(policy), settings, args.admin.unwrap_or_default()))
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        match error {
            ListenError::Socket(..) => Self::Io(error.to_string()),
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

/// A gateway that serves.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Where it listens, in the order of the settings.
    pub(crate) addrs: Vec<SocketAddr>,
    doors: Vec<Arc<Door>>,
    pub(crate) live: Live,
    pub(crate) crowd: Crowd,
    signal: Signal,
    tallies: Tallies,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Gateway {
    /// Listens on all addresses of `settings` and serves what `limiter` admits.
    pub(crate) fn start(settings: Settings, limiter: &RateLimiter) -> Result<Self, Failure> {
        let live = Live::new(settings)?;
        let (proxied, layer) = (live.clone(), limiter.layer());
        let tallies = Tallies::default();
        let joined = tallies.clone();
        let gateway = Self::serve(live, move |draining| layer.layer(Proxy::new(&proxied, joined.join(), draining)))?;
        Ok(Self { tallies, ..gateway })
    }

    /// The built-in upstream, on a free port of this machine.
    fn echo() -> Result<Self, Failure> {
        let mut settings = Settings::new(SocketAddr::from(([127, 0, 0, 1], 0)), Vec::new());
        settings.threads = NonZeroUsize::MIN;
        let live = Live::new(settings)?;
        Self::serve(live, |_| Echo)
    }

    /// Starts threads in which `make` makes the service that answers.
    pub(crate) fn serve<F, S, B>(live: Live, make: F) -> Result<Self, Failure>
    where
        F: Fn(Draining) -> S + Send + Sync + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + 'static,
        S::Error: Into<Box<dyn StdError + Send + Sync>> + 'static,
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let state = live.now();
        let Settings { listeners, threads, .. } = &state.settings;
        let mut shares: Vec<Vec<Bound>> = (0..threads.get()).map(|_| Vec::new()).collect();
        let mut doors: Vec<Arc<Door>> = Vec::new();
        for listen in listeners {
            let bound = listener::bind(listen, threads.get())?;
            doors.extend(bound.first().map(|bound| Arc::clone(&bound.door)));
            for (share, bound) in shares.iter_mut().zip(bound) {
                share.push(bound);
            }
        }
        let addrs = doors.iter().map(|door| door.addr).collect();
        let (crowd, signal) = (Crowd::default(), Signal::new());
        let threads = server::start(&live, shares, &crowd, &signal, make)
            .map_err(|error| Failure::Other(format!("cannot start a thread: {error}")))?;
        Ok(Self { addrs, doors, live, crowd, signal, tallies: Tallies::default(), threads })
    }

    /// Says where it listens, in one line, and in another where the admin page is.
    fn announcement(&self, is_echo: bool, admin: Option<&admin::Door>) -> String {
        let state = self.live.now();
        let listeners = state.settings.listeners.iter().zip(&self.addrs);
        let scheme = |listen: &Listen| if listen.tls.is_some() { "https" } else { "http" };
        let addrs: Vec<String> = listeners.map(|(listen, addr)| format!("{}://{addr}", scheme(listen))).collect();
        let upstreams: Vec<String> = state.upstreams.iter().map(|upstream| upstream.origin.to_string()).collect();
        let echo = if is_echo { " (built-in echo)" } else { "" };
        let (addrs, upstreams) = (addrs.join(", "), upstreams.join(", "));
        let admin = admin.map_or_else(String::new, |door| format!("tollgate: admin page at http://{}/\n", door.addr));
        format!("tollgate: listening on {addrs}, upstream {upstreams}{echo}\n{admin}")
    }

    /// A look at it from outside.
    fn viewer(&self) -> Viewer {
        let Self { live, crowd, signal, tallies, .. } = self;
        Viewer { live: live.clone(), crowd: crowd.clone(), signal: signal.clone(), tallies: tallies.clone() }
    }

    /// Says `announcement` and goes on until SIGINT or SIGTERM, then finishes what is in flight; the second signal does not wait for that.
    fn run_until_told(self, reload: Option<Reload>, announcement: &str) -> Result<(), Failure> {
        let broken = |error| Failure::Other(format!("cannot wait for signals: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(broken)?;
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
            let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
            // Without a file to read anew, a hangup ends the program as it ends others.
            let hangup = reload.is_some().then(|| signal(SignalKind::hangup())).transpose().map_err(broken)?;
            // Who reads it may send signals at once.
            output::print(announcement)?;
            let mut reloading = pin!(async {
                if let (Some(reload), Some(hangup)) = (reload, hangup) {
                    reload.run(hangup).await;
                }
                pending::<()>().await;
            });
            for stage in [Stage::Draining, Stage::Closing] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    () = &mut reloading => {}
                    () = self.signal.unheard() => break,
                }
                self.signal.enter(stage);
            }
            Ok::<(), Failure>(())
        })?;
        self.join()
    }

    /// Stops: requests in flight are finished, up to the deadline of the settings.
    pub(crate) fn stop(&self) {
        self.signal.enter(Stage::Draining);
    }

    /// Stops without waiting for anything.
    pub(crate) fn abort(&self) {
        self.signal.enter(Stage::Closing);
    }

    /// Waits until all threads have ended.
    pub(crate) fn join(mut self) -> Result<(), Failure> {
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(ended) => ended.map_err(|error| Failure::Other(format!("a thread could not serve: {error}")))?,
                Err(_) => return Err(Failure::Other("a thread of the gateway panicked".to_owned())),
            }
        }
        Ok(())
    }
}
