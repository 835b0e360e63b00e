//! The hash of tables that several processes have mapped: of the bytes that a key is, by a function that is written down.
//!
//! `ahash` chooses its function by the processor that it was compiled for, and what `Hash` feeds to it is the compiler's
//! affair: two programs would keep two buckets for one key, and nobody would notice. So there it is SipHash-1-3, of the
//! [bytes](crate::key) of the key; the salt of a limit is the same of its name and of the text of its quota. Scheme 1:
//!
//! ```text
//! key    = SipHash-1-3(seeds 0 and 1, encode(key))
//! name   = SipHash-1-3(seeds 2 and 3, encode(name))
//! salt   = SipHash-1-3(seeds 2 and 3, encode((name, quota as text)));  of a sliding log encode((name, "sliding-log", period in ns))
//! bucket = key ^ salt
//! ```

use core::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use crate::key::{Key, feed};
use crate::quota::{Algorithm, Quota};

/// The function, with its seeds.
#[derive(Clone, Copy)]
pub(crate) struct ByteHash([u64; ByteHash::SEEDS]);

impl core::fmt::Debug for ByteHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ByteHash(..)")
    }
}

impl ByteHash {
    pub(crate) const SCHEME: u64 = 1;
    pub(crate) const SEEDS: usize = 4;

    pub(crate) const fn new(seeds: [u64; Self::SEEDS]) -> Self {
        Self(seeds)
    }

    /// The seeds of keys.
    #[inline]
    pub(crate) const fn keys(&self) -> [u64; 2] {
        [self.0[0], self.0[1]]
    }

    fn key<K: Key + ?Sized>(&self, key: &K) -> u64 {
        of_bytes(self.keys(), key)
    }

    pub(crate) fn name<K: Key + ?Sized>(&self, name: &K) -> u64 {
        of_bytes([self.0[2], self.0[3]], name)
    }

    pub(crate) fn quota(&self, from: u64, quota: &Quota) -> u64 {
        match quota.algorithm() {
            Algorithm::SlidingLog => self.name(&(from, "sliding-log", quota.period().as_nanos())),
            _ => self.name(&(from, quota.to_string())),
        }
    }

    /// Hashes of some keys and limits: of two programs that agree in them all the function is the same.
    pub(crate) fn fingerprint(&self) -> [u64; 4] {
        let quotas = [
            Quota::per_second(300).with_burst(7),
            Quota::per_minute(10).with_algorithm(Algorithm::FixedWindow),
            Quota::per_day(2).with_algorithm(Algorithm::LeakyQueue),
            Quota::per_hour(9).with_algorithm(Algorithm::SlidingLog),
        ];
        [
            self.key(&("key", 7)),
            self.key(&b"octets of a key that are longer than a block"[..]),
            self.name("default"),
            quotas.iter().fold(0, |salt, quota| self.quota(salt, quota)),
        ]
    }
}

// By itself: code for every kind of key, in every place where one is asked for, is more than a call.
#[inline(never)]
pub(crate) fn of_bytes<K: Key + ?Sized>([a, b]: [u64; 2], key: &K) -> u64 {
    let mut function = SipHasher13::new_with_keys(a, b);
    // A key comes in parts of a few bytes, tags and lengths and contents, of each of which the function makes much ado.
    let mut gathered = [0; GATHERED];
    let mut len = 0;
    feed(key, |part| {
        // Nothing wraps: both are lengths of slices.
        if let Some(room) = gathered.get_mut(len..len + part.len()) {
            room.copy_from_slice(part);
            len += part.len();
        } else {
            function.write(gathered.get(..len).unwrap_or_default());
            function.write(part);
            len = 0;
        }
    });
    function.write(gathered.get(..len).unwrap_or_default());
    function.finish()
}

/// Most keys have no more bytes.
const GATHERED: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever changes the function makes a table that others take for another: then the scheme has another number.
    #[test]
    fn the_function_stays_what_it_is() {
        let hash = ByteHash::new([1, 2, 3, 4]);
        assert_eq!(hash.key("ada"), SipHasher13::new_with_keys(1, 2).hash(b"s\0\0\0\0\0\0\0\x03ada"));
        let print = [
            4_547_498_607_960_272_276,
            3_829_106_854_147_500_526,
            14_617_453_602_676_748_050,
            10_616_398_372_105_402_425,
        ];
        assert_eq!(hash.fingerprint(), print, "scheme {}", ByteHash::SCHEME);
    }

    /// However the bytes of a key fall into parts, and wherever these meet the end of what is gathered.
    #[test]
    fn parts_are_hashed_as_if_they_were_one() {
        for len in 0..3 * GATHERED {
            let text = "k".repeat(len);
            let key = (text.as_str(), 7_u64, [1_u8, 2], text.as_str());
            let whole = SipHasher13::new_with_keys(1, 2).hash(&crate::key::encode(&key));
            assert_eq!(of_bytes([1, 2], &key), whole, "{len}");
        }
    }

    #[test]
    fn each_seed_counts() {
        let of = |seeds| ByteHash::new(seeds).fingerprint();
        let plain = of([0; 4]);
        for seed in 0..4 {
            let mut seeds = [0; 4];
            seeds[seed] = 1 << 40;
            for (at, (one, other)) in plain.into_iter().zip(of(seeds)).enumerate() {
                assert_eq!(one == other, (at < 2) != (seed < 2), "seed {seed}, hash {at}");
            }
        }
    }
}
