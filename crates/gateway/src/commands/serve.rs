//! `tollgate gateway`: the limiter, the proxy, the admin page and the reload, put together and run until told to stop.

use std::future::pending;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tollgate_http::{Policy, RateLimiter};

use super::fleet::HeldFleet;
use super::reload::Reload;
use crate::admin;
use crate::config::watch::Watch;
use crate::config::{self, Config};
use crate::control::server as control;
use crate::control::socket::ControlSocket;
use crate::proxy::client::listener::ListenerShared;
use crate::proxy::gateway::Gateway;
use crate::proxy::settings::{Listen, Settings};
use crate::values::admin_listen::AdminListen;
use crate::values::failure::Failure;
use crate::values::listen_addr::ListenAddr;
use crate::values::origin::Origin;
use crate::values::output;
use crate::values::rates::Rates;

/// How long the last lines of the access log may take at the end.
const FLUSH: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    /// A file that says everything, instead of the options below; read anew when it changes and on SIGHUP
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["listen", "upstreams", "limit", "admin"])]
    pub(crate) config: Option<PathBuf>,

    /// The address to listen on; port 0 is any that is free. Or a Unix socket, as unix:/run/tollgate.sock
    #[arg(short, long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: ListenAddr,

    /// The server behind the gateway, such as http://127.0.0.1:3000, h2c://127.0.0.1:50051 or unix:/run/app.sock; repeatable
    /// [default: a built-in echo]
    #[arg(short, long = "upstream", value_name = "URL")]
    pub(crate) upstreams: Vec<Origin>,

    /// What each client address may do, such as `100/minute`, or a list of limits that all hold at once
    #[arg(short = 'r', long, value_name = "RATE", default_value = "2 per 10 seconds")]
    pub(crate) limit: Rates,

    /// Where the admin page, /metrics, /healthz and /limits are, or `off` [default: 127.0.0.1:9900, if it is free]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<AdminListen>,
}

/// Runs the gateway that `args` describe until it is told to stop.
pub(crate) fn run(args: &GatewayArgs) -> Result<(), Failure> {
    raise_descriptor_limit();
    // Before the file is read, so that no change of it is missed.
    let watched = args.config.as_deref().map(|path| (path, Watch::new(path)));
    let (limits, mut settings, admin, control, redis, tier_files) = match &args.config {
        Some(path) => {
            let config = config::load(path)?;
            let tier_files = config.tier_files();
            let Config { limits, gateway, admin, control, redis, .. } = config;
            (limits, gateway, admin, control, redis, tier_files)
        }
        None => {
            let (limits, settings, admin) = of_flags(args)?;
            (limits, settings, admin, None, None, Vec::new())
        }
    };
    let held = HeldFleet::of(redis, None)?;
    let limits = super::fleet::on(limits, held.as_ref());
    let echo = if settings.upstreams.is_empty() && settings.routes.is_empty() { Some(Gateway::echo()?) } else { None };
    let echoes: Vec<Origin> =
        echo.iter().flat_map(|echo| &echo.addrs).filter_map(|addr| format!("http://{addr}").parse().ok()).collect();
    settings.upstreams.extend(echoes.iter().cloned());
    let admin_listener = admin::AdminListener::open(admin)?;
    let socket = control.as_deref().map(ControlSocket::open).transpose()?;
    let limiter = RateLimiter::new(limits).map_err(|error| match &args.config {
        Some(path) => config::no_limiter(path, &error),
        None => Failure::Usage(error.to_string()),
    })?;
    let gateway = Gateway::start(settings, &limiter)?;
    let announcement = announcement(&gateway, echo.is_some(), admin_listener.as_ref().map(|listener| listener.addr));
    let reload = watched.map(|(path, watch)| {
        Reload::new(path, (watch, tier_files), &gateway, &limiter, held, (admin, control), echoes)
    });
    if let Some(socket) = &socket {
        control::start(socket, limiter.clone())
            .map_err(|error| Failure::Other(format!("cannot start the thread of the control socket: {error}")))?;
    }
    if let Some(listener) = admin_listener {
        listener.serve(limiter, gateway.viewer())?;
    }
    run_until_told(gateway, reload, &announcement)
}

