//! Another configuration while the gateway runs: all of it or nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio::signal::unix::Signal;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_rustls::rustls::ServerConfig;
use tollgate_http::RateLimiter;

use super::fleet::HeldFleet;
use super::fleet_log::FleetLog;
use crate::config;
use crate::config::watch::{Look, Watch};
use crate::proxy::client::listener::ListenerShared;
use crate::proxy::gateway::Gateway;
use crate::proxy::live::{Live, State, StateError};
use crate::proxy::settings::{Listen, Settings};
use crate::proxy::tls;
use crate::values::admin_listen::AdminListen;
use crate::values::failure::Failure;
use crate::values::origin::Origin;
use crate::values::output;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// The configuration file of a gateway, and all that depends on it.
#[derive(Debug)]
pub(crate) struct Reload {
    path: PathBuf,
    watch: Watch,
    live: Live,
    limiter: RateLimiter,
    /// The servers that are in use.
    held: Option<HeldFleet>,
    listeners: Vec<Arc<ListenerShared>>,
    /// As they were at the start: the admin page and the control socket.
    admin: AdminListen,
    control: Option<PathBuf>,
    /// The built-in upstreams, if it was started without others.
    echoes: Vec<Origin>,
    /// What was said about the file last, if it is bad. Said once, however long it stays so.
    complaint: Option<String>,
    /// Not before, if the file is bad and stays as it is.
    next_try: Instant,
    /// Whether it was said that the shared table has gone.
    is_detached: bool,
    /// What was said of the servers.
    fleet_log: FleetLog,
}

/// All that can fail of a reload has been done.
struct Prepared {
    state: State,
    certificates: Vec<Option<Arc<ServerConfig>>>,
    needs_restart: Vec<&'static str>,
}

impl Reload {
    /// Keeps `gateway` and `limiter` as the file at `path` says. `watch` has watched it since before they were made.
    pub(crate) fn new(
        path: &Path,
        (mut watch, tier_files): (Watch, Vec<PathBuf>),
        gateway: &Gateway,
        limiter: &RateLimiter,
        held: Option<HeldFleet>,
        (admin, control): (AdminListen, Option<PathBuf>),
        echoes: Vec<Origin>,
    ) -> Self {
        metrics::describe_counter!(
            "tollgate_config_reloads_total",
            "Configuration files read while running: applied, or refused and nothing changed"
        );
        watch.follow(files(path, &gateway.live.now().settings, held.as_ref(), tier_files));
        Self {
            path: path.to_owned(),
            watch,
            live: gateway.live.clone(),
            limiter: limiter.clone(),
            held,
            listeners: gateway.listeners.clone(),
            admin,
            control,
            echoes,
            complaint: None,
            next_try: Instant::now(),
            is_detached: false,
            fleet_log: FleetLog::default(),
        }
    }

