//! What the answers are about.

use metrics_exporter_prometheus::PrometheusHandle;
use tollgate_http::RateLimiter;

use crate::gateway::view::Viewer;

/// Everything that the admin listener can see.
pub(crate) struct Subject {
    pub(crate) limiter: RateLimiter,
    pub(crate) gateway: Viewer,
    pub(crate) recorder: PrometheusHandle,
    /// Whether only this machine can reach the listener.
    pub(crate) is_local: bool,
}
