//! Keys: which are the same, which are not, and the bytes that they are. Each is asked twice: of the bytes, and of the hash
//! that a limiter makes without building them.

#![allow(missing_docs, reason = "a test")]

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::*;
use tollgate::clock::ManualClock;
use tollgate::key::encode;
use tollgate::key::{Hashed, KeyWriter};
use tollgate::{Key, KeyHash, Limiter, Quota};

fn limiter() -> Limiter<ManualClock> {
    let builder = Limiter::builder(Quota::per_minute(1)).capacity(100).fixed_seed(7);
    builder.clock(ManualClock::default()).build().unwrap()
}

/// A key as the two see it.
struct Seen {
    name: &'static str,
    bytes: Vec<u8>,
    hash: KeyHash,
}

macro_rules! seen {
    ($limiter:ident: $([$($key:expr),* $(,)?]),* $(,)?) => {
        vec![$(vec![$(Seen { name: stringify!($key), bytes: encode(&$key), hash: $limiter.hash(&$key) }),*]),*]
    };
}

const V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);
const V6: Ipv6Addr = V4.to_ipv6_mapped();

fn scoped(flow: u32, scope: u32) -> SocketAddr {
    SocketAddrV6::new(V6, 80, flow, scope).into()
}

/// Of one line: the same key. Of two: never.
fn lines(limiter: &Limiter<ManualClock>) -> Vec<Vec<Seen>> {
    let none: Option<u64> = None;
    let text = "192.0.2.7".to_owned();
    seen![limiter:
        // Text.
        ["", String::new()],
        ["a", 'a', "a".to_owned(), &&"a", Box::<str>::from("a"), Arc::<str>::from("a"), Rc::<str>::from("a"), Cow::from("a")],
        ["é", 'é'],
        ["1"],
        ["a\0"],
        ["s"],
        ["abc"],
        // Octets.
        [[0_u8; 0], Vec::<u8>::new(), &[][..] as &[u8]],
        [b"a", [97_u8], vec![97_u8], &[97_u8][..], Cow::<[u8]>::from(&b"a"[..]), Arc::<[u8]>::from(*b"a")],
        [[49_u8]],
        [*b"a\0"],
        [[0_u8; 8]],
        [[0_u8, 0, 0, 0, 0, 0, 0, 1]],
        // Integers are what they count.
        [0_u8, 0_i64, 0_u128],
        [1_u8, 1_u16, 1_u32, 1_u64, 1_u128, 1_usize, 1_i8, 1_i16, 1_i32, 1_i64, 1_i128, 1_isize, NonZero::new(1_u32).unwrap()],
        [49_u64],
        [97_u64, b'a'],
        [115_u64],
        [255_u8, 255_i16],
        [u64::MAX, u128::from(u64::MAX), i128::from(u64::MAX)],
        [1_u128 << 64, 1_i128 << 64],
        [u128::MAX],
        [-1_i8, -1_i64, -1_i128, NonZero::new(-1_isize).unwrap()],
        [i64::MIN, i128::from(i64::MIN)],
        [1_u64 << 63],
        [-(1_i128 << 64)],
        [i128::MIN],
        [1_u128 << 127],
        // Truth.
        [true, &true],
        [false],
        // Addresses, with and without port.
        [V4, IpAddr::V4(V4), V6.to_canonical()],
        [text, "192.0.2.7"],
        [V4.octets()],
        [V4.to_bits()],
        [V6, IpAddr::V6(V6)],
        [Ipv6Addr::from_bits(V4.to_bits().into())],
        [V6.octets()],
        [V6.to_bits()],
        [SocketAddr::from((V4, 80)), std::net::SocketAddrV4::new(V4, 80)],
        [SocketAddr::from((V4, 81))],
        [SocketAddr::from((V6, 80)), scoped(0, 0)],
        [scoped(0, 1)],
        [scoped(1, 0)],
        [(V4, 80)],
        ["192.0.2.7:80"],
        // Tuples.
        [()],
        [("a",), ('a',), (b'a' as char,)],
        [("a", "bc"), ('a', "bc".to_owned()), &("a", Cow::from("bc"))],
        [("ab", "c")],
        [("", "abc")],
        [("abc", "")],
        [("a", "b", "c")],
        [(("a", "b"), "c")],
        [("a", ("b", "c"))],
        [((("a", "b"), "c"),)],
        [("a", b"bc")],
        [(1_u8, 2_u8), (1_u64, 2_i32)],
        [((1, 2), 3)],
        [((1,), 2, 3)],
        [((1, 2, 3),)],
        // A hash function may take no bytes for a zero, and a tag for a number.
        [(("", 0), 115)],
        [((0, 115), "")],
        [(0, "")],
        [("", 0)],
        [(V4, 0)],
        [(V6, 0)],
        [(Ipv6Addr::from_bits(V4.to_bits().into()), 0)],
        [(2_u8, 1_u8)],
        [((), ())],
        [((),)],
        [("a", 's')],
        [("a", 115_u8)],
        [(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)],
        // Lists.
        [[""; 0], Vec::<u64>::new(), [(); 0]],
        [["a"], vec!["a".to_owned()], ['a'], &["a"][..]],
        [["a", "bc"], vec!["a", "bc"], ["a".to_owned(), "bc".to_owned()]],
        [["ab", "c"]],
        [[97_u16], [97_u64]],
        [[1_u16, 2], vec![1_i64, 2]],
        [[1_u8, 2]],
        [[[1_u16], [2]]],
        [[(1_u8, 2_u8)]],
        [[[1_u8], [2]]],
        // Options.
        [none, None::<&str>],
        [Some(1_u8), Some(1_u64)],
        [Some(none)],
        [Some(Some(1_u8))],
        [Some("a")],
    ]
}

