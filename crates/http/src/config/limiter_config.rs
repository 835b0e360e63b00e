//! The configuration of a limiter: policies, who the client is, what it is answered, how much is kept.

use std::path::{Path, PathBuf};

use http::HeaderName;
use http::header::FORWARDED;
use tollgate::{LimitSet, OnFull};

use super::policy::Policy;
use super::shared_at::SharedAt;
use crate::answer::Answer;
use crate::error::ConfigError;
use crate::identity::Grouping;
use crate::identity::{AddressSource, ClientAddress};

/// What a [`RateLimiter`](crate::RateLimiter) is made from.
///
/// ```
/// use tollgate_http::{LimiterConfig, Policy, RateLimiter};
///
/// let config = LimiterConfig::new()
///     .policy(Policy::new("everybody", "200 per day, 50 per hour")?)
///     .capacity(1_000_000);
/// let limiter = RateLimiter::new(config)?;
/// # Ok::<(), tollgate_http::ConfigError>(())
/// ```
///
/// With the feature `serde` it is read from any format, under the keys `client`, `limiter`, `answer` and `policies` of the file of
/// `tollgate gateway` (but `retry_jitter_seconds` is a number):
#[cfg_attr(
    feature = "serde",
    doc = r###"
```
use tollgate_http::{LimiterConfig, RateLimiter};

let config: LimiterConfig = serde_json::from_str(
    r##"{
        "client": {"from": "x-forwarded-for", "trusted": "10.0.0.0/8"},
        "policies": [
            {"name": "everybody", "limits": "200 per day, 50 per hour", "exempt": ["path:/health"]},
            {"name": "api", "limits": ["100/minute"], "match": {"path": "/api/*"}, "key": "header:x-api-key | ip"}
        ]
    }"##,
)?;
let limiter = RateLimiter::new(config)?;
# Ok::<(), Box<dyn std::error::Error>>(())
```
"###
)]
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "super::serial::LimiterKeys"))]
pub struct LimiterConfig {
    pub(crate) policies: Vec<Policy>,
    pub(crate) client: ClientAddress,
    pub(crate) grouping: Grouping,
    pub(crate) answer: Answer,
    pub(crate) capacity: usize,
    pub(crate) on_full: OnFull,
    pub(crate) shared: Option<SharedAt>,
    pub(crate) shows_keys: bool,
    pub(crate) ignores_path_case: bool,
    pub(crate) watches_use: bool,
    pub(crate) tells_standing: bool,
    #[cfg(feature = "redis")]
    pub(crate) fleet: Option<tollgate_redis::Fleet>,
}

impl LimiterConfig {
    /// How many keys may be busy at once by default: 65,536, which take 1.6 MB.
    pub const DEFAULT_CAPACITY: usize = tollgate::LimiterBuilder::DEFAULT_CAPACITY;

