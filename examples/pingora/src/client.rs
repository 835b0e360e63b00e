//! Who is asking: the peer's address, as far as one client is told from the next by it.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address as it is, whichever way it is written; of an IPv6 address the first 64 bits, since whoever has one
/// address of a /64 has them all.
pub fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_one_bucket_holds() {
        for (one, other, same) in [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.7", "::ffff:192.0.2.7", true),
            // Masked as IPv6 addresses, all of IPv4 would be one client.
            ("::ffff:192.0.2.7", "::ffff:192.0.2.8", false),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ] {
            let [key_of_one, key_of_other] = [one, other].map(|text| key(text.parse().unwrap()));
            assert_eq!(key_of_one == key_of_other, same, "{one} and {other}");
        }
    }
}
