//! A policy: which requests, who shares a bucket, how much, and when it is charged.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use http::header::HOST;
use tollgate::quota::IntoQuotas;
use tollgate::{Algorithm, Key, Quota};

use super::charge::{Charge, Unanswered};
use super::exemption::Exemption;
#[cfg(feature = "redis")]
use super::on_fleet::{OnFleet, fleet_name};
use super::tiers::{TierBy, Tiers};
use crate::error::{ConfigError, MAX_NAME};
use crate::identity::key_by::{KeyBy, KeyBytes, KeySlot, LabelBy};
use crate::identity::{KeySpec, OnMissingKey};
use crate::request::RequestInfo;
use crate::request::Route;

/// The whole: which requests it is for, who shares a bucket, and how much of what.
///
/// ```
/// use tollgate_http::{Charge, Policy, Route};
///
/// let everybody = Policy::new("everybody", "200 per day, 50 per hour")?;
/// let login = Policy::new("login", "5/minute")?
///     .on(Route::any().path("/login")?)
///     .charge(Charge::OnlyOn("401".parse()?));
/// let api = Policy::new("api", "100/minute burst 20")?
///     .on(Route::any().path("/api/*")?)
///     .key("header:x-api-key | ip".parse()?)
///     .concurrency(10);
/// # Ok::<(), tollgate_http::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "super::serial::PolicyKeys"))]
pub struct Policy {
    pub(crate) name: String,
    pub(crate) route: Route,
    pub(crate) precedence: Precedence,
    pub(crate) key: KeyBy,
    pub(crate) label: Option<LabelBy>,
    pub(crate) on_missing_key: OnMissingKey,
    pub(crate) limits: Vec<Quota>,
    pub(crate) tiers: Option<Tiers>,
    pub(crate) concurrency: Option<u64>,
    pub(crate) cost: Cost,
    pub(crate) charge: Charge,
    pub(crate) unanswered: Unanswered,
    pub(crate) exemptions: Vec<Exemption>,
    pub(crate) exempt_when: Option<Predicate>,
    pub(crate) is_shadow: bool,
    #[cfg(feature = "redis")]
    pub(crate) fleet: Option<OnFleet>,
}

/// Whether a policy gives way to others for the same request, or holds beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Precedence {
    /// A policy with a route takes the place of those without one, as a decorated limit does in Flask-Limiter.
    #[default]
    Override,
    /// It holds beside all others, and nothing takes its place.
    Always,
}

/// What one request costs.
#[derive(Clone)]
pub(crate) enum Cost {
    Constant(u64),
    Function(Arc<dyn Fn(&RequestInfo<'_>) -> u64 + Send + Sync>),
}

impl Cost {
    pub(crate) fn of(&self, request: &RequestInfo<'_>) -> u64 {
        match self {
            Self::Constant(cost) => *cost,
            Self::Function(cost) => cost(request),
        }
    }
}

impl fmt::Debug for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(cost) => cost.fmt(f),
            Self::Function(_) => f.write_str("a function"),
        }
    }
}

/// A question about a request.
#[derive(Clone)]
pub(crate) struct Predicate(pub(crate) Arc<dyn Fn(&RequestInfo<'_>) -> bool + Send + Sync>);

impl fmt::Debug for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function")
    }
}

impl Policy {
    /// A policy for every request, by client address, with one or more limits that all hold at once.
    ///
    /// # Errors
    ///
    /// If `limits` is not a valid rate string.
    pub fn new(name: &str, limits: impl IntoQuotas) -> Result<Self, ConfigError> {
        Ok(Self { limits: limits.into_quotas()?, ..Self::without_rate(name) })
    }

