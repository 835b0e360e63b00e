//! The tower layer.

use tollgate::clock::{Clock, LimiterClock};
use tollgate::quota::IntoQuotas;
use tower_layer::Layer;

use crate::config::LimiterConfig;
use crate::config::Policy;
use crate::error::ConfigError;
use crate::limiter::RateLimiter;
use crate::service::RateLimit;

/// Limits the requests of a service; for axum, tonic, hyper, and whatever else takes a [`Layer`].
///
/// Clones, and the services that they make, share one limiter.
///
/// ```
/// use tollgate_http::RateLimitLayer;
///
/// let layer = RateLimitLayer::new("100/minute")?; // for each client address
/// # Ok::<(), tollgate_http::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct RateLimitLayer<C = LimiterClock> {
    limiter: RateLimiter<C>,
}

impl RateLimitLayer {
    /// One policy, `default`, for every request, by client address: `"100/minute"`, `"200 per day, 50 per hour"`.
    ///
    /// # Errors
    ///
    /// If `limits` is not a valid rate string.
    pub fn new(limits: impl IntoQuotas) -> Result<Self, ConfigError> {
        Self::with(LimiterConfig::new().policy(Policy::new("default", limits)?))
    }

    /// A layer with this configuration.
    ///
    /// # Errors
    ///
    /// If the configuration cannot be used; see [`ConfigError`].
    pub fn with(config: LimiterConfig) -> Result<Self, ConfigError> {
        RateLimiter::new(config).map(Self::from)
    }
}

impl<C> RateLimitLayer<C> {
    /// The limiter, for its counts, or to change its rules.
    #[must_use]
    pub const fn limiter(&self) -> &RateLimiter<C> {
        &self.limiter
    }
}

impl<C> From<RateLimiter<C>> for RateLimitLayer<C> {
    fn from(limiter: RateLimiter<C>) -> Self {
        Self { limiter }
    }
}

impl<C> Clone for RateLimitLayer<C> {
    fn clone(&self) -> Self {
        Self { limiter: self.limiter.clone() }
    }
}

impl<S, C: Clock> Layer<S> for RateLimitLayer<C> {
    type Service = RateLimit<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.limiter.clone())
    }
}

impl<C> RateLimiter<C> {
    /// A layer of this limiter.
    #[must_use]
    pub fn layer(&self) -> RateLimitLayer<C> {
        RateLimitLayer::from(self.clone())
    }
}
