//! A key as people may see it: enough to tell keys apart, too little to give one away.

use core::fmt;
use core::hash::BuildHasher;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::hash_map::RandomState;
use std::sync::Arc;

/// A key for the eyes of an operator. Made cheaply, and turned into text only when it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Label {
    /// An address in full.
    Address(IpAddr),
    /// The network an address is in.
    Network {
        /// Its first address.
        first: IpAddr,
        /// The bits that its addresses share.
        prefix: u8,
    },
    /// Any other key: where it was found, and some bits of a hash of it.
    Key {
        /// Such as `header:x-api-key`.
        part: Arc<str>,
        /// 24 bits: two of a thousand keys look the same with odds of 3 %.
        digest: u32,
    },
    /// What is not a secret, or is to be shown all the same; or several of these, joined by ` + `.
    Text(Arc<str>),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Network { first, prefix } => write!(f, "{first}/{prefix}"),
            Self::Key { part, digest } => write!(f, "{part}#{digest:06x}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Makes labels, all of one process alike.
///
/// The digest is keyed differently in each process, so that keys cannot be looked up by trying, and it is independent of
/// the hash by which the limiter knows the key, so that the limiter's slots cannot be targeted.
#[derive(Debug, Clone, Default)]
pub struct Labeller {
    digests: RandomState,
}

impl Labeller {
    /// Bits of a network's prefix: what an operator hands to one site.
    const V4_PREFIX: u8 = 24;
    const V6_PREFIX: u8 = 48;

    /// Labels of this process.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The label of an address: its network, `203.0.113.0/24` or `2001:db8:1::/48`, or all of it if it is to be `whole`.
    /// One of IPv4 that is written as IPv6 is shown as what it is.
    #[must_use]
    pub fn address(&self, address: IpAddr, whole: bool) -> Label {
        let address = address.to_canonical();
        if whole {
            return Label::Address(address);
        }
        match address {
            IpAddr::V4(v4) => {
                let first = Ipv4Addr::from_bits(v4.to_bits() & (u32::MAX << (32 - u32::from(Self::V4_PREFIX))));
                Label::Network { first: first.into(), prefix: Self::V4_PREFIX }
            }
            IpAddr::V6(v6) => {
                let first = Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - u32::from(Self::V6_PREFIX))));
                Label::Network { first: first.into(), prefix: Self::V6_PREFIX }
            }
        }
    }

    /// The label of any other key, found in `part`, such as `header:x-api-key`.
    #[must_use]
    pub fn key(&self, part: &Arc<str>, key: &[u8]) -> Label {
        // The upper 24 of 64 bits fit.
        let digest = u32::try_from(self.digests.hash_one(key) >> 40).unwrap_or_default();
        Label::Key { part: Arc::clone(part), digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shown(address: &str, whole: bool) -> String {
        let labeller = Labeller::new();
        labeller.address(address.parse().unwrap(), whole).to_string()
    }

    #[test]
    fn addresses_are_shown_as_networks() {
        for (address, network) in [
            ("203.0.113.77", "203.0.113.0/24"),
            ("::ffff:203.0.113.77", "203.0.113.0/24"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"),
        ] {
            assert_eq!(shown(address, false), network, "{address}");
        }
    }

    #[test]
    fn addresses_are_shown_whole_on_request() {
        assert_eq!(shown("::ffff:203.0.113.77", true), "203.0.113.77");
        assert_eq!(shown("2001:db8::1", true), "2001:db8::1");
    }

    #[test]
    fn keys_are_shown_as_a_digest_that_differs_between_processes() {
        let part: Arc<str> = "header:x-api-key".into();
        let (here, elsewhere) = (Labeller::new(), Labeller::new());
        let text = here.key(&part, b"secret").to_string();
        let digest = text.strip_prefix("header:x-api-key#").unwrap();
        assert!(digest.len() == 6 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
        assert_eq!(here.key(&part, b"secret"), here.clone().key(&part, b"secret"));
        // One pair may agree by chance; of eight, all agree with odds of 2^-192.
        assert!((0..8_u8).any(|key| here.key(&part, &[key]) != elsewhere.key(&part, &[key])));
    }
}
