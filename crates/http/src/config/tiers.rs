//! Limits that are chosen at request time: free and premium, say.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use tollgate::Quota;
use tollgate::quota::IntoQuotas;

use super::tier_map::TierMap;
use crate::error::ConfigError;
use crate::request::RequestInfo;

/// Limits that are chosen at request time: free and premium, say. Each tier has separate buckets.
#[derive(Debug, Clone)]
pub struct Tiers {
    pub(crate) by: TierBy,
    pub(crate) tiers: Vec<(String, Vec<Quota>)>,
}

/// What chooses the tier.
#[derive(Clone)]
pub(crate) enum TierBy {
    Header(HeaderName),
    Function(Arc<TierFunction>),
    Map(Arc<TierMap>),
}

type TierFunction = dyn Fn(&RequestInfo<'_>) -> Option<String> + Send + Sync;

impl TierBy {
    /// Which of `tiers` `request` is of.
    pub(crate) fn find(&self, request: &RequestInfo<'_>, tiers: &[(String, Vec<Quota>)]) -> Option<usize> {
        let named = |wanted: &str| tiers.iter().position(|(name, _)| name == wanted);
        match self {
            Self::Header(name) => named(request.header(name)?),
            Self::Function(tier) => named(&tier(request)?),
            Self::Map(map) => map.tier(request),
        }
    }
}

impl fmt::Debug for TierBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Function(_) => f.write_str("a function"),
            Self::Map(map) => map.fmt(f),
        }
    }
}

impl Tiers {
    /// The tier is the value of a header field. Only for a field that the client cannot set: one that an authenticating
    /// proxy in front writes.
    #[must_use]
    pub const fn by_header(name: HeaderName) -> Self {
        Self { by: TierBy::Header(name), tiers: Vec::new() }
    }

    /// The tier is what a function says: from a verified claim, an extension, a table of users.
    #[must_use]
    pub fn by(tier: impl Fn(&RequestInfo<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { by: TierBy::Function(Arc::new(tier)), tiers: Vec::new() }
    }

    /// The tier is that of the request's key in a table. A key that is not in it has the policy's own limits.
    #[must_use]
    pub const fn by_map(map: Arc<TierMap>) -> Self {
        Self { by: TierBy::Map(map), tiers: Vec::new() }
    }

    /// One more tier. A request of no tier, or of one that is not known, has the policy's own limits.
    ///
    /// # Errors
    ///
    /// If `limits` is not a valid rate string.
    pub fn tier(mut self, name: &str, limits: impl IntoQuotas) -> Result<Self, ConfigError> {
        self.tiers.push((name.to_owned(), limits.into_quotas()?));
        Ok(self)
    }

    /// The same with every quota changed by `change`.
    pub(super) fn map(mut self, change: impl Fn(Quota) -> Quota) -> Self {
        for quota in self.tiers.iter_mut().flat_map(|(_, quotas)| quotas) {
            *quota = change(*quota);
        }
        self
    }
}
