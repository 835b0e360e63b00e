//! The feature `serde`: settings as text and structs, under the keys that the file of `tollgate gateway` has.
//!
//! Settings with functions in them have no text, so policies and whole configurations are read and not written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, Method};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tollgate::{Algorithm, OnFull, Quota, parse_quotas};

use super::charge::{Charge, Statuses, Unanswered};
use super::exemption::Exemption;
use super::limiter_config::LimiterConfig;
use super::policy::{Policy, Precedence};
use super::shared_at::{SharedAt, TableMismatch};
use super::tiers::Tiers;
use crate::answer::{Answer, Dialect, RefusalBody, RetryAfter, RetryForm, Template};
use crate::identity::{AddressSource, ClientAddress, Grouping, KeyPart, KeySpec, OnMissingKey, TrustedProxies};
use crate::request::Route;

/// Types that are written as they display, and read as they parse.
macro_rules! text {
    ($($type:ty, $expected:literal;)*) => {$(
        /// As its text.
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        /// From its text; anything else is an error.
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl Visitor<'_> for Text {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        <$type>::from_str(text).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }
    )*};
}

text! {
    KeyPart, "a part of a key such as `header:x-api-key`";
    KeySpec, "a key such as `user | ip`";
    Exemption, "an exemption such as `10.0.0.0/8` or `path:/health`";
    Statuses, "statuses such as `401, 5xx`";
    Dialect, "the name of a dialect such as `ietf`";
    AddressSource, "an address source such as `x-forwarded-for`";
    TrustedProxies, "networks such as `10.0.0.0/8, 192.0.2.7`, `hops:1` or `nobody`";
}

