//! The address of the client behind proxies, and which proxies to believe about it.

use core::fmt;
use core::net::IpAddr;
use core::num::NonZeroU8;
use core::str::FromStr;

use http::header::HeaderName;
use ipnet::IpNet;

use super::forwarded::{self, Hop};
use crate::request::{FieldLines, Fields};

/// Where the client's address is read. One place at a time: two that disagree would let the client choose.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AddressSource {
    /// The connection.
    #[default]
    Peer,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
    /// A field that a proxy overwrites with one address, such as `X-Real-IP` or `CF-Connecting-IP`.
    Header(HeaderName),
}

impl fmt::Display for AddressSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer => f.write_str("peer"),
            Self::XForwardedFor => f.write_str("x-forwarded-for"),
            Self::Forwarded => f.write_str("forwarded"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

/// `peer`, `x-forwarded-for`, `forwarded` or `header:NAME`.
impl FromStr for AddressSource {
    type Err = ClientAddressError;

    fn from_str(text: &str) -> Result<Self, ClientAddressError> {
        let text = text.trim();
        let is = |name: &str| text.eq_ignore_ascii_case(name);
        match text.split_once(':') {
            _ if is("peer") => Some(Self::Peer),
            _ if is("x-forwarded-for") => Some(Self::XForwardedFor),
            _ if is("forwarded") => Some(Self::Forwarded),
            Some(("header", name)) => name.trim().parse().ok().map(Self::Header),
            _ => None,
        }
        .ok_or_else(|| ClientAddressError::AddressSource { given: text.to_owned() })
    }
}

/// Which proxies are believed about the addresses of others.
///
/// Displays as it is read: `nobody`, `hops:2`, or networks with commas between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedProxies(Trust);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Trust {
    #[default]
    Nobody,
    Networks(Vec<IpNet>),
    Hops(NonZeroU8),
}

impl TrustedProxies {
    /// No proxy; the default.
    #[must_use]
    pub fn nobody() -> Self {
        Self::default()
    }

    /// Proxies in these networks. IPv4 inside IPv6 is IPv4, here and in the addresses.
    ///
    /// # Errors
    ///
    /// If one of them is everybody (`0.0.0.0/0`, `::/0`): then every client could say who it is. Where the addresses of
    /// the proxies are not known but their number is, [`hops`](Self::hops) is what is meant.
    pub fn networks(networks: impl IntoIterator<Item = IpNet>) -> Result<Self, ClientAddressError> {
        let networks: Vec<IpNet> = networks.into_iter().map(canonical).collect();
        match networks.iter().find(|network| network.prefix_len() == 0) {
            Some(&network) => Err(ClientAddressError::Everybody { network }),
            None if networks.is_empty() => Ok(Self::nobody()),
            None => Ok(Self(Trust::Networks(networks))),
        }
    }

    /// A number of our own proxies, one behind the other, each of which appends its peer on the right.
    ///
    /// Only for servers that cannot be reached except through all of them: a client that can reach the server otherwise can choose
    /// its address.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn hops(hops: u8) -> Result<Self, ClientAddressError> {
        let hops = NonZeroU8::new(hops).ok_or_else(|| ClientAddressError::Hops { given: hops.to_string() })?;
        Ok(Self(Trust::Hops(hops)))
    }

    /// Whether `peer`, at the other end of a connection, is believed. With a number of hops every peer is.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        match &self.0 {
            Trust::Nobody => false,
            Trust::Networks(networks) => is_in(networks, peer.to_canonical()),
            Trust::Hops(_) => true,
        }
    }

    /// The first of `hops` that is not ours.
    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Hop>) -> IpAddr {
        let mut client = peer;
        match &self.0 {
            Trust::Nobody => {}
            Trust::Networks(networks) => {
                let mut hops = hops;
                while is_in(networks, client) {
                    let Some(Hop::Address(address)) = hops.next() else { break };
                    client = address.to_canonical();
                }
            }
            Trust::Hops(count) => {
                for hop in hops.take(count.get().into()) {
                    // A proxy of ours that does not tell, as over a Unix socket, is one of them all the same.
                    if let Hop::Address(address) = hop {
                        client = address.to_canonical();
                    }
                }
            }
        }
        client
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Trust::Nobody => f.write_str("nobody"),
            Trust::Hops(hops) => write!(f, "hops:{hops}"),
            Trust::Networks(networks) => networks
                .iter()
                .enumerate()
                .try_for_each(|(i, network)| write!(f, "{}{network}", if i == 0 { "" } else { ", " })),
        }
    }
}

