//! Who a request is from: the client's address behind proxies, and the key under which it is counted.

mod client;
pub mod forwarded;
mod grouping;
pub(crate) mod key;
pub(crate) mod key_by;
pub(crate) mod written;

pub use client::{AddressSource, ClientAddress, ClientAddressError, TrustedProxies};
pub use grouping::{Group, Grouping, PrefixError};
pub use key::{KeyPart, KeySpec, OnMissingKey};
pub use key_by::KeySlot;

pub(crate) use client::canonical;