    /// A policy that has no rate, to be given a [`concurrency`](Self::concurrency) or [`tiers`](Self::tiers).
    #[must_use]
    pub fn without_rate(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            route: Route::any(),
            precedence: Precedence::default(),
            key: KeyBy::Spec(KeySpec::client()),
            label: None,
            on_missing_key: OnMissingKey::default(),
            limits: Vec::new(),
            tiers: None,
            concurrency: None,
            cost: Cost::Constant(1),
            charge: Charge::default(),
            unanswered: Unanswered::default(),
            exemptions: Vec::new(),
            exempt_when: None,
            is_shadow: false,
            #[cfg(feature = "redis")]
            fleet: None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its limits in one of its tiers; the policy's own if there is no such tier, or none is named.
    #[must_use]
    pub fn limits(&self, tier: Option<&str>) -> &[Quota] {
        let mut tiers = self.tiers.iter().flat_map(|tiers| &tiers.tiers);
        let named = tiers.find(|(name, _)| Some(name.as_str()) == tier);
        named.map_or(&self.limits, |(_, quotas)| quotas)
    }

    /// Which requests it is for. All that match it share a bucket for each key, whatever their routes.
    #[must_use]
    pub fn on(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// Which of the policies for one request hold.
    #[must_use]
    pub const fn precedence(mut self, precedence: Precedence) -> Self {
        self.precedence = precedence;
        self
    }

    /// Which requests share a bucket; by default those of one client address.
    #[must_use]
    pub fn key(mut self, key: KeySpec) -> Self {
        self.key = KeyBy::Spec(key);
        self
    }

    /// Who shares a bucket, by a function: it returns anything that is a [`Key`], such as a number, an address, a text or a
    /// tuple of them. `None` is a missing key.
    ///
    /// ```
    /// use tollgate_http::Policy;
    ///
    /// #[derive(Clone, Copy)]
    /// struct Tenant(u64);
    ///
    /// let policy = Policy::new("tenants", "100/minute")?.key_by(|request| request.extension::<Tenant>().map(|tenant| tenant.0));
    /// # Ok::<(), tollgate_http::ConfigError>(())
    /// ```
    ///
    /// A key that borrows from the request goes through [`key_into`](Self::key_into).
    #[must_use]
    pub fn key_by<K: Key>(self, key: impl Fn(&RequestInfo<'_>) -> Option<K> + Send + Sync + 'static) -> Self {
        self.key_into(move |request, slot| {
            if let Some(key) = key(request) {
                slot.set(&key);
            }
        })
    }

    /// Who shares a bucket, by a function that puts the key into a slot, so that it may borrow from the request. If it puts
    /// none there, the key is missing.
    ///
    /// ```
    /// use http::header::USER_AGENT;
    /// use tollgate_http::Policy;
    ///
    /// let policy = Policy::new("agents", "100/minute")?.key_into(|request, slot| {
    ///     if let Some(agent) = request.header(&USER_AGENT) {
    ///         slot.set(&(request.client(), agent));
    ///     }
    /// });
    /// # Ok::<(), tollgate_http::ConfigError>(())
    /// ```
    #[must_use]
    pub fn key_into(mut self, key: impl Fn(&RequestInfo<'_>, &mut KeySlot) + Send + Sync + 'static) -> Self {
        self.key = KeyBy::Function(Arc::new(key));
        self
    }

    /// Who shares a bucket, by an async function, such as one that looks a session up. It clones what it needs of the
    /// request into its future. Costs an allocation a request.
    #[must_use]
    pub fn key_by_async<F, K>(mut self, key: impl Fn(&RequestInfo<'_>) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<K>> + Send + 'static,
        K: Key,
    {
        self.key = KeyBy::Async(Arc::new(move |request| {
            let key = key(request);
            Box::pin(async move { key.await.map(|key| KeyBytes::of(&key)) })
        }));
        self
    }

    /// How operators see a key that a function returned, in the list of who was refused most; otherwise it is shown as a
    /// fingerprint. Called when a key comes into the list, and not with every request. What it returns is shown in full.
    #[must_use]
    pub fn label_by(mut self, label: impl Fn(&RequestInfo<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        self.label = Some(LabelBy(Arc::new(label)));
        self
    }

    /// What happens to a request without a key.
    #[must_use]
    pub const fn on_missing_key(mut self, what: OnMissingKey) -> Self {
        self.on_missing_key = what;
        self
    }

    /// Counts by another algorithm, in every limit and tier that there is so far. With
    /// [`LeakyQueue`](Algorithm::LeakyQueue) requests are delayed, as many as the burst.
    #[must_use]
    pub fn algorithm(self, algorithm: Algorithm) -> Self {
        self.map(|quota| quota.with_algorithm(algorithm))
    }

    /// Lets `burst` requests come at once, in every limit and tier so far that does not have a burst already.
    #[must_use]
    pub fn burst(self, burst: u64) -> Self {
        self.map(|quota| if quota.burst() == quota.count() { quota.with_burst(burst) } else { quota })
    }

    fn map(mut self, change: impl Fn(Quota) -> Quota) -> Self {
        self.limits.iter_mut().for_each(|quota| *quota = change(*quota));
        self.tiers = self.tiers.map(|tiers| tiers.map(change));
        self
    }

    /// Limits that are chosen at request time.
    #[must_use]
    pub fn tiers(mut self, tiers: Tiers) -> Self {
        self.tiers = Some(tiers);
        self
    }

    /// How many requests of a key may be in flight at once: from when they are admitted until the response has been
    /// sent. What follows an upgrade (101), such as a WebSocket, is not part of the response and is not counted.
    #[must_use]
    pub const fn concurrency(mut self, most: u64) -> Self {
        self.concurrency = Some(most);
        self
    }

    /// What a request costs; 1 by default. A cost of 0 is free.
    #[must_use]
    pub fn cost(mut self, cost: u64) -> Self {
        self.cost = Cost::Constant(cost);
        self
    }

    /// What a request costs, by a function.
    #[must_use]
    pub fn cost_by(mut self, cost: impl Fn(&RequestInfo<'_>) -> u64 + Send + Sync + 'static) -> Self {
        self.cost = Cost::Function(Arc::new(cost));
        self
    }

    /// When it is charged.
    #[must_use]
    pub fn charge(mut self, charge: Charge) -> Self {
        self.charge = charge;
        self
    }

    /// What becomes of a request that ends without a response, where that decides about the charge.
    #[must_use]
    pub const fn unanswered(mut self, unanswered: Unanswered) -> Self {
        self.unanswered = unanswered;
        self
    }

    /// Requests that it never limits.
    #[must_use]
    pub fn exempt(mut self, exemption: Exemption) -> Self {
        self.exemptions.push(exemption);
        self
    }

    /// Requests that it never limits, by a function.
    #[must_use]
    pub fn exempt_when(mut self, when: impl Fn(&RequestInfo<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.exempt_when = Some(Predicate(Arc::new(when)));
        self
    }

    /// Shadow mode: admits all requests, and counts and lists those that it would have refused.
    #[must_use]
    pub const fn shadow(mut self, is_shadow: bool) -> Self {
        self.is_shadow = is_shadow;
        self
    }

    /// Keeps its counts on the [fleet](crate::LimiterConfig::fleet) of the configuration, so that all nodes admit one limit together, and
    /// says what it does when no server decides. Needs the feature `redis`.
    ///
    /// A request that it is for waits for a server, up to the fleet's deadline, unless the limit is [leased](Self::leased) and the key's
    /// tokens are here. Requests under other policies do not wait.
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn on_fleet(mut self, on_outage: tollgate_redis::OnOutage) -> Self {
        let is_leased = self.fleet.is_some_and(|fleet| fleet.is_leased);
        self.fleet = Some(OnFleet { on_outage, is_leased });
        self
    }

    /// Lets this node take tokens of busy keys in advance, so that most of their requests wait for nobody; for policies
    /// [on a fleet](Self::on_fleet), to be set after that. See [`FleetLimit::leased`](tollgate_redis::FleetLimit::leased).
    #[cfg(feature = "redis")]
    #[must_use]
    pub fn leased(mut self) -> Self {
        let on_outage = self.fleet.map(|fleet| fleet.on_outage).unwrap_or_default();
        self.fleet = Some(OnFleet { on_outage, is_leased: true });
        self
    }

    /// Whether its counts are on a fleet.
    pub(crate) const fn is_on_fleet(&self) -> bool {
        #[cfg(feature = "redis")]
        return self.fleet.is_some();
        #[cfg(not(feature = "redis"))]
        false
    }

    /// Whether it may leave some requests alone.
    pub(crate) const fn has_exemptions(&self) -> bool {
        !self.exemptions.is_empty() || self.exempt_when.is_some()
    }

    /// Whether it never limits `request`.
    pub(crate) fn exempts(&self, request: &RequestInfo<'_>) -> bool {
        self.exemptions.iter().any(|exemption| exemption.covers(request))
            || self.exempt_when.as_ref().is_some_and(|when| (when.0)(request))
    }

    /// The header fields that it looks at.
    pub(crate) fn header_fields(&self) -> Vec<HeaderName> {
        let mut fields: Vec<HeaderName> = match &self.key {
            KeyBy::Spec(spec) => spec.header_fields().collect(),
            KeyBy::Function(_) | KeyBy::Async(_) => Vec::new(),
        };
        match &self.tiers {
            Some(Tiers { by: TierBy::Header(name), .. }) => fields.push(name.clone()),
            Some(Tiers { by: TierBy::Map(map), .. }) => fields.extend(map.by().header_field()),
            _ => {}
        }
        fields.extend(self.exemptions.iter().filter_map(Exemption::header_field).cloned());
        if self.route.has_hosts() {
            fields.push(HOST);
        }
        fields
    }

    /// Whether it takes the place of those that have no route.
    pub(crate) fn overrides(&self) -> bool {
        !self.route.is_any() && self.precedence == Precedence::Override
    }

    /// Whether it makes way for a policy that has a route.
    pub(crate) fn is_default(&self) -> bool {
        self.route.is_any() && self.precedence == Precedence::Override
    }

    /// The most limits that one request can meet in it: those of the largest tier.
    pub(crate) fn most_limits(&self) -> usize {
        let tiers = self.tiers.iter().flat_map(|tiers| &tiers.tiers).map(|(_, quotas)| quotas.len());
        tiers.chain([self.limits.len()]).max().unwrap_or(0)
    }

    /// What can be wrong with it by itself.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let is_name = |name: &str| {
            let is_visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
            (1..=MAX_NAME).contains(&name.len())
                && name.bytes().all(|byte| is_visible(byte) && !b"\"\\".contains(&byte))
        };
        let tiers = self.tiers.iter().flat_map(|tiers| &tiers.tiers);
        if let Some(name) = tiers.map(|(name, _)| name).chain([&self.name]).find(|name| !is_name(name)) {
            return Err(ConfigError::Name { name: name.clone() });
        }
        if let KeyBy::Spec(key) = &self.key {
            key.validate()?;
        }
        self.route.validate()?;
        if let Some(Tiers { by: TierBy::Map(map), tiers }) = &self.tiers
            && !tiers.iter().map(|(name, _)| name).eq(map.names())
        {
            return Err(ConfigError::TierNames { policy: self.name.clone() });
        }
        #[cfg(feature = "redis")]
        self.validate_on_fleet()?;
        match self.concurrency {
            Some(0) => Err(ConfigError::ZeroConcurrency { policy: self.name.clone() }),
            None if self.most_limits() == 0 => Err(ConfigError::Empty { policy: self.name.clone() }),
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "redis")]
impl Policy {
    /// What it cannot be if it is on a fleet.
    fn validate_on_fleet(&self) -> Result<(), ConfigError> {
        let Some(OnFleet { is_leased, .. }) = self.fleet else { return Ok(()) };
        let cannot = |why: String| Err(ConfigError::NotOnFleet { policy: self.name.clone(), why });
        if self.concurrency.is_some() {
            return cannot(
                "requests in flight are counted in each process by itself; give that bound to a policy of its own"
                    .to_owned(),
            );
        }
        if is_leased && self.charge != Charge::OnRequest {
            return cannot(
                "leases take tokens before requests come, so they cannot be charged after the response; leave out one of the two"
                    .to_owned(),
            );
        }
        let mut can_lease = false;
        let tiers = self.tiers.iter().flat_map(|tiers| &tiers.tiers);
        let tiers = tiers.map(|(name, quotas)| (Some(name.as_str()), quotas));
        for (tier, quotas) in [(None, &self.limits)].into_iter().chain(tiers) {
            for quota in quotas {
                if quota.algorithm() == Algorithm::LeakyQueue {
                    return cannot(format!("requests do not wait in a queue there, as `{quota:#}` wants"));
                }
                match tollgate_redis::FleetLimit::check(&fleet_name(&self.name, tier, quotas.len()), *quota, None) {
                    Ok(can) => can_lease |= can,
                    Err(error) => return cannot(error.to_string()),
                }
            }
        }
        if is_leased && !can_lease {
            return cannot(
                "none of its limits can be leased: token buckets and fixed windows of 8 or more can, that take 10 ms or more to fill"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
