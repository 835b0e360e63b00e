//! All servers of a fleet, and which of them a key is on.

use core::time::Duration;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use redis::{ConnectionInfo, Value};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::Outage;
use crate::lease::anchor::ServerClock;
use crate::request::{Request, Scripts};
use crate::shard::{Shard, Unserved};
use crate::target::{self, Target};

/// How often a cluster is asked for its slots when nothing has called for it.
const REFRESH: Duration = Duration::from_secs(5);
/// And how often at most.
const SPACING: Duration = Duration::from_millis(100);
/// As many servers a cluster may name: as many as its specification recommends at most.
const MAX_SERVERS: usize = 1_000;
/// As long as the answer to that may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long after an answer such as "loading" the one repeat comes, at most.
const SOON: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(crate) enum Servers {
    One(Arc<Shard>),
    Cluster(Arc<Cluster>),
    #[cfg(test)]
    Simulated(crate::lease::simulation::Link),
}

/// The servers of a cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    map: ArcSwap<Map>,
    /// User, password and TLS of all of them.
    like: ConnectionInfo,
    scripts: Arc<Scripts>,
    deadline: Duration,
    stale: Notify,
}

/// Which slots are whose.
#[derive(Debug, Clone, Default)]
struct Map {
    shards: Vec<(Node, Arc<Shard>)>,
    /// First and last slot, in order, and the index of the shard.
    ranges: Vec<(u16, u16, usize)>,
}

type Node = (String, u16);

impl Map {
    fn of_slot(&self, slot: u16) -> Option<&Arc<Shard>> {
        let range = self.ranges.partition_point(|&(_, last, _)| last < slot);
        let &(first, _, shard) = self.ranges.get(range)?;
        (first <= slot).then(|| &self.shards[shard].1)
    }

    fn of_node(&self, node: &Node) -> Option<&Arc<Shard>> {
        self.shards.iter().find(|(known, _)| known == node).map(|(_, shard)| shard)
    }
}

impl Servers {
    pub(crate) fn one(target: Target, scripts: Arc<Scripts>, deadline: Duration) -> Self {
        Self::One(Shard::spawn(target, scripts, deadline))
    }

    pub(crate) fn cluster(
        seeds: &[ConnectionInfo],
        like: ConnectionInfo,
        scripts: Arc<Scripts>,
        deadline: Duration,
    ) -> Self {
        let shards = seeds.iter().filter_map(|info| {
            let (redis::ConnectionAddr::Tcp(host, port) | redis::ConnectionAddr::TcpTls { host, port, .. }) =
                info.addr()
            else {
                return None;
            };
            let shard = Shard::spawn(Target::Fixed(info.clone()), Arc::clone(&scripts), deadline);
            Some(((host.clone(), *port), shard))
        });
        let map = ArcSwap::from_pointee(Map { shards: shards.collect(), ranges: Vec::new() });
        let cluster = Arc::new(Cluster { map, like, scripts, deadline, stale: Notify::new() });
        tokio::spawn(refresh(Arc::downgrade(&cluster)));
        Self::Cluster(cluster)
    }

    pub(crate) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Every server, whether it has slots or not.
    pub(crate) fn shards(&self) -> Vec<Arc<Shard>> {
        match self {
            Self::One(shard) => vec![Arc::clone(shard)],
            #[cfg(test)]
            Self::Simulated(_) => Vec::new(),
            Self::Cluster(cluster) => cluster.map.load().shards.iter().map(|(_, shard)| Arc::clone(shard)).collect(),
        }
    }