/// A text, or a list of texts.
#[derive(Default)]
struct Texts(Vec<String>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrList;

        impl<'de> Visitor<'de> for TextOrList {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Texts, E> {
                Ok(Texts(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }

        deserializer.deserialize_any(TextOrList)
    }
}

impl Texts {
    fn parse<T: FromStr<Err: fmt::Display>>(&self) -> Result<Vec<T>, String> {
        self.0.iter().map(|text| text.parse().map_err(|error: T::Err| error.to_string())).collect()
    }
}

/// The keys of a policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyKeys {
    name: String,
    #[serde(default)]
    limits: Texts,
    algorithm: Option<Algorithm>,
    burst: Option<u64>,
    #[serde(default)]
    key: KeySpec,
    #[serde(default)]
    missing_key: OnMissingKey,
    #[serde(default, rename = "match")]
    route: RouteKeys,
    #[serde(default)]
    always: bool,
    #[serde(default)]
    exempt: Texts,
    tiers: Option<TierKeys>,
    concurrency: Option<u64>,
    cost: Option<u64>,
    #[serde(default)]
    charge: ChargeKeys,
    #[serde(default)]
    shadow: bool,
    #[cfg(feature = "redis")]
    #[serde(default)]
    store: StoreName,
    #[cfg(feature = "redis")]
    on_outage: Option<String>,
    #[cfg(feature = "redis")]
    leased: Option<bool>,
}

/// Where the counts of a policy are.
#[cfg(feature = "redis")]
#[derive(Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StoreName {
    #[default]
    Local,
    Redis,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RouteKeys {
    path: Texts,
    method: Texts,
    host: Texts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TierKeys {
    by: String,
    limits: BTreeMap<String, Texts>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ChargeKeys {
    only_on: Option<Statuses>,
    refund_on: Option<Statuses>,
    field: Option<String>,
    unanswered: Unanswered,
}

impl PolicyKeys {
    /// What the rate string says is closer to its limit, and wins over what the policy says of all.
    fn quotas(&self, texts: &Texts) -> Result<Vec<Quota>, String> {
        let mut quotas = Vec::new();
        for text in &texts.0 {
            quotas.extend(parse_quotas(text).map_err(|error| error.to_string())?);
        }
        for quota in &mut quotas {
            if let Some(algorithm) = self.algorithm.filter(|_| quota.algorithm() == Algorithm::TokenBucket) {
                *quota = quota.with_algorithm(algorithm);
            }
            if let Some(burst) = self.burst.filter(|_| quota.burst() == quota.count()) {
                *quota = quota.with_burst(burst);
            }
        }
        Ok(quotas)
    }
}

impl TryFrom<PolicyKeys> for Policy {
    type Error = String;

    fn try_from(keys: PolicyKeys) -> Result<Self, String> {
        let in_policy = |error: String| format!("policy `{}`: {error}", keys.name);
        let limits = keys.quotas(&keys.limits).map_err(in_policy)?;
        let mut policy = Self::new(&keys.name, limits).map_err(|error| error.to_string())?;
        let mut route = Route::any();
        for path in &keys.route.path.0 {
            route = route.path(path).map_err(|error| in_policy(error.to_string()))?;
        }
        for method in keys.route.method.parse::<Method>().map_err(in_policy)? {
            route = route.method(method);
        }
        route = keys.route.host.0.iter().fold(route, |route, host| route.host(host));
        if let Some(tiers) = &keys.tiers {
            let name = tiers.by.strip_prefix("header:").and_then(|name| HeaderName::from_str(name.trim()).ok());
            let bad = || in_policy(format!("`{}` is not a valid source of tiers; expected header:NAME", tiers.by));
            let mut chosen = Tiers::by_header(name.ok_or_else(bad)?);
            for (name, limits) in &tiers.limits {
                chosen =
                    chosen.tier(name, keys.quotas(limits).map_err(in_policy)?).map_err(|error| error.to_string())?;
            }
            policy = policy.tiers(chosen);
        }
        let charge = match (&keys.charge.only_on, &keys.charge.refund_on, &keys.charge.field) {
            (None, None, None) => Charge::OnRequest,
            (Some(statuses), None, None) => Charge::OnlyOn(statuses.clone()),
            (None, Some(statuses), None) => Charge::RefundOn(statuses.clone()),
            (None, None, Some(name)) => Charge::ByField(
                HeaderName::from_str(name)
                    .map_err(|_| in_policy(format!("`{name}` is not a valid name of a field")))?,
            ),
            _ => return Err(in_policy("expected one of `only_on`, `refund_on` and `field`".to_owned())),
        };
        for exemption in keys.exempt.parse::<Exemption>().map_err(in_policy)? {
            policy = policy.exempt(exemption);
        }
        if let Some(most) = keys.concurrency {
            policy = policy.concurrency(most);
        }
        #[cfg(feature = "redis")]
        {
            if keys.store == StoreName::Redis {
                let on_outage = keys.on_outage.as_deref().unwrap_or("closed").parse();
                policy = policy.on_fleet(
                    on_outage.map_err(|error: tollgate_redis::UnknownOnOutage| in_policy(error.to_string()))?,
                );
                policy = if keys.leased == Some(true) { policy.leased() } else { policy };
            } else if keys.on_outage.is_some() || keys.leased.is_some() {
                return Err(in_policy("`on_outage` and `leased` mean nothing without `store: redis`".to_owned()));
            }
        }
        let policy = policy
            .on(route)
            .precedence(if keys.always { Precedence::Always } else { Precedence::Override })
            .key(keys.key)
            .on_missing_key(keys.missing_key)
            .cost(keys.cost.unwrap_or(1))
            .charge(charge)
            .unanswered(keys.charge.unanswered)
            .shadow(keys.shadow);
        policy.validate().map_err(|error| error.to_string())?;
        Ok(policy)
    }
}

/// The keys of a limiter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimiterKeys {
    #[serde(default)]
    client: ClientKeys,
    #[serde(default)]
    limiter: TableKeys,
    #[serde(default)]
    answer: AnswerKeys,
    // Not with a default: what lacks it may be half of a file, and in force it would be the end of all limits.
    policies: Vec<Policy>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClientKeys {
    from: AddressSource,
    trusted: Option<Texts>,
    hops: Option<u8>,
    ipv4_prefix: Option<u8>,
    ipv6_prefix: Option<u8>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TableKeys {
    capacity: Option<usize>,
    on_full: FullTable,
    shared: Option<SharedKeys>,
    show_keys: bool,
    path_case: PathCase,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a path, or an object with `path`, `mode`, `owner`, `on_mismatch` and `allow_disk`")]
enum SharedKeys {
    Path(PathBuf),
    Table(SharedTableKeys),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SharedTableKeys {
    path: PathBuf,
    /// In octal digits.
    mode: Option<String>,
    owner: Option<u32>,
    #[serde(default)]
    on_mismatch: Mismatch,
    #[serde(default)]
    allow_disk: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mismatch {
    #[default]
    Refuse,
    Adopt,
    Replace,
}

impl TryFrom<SharedKeys> for SharedAt {
    type Error = String;

    fn try_from(keys: SharedKeys) -> Result<Self, String> {
        let keys = match keys {
            SharedKeys::Path(path) => return Ok(Self::new(path)),
            SharedKeys::Table(keys) => keys,
        };
        let mut shared = Self::new(keys.path).allow_disk(keys.allow_disk).on_mismatch(match keys.on_mismatch {
            Mismatch::Refuse => TableMismatch::Refuse,
            Mismatch::Adopt => TableMismatch::Adopt,
            Mismatch::Replace => TableMismatch::Replace,
        });
        if let Some(digits) = &keys.mode {
            let is_octal = !digits.is_empty() && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
            let mode = is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten();
            let bad = || format!("`{digits}` is not the mode of a file in octal digits; expected for example \"0660\"");
            shared = shared.mode(mode.ok_or_else(bad)?);
        }
        if let Some(owner) = keys.owner {
            shared = shared.owner(owner);
        }
        Ok(shared)
    }
}

/// Whether `/Login` is `/login`.
#[derive(Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum PathCase {
    #[default]
    Any,
    Exact,
}

/// [`OnFull`] under the names of the gateway's file and of the engine.
#[derive(Default, Deserialize)]
enum FullTable {
    #[default]
    #[serde(rename = "evict", alias = "evict-nearest-idle")]
    Evict,
    #[serde(rename = "refuse", alias = "refuse-new")]
    Refuse,
    #[serde(rename = "admit", alias = "admit-untracked")]
    Admit,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct AnswerKeys {
    status: u16,
    body: BodyKeys,
    headers: Dialect,
    headers_on_success: bool,
    retry_after: RetryForm,
    /// In whole seconds.
    retry_jitter_seconds: u64,
}

impl Default for AnswerKeys {
    fn default() -> Self {
        Self {
            status: 429,
            body: BodyKeys::Name("problem-json".to_owned()),
            headers: Dialect::default(),
            headers_on_success: true,
            retry_after: RetryForm::default(),
            retry_jitter_seconds: 0,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "the name of a body, or a text with its `content_type`")]
enum BodyKeys {
    Name(String),
    Template { content_type: String, text: String },
}

impl TryFrom<LimiterKeys> for LimiterConfig {
    type Error = String;

    fn try_from(keys: LimiterKeys) -> Result<Self, String> {
        let trusted = match (&keys.client.trusted, keys.client.hops) {
            (None, None) => TrustedProxies::nobody(),
            (Some(networks), None) => networks.0.join(",").parse().map_err(said)?,
            (None, Some(hops)) => TrustedProxies::hops(hops).map_err(said)?,
            (Some(_), Some(_)) => return Err("expected either `trusted` or `hops`".to_owned()),
        };
        let usual = Grouping::default();
        let v4 = keys.client.ipv4_prefix.unwrap_or(usual.v4_prefix());
        let v6 = keys.client.ipv6_prefix.unwrap_or(usual.v6_prefix());
        let body = match keys.answer.body {
            BodyKeys::Name(name) => name.parse().map_err(said)?,
            BodyKeys::Template { content_type, text } => {
                RefusalBody::Custom(Template::new(&content_type, &text).map_err(said)?)
            }
        };
        let jitter = Duration::from_secs(keys.answer.retry_jitter_seconds);
        let answer = Answer::new()
            .with_status(keys.answer.status)
            .map_err(said)?
            .with_body(body)
            .with_dialect(keys.answer.headers)
            .with_headers_on_success(keys.answer.headers_on_success)
            .with_retry_after(RetryAfter { form: keys.answer.retry_after, jitter });
        let on_full = match keys.limiter.on_full {
            FullTable::Evict => OnFull::EvictNearestIdle,
            FullTable::Refuse => OnFull::RefuseNew,
            FullTable::Admit => OnFull::AdmitUntracked,
        };
        let config = Self::new()
            .client(ClientAddress::new(keys.client.from, trusted).map_err(said)?)
            .grouping(Grouping::new(v4, v6).map_err(said)?)
            .answer(answer)
            .capacity(keys.limiter.capacity.unwrap_or(Self::DEFAULT_CAPACITY))
            .on_full(on_full)
            .show_keys(keys.limiter.show_keys)
            .ignore_path_case(keys.limiter.path_case == PathCase::Any);
        let shared = keys.limiter.shared.map(SharedAt::try_from).transpose()?;
        let config = Self { shared, ..config };
        let config = keys.policies.into_iter().fold(config, Self::policy);
        config.validate().map_err(said)?;
        Ok(config)
    }
}

fn said(error: impl fmt::Display) -> String {
    error.to_string()
}
