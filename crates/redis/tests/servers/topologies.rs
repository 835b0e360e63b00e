//! Where servers are and who may ask them: sockets, users, TLS, sentinels, clusters.

use std::time::{Duration, Instant};

use redis::Value;
use tollgate_redis::error::Outage;
use tollgate_redis::{Fleet, FleetBuilder};

#[cfg(feature = "tls")]
use crate::harness::free_port;
use crate::harness::{SECRET, Server, ready};

async fn admits(fleet: &Fleet) {
    let limit = fleet.limit("a", "2/hour").unwrap();
    for fits in [true, true, false] {
        let decision = fleet.under(&limit).check("ada").await;
        assert_eq!((decision.is_allowed(), decision.outage()), (fits, None));
    }
}

#[tokio::test]
async fn a_unix_socket() {
    let server = Server::start();
    admits(&ready(Fleet::builder(format!("unix://{}/socket", server.folder.display()))).await).await;
}

#[tokio::test]
async fn a_user_who_may_do_no_more_than_needed() {
    let server = Server::start();
    // As docs/fleet.md has it.
    let rights = ["ACL", "SETUSER", "tollgate", "on", ">word", "resetkeys", "~tg1:*", "resetchannels", "-@all"];
    let commands = "+evalsha +eval +script|load +get +set +del +llen +lindex +ltrim +lrem +rpush +pexpireat +time +ping +hello +client";
    let rights: Vec<&str> = rights.into_iter().chain(commands.split(' ')).collect();
    server.run(&rights).await;
    server.run(&["ACL", "SETUSER", "default", "on", ">other"]).await;
    let url = format!("redis://tollgate:word@127.0.0.1:{}/", server.port);
    let fleet = ready(Fleet::builder(url)).await;
    admits(&fleet).await;
    for quota in
        ["2/hour as leaky-queue", "2/hour as fixed-window", "2/hour as sliding-window", "2/hour as sliding-log"]
    {
        let limit = fleet.limit("b", quota).unwrap();
        let handle = fleet.key(&limit, "ada");
        assert_eq!(handle.check().await.outage(), None, "{quota}");
        assert_eq!(handle.charge(1).await, Ok(1), "{quota}");
        assert_eq!(handle.refund(1).await, Ok(()), "{quota}");
        assert_eq!(handle.reset().await, Ok(()), "{quota}");
    }
    let stranger = Fleet::builder(format!("redis://tollgate:wrong@127.0.0.1:{}/", server.port));
    let stranger = stranger.secret(SECRET).build().unwrap();
    assert!(!stranger.ready(Duration::from_millis(300)).await);
    let limit = stranger.limit("a", "2/hour").unwrap();
    assert!(stranger.under(&limit).check("grace").await.is_refused());
}

/// `ci/redis.sh` makes the certificate, for `localhost`, and has it trusted.
#[cfg(feature = "tls")]
#[tokio::test]
async fn tls() {
    let folder = std::env::var("TOLLGATE_TLS").expect("run by ci/redis.sh, which names a folder in TOLLGATE_TLS");
    let [key, certificate] = ["key", "certificate"].map(|name| format!("{folder}/{name}"));
    let port = free_port().to_string();
    let tls =
        ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let tls: Vec<&str> = tls.into_iter().chain(["--tls-ca-cert-file", &certificate]).collect();
    let _server = Server::with(&tls);
    admits(&ready(Fleet::builder(format!("rediss://localhost:{port}/"))).await).await;
    // A name that is not in the certificate.
    let strict = Fleet::builder(format!("rediss://127.0.0.1:{port}/")).secret(SECRET).build().unwrap();
    assert!(!strict.ready(Duration::from_millis(500)).await);
}

pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let since = Instant::now();
    while !is_so().await {
        assert!(since.elapsed() < Duration::from_secs(20), "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A primary and a replica, under three sentinels that know all of each other.
pub(crate) struct Watched {
    pub(crate) primary: Server,
    pub(crate) replica: Server,
    pub(crate) sentinels: Vec<Server>,
}

impl Watched {
    pub(crate) async fn start() -> Self {
        let primary = Server::with(&["--repl-diskless-sync-delay", "0"]);
        let replica = Server::with(&["--repl-diskless-sync-delay", "0"]);
        replica.run(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]).await;
        let sentinels: Vec<Server> = (0..3).map(|_| Server::sentinel(primary.port)).collect();
        until("the sentinels know each other and the replica", async || {
            let mut all = true;
            for sentinel in &sentinels {
                let known: Value = sentinel.run(&["SENTINEL", "MASTER", "main"]).await;
                let known: std::collections::HashMap<String, String> = redis::from_redis_value(known).unwrap();
                all &= known["num-slaves"] == "1" && known["num-other-sentinels"] == "2";
            }
            all
        })
        .await;
        Self { primary, replica, sentinels }
    }

    pub(crate) fn builder(&self) -> FleetBuilder {
        Fleet::sentinel(self.sentinels.iter().map(Server::url), "main", "redis://unused/")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels() {
    let mut watched = Watched::start().await;
    let fleet: Fleet = ready(watched.builder()).await;
    admits(&fleet).await;
    until("replication", async || {
        let mut alike = watched.replica.keys().await.len() == 1;
        for key in watched.replica.keys().await {
            let get = ["GET", key.as_str()];
            alike &= watched.replica.run(&get).await == watched.primary.run(&get).await;
        }
        alike
    })
    .await;
    let limit = fleet.limit("a", "2/hour").unwrap();
    watched.primary.kill();
    let refused = fleet.under(&limit).check("eve").await;
    assert!(refused.is_refused() && refused.outage().is_some());
    until("failover", async || fleet.under(&limit).peek("eve").await.outage().is_none()).await;
    // It holds at the new primary what it held at the old one.
    assert!(fleet.under(&limit).check("ada").await.is_refused());
    assert!(fleet.under(&limit).check("eve").await.is_allowed());
}

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        let nodes: Vec<Server> =
            (0..3).map(|_| Server::with(&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"])).collect();
        for (i, node) in (0..).zip(&nodes) {
            let slots = [i * 16_384 / 3, (i + 1) * 16_384 / 3 - 1].map(|slot: u32| slot.to_string());
            node.run(&["CLUSTER", "ADDSLOTSRANGE", &slots[0], &slots[1]]).await;
            node.run(&["CLUSTER", "SET-CONFIG-EPOCH", &(i + 1).to_string()]).await;
        }
        for node in &nodes[1..] {
            nodes[0].run(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string()]).await;
        }
        for node in &nodes {
            until("the cluster", async || {
                let info: String = redis::from_redis_value(node.run(&["CLUSTER", "INFO"]).await).unwrap();
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
            .await;
        }
        Self { nodes }
    }

    pub(crate) fn builder(&self) -> FleetBuilder {
        Fleet::cluster([self.nodes[0].url()])
    }

    pub(crate) async fn id(&self, node: usize) -> String {
        redis::from_redis_value(self.nodes[node].run(&["CLUSTER", "MYID"]).await).unwrap()
    }

    /// Which node has a key with this in its name, and the key.
    pub(crate) async fn home(&self, part: &str) -> Option<(usize, String)> {
        for (node, server) in self.nodes.iter().enumerate() {
            if let Some(key) = server.keys().await.into_iter().find(|key| key.contains(part)) {
                return Some((node, key));
            }
        }
        None
    }

    async fn keys(&self) -> Vec<usize> {
        let mut counts = Vec::new();
        for node in &self.nodes {
            counts.push(node.keys().await.len());
        }
        counts
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters() {
    let cluster = Cluster::start().await;
    let fleet = ready(cluster.builder()).await;
    let limits = [fleet.limit("a", "3/hour").unwrap(), fleet.limit("b", "5/day as fixed-window").unwrap()];
    for key in 0..60_u32 {
        assert!(fleet.check_set(&limits, &key).await.is_allowed());
    }
    assert_eq!(fleet.stats().connected, 3);
    let counts = cluster.keys().await;
    assert!(counts.iter().sum::<usize>() == 120 && counts.iter().all(|&count| count > 10), "{counts:?}");

    // Several subjects: where one refuses, the others get back what was taken.
    let all = fleet.limit("all", "50/hour").unwrap();
    for key in 100..140_u32 {
        let items = vec![fleet.item(&all, "all", 1), fleet.item(&limits[0], &key, 2), fleet.item(&limits[1], &key, 2)];
        assert!(fleet.check_items(items).await.is_allowed());
        let items = vec![fleet.item(&all, "all", 1), fleet.item(&limits[0], &key, 2), fleet.item(&limits[1], &key, 2)];
        let refused = fleet.check_items(items).await;
        assert_eq!((refused.is_refused(), refused.index()), (true, 1));
    }
    assert_eq!(fleet.under(&all).peek("all").await.remaining(), 10);
    assert_eq!(fleet.under(&limits[1]).peek(&100_u32).await.remaining(), 3);

    // A slot that moves: asked for at the one, then at the other, then for good; each check charged once.
    let hot = fleet.limit("hot", "1000/hour").unwrap();
    assert!(fleet.under(&hot).check("ada").await.is_allowed());
    let (from, key) = cluster.home(":hot:").await.unwrap();
    let to = (from + 1) % 3;
    let slot = cluster.nodes[from].number(&["CLUSTER", "KEYSLOT", &key]).await.to_string();
    let (from_id, to_id) = (cluster.id(from).await, cluster.id(to).await);
    cluster.nodes[to].run(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
    cluster.nodes[from].run(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
    assert!(fleet.under(&hot).check("ada").await.is_allowed());
    let port = cluster.nodes[to].port.to_string();
    cluster.nodes[from].run(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]).await;
    let asked = fleet.under(&hot).check("ada").await;
    assert_eq!((asked.is_allowed(), asked.outage()), (true, None), "ASK");
    for node in [to, from] {
        cluster.nodes[node].run(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await;
    }
    let moved = fleet.under(&hot).check("ada").await;
    assert_eq!((moved.is_allowed(), moved.outage(), moved.remaining()), (true, None, 996), "MOVED");
    until("the new map", async || {
        let calls = fleet.stats().calls;
        let _ = fleet.under(&hot).peek("ada").await;
        fleet.stats().calls == calls + 1
    })
    .await;
    let lone = ready(Fleet::builder(cluster.nodes[from].url())).await;
    let lost = lone.under(&hot).check("ada").await;
    assert!(
        matches!(lost.outage(), Some(Outage::Refused(_))),
        "a node of a cluster that was given as a server by itself"
    );
}
