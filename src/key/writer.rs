//! Where a key is written.

use super::Key;

/// Where a key is written: to the hash function of a table, or as bytes. Made by this crate only.
pub trait KeyWriter: sealed::Kinds + Sized {
    /// Writes a list, for what is no slice of keys: as many elements as `keys` says it has.
    ///
    /// ```
    /// use tollgate::key::KeyWriter;
    /// use tollgate::Key;
    ///
    /// struct Labels<'a>(&'a [(&'a str, &'a str)]);
    ///
    /// impl Key for Labels<'_> {
    ///     fn write_to<W: KeyWriter>(&self, out: &mut W) {
    ///         out.list(self.0.iter().map(|(name, _)| name));
    ///     }
    /// }
    ///
    /// let labels = Labels(&[("zone", "a"), ("tier", "b")]);
    /// assert_eq!(tollgate::key::encode(&labels), tollgate::key::encode(&["zone", "tier"]));
    /// ```
    #[inline]
    fn list<K: Key>(&mut self, keys: impl ExactSizeIterator<Item = K>) {
        self.group(Tag::List, keys.len());
        keys.for_each(|key| key.write_to(self));
    }
}

impl<W: sealed::Kinds> KeyWriter for W {}

/// The first byte of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    Text = b's',
    Octets = b'b',
    Natural = b'i',
    Negative = b'n',
    Truth = b'f',
    Address = b'a',
    WithPort = b'p',
    Tuple = b't',
    List = b'l',
    Option = b'o',
}

pub(super) mod sealed {
    use super::Tag;

    /// All that a key is made of.
    pub trait Kinds {
        /// A whole number below 2^64: apart from the others as most keys are one, and hashing it is one multiplication.
        fn natural(&mut self, value: u64);

        /// A key that has so many bytes as its contents, whatever its value: one word of a hash function, or half of one.
        fn fixed<const N: usize>(&mut self, tag: Tag, contents: [u8; N]);

        /// A key that has bytes as its contents.
        fn whole(&mut self, tag: Tag, contents: &[u8]);

        /// The beginning of a key that has so many keys as its contents.
        fn group(&mut self, tag: Tag, parts: usize);
    }
}

/// The bytes, as they are defined.
pub(super) struct Bytes<F>(pub(super) F);

impl<F: FnMut(&[u8])> Bytes<F> {
    #[inline]
    fn head(&mut self, tag: Tag, length: usize) {
        let mut head = [tag as u8; 9];
        head[1..].copy_from_slice(&(length as u64).to_be_bytes());
        (self.0)(&head);
    }
}

impl<F: FnMut(&[u8])> sealed::Kinds for Bytes<F> {
    #[inline]
    fn natural(&mut self, value: u64) {
        self.whole(Tag::Natural, &value.to_be_bytes());
    }

    #[inline]
    fn fixed<const N: usize>(&mut self, tag: Tag, contents: [u8; N]) {
        self.whole(tag, &contents);
    }

    #[inline]
    fn whole(&mut self, tag: Tag, contents: &[u8]) {
        self.head(tag, contents.len());
        (self.0)(contents);
    }

    #[inline]
    fn group(&mut self, tag: Tag, parts: usize) {
        self.head(tag, parts);
    }
}
