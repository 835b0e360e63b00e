//! Which addresses count as one client.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tollgate::Key;
use tollgate::key::KeyWriter;

/// How many leading bits of an address make a client: all 32 of IPv4, 64 of IPv6 unless set.
///
/// A subscriber holds at least a /64 of IPv6, and can use a new address of it for each request.
///
/// What an address is, is decided by its bits and not by how it is written. These stand for an IPv4 address and are
/// grouped as that, because an IPv6 prefix would put the clients of a whole network, or all there are, in one group:
///
/// - mapped (`::ffff:0:0/96`): as a socket for both protocols shows IPv4;
/// - NAT64 (`64:ff9b::/96`): as a translator shows IPv4;
/// - Teredo (`2001::/32`): all clients of one server share a /64, and the last 32 bits, inverted, are the client's;
/// - 6to4 (`2002::/16`): here the other way round: who holds one IPv4 address has 65,536 of /64.
///
/// In the local-use NAT64 prefix `64:ff9b:1::/48` (RFC 8215) the operator chooses where the IPv4 address lies, so the
/// whole IPv6 address is the client there: each IPv4 address behind such a translator has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grouping {
    v4_prefix: u8,
    v6_prefix: u8,
}

impl Default for Grouping {
    fn default() -> Self {
        Self { v4_prefix: 32, v6_prefix: 64 }
    }
}

impl Grouping {
    /// Groups by the first `v4_prefix` (1 to 32) bits of IPv4 and the first `v6_prefix` (1 to 128) bits of IPv6.
    ///
    /// # Errors
    ///
    /// If a prefix is longer than the address, or zero: all the world would be one client.
    pub fn new(v4_prefix: u8, v6_prefix: u8) -> Result<Self, PrefixError> {
        for (prefix, max) in [(v4_prefix, 32), (v6_prefix, 128)] {
            if !(1..=max).contains(&prefix) {
                return Err(PrefixError { prefix, max });
            }
        }
        Ok(Self { v4_prefix, v6_prefix })
    }

    /// Leading bits of IPv4 that make a client.
    #[must_use]
    pub fn v4_prefix(&self) -> u8 {
        self.v4_prefix
    }

    /// Leading bits of IPv6 that make a client.
    #[must_use]
    pub fn v6_prefix(&self) -> u8 {
        self.v6_prefix
    }

    /// The group of an address.
    #[must_use]
    #[inline]
    pub fn group(&self, address: IpAddr) -> Group {
        match unwrap(address) {
            IpAddr::V4(v4) => Group::v4(v4, self.v4_prefix),
            IpAddr::V6(v6) if is_local_nat64(v6) => Group::v6(v6, 128),
            IpAddr::V6(v6) => Group::v6(v6, self.v6_prefix),
        }
    }
}

/// The IPv4 address that an IPv6 address stands for, if it does.
#[inline]
fn unwrap(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => v4(g, h),
        [0x2001, 0, ..] => v4(!g, !h),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

fn is_local_nat64(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0x64, 0xff9b, 1, ..])
}

/// The addresses that count as one client. Displays as an address, or as a network where it is more than one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    network: IpAddr,
    prefix: u8,
}

impl Key for Group {
    #[inline]
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        (self.network, self.prefix).write_to(out);
    }
}

impl Group {
    #[inline]
    fn v4(address: Ipv4Addr, prefix: u8) -> Self {
        // No bits at all would be a shift by the whole width.
        let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0);
        Self { network: Ipv4Addr::from_bits(address.to_bits() & mask).into(), prefix }
    }

    fn v6(address: Ipv6Addr, prefix: u8) -> Self {
        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0);
        Self { network: Ipv6Addr::from_bits(address.to_bits() & mask).into(), prefix }
    }

    /// The first address of the group.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        self.network
    }

    /// How many leading bits its addresses share.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.network.is_ipv4() { 32 } else { 128 };
        if self.prefix == whole { self.network.fmt(f) } else { write!(f, "{}/{}", self.network, self.prefix) }
    }
}

