//! From a key to the 64 bits that stand for it.
//!
//! A keyed hash (`ahash`), seeded from the operating system, is a key's identity: the key itself is never kept. Two of
//! `n` keys collide with a probability of about `n^2 / 2^65`: 2.7e-8 at a million. The hash never leaves the process. What is hashed
//! stands in `key/local.rs`.

mod bytes;

use ahash::RandomState;
use bytemuck::{Pod, Zeroable};

pub(crate) use bytes::{ByteHash, of_bytes};

use crate::key::LocalKey;
use crate::quota::{Algorithm, Quota};

/// Which limiter a limit or a hash is of: a number that no other limiter of this process has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(u64);

impl Owner {
    /// Of a bucket without a table, whose limit nobody else is given.
    pub(crate) const NONE: Self = Self(0);

    /// One that was not there before.
    #[cfg(not(tollgate_model))]
    fn next() -> Self {
        use crate::sync::{Atomic, Ordering};

        static LAST: Atomic<u64> = Atomic::new(0);
        // Relaxed: a number by itself. No model.
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Models have one limiter each, and their atomics no statics.
    #[cfg(tollgate_model)]
    fn next() -> Self {
        Self::NONE
    }
}

/// A key hashed by one limiter, good for that limiter alone, which refuses those of others; see
/// [`Limiter::hash`](crate::Limiter::hash).
///
/// Debug does not print the bits: who knows them can aim at other keys' slots.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyHash {
    bits: u64,
    pub(crate) owner: Owner,
}

impl KeyHash {
    /// Of no key.
    pub(crate) const NONE: Self = Self { bits: 0, owner: Owner::NONE };
}

impl core::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

/// One key under one limit, as a slot remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Identity(u64);

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Identity(..)")
    }
}

impl Identity {
    /// The key of a slot that was never used.
    #[cfg(tollgate_model)]
    pub(crate) const NONE: Self = Self(0);

    /// Of drawn bits.
    #[cfg(all(target_os = "linux", not(tollgate_model)))]
    pub(crate) const fn drawn(bits: u64) -> Self {
        Self::from_bits(bits)
    }

    const fn from_bits(bits: u64) -> Self {
        // Zero marks a slot that was never used; its keys share the identity of another key, as any two may.
        Self(if bits == 0 { 1 } else { bits })
    }

    /// One that a snapshot has; never zero.
    #[cfg(not(tollgate_model))]
    pub(crate) const fn of_record(bits: u64) -> Self {
        Self::from_bits(bits)
    }

    #[cfg(any(test, tollgate_model))]
    pub(crate) const fn for_model(bits: u64) -> Self {
        Self::from_bits(bits)
    }

    /// The bits, uniform, for choosing slots.
    #[inline]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The identity of one cell of a sliding log; cell 0 is the key's own.
    #[inline]
    pub(crate) const fn cell(self, cell: u64) -> Self {
        // An odd factor: different cells of one key never collide.
        Self::from_bits(self.0.wrapping_add(cell.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
    }

    /// The identity of the same key under a limit whose salt is so far from this one's.
    pub(crate) const fn under(self, other: Salt) -> Self {
        Self::from_bits(self.0 ^ other.0)
    }
}

/// What sets one limit's identities apart from another's: 64 bits drawn from the limit's name and its quota.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Salt(u64);

impl core::fmt::Debug for Salt {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Salt(..)")
    }
}

impl Salt {
    #[cfg(tollgate_model)]
    pub(crate) const fn for_model(bits: u64) -> Self {
        Self(bits)
    }

    /// For a bucket without a table, where nothing needs telling apart.
    pub(crate) const NONE: Self = Self(0);

    /// Salts and hashes are both uniform, so their sum without carry is as good an identity as either.
    #[inline]
    pub(crate) const fn identity(self, hash: KeyHash) -> Identity {
        Identity::from_bits(hash.bits ^ self.0)
    }

    /// One way after another.
    pub(crate) const fn further(self, way: Self) -> Self {
        Self(self.0 ^ way.0)
    }

    /// What leads from the identities under one limit to those under another, and back.
    pub(crate) const fn way_to(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }
}

/// The hash function of one limiter.
#[derive(Debug, Clone)]
pub(crate) struct Hasher {
    keys: RandomState,
    names: RandomState,
    /// In the place of both, if other processes must come to the same.
    bytes: Option<ByteHash>,
    pub(crate) owner: Owner,
    /// What both were seeded with, for a snapshot. Boxed: no check asks for it.
    #[cfg_attr(tollgate_model, allow(dead_code, reason = "models make no snapshots"))]
    origin: Box<Origin>,
}

/// What makes one hash function, and tells its limiter from those that it was restored from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) seeds: [u64; 8],
    /// How many limiters before this one had these seeds: each the one from whose snapshot the next was restored.
    pub(crate) lineage: u64,
}

