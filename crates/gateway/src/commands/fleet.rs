//! The servers of policies on Redis: one connection to each for all threads, kept up by a thread of its own.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tollgate_http::LimiterConfig;
use tollgate_http::fleet::Fleet;

use crate::values::failure::Failure;
use crate::values::fleet_settings::FleetSettings;

/// Servers, and what they were made from.
#[derive(Debug)]
pub(crate) struct HeldFleet {
    settings: FleetSettings,
    fleet: Fleet,
}

impl HeldFleet {
    /// The servers of `settings`: those that are held already if nothing has changed, with their connections and leases. Does not wait
    /// for a connection.
    pub(crate) fn of(settings: Option<FleetSettings>, before: Option<&Self>) -> Result<Option<Self>, Failure> {
        let Some(settings) = settings else { return Ok(None) };
        if let Some(before) = before.filter(|before| before.settings == settings) {
            return Ok(Some(Self { settings, fleet: before.fleet.clone() }));
        }
        let _within = runtime()?.enter();
        let fleet = settings.builder().build().map_err(|error| Failure::Config(format!("redis: {error}")))?;
        Ok(Some(Self { settings, fleet }))
    }

    pub(crate) const fn settings(&self) -> &FleetSettings {
        &self.settings
    }
}

/// `limits` with the servers, if there are any.
pub(crate) fn on(limits: LimiterConfig, held: Option<&HeldFleet>) -> LimiterConfig {
    match held {
        Some(held) => limits.fleet(held.fleet.clone()),
        None => limits,
    }
}

/// The runtime of all connections, begun when it is needed first. It ends with the process: what a response decides is sent off there
/// until then.
fn runtime() -> Result<&'static Runtime, Failure> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("redis").enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Other(format!("cannot start a thread for Redis: {error}")))?;
    Ok(RUNTIME.get_or_init(|| runtime))
}
