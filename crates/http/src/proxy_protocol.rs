//! The PROXY protocol of HAProxy, versions 1 (text) and 2 (binary): what a proxy says of a connection before its first
//! byte. Read it only from peers that [`TrustedProxies`](crate::client::TrustedProxies) trusts, and never twice.
//!
//! Strict, as the first bytes of a connection decide who it is: what is not a header is an error and not payload, and
//! it is one as soon as it can be seen. The checksum that version 2 may carry (CRC32c) is not verified, which the
//! protocol leaves to the receiver: TCP has verified the same bytes, and whoever could forge the address could forge it.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest line of version 1 with its end, by the protocol.
pub const MAX_V1: usize = 107;

/// The longest header of version 2 that is read. The protocol would allow 65,551 bytes; what proxies send beside the
/// addresses is a host name, an identifier, at most a client's certificate.
pub const MAX_V2: usize = 4096;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header; read more.
    Incomplete,
    /// A header.
    Header {
        /// Its length; the payload begins there.
        len: usize,
        /// Who connected to the proxy. `None` if the proxy speaks for itself (`LOCAL`, as health checks do) or does not
        /// say (`UNKNOWN`, a Unix socket): then the peer is the client.
        source: Option<SocketAddr>,
    },
}

/// Reads a header from the first bytes of a connection.
///
/// Needs no more than [`MAX_V2`] bytes ever. An answer other than [`Parsed::Incomplete`] stays the same whatever follows.
///
/// # Errors
///
/// If these bytes do not begin a header.
pub fn parse(bytes: &[u8]) -> Result<Parsed, Error> {
    if bytes.starts_with(SIGNATURE) {
        v2(bytes)
    } else if SIGNATURE.starts_with(bytes) {
        Ok(Parsed::Incomplete)
    } else {
        v1(bytes)
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 4711 443` and an end of line.
fn v1(bytes: &[u8]) -> Result<Parsed, Error> {
    let bytes = bytes.get(..MAX_V1).unwrap_or(bytes);
    let end = bytes.iter().position(|&byte| byte == b'\r' || byte == b'\n');
    let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let mut fields = Fields { rest: Some(line), is_whole: end.is_some() };
    let source = match v1_source(&mut fields) {
        Err(Stop::Short) if end.is_none() => None,
        Err(Stop::Short) => return Err(Error::LineEnd),
        Err(Stop::Wrong(error)) => return Err(error),
        Ok(source) => Some(source),
    };
    match (source, rest) {
        (Some(source), [b'\r', b'\n', ..]) => Ok(Parsed::Header { len: line.len() + 2, source }),
        // Something must still come, and there is no room for it.
        (_, [] | [b'\r']) if bytes.len() == MAX_V1 => Err(Error::TooLong { len: MAX_V1 + 1, max: MAX_V1 }),
        (_, [] | [b'\r']) => Ok(Parsed::Incomplete),
        _ => Err(Error::LineEnd),
    }
}

/// Why no source could be read.
enum Stop {
    /// The bytes end here, and so far they were right.
    Short,
    Wrong(Error),
}

fn v1_source(fields: &mut Fields<'_>) -> Result<Option<SocketAddr>, Stop> {
    fields.next(Error::NotProxyProtocol, |field| field == "PROXY", |field| "PROXY".starts_with(field))?;
    let is_protocol = |field: &str| ["TCP4", "TCP6", "UNKNOWN"].contains(&field);
    let may_be = |field: &str| ["TCP4", "TCP6", "UNKNOWN"].iter().any(|protocol| protocol.starts_with(field));
    let protocol = fields.next(Error::Protocol, is_protocol, may_be)?;
    let source = match protocol {
        // Whatever else the line says is to be ignored.
        "UNKNOWN" => return Ok(None),
        "TCP4" => {
            let source = fields.v4()?;
            fields.v4()?;
            IpAddr::V4(source)
        }
        _ => {
            let source = fields.v6()?;
            fields.v6()?;
            IpAddr::V6(source)
        }
    };
    let port = fields.port()?;
    fields.port()?;
    match fields.rest {
        None => Ok(Some(SocketAddr::new(source, port))),
        Some(_) => Err(Stop::Wrong(Error::LineEnd)),
    }
}

/// The fields of a line, with one blank between two.
struct Fields<'a> {
    rest: Option<&'a [u8]>,
    /// Whether the end of the line was seen; otherwise the last field may go on.
    is_whole: bool,
}

impl<'a> Fields<'a> {
    /// The next field, if it `is` what it must be; `may_become` judges one that may go on.
    fn next(
        &mut self,
        error: Error,
        is: impl Fn(&str) -> bool,
        may_become: impl Fn(&str) -> bool,
    ) -> Result<&'a str, Stop> {
        let rest = self.rest.ok_or(Stop::Short)?;
        let end = rest.iter().position(|&byte| byte == b' ');
        let (field, after) = rest.split_at(end.unwrap_or(rest.len()));
        let Ok(field) = str::from_utf8(field) else { return Err(Stop::Wrong(error)) };
        self.rest = after.get(1..);
        let ends_here = self.rest.is_some() || self.is_whole;
        match ends_here {
            true if is(field) => Ok(field),
            false if may_become(field) => Err(Stop::Short),
            _ => Err(Stop::Wrong(error)),
        }
    }

    fn v4(&mut self) -> Result<Ipv4Addr, Stop> {
        let is = |field: &str| field.parse::<Ipv4Addr>().is_ok();
        let field = self.next(Error::Address, is, |field| completes(field, &["", "0"], is))?;
        field.parse().map_err(|_| Stop::Wrong(Error::Address))
    }

    fn v6(&mut self) -> Result<Ipv6Addr, Stop> {
        let is = |field: &str| field.parse::<Ipv6Addr>().is_ok();
        let field = self.next(Error::Address, is, |field| completes(field, &["", "0", ":", "::"], is))?;
        field.parse().map_err(|_| Stop::Wrong(Error::Address))
    }

    fn port(&mut self) -> Result<u16, Stop> {
        // A beginning of a number without leading zeros is such a number, or nothing yet.
        let field =
            self.next(Error::Port, |field| port(field).is_some(), |field| field.is_empty() || port(field).is_some())?;
        port(field).ok_or(Stop::Wrong(Error::Port))
    }
}

/// Whether a beginning of an address can be one. One of these ends makes it whole if any does: a group that has begun
/// is a group, and `::` stands for all that are missing; a number of an IPv4 address that has begun is a number.
fn completes(beginning: &str, ends: &[&str], is: impl Fn(&str) -> bool) -> bool {
    let numbers = ["", ".0", ".0.0", ".0.0.0"];
    ends.iter().any(|end| numbers.iter().any(|numbers| is(&format!("{beginning}{end}{numbers}"))))
}

fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

/// Signature, version and command, family and protocol, length; addresses; fields of type, length and value.
fn v2(bytes: &[u8]) -> Result<Parsed, Error> {
    let rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    let Some(&version_command) = rest.first() else { return Ok(Parsed::Incomplete) };
    let is_local = match version_command {
        0x20 => true,
        0x21 => false,
        other if other >> 4 == 2 => return Err(Error::Command { command: other & 0xf }),
        other => return Err(Error::Version { version: other >> 4 }),
    };
    let Some(&family) = rest.get(1) else { return Ok(Parsed::Incomplete) };
    let addresses = match family {
        // Nothing else of it counts.
        _ if is_local => 0,
        0x00 => 0,
        // Stream or datagram: who it is is the same.
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return Err(Error::Family { family }),
    };
    let &[_, _, high, low, ref body @ ..] = rest else { return Ok(Parsed::Incomplete) };
    let body_len = usize::from(u16::from_be_bytes([high, low]));
    let len = SIGNATURE.len() + 4 + body_len;
    if len > MAX_V2 {
        return Err(Error::TooLong { len, max: MAX_V2 });
    }
    if body_len < addresses {
        return Err(Error::TooShort { len: body_len, min: addresses });
    }
    let body = body.get(..body_len).unwrap_or(body);
    // Without an address family the length is all that is defined.
    if addresses > 0 {
        check_fields(body, addresses, body_len)?;
    }
    if body.len() < body_len {
        return Ok(Parsed::Incomplete);
    }
    let source = match addresses {
        12 => body.first_chunk::<4>().map(|source| IpAddr::from(*source)).zip(body.get(8..10)),
        36 => body.first_chunk::<16>().map(|source| IpAddr::from(*source)).zip(body.get(32..34)),
        _ => None,
    };
    let source = source.and_then(|(source, port)| match port {
        &[high, low] => Some(SocketAddr::new(source, u16::from_be_bytes([high, low]))),
        _ => None,
    });
    Ok(Parsed::Header { len, source })
}

/// Whether the fields from `at` on fill `end` bytes, as far as they are here. What they say is not looked at.
fn check_fields(body: &[u8], mut at: usize, end: usize) -> Result<(), Error> {
    while at < end {
        if end - at < 3 {
            return Err(Error::FieldTooLong { at });
        }
        let Some(&[_, high, low]) = body.get(at..at + 3) else { return Ok(()) };
        let next = at + 3 + usize::from(u16::from_be_bytes([high, low]));
        if next > end {
            return Err(Error::FieldTooLong { at });
        }
        at = next;
    }
    Ok(())
}

/// Why the first bytes of a connection are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// They are something else, such as an HTTP request.
    NotProxyProtocol,
    /// The header is longer than is allowed.
    TooLong {
        /// Its length, or the least that it can be.
        len: usize,
        /// The longest.
        max: usize,
    },
    /// Version 1: neither `TCP4`, `TCP6` nor `UNKNOWN`.
    Protocol,
    /// Version 1: an address that is none of its protocol.
    Address,
    /// Version 1: a port that is none.
    Port,
    /// Version 1: too few fields or too many, or an end of line other than CR LF.
    LineEnd,
    /// The signature of version 2 with another version.
    Version {
        /// The version.
        version: u8,
    },
    /// Version 2: neither `LOCAL` nor `PROXY`.
    Command {
        /// The command.
        command: u8,
    },
    /// Version 2: an address family or transport that is not defined.
    Family {
        /// Both, as they stand there.
        family: u8,
    },
    /// Version 2: the addresses do not fit into the length.
    TooShort {
        /// The length.
        len: usize,
        /// What the addresses of that family take.
        min: usize,
    },
    /// Version 2: a field behind the addresses reaches beyond the header.
    FieldTooLong {
        /// Where it begins, counted from the addresses.
        at: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PROXY protocol: ")?;
        match self {
            Self::NotProxyProtocol => f.write_str("the connection does not begin with a header"),
            Self::TooLong { len, max } => {
                write!(f, "the header has at least {len} bytes, and at most {max} are read")
            }
            Self::Protocol => f.write_str("the protocol is neither TCP4, TCP6 nor UNKNOWN"),
            Self::Address => f.write_str("an address is not one of its protocol"),
            Self::Port => f.write_str("a port is not a number from 0 to 65535"),
            Self::LineEnd => f.write_str("the line does not end with CR LF after its last field"),
            Self::Version { version } => write!(f, "version {version} after the signature of version 2"),
            Self::Command { command } => write!(f, "command {command} is neither LOCAL (0) nor PROXY (1)"),
            Self::Family { family } => write!(f, "address family and transport {family:#04x} are not defined"),
            Self::TooShort { len, min } => {
                write!(f, "the addresses take {min} bytes, and the header has {len} for them")
            }
            Self::FieldTooLong { at } => {
                write!(f, "the field {at} bytes after the addresses' start does not fit into the header")
            }
        }
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(len: usize, source: Option<&str>) -> Result<Parsed, Error> {
        Ok(Parsed::Header { len, source: source.map(|source| source.parse().unwrap()) })
    }

    fn binary(version_command: u8, family: u8, len: u16, body: &[u8]) -> Vec<u8> {
        [&SIGNATURE[..], &[version_command, family], &len.to_be_bytes(), body].concat()
    }

    /// `192.0.2.1:4711` to `198.51.100.1:443`.
    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb];

    #[test]
    fn lines() {
        for (line, source) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\r\n", Some("192.0.2.1:4711")),
            ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some("255.255.255.255:65535")),
            ("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", Some("0.0.0.0:0")),
            ("PROXY TCP6 2001:db8::1 ::1 4711 443\r\n", Some("[2001:db8::1]:4711")),
            ("PROXY TCP6 ::ffff:192.0.2.1 1:2:3:4:5:6:7:8 4711 443\r\n", Some("[::ffff:192.0.2.1]:4711")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN ffff::1 whatever  \t\u{e4} 1\r\n", None),
        ] {
            assert_eq!(parse(line.as_bytes()), header(line.len(), source), "{line:?}");
            assert_eq!(parse(format!("{line}GET / HTTP/1.1\r\n").as_bytes()), header(line.len(), source));
            for cut in 0..line.len() {
                assert_eq!(parse(&line.as_bytes()[..cut]), Ok(Parsed::Incomplete), "{:?}", line.get(..cut));
            }
        }
        let longest = format!("PROXY UNKNOWN{}\r\n", " x".repeat(46));
        assert_eq!(longest.len(), MAX_V1);
        assert_eq!(parse(longest.as_bytes()), header(MAX_V1, None));
    }

    #[test]
    fn what_is_no_line() {
        for (line, error) in [
            ("GET / HTTP/1.1\r\n", Error::NotProxyProtocol),
            ("proxy TCP4", Error::NotProxyProtocol),
            ("P\r", Error::NotProxyProtocol),
            (" ", Error::NotProxyProtocol),
            ("\r\n\r\n\0\r\nQUI_", Error::NotProxyProtocol),
            ("PROXY  TCP4", Error::Protocol),
            ("PROXY TCP5", Error::Protocol),
            ("PROXY TCP4x", Error::Protocol),
            ("PROXY UNKNOWNS", Error::Protocol),
            ("PROXY\r\n", Error::LineEnd),
            ("PROXY TCP4\r\n", Error::LineEnd),
            ("PROXY TCP4 256", Error::Address),
            ("PROXY TCP4 192.0.2.01", Error::Address),
            ("PROXY TCP4 192.0.2.1.", Error::Address),
            ("PROXY TCP4 192.0.2 ", Error::Address),
            ("PROXY TCP4 ::1", Error::Address),
            ("PROXY TCP6 192.0.2.1 ", Error::Address),
            ("PROXY TCP6 192.", Error::Address),
            ("PROXY TCP6 1::2::", Error::Address),
            ("PROXY TCP6 1:2:3:4:5:6:7:8:", Error::Address),
            ("PROXY TCP6 [", Error::Address),
            ("PROXY TCP6 fe80::1%", Error::Address),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 +", Error::Port),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 00", Error::Port),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 65536", Error::Port),
            ("PROXY TCP4 192.0.2.1 198.51.100.1  ", Error::Port),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 4711\r\n", Error::LineEnd),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 4711 443 ", Error::LineEnd),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\n", Error::LineEnd),
            ("PROXY TCP4 192.0.2.1 198.51.100.1 4711 443\rx", Error::LineEnd),
            ("PROXY UNKNOWN\n", Error::LineEnd),
        ] {
            assert_eq!(parse(line.as_bytes()), Err(error), "{line:?}");
        }
        let endless = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert_eq!(parse(&endless.as_bytes()[..MAX_V1 - 1]), Ok(Parsed::Incomplete));
        for len in [MAX_V1, MAX_V1 + 1, 200] {
            assert_eq!(parse(&endless.as_bytes()[..len]), Err(Error::TooLong { len: 108, max: MAX_V1 }));
        }
    }

    #[test]
    fn binary_headers() {
        let v6: Vec<u8> = [[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], [0; 16]].concat();
        let fields = [&V4[..], &[3, 0, 4, 1, 2, 3, 4], &[4, 0, 0]].concat();
        for (bytes, source) in [
            (binary(0x21, 0x11, 12, &V4), Some("192.0.2.1:4711")),
            (binary(0x21, 0x12, 12, &V4), Some("192.0.2.1:4711")),
            (binary(0x21, 0x21, 36, &[&v6[..], &[0x12, 0x67, 0, 0]].concat()), Some("[2001:db8::1]:4711")),
            (binary(0x21, 0x11, 22, &fields), Some("192.0.2.1:4711")),
            (binary(0x21, 0x31, 216, &[0; 216]), None),
            (binary(0x21, 0x00, 0, &[]), None),
            (binary(0x21, 0x00, 2, &[7, 7]), None),
            (binary(0x20, 0x00, 0, &[]), None),
            (binary(0x20, 0x11, 12, &V4), None),
            (binary(0x20, 0xff, 1, &[7]), None),
            (binary(0x20, 0, 4080, &[7; 4080]), None),
        ] {
            assert_eq!(parse(&bytes), header(bytes.len(), source));
            assert_eq!(parse(&[&bytes[..], b"GET"].concat()), header(bytes.len(), source));
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(Parsed::Incomplete), "{cut} bytes of {bytes:?}");
            }
        }
    }

    /// Each as soon as it can be seen.
    #[test]
    fn what_is_no_binary_header() {
        let with = |fields: &[u8]| [&V4[..], fields].concat();
        for (bytes, error) in [
            (binary(0x11, 0x11, 12, &V4), Error::Version { version: 1 }),
            (binary(0x22, 0x11, 12, &V4), Error::Command { command: 2 }),
            (binary(0x21, 0x10, 12, &V4), Error::Family { family: 0x10 }),
            (binary(0x21, 0x13, 12, &V4), Error::Family { family: 0x13 }),
            (binary(0x21, 0x41, 12, &V4), Error::Family { family: 0x41 }),
            (binary(0x21, 0x11, 11, &[]), Error::TooShort { len: 11, min: 12 }),
            (binary(0x21, 0x21, 35, &[]), Error::TooShort { len: 35, min: 36 }),
            (binary(0x21, 0x31, 215, &[]), Error::TooShort { len: 215, min: 216 }),
            (binary(0x21, 0x11, 4081, &[]), Error::TooLong { len: 4097, max: MAX_V2 }),
            (binary(0x20, 0x11, u16::MAX, &[]), Error::TooLong { len: 65_551, max: MAX_V2 }),
            (binary(0x21, 0x11, 14, &V4), Error::FieldTooLong { at: 12 }),
            (binary(0x21, 0x11, 16, &with(&[4, 0, 2])), Error::FieldTooLong { at: 12 }),
            (binary(0x21, 0x11, 17, &with(&[4, 0, 0, 4])), Error::FieldTooLong { at: 15 }),
        ] {
            assert_eq!(parse(&bytes), Err(error));
        }
    }
}
