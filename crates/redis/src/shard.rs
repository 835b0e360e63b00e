//! One server: its connection, who keeps that up, and the breaker.
//!
//! A call takes the connection that is there, or none. It never connects, never waits for another call, and never asks twice,
//! but for answers that prove that nothing was run. One task for each server connects: whoever finds the connection dead, or
//! misses the deadline three times in a row, takes it away and wakes that task. The connection that is taken away is closed, so
//! a server that has stopped, and one that a packet filter hides, cost no more than a few waits of one deadline.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::Outage;
use crate::lease::anchor::ServerClock;
use crate::request::{Request, Scripts};
use crate::status::ServerStatus;
use crate::target::Target;

/// How many deadlines in a row are missed before the connection is closed.
const MISSES: u32 = 3;
/// The longest that connecting, or one command of a handshake, may take.
const CONNECT: Duration = Duration::from_millis(500);
/// The shortest and the longest wait before connecting again.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(500)];
/// How often a sentinel is asked whether the primary is still the same.
const WATCH: Duration = Duration::from_secs(1);
/// As many requests may wait for one server as [`Fleet::MAX_IN_FLIGHT`](crate::Fleet::MAX_IN_FLIGHT) says.
pub(crate) const MAX_IN_FLIGHT: u64 = 1_024;

#[derive(Debug)]
pub(crate) struct Shard {
    target: Target,
    scripts: Arc<Scripts>,
    deadline: Duration,
    connection: ArcSwapOption<Connection>,
    /// Whether there is one, for those who may wait for that.
    is_up: watch::Sender<bool>,
    /// Wakes the task that connects.
    lost: Notify,
    /// Wakes it to load the scripts again.
    unloaded: Notify,
    in_flight: AtomicU64,
    pub(crate) counts: Counts,
    words: Words,
    /// What is known of the server's clock.
    pub(crate) clock: Arc<ServerClock>,
}

#[derive(Debug)]
struct Connection {
    redis: MultiplexedConnection,
    /// A number that no other connection of the process has.
    number: u64,
    misses: AtomicU32,
}

/// The connection that was made last.
static LAST: AtomicU64 = AtomicU64::new(0);

/// What has happened at one server.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) calls: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) connects: AtomicU64,
    pub(crate) repeats: AtomicU64,
    failed_connects: AtomicU64,
    errors: AtomicU64,
    busy: AtomicU64,
}

/// The last words of what failed. Replaced as a whole, so that nobody waits.
#[derive(Debug, Default)]
struct Words {
    connect: ArcSwapOption<String>,
    answer: ArcSwapOption<String>,
}

