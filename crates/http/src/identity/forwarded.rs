//! The hops that `X-Forwarded-For` and `Forwarded` (RFC 7239) tell of, newest first.
//!
//! Each proxy adds its peer on the right, so what is on the right was written by the proxies nearest to us, and what is
//! on the left by the first sender, which may be the client. Both fields are therefore read from the right, and what
//! stands on the left of an element never changes how that element is read: an open quote that a client sends cannot
//! swallow what a proxy adds after it. Several field lines are one list. Nothing is allocated, and each byte is looked
//! at a bounded number of times.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{self, HeaderName};

use crate::request::{FieldLines, Fields};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// More than any address in brackets with a port takes: 45 of the address, 2 of the brackets, 6 of the port.
const LONGEST: usize = 64;

/// One element of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// The address of the peer of the proxy that wrote it, without the port.
    Address(IpAddr),
    /// `unknown`, a hidden name such as `_proxy7`, `unix:`, nothing at all, or garbage.
    NotAnAddress,
}

impl From<Option<IpAddr>> for Hop {
    fn from(address: Option<IpAddr>) -> Self {
        address.map_or(Self::NotAnAddress, Self::Address)
    }
}

/// The elements of `X-Forwarded-For`, from the right.
///
/// An empty element is a hop that is not an address. RFC 9110 would have it ignored; but then an element that a proxy
/// of ours leaves empty would turn the next one, which the client wrote, into the proxy's word.
pub fn x_forwarded_for(fields: &dyn Fields) -> impl Iterator<Item = Hop> {
    let lines = FieldLines::of(fields, &X_FORWARDED_FOR).into_iter().rev();
    lines.flat_map(|line| line.rsplit(|&byte| byte == b',')).map(|element| address(element).into())
}

/// The elements of `Forwarded`, from the right: what each says after `for=`.
///
/// An element without `for`, with two of them, or that breaks the grammar, is a hop that is not an address.
pub fn forwarded(fields: &dyn Fields) -> impl Iterator<Item = Hop> {
    let lines = FieldLines::of(fields, &header::FORWARDED).into_iter().rev();
    lines.flat_map(|line| Elements { rest: Some(line) }).map(|element| parameter_for(element).into())
}

/// An address with or without brackets (IPv6) and port, and blanks around it.
pub(crate) fn address(text: &[u8]) -> Option<IpAddr> {
    let text = text.trim_ascii();
    if text.len() > LONGEST {
        return None;
    }
    let text = str::from_utf8(text).ok()?;
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let readable = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return readable.then_some(IpAddr::V6(address.parse::<Ipv6Addr>().ok()?));
    }
    match text.split_once(':') {
        // More than one colon: IPv6 without brackets, hence without a port.
        Some((_, rest)) if rest.contains(':') => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        Some((address, port)) if is_port(port) => address.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some(_) => None,
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// As RFC 7239 has it: up to five digits, or a hidden name. It is thrown away.
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The elements of one line of `Forwarded`, from the right. Commas between quotes do not separate.
struct Elements<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.rest.take()?;
        let mut quoted = false;
        for (i, &byte) in line.iter().enumerate().rev() {
            let (before, from) = line.split_at(i);
            match byte {
                // Read from the right, the first quote is the one that closes.
                b'"' if !quoted => quoted = true,
                // An escaped quote has an odd number of backslashes before it; the quote that opens has `=` there.
                b'"' => quoted = before.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1,
                b',' if !quoted => {
                    self.rest = Some(before);
                    return from.get(1..);
                }
                _ => {}
            }
        }
        Some(line)
    }
}

/// The address in `for=...` of one element, among other parameters in any order and case.
fn parameter_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = element.trim_ascii();
    while !rest.is_empty() {
        if let Some(more) = rest.strip_prefix(b";") {
            rest = more.trim_ascii_start();
            continue;
        }
        let name = rest.get(..rest.iter().position(|&byte| byte == b'=')?)?;
        let (value, after) = Value::split(rest.get(name.len() + 1..)?)?;
        if !name.iter().all(|&byte| is_token(byte)) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"for") && found.replace(value).is_some() {
            return None;
        }
        rest = after.trim_ascii_start();
        if !rest.is_empty() && !rest.starts_with(b";") {
            return None;
        }
    }
    match found? {
        Value::Plain(text) => address(text),
        Value::Quoted(text) => address(unescape(text, &mut [0; LONGEST])?),
    }
}