    /// Waits until all servers that hold something are connected; whether they are.
    pub(crate) async fn ready(&self, until: Instant) -> bool {
        match self {
            Self::One(shard) => shard.ready(until).await,
            #[cfg(test)]
            Self::Simulated(_) => true,
            Self::Cluster(cluster) => loop {
                let map = cluster.map.load_full();
                if !map.ranges.is_empty() {
                    let mut all = true;
                    for (_, _, shard) in &map.ranges {
                        all &= map.shards[*shard].1.ready(until).await;
                    }
                    return all;
                }
                if Instant::now() >= until {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            },
        }
    }

    /// The server that holds a slot.
    pub(crate) fn shard(&self, slot: u16) -> Option<Arc<Shard>> {
        match self {
            Self::One(shard) => Some(Arc::clone(shard)),
            #[cfg(test)]
            Self::Simulated(_) => None,
            Self::Cluster(cluster) => cluster.map.load().of_slot(slot).map(Arc::clone),
        }
    }

    /// The number of the connection to the server that holds a slot, if there is one: else nothing needs to be made ready for it. Of one
    /// server alone nobody works out a slot.
    pub(crate) fn link(&self, slot: impl FnOnce() -> u16) -> Option<u64> {
        let link = match self {
            Self::One(shard) => shard.link(),
            #[cfg(test)]
            Self::Simulated(link) => Some(link.number()),
            Self::Cluster(cluster) => cluster.map.load().of_slot(slot()).and_then(|shard| shard.link()),
        };
        if link.is_none() {
            self.is_stale();
        }
        link
    }

    /// Runs a script where its keys are. What proves that nothing was run is followed, or asked again, once.
    pub(crate) async fn call(&self, request: &Request<'_>, until: Instant) -> Result<Value, Outage> {
        Ok(self.call_whom(request, until).await?.0)
    }

    /// As [`call`](Self::call), and the clock of whoever answered.
    pub(crate) async fn call_whom(
        &self,
        request: &Request<'_>,
        until: Instant,
    ) -> Result<(Value, Arc<ServerClock>), Outage> {
        #[cfg(test)]
        if let Self::Simulated(server) = self {
            return server.call(request, until).await;
        }
        let Some(shard) = self.shard(request.slot) else {
            self.is_stale();
            return Err(Outage::Disconnected);
        };
        match shard.call(request, false, until).await {
            Ok(value) => Ok((value, Arc::clone(&shard.clock))),
            Err(Unserved::Outage(outage)) => {
                if matches!(outage, Outage::Disconnected | Outage::Deadline) {
                    self.is_stale();
                }
                Err(outage)
            }
            Err(Unserved::Elsewhere { node, is_ask }) => {
                let Self::Cluster(cluster) = self else {
                    return Err(Outage::Refused(
                        "the server is of a cluster, and was given as one by itself".to_owned(),
                    ));
                };
                if !is_ask {
                    self.is_stale();
                }
                let Some(shard) = cluster.at(&node, &shard) else {
                    return Err(Outage::Refused(format!("the cluster names more than {MAX_SERVERS} servers")));
                };
                if !shard.ready(until).await {
                    return Err(Outage::Disconnected);
                }
                again(&shard, request, is_ask, until).await
            }
            Err(Unserved::Again(outage)) => {
                self.is_stale();
                let left = until.saturating_duration_since(Instant::now());
                tokio::time::sleep(SOON.min(left / 4)).await;
                let Some(shard) = self.shard(request.slot) else { return Err(outage) };
                if !shard.ready(until).await {
                    return Err(outage);
                }
                again(&shard, request, false, until).await
            }
        }
    }

    fn is_stale(&self) {
        if let Self::Cluster(cluster) = self {
            cluster.stale.notify_one();
        }
    }
}

/// The one repeat.
async fn again(
    shard: &Shard,
    request: &Request<'_>,
    asking: bool,
    until: Instant,
) -> Result<(Value, Arc<ServerClock>), Outage> {
    let value = shard.call(request, asking, until).await.map_err(|unserved| match unserved {
        Unserved::Outage(outage) | Unserved::Again(outage) => outage,
        Unserved::Elsewhere { .. } => Outage::Refused("the slot is moving".to_owned()),
    })?;
    Ok((value, Arc::clone(&shard.clock)))
}

impl Cluster {
    /// The server at an address that another one, `from`, has named; connected to from now on if it was not known.
    /// `None` if there are too many.
    fn at(&self, (host, port): &Node, from: &Shard) -> Option<Arc<Shard>> {
        // A server that does not know its own address leaves it out.
        let node = match from.target() {
            Target::Fixed(info) if host.is_empty() => (host_of(info), *port),
            _ => (host.clone(), *port),
        };
        let map = self.map.load();
        if let Some(shard) = map.of_node(&node) {
            return Some(Arc::clone(shard));
        }
        // Those that no slot is of go with the next map; as long as there is none, no answer makes them more.
        if map.shards.len() >= MAX_SERVERS {
            return None;
        }
        let shard = self.spawn(&node);
        self.map.rcu(|map| {
            let mut map = Map::clone(map);
            if map.of_node(&node).is_none() {
                map.shards.push((node.clone(), Arc::clone(&shard)));
            }
            map
        });
        Some(self.map.load().of_node(&node).map_or(shard, Arc::clone))
    }

    fn spawn(&self, (host, port): &Node) -> Arc<Shard> {
        let target = Target::Fixed(target::at(&self.like, host, *port));
        Shard::spawn(target, Arc::clone(&self.scripts), self.deadline)
    }

    /// Asks any server for the slots; whether one said.
    async fn refresh(&self) -> bool {
        for (_, shard) in &self.map.load_full().shards {
            if !shard.is_up() {
                continue;
            }
            let answer = shard.ask(redis::cmd("CLUSTER").arg("SLOTS"), Instant::now() + PATIENCE).await;
            let Some(slots) = answer.as_ref().and_then(read_slots).filter(|slots| !slots.is_empty()) else { continue };
            let mut map = Map::default();
            for (first, last, node) in slots {
                let Some(known) = self.at(&node, shard) else { continue };
                let place = map.shards.iter().position(|(_, shard)| Arc::ptr_eq(shard, &known));
                let place = place.unwrap_or_else(|| {
                    let host = if node.0.is_empty() { known_host(&known) } else { node.0.clone() };
                    map.shards.push(((host, node.1), known));
                    map.shards.len() - 1
                });
                map.ranges.push((first, last, place));
            }
            map.ranges.sort_unstable();
            self.map.store(Arc::new(map));
            return true;
        }
        false
    }
}

fn host_of(info: &ConnectionInfo) -> String {
    match info.addr() {
        redis::ConnectionAddr::Tcp(host, _) | redis::ConnectionAddr::TcpTls { host, .. } => host.clone(),
        _ => String::new(),
    }
}

fn known_host(shard: &Shard) -> String {
    if let Target::Fixed(info) = shard.target() { host_of(info) } else { String::new() }
}

/// First slot, last slot and primary of each range.
fn read_slots(answer: &Value) -> Option<Vec<(u16, u16, Node)>> {
    let Value::Array(ranges) = answer else { return None };
    let range = |range: &Value| {
        let Value::Array(range) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = range.as_slice() else { return None };
        let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
        let host = match host {
            Value::BulkString(host) => String::from_utf8(host.clone()).ok()?,
            _ => String::new(),
        };
        Some((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, (host, u16::try_from(*port).ok()?)))
    };
    ranges.iter().map(range).collect()
}

/// Keeps the map up to date until nobody needs it.
async fn refresh(cluster: Weak<Cluster>) {
    loop {
        let Some(this) = cluster.upgrade() else { return };
        let is_known = this.refresh().await;
        let wait = if is_known { REFRESH } else { SPACING };
        let _ = tokio::time::timeout(wait, this.stale.notified()).await;
        drop(this);
        tokio::time::sleep(SPACING / 4).await;
    }
}