impl Counts {
    /// Raises one of them.
    fn add(count: &AtomicU64) {
        // Relaxed, with every load of these: numbers by themselves, to be shown. No model.
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a server answered, short of a decision, that the cluster has to act on.
#[derive(Debug)]
pub(crate) enum Unserved {
    Outage(Outage),
    /// The slot is another server's; whether for good, or for this one call.
    Elsewhere {
        node: (String, u16),
        is_ask: bool,
    },
    /// Nothing was run; it may be elsewhere or later.
    Again(Outage),
}

impl Shard {
    /// A server, with the task that keeps its connection up until the last handle is gone.
    pub(crate) fn spawn(target: Target, scripts: Arc<Scripts>, deadline: Duration) -> Arc<Self> {
        let shard = Arc::new(Self {
            target,
            scripts,
            deadline,
            connection: ArcSwapOption::empty(),
            is_up: watch::Sender::new(false),
            lost: Notify::new(),
            unloaded: Notify::new(),
            in_flight: AtomicU64::new(0),
            counts: Counts::default(),
            words: Words::default(),
            clock: Arc::new(ServerClock::default()),
        });
        tokio::spawn(keep_up(Arc::downgrade(&shard)));
        shard
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn is_up(&self) -> bool {
        self.connection.load().is_some()
    }

    /// The number of the connection, if there is one.
    pub(crate) fn link(&self) -> Option<u64> {
        self.connection.load().as_ref().map(|connection| connection.number)
    }

    pub(crate) fn in_flight(&self) -> u64 {
        // Relaxed: a number to be shown. No model.
        self.in_flight.load(Ordering::Relaxed)
    }

    /// What it has failed in so far.
    pub(crate) fn status(&self) -> ServerStatus {
        // Relaxed: as `Counts::add`. No model.
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ServerStatus {
            name: self.target.name(),
            is_connected: self.is_up(),
            failed_connects: load(&self.counts.failed_connects),
            connect_error: self.words.connect.load_full(),
            closed: load(&self.counts.closed),
            misses: load(&self.counts.misses),
            errors: load(&self.counts.errors),
            error: self.words.answer.load_full(),
            busy: load(&self.counts.busy),
        }
    }

    /// Waits until there is a connection; whether there is.
    pub(crate) async fn ready(&self, until: Instant) -> bool {
        let mut is_up = self.is_up.subscribe();
        timeout_at(until, is_up.wait_for(|is_up| *is_up)).await.is_ok_and(|up| up.is_ok())
    }

    /// Runs one script, at most once.
    pub(crate) async fn call(&self, request: &Request<'_>, asking: bool, until: Instant) -> Result<Value, Unserved> {
        let mut is_whole = false;
        loop {
            let answer = self.send(&request.command(is_whole), asking, until).await?;
            let error = match answer {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            // What proves that nothing was run may be asked again: here, once, with the script itself.
            if error.code() == Some("NOSCRIPT") && !is_whole {
                is_whole = true;
                Counts::add(&self.counts.repeats);
                self.unloaded.notify_one();
                continue;
            }
            return Err(self.judge(&error));
        }
    }

    /// One command, for the cluster's own needs.
    pub(crate) async fn ask(&self, cmd: &Cmd, until: Instant) -> Option<Value> {
        self.send(cmd, false, until).await.ok()?.ok()
    }

    async fn send(&self, cmd: &Cmd, asking: bool, until: Instant) -> Result<Result<Value, RedisError>, Unserved> {
        let outage = |outage| Err(Unserved::Outage(outage));
        let Some(connection) = self.connection.load_full() else { return outage(Outage::Disconnected) };
        let Some(_place) = Place::take(&self.in_flight) else {
            Counts::add(&self.counts.busy);
            return outage(Outage::Busy);
        };
        Counts::add(&self.counts.calls);
        let mut redis = connection.redis.clone();
        let answer = if asking {
            let mut both = redis::pipe();
            both.cmd("ASKING").add_command(cmd.clone());
            let answer = timeout_at(until, redis.send_packed_commands(&both, 1, 1)).await;
            answer.map(|answer| answer.map(|mut values| values.pop().unwrap_or(Value::Nil)))
        } else {
            timeout_at(until, redis.send_packed_command(cmd)).await
        };
        match answer {
            Err(_) => {
                Counts::add(&self.counts.misses);
                // Relaxed, with the store below: whether three in a row are seen one call earlier or later is no matter, and
                // nothing else is read by it. No model.
                if connection.misses.fetch_add(1, Ordering::Relaxed) + 1 >= MISSES {
                    self.close(&connection);
                }
                outage(Outage::Deadline)
            }
            Ok(Err(error)) if is_broken(&error) => {
                self.close(&connection);
                outage(Outage::Disconnected)
            }
            Ok(answer) => {
                // Relaxed, with the addition above: see there.
                if connection.misses.load(Ordering::Relaxed) > 0 {
                    connection.misses.store(0, Ordering::Relaxed);
                }
                Ok(answer.and_then(Value::extract_error))
            }
        }
    }

    /// What an error that the server sent says.
    fn judge(&self, error: &RedisError) -> Unserved {
        let text = error.to_string();
        let outage = Outage::Refused(text.clone());
        if let (Some((address, _)), Some(code @ ("MOVED" | "ASK"))) = (error.redirect_node(), error.code()) {
            // The last colon: the host may be an IPv6 address.
            let node = address.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
            return node.map_or(Unserved::Outage(outage), |node| Unserved::Elsewhere { node, is_ask: code == "ASK" });
        }
        Counts::add(&self.counts.errors);
        self.words.answer.store(Some(Arc::new(text)));
        match error.code() {
            Some("READONLY" | "MASTERDOWN") => {
                // A primary that has become a replica: whoever is the primary now has to be found.
                if let Some(connection) = self.connection.load_full() {
                    self.close(&connection);
                }
                Unserved::Again(outage)
            }
            Some("LOADING" | "TRYAGAIN" | "CLUSTERDOWN") => Unserved::Again(outage),
            _ => Unserved::Outage(outage),
        }
    }

    /// Takes a connection away, if it still is the one in use, and has it replaced.
    fn close(&self, connection: &Arc<Connection>) {
        let current = self.connection.compare_and_swap(connection, None);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            Counts::add(&self.counts.closed);
            self.is_up.send_replace(false);
            self.lost.notify_one();
        }
    }

    async fn connect(&self) -> Result<(MultiplexedConnection, Option<String>), RedisError> {
        let info = self.target.resolve(CONNECT).await?;
        let place = self.target.is_watched().then(|| info.addr().to_string());
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(2 * CONNECT.max(self.deadline)))
            .set_pipeline_buffer_size(usize::try_from(MAX_IN_FLIGHT).unwrap_or(1_024));
        let mut redis = Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?;
        if self.target.is_watched() {
            let role: Vec<Value> = redis::cmd("ROLE").query_async(&mut redis).await?;
            if !matches!(role.first(), Some(Value::BulkString(role)) if role == b"master") {
                return Err((redis::ErrorKind::Client, "not a primary").into());
            }
        }
        // Best effort: a user who may not load scripts may still send them.
        let _ = self.load(&mut redis).await;
        // A server that is slower than the deadline is no better than one that is not there.
        let ping = redis::cmd("PING");
        match timeout(self.deadline, redis.send_packed_command(&ping)).await {
            Err(_) => Err((redis::ErrorKind::Io, "slower than the deadline").into()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) => Ok((redis, place)),
        }
    }

    async fn load(&self, redis: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let mut all = redis::pipe();
        for script in self.scripts.all() {
            all.cmd("SCRIPT").arg("LOAD").arg(&script.body).ignore();
        }
        all.query_async(redis).await
    }
}

/// Whether the connection itself is no good any more.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || error.is_unrecoverable_error()
}

/// Connects, and connects again, until nobody needs the server any more.
async fn keep_up(shard: Weak<Shard>) {
    let mut back_off = BACK_OFF[0];
    loop {
        let Some(this) = shard.upgrade() else { return };
        let (redis, place) = match this.connect().await {
            Ok(connected) => connected,
            Err(error) => {
                this.words.connect.store(Some(Arc::new(error.to_string())));
                Counts::add(&this.counts.failed_connects);
                drop(this);
                // Between half of it and all, so that a fleet does not come at once.
                tokio::time::sleep(back_off.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                back_off = (back_off * 2).min(BACK_OFF[1]);
                continue;
            }
        };
        back_off = BACK_OFF[0];
        Counts::add(&this.counts.connects);
        this.clock.renew();
        // Relaxed: a number by itself. No model.
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = Arc::new(Connection { redis, number, misses: AtomicU32::new(0) });
        this.connection.store(Some(Arc::clone(&connection)));
        this.is_up.send_replace(true);
        drop(this);
        watch_over(&shard, &connection, place.as_deref()).await;
        drop(connection);
        // Nobody is served by connecting in a circle to one who closes at once.
        tokio::time::sleep(BACK_OFF[0]).await;
    }
}

/// Returns once the connection has been taken away.
async fn watch_over(shard: &Weak<Shard>, connection: &Arc<Connection>, place: Option<&str>) {
    loop {
        let Some(this) = shard.upgrade() else { return };
        if !this.connection.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, connection)) {
            return;
        }
        tokio::select! {
            () = this.lost.notified() => {}
            () = this.unloaded.notified() => {
                // A server that stops answering now is lost all the same.
                let mut redis = connection.redis.clone();
                tokio::select! {
                    () = this.lost.notified() => {}
                    _ = this.load(&mut redis) => {}
                }
            }
            () = tokio::time::sleep(WATCH) => {
                let Some(place) = place else { continue };
                let resolved = tokio::select! {
                    () = this.lost.notified() => continue,
                    resolved = this.target.resolve(CONNECT) => resolved,
                };
                // No answer from any sentinel says nothing.
                if resolved.is_ok_and(|info| info.addr().to_string() != place) {
                    this.close(connection);
                }
            }
        }
    }
}

/// A place among those who wait for a server.
struct Place<'a>(&'a AtomicU64);

impl<'a> Place<'a> {
    fn take(in_flight: &'a AtomicU64) -> Option<Self> {
        // Relaxed, with the subtraction: a number by itself, which bounds how many wait and guards nothing. No model.
        if in_flight.fetch_add(1, Ordering::Relaxed) >= MAX_IN_FLIGHT {
            in_flight.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(in_flight))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Relaxed: as `take`.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