#[test]
fn kinds_never_meet_and_spellings_of_one_key_always_do() {
    let lines = lines(&limiter());
    for (i, one) in lines.iter().enumerate() {
        for a in one {
            for b in one {
                assert!(a.bytes == b.bytes && a.hash == b.hash, "{} is not {}", a.name, b.name);
            }
            for b in lines[..i].iter().flatten() {
                assert!(a.bytes != b.bytes && a.hash != b.hash, "{} is {}", a.name, b.name);
                assert!(!a.bytes.starts_with(&b.bytes) && !b.bytes.starts_with(&a.bytes), "{} in {}", a.name, b.name);
            }
        }
    }
}

/// A tag, a length and the contents, in sixteens.
fn hex(key: &(impl Key + ?Sized)) -> String {
    encode(key).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_are_as_they_are_documented() {
    let head = |tag: char, length: usize| format!("{:02x}{length:016x}", tag as u8);
    let golden = [
        (hex("ada"), head('s', 3) + "616461"),
        (hex(&'é'), head('s', 2) + "c3a9"),
        (hex(b"\x00\xff"), head('b', 2) + "00ff"),
        (hex(&258_u16), head('i', 8) + "0000000000000102"),
        (hex(&(1_u128 << 64)), head('i', 16) + "00000000000000010000000000000000"),
        (hex(&-2_i8), head('n', 8) + "0000000000000002"),
        (hex(&-(1_i128 << 64)), head('n', 16) + "00000000000000010000000000000000"),
        (hex(&true), head('f', 1) + "01"),
        (hex(&V4), head('a', 4) + "c0000207"),
        (hex(&V6), head('a', 16) + "00000000000000000000ffffc0000207"),
        (hex(&SocketAddr::from((V4, 443))), head('p', 6) + "c000020701bb"),
        (hex(&scoped(1, 2)), head('p', 26) + "00000000000000000000ffffc000020700500000000100000002"),
        (hex(&()), head('t', 0)),
        (hex(&("a", 7)), head('t', 2) + &hex("a") + &hex(&7)),
        (hex(&["a", "b"]), head('l', 2) + &hex("a") + &hex("b")),
        (hex(&None::<u64>), head('o', 0)),
        (hex(&Some(7)), head('o', 1) + &hex(&7)),
    ];
    for (bytes, expected) in golden {
        assert_eq!(bytes, expected);
    }
    assert_eq!(encode(&("ada", 7)), *b"t\0\0\0\0\0\0\0\x02s\0\0\0\0\0\0\0\x03adai\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\x07");
}

#[test]
fn what_is_hashed_is_apart_from_all_keys() {
    let limiter = limiter();
    let hashed = [
        limiter.hash(&Hashed(7)),
        limiter.hash(&Hashed("7")),
        limiter.hash(&Hashed(())),
        limiter.hash(&Hashed((7, 7))),
    ];
    for (i, one) in hashed.iter().enumerate() {
        assert!(hashed[..i].iter().all(|other| other != one));
        assert!(lines(&limiter).iter().flatten().all(|key| key.hash != *one));
    }
    for key in [limiter.hash(&7), limiter.hash("7"), limiter.hash(&()), limiter.hash(&(7, 7))] {
        assert!(!hashed.contains(&key));
    }
    assert!(limiter.hash(&Hashed(&7)) == limiter.hash(&Hashed(Box::new(7))));
}

#[test]
fn a_hash_stands_for_its_key_at_its_own_limiter_only() {
    let [one, other] = [limiter(), limiter()];
    let hash = one.hash(&("ada", 7));
    assert!(one.check(&hash).is_allowed() && one.check(&("ada", 7)).is_refused());
    assert!(one.hash(&hash) == hash);
    assert!(other.check(&hash).is_refused() && other.check(&("ada", 7)).is_allowed());
    assert_eq!(other.stats().foreign, 1);
}

/// A key of any shape.
#[derive(Debug, Clone, PartialEq)]
enum Any {
    Text(String),
    Octets(Vec<u8>),
    Integer(i128),
    Large(u128),
    Truth(bool),
    Address(IpAddr),
    Socket(SocketAddr),
    Tuple(Vec<Any>),
    List(Vec<Any>),
    Option(Option<Box<Any>>),
}

impl Key for Any {
    fn write_to<W: KeyWriter>(&self, out: &mut W) {
        match self {
            Self::Text(text) => text.write_to(out),
            Self::Octets(octets) => octets.write_to(out),
            Self::Integer(integer) => integer.write_to(out),
            Self::Large(integer) => integer.write_to(out),
            Self::Truth(truth) => truth.write_to(out),
            Self::Address(address) => address.write_to(out),
            Self::Socket(address) => address.write_to(out),
            Self::Tuple(parts) => match &parts[..] {
                [] => ().write_to(out),
                [a] => (a,).write_to(out),
                [a, b] => (a, b).write_to(out),
                [a, b, c] => (a, b, c).write_to(out),
                _ => unreachable!("three at most"),
            },
            Self::List(keys) => keys.write_to(out),
            Self::Option(key) => key.write_to(out),
        }
    }
}

/// Reads a key off the table of the documentation; what can be read back was told apart.
fn decode(bytes: &mut &[u8]) -> Any {
    fn take<'b>(bytes: &mut &'b [u8], count: usize) -> &'b [u8] {
        let (taken, rest) = bytes.split_at(count);
        *bytes = rest;
        taken
    }
    fn number(bytes: &[u8]) -> u128 {
        bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
    }
    fn address(bytes: &[u8]) -> IpAddr {
        <[u8; 4]>::try_from(bytes).map_or_else(|_| <[u8; 16]>::try_from(bytes).unwrap().into(), IpAddr::from)
    }
    let tag = take(bytes, 1)[0];
    let length = usize::try_from(number(take(bytes, 8))).unwrap();
    let mut whole = || take(bytes, length);
    match tag {
        b's' => Any::Text(String::from_utf8(whole().to_vec()).unwrap()),
        b'b' => Any::Octets(whole().to_vec()),
        b'i' => integer(number(whole())),
        b'n' => Any::Integer(number(whole()).cast_signed().wrapping_neg()),
        b'f' => Any::Truth(whole() == [1]),
        b'a' => Any::Address(address(whole())),
        b'p' => match whole() {
            v4 @ [.., high, low] if v4.len() == 6 => {
                Any::Socket(SocketAddr::new(address(&v4[..4]), u16::from_be_bytes([*high, *low])))
            }
            v6 => {
                let [port, flow, scope] =
                    [16..18, 18..22, 22..26].map(|field| u32::try_from(number(&v6[field])).unwrap());
                let IpAddr::V6(ip) = address(&v6[..16]) else { unreachable!("16 octets") };
                Any::Socket(SocketAddrV6::new(ip, u16::try_from(port).unwrap(), flow, scope).into())
            }
        },
        b't' => Any::Tuple((0..length).map(|_| decode(bytes)).collect()),
        b'l' => Any::List((0..length).map(|_| decode(bytes)).collect()),
        b'o' => Any::Option((0..length).map(|_| Box::new(decode(bytes))).next()),
        other => unreachable!("a tag {other}"),
    }
}

