#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

// A request passes through layer, service, limiter, rules, decide, in this order; `decide.rs` is the file to open first.
mod address;
mod answer;
mod body;
mod charge;
mod client;
mod counts;
mod decide;
mod dialect;
mod error;
mod exempt;
pub mod forwarded;
mod gate;
mod in_flight;
mod key;
mod label;
mod layer;
mod limiter;
mod line;
mod looks_at;
mod met;
mod name;
mod path;
mod peer;
mod policy;
pub mod proxy_protocol;
mod request;
mod route;
mod rules;
mod service;
mod settings;
mod simulator;
mod standing;
mod top;
mod unknown;
mod view;
mod who;

pub use address::{Group, Grouping, PrefixError};
pub use answer::{Answer, AnswerError, Body, RetryAfter, RetryForm, Template};
pub use body::LimitedBody;
pub use charge::{Charge, Statuses, Unanswered};
pub use client::{ClientAddress, ClientAddressError, Source, TrustedProxies};
pub use counts::PolicyCounts;
pub use dialect::{Dialect, Reset};
pub use error::PolicyError;
pub use exempt::Exemption;
pub use key::{KeySpec, OnMissingKey, Part};
pub use label::{Label, Labeller};
pub use layer::RateLimitLayer;
pub use limiter::{Admission, Keys, Outcome, RateLimiter, Refusal, Reloaded};
pub use looks_at::LooksAt;
pub use met::Met;
pub use peer::{PeerAddr, User};
pub use policy::{Policy, Reach, Tiers};
pub use request::RequestInfo;
pub use route::{PathPattern, Route};
pub use service::{RateLimit, ResponseFuture};
pub use settings::Settings;
pub use simulator::{Matched, Simulator};
pub use standing::{Standing, Unit};
pub use tollgate::quota::IntoQuotas;
pub use top::{TopRefused, TopRow};
pub use unknown::UnknownName;
pub use view::{PolicyView, RefusedKey};

/// The Rust of the guide, for `cargo test --doc` alone.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/http.md")]
struct Guide;
