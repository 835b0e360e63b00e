//! What the tables of one process take: every key, as `ahash` is fed with it.

use core::hash::{BuildHasher, Hash, Hasher};

use ahash::{AHasher, RandomState};

use super::Key;
use super::writer::{Tag, sealed::Kinds};
use crate::hash::{KeyHash, of_bytes};

/// What a [`Limiter`](crate::Limiter) takes as a key: a [`Key`], a [`KeyHash`] that it made before, or anything [`Hashed`].
///
/// A table that is [shared](crate::shared) with other processes takes a [`Key`], and a hash that the same limiter has made. What
/// is [`Hashed`] may be hashed otherwise in another process, so there it is refused as another limiter's key, and counted as
/// [foreign](crate::Stats::foreign).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key",
    note = "implement `tollgate::Key` for it by writing a tuple of its fields; or, if it has `Hash`, wrap it: `tollgate::key::Hashed(..)`"
)]
pub trait LocalKey: sealed::LocalKey {}

impl<K: sealed::LocalKey + ?Sized> LocalKey for K {}

mod sealed {
    use super::{KeyHash, RandomState};

    pub trait LocalKey {
        /// The hash, or one that was made before.
        fn hash_with(&self, state: &RandomState) -> Result<u64, KeyHash>;

        /// The hash that all processes agree in, or one that was made before, or none.
        fn hash_bytes_with(&self, seeds: [u64; 2]) -> Result<u64, KeyHash>;
    }
}

impl<K: Key + ?Sized> sealed::LocalKey for K {
    #[inline]
    fn hash_with(&self, state: &RandomState) -> Result<u64, KeyHash> {
        let mut words = Words::new(state.build_hasher());
        self.write_to(&mut words);
        Ok(words.finish())
    }

    #[inline]
    fn hash_bytes_with(&self, seeds: [u64; 2]) -> Result<u64, KeyHash> {
        Ok(of_bytes(seeds, self))
    }
}

// `KeyHash` is no `Key`, so that this is the only way to hash one.
impl sealed::LocalKey for KeyHash {
    #[inline]
    fn hash_with(&self, _: &RandomState) -> Result<u64, KeyHash> {
        Err(*self)
    }

    #[inline]
    fn hash_bytes_with(&self, _: [u64; 2]) -> Result<u64, KeyHash> {
        Err(*self)
    }
}

/// Anything that has [`Hash`], as a key of a limiter in this process.
///
/// It is the key that its type feeds to a hasher, other than every [`Key`]: `Hashed(7)` is not `7`, while `Hashed` of two types
/// that feed the same is one key. It is no [`Key`], so no part of one either; wrap the whole: `Hashed((a, b))`.
///
/// ```
/// use std::time::Duration;
/// use tollgate::key::Hashed;
/// use tollgate::{Limiter, Quota};
///
/// let limiter = Limiter::builder(Quota::per_minute(1)).build()?;
/// assert!(limiter.check(&Hashed(Duration::from_secs(7))).is_allowed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What shared tables ask for, it is not:
///
/// ```compile_fail,E0277
/// tollgate::key::encode(&tollgate::key::Hashed(7));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hashed<T: ?Sized>(pub T);

impl<T: Hash + ?Sized> sealed::LocalKey for Hashed<T> {
    #[inline]
    fn hash_with(&self, state: &RandomState) -> Result<u64, KeyHash> {
        let mut hasher = state.build_hasher();
        // No part of a key begins with this word; a whole one that is this word mixes in its head besides.
        hasher.write_u128(1 << 127);
        self.0.hash(&mut hasher);
        Ok(hasher.finish())
    }

    fn hash_bytes_with(&self, _: [u64; 2]) -> Result<u64, KeyHash> {
        // Of no limiter, so that it is refused: what a type feeds to a hasher may be something else in another process.
        Err(KeyHash::NONE)
    }
}

/// Keys as `ahash` is fed with them: by the word, and not the bytes themselves, which would cost a multiplication for every tag
/// and every length.
///
/// A key that is part of another begins with one word of 128 bits: a number below 2^64 is that word itself; any other begins
/// with its head, tag and length, in the upper half, which is not zero then. So where a part ends follows from its first word,
/// and different parts feed different words. (A number is fed as 64 bits. Where the processor has instructions for AES, `ahash`
/// takes them for the same as 128, as it takes no bytes at all for a zero: tags *behind* the contents would not do.)
///
/// Of the outermost key, which most keys are alone, the head is fed to nothing, but mixed into the hash: one instruction. Two
/// keys of different heads that feed the same words never collide, as the mixed heads differ. Two that feed different words collide
/// as any two sequences of words do under a random seed, with odds of 2^-64, whatever is mixed in. Who knows one of the hashes
/// knows the others of the same words: of those there is one for each kind at most.
struct Words {
    hasher: AHasher,
    /// The head of the outermost key, mixed, from its first word on.
    outer: Option<u64>,
}

impl Words {
    #[inline(always)]
    const fn new(hasher: AHasher) -> Self {
        Self { hasher, outer: None }
    }

    #[inline(always)]
    fn finish(&self) -> u64 {
        self.hasher.finish() ^ self.outer.unwrap_or(0)
    }

    /// Notes the head of the outermost key, and feeds any other.
    #[inline(always)]
    fn head(&mut self, tag: Tag, length: usize) {
        let head = (length as u64) << 8 | tag as u64;
        match self.outer {
            // Different heads are different products, as the factor is odd; and in all bits, which choose slots.
            None => self.outer = Some(head.wrapping_mul(0xD6E8_FEB8_6659_FD93)),
            Some(_) => self.hasher.write_u128(u128::from(head) << 64),
        }
    }
}

impl Kinds for Words {
    #[inline(always)]
    fn natural(&mut self, value: u64) {
        self.outer = self.outer.or(Some(0));
        self.hasher.write_u64(value);
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "eight bytes at most")]
    fn fixed<const N: usize>(&mut self, tag: Tag, contents: [u8; N]) {
        const { assert!(N <= 16, "more than a word") };
        self.head(tag, N);
        let mut word = [0; 16];
        word[16 - N..].copy_from_slice(&contents);
        match u128::from_be_bytes(word) {
            small if N <= 8 => self.hasher.write_u64(small as u64),
            large => self.hasher.write_u128(large),
        }
    }

    #[inline(always)]
    fn whole(&mut self, tag: Tag, contents: &[u8]) {
        self.head(tag, contents.len());
        self.hasher.write(contents);
    }

    #[inline(always)]
    fn group(&mut self, tag: Tag, parts: usize) {
        self.head(tag, parts);
    }
}
