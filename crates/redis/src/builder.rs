//! How a fleet is set up.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use redis::ConnectionInfo;
use tollgate::{Limiter, Quota};

use crate::error::BuildError;
use crate::fleet::Fleet;
use crate::lease::table::Leases;
use crate::nodes::Nodes;
use crate::request::Scripts;
use crate::secret::Secret;
use crate::servers::Servers;
use crate::target::{self, Target};

/// What a [`Fleet`] is built from; from [`Fleet::builder`] and its like.
#[derive(Clone)]
pub struct FleetBuilder {
    kind: Kind,
    addresses: Vec<String>,
    /// Of a sentinel's primary: its name, and what an address of it would be.
    primary: Option<(String, String)>,
    secret: Vec<u8>,
    deadline: Duration,
    nodes: Option<u64>,
    counts_nodes: bool,
    capacity: usize,
    refusals: Duration,
    clock_key: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    Sentinel,
    Cluster,
}

impl FleetBuilder {
    /// The shortest secret, in bytes.
    pub const MIN_SECRET: usize = Secret::MIN;
    /// The shortest deadline.
    pub const MIN_DEADLINE: Duration = Duration::from_millis(5);
    /// The longest deadline.
    pub const MAX_DEADLINE: Duration = Duration::from_secs(1);
    /// The deadline unless it is set.
    pub const DEFAULT_DEADLINE: Duration = Duration::from_millis(20);

    /// The longest that a refusal may be answered by what a server said.
    pub const MAX_REFUSALS: Duration = Duration::from_millis(250);

    fn new(kind: Kind, addresses: Vec<String>) -> Self {
        Self {
            kind,
            addresses,
            primary: None,
            secret: Vec::new(),
            deadline: Self::DEFAULT_DEADLINE,
            nodes: None,
            counts_nodes: false,
            capacity: 65_536,
            refusals: Self::MAX_REFUSALS,
            clock_key: None,
        }
    }

    pub(crate) fn one(address: String) -> Self {
        Self::new(Kind::One, vec![address])
    }

    pub(crate) fn sentinel(addresses: Vec<String>, primary: String, like: String) -> Self {
        Self { primary: Some((primary, like)), ..Self::new(Kind::Sentinel, addresses) }
    }

    pub(crate) fn cluster(addresses: Vec<String>) -> Self {
        Self::new(Kind::Cluster, addresses)
    }

