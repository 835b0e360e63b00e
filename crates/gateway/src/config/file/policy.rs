//! The keys of a policy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderName, Method};
use metrics::NoopRecorder;
use tollgate::clock::{Instant, ManualClock};
use tollgate::{Algorithm, Limiter, Quota, parse_quotas};
use tollgate_http::client::Grouping;
use tollgate_http::fleet::OnOutage;
use tollgate_http::{
    Charge, ConfigError, Exemption, KeyPart, KeySpec, LimiterConfig, OnMissingKey, Policy, Precedence, RateLimiter,
    Route, Statuses, TierMap, Tiers, Unanswered,
};

use super::Files;
use super::item::{Item, Table};

/// A policy as the file has it: what the limiter is given, and what can be told of it.
#[derive(Debug, Clone)]
pub struct PolicyConfig {
    pub name: String,
    pub(crate) limits: Vec<Quota>,
    pub(crate) tiers: Option<TierConfig>,
    pub(crate) key: KeySpec,
    pub(crate) missing_key: OnMissingKey,
    pub(crate) route: Route,
    pub(crate) reach: Precedence,
    pub(crate) exemptions: Vec<Exemption>,
    pub(crate) concurrency: Option<u64>,
    pub(crate) cost: u64,
    pub(crate) charge: Charge,
    pub(crate) unanswered: Unanswered,
    pub(crate) is_shadow: bool,
    /// If its counts are on Redis.
    pub(crate) store: Option<StoreConfig>,
}

/// How a policy is on Redis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StoreConfig {
    pub(crate) on_outage: OnOutage,
    pub(crate) is_leased: bool,
}

/// Limits by tier.
#[derive(Debug, Clone)]
pub(crate) struct TierConfig {
    pub(crate) by: TierSource,
    pub(crate) tiers: Vec<(String, Vec<Quota>)>,
}

/// What says which tier a request is of.
#[derive(Debug, Clone)]
pub(crate) enum TierSource {
    /// The value of a header field.
    Header(HeaderName),
    /// A file of keys.
    File(PathBuf, Arc<TierMap>),
}

impl TierSource {
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Header(_) => None,
            Self::File(path, _) => Some(path),
        }
    }
}

impl PolicyConfig {
    pub(crate) fn policy(&self) -> Result<Policy, ConfigError> {
        let mut policy = Policy::new(&self.name, self.limits.clone())?
            .on(self.route.clone())
            .precedence(self.reach)
            .key(self.key.clone())
            .on_missing_key(self.missing_key)
            .cost(self.cost)
            .charge(self.charge.clone())
            .unanswered(self.unanswered)
            .shadow(self.is_shadow);
        if let Some(TierConfig { by, tiers }) = &self.tiers {
            let mut chosen = match by {
                TierSource::Header(name) => Tiers::by_header(name.clone()),
                TierSource::File(_, map) => Tiers::by_map(Arc::clone(map)),
            };
            for (name, limits) in tiers {
                chosen = chosen.tier(name, limits.clone())?;
            }
            policy = policy.tiers(chosen);
        }
        if let Some(StoreConfig { on_outage, is_leased }) = self.store {
            policy = policy.on_fleet(on_outage);
            policy = if is_leased { policy.leased() } else { policy };
        }
        if let Some(most) = self.concurrency {
            policy = policy.concurrency(most);
        }
        Ok(self.exemptions.iter().cloned().fold(policy, Policy::exempt))
    }
}

/// Whether a limiter can hold `limits`. Its capacity is another question.
pub(crate) fn check(limits: LimiterConfig) -> Result<(), ConfigError> {
    limits.validate()?;
    // What is only tried must not show in the metrics, asks no server, and needs no clock, which takes milliseconds to prove itself.
    let limits = limits.capacity(1).private();
    metrics::with_local_recorder(&NoopRecorder, || {
        RateLimiter::with_clock(limits, ManualClock::new(Instant::default())).map(drop)
    })
}

/// Reads all policies of a list.
pub(crate) fn read_all(item: &Item<'_>, files: &Files<'_>, grouping: Grouping) -> Vec<PolicyConfig> {
    let mut plans: Vec<PolicyConfig> = Vec::new();
    for item in item.items() {
        let read = |table: &mut Table<'_, '_>| read(table, files, grouping);
        let Some(plan) = item.table(read).flatten() else { continue };
        if plans.iter().any(|other| other.name == plan.name) {
            item.refuse(format_args!("another policy is named `{}`, too", plan.name));
        }
        if item.is_fine() {
            item.accept(plan.policy().and_then(|policy| check(LimiterConfig::new().policy(policy))));
        }
        plans.push(plan);
    }
    plans
}