impl core::fmt::Debug for Origin {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Origin(..)")
    }
}

impl Hasher {
    /// Seeded from the operating system.
    pub(crate) fn from_os() -> std::io::Result<Self> {
        Self::drawn(|seeds| getrandom::fill(seeds).map_err(std::io::Error::from))
    }

    /// Not `RandomState::new`, which panics if there is nothing to draw from.
    fn drawn(draw: impl FnOnce(&mut [u8]) -> std::io::Result<()>) -> std::io::Result<Self> {
        let mut seeds = [0_u64; 8];
        draw(bytemuck::cast_slice_mut(&mut seeds))?;
        Ok(Self::of(Origin { seeds, lineage: 0 }))
    }

    /// The one that was made of these seeds before, if this program hashes as that one did: see [`Self::fingerprint`].
    pub(crate) fn of(origin: Origin) -> Self {
        let [a, b, c, d, e, f, g, h] = origin.seeds;
        let (keys, names) = (RandomState::with_seeds(a, b, c, d), RandomState::with_seeds(e, f, g, h));
        Self { keys, names, bytes: None, owner: Owner::next(), origin: Box::new(origin) }
    }

    /// Seeded by the caller: the same hashes in every process.
    pub(crate) fn fixed(seed: u64) -> Self {
        let keys = [seed, 0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344, 0xA409_3822_299F_31D0];
        let names = [seed, 0x082E_FA98_EC4E_6C89, 0x4528_21E6_38D0_1377, 0xBE54_66CF_34E9_0C6C];
        let ([a, b, c, d], [e, f, g, h]) = (keys, names);
        Self::of(Origin { seeds: [a, b, c, d, e, f, g, h], lineage: 0 })
    }