/// `nobody`, `hops:N`, or addresses and networks such as `10.0.0.0/8` with commas or blanks between them.
impl FromStr for TrustedProxies {
    type Err = ClientAddressError;

    fn from_str(text: &str) -> Result<Self, ClientAddressError> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("nobody") {
            return Ok(Self::nobody());
        }
        if let Some(("hops", count)) = text.split_once(':') {
            let given = count.trim();
            let hops = given.parse().map_err(|_| ClientAddressError::Hops { given: given.to_owned() })?;
            return Self::hops(hops);
        }
        let parts = text.split([',', ' ', '\t']).filter(|part| !part.is_empty());
        Self::networks(parts.map(network).collect::<Result<Vec<_>, _>>()?)
    }
}

/// Who the client of a request is.
///
/// By default the peer, whatever the headers say. Behind proxies, a [`AddressSource`] and the [`TrustedProxies`] say more: the
/// list is walked from the right, from the peer on, while the address is one of ours, and **the first that is not ours
/// is the client**. What stands on its left was written by strangers and is not looked at.
///
/// - The peer is not ours: it is the client, and no header is read.
/// - A hop that is not an address (`unknown`, a hidden name, garbage, nothing): the walk ends, and the client is the
///   last address before it, a proxy of ours. Such clients share its bucket; a proxy that hides addresses does that.
/// - All are ours: the leftmost, which is where the request came from.
/// - A number of hops: the peer is a proxy, and the address that many places from the right is the client. Where there
///   are fewer, the leftmost is: proxies of ours wrote all of them, and the request came in at one further inside. Where
///   that place holds no address, the client is the last address on its right, and without one the peer.
/// - [`AddressSource::Header`]: from a trusted peer, if there is one such line with one address; otherwise the peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientAddress {
    source: AddressSource,
    trusted: TrustedProxies,
}

impl ClientAddress {
    /// Reads `source`, if it comes from `trusted`.
    ///
    /// # Errors
    ///
    /// If a header is to be read and no proxy is trusted: all clients of a proxy would silently share a bucket.
    pub fn new(source: AddressSource, trusted: TrustedProxies) -> Result<Self, ClientAddressError> {
        if source != AddressSource::Peer && trusted == TrustedProxies::nobody() {
            return Err(ClientAddressError::NobodyTrusted { source });
        }
        Ok(Self { source, trusted })
    }

    /// Where the address is read.
    #[must_use]
    pub fn source(&self) -> &AddressSource {
        &self.source
    }

    /// Who is believed about it.
    #[must_use]
    pub fn trusted(&self) -> &TrustedProxies {
        &self.trusted
    }

    /// The address of the client; IPv4 inside IPv6 (`::ffff:192.0.2.1`) as IPv4.
    #[inline]
    #[must_use]
    pub fn client_ip(&self, peer: IpAddr, fields: &dyn Fields) -> IpAddr {
        let peer = peer.to_canonical();
        if self.source == AddressSource::Peer { peer } else { self.beyond(peer, fields) }
    }

    /// The address of the client of a peer that may be a proxy.
    fn beyond(&self, peer: IpAddr, fields: &dyn Fields) -> IpAddr {
        match &self.source {
            AddressSource::Peer => peer,
            AddressSource::XForwardedFor => self.trusted.walk(peer, forwarded::x_forwarded_for(fields)),
            AddressSource::Forwarded => self.trusted.walk(peer, forwarded::forwarded(fields)),
            AddressSource::Header(name) if self.trusted.trusts(peer) => {
                let only = FieldLines::of(fields, name).only();
                only.and_then(forwarded::address).map_or(peer, |ip| ip.to_canonical())
            }
            AddressSource::Header(_) => peer,
        }
    }
}

fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// IPv4 inside IPv6 as IPv4, and no bits beyond the prefix.
pub(crate) fn canonical(network: IpNet) -> IpNet {
    let v4 = |v6: ipnet::Ipv6Net| {
        let prefix = v6.prefix_len().checked_sub(96)?;
        ipnet::Ipv4Net::new(v6.addr().to_ipv4_mapped()?, prefix).ok()
    };
    match network {
        IpNet::V6(v6) => v4(v6).map_or(network, IpNet::V4),
        IpNet::V4(_) => network,
    }
    .trunc()
}

fn network(text: &str) -> Result<IpNet, ClientAddressError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    text.parse().map_err(|_| {
        let given = text.to_owned();
        match text.split_once('/').map(|(address, prefix)| (address.parse::<IpAddr>(), prefix.parse::<u64>())) {
            Some((Ok(IpAddr::V4(_)), Ok(33..))) => ClientAddressError::PrefixTooLong { given, max: 32 },
            Some((Ok(IpAddr::V6(_)), Ok(129..))) => ClientAddressError::PrefixTooLong { given, max: 128 },
            _ => ClientAddressError::Network { given },
        }
    })
}

/// A setting about clients' addresses that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAddressError {
    /// No place where an address can be read.
    AddressSource {
        /// What was given.
        given: String,
    },
    /// Neither an address nor a network.
    Network {
        /// What was given.
        given: String,
    },
    /// A network whose prefix is longer than its addresses.
    PrefixTooLong {
        /// The network that was given.
        given: String,
        /// The longest prefix.
        max: u8,
    },
    /// A network of all addresses.
    Everybody {
        /// The network that was given.
        network: IpNet,
    },
    /// Not a number of proxies, or zero.
    Hops {
        /// What was given.
        given: String,
    },
    /// A header is to be read, and no proxy is trusted.
    NobodyTrusted {
        /// The source that would never be read.
        source: AddressSource,
    },
}

impl fmt::Display for ClientAddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressSource { given } => write!(
                f,
                "`{given}` is not a valid address source; expected peer, x-forwarded-for, forwarded or header:NAME"
            ),
            Self::Network { given } => {
                write!(
                    f,
                    "`{given}` is not a valid network; expected an address or a network such as 10.0.0.0/8, or hops:N"
                )
            }
            Self::PrefixTooLong { given, max } => {
                write!(f, "the prefix of `{given}` is longer than {max} bits, the length of an address")
            }
            Self::Everybody { network } => write!(
                f,
                "{network} trusts everybody, so that every client could say who it is; name the proxies, or their number as hops:N"
            ),
            Self::Hops { given } => {
                write!(f, "the number of trusted hops must be from 1 to {}, and `{given}` was given", u8::MAX)
            }
            Self::NobodyTrusted { source } => {
                write!(f, "{source} is never read without trusted proxies; name them, or their number as hops:N")
            }
        }
    }
}