fn read(table: &mut Table<'_, '_>, files: &Files<'_>, grouping: Grouping) -> Option<PolicyConfig> {
    let name = table.require("name", "it stands in header fields and metrics");
    let counting = Counting { algorithm: table.get("algorithm").and_then(|item| item.parse()), burst: burst(table) };
    let mut plan = PolicyConfig {
        name: String::new(),
        limits: Vec::new(),
        tiers: None,
        key: KeySpec::client(),
        missing_key: OnMissingKey::default(),
        route: Route::any(),
        reach: Precedence::default(),
        exemptions: Vec::new(),
        concurrency: None,
        cost: 1,
        charge: Charge::default(),
        unanswered: Unanswered::default(),
        is_shadow: false,
        store: None,
    };
    plan.limits = table.get("limits").map(|item| counting.quotas(&item)).unwrap_or_default();
    table.set("tiers", &mut plan.tiers, |item| item.table(|table| tiers(table, &counting, files, grouping)));
    if plan.tiers.as_ref().is_some_and(|tiers| tiers.by.file().is_some()) && !table.has("limits") {
        table.item().refuse(
            "`limits` is missing: what a key may do that is not in `tiers.file`; without it there would be no limit",
        );
    }
    table.set("key", &mut plan.key, |item| key(&item));
    let choices = [("share", OnMissingKey::Share), ("skip", OnMissingKey::Skip), ("refuse", OnMissingKey::Refuse)];
    table.set("missing_key", &mut plan.missing_key, |item| item.choice(&choices));
    table.set("match", &mut plan.route, |item| item.table(route));
    table.set("always", &mut plan.reach, |item| {
        Some(if item.flag()? { Precedence::Always } else { Precedence::Override })
    });
    table.set("exempt", &mut plan.exemptions, |item| Some(item.items().iter().filter_map(Item::parse).collect()));
    table.set("concurrency", &mut plan.concurrency, |item| item.number(1..=u64::MAX).map(Some));
    table.set("cost", &mut plan.cost, |item| item.number(0..=u64::MAX));
    table.set("charge", &mut plan.charge, |item| item.table(|table| charge(table, &mut plan.unanswered))?);
    table.set("shadow", &mut plan.is_shadow, |item| item.flag());
    plan.store = store(table);
    if !["limits", "tiers", "concurrency"].into_iter().any(|name| table.has(name)) {
        table.item().refuse("limits nothing; expected `limits`, `tiers` or `concurrency`");
    }
    name?.text()?.clone_into(&mut plan.name);
    Some(plan)
}

fn store(table: &mut Table<'_, '_>) -> Option<StoreConfig> {
    let is_on_redis = table.get("store").and_then(|item| item.choice(&[("local", false), ("redis", true)]));
    let mut store = StoreConfig { on_outage: OnOutage::default(), is_leased: false };
    let choices = OnOutage::ALL.map(|choice| (choice.name(), choice));
    table.set("on_outage", &mut store.on_outage, |item| item.choice(&choices));
    table.set("leased", &mut store.is_leased, |item| item.flag());
    if is_on_redis == Some(true) {
        return Some(store);
    }
    for name in ["on_outage", "leased"].into_iter().filter(|name| table.has(name)) {
        table.item().refuse(format_args!("`{name}` is for counts on Redis, and means nothing without `store: redis`"));
    }
    None
}

/// Whether there is what policies on Redis need.
pub(crate) fn check_stores(item: &Item<'_>, plans: &[PolicyConfig], has_servers: bool, nodes: Option<u64>) {
    for (name, store) in plans.iter().filter_map(|plan| Some((&plan.name, plan.store?))) {
        if !has_servers {
            item.refuse(format_args!("`{name}` says `store: redis`, and `redis` is missing, which names the servers"));
        } else if store.on_outage == OnOutage::Share && nodes.is_none() {
            item.refuse(format_args!(
                "`{name}` says `on_outage: share`, and `redis.nodes` is missing: how many gateways share the limit"
            ));
        }
    }
}

fn burst(table: &mut Table<'_, '_>) -> Option<u64> {
    table.get("burst").and_then(|item| item.number(1..=u64::MAX))
}

/// How all limits of a policy are counted.
struct Counting {
    algorithm: Option<Algorithm>,
    burst: Option<u64>,
}

impl Counting {
    /// The limits of one item: a rate string, or a list of them.
    fn quotas(&self, item: &Item<'_>) -> Vec<Quota> {
        let mut quotas = Vec::new();
        if item.items().is_empty() {
            item.refuse("expected a rate such as 100/minute");
        }
        for item in item.items() {
            let Some(text) = item.text() else { continue };
            for quota in item.accept(parse_quotas(text)).unwrap_or_default() {
                let quota = self.applied(quota);
                // What it will be held by has the time unit of a limiter made as the library makes its own.
                let limiter = Limiter::builder(Quota::per_second(1))
                    .capacity(1)
                    .clock(ManualClock::new(Instant::default()))
                    .build();
                if let Some(limiter) = item.accept(limiter) {
                    item.accept(limiter.prepare("", quota));
                }
                quotas.push(quota);
            }
        }
        quotas
    }

