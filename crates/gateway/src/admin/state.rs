//! What the answers are about.

use std::cell::RefCell;

use metrics_exporter_prometheus::PrometheusHandle;
use tollgate_http::RateLimiter;

use super::history::History;
use super::ledger::Ledger;
use crate::proxy::view::Viewer;

/// Everything that the admin listener can see.
pub(crate) struct Subject {
    pub(crate) limiter: RateLimiter,
    pub(crate) gateway: Viewer,
    pub(crate) recorder: PrometheusHandle,
    /// Whether only this machine can reach the listener.
    pub(crate) is_local: bool,
}

/// What requests are answered from; all of it on one thread.
pub(crate) struct AdminState {
    pub(crate) subject: Subject,
    pub(crate) history: RefCell<History>,
    /// What Prometheus was shown.
    pub(crate) ledger: RefCell<Ledger>,
}