/// The value of a parameter.
enum Value<'a> {
    /// Up to the next `;`. The grammar wants a token; `for=192.0.2.1:80` and `for=[2001:db8::1]` are met all the same.
    Plain(&'a [u8]),
    /// Between quotes, with its backslashes.
    Quoted(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The value that `text` begins with, and what follows it.
    fn split(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let Some(inner) = text.strip_prefix(b"\"") else {
            let end = text.iter().position(|&byte| byte == b';').unwrap_or(text.len());
            let (value, after) = text.split_at(end);
            return (!value.contains(&b'"')).then_some((Self::Plain(value), after));
        };
        let mut escaped = false;
        let end = inner.iter().position(|&byte| {
            let closes = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            closes
        })?;
        let (value, quote) = inner.split_at(end);
        Some((Self::Quoted(value), quote.get(1..)?))
    }
}

/// What stands between the quotes, or nothing if it is longer than any address.
fn unescape<'a>(text: &[u8], buffer: &'a mut [u8; LONGEST]) -> Option<&'a [u8]> {
    let mut len = 0;
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        let byte = if byte == b'\\' { *bytes.next()? } else { byte };
        *buffer.get_mut(len)? = byte;
        len += 1;
    }
    buffer.get(..len)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn headers(name: &str, lines: &[&str]) -> HeaderMap {
        let name: HeaderName = name.parse().unwrap();
        lines.iter().map(|line| (name.clone(), line.to_string().try_into().unwrap())).collect()
    }

    /// Addresses as text and `-` for a hop that is none, newest first.
    fn tell(hops: impl Iterator<Item = Hop>) -> String {
        let tell = |hop| match hop {
            Hop::Address(address) => address.to_string(),
            Hop::NotAnAddress => "-".to_owned(),
        };
        hops.map(tell).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn x_forwarded_for_from_the_right() {
        for (lines, expected) in [
            (&[][..], ""),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.1, 198.51.100.2,203.0.113.3\t"], "203.0.113.3 198.51.100.2 192.0.2.1"),
            (&["192.0.2.1, 192.0.2.2", "192.0.2.3"], "192.0.2.3 192.0.2.2 192.0.2.1"),
            (
                &["192.0.2.1:4711, [2001:db8::1]:443, [2001:DB8::2], 2001:db8::3"],
                "2001:db8::3 2001:db8::2 2001:db8::1 192.0.2.1",
            ),
            (&["::ffff:192.0.2.1, ::"], ":: ::ffff:192.0.2.1"),
            (&[""], "-"),
            (&[",192.0.2.1, ,"], "- - 192.0.2.1 -"),
            (&["unknown, _hidden, unix:, localhost, 192.0.2.1 192.0.2.2"], "- - - - -"),
            (
                &["192.0.2.256, 192.0.2, 010.0.0.1, 192.0.2.1:, 192.0.2.1:123456, 192.0.2.1:+1, 0xC0000201"],
                "- - - - - - -",
            ),
            (
                &["[192.0.2.1], [2001:db8::1, 2001:db8::1], [2001:db8::1]443, [::1]:, fe80::1%eth0, 1:2"],
                "- - - - - - -",
            ),
            (&["\u{fc}, \"192.0.2.1\", for=192.0.2.1"], "- - -"),
            (&["192.0.2.1:_port, 192.0.2.1:_"], "- 192.0.2.1"),
        ] {
            assert_eq!(tell(x_forwarded_for(&headers("X-Forwarded-For", lines))), expected, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_from_the_right() {
        for (lines, expected) in [
            (&[][..], ""),
            (&["for=192.0.2.1"], "192.0.2.1"),
            (&["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
            (&["proto=http; BY=\"a,b;c\\\"\" ;FOR=192.0.2.60"], "192.0.2.60"),
            (&["for=192.0.2.43, for=198.51.100.17"], "198.51.100.17 192.0.2.43"),
            (&["for=192.0.2.1,for=192.0.2.2", "for=192.0.2.3"], "192.0.2.3 192.0.2.2 192.0.2.1"),
            (&["for=\"192\\.0.2.1\", for=\"_gazonk\", for=unknown, for=\"unknown\""], "- - - 192.0.2.1"),
            (&["for=\"192.0.2.1:80\";;, for=192.0.2.1:80"], "192.0.2.1 192.0.2.1"),
            (&["", ",", "proto=https"], "- - - -"),
            (&["for=192.0.2.1;for=192.0.2.2, for =192.0.2.1, for= 192.0.2.1"], "192.0.2.1 - -"),
            (&["for=192.0.2.1 for=192.0.2.2, for, =, for=, for=\"\", fort=192.0.2.1"], "- - - - - -"),
            // What a client leaves open swallows only what the client wrote.
            (&["for=192.0.2.1, for=\", for=192.0.2.2"], "192.0.2.2 -"),
            (&["for=\", for=\"[2001:db8::1]:80\""], "2001:db8::1 -"),
            (&["for=\"\\", "for=192.0.2.2"], "192.0.2.2 -"),
            (&["a=\"\\\\\", for=192.0.2.2"], "192.0.2.2 -"),
            (&["for=192.0.2.1\";a=\""], "-"),
            (&["for=\"192.0.2.1\"x, for=192.0.2.1;x"], "- -"),
        ] {
            assert_eq!(tell(forwarded(&headers("Forwarded", lines))), expected, "{lines:?}");
        }
    }

    #[test]
    fn an_element_longer_than_an_address_is_none() {
        let long = format!("for=\"{}192.0.2.1\"", "\\ ".repeat(100));
        assert_eq!(tell(forwarded(&headers("Forwarded", &[&long]))), "-");
    }

    /// Were the work quadratic, these would take minutes.
    #[test]
    fn hostile_lines_are_read_in_linear_time() {
        for unit in ["\"", "\\", "\\\"", ",", ",\"", "for=\"", ";", "for=1.1.1.1,", "a=\"\\\",\""] {
            let line = unit.repeat(1_000_000 / unit.len());
            let headers = headers("Forwarded", &[&line]);
            assert!(forwarded(&headers).count() <= line.len() + 1);
        }
    }
}
