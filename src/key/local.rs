//! What the tables of one process take: every key, as `ahash` is fed with it.

use core::hash::{BuildHasher, Hash, Hasher};

use ahash::{AHasher, RandomState};

use super::Key;
use super::writer::{Tag, sealed::Kinds};
use crate::hash::KeyHash;

/// What a [`Limiter`](crate::Limiter) takes as a key: a [`Key`], a [`KeyHash`] that it made before, or anything [`Hashed`].
///
/// A table that is shared with other processes can take a [`Key`] only: the two others mean nothing there.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a key",
    note = "implement `tollgate::Key` for it by writing a tuple of its fields; or, if it has `Hash`, wrap it: `tollgate::Hashed(..)`"
)]
pub trait LocalKey: sealed::LocalKey {}

impl<K: sealed::LocalKey + ?Sized> LocalKey for K {}

mod sealed {
    use super::{KeyHash, RandomState};

    pub trait LocalKey {
        /// The hash, or one that was made before.
        fn hash_with(&self, state: &RandomState) -> Result<u64, KeyHash>;
    }
}

impl<K: Key + ?Sized> sealed::LocalKey for K {
    #[inline]
    fn hash_with(&self, state: &RandomState) -> Result<u64, KeyHash> {
        let mut words = Words(state.build_hasher());
        self.write_to(&mut words);
        Ok(words.0.finish())
    }
}

// `KeyHash` is no `Key`, so that this is the only way to hash one.
impl sealed::LocalKey for KeyHash {
    #[inline]
    fn hash_with(&self, _: &RandomState) -> Result<u64, KeyHash> {
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
/// use tollgate::{Hashed, Limiter, Quota};
///
/// let limiter = Limiter::builder(Quota::per_minute(1)).build()?;
/// assert!(limiter.check(&Hashed(Duration::from_secs(7))).is_allowed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What shared tables ask for, it is not:
///
/// ```compile_fail,E0277
/// tollgate::key::encode(&tollgate::Hashed(7));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hashed<T: ?Sized>(pub T);

impl<T: Hash + ?Sized> sealed::LocalKey for Hashed<T> {
    #[inline]
    fn hash_with(&self, state: &RandomState) -> Result<u64, KeyHash> {
        let mut hasher = state.build_hasher();
        // No key begins with this, so none feeds the same.
        hasher.write_u128(1 << 127);
        self.0.hash(&mut hasher);
        Ok(hasher.finish())
    }
}

/// Keys as `ahash` is fed with them: by the word, and not the bytes themselves, which would cost a multiplication for every tag
/// and every length.
///
/// Different keys feed different sequences of calls, since a key can be read off its calls, from the first on:
///
/// - `write_u64(x)`: it is the number `x`;
/// - `write(contents)`: the next call is `write_u64(tag)`, and says which kind the contents are of. `ahash` mixes in how long
///   they are, which the contract of `Hasher` leaves open: the test `kinds` would notice if it no longer did;
/// - `write_u128` of a tag above 2^64 and a count: that many keys follow.
///
/// `ahash` tells calls apart as it tells words apart: `write_u64(x)` is `write_u128(x)` at most, and there tags are not zero. So
/// two keys meet as any two sequences of calls do under a random seed, with odds of 2^-64.
struct Words(AHasher);

impl Kinds for Words {
    #[inline]
    fn natural(&mut self, value: u64) {
        self.0.write_u64(value);
    }

    #[inline]
    fn whole(&mut self, tag: Tag, contents: &[u8]) {
        self.0.write(contents);
        self.0.write_u64(tag as u64);
    }

    #[inline]
    fn group(&mut self, tag: Tag, parts: usize) {
        self.0.write_u128((tag as u128) << 64 | parts as u128);
    }
}