/// As many open sockets as the system allows: shells commonly start programs with far fewer. If this process may not
/// have more, there is simply room for fewer clients.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// What the command line says instead of a file.
fn of_flags(args: &GatewayArgs) -> Result<(tollgate_http::LimiterConfig, Settings, AdminListen), Failure> {
    let policy = Policy::new("default", args.limit.0.clone()).map_err(|error| Failure::Usage(error.to_string()))?;
    let settings = Settings::new(args.listen.clone(), args.upstreams.clone());
    let admin = args.admin.unwrap_or_default();
    let limits = tollgate_http::LimiterConfig::new().policy(policy).watch_use(admin != AdminListen::Off);
    Ok((limits, settings, admin))
}

/// Says where the gateway listens, in one line, and in another where the admin page is.
fn announcement(gateway: &Gateway, is_echo: bool, admin: Option<SocketAddr>) -> String {
    let state = gateway.live.now();
    let listeners = state.settings.listeners.iter().zip(&gateway.listeners);
    let scheme = |listen: &Listen| if listen.tls.is_some() { "https" } else { "http" };
    let shown = |(listen, bound): (&Listen, &Arc<ListenerShared>)| match bound.addr {
        ListenAddr::Net(addr) => format!("{}://{addr}", scheme(listen)),
        ListenAddr::Unix(_) => bound.addr.to_string(),
    };
    let addrs: Vec<String> = listeners.map(shown).collect();
    let upstreams: Vec<String> = state.all.iter().map(|upstream| upstream.origin.to_string()).collect();
    let echo = if is_echo { " (built-in echo)" } else { "" };
    let (addrs, upstreams) = (addrs.join(", "), upstreams.join(", "));
    let admin = admin.map_or_else(String::new, |addr| format!("tollgate: admin page at http://{addr}/\n"));
    format!("tollgate: listening on {addrs}, upstream {upstreams}{echo}\n{admin}")
}

/// Tells the service manager how it goes, if one asks (`sd_notify(3)`). One that does not listen misses nothing.
fn notify(state: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let Ok(socket) = UnixDatagram::unbound() else { return };
    let path = path.as_encoded_bytes();
    // A name that begins with `@` is no file (`unix(7)`).
    let _ = match path.strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            let addr = std::os::unix::net::SocketAddr::from_abstract_name(name);
            addr.and_then(|addr| socket.send_to_addr(state.as_bytes(), &addr))
        }
        _ => {
            use std::os::unix::ffi::OsStrExt;
            socket.send_to(state.as_bytes(), std::ffi::OsStr::from_bytes(path))
        }
    };
}

/// Says `announcement` and goes on until SIGINT or SIGTERM, serves on for as long as `timeouts.drain`, then finishes what is in
/// flight; further signals do not wait for that.
fn run_until_told(gateway: Gateway, reload: Option<Reload>, announcement: &str) -> Result<(), Failure> {
    let broken = |error| Failure::Other(format!("cannot wait for signals: {error}"));
    let runtime = Builder::new_current_thread().enable_all().build().map_err(broken)?;
    let live = gateway.live.clone();
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
        // Without a file to read anew, a hangup ends the program as it ends others.
        let hangup = reload.is_some().then(|| signal(SignalKind::hangup())).transpose().map_err(broken)?;
        let mut rotate = signal(SignalKind::user_defined1()).map_err(broken)?;
        // Who reads it may send signals at once.
        output::print(announcement)?;
        let mut reloading = pin!(async {
            if let (Some(reload), Some(hangup)) = (reload, hangup) {
                reload.run(hangup).await;
            }
            pending::<()>().await;
        });
        let mut rotating = pin!(async {
            while rotate.recv().await.is_some() {
                if let Some(log) = &live.now().access_log {
                    log.reopen();
                }
            }
            pending::<()>().await;
        });
        notify("READY=1");
        let mut drain = None;
        let steps: [fn(&Gateway); 3] = [Gateway::leave, Gateway::stop, Gateway::abort];
        for (step, enter) in steps.into_iter().enumerate() {
            let next = async move {
                match drain {
                    Some(Duration::ZERO) => {}
                    Some(drain) => sleep(drain).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = next => {}
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = &mut reloading => {}
                () = &mut rotating => {}
                () = gateway.ended() => break,
            }
            notify("STOPPING=1");
            // After the first signal the second step comes by itself, and at once where nothing is to be served on.
            drain = (step == 0).then(|| live.now().settings.timeouts.drain);
            if drain != Some(Duration::ZERO) {
                enter(&gateway);
            }
        }
        Ok::<(), Failure>(())
    })?;
    let ended = gateway.join();
    if let Some(log) = &live.now().access_log {
        log.flush(FLUSH);
    }
    ended
}
