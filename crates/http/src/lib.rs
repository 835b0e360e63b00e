#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod address;
mod client;
pub mod forwarded;
mod peer;
pub mod proxy_protocol;

pub use address::{Group, Grouping, PrefixError};
pub use client::{ClientAddress, ClientAddressError, Source, TrustedProxies};
pub use peer::PeerAddr;