    fn applied(&self, quota: Quota) -> Quota {
        // What the rate string says is closer to its limit and wins.
        let quota = match (quota.algorithm(), self.algorithm) {
            (Algorithm::TokenBucket, Some(algorithm)) => quota.with_algorithm(algorithm),
            _ => quota,
        };
        match self.burst {
            Some(burst) if quota.burst() == quota.count() => quota.with_burst(burst),
            _ => quota,
        }
    }
}

fn tiers(table: &mut Table<'_, '_>, counting: &Counting, files: &Files<'_>, grouping: Grouping) -> Option<TierConfig> {
    let what = "the header field that names the tier, or with `file` the part of a request that is looked up there, as header:NAME";
    let by = table.require("by", what);
    let limits = table.require("limits", "each tier with its limits");
    if let Some(file) = table.get("file") {
        let tier = |(name, item): (&str, Item<'_>)| (name.to_owned(), counting.quotas(&item));
        let tiers: Vec<_> = limits?.entries().into_iter().map(tier).collect();
        let names: Vec<&str> = tiers.iter().map(|(name, _)| name.as_str()).collect();
        let by = by?;
        let map = by.accept(TierMap::builder(by.parse::<KeyPart>()?, &names))?.grouping(grouping);
        if *map.by() == KeyPart::User {
            by.refuse("the gateway knows no users; name the header or the cookie that tells them apart");
            return None;
        }
        let path = files.folder.join(file.text()?);
        let map = file.accept((files.tiers)(&path, map))?;
        return Some(TierConfig { by: TierSource::File(path, Arc::new(map)), tiers });
    }
    let by = by.and_then(|item| {
        let text = item.text()?;
        let name = text.strip_prefix("header:").and_then(|name| name.trim().parse().ok());
        item.accept(name.ok_or_else(|| format!("`{text}` chooses no tier; expected header:NAME")))
    });
    let tier = |(name, item): (&str, Item<'_>)| (name.to_owned(), counting.quotas(&item));
    let tiers = limits?.entries().into_iter().map(tier).collect();
    Some(TierConfig { by: TierSource::Header(by?), tiers })
}

fn key(item: &Item<'_>) -> Option<KeySpec> {
    let key: KeySpec = item.parse()?;
    if key.to_string().split([' ', '+']).any(|part| part == "user") {
        item.refuse("the gateway knows no users; name the header or the cookie that tells them apart");
        return None;
    }
    Some(key)
}

fn route(table: &mut Table<'_, '_>) -> Route {
    let mut route = Route::any();
    for item in table.get("path").iter().flat_map(Item::items) {
        if let Some(path) = item.text() {
            route = item.accept(route.clone().path(path)).unwrap_or(route);
        }
    }
    for item in table.get("method").iter().flat_map(Item::items) {
        if let Some(method) = method(&item) {
            route = route.method(method);
        }
    }
    for item in table.get("host").iter().flat_map(Item::items) {
        if let Some(host) = host(&item) {
            route = route.host(host);
        }
    }
    route
}

fn method(item: &Item<'_>) -> Option<Method> {
    let text = item.text()?;
    let is_usual = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    let method = Method::from_bytes(text.as_bytes()).ok().filter(|_| is_usual);
    item.accept(method.ok_or_else(|| format!("`{text}` is not a valid method; expected capital letters, such as POST")))
}

fn host<'n>(item: &Item<'n>) -> Option<&'n str> {
    let text = item.text()?;
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte));
    let has_port = !name.starts_with('[') && name.contains(':');
    if !is_name || has_port {
        item.refuse(format_args!(
            "`{text}` is not a valid host; expected a name without a port, such as api.example.com or \"*.example.com\""
        ));
        return None;
    }
    Some(text)
}

fn charge(table: &mut Table<'_, '_>, unanswered: &mut Unanswered) -> Option<Charge> {
    let (only_on, refund_on, field) = (table.get("only_on"), table.get("refund_on"), table.get("field"));
    let choices = [("charged", Unanswered::Charged), ("free", Unanswered::Free)];
    table.set("unanswered", unanswered, |item| item.choice(&choices));
    let statuses = |item: &Item<'_>| item.parse::<Statuses>();
    match (&only_on, &refund_on, &field) {
        (Some(item), None, None) => statuses(item).map(Charge::OnlyOn),
        (None, Some(item), None) => statuses(item).map(Charge::RefundOn),
        (None, None, Some(item)) => {
            let text = item.text()?;
            let name = text.parse().map_err(|_| format!("`{text}` is not a valid name of a field"));
            item.accept(name).map(Charge::ByField)
        }
        _ => {
            table.item().refuse("expected one of `only_on`, `refund_on` and `field`");
            None
        }
    }
}