    /// Reads the file anew at every `hangup` and whenever it has changed.
    pub(crate) async fn run(self, mut hangup: Signal) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reload = Some(self);
        loop {
            let is_asked = tokio::select! {
                asked = hangup.recv() => asked.is_some(),
                _ = ticks.tick() => false,
            };
            let Some(mut taken) = reload.take() else { return };
            // The disk may be slow, and signals must be heard meanwhile.
            let looked = tokio::task::spawn_blocking(move || {
                taken.look(is_asked);
                taken
            });
            reload = looked.await.ok();
        }
    }

    /// Says once that those who start from now on do not share this process's table.
    fn look_at_table(&mut self) {
        let Some(table) = self.limiter.shared_table().filter(|table| table.is_detached && !self.is_detached) else {
            return;
        };
        self.is_detached = true;
        output::complain(&format_args!(
            "{}: limiter.shared: the table {} was removed or replaced; this process goes on in the old one, and admits its limits \
             beside those of the new one: start it anew",
            self.path.display(),
            table.path.display()
        ));
    }

    /// Says what has failed at the servers since the last look.
    fn look_at_servers(&mut self) {
        let statuses = self.limiter.fleet().map(|fleet| fleet.server_statuses()).unwrap_or_default();
        for line in self.fleet_log.look(statuses.into_iter().map(Into::into), Instant::now()) {
            output::complain(&line);
        }
    }

    fn look(&mut self, is_asked: bool) {
        self.look_at_table();
        self.look_at_servers();
        if is_asked {
            self.watch.take();
            self.complaint = None;
        } else {
            match self.watch.look() {
                Look::Changed => {}
                // What it lacked may be there by now, such as a certificate.
                Look::Same if self.complaint.is_some() && self.next_try <= Instant::now() => {}
                Look::Same | Look::Changing => return,
            }
        }
        let began = Instant::now();
        let applied = self.apply();
        // A large table that stays bad must not take a core.
        self.next_try = Instant::now() + began.elapsed() * 20;
        match applied {
            Ok(Applied { needs_restart, begin_anew }) => {
                self.complaint = None;
                counter!("tollgate_config_reloads_total", "outcome" => "applied").increment(1);
                let path = self.path.display();
                output::complain(&format_args!("{path}: reloaded and in force"));
                if self.limiter.config().policies().is_empty() {
                    output::complain(&format_args!("{path}: policies: there are none, so nothing is limited"));
                }
                for key in needs_restart {
                    output::complain(&format_args!("{path}: {key}: a change of this needs a restart"));
                }
                let why = match self.limiter.config().shared_path() {
                    Some(_) => {
                        "has another rate than before, and counts with all processes of this machine that have it"
                    }
                    None => "has another period or algorithm than before, so its counts start anew",
                };
                for limit in begin_anew {
                    output::complain(&format_args!("{path}: policies: `{limit}` {why}"));
                }
            }
            Err(failure) => {
                let complaint = failure.to_string();
                if self.complaint.as_ref() == Some(&complaint) {
                    return;
                }
                counter!("tollgate_config_reloads_total", "outcome" => "refused").increment(1);
                output::complain(&complaint);
                let path = self.path.display();
                output::complain(&format_args!("{path}: NOT in force; everything stays as it was before"));
                self.complaint = Some(complaint);
            }
        }
    }

    /// Puts what the file says in force.
    fn apply(&mut self) -> Result<Applied, Failure> {
        if let Some(path) = self.watch.no_file() {
            return Err(Failure::Config(format!("{}: not a file", path.display())));
        }
        let config = config::load(&self.path)?;
        let held = HeldFleet::of(config.redis.clone(), self.held.as_ref())?;
        let files = files(&self.path, &config.gateway, held.as_ref(), config.tier_files());
        let wrong = |error: &dyn std::fmt::Display| Failure::Config(format!("{}: {error}", self.path.display()));
        let mut prepared = self.prepare(config.gateway).map_err(|error| wrong(&error))?;
        if config.admin != self.admin {
            prepared.needs_restart.push("admin");
        }
        if config.control != self.control {
            prepared.needs_restart.push("control");
        }
        // The last that can fail, and itself all or nothing.
        let reloaded =
            self.limiter.reload(super::fleet::on(config.limits, held.as_ref())).map_err(|error| wrong(&error))?;
        prepared.needs_restart.extend(reloaded.fixed.iter().map(|setting| match setting {
            tollgate_http::limiter::FixedSetting::Capacity => "limiter.capacity",
            tollgate_http::limiter::FixedSetting::OnFull => "limiter.on_full",
            tollgate_http::limiter::FixedSetting::Shared => "limiter.shared",
            _ => "limiter",
        }));
        self.held = held;
        self.live.put(prepared.state);
        for (listener, certificate) in self.listeners.iter().zip(prepared.certificates) {
            if let Some(certificate) = certificate {
                listener.renew(certificate);
            }
        }
        self.watch.follow(files);
        Ok(Applied {
            needs_restart: prepared.needs_restart,
            begin_anew: reloaded.restarted.iter().map(ToString::to_string).collect(),
        })
    }

    fn prepare(&self, mut settings: Settings) -> Result<Prepared, StateError> {
        let now = self.live.now();
        let mut needs_restart = Vec::new();
        // Certificates may change at any time; where they are shown, and to whom, may not.
        let is_same = |old: &Listen, new: &Listen| {
            (&old.addr, old.mode, old.peer) == (&new.addr, new.mode, new.peer)
                && old.tls.is_some() == new.tls.is_some()
                && old.proxy_protocol == new.proxy_protocol
        };
        let listeners = &now.settings.listeners;
        let are_same = listeners.len() == settings.listeners.len()
            && listeners.iter().zip(&settings.listeners).all(|(old, new)| is_same(old, new));
        if !are_same {
            needs_restart.push("listen");
            settings.listeners.clone_from(listeners);
        }
        if settings.threads != now.settings.threads {
            needs_restart.push("threads");
            settings.threads = now.settings.threads;
        }
        if settings.upstreams.is_empty() && settings.routes.is_empty() {
            if self.echoes.is_empty() {
                needs_restart.push("upstreams");
                settings.upstreams.clone_from(&now.settings.upstreams);
                settings.routes.clone_from(&now.settings.routes);
            } else {
                settings.upstreams.clone_from(&self.echoes);
            }
        }
        let certificates = settings.listeners.iter();
        let certificates = certificates.map(|listen| listen.tls.as_ref().map(tls::server).transpose());
        let certificates = certificates.collect::<Result<_, tls::TlsError>>()?;
        Ok(Prepared { state: self.live.prepare(settings)?, certificates, needs_restart })
    }
}

/// What is to be said of a file that was put in force.
struct Applied {
    /// The keys that have changed and cannot.
    needs_restart: Vec<&'static str>,
    /// The limits under which nothing has been used.
    begin_anew: Vec<String>,
}

/// The file and all that it names.
fn files(path: &Path, settings: &Settings, held: Option<&HeldFleet>, tiers: Vec<PathBuf>) -> Vec<PathBuf> {
    let tls = settings.listeners.iter().filter_map(|listen| listen.tls.as_ref());
    let tls = tls.flat_map(|files| [files.cert.clone(), files.key.clone()]);
    let secret = held.map(|held| held.settings().secret_file.clone());
    let named = tls.chain(settings.upstream_ca.clone()).chain(secret).chain(tiers);
    [path.to_owned()].into_iter().chain(named).collect()
}
