//! From a key to its name on the server: a keyed hash of 128 bits, so that what clients send is not in Redis, and nobody who does
//! not know the secret can tell which name is whose, or choose keys that share one.

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

    /// What stands between the braces of a subject's keys: 26 letters and digits.
    pub(crate) fn subject<K: Key + ?Sized>(&self, key: &K) -> Subject {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        tollgate::key::feed(key, |part| {
            hasher.update(part);
        });
        let mut first = [0; 16];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        let bits = u128::from_be_bytes(first);
        let mut text = [0; 26];
        for (i, digit) in (0_u32..).zip(&mut text) {
            // Five bits at a time, the last three alone: below 32.
            let five = if i < 25 { bits >> (123 - 5 * i) } else { bits << 2 };
            *digit = DIGITS[usize::from(u8::try_from(five & 31).unwrap_or(0))];
        }
        Subject(text)
    }
}

/// A subject's hash, as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject([u8; 26]);

impl Subject {
    pub(crate) fn as_str(&self) -> &str {
        // Of the digits above only.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// For tables in memory: of 65 bits of the hash, all but the first.
    pub(crate) fn hash(&self) -> u64 {
        // Digits below 128, and five bits of each: none are lost but those above 64.
        self.0[..13].iter().fold(0, |hash: u64, &digit| (hash << 5) ^ u64::from(digit))
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

    #[test]
    fn subjects_are_told_apart() {
        let secret = Secret::new(b"0123456789abcdef");
        let ada = secret.subject("ada");
        assert_eq!(ada.as_str().len(), 26);
        assert_eq!(ada, secret.subject(&String::from("ada")));
        assert_ne!(ada, secret.subject(&("ada",)));
        assert_ne!(ada, Secret::new(b"0123456789abcdeg").subject("ada"));
        // All 128 bits count.
        let texts: std::collections::HashSet<String> =
            (0..2_000_u32).map(|n| secret.subject(&n).as_str()[13..].to_owned()).collect();
        assert_eq!(texts.len(), 2_000);
    }
}
