#![cfg_attr(all(feature = "axum", feature = "tower"), doc = include_str!("../README.md"))]
#![cfg_attr(not(all(feature = "axum", feature = "tower")), doc = "Rate limits for HTTP; see the README of this crate.")]
#![forbid(unsafe_code)]

// The rooms, from top to bottom; each imports from those below it alone: layer, service, limiter, decision, config, stats,
// answer, identity, request, error, proxy_protocol, per_thread. A request passes layer, service, limiter and decision, and there matching,
// decide and settle, in this order; `decision/mod.rs` is the file to open first.
pub mod answer;
mod config;
mod decision;
pub mod error;
mod identity;
#[cfg(feature = "tower")]
mod layer;
pub mod limiter;
mod per_thread;
#[doc(hidden)]
pub mod proxy_protocol;
pub mod request;
#[cfg(feature = "tower")]
pub mod service;
pub mod stats;

#[doc(hidden)]
pub use identity::forwarded;

pub use answer::Answer;
pub use config::{
    Charge, Exemption, LimiterConfig, Policy, Precedence, SharedAt, Statuses, TableMismatch, TierMap, TierMapBuilder,
    TierRowError, Tiers, Unanswered,
};
pub use decision::admission::Admission;
pub use decision::refusal::Refusal;
pub use error::ConfigError;
pub use identity::{KeyPart, KeySlot, KeySpec, OnMissingKey};
#[cfg(feature = "tower")]
pub use layer::RateLimitLayer;
pub use limiter::{Decision, RateLimiter};
pub use request::{AuthenticatedUser, PeerAddr, RequestInfo, Route};
#[cfg(feature = "tower")]
pub use service::RateLimit;
/// What the feature `redis` adds: `tollgate-redis`, whose words policies on a fleet are set by.
#[cfg(feature = "redis")]
pub use tollgate_redis as fleet;

/// Who the client is: its address behind proxies, and which addresses count as one client.
pub mod client {
    pub use crate::identity::{
        AddressSource, ClientAddress, ClientAddressError, Group, Grouping, PrefixError, TrustedProxies,
    };
}

/// The Rust of the guide, for `cargo test --doc` alone.
#[cfg(all(doctest, feature = "tower"))]
#[doc = include_str!("../../../docs/http.md")]
struct Guide;
