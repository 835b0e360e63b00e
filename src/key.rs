//! What can be limited: keys, and the bytes that each of them is.
//!
//! A key is a sequence of bytes that is defined here, and nothing else: not what a type happens to feed to a hasher, nor how
//! its memory is laid out. So a key is the same in every build of this crate, on every machine and from every language. A
//! [`Limiter`](crate::Limiter) never builds the bytes; [`encode`] shows them, and [`feed`] gives them to another function.
//!
//! # The bytes
//!
//! A key is one tag, one length and the contents. The tag is one byte, an ASCII letter. The length is 8 bytes. Every number is
//! in network byte order: most significant byte first.
//!
//! | kind | types | tag | length | contents |
//! |---|---|---|---|---|
//! | text | `str`, `String`, `char` | `s` | bytes | UTF-8 |
//! | octets | `[u8]`, `[u8; N]`, `Vec<u8>` | `b` | bytes | as they are |
//! | integer, 0 or more | all integers, `NonZero` | `i` | 8; 16 from 2^64 on | the number |
//! | integer below 0 | all signed integers, `NonZero` | `n` | 8; 16 from 2^64 on | the number without its sign |
//! | truth | `bool` | `f` | 1 | 0 or 1 |
//! | address | `Ipv4Addr`, `Ipv6Addr`, `IpAddr` | `a` | 4 or 16 | octets |
//! | address and port | `SocketAddrV4`, `SocketAddrV6`, `SocketAddr` | `p` | 6 or 26 | octets, port (2); of IPv6 flow information (4) and scope (4) |
//! | tuple | `()`, tuples of up to 12 keys | `t` | parts | the parts, each a key |
//! | list | `[K]`, `[K; N]`, `Vec<K>`, [`KeyWriter::list`] | `l` | elements | the elements, each a key |
//! | option | `Option<K>` | `o` | 0 or 1 | the key, if there is one |
//!
//! A reference, `Box`, `Rc`, `Arc` or `Cow` of a key is that key.
//!
//! Where a key ends follows from its first bytes, so no key is the beginning of another, and different contents are different
//! bytes: `("a", "bc")` is not `("ab", "c")`, an address is not its text, `"1"` is not `1`.
//!
//! - **Integers are what they count**: `7_u8`, `7_i64` and `7_u128` are one key, since Python and JSON know one integer only, and
//!   a number may change its type from one release to the next. `-1` is not `u64::MAX`.
//! - **A slice of `u8` is octets**, all other slices are lists: the bytes of a digest are one string, not so many integers.
//!   `[]` of either kind, `""` and `()` are four keys.
//! - **A `char` is its text**, as most languages have no other kind for it.
//! - **An IPv4 address that is written as IPv6** (`::ffff:192.0.2.7`) is an IPv6 address: ask for
//!   [`to_canonical`](std::net::IpAddr::to_canonical) first.
//!
//! In Python (there a `bool` is an `int`, so it is asked for first; a lone `str` is no tuple of one):
//!
//! ```python
//! def encode(key):
//!     def whole(tag, contents):
//!         return tag + len(contents).to_bytes(8, "big") + contents
//!     def parts(tag, keys):
//!         return tag + len(keys).to_bytes(8, "big") + b"".join(map(encode, keys))
//!     match key:
//!         case bool(): return whole(b"f", bytes([key]))
//!         case str(): return whole(b"s", key.encode())
//!         case bytes(): return whole(b"b", key)
//!         case int():
//!             size = 8 if abs(key) < 2**64 else 16
//!             return whole(b"n" if key < 0 else b"i", abs(key).to_bytes(size, "big"))
//!         case ipaddress.IPv4Address() | ipaddress.IPv6Address(): return whole(b"a", key.packed)
//!         case tuple(): return parts(b"t", key)
//!         case list(): return parts(b"l", key)
//!         case None: return parts(b"o", ())
//! ```
//!
//! In a script of Redis, whose numbers are exact below 2^53, text is `"s" .. struct.pack(">I8", #text) .. text`.

mod kinds;
mod local;
mod writer;

pub use local::{Hashed, LocalKey};
pub use writer::KeyWriter;

use writer::Bytes;

/// What can be limited: bytes that are [defined](self), borrowed and never kept.
///
/// Implemented for text, octets, integers, addresses, and for tuples and slices of keys. For a type of your own, write a tuple
/// of the fields that tell its values apart; an enum puts the number of the variant in front. A type that has
/// [`Hash`](core::hash::Hash) only can be wrapped in [`Hashed`].
///
/// Costs what hashing the fields costs: nothing is allocated, and no bytes are built.
///
/// ```
/// use tollgate::key::KeyWriter;
/// use tollgate::{Key, Limiter, Quota};
///
/// struct Tenant { org: u32, user: String }
///
/// impl Key for Tenant {
///     fn write_to<W: KeyWriter>(&self, out: &mut W) {
///         (self.org, &self.user).write_to(out);
///     }
/// }
///
/// let limiter = Limiter::builder(Quota::per_minute(1)).build()?;
/// let [ada, bob] = ["ada", "bob"].map(|user| Tenant { org: 7, user: user.to_owned() });
/// assert!(limiter.check(&ada).is_allowed() && limiter.check(&bob).is_allowed());
/// assert!(limiter.check(&(7, "ada")).is_refused());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key",
    note = "implement `tollgate::Key` for it by writing a tuple of its fields; or, if it has `Hash`, wrap it: `tollgate::key::Hashed(..)`"
)]
pub trait Key {
    /// Writes exactly one key: calls `write_to` of one other key, or [`KeyWriter::list`], once. Two values that shall share a
    /// bucket write the same.
    fn write_to<W: KeyWriter>(&self, out: &mut W);

    // How `[u8]` is octets and every other slice a list: as `Hash::hash_slice`, since there is no specialisation, and since
    // implementations for the slices of some types would leave out those of other crates.
    #[doc(hidden)]
    #[inline]
    fn write_slice<W: KeyWriter>(keys: &[Self], out: &mut W)
    where
        Self: Sized,
    {
        out.list(keys.iter());
    }
}

/// The bytes of a key. Allocates; a limiter does not.
///
/// ```
/// assert_eq!(tollgate::key::encode("ada"), b"s\0\0\0\0\0\0\0\x03ada");
/// ```
#[must_use]
pub fn encode<K: Key + ?Sized>(key: &K) -> Vec<u8> {
    let mut bytes = Vec::new();
    feed(key, |part| bytes.extend_from_slice(part));
    bytes
}

/// Gives the bytes of a key to `sink`, in several parts, and allocates nothing: for a hash function that other processes know
/// as well, or for a buffer. Where one part ends and the next begins means nothing.
///
/// ```
/// use std::hash::{DefaultHasher, Hasher};
///
/// let mut hasher = DefaultHasher::new();
/// tollgate::key::feed(&("ada", 7), |part| hasher.write(part));
/// println!("{:x}", hasher.finish());
/// ```
#[inline]
pub fn feed<K: Key + ?Sized>(key: &K, sink: impl FnMut(&[u8])) {
    key.write_to(&mut Bytes(sink));
}
