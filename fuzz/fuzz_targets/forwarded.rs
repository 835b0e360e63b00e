//! `X-Forwarded-For` and `Forwarded` against plain models, and who the client is: proxies of ours write the right of the
//! list, and whatever stands on their left does not change what is read there, nor the client once a stranger was met.
#![no_main]

use std::fmt;
use std::net::IpAddr;

use arbitrary::Arbitrary;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tollgate_http::client::{AddressSource, ClientAddress, TrustedProxies};
use tollgate_http::forwarded::{Hop, forwarded, x_forwarded_for};

const NETWORKS: &str = "10.0.0.0/8, fd00::/8";
const PROXY: &str = "10.0.0.1";

/// What proxies wrote, and on its left what others did.
struct Input {
    right: Vec<Written>,
    /// Lines.
    left: Vec<Vec<u8>>,
    /// Whether a proxy adds a line of its own, or goes on in the last.
    line_of_its_own: bool,
}

/// An address, and how it is written.
#[derive(Debug, Clone, Copy)]
struct Written {
    address: IpAddr,
    style: u8,
}

/// The number of hops, two bytes for each, and the lines of others as they are, so that the corpus is made of text.
impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(input: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let head = input.arbitrary::<u8>()?;
        let mut right = Vec::new();
        for _ in 0..head % 8 {
            let [which, style] = input.arbitrary()?;
            let n = which / 6;
            let address = match which % 6 {
                0 | 1 => format!("10.0.0.{n}"),
                2 => format!("fd00::{n}"),
                3 => format!("::ffff:10.0.0.{n}"),
                4 => format!("192.0.2.{n}"),
                _ => format!("2001:db8::{n}"),
            };
            right.push(Written { address: address.parse().unwrap(), style });
        }
        let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        let lines = input.bytes(input.len())?.split(|&byte| byte == b'\n');
        let left = lines.map(|line| line.iter().copied().filter(is_text).collect()).collect();
        Ok(Self { right, left, line_of_its_own: head & 0x80 != 0 })
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.left {
            writeln!(f, "{}", line.escape_ascii())?;
        }
        write!(f, "and then, line_of_its_own: {}, {:?}", self.line_of_its_own, self.right)
    }
}

impl Written {
    fn host(self) -> String {
        match self.address {
            IpAddr::V6(v6) if self.style & 1 != 0 => format!("[{v6}]"),
            address => address.to_string(),
        }
    }

    fn in_x_forwarded_for(self) -> String {
        let is_closed = self.address.is_ipv4() || self.style & 1 != 0;
        format!(
            "{}{}",
            self.host(),
            if is_closed { ["", ":80", ":65535", ":_x"][usize::from(self.style >> 1 & 3)] } else { "" }
        )
    }

    fn in_forwarded(self) -> String {
        let node = self.in_x_forwarded_for();
        let node = match self.style >> 3 & 3 {
            0 => node,
            1 => format!("\"{node}\""),
            2 => format!("\"{}\"", node.replace('.', "\\.")),
            _ => format!("\"\\{node}\""),
        };
        let before = ["", "by=\"a,b;c\\\"\\\\\"; ", ";proto=https;", "Host=\"\";"][usize::from(self.style >> 5 & 3)];
        format!("{before}{}={node}{before}", if self.style & 0x80 != 0 { "FOR" } else { "for" }).replacen(
            &format!("{node}{before}"),
            &format!("{node};x=\"\\\",\""),
            usize::from(!before.is_empty()),
        )
    }
}

fuzz_target!(|input: Input| {
    let left = headers("x-forwarded-for", &input.left);
    assert_eq!(x_forwarded_for(&left).collect::<Vec<_>>(), model_of_x_forwarded_for(&input.left));
    let left = headers("forwarded", &input.left);
    let bytes: usize = input.left.iter().map(|line| line.len() + 1).sum();
    assert!(forwarded(&left).count() <= bytes);
    if !input.left.iter().flatten().any(|&byte| byte == b'"') {
        assert_eq!(forwarded(&left).collect::<Vec<_>>(), model_of_forwarded(&input.left));
    }

    let written = add(&input, Written::in_x_forwarded_for);
    let all = headers("x-forwarded-for", &written);
    judge(&input, AddressSource::XForwardedFor, &all, &x_forwarded_for(&all).collect::<Vec<_>>());
    let all = headers("forwarded", &add(&input, Written::in_forwarded));
    judge(&input, AddressSource::Forwarded, &all, &forwarded(&all).collect::<Vec<_>>());
});