impl core::error::Error for ClientAddressError {}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    fn client(source: &str, trusted: &str, peer: &str, lines: &[(&str, &str)]) -> String {
        let address = ClientAddress::new(source.parse().unwrap(), trusted.parse().unwrap()).unwrap();
        address.client_ip(peer.parse().unwrap(), &headers(lines)).to_string()
    }

    /// `192.0.2.*` are clients, `203.0.113.66` is what they pretend to be, `10.*` and `fd00::*` are proxies of ours.
    #[test]
    fn spoof_matrix() {
        const XFF: &str = "x-forwarded-for";
        const OURS: &str = "10.0.0.0/8, fd00::/8";
        for (case, source, trusted, peer, lines, expected) in [
            // What everybody has without settings.
            ("default", "peer", "nobody", "192.0.2.1", &[(XFF, "203.0.113.66")][..], "192.0.2.1"),
            ("peer, though proxies are trusted", "peer", OURS, "10.0.0.1", &[(XFF, "192.0.2.1")], "10.0.0.1"),
            // By networks.
            ("forged, straight", XFF, OURS, "192.0.2.1", &[(XFF, "203.0.113.66")], "192.0.2.1"),
            ("forged as ours, straight", XFF, OURS, "192.0.2.1", &[(XFF, "203.0.113.66, 10.0.0.1")], "192.0.2.1"),
            ("one proxy", XFF, OURS, "10.0.0.1", &[(XFF, "192.0.2.1")], "192.0.2.1"),
            ("forged, one proxy", XFF, OURS, "10.0.0.1", &[(XFF, "203.0.113.66, 192.0.2.1")], "192.0.2.1"),
            (
                "forged as ours, one proxy",
                XFF,
                OURS,
                "10.0.0.1",
                &[(XFF, "203.0.113.66, 10.0.0.9, 192.0.2.1")],
                "192.0.2.1",
            ),
            ("forged, two proxies", XFF, OURS, "10.0.0.1", &[(XFF, "203.0.113.66, 192.0.2.1, 10.0.0.2")], "192.0.2.1"),
            (
                "forged in a line of its own",
                XFF,
                OURS,
                "10.0.0.1",
                &[(XFF, "203.0.113.66"), (XFF, "192.0.2.1")],
                "192.0.2.1",
            ),
            (
                "proxies in lines of their own",
                XFF,
                OURS,
                "10.0.0.1",
                &[(XFF, "203.0.113.66, 192.0.2.1"), (XFF, "10.0.0.2")],
                "192.0.2.1",
            ),
            ("all ours", XFF, OURS, "10.0.0.1", &[(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
            ("no header", XFF, OURS, "10.0.0.1", &[], "10.0.0.1"),
            ("empty header", XFF, OURS, "10.0.0.1", &[(XFF, "")], "10.0.0.1"),
            ("upper case name", "X-FORWARDED-FOR", OURS, "10.0.0.1", &[("X-Forwarded-For", "192.0.2.1")], "192.0.2.1"),
            ("with a port", XFF, OURS, "10.0.0.1", &[(XFF, "203.0.113.66:1, 192.0.2.1:4711")], "192.0.2.1"),
            ("garbage by the client", XFF, OURS, "10.0.0.1", &[(XFF, "\u{7c}\";'<, 192.0.2.1")], "192.0.2.1"),
            ("garbage by a proxy", XFF, OURS, "10.0.0.1", &[(XFF, "203.0.113.66, unknown")], "10.0.0.1"),
            (
                "garbage by a further proxy",
                XFF,
                OURS,
                "10.0.0.1",
                &[(XFF, "203.0.113.66, unix:, 10.0.0.2")],
                "10.0.0.2",
            ),
            ("nothing by a proxy", XFF, OURS, "10.0.0.1", &[(XFF, "203.0.113.66, ")], "10.0.0.1"),
            (
                "both headers",
                XFF,
                OURS,
                "10.0.0.1",
                &[("forwarded", "for=203.0.113.66"), (XFF, "192.0.2.1")],
                "192.0.2.1",
            ),
            ("the wrong header", XFF, OURS, "10.0.0.1", &[("forwarded", "for=203.0.113.66")], "10.0.0.1"),
            // Addresses.
            ("IPv6", XFF, OURS, "fd00::1", &[(XFF, "203.0.113.66, 2001:DB8::1, FD00::2")], "2001:db8::1"),
            ("IPv6 with a port", XFF, OURS, "fd00::1", &[(XFF, "[2001:db8::1]:4711")], "2001:db8::1"),
            ("mapped peer, ours", XFF, OURS, "::ffff:10.0.0.1", &[(XFF, "192.0.2.1")], "192.0.2.1"),
            ("mapped peer, not ours", XFF, OURS, "::ffff:192.0.2.1", &[(XFF, "203.0.113.66")], "192.0.2.1"),
            ("mapped hops", XFF, OURS, "10.0.0.1", &[(XFF, "::ffff:192.0.2.1, ::ffff:a00:2")], "192.0.2.1"),
            ("mapped network", XFF, "::ffff:10.0.0.0/104", "10.0.0.1", &[(XFF, "192.0.2.1")], "192.0.2.1"),
            // A translator does not carry our own addresses, so whoever shows one through it is a stranger.
            ("NAT64 is not ours", XFF, OURS, "64:ff9b::10.0.0.1", &[(XFF, "203.0.113.66")], "64:ff9b::a00:1"),
            // By number.
            ("one hop", XFF, "hops:1", "10.0.0.1", &[(XFF, "203.0.113.66, 192.0.2.1")], "192.0.2.1"),
            ("two hops", XFF, "hops:2", "10.0.0.1", &[(XFF, "203.0.113.66, 192.0.2.1, 10.0.0.2")], "192.0.2.1"),
            (
                "two hops in two lines",
                XFF,
                "hops:2",
                "10.0.0.1",
                &[(XFF, "203.0.113.66, 192.0.2.1"), (XFF, "10.0.0.2")],
                "192.0.2.1",
            ),
            ("fewer than two hops", XFF, "hops:2", "10.0.0.1", &[(XFF, "192.0.2.1")], "192.0.2.1"),
            ("hops without a header", XFF, "hops:2", "10.0.0.1", &[], "10.0.0.1"),
            (
                "hops, one does not tell",
                XFF,
                "hops:2",
                "10.0.0.1",
                &[(XFF, "203.0.113.66, 192.0.2.1, unix:")],
                "192.0.2.1",
            ),
            (
                "hops, the last does not tell",
                XFF,
                "hops:2",
                "10.0.0.1",
                &[(XFF, "203.0.113.66, unknown, 10.0.0.2")],
                "10.0.0.2",
            ),
            ("hops and empty elements", XFF, "hops:1", "10.0.0.1", &[(XFF, "203.0.113.66, ")], "10.0.0.1"),
            // Forwarded.
            (
                "Forwarded",
                "forwarded",
                OURS,
                "10.0.0.1",
                &[("forwarded", "for=203.0.113.66, for=192.0.2.1;by=10.0.0.2, For=10.0.0.2")],
                "192.0.2.1",
            ),
            (
                "Forwarded, open quote",
                "forwarded",
                OURS,
                "10.0.0.1",
                &[("forwarded", "for=203.0.113.66;x=\", for=\"192.0.2.1:80\"")],
                "192.0.2.1",
            ),
            (
                "Forwarded, hidden",
                "forwarded",
                OURS,
                "10.0.0.1",
                &[("forwarded", "for=203.0.113.66, for=_hidden")],
                "10.0.0.1",
            ),
            ("Forwarded, straight", "forwarded", OURS, "192.0.2.1", &[("forwarded", "for=203.0.113.66")], "192.0.2.1"),
            (
                "Forwarded by hops",
                "forwarded",
                "hops:2",
                "10.0.0.1",
                &[("forwarded", "for=203.0.113.66, for=192.0.2.1, for=10.0.0.2")],
                "192.0.2.1",
            ),
            // One address in a header of its own.
            ("X-Real-IP", "header:X-Real-IP", OURS, "10.0.0.1", &[("x-real-ip", "192.0.2.1")], "192.0.2.1"),
            (
                "X-Real-IP, straight",
                "header:x-real-ip",
                OURS,
                "192.0.2.1",
                &[("x-real-ip", "203.0.113.66")],
                "192.0.2.1",
            ),
            (
                "X-Real-IP twice",
                "header:x-real-ip",
                OURS,
                "10.0.0.1",
                &[("x-real-ip", "203.0.113.66"), ("x-real-ip", "192.0.2.1")],
                "10.0.0.1",
            ),
            (
                "X-Real-IP as a list",
                "header:x-real-ip",
                OURS,
                "10.0.0.1",
                &[("x-real-ip", "203.0.113.66, 192.0.2.1")],
                "10.0.0.1",
            ),
            (
                "X-Real-IP by hops",
                "header:x-real-ip",
                "hops:1",
                "10.0.0.1",
                &[("x-real-ip", " ::ffff:192.0.2.1")],
                "192.0.2.1",
            ),
        ] {
            assert_eq!(client(source, trusted, peer, lines), expected, "{case}");
        }
    }

    #[test]
    fn ten_thousand_forged_elements() {
        let forged = "203.0.113.66, ".repeat(10_000);
        let line = format!("{forged}192.0.2.1, 10.0.0.2");
        assert_eq!(client("x-forwarded-for", "10.0.0.0/8", "10.0.0.1", &[("x-forwarded-for", &line)]), "192.0.2.1");
        assert_eq!(client("x-forwarded-for", "hops:2", "10.0.0.1", &[("x-forwarded-for", &line)]), "192.0.2.1");
        let ours = format!("{}10.0.0.2", "10.0.0.3, ".repeat(10_000));
        assert_eq!(client("x-forwarded-for", "10.0.0.0/8", "10.0.0.1", &[("x-forwarded-for", &ours)]), "10.0.0.3");
    }

    #[test]
    fn settings_are_read_as_they_display() {
        for (text, shown) in [
            ("nobody", "nobody"),
            (" ", "nobody"),
            ("hops: 2", "hops:2"),
            ("10.1.2.3/8 ::1,192.0.2.1", "10.0.0.0/8, ::1/128, 192.0.2.1/32"),
            ("::ffff:10.0.0.0/104, ::ffff:10.0.0.1", "10.0.0.0/8, 10.0.0.1/32"),
        ] {
            let trusted: TrustedProxies = text.parse().unwrap();
            assert_eq!(trusted.to_string(), shown);
            assert_eq!(shown.parse(), Ok(trusted));
        }
        for source in ["peer", "x-forwarded-for", "forwarded", "header:cf-connecting-ip"] {
            assert_eq!(source.parse::<AddressSource>().unwrap().to_string(), source);
        }
    }

    #[test]
    fn bad_settings_are_named() {
        for (text, message) in [
            ("10.0.0.0/33", "the prefix of `10.0.0.0/33` is longer than 32 bits, the length of an address"),
            ("fd00::/129", "the prefix of `fd00::/129` is longer than 128 bits, the length of an address"),
            (
                "10.0.0",
                "`10.0.0` is not a valid network; expected an address or a network such as 10.0.0.0/8, or hops:N",
            ),
            (
                "10.0.0.0/x",
                "`10.0.0.0/x` is not a valid network; expected an address or a network such as 10.0.0.0/8, or hops:N",
            ),
            ("hops:0", "the number of trusted hops must be from 1 to 255, and `0` was given"),
            ("hops:256", "the number of trusted hops must be from 1 to 255, and `256` was given"),
        ] {
            assert_eq!(text.parse::<TrustedProxies>().unwrap_err().to_string(), message);
        }
        for everybody in ["0.0.0.0/0", "::/0", "::ffff:0:0/96", "10.0.0.0/8, 1.2.3.4/0"] {
            let error = everybody.parse::<TrustedProxies>().unwrap_err();
            assert!(matches!(error, ClientAddressError::Everybody { .. }), "{everybody}");
        }
        for source in ["", "x-real-ip", "header:", "header:a b", "x-forwarded-fro"] {
            assert!(
                matches!(source.parse::<AddressSource>(), Err(ClientAddressError::AddressSource { .. })),
                "{source}"
            );
        }
        assert_eq!(
            ClientAddress::new(AddressSource::Forwarded, TrustedProxies::nobody()).unwrap_err().to_string(),
            "forwarded is never read without trusted proxies; name them, or their number as hops:N"
        );
    }

    #[test]
    #[ignore = "prints times: cargo test --release -p tollgate-http --lib cost_of_client_ip -- --ignored --nocapture"]
    fn cost_of_client_ip() {
        use tollgate::clock::Clock;
        const COUNT: u32 = 1_000_000;
        let all = headers(&[
            ("host", "api.example"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
            ("accept", "*/*"),
            ("accept-encoding", "gzip, br"),
            ("cookie", "session=0123456789abcdef"),
            ("forwarded", "for=192.0.2.1, for=\"[fd00::2]:4711\""),
            ("x-forwarded-for", "203.0.113.66, 192.0.2.1, 10.0.0.2"),
            ("x-real-ip", "192.0.2.1"),
        ]);
        let clock = tollgate::clock::ExactClock::from_os();
        for source in ["peer", "x-forwarded-for", "forwarded", "header:x-real-ip"] {
            let address = ClientAddress::new(source.parse().unwrap(), "10.0.0.0/8, fd00::/8".parse().unwrap()).unwrap();
            let start = clock.now();
            for _ in 0..COUNT {
                core::hint::black_box(address.client_ip(core::hint::black_box([10, 0, 0, 1].into()), &all));
            }
            let elapsed = clock.now().saturating_duration_since(start);
            println!("{source}: {} ns", elapsed.as_nanos() / u128::from(COUNT));
        }
    }
}