    /// The secret that keys are hashed with: the same on all nodes, [`MIN_SECRET`](Self::MIN_SECRET) bytes or more, and known to
    /// nobody else. Who knows it can tell which key on the server is whose; with another one all keys are new. Must be set.
    #[must_use]
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        secret.as_ref().clone_into(&mut self.secret);
        self
    }

    /// How long a decision may take before [`OnOutage`](crate::OnOutage) decides; 20 ms unless it is set.
    ///
    /// The timer of the runtime is exact to a millisecond. A server whose answers take longer is one that does not answer.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many nodes the fleet has at most, for limits that are [shared out](crate::OnOutage::Share) during an outage. Each node more
    /// than this adds its share to what is admitted then.
    #[must_use]
    pub const fn nodes(mut self, nodes: u64) -> Self {
        self.nodes = Some(nodes);
        self
    }

    /// Has the nodes of the fleet counted: each says on the servers that it is there, by one small command a second, and limits that are
    /// [shared out](crate::OnOutage::Share) go by the most that were there within the last minute, or by [`nodes`](Self::nodes) if that
    /// is more. Off unless it is called.
    ///
    /// While no server answers the number stays what it was. A node adds its share to what is admitted then if the others have not
    /// counted it: if it came in the second before, or if it had been cut off from the servers for more than half a minute when they were. One
    /// that has never been told of a number, and was given none, refuses.
    ///
    /// The user of the servers needs the rights `zadd`, `zremrangebyscore`, `zcard` and `pexpire` besides; without them nothing is
    /// counted.
    #[must_use]
    pub const fn count_nodes(mut self) -> Self {
        self.counts_nodes = true;
        self
    }

    /// How many keys this node can decide by itself during an outage; 65,536 unless it is set, at 24 bytes each. Keys beyond that
    /// are refused.
    #[must_use]
    pub const fn capacity(mut self, keys: usize) -> Self {
        self.capacity = keys;
        self
    }

    /// For how long a key of a [leased](crate::FleetLimit::leased) limit may be refused by what a server last said of it, without
    /// asking: so late at most is seen what other nodes give back. 250 ms unless it is set, which is the longest; zero to ask each
    /// time.
    #[must_use]
    pub const fn refusals(mut self, within: Duration) -> Self {
        self.refusals = within;
        self
    }

    /// Has the servers read the time, in microseconds, from a key instead of their clock.
    #[cfg(feature = "server-tests")]
    #[doc(hidden)]
    #[must_use]
    pub fn test_clock(mut self, key: &str) -> Self {
        self.clock_key = Some(key.to_owned());
        self
    }

    /// Starts to connect, and does not wait for it: until a server is there, limits do what they do during an outage
    /// ([`Fleet::ready`] waits).
    ///
    /// # Errors
    ///
    /// If an address, the secret, the deadline or a number is out of bounds, or if there is no tokio runtime.
    pub fn build(self) -> Result<Fleet, BuildError> {
        let (addresses, like) = self.addresses()?;
        tokio::runtime::Handle::try_current().map_err(|_| BuildError::NoRuntime)?;
        let first = addresses.first().cloned().ok_or(BuildError::NoAddress)?;
        let local = Limiter::builder(Quota::unlimited()).capacity(self.capacity).build().map_err(BuildError::Local)?;
        let scripts = Arc::new(Scripts::new(self.clock_key.as_deref()));
        let servers = match (self.kind, self.primary, like) {
            (Kind::Cluster, ..) => Servers::cluster(&addresses, first, Arc::clone(&scripts), self.deadline),
            (Kind::Sentinel, Some((primary, _)), Some(like)) => {
                let target = Target::Watched { sentinels: addresses, primary, like };
                Servers::one(target, Arc::clone(&scripts), self.deadline)
            }
            _ => Servers::one(Target::Fixed(first), Arc::clone(&scripts), self.deadline),
        };
        // A quarter of a second at most.
        let leases = Leases::new(u64::try_from(self.refusals.as_nanos()).unwrap_or(0));
        let secret = Secret::new(&self.secret);
        let counted = self.counts_nodes.then(|| Arc::new(Nodes::new(self.nodes.unwrap_or(0))));
        let fleet = Fleet::new(servers, scripts, secret, self.deadline, (self.nodes, counted.clone()), local, leases);
        if let Some(nodes) = &counted {
            crate::nodes::announce(&fleet, nodes);
        }
        Ok(fleet)
    }

    /// Whether [`build`](Self::build) can be done, apart from the runtime; connects to nothing.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn check(&self) -> Result<(), BuildError> {
        self.addresses().map(|_| ())
    }

    /// All that can be wrong, and the addresses; that of a primary by itself.
    fn addresses(&self) -> Result<(Vec<ConnectionInfo>, Option<ConnectionInfo>), BuildError> {
        if self.secret.len() < Self::MIN_SECRET {
            return Err(BuildError::Secret { length: self.secret.len() });
        }
        if !(Self::MIN_DEADLINE..=Self::MAX_DEADLINE).contains(&self.deadline) {
            return Err(BuildError::Deadline { deadline: self.deadline });
        }
        if self.nodes == Some(0) {
            return Err(BuildError::Nodes);
        }
        if self.refusals > Self::MAX_REFUSALS {
            return Err(BuildError::Refusals { within: self.refusals });
        }
        #[cfg(feature = "tls")]
        // Whoever has chosen one keeps it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let addresses = self.addresses.iter().map(|address| target::read(address));
        let addresses = addresses.collect::<Result<Vec<ConnectionInfo>, _>>().map_err(BuildError::Address)?;
        if addresses.is_empty() {
            return Err(BuildError::NoAddress);
        }
        let like = self.primary.as_ref().map(|(_, like)| target::read(like));
        Ok((addresses, like.transpose().map_err(BuildError::Address)?))
    }
}

/// Without secret and addresses, which may hold a password.
impl fmt::Debug for FleetBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FleetBuilder")
            .field("kind", &self.kind)
            .field("deadline", &self.deadline)
            .field("nodes", &self.nodes)
            .field("counts_nodes", &self.counts_nodes)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