    /// No policy, no trusted proxy, and the defaults of everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more policy.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policies.push(policy);
        self
    }

    /// How the client's address is found; by default it is the peer's.
    #[must_use]
    pub fn client(mut self, client: ClientAddress) -> Self {
        self.client = client;
        self
    }

    /// Which addresses count as one client.
    #[must_use]
    pub fn grouping(mut self, grouping: Grouping) -> Self {
        self.grouping = grouping;
        self
    }

    /// What a refusal says, and which header fields tell clients how they stand.
    #[must_use]
    pub fn answer(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }

    /// For how many keys and limits there is room: a key takes 24 bytes for each limit, twice as much for a leaky queue if
    /// a request can wait in several. Fixed when the limiter is made.
    #[must_use]
    pub const fn capacity(mut self, keys: usize) -> Self {
        self.capacity = keys;
        self
    }

    /// What happens to a new key when there is no room. Fixed when the limiter is made.
    #[must_use]
    pub const fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    /// Puts the rate limits in a table that all processes of this machine share which name the same path: together they admit one
    /// limit, and what was used up outlives a restart. Made if there is none. Linux on 64 bits only; the directory must be there,
    /// and on a tmpfs, such as `/run`: `docs/processes.md` says where and whose. Fixed when the limiter is made.
    ///
    /// A limit is a policy's and tier's name, and its quota. Of configurations that differ in a quota each counts by itself, so
    /// that a key is admitted at most the sum of both while both are in force; this holds for a [reload](crate::RateLimiter::reload), too.
    /// Capacity and `on_full` must be those of the table, or it is an error that says what was found and what was asked for.
    ///
    /// Bounds on requests in flight, waiting requests and the counts of policies stay those of this process.
    ///
    /// ```no_run
    /// use tollgate_http::{LimiterConfig, Policy, RateLimiter};
    ///
    /// // The same in every process, in any order.
    /// let config = LimiterConfig::new().policy(Policy::new("everybody", "100/minute")?).shared("/run/app/tollgate");
    /// let limiter = RateLimiter::new(config)?;
    /// # Ok::<(), tollgate_http::ConfigError>(())
    /// ```
    #[must_use]
    pub fn shared(self, path: impl Into<PathBuf>) -> Self {
        self.shared_at(SharedAt::new(path))
    }

    /// The same, for a table of several users, on a disk, or with something to be done where the one that is there does not fit.
    ///
    /// ```no_run
    /// use tollgate_http::{LimiterConfig, SharedAt};
    ///
    /// // Processes of the user 1000 and of others in the file's group.
    /// let config = LimiterConfig::new().shared_at(SharedAt::new("/run/app/tollgate").mode(0o660).owner(1000));
    /// ```
    #[must_use]
    pub fn shared_at(mut self, table: SharedAt) -> Self {
        self.shared = Some(table);
        self
    }

    /// The servers of policies that are [on a fleet](Policy::on_fleet), whose limits all machines of the fleet hold together. Needs
    /// the feature `redis`.
    ///
    /// Limits are known there by the names of policies and tiers, so they must mean the same on all nodes, as must what finds the
    /// client's address and its network. `docs/fleet.md` has the bounds.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn fleet(mut self, fleet: tollgate_redis::Fleet) -> Self {
        self.fleet = Some(fleet);
        self
    }

    /// Keeps the limits in a table of this process alone, which is the default: for trying a configuration without touching the
    /// table, or the servers, that it names.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.shared = None;
        #[cfg(feature = "redis")]
        {
            self.fleet = None;
            self.policies.iter_mut().for_each(|policy| policy.fleet = None);
        }
        self
    }

    /// Where the table is that is [shared](Self::shared) with other processes.
    #[must_use]
    pub fn shared_path(&self) -> Option<&Path> {
        self.shared.as_ref().map(SharedAt::path)
    }

    /// Whether the lists of who was refused show keys in full, instead of networks and fingerprints.
    #[must_use]
    pub const fn show_keys(mut self, shows_keys: bool) -> Self {
        self.shows_keys = shows_keys;
        self
    }

    /// Whether the case of letters in paths does not matter, as to Express, ASP.NET Core and IIS: then a limit for `/login` holds
    /// for `/Login`, and the key `path` counts them together. Default: it does not matter. Exemptions, and what takes the place of
    /// a default policy, are for the path as it is written alone.
    #[must_use]
    pub const fn ignore_path_case(mut self, ignores: bool) -> Self {
        self.ignores_path_case = ignores;
        self
    }

    /// How the client's address is found.
    #[must_use]
    pub const fn client_address(&self) -> &ClientAddress {
        &self.client
    }

    /// Whether the keys are listed that use most, and not only those that are refused most: see
    /// [`PolicyStats::used`](crate::stats::PolicyStats::used). It costs each request some fifty instructions for each policy, and 8 KiB for each
    /// policy and thread. Default: not.
    #[must_use]
    pub const fn watch_use(mut self, watches: bool) -> Self {
        self.watches_use = watches;
        self
    }

    /// Whether each response that comes through a service has a `service::ToldStanding` in its extensions, for a log. All requests
    /// take the longer way through the limiter then, by which they are decided and counted the same. Default: not.
    #[must_use]
    pub const fn tell_standing(mut self, tells: bool) -> Self {
        self.tells_standing = tells;
        self
    }

    /// The policies.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// The header fields that the rules look at, each once: all that has to be known of a request's to decide about it,
    /// unless functions look at others.
    #[must_use]
    pub fn header_fields(&self) -> Vec<HeaderName> {
        let source = match self.client.source() {
            AddressSource::Peer => None,
            AddressSource::XForwardedFor => Some(HeaderName::from_static("x-forwarded-for")),
            AddressSource::Forwarded => Some(FORWARDED),
            AddressSource::Header(name) => Some(name.clone()),
        };
        let mut fields: Vec<HeaderName> =
            source.into_iter().chain(self.policies.iter().flat_map(Policy::header_fields)).collect();
        fields.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        fields.dedup();
        fields
    }

    /// Whether it can be used, as far as that can be told without a limiter. A [`RateLimiter`](crate::RateLimiter) is made from no
    /// other.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (index, policy) in self.policies.iter().enumerate() {
            policy.validate()?;
            if self.policies.iter().take(index).any(|other| other.name == policy.name) {
                return Err(ConfigError::SameName { name: policy.name.clone() });
            }
        }
        if let Some(SharedAt { path, mode, .. }) = &self.shared {
            if !path.is_absolute() {
                return Err(ConfigError::NotShared {
                    path: path.clone(),
                    why: "the path does not begin with `/`, so that it would be another file in another directory",
                });
            }
            if !SharedAt::is_mode(*mode) {
                return Err(ConfigError::SharedMode { path: path.clone(), mode: *mode });
            }
        }
        check_counts(&self.policies)
    }
}

impl Default for LimiterConfig {
    fn default() -> Self {
        Self {
            policies: Vec::new(),
            client: ClientAddress::default(),
            grouping: Grouping::default(),
            answer: Answer::default(),
            capacity: Self::DEFAULT_CAPACITY,
            on_full: OnFull::default(),
            shared: None,
            shows_keys: false,
            ignores_path_case: true,
            watches_use: false,
            tells_standing: false,
            #[cfg(feature = "redis")]
            fleet: None,
        }
    }
}

/// Refuses policies of which one request could be subject to more limits than can be decided together.
///
/// The policies that match one request all overlap each other, so the limits of a policy and of all that overlap it are an upper
/// bound for its requests. A policy whose bound is within the limit is left out, which lowers the bounds of the others; this is
/// repeated until nothing changes. If any policy is left, its bound is too high.
fn check_counts(policies: &[Policy]) -> Result<(), ConfigError> {
    let mut left: Vec<&Policy> = policies.iter().collect();
    loop {
        let count = |policy: &Policy| {
            let overlapping = left.iter().filter(|other| other.route.overlaps(&policy.route));
            overlapping.map(|other| other.most_limits()).sum::<usize>()
        };
        let kept: Vec<&Policy> = left.iter().copied().filter(|policy| count(policy) > LimitSet::MAX).collect();
        if kept.len() == left.len() {
            let Some(first) = left.first() else { return Ok(()) };
            return Err(ConfigError::TooManyLimits { policy: first.name.clone(), count: count(first) });
        }
        left = kept;
    }
}
