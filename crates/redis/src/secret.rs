//! From a key to its name on the server: a keyed hash of 128 bits, so that what clients send is not in Redis, and nobody who does
//! not know the secret can tell which name is whose, or choose keys that share one.

use core::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

use ahash::RandomState;
use smallvec::SmallVec;
use tollgate::Key;

/// The hash function of a fleet. Two of `n` keys share a name with a probability of about `n^2 / 2^129`.
#[derive(Clone)]
pub(crate) struct Secret([u8; 32]);

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(..)")
    }
}

const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl Secret {
    /// The shortest, in bytes.
    pub(crate) const MIN: usize = 16;

    pub(crate) fn new(secret: &[u8]) -> Self {
        Self(blake3::derive_key("tollgate-redis 2026-11 names of subjects", secret))
    }

    /// What stands between the braces of the keys of whatever has these bytes: 26 letters and digits.
    fn name(&self, bytes: &[u8]) -> Name {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(bytes);
        let mut first = [0; 16];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        let bits = u128::from_be_bytes(first);
        let mut text = [0; 26];
        for (i, digit) in (0_u32..).zip(&mut text) {
            // Five bits at a time, the last three alone: below 32.
            let five = if i < 25 { bits >> (123 - 5 * i) } else { bits << 2 };
            *digit = DIGITS[usize::from(u8::try_from(five & 31).unwrap_or(0))];
        }
        Name(text)
    }
}

/// A key, as this node tells it from others. What it is called on the servers is found out when they are asked: that takes ten times as
/// long as a check, and most checks of a key that is leased ask nobody.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    /// The key's own bytes, by which it is told from all others, or its name if they are more than fit.
    bytes: SmallVec<[u8; Self::SHORT]>,
    is_name: bool,
    /// Of those bytes, keyed by this process, for tables in memory. Two keys with one hash are two keys.
    hash: u64,
    name: OnceLock<Name>,
}

impl Subject {
    /// So many bytes are kept as they are.
    const SHORT: usize = 64;

    pub(crate) fn new<K: Key + ?Sized>(key: &K, secret: &Secret, hasher: &RandomState) -> Self {
        let mut bytes = SmallVec::new();
        tollgate::key::feed(key, |part| bytes.extend_from_slice(part));
        let name = OnceLock::new();
        let is_name = bytes.len() > Self::SHORT;
        if is_name {
            let long = name.get_or_init(|| secret.name(&bytes)).0;
            bytes = SmallVec::from_slice(&long);
        }
        Self { hash: Self::hash_of(key, hasher), bytes, is_name, name }
    }

    /// The [`hash`](Self::hash) of a key, without its bytes in one place.
    #[inline]
    pub(crate) fn hash_of<K: Key + ?Sized>(key: &K, hasher: &RandomState) -> u64 {
        let mut hasher = hasher.build_hasher();
        tollgate::key::feed(key, |part| hasher.write(part));
        hasher.finish()
    }

    /// Whether it is certain to be this key, without its bytes in one place: of long keys it is not known.
    #[inline]
    pub(crate) fn is_key<K: Key + ?Sized>(&self, key: &K) -> bool {
        let (mut rest, mut is_same) = (&*self.bytes, !self.is_name);
        tollgate::key::feed(key, |part| match rest.strip_prefix(part) {
            Some(after) => rest = after,
            None => is_same = false,
        });
        is_same && rest.is_empty()
    }

    /// Whether it is the same key.
    #[inline]
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.hash == other.hash && self.is_name == other.is_name && self.bytes == other.bytes
    }

    /// What stands for it in this process: its own bytes, or its name, which no key's bytes begin with.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// For tables in memory.
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    /// What it is called on the servers.
    pub(crate) fn name(&self, secret: &Secret) -> &Name {
        self.name.get_or_init(|| secret.name(&self.bytes))
    }
}

/// A subject's hash, as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name([u8; 26]);

impl Name {
    pub(crate) fn as_str(&self) -> &str {
        // Of the digits above only.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The slot of a cluster that holds all keys with this tag.
    pub(crate) fn slot(&self) -> u16 {
        crc16(&self.0) % 16_384
    }
}

/// CRC16 of the XMODEM kind, as the cluster specification has it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |mut crc: u16, &byte| {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }

    fn name<K: Key + ?Sized>(secret: &Secret, key: &K) -> Name {
        *Subject::new(key, secret, &RandomState::new()).name(secret)
    }

    #[test]
    fn names_are_told_apart() {
        let secret = Secret::new(b"0123456789abcdef");
        let ada = name(&secret, "ada");
        assert_eq!(ada.as_str().len(), 26);
        assert_eq!(ada, name(&secret, &String::from("ada")));
        assert_ne!(ada, name(&secret, &("ada",)));
        assert_ne!(ada, name(&Secret::new(b"0123456789abcdeg"), "ada"));
        // All 128 bits count.
        let texts: std::collections::HashSet<String> =
            (0..2_000_u32).map(|n| name(&secret, &n).as_str()[13..].to_owned()).collect();
        assert_eq!(texts.len(), 2_000);
    }

    /// What is told from all others by its bytes, and what by its name; neither can be taken for the other.
    #[test]
    fn subjects_are_told_apart() {
        let (secret, hasher) = (Secret::new(b"0123456789abcdef"), RandomState::new());
        let subject = |key: &str| Subject::new(key, &secret, &hasher);
        let long = "x".repeat(200);
        assert!(subject("ada").is(&subject("ada")) && subject(&long).is(&subject(&long)));
        assert!(!subject("ada").is(&subject("adb")) && !subject(&long).is(&subject(&"x".repeat(201))));
        // The bytes are what counts, and not the hash.
        assert!(subject("ada").is_key("ada") && subject("ada").is_key(&String::from("ada")));
        assert!(!subject("ada").is_key("adb") && !subject("ada").is_key("ad") && !subject("ada").is_key("adaa"));
        assert!(!subject("ada").is_key(&("ada",)) && !subject("ada").is_key(b"ada".as_slice()));
        assert_eq!(subject("ada").hash, Subject::hash_of("ada", &hasher));
        // Nobody who has the name of a long key for a key is taken for it.
        let mut name = Vec::new();
        tollgate::key::feed(&long, |part| name.extend_from_slice(part));
        assert!(!subject(&long).is_key(secret.name(&name).as_str()) && !subject(&long).is_key(&long));
        let mut forged = subject("adb");
        forged.hash = subject("ada").hash;
        assert!(!forged.is(&subject("ada")));
        // Who knows the name of a long key, and has it for a short one, is somebody else.
        let mut short = subject(&long);
        short.is_name = false;
        assert!(!short.is(&subject(&long)));
    }
}