    /// `None` if keys are hashed as those of shared tables.
    #[cfg(not(tollgate_model))]
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.bytes.is_none().then_some(*self.origin)
    }

    /// What some keys and limits become under these seeds. `ahash` is another function where the compiler may use other
    /// instructions, and so may its next version be; what a quota feeds to it belongs to a compiler, too. Where this is the
    /// same, all of it is.
    #[cfg(not(tollgate_model))]
    pub(crate) fn fingerprint(&self) -> [u64; 4] {
        use core::time::Duration;

        let short = self.key("tollgate").bits ^ self.key(&7_u64).bits.rotate_left(1);
        let bytes: [u8; 40] = core::array::from_fn(|at| u8::try_from(at).unwrap_or(0)); // at most 39
        let long = self.key(&bytes[..]).bits ^ self.key(&("a", 1_u64, -1_i64)).bits.rotate_left(1);
        let quota = Quota::new(3, Duration::from_millis(1_500)).unwrap_or(Quota::per_second(3));
        let quotas = Algorithm::ALL.map(|algorithm| quota.with_algorithm(algorithm));
        let more = [
            quota.with_burst(7),
            quota.with_max_debt(Duration::from_secs(1)),
            quota.with_algorithm(Algorithm::FixedWindow).with_refused_counted(true),
            quota.with_algorithm(Algorithm::FixedWindow).with_window_start(crate::quota::WindowStart::FirstHit),
            Quota::unlimited(),
        ];
        let fold = |quotas: &[Quota]| {
            quotas.iter().fold(0_u64, |sum, quota| sum.rotate_left(7) ^ self.salt("tollgate", quota).0)
        };
        [short, long, fold(&quotas), fold(&more)]
    }

    /// The same function as of a shared table, with seeds of its own: for a private one that goes by a clock of those.
    #[cfg(all(target_os = "linux", not(tollgate_model)))]
    pub(crate) fn of_bytes(seed: Option<u64>) -> std::io::Result<Self> {
        let mut seeds = [0_u64; ByteHash::SEEDS];
        match seed {
            Some(seed) => seeds = [seed, 0x243F_6A88_85A3_08D3, !seed, 0x1319_8A2E_0370_7344],
            None => getrandom::fill(bytemuck::cast_slice_mut(&mut seeds))?,
        }
        Ok(Self::shared(seeds))
    }

    /// The one of a table that several processes have mapped.
    #[cfg(all(target_os = "linux", not(tollgate_model)))]
    pub(crate) fn shared(seeds: [u64; ByteHash::SEEDS]) -> Self {
        Self { bytes: Some(ByteHash::new(seeds)), ..Self::fixed(0) }
    }

    /// As [`key`](Self::key), if the hash is one that all processes agree in.
    #[cfg(not(tollgate_model))]
    #[inline]
    pub(crate) fn shared_key<K: LocalKey + ?Sized>(&self, key: &K) -> KeyHash {
        match &self.bytes {
            Some(hash) => key
                .hash_bytes_with(hash.keys())
                .map_or_else(|before| before, |bits| KeyHash { bits, owner: self.owner }),
            // Of no limiter: refused.
            None => KeyHash::NONE,
        }
    }

    #[inline]
    pub(crate) fn key<K: LocalKey + ?Sized>(&self, key: &K) -> KeyHash {
        key.hash_with(&self.keys).map_or_else(|before| before, |bits| KeyHash { bits, owner: self.owner })
    }

    /// Of a limit: its name and its quota are what it is.
    pub(crate) fn salt(&self, name: &str, quota: &Quota) -> Salt {
        let of_name = match &self.bytes {
            Some(bytes) => bytes.name(name),
            None => self.names.hash_one(name),
        };
        self.of_quota(Salt(of_name), quota)
    }

    /// Of what a limit becomes when its quota changes; of a sliding log the same, whatever its count: what it remembers
    /// is when requests came.
    pub(crate) fn changed(&self, from: Salt, old: &Quota, new: &Quota) -> Salt {
        let are_logs = [old, new].iter().all(|quota| quota.algorithm() == Algorithm::SlidingLog);
        if are_logs && old.period() == new.period() { from } else { self.of_quota(from, new) }
    }

    /// Of a limit whose keys are forgotten: one that no limit has had before.
    #[cfg(not(tollgate_model))]
    pub(crate) fn renewed(&self, from: Salt) -> Salt {
        use crate::sync::{Atomic, Ordering};

        static RENEWED: Atomic<u64> = Atomic::new(0);
        // Relaxed: a number by itself. No model.
        self.renewed_again(from, RENEWED.fetch_add(1, Ordering::Relaxed))
    }

    /// Nor may it be one that a limiter before this one has had: its buckets may have come back with its snapshot.
    #[cfg(not(tollgate_model))]
    fn renewed_again(&self, from: Salt, number: u64) -> Salt {
        Salt(self.names.hash_one((from.0, self.origin.lineage, number)))
    }

    /// The same where all processes must find the same, and no other limit has had `number`.
    #[cfg(all(target_os = "linux", not(tollgate_model)))]
    pub(crate) fn renewed_as(&self, from: Salt, number: u64) -> Salt {
        match &self.bytes {
            Some(bytes) => Salt(bytes.name(&(from.0, "renewed", number))),
            None => self.renewed(from),
        }
    }

    fn of_quota(&self, salt: Salt, quota: &Quota) -> Salt {
        if let Some(bytes) = &self.bytes {
            return Salt(bytes.quota(salt.0, quota));
        }
        Salt(match quota.algorithm() {
            Algorithm::SlidingLog => self.names.hash_one((salt.0, quota.period())),
            _ => self.names.hash_one((salt.0, quota)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_entropy_there_is_no_hasher() {
        let error = Hasher::drawn(|_| Err(std::io::Error::other("a source that is dry"))).unwrap_err();
        assert!(error.to_string().contains("a source that is dry"), "{error}");
    }

    #[test]
    fn all_that_is_drawn_is_used() {
        // Each byte of the seeds changes the hash of keys or of names.
        let hashes = |flipped: Option<usize>| {
            let hasher = Hasher::drawn(|seeds| {
                if let Some(byte) = flipped {
                    seeds[byte] = 1;
                }
                Ok(())
            });
            let hasher = hasher.unwrap();
            (hasher.key("key").bits, hasher.salt("name", &Quota::per_second(1)).0)
        };
        let plain = hashes(None);
        for byte in 0..64 {
            let flipped = hashes(Some(byte));
            assert_eq!(flipped.0 == plain.0, byte >= 32, "byte {byte}");
            assert_eq!(flipped.1 == plain.1, byte < 32, "byte {byte}");
        }
    }

    #[test]
    fn one_that_is_made_again_hashes_alike_and_renews_otherwise() {
        let first = Hasher::from_os().unwrap();
        let next = Hasher::of(Origin { lineage: 1, ..first.origin().unwrap() });
        let quota = Quota::per_second(1);
        assert!(
            first.key("key").bits == next.key("key").bits && first.salt("name", &quota) == next.salt("name", &quota)
        );
        assert_eq!(first.fingerprint(), next.fingerprint());
        assert_ne!(first.renewed_again(Salt(7), 0), next.renewed_again(Salt(7), 0));
        for at in 0..8 {
            let mut origin = first.origin().unwrap();
            origin.seeds[at] ^= 1;
            assert_ne!(Hasher::of(origin).fingerprint(), first.fingerprint(), "seed {at}");
        }
    }

    #[test]
    fn hashers_differ() {
        let [one, two] = [Hasher::from_os().unwrap(), Hasher::from_os().unwrap()];
        let quota = Quota::per_second(1);
        assert!(one.key("key") != two.key("key") && one.salt("name", &quota) != two.salt("name", &quota));
    }
}