/// A prefix that no group can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixError {
    prefix: u8,
    max: u8,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.max == 32 { "IPv4" } else { "IPv6" };
        write!(f, "{version} clients can be grouped by 1 to {} leading bits, and {} was given", self.max, self.prefix)
    }
}

impl core::error::Error for PrefixError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(grouping: Grouping, address: &str) -> String {
        grouping.group(address.parse().unwrap()).to_string()
    }

    #[test]
    fn groups() {
        let default = Grouping::default();
        let wide = Grouping::new(24, 56).unwrap();
        for (address, narrow_group, wide_group) in [
            ("192.0.2.77", "192.0.2.77", "192.0.2.0/24"),
            ("0.0.0.0", "0.0.0.0", "0.0.0.0/24"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.0/24"),
            // Rotation inside a /64 is one client; the next /64 is another, the next /56 another still.
            ("2001:db8:1:2ff::1", "2001:db8:1:2ff::/64", "2001:db8:1:200::/56"),
            ("2001:db8:1:2ff:ffff:ffff:ffff:ffff", "2001:db8:1:2ff::/64", "2001:db8:1:200::/56"),
            ("2001:db8:1:200::1", "2001:db8:1:200::/64", "2001:db8:1:200::/56"),
            ("2001:db8:1:300::1", "2001:db8:1:300::/64", "2001:db8:1:300::/56"),
            ("::1", "::/64", "::/56"),
            ("fe80::1", "fe80::/64", "fe80::/56"),
            // Mapped, however it is written, and what is only near it.
            ("::ffff:192.0.2.77", "192.0.2.77", "192.0.2.0/24"),
            ("::ffff:c000:24d", "192.0.2.77", "192.0.2.0/24"),
            ("::fffe:192.0.2.77", "::/64", "::/56"),
            ("::192.0.2.77", "::/64", "::/56"),
            ("0:0:0:1:0:ffff:c000:24d", "0:0:0:1::/64", "::/56"),
            // NAT64, well known and local.
            ("64:ff9b::192.0.2.77", "192.0.2.77", "192.0.2.0/24"),
            ("64:ff9b::1:c000:24d", "64:ff9b::/64", "64:ff9b::/56"),
            ("64:ff9b:1::c000:24d", "64:ff9b:1::c000:24d", "64:ff9b:1::c000:24d"),
            ("64:ff9b:1:c000:2:4d00::", "64:ff9b:1:c000:2:4d00::", "64:ff9b:1:c000:2:4d00::"),
            ("64:ff9b:2::1", "64:ff9b:2::/64", "64:ff9b:2::/56"),
            // RFC 4380's example of Teredo: the client 192.0.2.45 behind its NAT.
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45", "192.0.2.0/24"),
            ("2001:1::1", "2001:1::/64", "2001:1::/56"),
            ("2002:c000:24d:1::1", "192.0.2.77", "192.0.2.0/24"),
            ("2002:c000:24d:2::1", "192.0.2.77", "192.0.2.0/24"),
        ] {
            assert_eq!(group(default, address), narrow_group, "{address}");
            assert_eq!(group(wide, address), wide_group, "{address} by /24 and /56");
        }
    }

    #[test]
    fn ends_of_the_prefixes() {
        assert_eq!(group(Grouping::new(1, 1).unwrap(), "255.255.255.255"), "128.0.0.0/1");
        assert_eq!(group(Grouping::new(1, 1).unwrap(), "ffff::1"), "8000::/1");
        assert_eq!(group(Grouping::new(32, 128).unwrap(), "2001:db8::1"), "2001:db8::1");
        for (v4, v6, message) in [
            (0, 64, "IPv4 clients can be grouped by 1 to 32 leading bits, and 0 was given"),
            (33, 64, "IPv4 clients can be grouped by 1 to 32 leading bits, and 33 was given"),
            (32, 0, "IPv6 clients can be grouped by 1 to 128 leading bits, and 0 was given"),
            (32, 129, "IPv6 clients can be grouped by 1 to 128 leading bits, and 129 was given"),
        ] {
            assert_eq!(Grouping::new(v4, v6).unwrap_err().to_string(), message);
        }
    }
}
