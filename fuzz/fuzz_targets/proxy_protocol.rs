//! PROXY protocol: what is written is read back, an answer stays whatever follows, more is only asked for where more can
//! help, and the crate `ppp` agrees wherever it is as strict.
#![no_main]

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use ppp::{HeaderResult, v1, v2};
use tollgate_http::proxy_protocol::{Error, MAX_V1, MAX_V2, Parsed, parse};

/// The first bytes of a connection, as they are.
#[derive(Arbitrary)]
struct Bytes<'a>(&'a [u8]);

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0.escape_ascii())
    }
}

fuzz_target!(|bytes: Bytes<'_>| {
    let bytes = bytes.0;
    let answer = parse(bytes);
    stays(bytes, answer);
    match answer {
        Ok(Parsed::Incomplete) => can_be_completed(bytes),
        Ok(Parsed::Header { len, .. }) => {
            assert!(len <= bytes.len());
            assert_eq!(parse(&bytes[..len - 1]), Ok(Parsed::Incomplete));
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
    agrees(bytes, answer);
    is_read_back(bytes);
});

/// Read byte by byte, the first answer is the answer.
fn stays(bytes: &[u8], answer: Result<Parsed, Error>) {
    let first =
        (0..=bytes.len().min(2 * MAX_V1)).map(|len| parse(&bytes[..len])).find(|it| *it != Ok(Parsed::Incomplete));
    if let Some(first) = first {
        assert_eq!(first, answer, "an answer does not stay");
    }
}

fn can_be_completed(bytes: &[u8]) {
    assert!(bytes.len() < if bytes.starts_with(b"P") { MAX_V1 } else { MAX_V2 });
    let is_header = |rest: &str| matches!(parse(&[bytes, rest.as_bytes()].concat()), Ok(Parsed::Header { .. }));
    let beginnings = ["PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN\r\n"];
    if !bytes.starts_with(b"P") {
        // Fields of the length zero; at most the last of them does not fit.
        let whole = parse(&[bytes, &[0; MAX_V2]].concat());
        let is_beginning = bytes.len() < 16;
        assert!(is_beginning || matches!(whole, Ok(Parsed::Header { .. }) | Err(Error::FieldTooLong { .. })));
    } else if bytes.len() < MAX_V1 - 40 && !beginnings.iter().any(|whole| whole.as_bytes().starts_with(bytes)) {
        let ends =
            ["", "0", ":", "::"].iter().flat_map(|end| ["", ".0", ".0.0", ".0.0.0"].map(|rest| format!("{end}{rest}")));
        let tails = ["\r\n", "\n", " 0\r\n", " 0 0\r\n", " 0.0.0.0 0 0\r\n", " :: 0 0\r\n"];
        let found = ends.into_iter().any(|end| tails.iter().any(|tail| is_header(&format!("{end}{tail}"))));
        assert!(found, "nothing completes it");
    }
}

/// What has a source here has the same there; what has one there has it here, but for what is known to be let through.
fn agrees(bytes: &[u8], answer: Result<Parsed, Error>) {
    let mut fields_fit = true;
    let theirs = match HeaderResult::parse(bytes) {
        HeaderResult::V1(Ok(header)) => match header.addresses {
            v1::Addresses::Tcp4(it) => Some((header.header.len(), (it.source_address, it.source_port).into())),
            v1::Addresses::Tcp6(it) => Some((header.header.len(), (it.source_address, it.source_port).into())),
            v1::Addresses::Unknown => None,
        },
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Proxy => {
            fields_fit = header.tlvs().all(|field| field.is_ok());
            match header.addresses {
                v2::Addresses::IPv4(it) => Some((header.header.len(), (it.source_address, it.source_port).into())),
                v2::Addresses::IPv6(it) => Some((header.header.len(), (it.source_address, it.source_port).into())),
                _ => None,
            }
        }
        _ => None,
    };
    match (answer, theirs) {
        (Ok(Parsed::Header { len, source: Some(source) }), theirs) => {
            assert_eq!(theirs, Some((len, source)));
            assert!(fields_fit, "a field does not fit");
        }
        // A port with a plus.
        (Err(Error::Port), Some((len, _))) if bytes[..len].contains(&b'+') => {}
        // A blank for the carriage return.
        (Err(Error::LineEnd), Some((len, _))) if !bytes[..len].ends_with(b"\r\n") => {}
        // No bound on the length, and fields are looked at later.
        (Err(Error::TooLong { .. }), Some(_)) => {}
        (Err(Error::FieldTooLong { .. }), Some(_)) if !fields_fit => {}
        // A transport that is not defined beside a family that is.
        (Err(Error::Family { family: 0x10 | 0x20 }), Some(_)) => {}
        (_, theirs) => assert_eq!(theirs, None, "{answer:?}"),
    }
}

/// Two addresses out of the bytes, in both versions, and the bytes as payload.
fn is_read_back(bytes: &[u8]) {
    let Some((ends, payload)) = bytes.split_first_chunk::<36>() else { return };
    let port = |i: usize| u16::from_be_bytes([ends[i], ends[i + 1]]);
    let v6 = |i: usize| IpAddr::from(<[u8; 16]>::try_from(&ends[i..i + 16]).unwrap());
    let v4 = |i: usize| IpAddr::from(<[u8; 4]>::try_from(&ends[i..i + 4]).unwrap());
    for (protocol, family, source, target, ports, octets) in
        [("TCP4", 0x11, v4(0), v4(4), 8, &ends[..12]), ("TCP6", 0x21, v6(0), v6(16), 32, &ends[..])]
    {
        let expected = SocketAddr::new(source, port(ports));
        let line = format!("PROXY {protocol} {source} {target} {} {}\r\n", port(ports), port(ports + 2));
        let fields = [4, 0, 2, 7, 7];
        let len = u16::try_from(octets.len() + fields.len()).unwrap().to_be_bytes();
        let binary = [&b"\r\n\r\n\0\r\nQUIT\n\x21"[..], &[family], &len, octets, &fields].concat();
        for header in [line.into_bytes(), binary] {
            let with_payload = [&header[..], payload].concat();
            assert_eq!(parse(&with_payload), Ok(Parsed::Header { len: header.len(), source: Some(expected) }));
        }
    }
}