/// A number that both could hold is an `Integer`.
fn integer(number: u128) -> Any {
    i128::try_from(number).map_or(Any::Large(number), Any::Integer)
}

/// Few different ones, so that two of them are often nearly the same.
fn small() -> impl Strategy<Value = Any> {
    let leaf = prop_oneof![
        "[ab]{0,2}".prop_map(Any::Text),
        prop::collection::vec(97_u8..99, 0..3).prop_map(Any::Octets),
        (-2_i128..3).prop_map(Any::Integer),
        any::<bool>().prop_map(Any::Truth),
        Just(Any::Address(V4.into())),
    ];
    nested(leaf.boxed())
}

fn large() -> impl Strategy<Value = Any> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Any::Text),
        any::<Vec<u8>>().prop_map(Any::Octets),
        any::<i128>().prop_map(Any::Integer),
        any::<i64>().prop_map(|number| Any::Integer(number.into())),
        any::<u128>().prop_map(integer),
        any::<IpAddr>().prop_map(Any::Address),
        any::<SocketAddr>().prop_map(Any::Socket),
    ];
    nested(leaf.boxed())
}

fn nested(leaf: BoxedStrategy<Any>) -> impl Strategy<Value = Any> {
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Any::Tuple),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Any::List),
            prop::option::of(inner.prop_map(Box::new)).prop_map(Any::Option),
        ]
    })
}

proptest! {
    #[test]
    fn the_bytes_can_be_read_back(key in prop_oneof![small(), large()]) {
        let bytes = encode(&key);
        let mut rest = &bytes[..];
        prop_assert_eq!(decode(&mut rest), key);
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn different_keys_hash_differently(a in small(), b in small()) {
        let limiter = limiter();
        prop_assert_eq!(limiter.hash(&a) == limiter.hash(&b), a == b);
        prop_assert_eq!(encode(&a) == encode(&b), a == b);
    }
}