/// The client by each setting, where `hops` were read from the right.
fn judge(input: &Input, source: AddressSource, headers: &HeaderMap, hops: &[Hop]) {
    let right: Vec<IpAddr> = input.right.iter().rev().map(|written| written.address).collect();
    for (hop, address) in hops.iter().zip(&right) {
        assert_eq!(*hop, Hop::Address(*address), "{source}: what a proxy wrote");
    }
    assert!(hops.len() >= right.len());

    let client = |trusted: TrustedProxies, peer: &str| {
        ClientAddress::new(source.clone(), trusted).unwrap().client_ip(peer.parse().unwrap(), headers)
    };
    let networks = || NETWORKS.parse::<TrustedProxies>().unwrap();
    let stranger = "203.0.113.9";
    assert_eq!(client(networks(), stranger).to_string(), stranger, "{source}: from a stranger");
    // Of what proxies wrote alone, if a stranger is in it: then nothing on the left of that was looked at.
    if let Some(first) = right.iter().find(|address| !is_ours(**address)) {
        assert_eq!(client(networks(), PROXY), first.to_canonical(), "{source}: the first stranger");
    }
    let mut expected = PROXY.parse().unwrap();
    for hop in hops {
        let Hop::Address(address) = hop else { break };
        expected = address.to_canonical();
        if !is_ours(expected) {
            break;
        }
    }
    assert_eq!(client(networks(), PROXY), expected, "{source}: by networks");
    for (count, address) in (1..).zip(&right) {
        let trusted = TrustedProxies::hops(count).unwrap();
        assert_eq!(client(trusted, stranger), address.to_canonical(), "{source}: by {count} hops");
    }
}

fn is_ours(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets()[0] == 10,
        IpAddr::V6(v6) => v6.octets()[0] == 0xfd,
    }
}

fn headers(name: &'static str, lines: &[Vec<u8>]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name, HeaderValue::from_bytes(line).unwrap());
    }
    headers
}

/// The lines of others after the proxies have added theirs.
fn add(input: &Input, write: impl Fn(Written) -> String) -> Vec<Vec<u8>> {
    let mut lines = input.left.clone();
    for &written in &input.right {
        match lines.last_mut() {
            Some(last) if !input.line_of_its_own => last.extend_from_slice(format!(", {}", write(written)).as_bytes()),
            _ => lines.push(write(written).into_bytes()),
        }
    }
    lines
}

/// All elements of all lines, from the right.
fn elements(lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let joined = lines.join(&b","[..]);
    let mut elements: Vec<_> = joined.split(|&byte| byte == b',').map(<[u8]>::to_vec).collect();
    elements.reverse();
    elements
}

fn model_of_x_forwarded_for(lines: &[Vec<u8>]) -> Vec<Hop> {
    elements(lines).iter().map(|element| model_of_address(&String::from_utf8_lossy(element)).into()).collect()
}

/// Where there are no quotes.
fn model_of_forwarded(lines: &[Vec<u8>]) -> Vec<Hop> {
    let is_token = |text: &str| text.chars().all(|c| c.is_ascii_graphic() && !"(),/:;<=>?@[\\]{}\"".contains(c));
    let element = |element: &Vec<u8>| {
        let text = String::from_utf8_lossy(element);
        let mut found = Vec::new();
        for pair in text.split(';').map(str::trim_ascii).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').filter(|(name, _)| is_token(name))?;
            if name.eq_ignore_ascii_case("for") {
                found.push(value);
            }
        }
        if let [value] = *found { model_of_address(value) } else { None }
    };
    elements(lines).iter().map(|text| element(text).into()).collect()
}

fn model_of_address(text: &str) -> Option<IpAddr> {
    let text = text.trim_ascii();
    let in_brackets = |text: &str| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || {
        let (host, port) = text.rsplit_once(':')?;
        let is_number = (1..=5).contains(&port.len()) && port.chars().all(|c| c.is_ascii_digit());
        let is_name = port.len() > 1
            && port.starts_with('_')
            && port.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let address = host.parse().ok().map(IpAddr::V4).or_else(|| in_brackets(host));
        address.filter(|_| is_number || is_name)
    };
    if text.len() > 64 {
        return None;
    }
    text.parse().ok().or_else(|| in_brackets(text)).or_else(with_port)
}
